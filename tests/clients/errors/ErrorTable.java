import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.message.CreateTopicsResponseData;
import org.apache.kafka.common.message.InitProducerIdResponseData;
import org.apache.kafka.common.message.JoinGroupResponseData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;

/**
 * Sends a table of requests to a broker and prints the codes and messages of the answers, or the
 * whole answers.
 *
 * <p>Usage: ErrorTable BOOTSTRAP TABLE codes|whole. A line of the table is one of
 * <pre>
 *   # comment
 *   KEY VERSION | what is wrong | {the fields of the body that differ from their defaults}
 *   KEY VERSION | what is wrong | hex BYTES of a body
 *   bytes | what is wrong | HEX of a whole frame
 *   do KEY VERSION | why | {...}       prepares what follows; repeated until it succeeds
 *   reconnect
 *   on NAME LINE                       the line on another connection, which has this name
 *   send KEY VERSION | what | {...}    without waiting; `take` prints the answer
 *   take
 *   keep $NAME FIELD                   a field of the last printed answer, to be used below
 * </pre>
 * Before KEY may stand `stricter` (ringlog refuses what Apache Kafka stores, on purpose) and
 * `until TEXT` (asks again until the answer holds the text),
 * `ordered` (the lists of the answer have an order; others are compared sorted).
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
    private final Map<String, Wire> others = new HashMap<>();
    private final Map<Wire, Taking> pending = new HashMap<>();
    private final Shown shown;
    private final String bootstrap;
    private Wire wire;
    private ApiMessage last;
    private Taking lastTaken;

    private ErrorTable(String bootstrap, boolean whole) {
        this.bootstrap = bootstrap;
        shown = new Shown(whole, names);
        wire = new Wire(bootstrap, shown);
    }

    private int cases() {
        return wire.cases() + others.values().stream().mapToInt(Wire::cases).sum();
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

    private static List<String> errors(ApiKeys key, int version, ApiMessage answer) {
        return Shown.errors(Shown.json(key, answer, (short) version));
    }

    private void prepare(ApiKeys key, int version, String body) throws Exception {
        ApiMessage answer = wire.ask(key, version, request(key, body));
        long end = System.nanoTime() + READY_NS_MAX;
        while (!errors(key, version, answer).stream().allMatch(this::harmless)) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException(errors(key, version, answer).toString());
            }
            Thread.sleep(100);
            answer = wire.ask(key, version, request(key, body));
        }
        if (answer instanceof CreateTopicsResponseData || answer instanceof MetadataResponseData) {
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

    private void keep(String name, String field) {
        JsonNode answer = Shown.json(lastTaken.key, last, (short) lastTaken.version);
        names.put(name, answer.findValue(field).asText());
    }

    private void line(String line) throws Exception {
        if (line.isBlank() || line.startsWith("#")) {
            return;
        }
        String[] words = line.split(" ");
        switch (words[0]) {
            case "on" -> {
                Wire before = wire;
                wire = others.computeIfAbsent(words[1], name -> new Wire(bootstrap, shown));
                line(line.split(" ", 3)[2]);
                wire = before;
            }
            case "reconnect" -> wire.reconnect();
            case "take" -> take(pending.remove(wire));
            case "keep" -> keep(words[1], words[2]);
            default -> request(line.split(" \\| ", 3));
        }
    }

    private void request(String[] parts) throws Exception {
        if (parts[0].equals("bytes")) {
            wire.showBytes(parts[1], HexFormat.of().parseHex(parts[2].replace(" ", "")));
            return;
        }
        List<String> head = new ArrayList<>(List.of(parts[0].split(" ")));
        boolean prepares = head.remove("do");
        boolean waits = !head.remove("send");
        boolean ordered = head.remove("ordered");
        String name = head.remove("stricter") ? "stricter, " + parts[1] : parts[1];
        String wanted = head.remove("until") ? head.remove(0) : null;
        ApiKeys key = key(head.get(0));
        int version = Integer.parseInt(head.get(1));
        if (wanted != null) {
            await(wanted, key, version, parts[2]);
        }
        if (prepares) {
            prepare(key, version, parts[2]);
            return;
        }
        byte[] body = parts[2].startsWith("hex")
            ? HexFormat.of().parseHex(parts[2].substring(3).replace(" ", ""))
            : Wire.bytes(request(key, parts[2]), version);
        wire.send(key, version, body);
        Taking taking = new Taking(name, key, version, ordered);
        if (waits) {
            take(taking);
        } else {
            pending.put(wire, taking);
        }
    }

    /** Asks until the answer holds a text. */
    private void await(String wanted, ApiKeys key, int version, String body) throws Exception {
        long end = System.nanoTime() + READY_NS_MAX;
        String answer;
        do {
            Thread.sleep(50);
            answer = shown.text(key, version, wire.ask(key, version, request(key, body)), true);
        } while (!answer.contains(wanted) && System.nanoTime() < end);
    }

    private record Taking(String name, ApiKeys key, int version, boolean ordered) {}

    private void take(Taking taking) {
        wire.take(taking.name, taking.key, taking.version, taking.ordered);
        last = wire.last();
        lastTaken = taking;
    }

    public static void main(String[] args) throws Exception {
        ErrorTable table = new ErrorTable(args[0], args[2].equals("whole"));
        int number = 0;
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            number++;
            try {
                table.line(line);
            } catch (Exception e) {
                throw new IllegalStateException(args[1] + ":" + number + ": " + e, e);
            }
        }
        System.out.println(table.cases() + " requests");
    }
}
