import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.ProducerState;
import org.apache.kafka.clients.admin.QuorumInfo;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.UnknownTopicIdException;

/** What is called otherwise in an old client, or is not there: the newest client's way. */
final class Version {
  /** The sizes of a group that rebalances cooperatively. */
  static final int[] COOPERATIVE = Groups.SIZES;

  static TopicDescription describe(Admin admin, String topic) throws Exception {
    return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
  }

  static Map<String, LogDirDescription> logDirs(Admin admin, int node) throws Exception {
    return admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node);
  }

  static boolean stable(ConsumerGroupDescription group) {
    return group.groupState() == GroupState.STABLE;
  }

  static void noGroup(Admin admin, String group) {
    Checks.fails(
        GroupIdNotFoundException.class,
        "describing a deleted group",
        () -> admin.describeConsumerGroups(List.of(group)).all().get());
  }

  static void maxTimestamp(Admin admin, TopicPartition tp, long offset, long time)
      throws Exception {
    var found = admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).partitionResult(tp).get();
    Checks.same(offset, found.offset(), "offset of the highest time");
    Checks.same(time, found.timestamp(), "highest time");
  }

  /** Checks that only this version can do. */
  static void more(Checks checks, Client client) {
    checks.check("describe producers", () -> producers(client));
    checks.check("describe quorum", () -> quorum(client.admin));
    checks.check("topic ids", () -> topicIds(client));
    checks.check(
        "list config resources",
        () -> {
          client.create("resource", 1);
          var listed =
              client
                  .admin
                  .listConfigResources(
                      Set.of(ConfigResource.Type.TOPIC),
                      new org.apache.kafka.clients.admin.ListConfigResourcesOptions())
                  .all()
                  .get();
          Checks.that(
              listed.contains(new ConfigResource(ConfigResource.Type.TOPIC, "resource")),
              "the topic is not among " + listed);
        });
  }

  private static void producers(Client client) throws Exception {
    client.create("producers", 1);
    TopicPartition tp = new TopicPartition("producers", 0);
    try (var producer = client.producer()) {
      for (int i = 0; i < 3; i++)
        producer.send(new ProducerRecord<>("producers", 0, null, "x")).get();
      List<ProducerState> active =
          client.admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers();
      Checks.same(1, active.size(), "active producers");
      Checks.same(2, active.get(0).lastSequence(), "last sequence");
      Checks.same(0, active.get(0).producerEpoch(), "producer epoch");
      Checks.that(active.get(0).producerId() >= 0, "producer id " + active.get(0).producerId());
    }
  }

  private static void quorum(Admin admin) throws Exception {
    int node = admin.describeCluster().nodes().get().iterator().next().id();
    QuorumInfo quorum = admin.describeMetadataQuorum().quorumInfo().get();
    Checks.same(node, quorum.leaderId(), "leader");
    Checks.same(1, quorum.voters().size(), "voters");
    Checks.same(node, quorum.voters().get(0).replicaId(), "voter");
    Checks.that(quorum.highWatermark() > 0, "high watermark " + quorum.highWatermark());
  }

  private static void topicIds(Client client) throws Exception {
    client.create("with-id", 1);
    Uuid id = describe(client.admin, "with-id").topicId();
    var byId =
        client.admin.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds().get();
    Checks.same("with-id", byId.get(id).name(), "name of the id");
    client.admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all().get();
    Checks.fails(
        UnknownTopicIdException.class,
        "describing a deleted id",
        () ->
            client
                .admin
                .describeTopics(TopicCollection.ofTopicIds(List.of(id)))
                .allTopicIds()
                .get());
    client.create("with-id", 1);
    Checks.that(!id.equals(describe(client.admin, "with-id").topicId()), "the id was used again");
  }
}
