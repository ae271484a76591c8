import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.CRC32C;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.SimpleRecord;

/** Record batches by name: good ones, and ones that are wrong in a single way. */
final class Batches {
    // Offsets of the fields of a record batch of format 2.
    private static final int LENGTH = 8;
    private static final int MAGIC = 16;
    private static final int CRC = 17;
    private static final int ATTRIBUTES = 21;
    private static final int LAST_OFFSET_DELTA = 23;
    private static final int BASE_TIMESTAMP = 27;
    private static final int MAX_TIMESTAMP = 35;
    private static final int PRODUCER_ID = 43;
    private static final int PRODUCER_EPOCH = 51;
    private static final int BASE_SEQUENCE = 53;
    private static final int COUNT = 57;
    private static final int RECORDS = 61;

    private static final long HOUR_MS = 3_600_000;

    private final long now = System.currentTimeMillis();

    private interface Change {
        void apply(ByteBuffer batch);
    }

    private SimpleRecord[] records(int count, int size) {
        SimpleRecord[] records = new SimpleRecord[count];
        byte[] value = new byte[size];
        Arrays.fill(value, (byte) 'v');
        for (int i = 0; i < count; i++) {
            records[i] = new SimpleRecord(now, "key".getBytes(), value, new Header[0]);
        }
        return records;
    }

    private ByteBuffer plain(Compression compression, int count, int size) {
        return copy(MemoryRecords.withRecords(compression, records(count, size)));
    }

    private ByteBuffer producer(long id, int epoch, int sequence, int count) {
        return seal(batch -> batch.putLong(PRODUCER_ID, id).putShort(PRODUCER_EPOCH, (short) epoch)
            .putInt(BASE_SEQUENCE, sequence), plain(Compression.NONE, count, 10));
    }

    private static ByteBuffer copy(MemoryRecords records) {
        ByteBuffer bytes = ByteBuffer.allocate(records.sizeInBytes());
        bytes.put(records.buffer().duplicate());
        bytes.flip();
        return bytes;
    }

    /** A batch of three records, changed, its checksum right again. */
    private ByteBuffer changed(Change change) {
        return seal(change, plain(Compression.NONE, 3, 10));
    }

    private static ByteBuffer seal(Change change, ByteBuffer batch) {
        change.apply(batch);
        CRC32C crc = new CRC32C();
        crc.update(batch.array(), ATTRIBUTES, batch.limit() - ATTRIBUTES);
        batch.putInt(CRC, (int) crc.getValue());
        return batch;
    }

    private static ByteBuffer join(ByteBuffer... parts) {
        int size = Arrays.stream(parts).mapToInt(ByteBuffer::remaining).sum();
        ByteBuffer all = ByteBuffer.allocate(size);
        for (ByteBuffer part : parts) {
            all.put(part);
        }
        all.flip();
        return all;
    }

    private ByteBuffer timed(long timestamp) {
        return seal(batch -> {
            batch.putLong(BASE_TIMESTAMP, timestamp);
            batch.putLong(MAX_TIMESTAMP, timestamp);
        }, plain(Compression.NONE, 1, 10));
    }

    /** `idempotent:ID:EPOCH:SEQUENCE:COUNT`, or one of the names below. */
    ByteBuffer named(String name) {
        if (name.startsWith("idempotent:")) {
            String[] parts = name.split(":");
            return producer(Long.parseLong(parts[1]), Integer.parseInt(parts[2]),
                Integer.parseInt(parts[3]), Integer.parseInt(parts[4]));
        }
        return switch (name) {
            case "good" -> plain(Compression.NONE, 3, 10);
            case "gzip" -> plain(Compression.gzip().build(), 3, 100);
            case "zstd" -> plain(Compression.zstd().build(), 3, 100);
            case "large" -> plain(Compression.NONE, 1, 3_000);
            case "huge" -> plain(Compression.NONE, 1, 1_100_000);
            case "large gzip" -> plain(Compression.gzip().build(), 1, 100_000);
            case "empty" -> ByteBuffer.allocate(0);
            case "short" -> plain(Compression.NONE, 1, 10).slice(0, 40);
            case "cut" -> {
                ByteBuffer batch = plain(Compression.NONE, 3, 10);
                yield batch.limit(batch.limit() - 5);
            }
            case "two" -> join(plain(Compression.NONE, 1, 10), plain(Compression.NONE, 1, 10));
            case "trailing" -> join(plain(Compression.NONE, 1, 10), ByteBuffer.allocate(7));
            case "garbage" -> ByteBuffer.wrap("this is no record batch at all, though it is long "
                .repeat(3).getBytes());
            case "wrong checksum" -> {
                ByteBuffer batch = plain(Compression.NONE, 3, 10);
                yield batch.putInt(CRC, batch.getInt(CRC) ^ 1);
            }
            case "flipped bit" -> {
                ByteBuffer batch = plain(Compression.NONE, 3, 10);
                batch.put(batch.limit() - 3, (byte) 0x7f);
                yield batch;
            }
            default -> changedByName(name);
        };
    }

