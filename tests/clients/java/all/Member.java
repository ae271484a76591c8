import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kafka.clients.consumer.CommitFailedException;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RebalanceInProgressException;

/**
 * A consumer in a thread: it reads, checks what it reads, commits, and notes what was committed.
 */
final class Member extends Thread implements ConsumerRebalanceListener {
  private final KafkaConsumer<String, String> consumer;
  private final String topic;
  private final Ranges ranges;
  private final Map<TopicPartition, Long> start = new HashMap<>(); // of the range not yet committed
  private final Map<TopicPartition, Long> next = new HashMap<>();
  final Set<TopicPartition> owned = ConcurrentHashMap.newKeySet();
  final List<Integer> revoked = new ArrayList<>(); // how many partitions each time
  volatile int assignments;
  volatile Throwable failure;
  private volatile boolean leave;

  Member(String name, KafkaConsumer<String, String> consumer, String topic, Ranges ranges) {
    super(name);
    this.consumer = consumer;
    this.topic = topic;
    this.ranges = ranges;
    setDaemon(true);
  }

  @Override
  public void run() {
    try (consumer) {
      consumer.subscribe(List.of(topic), this);
      while (!leave) {
        for (ConsumerRecord<String, String> record : consumer.poll(Client.POLL)) take(record);
        commit();
      }
    } catch (Throwable e) {
      failure = e;
    }
  }

  private void take(ConsumerRecord<String, String> record) {
    TopicPartition tp = new TopicPartition(record.topic(), record.partition());
    Checks.same(next.getOrDefault(tp, start.get(tp)), record.offset(), "next offset of " + tp);
    Checks.same(record.partition() + ":" + record.offset(), record.value(), "value in " + tp);
    next.put(tp, record.offset() + 1);
  }

  private void commit() {
    if (next.isEmpty()) return;
    Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
    next.forEach((tp, offset) -> offsets.put(tp, new OffsetAndMetadata(offset)));
    try {
      consumer.commitSync(offsets);
    } catch (CommitFailedException | RebalanceInProgressException e) {
      return; // what is lost is read again by the next owner, what is kept is committed later
    }
    int generation = consumer.groupMetadata().generationId();
    next.forEach(
        (tp, offset) -> {
          ranges.add(tp.partition(), start.get(tp), offset, getName(), generation);
          start.put(tp, offset);
        });
    next.clear();
  }

  @Override
  public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
    if (partitions.isEmpty()) return;
    synchronized (revoked) {
      revoked.add(partitions.size());
    }
    commit();
    onPartitionsLost(partitions);
  }

  @Override
  public void onPartitionsLost(Collection<TopicPartition> partitions) {
    for (TopicPartition tp : partitions) {
      owned.remove(tp);
      next.remove(tp);
      start.remove(tp);
    }
  }

  @Override
  public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
    for (TopicPartition tp : partitions) start.put(tp, consumer.position(tp));
    assignments++;
    owned.addAll(partitions); // last: whoever sees it finds all the rest done
  }

  /** Stops and waits for the end. A static member stays in the group until its session is over. */
  void end() throws Exception {
    leave = true;
    join();
    check();
  }

  void check() {
    if (failure != null) throw new AssertionError(getName() + " failed: " + failure, failure);
  }
}
