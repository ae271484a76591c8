import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.lang.reflect.Method;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;

/** Answers as text: their error codes and messages alone, or all they say. */
final class Shown {
    private static final ObjectMapper JSON = new ObjectMapper();
    /** What is random and has no name in the table. */
    private static final Pattern UNNAMED =
        Pattern.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}");

    private final boolean whole;
    private final Map<String, String> names;

    /** Values that differ from run to run are shown by the names they have in the table. */
    Shown(boolean whole, Map<String, String> names) {
        this.whole = whole;
        this.names = names;
    }

    String text(ApiKeys key, int version, ApiMessage answer, boolean ordered) {
        JsonNode node = json(key, answer, (short) version);
        if (!whole) {
            List<String> found = errors(node);
            return found.isEmpty() ? "answered" : String.join(", ", found);
        }
        readable(node, records(answer));
        String text = node.toString();
        for (Map.Entry<String, String> name : names.entrySet()) {
            text = text.replace('"' + name.getValue().replace("'", "") + '"',
                '"' + name.getKey().replace("'", "") + '"');
        }
        return ordered ? text : sorted(UNNAMED.matcher(text).replaceAll("UUID"));
    }

    private static String sorted(String text) {
        try {
            JsonNode node = JSON.readTree(text);
            sort(node);
            return node.toString();
        } catch (JsonProcessingException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Codes as names, and records as what is in them. */
    private static void readable(JsonNode node, Deque<String> records) {
        if (node instanceof ObjectNode object) {
            for (Map.Entry<String, JsonNode> field : List.copyOf(object.properties())) {
                if (field.getKey().equals("errorCode")) {
                    String name = Errors.forCode((short) field.getValue().asInt()).name();
                    object.set(field.getKey(), new TextNode(name));
                } else if (field.getKey().startsWith("records")) {
                    object.set(field.getKey(), new TextNode(records.remove()));
                } else {
                    readable(field.getValue(), records);
                }
            }
        } else {
            node.forEach(element -> readable(element, records));
        }
    }

    private static Deque<String> records(ApiMessage answer) {
        Deque<String> all = new ArrayDeque<>();
        if (answer instanceof FetchResponseData fetched) {
            fetched.responses().forEach(topic -> topic.partitions().forEach(partition ->
                all.add(batches((MemoryRecords) partition.records()))));
        }
        return all;
    }

    private static String batches(MemoryRecords records) {
        if (records == null) {
            return "null";
        }
        StringBuilder text = new StringBuilder();
        for (MutableRecordBatch batch : records.batches()) {
            text.append(batch.baseOffset()).append('-').append(batch.lastOffset())
                .append(" epoch ").append(batch.partitionLeaderEpoch())
                .append(' ').append(batch.compressionType())
                .append(' ').append(batch.timestampType())
                .append(" of ").append(batch.producerEpoch()).append('/')
                .append(batch.baseSequence()).append(':');
            for (Record record : batch) {
                text.append(' ').append(record.offset()).append('+').append(record.valueSize());
            }
            text.append("; ");
        }
        // Kafka may send the head of one more batch, which clients skip.
        return text.toString();
    }

    private static void sort(JsonNode node) {
        node.forEach(Shown::sort);
        if (node instanceof ArrayNode array) {
            List<JsonNode> elements = new ArrayList<>();
            array.forEach(elements::add);
            elements.sort(Comparator.comparing(JsonNode::toString));
            array.removeAll().addAll(elements);
        }
    }

    /** The error codes and messages of an answer, in the order of the message's definition. */
    static List<String> errors(JsonNode answer) {
        List<String> found = new ArrayList<>();
        collect(answer, found);
        return found;
    }

    private static void collect(JsonNode node, List<String> found) {
        if (!node.isObject()) {
            node.forEach(element -> collect(element, found));
            return;
        }
        node.properties().forEach(field -> {
            JsonNode value = field.getValue();
            if (field.getKey().equals("errorCode")) {
                found.add(Errors.forCode((short) value.asInt()).name());
            } else if (!field.getKey().toLowerCase().contains("errormessage")) {
                collect(value, found);
            } else if (!value.isNull()) {
                found.add('"' + value.asText() + '"');
            }
        });
    }

    static JsonNode json(ApiKeys key, ApiMessage answer, short version) {
        boolean unknown = key == ApiKeys.API_VERSIONS && !key.isVersionSupported(version);
        try {
            String type = answer.getClass().getName() + "JsonConverter";
            Method write = Class.forName(type)
                .getMethod("write", answer.getClass(), short.class);
            return (JsonNode) write.invoke(null, answer, unknown ? (short) 0 : version);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }
}
