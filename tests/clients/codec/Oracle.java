import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * Kafka's serializers as the judge of another codec. Messages travel as frames: a 32-bit length of
 * what follows, key (16 bits), version (16 bits), direction (8 bits, 1 for a response), body.
 *
 * <pre>
 *   emit APIS COUNT SEED    messages drawn from Kafka's definitions, as frames on standard output
 *   judge APIS COUNT        frames from standard input must come out of Kafka's classes unchanged
 *   facts APIS              the definitions as lines, to compare schema files with
 * </pre>
 * APIS names a file of lines "key first-version last-version".
 */
public final class Oracle {
  record Api(short key, short first, short last) {}

  public static void main(String[] args) throws Exception {
    List<Api> apis = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(args[1]))) {
      String[] words = line.split(" ");
      apis.add(
          new Api(
              Short.parseShort(words[0]), Short.parseShort(words[1]), Short.parseShort(words[2])));
    }
    switch (args[0]) {
      case "emit" -> emit(apis, Integer.parseInt(args[2]), Long.parseLong(args[3]));
      case "judge" -> judge(apis, Integer.parseInt(args[2]));
      case "facts" -> Facts.print(apis);
      default -> throw new IllegalArgumentException(args[0]);
    }
  }

  private static void emit(List<Api> apis, int count, long seed) throws Exception {
    DataOutputStream out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 20));
    for (Api api : apis) {
      for (boolean response : new boolean[] {false, true}) {
        JsonNode definition = Definitions.of(api.key(), response);
        Method reader = converter(definition.get("name").asText());
        for (short version = api.first(); version <= api.last(); version++) {
          Draw draw = new Draw(definition, version, seed);
          for (int index = 0; index < count; index++) {
            JsonNode json = draw.message(index);
            ApiMessage message = (ApiMessage) reader.invoke(null, json, version);
            ByteBuffer body = MessageUtil.toByteBufferAccessor(message, version).buffer();
            out.writeInt(5 + body.remaining());
            out.writeShort(api.key());
            out.writeShort(version);
            out.writeByte(response ? 1 : 0);
            out.write(body.array(), body.arrayOffset() + body.position(), body.remaining());
          }
        }
      }
    }
    out.flush();
  }

  private static Method converter(String name) throws Exception {
    String type = "org.apache.kafka.common.message." + name + "DataJsonConverter";
    return Class.forName(type).getMethod("read", JsonNode.class, short.class);
  }

  private static void judge(List<Api> apis, int count) throws Exception {
    DataInputStream in = new DataInputStream(new BufferedInputStream(System.in, 1 << 20));
    Map<String, Integer> seen = new TreeMap<>();
    int messages = 0;
    int wrong = 0;
    for (Integer length = next(in); length != null; length = next(in)) {
      short key = in.readShort();
      short version = in.readShort();
      boolean response = in.readByte() == 1;
      byte[] body = in.readNBytes(length - 5);
      String verdict = verdict(key, version, response, body);
      messages++;
      seen.merge(key + " " + version + " " + response, 1, Integer::sum);
      if (verdict != null && ++wrong <= 10) {
        System.out.printf("key %d v%d response=%b: %s%n", key, version, response, verdict);
      }
    }
    for (Api api : apis) {
      for (short version = api.first(); version <= api.last(); version++) {
        for (boolean response : new boolean[] {false, true}) {
          if (seen.getOrDefault(api.key() + " " + version + " " + response, 0) < count) {
            System.out.printf("key %d v%d: fewer than %d%n", api.key(), version, count);
            wrong++;
          }
        }
      }
    }
    System.out.printf(
        "judged by Kafka: %d messages of %d keys, versions and directions, %d wrong%n",
        messages, seen.size(), wrong);
    System.exit(wrong == 0 && messages > 0 ? 0 : 1);
  }

  private static String verdict(short key, short version, boolean response, byte[] body) {
    try {
      ApiMessageType type = ApiMessageType.fromApiKey(key);
      ApiMessage message = response ? type.newResponse() : type.newRequest();
      ByteBufferAccessor accessor = new ByteBufferAccessor(ByteBuffer.wrap(body));
      message.read(accessor, version);
      if (accessor.remaining() != 0) {
        return accessor.remaining() + " bytes left over";
      }
      if (!message.unknownTaggedFields().isEmpty()) {
        return "tagged fields that Kafka does not know";
      }
      ByteBuffer again = MessageUtil.toByteBufferAccessor(message, version).buffer();
      byte[] bytes = Arrays.copyOfRange(again.array(), again.arrayOffset(), again.limit());
      HexFormat hex = HexFormat.of();
      return Arrays.equals(bytes, body)
          ? null
          : "sent " + hex.formatHex(body) + " but Kafka writes " + hex.formatHex(bytes);
    } catch (RuntimeException refusal) {
      return refusal.toString();
    }
  }

  private static Integer next(DataInputStream in) throws IOException {
    try {
      return in.readInt();
    } catch (EOFException end) {
      return null;
    }
  }
}
