// Asks Apache Kafka's own log what it does with produced batches, good and damaged, and with the
// sequence numbers of idempotent producers. Its output is ../verdicts.txt; storage/tests/verdicts.rs
// holds ours against it. Run with the jars of a Kafka broker:
//
//     java -cp 'libs/*' Verdicts.java > ../verdicts.txt
//
// Lines: `now MS`, then
//     batch <topic> <version of Produce> <hex> ok <stored hex> | err <error> <indexes of records>
//     producer <id> <epoch> <sequence> <count> ok <base offset> | err <error>
import java.io.File;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.util.*;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.Crc32C;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.storage.log.FetchIsolation;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class Verdicts {
    static final long NOW = 1_764_000_000_000L;
    static final Random random = new Random(42);
    static final Time time = new Time() {
        public long milliseconds() { return NOW; }
        public long nanoseconds() { return 0; }
        public void sleep(long ms) { }
        public void waitObject(Object o, Supplier<Boolean> done, long deadline) { }
    };

    // Settings of topics, by the names under which the Rust side knows them.
    static final Map<String, Map<String, String>> TOPICS = new LinkedHashMap<>();
    static {
        TOPICS.put("plain", Map.of());
        TOPICS.put("append", Map.of("message.timestamp.type", "LogAppendTime"));
        TOPICS.put("compact", Map.of("cleanup.policy", "compact"));
        TOPICS.put("before", Map.of("message.timestamp.before.max.ms", "1000"));
        TOPICS.put("small", Map.of("max.message.bytes", "150"));
        for (String codec : new String[] {"uncompressed", "gzip", "snappy", "lz4", "zstd"})
            TOPICS.put(codec, Map.of("compression.type", codec));
        TOPICS.put("append-zstd",
            Map.of("message.timestamp.type", "LogAppendTime", "compression.type", "zstd"));
    }

    static UnifiedLog open(Map<String, String> settings) throws Exception {
        File parent = Files.createTempDirectory("verdicts").toFile();
        File dir = new File(parent, "topic-0");
        dir.mkdirs();
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        return UnifiedLog.create(dir, new LogConfig(settings), 0L, 0L, scheduler,
            new BrokerTopicStats(), time, 900_000,
            new ProducerStateManagerConfig(86_400_000, false), 600_000,
            new LogDirFailureChannel(1), true, Optional.empty());
    }

    static byte[] blob(int max) {
        if (random.nextInt(5) == 0) return null;
        byte[] bytes = new byte[random.nextInt(max)];
        for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) ('a' + random.nextInt(3));
        return bytes;
    }

    static long timestamp() {
        switch (random.nextInt(12)) {
            case 0: return -1;
            case 1: return NOW - 1000 - random.nextInt(2);
            case 2: return random.nextInt(3) == 0 ? NOW + 3_600_000 + random.nextInt(2) : NOW;
            case 3: return random.nextInt(3) == 0 ? -5 : 5;
            default: return NOW - random.nextInt(500);
        }
    }

    static Compression compression() {
        switch (random.nextInt(8)) {
            case 0: return Compression.gzip().build();
            case 1: return Compression.snappy().build();
            case 2: return Compression.lz4().build();
            case 3: return Compression.zstd().build();
            default: return Compression.NONE;
        }
    }

    static byte[] batch(byte magic) {
        Compression compression = compression();
        if (magic < 2 && compression.type() == CompressionType.ZSTD) compression = Compression.NONE;
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(ByteBuffer.allocate(4096), magic,
            compression, TimestampType.CREATE_TIME, 0, -1, -1, (short) -1, -1, false, false, -1, 4096);
        int count = 1 + random.nextInt(4);
        for (int i = 0; i < count; i++) {
            Header[] headers = new Header[magic < 2 ? 0 : random.nextInt(4) / 2];
            for (int h = 0; h < headers.length; h++) headers[h] = new RecordHeader("h" + h, blob(6));
            long timestamp = magic == 0 ? -1 : timestamp();
            if (magic == 1) timestamp = Math.max(timestamp, -1);
            byte[] key = blob(8);
            byte[] value = blob(20);
            try {
                builder.append(timestamp, key, value, headers);
            } catch (IllegalArgumentException e) {
                // The client refuses negative timestamps; a batch may claim them all the same.
                builder.append(0L, key, value, headers);
            }
        }
        ByteBuffer buffer = builder.build().buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    static void fixCrc(byte[] bytes) {
        if (bytes.length <= 21) return;
        int length = 12 + ByteBuffer.wrap(bytes).getInt(8);
        int end = length > 21 && length <= bytes.length ? length : bytes.length;
        long crc = Crc32C.compute(bytes, 21, end - 21);
        ByteBuffer.wrap(bytes).putInt(17, (int) crc);
    }

    // A batch with something wrong, more often in its header than in its records.
    static byte[] damage(byte[] bytes) {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        int[] ints = {-1, 0, 1, 2, 3, 4, 5, 13, 14, 49, 100, Integer.MAX_VALUE, Integer.MIN_VALUE};
        int any = ints[random.nextInt(ints.length)];
        boolean fix = random.nextInt(6) != 0;
        switch (random.nextInt(14)) {
            case 0: buffer.putLong(0, any); break;
            case 1: buffer.putInt(8, random.nextBoolean() ? any : bytes.length - 12 + random.nextInt(5) - 2); break;
            case 2: buffer.putInt(12, any); break;
            case 3: bytes[16] = (byte) any; break;
            case 4: buffer.putInt(17, any); fix = false; break;
            case 5: bytes[22] = (byte) (bytes[22] ^ (1 << random.nextInt(4))); break;
            case 6: buffer.putInt(23, any); break;
            case 7: buffer.putLong(35, random.nextBoolean() ? any : NOW + any); break;
            case 8: buffer.putLong(43, 7); buffer.putShort(51, (short) 0); buffer.putInt(53, random.nextInt(2) - 1); break;
            case 9: buffer.putInt(57, any); break;
            case 10: bytes = Arrays.copyOf(bytes, random.nextInt(bytes.length)); break;
            case 11: bytes = Arrays.copyOf(bytes, bytes.length + 1 + random.nextInt(40)); fix = false; break;
            default:
                if (bytes.length > 61) {
                    int at = 61 + random.nextInt(bytes.length - 61);
                    bytes[at] = random.nextBoolean() ? (byte) random.nextInt() : (byte) (bytes[at] + random.nextInt(5) - 2);
                }
        }
        if (fix) fixCrc(bytes);
        return bytes;
    }

    static String name(Throwable e) {
        return Errors.forException(e).name();
    }

    static String stored(UnifiedLog log, long offset) throws Exception {
        FileRecords records = (FileRecords) log.read(offset, 1 << 20, FetchIsolation.LOG_END, true).records;
        ByteBuffer buffer = ByteBuffer.allocate(records.sizeInBytes());
        records.readInto(buffer, 0);
        return HexFormat.of().formatHex(buffer.array(), 0, buffer.limit());
    }

    static String verdict(UnifiedLog log, byte[] bytes, short version) throws Exception {
        try {
            MemoryRecords records = MemoryRecords.readableRecords(ByteBuffer.wrap(bytes.clone()));
            ProduceRequest.validateRecords(version, records);
            LogAppendInfo info = log.appendAsLeader(records, 3, AppendOrigin.CLIENT,
                RequestLocal.noCaching(), VerificationGuard.SENTINEL, (short) 2);
            return "ok " + stored(log, info.firstOffset());
        } catch (RecordValidationException e) {
            return "err " + name(e.invalidException()) + " " + e.recordErrors().stream()
                .map(error -> "" + error.batchIndex).collect(Collectors.joining(","));
        } catch (Throwable e) {
            return "err " + name(e) + " -";
        }
    }

    static void batches(int count) throws Exception {
        Map<String, UnifiedLog> logs = new HashMap<>();
        for (var topic : TOPICS.entrySet()) logs.put(topic.getKey(), open(topic.getValue()));
        List<String> names = new ArrayList<>(TOPICS.keySet());
        for (int i = 0; i < count; i++) {
            byte[] bytes = batch((byte) (random.nextInt(30) == 0 ? random.nextInt(2) : 2));
            if (random.nextInt(3) != 0 && bytes[16] == 2) bytes = damage(bytes);
            if (random.nextInt(25) == 0) {
                byte[] more = batch((byte) 2);
                int first = bytes.length;
                bytes = Arrays.copyOf(bytes, first + 1 + random.nextInt(more.length));
                System.arraycopy(more, 0, bytes, first, bytes.length - first);
            }
            // Transactions are decided above the log.
            if (bytes.length > 22 && (bytes[22] & 0x10) != 0) continue;
            // A producer's sequence numbers have their own lines.
            if (bytes.length > 51 && ByteBuffer.wrap(bytes).getLong(43) >= 0) bytes = again(bytes);
            String topic = random.nextInt(2) == 0 ? "plain" : names.get(random.nextInt(names.size()));
            short version = (short) (random.nextInt(8) == 0 ? 6 : 9);
            System.out.println("batch " + topic + " " + version + " " + HexFormat.of().formatHex(bytes)
                + " " + verdict(logs.get(topic), bytes, version));
        }
    }

    static long nextProducer = 1000;

    // Gives a batch a producer of its own, so that no other line decides about it.
    static byte[] again(byte[] bytes) {
        boolean right = bytes.length > 61;
        ByteBuffer.wrap(bytes).putLong(43, nextProducer++);
        if (right) fixCrc(bytes);
        return bytes;
    }

    static void producers(int count) throws Exception {
        UnifiedLog log = open(Map.of());
        Map<Long, int[]> last = new HashMap<>();
        List<int[]> sent = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            int id = random.nextInt(3);
            int[] next = last.computeIfAbsent((long) id,
                any -> new int[] {0, id == 0 ? Integer.MAX_VALUE - 40 : id == 1 ? 17 : 0});
            int epoch = next[0], sequence = next[1], records = 1 + random.nextInt(4);
            boolean moves = false;
            switch (random.nextInt(10)) {
                case 0: case 1: case 2:
                    if (!sent.isEmpty()) {
                        int[] old = sent.get(Math.max(0, sent.size() - 1 - random.nextInt(20)));
                        replay(log, old[0], old[1], old[2], old[3]);
                    }
                    continue;
                case 3: sequence = (sequence + 1) & Integer.MAX_VALUE; break;
                case 4: sequence = random.nextInt(3); break;
                case 5: epoch = Math.max(0, epoch + random.nextInt(3) - 1); sequence = random.nextInt(2); break;
                default: moves = true;
            }
            boolean ok = replay(log, id, epoch, sequence, records);
            if (ok && (moves || epoch > next[0] || sequence == next[1])) {
                next[0] = epoch;
                next[1] = (int) (((long) sequence + records) & Integer.MAX_VALUE);
                sent.add(new int[] {id, epoch, sequence, records});
            }
        }
    }

    static boolean replay(UnifiedLog log, int id, int epoch, int sequence, int count) throws Exception {
        SimpleRecord[] records = new SimpleRecord[count];
        Arrays.fill(records, new SimpleRecord(NOW, new byte[0]));
        String line = "producer " + id + " " + epoch + " " + sequence + " " + count + " ";
        try {
            LogAppendInfo info = log.appendAsLeader(MemoryRecords.withIdempotentRecords(
                Compression.NONE, id, (short) epoch, sequence, records), 0);
            System.out.println(line + "ok " + info.firstOffset());
            return true;
        } catch (Throwable e) {
            System.out.println(line + "err " + name(e));
            return false;
        }
    }

    public static void main(String[] args) throws Exception {
        System.out.println("now " + NOW);
        batches(1200);
        producers(400);
        System.out.flush();
        System.exit(0);
    }
}
