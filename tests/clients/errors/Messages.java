import com.fasterxml.jackson.databind.JsonNode;
import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.record.BaseRecords;
import org.apache.kafka.common.record.MemoryRecords;

/** Fills Kafka's generated message classes from JSON in which only what matters is written. */
final class Messages {
    private final Batches batches;

    Messages(Batches batches) {
        this.batches = batches;
    }

    /** A message with its defaults, but for the fields that the object names. */
    <T> T fill(T message, JsonNode object) throws ReflectiveOperationException {
        for (Map.Entry<String, JsonNode> field : object.properties()) {
            Method setter = setter(message.getClass(), field.getKey());
            setter.invoke(message,
                value(setter.getGenericParameterTypes()[0], field.getValue()));
        }
        return message;
    }

    private static Method setter(Class<?> type, String field) {
        String name = "set" + Character.toUpperCase(field.charAt(0)) + field.substring(1);
        for (Method method : type.getMethods()) {
            if (method.getName().equals(name) && method.getParameterCount() == 1) {
                return method;
            }
        }
        throw new IllegalArgumentException(type.getSimpleName() + " has no field " + field);
    }

    private Object value(Type type, JsonNode node) throws ReflectiveOperationException {
        if (node.isNull()) {
            return null;
        }
        if (type instanceof ParameterizedType list) {
            List<Object> values = new ArrayList<>();
            for (JsonNode element : node) {
                values.add(value(list.getActualTypeArguments()[0], element));
            }
            return values;
        }
        Class<?> plain = (Class<?>) type;
        if (plain == int.class || plain == Integer.class) {
            return node.intValue();
        } else if (plain == long.class || plain == Long.class) {
            return node.longValue();
        } else if (plain == short.class || plain == Short.class) {
            return (short) node.intValue();
        } else if (plain == byte.class || plain == Byte.class) {
            return (byte) node.intValue();
        } else if (plain == boolean.class) {
            return node.booleanValue();
        } else if (plain == String.class) {
            return node.textValue();
        } else if (plain == Uuid.class) {
            return Uuid.fromString(node.textValue());
        } else if (plain == byte[].class) {
            return node.textValue().getBytes(java.nio.charset.StandardCharsets.UTF_8);
        } else if (plain == BaseRecords.class) {
            return MemoryRecords.readableRecords(batches.named(node.textValue()));
        } else if (Collection.class.isAssignableFrom(plain)) {
            return collection(plain, node);
        }
        return fill(create(plain), node);
    }

    /** Kafka's keyed collections: their elements' type is that of the method `find`'s result. */
    private Object collection(Class<?> type, JsonNode node) throws ReflectiveOperationException {
        @SuppressWarnings("unchecked")
        Collection<Object> all = (Collection<Object>) create(type);
        Class<?> element = null;
        for (Method method : type.getDeclaredMethods()) {
            if (method.getName().equals("find")) {
                element = method.getReturnType();
            }
        }
        for (JsonNode one : node) {
            Object filled = value(element, one);
            Method mustAdd = type.getMethod("add",
                Class.forName("org.apache.kafka.common.utils.ImplicitLinkedHashCollection$Element"));
            mustAdd.invoke(all, filled);
        }
        return all;
    }

    private static <T> T create(Class<T> type) throws ReflectiveOperationException {
        Constructor<T> constructor = type.getConstructor();
        return constructor.newInstance();
    }
}
