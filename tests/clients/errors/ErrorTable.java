import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.Map;
import org.apache.kafka.common.message.CreateTopicsResponseData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;

/**
 * Sends a table of wrong requests to a broker and prints the codes and messages of the answers.
 *
 * <p>Usage: ErrorTable BOOTSTRAP TABLE. A line of the table is one of
 * <pre>
 *   # comment
 *   KEY VERSION | what is wrong | {the fields of the body that differ from their defaults}
 *   KEY VERSION | what is wrong | hex BYTES of a body
 *   bytes | what is wrong | HEX of a whole frame
 *   do KEY VERSION | why | {...}       prepares what follows; repeated until it succeeds
 *   reconnect
 * </pre>
 * `$id:TOPIC` stands for a topic's id, `$member` for the member of the group `live`, `$producer`
 * for a producer id of this run.
 */
final class ErrorTable {
    private static final long READY_NS_MAX = 30_000_000_000L;

    private final ObjectMapper json = JsonMapper.builder()
        .enable(JsonReadFeature.ALLOW_UNQUOTED_FIELD_NAMES)
        .enable(JsonReadFeature.ALLOW_SINGLE_QUOTES).build();
    private final Messages messages = new Messages(new Batches());
    private final Map<String, String> names = new HashMap<>();
    private final Wire wire;

    private ErrorTable(String bootstrap) {
        wire = new Wire(bootstrap);
    }

    private static ApiKeys key(String name) {
        for (ApiKeys key : ApiKeys.values()) {
            if (key.name.equals(name)) {
                return key;
            }
        }
        throw new IllegalArgumentException("no request is called " + name);
    }

    private ApiMessage request(ApiKeys key, String body) throws Exception {
        JsonNode node = json.readTree(substitute(body));
        return messages.fill(key.messageType.newRequest(), node);
    }

    private String substitute(String body) throws Exception {
        String result = body;
        for (Map.Entry<String, String> entry : names.entrySet()) {
            result = result.replace(entry.getKey(), entry.getValue());
        }
        return result;
    }

    /** Whether an error code or message of a preparing request means success. */
    private boolean harmless(String found) {
        return found.equals("NONE") || found.equals("\"\"");
    }

    private void prepare(ApiKeys key, int version, String body) throws Exception {
        ApiMessage answer = wire.ask(key, version, request(key, body));
        long end = System.nanoTime() + READY_NS_MAX;
        while (!Wire.errors(key, version, answer).stream().allMatch(this::harmless)) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException(Wire.errors(key, version, answer).toString());
            }
            Thread.sleep(100);
            answer = wire.ask(key, version, request(key, body));
        }
        if (answer instanceof CreateTopicsResponseData) {
            learnTopics();
        } else if (answer instanceof JoinGroupResponseData joined) {
            names.put("$member", joined.memberId());
        } else if (answer instanceof InitProducerIdResponseData producer) {
            names.put("$producer", Long.toString(producer.producerId()));
        }
    }

    private void learnTopics() throws Exception {
        MetadataRequestData all = new MetadataRequestData().setTopics(null);
        MetadataResponseData answer = (MetadataResponseData) wire.ask(ApiKeys.METADATA, 12, all);
        answer.topics().forEach(topic ->
            names.put("$id:" + topic.name() + "'", topic.topicId() + "'"));
    }

    private void line(String line) throws Exception {
        if (line.isBlank() || line.startsWith("#")) {
            return;
        }
        if (line.equals("reconnect")) {
            wire.reconnect();
            return;
        }
        String[] parts = line.split(" \\| ", 3);
        if (parts[0].equals("bytes")) {
            wire.showBytes(parts[1], HexFormat.of().parseHex(parts[2].replace(" ", "")));
            return;
        }
        String[] head = parts[0].split(" ");
        boolean prepares = head[0].equals("do");
        ApiKeys key = key(head[prepares ? 1 : 0]);
        int version = Integer.parseInt(head[prepares ? 2 : 1]);
        if (prepares) {
            prepare(key, version, parts[2]);
        } else if (parts[2].startsWith("hex")) {
            wire.showRaw(parts[1], key, version,
                HexFormat.of().parseHex(parts[2].substring(3).replace(" ", "")));
        } else {
            wire.show(parts[1], key, version, request(key, parts[2]));
        }
    }

    public static void main(String[] args) throws Exception {
        ErrorTable table = new ErrorTable(args[0]);
        int number = 0;
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            number++;
            try {
                table.line(line);
            } catch (Exception e) {
                throw new IllegalStateException(args[1] + ":" + number + ": " + e, e);
            }
        }
        System.out.println(table.wire.cases() + " requests");
    }
}
