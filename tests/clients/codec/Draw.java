import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Random;
import org.apache.kafka.common.Uuid;

/** Draws messages of one version as JSON that Kafka's converters read. */
final class Draw {
  private enum Fill {
    /** Nothing default, every tagged field present. */
    FULL,
    /** Null wherever null is legal, tagged fields absent unless they can be null. */
    NULLS,
    /** Nothing default, tagged fields absent. */
    UNTAGGED,
    /** Anything legal. */
    RANDOM
  }

  private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
  private static final String[] LETTERS = {"a", "Z", "7", ".", "-", "é", "日", "𝄞"};

  private final JsonNode definition;
  private final short version;
  private final Random random;
  private Fill fill = Fill.FULL;

  Draw(JsonNode definition, short version, long seed) {
    this.definition = definition;
    this.version = version;
    this.random = new Random(seed ^ (definition.get("name").asText().hashCode() * 31L + version));
  }

  JsonNode message(int index) {
    fill =
        switch (index % 8) {
          case 0 -> Fill.FULL;
          case 1 -> Fill.NULLS;
          case 2 -> Fill.UNTAGGED;
          default -> Fill.RANDOM;
        };
    return struct(definition.get("fields"), false);
  }

  /** With strict, not all fields may hold their default. */
  private ObjectNode struct(JsonNode fields, boolean strict) {
    ObjectNode node = JSON.objectNode();
    for (JsonNode field : fields) {
      if (!Definitions.holds(field.get("versions"), version)) {
        continue;
      }
      boolean tagged = Definitions.holds(field.get("taggedVersions"), version);
      if (tagged && !present()) {
        continue;
      }
      String name = field.get("name").asText();
      String key = Character.toLowerCase(name.charAt(0)) + name.substring(1);
      node.set(key, field(field, strict || tagged));
    }
    return node;
  }

  private boolean present() {
    return fill == Fill.FULL || (fill == Fill.RANDOM && random.nextBoolean());
  }

  private JsonNode field(JsonNode field, boolean strict) {
    if (Definitions.holds(field.get("nullableVersions"), version)) {
      boolean some = fill == Fill.RANDOM && !strict && random.nextInt(4) == 0;
      if (fill == Fill.NULLS || some) {
        return JSON.nullNode();
      }
    }
    String type = field.get("type").asText();
    if (!type.startsWith("[]")) {
      return value(field, type, strict);
    }
    ArrayNode array = JSON.arrayNode();
    int count = fill == Fill.RANDOM && !strict ? random.nextInt(4) : 1 + random.nextInt(2);
    for (int index = 0; index < count; index++) {
      array.add(value(field, type.substring(2), strict));
    }
    return array;
  }

  private JsonNode value(JsonNode field, String type, boolean strict) {
    boolean loose = fill == Fill.RANDOM && !strict;
    boolean usual = loose && random.nextInt(4) == 0;
    String text = field.get("type").asText().startsWith("[]") ? null : usualText(field);
    switch (type) {
      case "bool":
        boolean isTrue = "true".equals(text);
        return JSON.booleanNode(usual == isTrue);
      case "int8":
        return JSON.numberNode((byte) number(usual, text, Byte.MIN_VALUE, Byte.MAX_VALUE));
      case "int16":
        return JSON.numberNode((short) number(usual, text, Short.MIN_VALUE, Short.MAX_VALUE));
      case "uint16":
        return JSON.numberNode((int) number(usual, text, 0, 0xffff));
      case "int32":
        return JSON.numberNode((int) number(usual, text, Integer.MIN_VALUE, Integer.MAX_VALUE));
      case "int64":
        return JSON.numberNode(number(usual, text, Long.MIN_VALUE, Long.MAX_VALUE));
      case "uuid":
        Uuid id = usual ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
        return JSON.textNode(id.toString());
      case "string":
        return JSON.textNode(letters(loose ? new int[] {0, 3, 11, 130}[random.nextInt(4)] : 5));
      case "bytes":
      case "records":
        byte[] bytes = new byte[loose ? new int[] {0, 1, 100, 3000}[random.nextInt(4)] : 200];
        random.nextBytes(bytes);
        return JSON.binaryNode(bytes);
      default:
        return struct(Definitions.fields(definition, field), strict);
    }
  }

  private static String usualText(JsonNode field) {
    return field.has("default") ? field.get("default").asText() : null;
  }

  private long number(boolean usual, String text, long least, long most) {
    long standard = text == null || text.isEmpty() ? 0 : Long.decode(text);
    if (usual) {
      return standard;
    }
    while (true) {
      boolean wide = least == Long.MIN_VALUE;
      long drawn = wide ? random.nextLong() : random.nextLong(least, most + 1);
      if (random.nextInt(4) == 0) {
        drawn = Math.max(least, new long[] {0, 1, -1, least, most}[random.nextInt(5)]);
      }
      if (drawn != standard) {
        return drawn;
      }
    }
  }

  private String letters(int count) {
    StringBuilder text = new StringBuilder();
    for (int index = 0; index < count; index++) {
      text.append(LETTERS[random.nextInt(LETTERS.length)]);
    }
    return text.toString();
  }
}