    private ByteBuffer changedByName(String name) {
        return switch (name) {
            case "magic 0" -> changed(batch -> batch.put(MAGIC, (byte) 0));
            case "magic 1" -> changed(batch -> batch.put(MAGIC, (byte) 1));
            case "magic 3" -> changed(batch -> batch.put(MAGIC, (byte) 3));
            case "magic -1" -> changed(batch -> batch.put(MAGIC, (byte) -1));
            case "length 0" -> changed(batch -> batch.putInt(LENGTH, 0));
            case "length -1" -> changed(batch -> batch.putInt(LENGTH, -1));
            case "length 48" -> changed(batch -> batch.putInt(LENGTH, 48));
            case "length too long" -> changed(
                batch -> batch.putInt(LENGTH, batch.getInt(LENGTH) + 100));
            case "length too short" -> changed(
                batch -> batch.putInt(LENGTH, batch.getInt(LENGTH) - 4));
            case "count 0" -> changed(batch -> batch.putInt(COUNT, 0));
            case "count -1" -> changed(batch -> batch.putInt(COUNT, -1));
            case "count too high" -> changed(batch -> batch.putInt(COUNT, 4));
            case "count too low" -> changed(batch -> batch.putInt(COUNT, 2));
            case "count and delta too high" -> changed(batch ->
                batch.putInt(COUNT, 1000).putInt(LAST_OFFSET_DELTA, 999));
            case "last delta too high" -> changed(batch -> batch.putInt(LAST_OFFSET_DELTA, 9));
            case "last delta too low" -> changed(batch -> batch.putInt(LAST_OFFSET_DELTA, 1));
            case "last delta -1" -> changed(batch -> batch.putInt(LAST_OFFSET_DELTA, -1));
            case "record length too long" -> changed(batch -> batch.put(RECORDS, (byte) 0x7e));
            case "record length -1" -> changed(batch -> batch.put(RECORDS, (byte) 1));
            // The third byte of a record is its time's delta, the fourth its offset's.
            case "first offset delta 1" -> changed(batch -> batch.put(RECORDS + 3, (byte) 2));
            case "offset delta -1" -> changed(batch -> batch.put(RECORDS + 3, (byte) 1));
            case "key length too long" -> changed(batch -> batch.put(RECORDS + 4, (byte) 0x7e));
            case "codec 5" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 5));
            case "codec 7" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 7));
            case "gzip of nothing" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 1));
            case "snappy of nothing" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 2));
            case "lz4 of nothing" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 3));
            case "zstd of nothing" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 4));
            case "gzip cut" -> seal(batch -> batch.putInt(LENGTH, batch.getInt(LENGTH)),
                plain(Compression.gzip().build(), 3, 100).putLong(RECORDS + 12, -1));
            case "transactional" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 0x10));
            case "control" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 0x20));
            case "log append time" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 0x08));
            case "unused attributes" -> changed(batch -> batch.putShort(ATTRIBUTES, (short) 0x400));
            case "sequence without producer" -> changed(batch -> batch.putInt(BASE_SEQUENCE, 5));
            case "time now" -> timed(now);
            case "time 0" -> timed(0);
            case "time -1" -> timed(RecordBatch.NO_TIMESTAMP);
            case "time -2" -> timed(-2);
            case "time hours ago" -> timed(now - 3 * HOUR_MS);
            case "time hours ahead" -> timed(now + 3 * HOUR_MS);
            case "max time wrong" -> changed(batch -> batch.putLong(MAX_TIMESTAMP, 5));
            default -> throw new IllegalArgumentException("no batch named " + name);
        };
    }
}
