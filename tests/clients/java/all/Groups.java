import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;
import org.apache.kafka.common.errors.InvalidSessionTimeoutException;

/**
 * Consumer groups: members that come and go under load, static members, cooperative rebalancing.
 */
final class Groups {
  private static final int PARTITIONS = 8;

  /** How many members a group has, one number after the other. */
  static final int[] SIZES = {1, 2, 5, 3, 5, 4, 5, 1};

  private static final String ASSIGNORS = "org.apache.kafka.clients.consumer.";
  private final Client client;

  Groups(Client client) {
    this.client = client;
  }

  void all(Checks checks) {
    checks.check("group of 5", () -> churn("churn-range", "RangeAssignor", SIZES));
    checks.check(
        "cooperative-sticky",
        () -> churn("churn-coop", "CooperativeStickyAssignor", Version.COOPERATIVE));
    checks.check("static members", this::staticMembers);
    checks.check("commit metadata", this::commitMetadata);
    checks.check("session timeout", this::sessionTimeout);
  }

  private Member member(String group, String name, Ranges ranges, String... more) {
    List<String> settings =
        new ArrayList<>(
            List.of(
                "group.id",
                group,
                "client.id",
                name,
                "auto.offset.reset",
                "earliest",
                "enable.auto.commit",
                "false",
                "heartbeat.interval.ms",
                "200",
                "session.timeout.ms",
                "20000",
                "max.poll.records",
                "50"));
    settings.addAll(List.of(more));
    Member member =
        new Member(name, client.consumer(settings.toArray(String[]::new)), group, ranges);
    member.start();
    return member;
  }

  private ConsumerGroupDescription describe(String group) throws Exception {
    return client.admin.describeConsumerGroups(List.of(group)).describedGroups().get(group).get();
  }

  /** Waits until the group is stable with these members, and each owns what the broker says. */
  private void settled(String group, List<Member> members) throws Exception {
    Client.until(
        "a stable group of " + members.size() + " that owns each partition once",
        () -> {
          for (Member member : members) member.check();
          int owned = members.stream().mapToInt(member -> member.owned.size()).sum();
          if (owned != PARTITIONS) return false; // the group need not exist yet
          ConsumerGroupDescription now = describe(group);
          Set<Set<TopicPartition>> assigned = new HashSet<>();
          now.members().forEach(m -> assigned.add(m.assignment().topicPartitions()));
          Set<Set<TopicPartition>> held = new HashSet<>();
          members.forEach(member -> held.add(Set.copyOf(member.owned)));
          return Version.stable(now)
              && now.members().size() == members.size()
              && held.size() == members.size()
              && assigned.equals(held);
        });
  }

  /** Sends numbered records to all partitions until it is told to stop. */
  private Thread load(String topic, AtomicLong[] ends, AtomicBoolean stop) {
    Thread thread =
        new Thread(
            () -> {
              try (var producer = client.producer("linger.ms", "2", "enable.idempotence", "true")) {
                while (!stop.get()) {
                  for (int i = 0; i < 80; i++) {
                    int partition = i % PARTITIONS;
                    String value = partition + ":" + ends[partition].getAndIncrement();
                    producer.send(new ProducerRecord<>(topic, partition, null, value));
                  }
                  producer.flush();
                  Thread.sleep(10);
                }
              } catch (InterruptedException e) {
                throw new AssertionError(e);
              }
            });
    thread.setDaemon(true);
    thread.start();
    return thread;
  }

  /** Reads the committed offsets again and again; each must be at least what it was. */
  private final class Watch extends Thread {
    private final String group;
    private final Map<TopicPartition, Long> last = new HashMap<>();
    private final AtomicBoolean stop = new AtomicBoolean();
    private volatile Throwable failure;

    Watch(String group) {
      this.group = group;
      setDaemon(true);
      start();
    }

    @Override
    public void run() {
      try {
        while (!stop.get()) {
          committed();
          Thread.sleep(5);
        }
      } catch (Throwable e) {
        failure = e;
      }
    }

    private synchronized long committed() throws Exception {
      var offsets =
          client.admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
      for (TopicPartition tp : last.keySet()) {
        Checks.that(offsets.get(tp) != null, "the committed offset of " + tp + " vanished");
      }
      offsets.forEach(
          (tp, offset) -> {
            Long before = last.put(tp, offset.offset());
            Checks.that(
                before == null || before <= offset.offset(),
                "the committed offset of "
                    + tp
                    + " went from "
                    + before
                    + " back to "
                    + offset.offset());
          });
      return last.values().stream().mapToLong(Long::longValue).sum();
    }

    /** Waits until the group has committed so many records more. */
    void progress(long records) throws Exception {
      long target = committed() + records;
      Client.until(records + " more records committed", () -> committed() >= target);
    }

    Map<TopicPartition, Long> end() throws Exception {
      stop.set(true);
      join();
      if (failure != null) throw new AssertionError(failure.getMessage(), failure);
      return last;
    }
  }

