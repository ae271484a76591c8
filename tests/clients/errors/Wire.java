import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
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
    private final Shown shown;
    private int correlation;
    private int cases;
    private ApiMessage last;

    Wire(String bootstrap, Shown shown) {
        this.shown = shown;
        int colon = bootstrap.lastIndexOf(':');
        address = new InetSocketAddress(
            bootstrap.substring(0, colon), Integer.parseInt(bootstrap.substring(colon + 1)));
    }

    int cases() {
        return cases;
    }

    /** The last answer that was printed, or null. */
    ApiMessage last() {
        return last;
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
        send(key, version, bytes(request, version));
        return read(key, (short) version);
    }

    static byte[] bytes(ApiMessage request, int version) {
        return MessageUtil.toByteBufferAccessor(request, (short) version).buffer().array();
    }

    /** Sends a request, whose body may be wrong, without waiting for its answer. */
    void send(ApiKeys key, int version, byte[] body) throws IOException {
        connect();
        socket.getOutputStream().write(frame(key, (short) version, body));
        socket.getOutputStream().flush();
    }

    /** Prints the answer to what was sent. */
    void take(String name, ApiKeys key, int version, boolean ordered) {
        cases++;
        last = null;
        String result;
        try {
            last = read(key, (short) version);
            result = shown.text(key, version, last, ordered);
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

    private ApiMessage read(ApiKeys key, short version) throws IOException {
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
}
