import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.ListTopicsOptions;
import org.apache.kafka.clients.admin.LogDirDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** What the administrative client does. */
@SuppressWarnings({"deprecation", "removal"}) // one source for old and new clients
final class Admins {
  private final Client client;
  private final Admin admin;

  Admins(Client client) {
    this.client = client;
    admin = client.admin;
  }

  void all(Checks checks) {
    checks.check("cluster", this::cluster);
    checks.check("topics", this::topics);
    checks.check("partitions", this::partitions);
    checks.check("topic configs", this::topicConfigs);
    checks.check("broker configs", this::brokerConfigs);
    checks.check("delete records", this::deleteRecords);
    checks.check("log dirs", this::logDirs);
    checks.check("groups", this::groups);
    checks.check("group offsets", this::groupOffsets);
    Version.more(checks, client);
  }

  private void cluster() throws Exception {
    var cluster = admin.describeCluster();
    Collection<Node> nodes = cluster.nodes().get();
    Checks.same(1, nodes.size(), "nodes");
    Checks.same(nodes.iterator().next(), cluster.controller().get(), "controller");
    Checks.same(22, cluster.clusterId().get().length(), "length of the cluster's id");
  }

  private void topics() throws Exception {
    NewTopic topic = new NewTopic("topics", 3, (short) 1).configs(Map.of("retention.ms", "123456"));
    var dry = admin.createTopics(List.of(topic), new CreateTopicsOptions().validateOnly(true));
    dry.all().get();
    Checks.that(!admin.listTopics().names().get().contains("topics"), "a dry run made the topic");
    var made = admin.createTopics(List.of(topic));
    Checks.same(3, made.numPartitions("topics").get(), "partitions as created");
    Checks.same(
        "123456", made.config("topics").get().get("retention.ms").value(), "setting as created");
    TopicDescription described = Version.describe(admin, "topics");
    Checks.same(3, described.partitions().size(), "partitions as described");
    Node node = admin.describeCluster().nodes().get().iterator().next();
    described
        .partitions()
        .forEach(
            p -> {
              Checks.same(node, p.leader(), "leader of partition " + p.partition());
              Checks.same(List.of(node), p.replicas(), "replicas of partition " + p.partition());
              Checks.same(List.of(node), p.isr(), "in-sync replicas of partition " + p.partition());
            });
    Checks.fails(
        TopicExistsException.class,
        "twice the same topic",
        () -> admin.createTopics(List.of(topic)).all().get());
    Checks.fails(InvalidTopicException.class, "a name with a slash", () -> client.create("a/b", 1));
    Checks.fails(
        InvalidReplicationFactorException.class,
        "three replicas on one node",
        () -> admin.createTopics(List.of(new NewTopic("three", 1, (short) 3))).all().get());
    Checks.fails(
        InvalidConfigurationException.class,
        "an unknown setting",
        () -> client.create("unknown-setting", 1, Map.of("no.such.setting", "1")));
    admin.deleteTopics(List.of("topics")).all().get();
    Checks.that(!admin.listTopics().names().get().contains("topics"), "a deleted topic is listed");
    Checks.fails(
        UnknownTopicOrPartitionException.class,
        "describing a deleted topic",
        () -> Version.describe(admin, "topics"));
    Checks.fails(
        UnknownTopicOrPartitionException.class,
        "deleting a deleted topic",
        () -> admin.deleteTopics(List.of("topics")).all().get());
  }

  private void partitions() throws Exception {
    client.create("partitions", 2);
    admin.createPartitions(Map.of("partitions", NewPartitions.increaseTo(5))).all().get();
    Checks.same(5, Version.describe(admin, "partitions").partitions().size(), "partitions");
    Checks.fails(
        InvalidPartitionsException.class,
        "fewer partitions",
        () ->
            admin.createPartitions(Map.of("partitions", NewPartitions.increaseTo(3))).all().get());
    try (var producer = client.producer()) {
      var sent = producer.send(new ProducerRecord<>("partitions", 4, null, "to the new one")).get();
      Checks.same(0L, sent.offset(), "offset in the new partition");
    }
  }

  private Config configs(ConfigResource resource) throws Exception {
    return admin.describeConfigs(List.of(resource)).all().get().get(resource);
  }