  private void churn(String group, String assignor, int[] sizes) throws Exception {
    client.create(group, PARTITIONS);
    AtomicLong[] ends = new AtomicLong[PARTITIONS];
    for (int i = 0; i < PARTITIONS; i++) ends[i] = new AtomicLong();
    AtomicBoolean stop = new AtomicBoolean();
    Thread load = load(group, ends, stop);
    Ranges ranges = new Ranges();
    Watch watch = new Watch(group);
    List<Member> members = new ArrayList<>();
    int born = 0;
    for (int wanted : sizes) {
      while (members.size() < wanted) {
        members.add(
            member(
                group,
                "member-" + born++,
                ranges,
                "partition.assignment.strategy",
                ASSIGNORS + assignor));
      }
      while (members.size() > wanted) members.remove(0).end();
      settled(group, members);
      if (born == 2 && wanted == 2) cooperates(members.get(0), assignor);
      watch.progress(500);
    }
    stop.set(true);
    load.join();
    long total = 0;
    for (AtomicLong end : ends) total += end.get();
    long all = total;
    Client.until("all " + all + " records committed", () -> watch.committed() == all);
    members.remove(0).end();
    Map<TopicPartition, Long> committed = watch.end();
    for (TopicPartition tp : Client.partitions(group, PARTITIONS)) {
      Checks.same(ends[tp.partition()].get(), committed.get(tp), "committed at the end in " + tp);
      ranges.cover(tp.partition(), ends[tp.partition()].get());
    }
    int most = Arrays.stream(sizes).max().getAsInt();
    Checks.that(ranges.members() >= most, "only " + ranges.members() + " members ever committed");
  }

  /**
   * When the second member comes, a cooperative first one gives up half, an eager one everything.
   */
  private static void cooperates(Member first, String assignor) {
    List<Integer> expected = List.of(assignor.startsWith("Coop") ? PARTITIONS / 2 : PARTITIONS);
    synchronized (first.revoked) {
      Checks.same(expected, first.revoked, "partitions revoked from the first member");
    }
  }

  private void staticMembers() throws Exception {
    String group = "static";
    client.create(group, PARTITIONS);
    Ranges ranges = new Ranges();
    Member a = member(group, "a", ranges, "group.instance.id", "instance-a");
    Member b = member(group, "b", ranges, "group.instance.id", "instance-b");
    settled(group, List.of(a, b));
    int assignments = a.assignments;
    Set<TopicPartition> owned = new HashSet<>(b.owned);

    b.end();
    Member again = member(group, "b2", ranges, "group.instance.id", "instance-b");
    Client.until(
        "the returned member's partitions",
        () -> {
          again.check();
          return again.owned.equals(owned);
        });
    settled(group, List.of(a, again));
    Checks.same(assignments, a.assignments, "rebalances of the member that stayed");

    Member twin = member(group, "b3", ranges, "group.instance.id", "instance-b");
    Client.until("the end of the member with a newer twin", () -> again.failure != null);
    Checks.that(again.failure instanceof FencedInstanceIdException, "fenced with " + again.failure);
    settled(group, List.of(a, twin));
    Set<Optional<String>> instances = new HashSet<>();
    describe(group).members().forEach(m -> instances.add(m.groupInstanceId()));
    Checks.same(
        Set.of(Optional.of("instance-a"), Optional.of("instance-b")), instances, "instances");
    a.end();
    twin.end();
    Checks.same(2, describe(group).members().size(), "static members after they stopped");
    var remove = Set.of(new MemberToRemove("instance-a"), new MemberToRemove("instance-b"));
    client
        .admin
        .removeMembersFromConsumerGroup(group, new RemoveMembersFromConsumerGroupOptions(remove))
        .all()
        .get();
    Checks.same(0, describe(group).members().size(), "members after their removal");
  }

  /** Metadata and the leader epoch come back as they were committed. */
  private void commitMetadata() throws Exception {
    client.create("metadata", 2);
    TopicPartition tp = new TopicPartition("metadata", 1);
    try (var consumer = client.consumer("group.id", "metadata")) {
      consumer.assign(Client.partitions("metadata", 2));
      var offset = new OffsetAndMetadata(5, Optional.of(0), "a note");
      consumer.commitSync(Map.of(tp, offset));
      Checks.same(offset, consumer.committed(Set.of(tp)).get(tp), "committed");
    }
    var listed =
        client.admin.listConsumerGroupOffsets("metadata").partitionsToOffsetAndMetadata().get();
    Checks.same(Map.of(tp, new OffsetAndMetadata(5, Optional.of(0), "a note")), listed, "listed");
  }

  private void sessionTimeout() {
    Checks.fails(
        InvalidSessionTimeoutException.class,
        "a session of 2 s",
        () -> {
          try (var consumer =
              client.consumer(
                  "group.id",
                  "short",
                  "session.timeout.ms",
                  "2000",
                  "heartbeat.interval.ms",
                  "500")) {
            consumer.subscribe(List.of("metadata"));
            for (int i = 0; i < 100; i++) consumer.poll(Client.POLL);
          }
        });
  }
}
