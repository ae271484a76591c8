import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Clients of one broker. Settings are given as key, value, key, value. */
final class Client {
  static final Duration POLL = Duration.ofMillis(100);
  private static final long PATIENCE_MS = 120_000;

  private final String bootstrap;
  final Admin admin;

  Client(String bootstrap) {
    this.bootstrap = bootstrap;
    admin = Admin.create(properties());
  }

  private Properties properties(String... settings) {
    Properties properties = new Properties();
    properties.put("bootstrap.servers", bootstrap);
    for (int i = 0; i < settings.length; i += 2) properties.put(settings[i], settings[i + 1]);
    return properties;
  }

  KafkaProducer<String, String> producer(String... settings) {
    return new KafkaProducer<>(
        properties(settings), new StringSerializer(), new StringSerializer());
  }

  KafkaProducer<byte[], byte[]> bytesProducer(String... settings) {
    return new KafkaProducer<>(
        properties(settings), new ByteArraySerializer(), new ByteArraySerializer());
  }

  KafkaConsumer<String, String> consumer(String... settings) {
    return new KafkaConsumer<>(
        properties(settings), new StringDeserializer(), new StringDeserializer());
  }

  KafkaConsumer<byte[], byte[]> bytesConsumer(String... settings) {
    return new KafkaConsumer<>(
        properties(settings), new ByteArrayDeserializer(), new ByteArrayDeserializer());
  }

  void create(String topic, int partitions, Map<String, String> settings) throws Exception {
    NewTopic wanted = new NewTopic(topic, Optional.of(partitions), Optional.empty());
    admin.createTopics(List.of(wanted.configs(settings))).all().get();
  }

  void create(String topic, int partitions) throws Exception {
    create(topic, partitions, Map.of());
  }

  static List<TopicPartition> partitions(String topic, int count) {
    List<TopicPartition> all = new ArrayList<>();
    for (int i = 0; i < count; i++) all.add(new TopicPartition(topic, i));
    return all;
  }

  /** Polls until so many records have come. One more poll shows that there are no further ones. */
  static <T> List<ConsumerRecord<T, T>> take(KafkaConsumer<T, T> consumer, int count) {
    List<ConsumerRecord<T, T>> records = new ArrayList<>();
    long end = System.currentTimeMillis() + PATIENCE_MS;
    while (records.size() < count && System.currentTimeMillis() < end) {
      consumer.poll(POLL).forEach(records::add);
    }
    if (records.size() == count) consumer.poll(POLL).forEach(records::add);
    Checks.same(count, records.size(), "number of records");
    return records;
  }

  /** All records of partition 0, from the earliest on. */
  List<ConsumerRecord<String, String>> all(String topic, int count, String... settings) {
    try (KafkaConsumer<String, String> consumer = consumer(settings)) {
      consumer.assign(partitions(topic, 1));
      consumer.seekToBeginning(consumer.assignment());
      return take(consumer, count);
    }
  }

  /** Waits until the condition holds. */
  static void until(String what, Condition condition) throws Exception {
    long end = System.currentTimeMillis() + PATIENCE_MS;
    while (!condition.holds()) {
      Checks.that(System.currentTimeMillis() < end, "waited in vain for " + what);
      Thread.sleep(20);
    }
  }

  interface Condition {
    boolean holds() throws Exception;
  }
}