  private void alter(ConfigResource resource, String key, String value, AlterConfigOp.OpType how)
      throws Exception {
    AlterConfigOp change = new AlterConfigOp(new ConfigEntry(key, value), how);
    admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
  }

  private void topicConfigs() throws Exception {
    client.create("configs", 1);
    ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, "configs");
    Config before = configs(topic);
    for (String key :
        List.of(
            "cleanup.policy",
            "compression.type",
            "max.message.bytes",
            "message.timestamp.type",
            "retention.bytes",
            "segment.bytes")) {
      Checks.that(before.get(key) != null, key + " is not described");
      Checks.that(before.get(key).isDefault(), key + " is not said to be a default");
    }
    alter(topic, "retention.ms", "86400000", AlterConfigOp.OpType.SET);
    ConfigEntry set = configs(topic).get("retention.ms");
    Checks.same("86400000", set.value(), "retention.ms");
    Checks.same(ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, set.source(), "source");
    alter(topic, "retention.ms", "", AlterConfigOp.OpType.DELETE);
    Checks.same("604800000", configs(topic).get("retention.ms").value(), "retention.ms set back");
    alter(topic, "cleanup.policy", "delete", AlterConfigOp.OpType.APPEND);
    Checks.same(
        "delete", configs(topic).get("cleanup.policy").value(), "cleanup.policy appended to");
    Checks.fails(
        InvalidConfigurationException.class,
        "a retention that is no number",
        () -> alter(topic, "retention.ms", "long", AlterConfigOp.OpType.SET));
    Checks.fails(
        UnknownTopicOrPartitionException.class,
        "settings of an unknown topic",
        () -> configs(new ConfigResource(ConfigResource.Type.TOPIC, "nowhere")));
  }

  private void brokerConfigs() throws Exception {
    Node node = admin.describeCluster().nodes().get().iterator().next();
    ConfigResource broker = new ConfigResource(ConfigResource.Type.BROKER, node.idString());
    Config before = configs(broker);
    String listeners = before.get("listeners").value();
    Checks.that(listeners.endsWith(node.host() + ":" + node.port()), "listeners: " + listeners);
    Checks.that(before.get("log.retention.ms") != null, "log.retention.ms is not described");
    ConfigResource all = new ConfigResource(ConfigResource.Type.BROKER, "");
    alter(all, "log.retention.ms", "172800000", AlterConfigOp.OpType.SET);
    ConfigEntry set = configs(broker).get("log.retention.ms");
    Checks.same("172800000", set.value(), "log.retention.ms");
    Checks.same(ConfigEntry.ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG, set.source(), "source");
    alter(all, "log.retention.ms", "", AlterConfigOp.OpType.DELETE);
    Checks.that(
        configs(all).entries().stream().noneMatch(e -> e.name().equals("log.retention.ms")),
        "log.retention.ms is still set");
  }

  private void fill(String topic, int count) throws Exception {
    client.create(topic, 1);
    try (var producer = client.producer("batch.size", "200")) {
      for (int i = 0; i < count; i++)
        producer.send(new ProducerRecord<>(topic, 0, null, "value-" + i));
    }
  }

  private void deleteRecords() throws Exception {
    fill("delete-records", 100);
    TopicPartition tp = new TopicPartition("delete-records", 0);
    var to42 = Map.of(tp, RecordsToDelete.beforeOffset(42));
    Checks.same(
        42L, admin.deleteRecords(to42).lowWatermarks().get(tp).get().lowWatermark(), "told");
    var earliest = admin.listOffsets(Map.of(tp, OffsetSpec.earliest())).partitionResult(tp).get();
    Checks.same(42L, earliest.offset(), "earliest offset");
    var left = client.all("delete-records", 58);
    Checks.same(42L, left.get(0).offset(), "first offset that is left");
    Checks.same("value-42", left.get(0).value(), "first value that is left");
    Checks.fails(
        OffsetOutOfRangeException.class,
        "beyond the end",
        () -> admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(101))).all().get());
    admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).all().get();
    try (var consumer = client.consumer()) {
      Checks.same(
          Map.of(tp, 100L), consumer.beginningOffsets(List.of(tp)), "all deleted: beginning");
      Checks.same(Map.of(tp, 100L), consumer.endOffsets(List.of(tp)), "all deleted: end");
    }
  }

  private void logDirs() throws Exception {
    fill("log-dirs", 100);
    int node = admin.describeCluster().nodes().get().iterator().next().id();
    Map<String, LogDirDescription> folders = Version.logDirs(admin, node);
    Checks.that(!folders.isEmpty(), "no folder");
    long size = 0;
    for (LogDirDescription folder : folders.values()) {
      Checks.that(folder.error() == null, "error: " + folder.error());
      var replica = folder.replicaInfos().get(new TopicPartition("log-dirs", 0));
      if (replica != null) size += replica.size();
    }
    Checks.that(size > 1000 && size < 100_000, "size of a partition with 100 records: " + size);
  }

  private void groups() throws Exception {
    fill("groups", 10);
    try (var consumer =
        client.consumer(
            "group.id", "listed", "client.id", "the-client", "auto.offset.reset", "earliest")) {
      consumer.subscribe(List.of("groups"));
      Client.take(consumer, 10);
      consumer.commitSync();
      Checks.that(
          admin.listConsumerGroups().all().get().stream()
              .anyMatch(g -> g.groupId().equals("listed") && !g.isSimpleConsumerGroup()),
          "not listed");
      var group = admin.describeConsumerGroups(List.of("listed")).all().get().get("listed");
      Checks.that(Version.stable(group), "state " + group);
      Checks.same("range", group.partitionAssignor(), "assignor");
      var member = group.members().iterator().next();
      Checks.same("the-client", member.clientId(), "client id");
      Checks.same("/127.0.0.1", member.host(), "host");
      Checks.same(
          Set.of(new TopicPartition("groups", 0)), member.assignment().topicPartitions(), "owns");
      Checks.fails(
          GroupNotEmptyException.class,
          "deleting a group with a member",
          () -> admin.deleteConsumerGroups(List.of("listed")).all().get());
      Checks.fails(
          GroupSubscribedToTopicException.class,
          "deleting offsets of a topic in use",
          () ->
              admin
                  .deleteConsumerGroupOffsets("listed", Set.of(new TopicPartition("groups", 0)))
                  .all()
                  .get());
    }
    var internal =
        admin.listTopics(new ListTopicsOptions().listInternal(true)).namesToListings().get();
    Checks.that(
        internal.get("__consumer_offsets").isInternal(), "the offsets topic is not internal");
    Checks.that(
        !admin.listTopics().names().get().contains("__consumer_offsets"), "internal topic listed");
    admin.deleteConsumerGroups(List.of("listed")).all().get();
    Checks.that(
        admin.listConsumerGroups().all().get().stream()
            .noneMatch(g -> g.groupId().equals("listed")),
        "a deleted group is listed");
    Version.noGroup(admin, "listed");
  }

  private void groupOffsets() throws Exception {
    client.create("offsets", 2);
    TopicPartition p0 = new TopicPartition("offsets", 0);
    TopicPartition p1 = new TopicPartition("offsets", 1);
    var first =
        Map.of(p0, new OffsetAndMetadata(7, Optional.of(0), "seven"), p1, new OffsetAndMetadata(9));
    admin.alterConsumerGroupOffsets("altered", first).all().get();
    Checks.same(first, offsets(), "offsets");
    admin.alterConsumerGroupOffsets("altered", Map.of(p0, new OffsetAndMetadata(3))).all().get();
    Checks.same(new OffsetAndMetadata(3), offsets().get(p0), "offset set back");
    admin.deleteConsumerGroupOffsets("altered", Set.of(p0)).all().get();
    Checks.same(Map.of(p1, new OffsetAndMetadata(9)), offsets(), "offsets after one was deleted");
    admin.deleteTopics(List.of("offsets")).all().get();
    Client.until("the offsets of a deleted topic to go", () -> offsets().isEmpty());
  }

  private Map<TopicPartition, OffsetAndMetadata> offsets() throws Exception {
    return admin.listConsumerGroupOffsets("altered").partitionsToOffsetAndMetadata().get();
  }
}
