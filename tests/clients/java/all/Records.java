import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/** What producers and consumers do without groups. */
final class Records {
  private static final long TIME = 1_700_000_000_000L; // of the first record, one more a second
  private final Client client;

  Records(Client client) {
    this.client = client;
  }

  void all(Checks checks) {
    for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
      for (String acks : List.of("0", "1", "all")) {
        checks.check("produce " + codec + " acks=" + acks, () -> produce(codec, acks, false));
      }
      checks.check("idempotent " + codec, () -> produce(codec, "all", true));
    }
    checks.check("recompressed", this::recompressed);
    checks.check("seek", this::seek);
    checks.check("log append time", this::logAppendTime);
    checks.check("auto-create", this::autoCreate);
    checks.check("large 900 KiB", () -> large("large-900k", 900 << 10, Map.of()));
    checks.check(
        "large 10 MiB",
        () -> large("large-10m", 10 << 20, Map.of("max.message.bytes", "" + (11 << 20))));
    checks.check("too large", this::tooLarge);
    checks.check("1000 partitions", this::wide);
    checks.check("compaction refused", this::compaction);
    checks.check("transactions refused", this::transactions);
  }

  private static ProducerRecord<String, String> record(String topic, int i) {
    String key = i % 3 == 0 ? null : "key-" + i;
    String value = i % 51 == 49 ? null : "value-" + i + "-" + "x".repeat(i % 200);
    var record = new ProducerRecord<>(topic, 0, TIME + i * 1000L, key, value);
    if (i % 2 == 0) record.headers().add("h", ("header-" + i).getBytes(StandardCharsets.UTF_8));
    return record;
  }

  private static void compare(List<ConsumerRecord<String, String>> got, String topic, int first) {
    for (int i = 0; i < got.size(); i++) {
      ConsumerRecord<String, String> record = got.get(i);
      ProducerRecord<String, String> sent = record(topic, first + i);
      Checks.same((long) first + i, record.offset(), "offset of record " + i);
      Checks.same("" + sent.key(), "" + record.key(), "key at " + record.offset());
      Checks.same("" + sent.value(), "" + record.value(), "value at " + record.offset());
      Checks.same(sent.timestamp(), record.timestamp(), "time at " + record.offset());
      Checks.same(texts(sent.headers()), texts(record.headers()), "headers at " + record.offset());
    }
  }

  private static List<String> texts(Iterable<Header> headers) {
    List<String> texts = new ArrayList<>();
    headers.forEach(h -> texts.add(h.key() + "=" + new String(h.value(), StandardCharsets.UTF_8)));
    return texts;
  }

  /**
   * Sends records [0, count) in batches of some dozen, checking the offsets that are acknowledged.
   */
  private void send(String topic, int count, String... settings) throws Exception {
    List<Future<RecordMetadata>> futures = new ArrayList<>();
    boolean told = true;
    try (KafkaProducer<String, String> producer = client.producer(settings)) {
      for (int i = 0; i < count; i++) futures.add(producer.send(record(topic, i)));
      told = !Arrays.asList(settings).contains("0");
    }
    for (int i = 0; i < count && told; i++) {
      Checks.same((long) i, futures.get(i).get().offset(), "acknowledged offset of record " + i);
    }
  }

  private void produce(String codec, String acks, boolean idempotent) throws Exception {
    String topic = "produce-" + codec + "-" + acks + "-" + idempotent;
    int count = idempotent ? 3000 : 500;
    client.create(topic, 1);
    send(
        topic,
        count,
        "compression.type",
        codec,
        "acks",
        acks,
        "batch.size",
        "4096",
        "linger.ms",
        "5",
        "enable.idempotence",
        "" + idempotent);
    compare(client.all(topic, count, "isolation.level", "read_committed"), topic, 0);
  }

  /** The topic asks for another codec than the producer's. */
  private void recompressed() throws Exception {
    for (String codec : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd")) {
      String topic = "recompressed-" + codec;
      client.create(topic, 1, Map.of("compression.type", codec));
      send(topic, 300, "compression.type", codec.equals("gzip") ? "zstd" : "gzip");
      compare(client.all(topic, 300), topic, 0);
    }
  }

  private void seek() throws Exception {
    client.create("seek", 1);
    TopicPartition tp = new TopicPartition("seek", 0);
    send("seek", 500, "batch.size", "2000", "linger.ms", "5");
    try (var consumer =
        client.consumer("auto.offset.reset", "latest", "max.poll.records", "1000")) {
      Checks.same(Map.of(tp, 0L), consumer.beginningOffsets(List.of(tp)), "beginning");
      Checks.same(Map.of(tp, 500L), consumer.endOffsets(List.of(tp)), "end");
      for (int i : new int[] {0, 1, 37, 249, 499}) {
        time(consumer, tp, TIME + i * 1000L, i);
        time(consumer, tp, TIME + i * 1000L - 999, i);
      }
      Checks.that(
          consumer.offsetsForTimes(Map.of(tp, TIME + 499_001)).get(tp) == null,
          "an offset was found for a time after the last record");
      consumer.assign(List.of(tp));
      Checks.same(500L, consumer.position(tp), "position under auto.offset.reset=latest");
      consumer.seek(tp, 42);
      compare(Client.take(consumer, 458), "seek", 42);
      consumer.seekToBeginning(List.of(tp));
      compare(Client.take(consumer, 500), "seek", 0);
      consumer.seek(tp, consumer.offsetsForTimes(Map.of(tp, TIME + 99_500)).get(tp).offset());
      compare(Client.take(consumer, 400), "seek", 100);
      consumer.seekToEnd(List.of(tp));
      Checks.same(500L, consumer.position(tp), "position after seekToEnd");
      consumer.seek(tp, 7_000); // out of range: reset to latest
      Checks.that(consumer.poll(Client.POLL).isEmpty(), "records after an offset out of range");
      Client.until(
          "a reset to latest",
          () -> {
            consumer.poll(Client.POLL);
            return consumer.position(tp) == 500;
          });
    }
    try (var consumer = client.consumer("auto.offset.reset", "earliest", "group.id", "seek")) {
      consumer.subscribe(List.of("seek"));
      compare(Client.take(consumer, 500), "seek", 0);
    }
    Version.maxTimestamp(client.admin, tp, 499, TIME + 499_000);
  }

  private static void time(
      KafkaConsumer<?, ?> consumer, TopicPartition tp, long time, long offset) {
    OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(tp, time)).get(tp);
    Checks.same(offset, found.offset(), "offset for time " + time);
    Checks.same(TIME + offset * 1000, found.timestamp(), "time of offset " + offset);
  }

  private void logAppendTime() throws Exception {
    client.create("append-time", 1, Map.of("message.timestamp.type", "LogAppendTime"));
    long before = System.currentTimeMillis();
    try (var producer = client.producer("compression.type", "lz4")) {
      long told = producer.send(record("append-time", 0)).get().timestamp();
      ConsumerRecord<String, String> got = client.all("append-time", 1).get(0);
      Checks.same(TimestampType.LOG_APPEND_TIME, got.timestampType(), "type");
      Checks.same(told, got.timestamp(), "the producer was told another time");
      Checks.that(
          told >= before && told <= System.currentTimeMillis(), "the time is not the broker's");
    }
  }

  private void autoCreate() throws Exception {
    try (var producer = client.producer()) {
      Checks.same(0L, producer.send(record("made-by-send", 0)).get().offset(), "offset");
    }
    compare(client.all("made-by-send", 1), "made-by-send", 0);
    Checks.that(
        !client.admin.listTopics().names().get().contains("never-made"), "a topic from nowhere");
  }

  private void large(String topic, int size, Map<String, String> settings) throws Exception {
    client.create(topic, 1, settings);
    List<byte[]> values = new ArrayList<>();
    Random random = new Random(size);
    try (var producer =
        client.bytesProducer("max.request.size", "20000000", "buffer.memory", "90000000")) {
      List<Future<RecordMetadata>> futures = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        byte[] value = new byte[size];
        random.nextBytes(value);
        values.add(value);
        futures.add(producer.send(new ProducerRecord<>(topic, 0, null, value)));
      }
      for (int i = 0; i < 3; i++) Checks.same((long) i, futures.get(i).get().offset(), "offset");
    }
    try (var consumer = client.bytesConsumer()) {
      consumer.assign(Client.partitions(topic, 1));
      consumer.seekToBeginning(consumer.assignment());
      List<ConsumerRecord<byte[], byte[]>> got = Client.take(consumer, 3);
      for (int i = 0; i < 3; i++) {
        Checks.that(
            Arrays.equals(values.get(i), got.get(i).value()), "value " + i + " has changed");
      }
    }
  }

  private void tooLarge() throws Exception {
    client.create("too-large", 1);
    try (var producer = client.bytesProducer("max.request.size", "20000000")) {
      Checks.fails(
          RecordTooLargeException.class,
          "2 MiB where 1 MiB is allowed",
          () -> producer.send(new ProducerRecord<>("too-large", 0, null, new byte[2 << 20])).get());
      producer.send(new ProducerRecord<>("too-large", 0, null, new byte[1 << 10])).get();
    }
    Checks.same(1024, client.all("too-large", 1).get(0).serializedValueSize(), "size");
  }

  private void wide() throws Exception {
    client.create("wide", 1000);
    try (var producer = client.producer("linger.ms", "20")) {
      for (int i = 0; i < 3000; i++) {
        int partition = i % 1000;
        producer.send(new ProducerRecord<>("wide", partition, null, partition + ":" + i / 1000));
      }
      producer.flush();
      Checks.same(1000, producer.partitionsFor("wide").size(), "partitions");
    }
    int[] next = new int[1000];
    try (var consumer = client.consumer("group.id", "wide", "auto.offset.reset", "earliest")) {
      consumer.subscribe(List.of("wide"));
      for (ConsumerRecord<String, String> record : Client.take(consumer, 3000)) {
        int partition = record.partition();
        Checks.same(partition + ":" + next[partition], record.value(), "value in " + partition);
        Checks.same((long) next[partition]++, record.offset(), "offset in " + partition);
      }
      consumer.commitSync();
      var committed = consumer.committed(consumer.assignment());
      Checks.same(1000, committed.size(), "committed partitions");
      committed.forEach((tp, offset) -> Checks.same(3L, offset.offset(), "committed in " + tp));
    }
    for (int partition = 0; partition < 1000; partition++) {
      Checks.same(3, next[partition], "records in partition " + partition);
    }
  }

  private void compaction() {
    Checks.fails(
        InvalidConfigurationException.class,
        "cleanup.policy=compact",
        () -> client.create("compacted", 1, Map.of("cleanup.policy", "compact")));
  }

  /** Refused at once: the client must not retry until its time is over. */
  private void transactions() {
    try (var producer = client.producer("transactional.id", "t", "max.block.ms", "600000")) {
      Checks.fails(KafkaException.class, "initTransactions", producer::initTransactions);
    }
  }
}
