import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.common.ConsumerGroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;

/** What is called otherwise in a new client, or is no longer there: the way of client 2.8. */
final class Version {
  /**
   * The sizes of a group that rebalances cooperatively. With three members or more this client can
   * give a partition to two at once, on any broker: where one learns late of an assignment that
   * takes partitions from it, and has to join again, the leader forgets what it owns (KAFKA-14639).
   */
  static final int[] COOPERATIVE = {1, 2, 1, 2, 1, 2, 1};

  static TopicDescription describe(Admin admin, String topic) throws Exception {
    return admin.describeTopics(List.of(topic)).all().get().get(topic);
  }

  static Map<String, LogDirDescription> logDirs(Admin admin, int node) throws Exception {
    return admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
  }

  static boolean stable(ConsumerGroupDescription group) {
    return group.state() == ConsumerGroupState.STABLE;
  }

  static void noGroup(Admin admin, String group) throws Exception {
    var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
    Checks.same(ConsumerGroupState.DEAD, described.state(), "state of a deleted group");
  }

  static void maxTimestamp(Admin admin, TopicPartition tp, long offset, long time) {
    // this client cannot ask
  }

  /** Checks that only this version can do. */
  static void more(Checks checks, Client client) {
    checks.check("alter configs", () -> alterConfigs(client));
  }

  /** The old way to set: what is not named goes back to its default. */
  @SuppressWarnings("deprecation")
  private static void alterConfigs(Client client) throws Exception {
    client.create("altered", 1, Map.of("retention.ms", "1000000"));
    ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "altered");
    Config wanted = new Config(List.of(new ConfigEntry("segment.ms", "2000000")));
    client.admin.alterConfigs(Map.of(topic, wanted)).all().get();
    Config got = client.admin.describeConfigs(List.of(topic)).all().get().get(topic);
    Checks.same("2000000", got.get("segment.ms").value(), "segment.ms");
    Checks.same("604800000", got.get("retention.ms").value(), "retention.ms");
    Checks.that(got.get("retention.ms").isDefault(), "retention.ms is not a default again");
  }
}
