import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * Kafka's definitions in the words of the schema files: "key direction path type versions ...", one
 * line for each field that some version of the given APIs has, and the headers of each version.
 */
final class Facts {
  private Facts() {}

  static void print(List<Oracle.Api> apis) throws Exception {
    for (Oracle.Api api : apis) {
      for (boolean response : new boolean[] {false, true}) {
        JsonNode definition = Definitions.of(api.key(), response);
        String start = api.key() + " " + (response ? "response" : "request") + " ";
        fields(api, definition, definition.get("fields"), start);
        System.out.println(start + "flexible " + definition.get("flexibleVersions").asText());
      }
      for (short version = api.first(); version <= api.last(); version++) {
        headers(api.key(), version);
      }
    }
  }

  /** The bytes of both headers, for correlation id 7 and client id "c". */
  private static void headers(short key, short version) {
    ApiMessageType type = ApiMessageType.fromApiKey(key);
    short requestVersion = type.requestHeaderVersion(version);
    RequestHeaderData request =
        new RequestHeaderData()
            .setRequestApiKey(key)
            .setRequestApiVersion(version)
            .setCorrelationId(7)
            .setClientId("c");
    ResponseHeaderData response = new ResponseHeaderData().setCorrelationId(7);
    System.out.printf(
        "%d v%d headers %s %s%n",
        key,
        version,
        hex(request, requestVersion),
        hex(response, type.responseHeaderVersion(version)));
  }

  private static String hex(Message message, short version) {
    ByteBuffer bytes = MessageUtil.toByteBufferAccessor(message, version).buffer();
    return HexFormat.of().formatHex(bytes.array(), bytes.arrayOffset(), bytes.limit());
  }

  private static void fields(Oracle.Api api, JsonNode definition, JsonNode fields, String path) {
    for (JsonNode field : fields) {
      boolean met = false;
      for (short version = api.first(); version <= api.last(); version++) {
        met |= Definitions.holds(field.get("versions"), version);
      }
      if (!met) {
        continue;
      }
      String here = path + "/" + snake(field.get("name").asText());
      JsonNode inner = Definitions.fields(definition, field);
      System.out.println(here + line(field, inner != null));
      if (inner != null) {
        fields(api, definition, inner, here);
      }
    }
  }

  private static String line(JsonNode field, boolean struct) {
    String type = field.get("type").asText();
    StringBuilder line = new StringBuilder(" ");
    line.append(struct ? (type.startsWith("[]") ? "[]struct" : "struct") : type);
    line.append(' ').append(field.get("versions").asText());
    if (field.has("nullableVersions") && !field.get("nullableVersions").asText().equals("none")) {
      line.append(" null ").append(field.get("nullableVersions").asText());
    }
    if (field.has("default") && !field.get("default").asText().isEmpty()) {
      line.append(" = ").append(field.get("default").asText());
    } else if (type.equals("records")) {
      line.append(" = null");
    }
    if (field.has("tag")) {
      line.append(" tag ").append(field.get("tag").asInt());
    }
    return line.append(field.path("ignorable").asBoolean() ? " ignorable" : "").toString();
  }

  private static String snake(String name) {
    return name.replaceAll("([a-z0-9])([A-Z])", "$1_$2").toLowerCase();
  }
}
