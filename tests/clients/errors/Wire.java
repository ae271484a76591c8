import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.lang.reflect.Method;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.requests.ResponseHeader;

/** One connection that sends requests as they are given, however wrong, and reads raw answers. */
final class Wire {
    private static final int ANSWER_MS_MAX = 15_000;
    private static final int FRAME_BYTES_MAX = 64 << 20;

    private final InetSocketAddress address;
    private Socket socket;
    private DataInputStream in;
    private int correlation;
    private int cases;

    Wire(String bootstrap) {
        int colon = bootstrap.lastIndexOf(':');
        address = new InetSocketAddress(
            bootstrap.substring(0, colon), Integer.parseInt(bootstrap.substring(colon + 1)));
    }

    int cases() {
        return cases;
    }

    /** Ends the connection; the next request opens another. */
    void reconnect() throws IOException {
        if (socket != null) {
            socket.close();
            socket = null;
        }
    }

    private void connect() throws IOException {
        if (socket == null) {
            socket = new Socket();
            socket.connect(address, ANSWER_MS_MAX);
            socket.setSoTimeout(ANSWER_MS_MAX);
            socket.setTcpNoDelay(true);
            in = new DataInputStream(socket.getInputStream());
        }
    }

    /** Sends a request and returns its answer. */
    ApiMessage ask(ApiKeys key, int version, ApiMessage request) throws IOException {
        byte[] body = MessageUtil.toByteBufferAccessor(request, (short) version).buffer().array();
        return answer(key, (short) version, frame(key, (short) version, body));
    }

    /** The error codes and messages of an answer, in the order of the message's definition. */
    static List<String> errors(ApiKeys key, int version, ApiMessage answer) {
        List<String> found = new ArrayList<>();
        collect(json(key, answer, (short) version), "", found);
        return found;
    }

    /** Sends a request and prints the error codes and messages of its answer. */
    void show(String name, ApiKeys key, int version, ApiMessage request) {
        print(name, key, version, () -> ask(key, version, request));
    }

    /** The same for a body made by hand. */
    void showRaw(String name, ApiKeys key, int version, byte[] body) {
        print(name, key, version, () ->
            answer(key, (short) version, frame(key, (short) version, body)));
    }

    /** Sends bytes as they are, and prints whether anything comes back. */
    void showBytes(String name, byte[] bytes) {
        cases++;
        String result;
        try {
            reconnect();
            connect();
            socket.getOutputStream().write(bytes);
            socket.getOutputStream().flush();
            byte[] answer = readFrame();
            result = "answered with " + answer.length + " bytes";
        } catch (SocketTimeoutException e) {
            result = "no answer";
        } catch (EOFException | SocketException e) {
            result = "closed";
        } catch (IOException e) {
            result = e.toString();
        }
        System.out.println(name + ": " + result);
        close();
    }

    private interface Exchange {
        ApiMessage run() throws IOException;
    }

    private void print(String name, ApiKeys key, int version, Exchange exchange) {
        cases++;
        String result;
        try {
            List<String> found = errors(key, version, exchange.run());
            result = found.isEmpty() ? "answered" : String.join(", ", found);
        } catch (SocketTimeoutException e) {
            result = "no answer";
            close();
        } catch (EOFException | SocketException e) {
            result = "closed";
            close();
        } catch (IOException | RuntimeException e) {
            result = "unreadable: " + e;
            close();
        }
        System.out.println(key.name + " v" + version + ", " + name + ": " + result);
    }

    private void close() {
        try {
            reconnect();
        } catch (IOException e) {
            socket = null;
        }
    }

    byte[] frame(ApiKeys key, short version, byte[] body) {
        RequestHeader header = new RequestHeader(key, version, "errors", ++correlation);
        ByteBuffer head = MessageUtil.toByteBufferAccessor(header.data(), header.headerVersion())
            .buffer();
        ByteBuffer all = ByteBuffer.allocate(4 + head.remaining() + body.length);
        all.putInt(head.remaining() + body.length).put(head).put(body);
        return all.array();
    }

    private ApiMessage answer(ApiKeys key, short version, byte[] frame) throws IOException {
        connect();
        socket.getOutputStream().write(frame);
        socket.getOutputStream().flush();
        ByteBufferAccessor reader = new ByteBufferAccessor(ByteBuffer.wrap(readFrame()));
        short read = version;
        ResponseHeader.parse(reader.buffer(), key.responseHeaderVersion(version));
        if (key == ApiKeys.API_VERSIONS && !key.isVersionSupported(version)) {
            read = 0;
        }
        ApiMessage answer = key.messageType.newResponse();
        answer.read(reader, read);
        return answer;
    }

    private byte[] readFrame() throws IOException {
        int length = in.readInt();
        if (length < 4 || length > FRAME_BYTES_MAX) {
            throw new IOException("an answer of " + length + " bytes");
        }
        byte[] bytes = new byte[length];
        in.readFully(bytes);
        return bytes;
    }

    private static JsonNode json(ApiKeys key, ApiMessage answer, short version) {
        if (key == ApiKeys.API_VERSIONS && !key.isVersionSupported(version)) {
            version = 0;
        }
        try {
            String type = answer.getClass().getName() + "JsonConverter";
            Method write = Class.forName(type)
                .getMethod("write", answer.getClass(), short.class);
            return (JsonNode) write.invoke(null, answer, version);
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void collect(JsonNode node, String name, List<String> found) {
        if (node.isObject()) {
            node.properties().forEach(field -> {
                String child = field.getKey();
                JsonNode value = field.getValue();
                if (child.equals("errorCode")) {
                    found.add(Errors.forCode((short) value.asInt()).name());
                } else if (child.toLowerCase().contains("errormessage")) {
                    if (!value.isNull()) {
                        found.add('"' + value.asText() + '"');
                    }
                } else {
                    collect(value, child, found);
                }
            });
        } else if (node.isArray()) {
            node.forEach(element -> collect(element, name, found));
        }
    }

    static byte[] concat(byte[]... parts) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        for (byte[] part : parts) {
            out.writeBytes(part);
        }
        return out.toByteArray();
    }
}
