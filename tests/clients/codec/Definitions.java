import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.InputStream;
import org.apache.kafka.common.message.ApiMessageType;

/** Kafka's message definitions, as they lie in the jar of its client. */
final class Definitions {
  private static final ObjectMapper MAPPER =
      new ObjectMapper().configure(JsonParser.Feature.ALLOW_COMMENTS, true);

  private Definitions() {}

  static JsonNode of(short key, boolean response) throws Exception {
    String name = ApiMessageType.fromApiKey(key).name + (response ? "Response" : "Request");
    try (InputStream in =
        Definitions.class.getResourceAsStream("/common/message/" + name + ".json")) {
      return MAPPER.readTree(in);
    }
  }

  /** The fields of the struct a field is made of, or null for plain types. */
  static JsonNode fields(JsonNode definition, JsonNode field) {
    if (field.has("fields")) {
      return field.get("fields");
    }
    String type = field.get("type").asText().replace("[]", "");
    if (definition.has("commonStructs")) {
      for (JsonNode struct : definition.get("commonStructs")) {
        if (struct.get("name").asText().equals(type)) {
          return struct.get("fields");
        }
      }
    }
    return null;
  }

  /** Whether a version lies in a range such as "3+", "1-4", "2" or "none"; absent means none. */
  static boolean holds(JsonNode range, int version) {
    if (range == null || range.asText().equals("none")) {
      return false;
    }
    String text = range.asText();
    if (text.endsWith("+")) {
      return version >= Integer.parseInt(text.substring(0, text.length() - 1));
    }
    String[] ends = text.split("-");
    return version >= Integer.parseInt(ends[0])
        && version <= Integer.parseInt(ends[ends.length - 1]);
  }
}
