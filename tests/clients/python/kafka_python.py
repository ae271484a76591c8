"""What kafka-python does, in its newest version and in 2.0.2.

kafka_python.py BOOTSTRAP [BEGINNING]
"""

import os
import sys
from importlib.metadata import version

from report import CODECS, PATIENCE, TIME, compare, fails, main, sample, same, until

OLD = version("kafka-python").startswith("2.0")
if OLD and sys.version_info >= (3, 12):  # it carries a six that this Python cannot import
    import six

    sys.modules["kafka.vendor.six.moves"] = six.moves

from churn import PARTITIONS, Member, churn
from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, TopicPartition
from kafka import errors
from kafka.admin import (
    ConfigResource,
    ConfigResourceType,
    KafkaAdminClient,
    NewPartitions,
    NewTopic,
)
from kafka.structs import OffsetAndMetadata

# How long to poll for what must come. Version 3.0 forgets a group that it joins again because it
# learned of partitions, where a poll ends in the midst of that: it then owns nothing for ever.
JOINING_MS = PATIENCE * 1000


class Checks:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def producer(self, **settings):
        settings.setdefault("max_block_ms", 60_000)
        return KafkaProducer(bootstrap_servers=self.bootstrap, **settings)

    def consumer(self, *topics, **settings):
        return KafkaConsumer(*topics, bootstrap_servers=self.bootstrap, **settings)

    def create(self, topic, partitions=1, settings=None):
        self.admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings or {})])

    def take(self, consumer, count):
        """So many records; one more poll shows that there are no others."""
        records = []

        def poll(timeout_ms):
            for batch in consumer.poll(timeout_ms=timeout_ms).values():
                records.extend(batch)
            return len(records) >= count

        until(f"{count} records", lambda: poll(JOINING_MS))
        poll(100)
        same(count, len(records), "number of records")
        return records

    def all(self, topic, count):
        consumer = self.consumer()
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        records = self.take(consumer, count)
        consumer.close()
        return records

    # Administration

    def cluster(self):
        described = self.admin.describe_cluster()
        same(1, len(described["brokers"]), "brokers")
        node = described["brokers"][0]["node_id" if OLD else "broker_id"]
        same(node, described["controller_id"], "controller")
        same(22, len(described["cluster_id"]), "length of the cluster's id")

    def topics(self):
        topic = NewTopic("topics", 3, 1, topic_configs={"retention.ms": "123456"})
        self.admin.create_topics([topic], validate_only=True)
        assert "topics" not in self.admin.list_topics(), "a dry run made the topic"
        self.admin.create_topics([topic])
        described = self.admin.describe_topics(["topics"])[0]
        partitions = described["partitions"]
        same(3, len(partitions), "partitions")
        node = self.admin.describe_cluster()["controller_id"]
        replicas = "replicas" if OLD else "replica_nodes"
        isr = "isr" if OLD else "isr_nodes"
        leader = "leader" if OLD else "leader_id"
        for partition in partitions:
            told = (partition[leader], partition[replicas], partition[isr])
            same((node, [node], [node]), told, "leader, replicas and in-sync replicas")
        fails(errors.TopicAlreadyExistsError, "twice", self.admin.create_topics, [topic])
        fails(errors.InvalidTopicError, "a name with a slash", self.create, "a/b")
        three = [NewTopic("three", 1, 3)]
        fails(errors.InvalidReplicationFactorError, "3 replicas", self.admin.create_topics, three)
        wrong = {"no.such.setting": "1"}
        fails(errors.InvalidConfigurationError, "unknown setting", self.create, "wrong", 1, wrong)
        self.admin.delete_topics(["topics"])
        assert "topics" not in self.admin.list_topics(), "a deleted topic is listed"
        again = self.admin.delete_topics
        fails(errors.UnknownTopicOrPartitionError, "deleting what is deleted", again, ["topics"])

    def partitions(self):
        self.create("partitions", 2)
        self.admin.create_partitions({"partitions": NewPartitions(5)})
        same(5, len(self.admin.describe_topics(["partitions"])[0]["partitions"]), "partitions")
        fewer = {"partitions": NewPartitions(3)}
        fails(errors.InvalidPartitionsError, "fewer", self.admin.create_partitions, fewer)
        producer = self.producer()
        sent = producer.send("partitions", b"to the new one", partition=4).get(60)
        same(0, sent.offset, "offset in the new partition")
        producer.close()

    def configs(self, topic):
        """{name: (value, is default)} of a topic."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        if OLD:  # the response as it came
            _, _, _, _, entries = self.admin.describe_configs([resource])[0].resources[0]
            return {entry[0]: (entry[1], entry[3] == 5) for entry in entries}
        entries = self.admin.describe_configs([resource], config_filter="all")["topic"][topic]
        return {
            name: (entry["value"], entry["config_source"] == "DEFAULT_CONFIG")
            for name, entry in entries.items()
        }

    def topic_configs(self):
        self.create("configs", 1, {"segment.ms": "2000000"})
        before = self.configs("configs")
        for key in ["cleanup.policy", "compression.type", "max.message.bytes", "retention.bytes"]:
            assert key in before, f"{key} is not described"
            assert before[key][1], f"{key} is not said to be a default"
        same(("2000000", False), before["segment.ms"], "segment.ms")
        change = {"retention.ms": "86400000"}
        resource = ConfigResource(ConfigResourceType.TOPIC, "configs", configs=change)
        self.admin.alter_configs([resource])
        same(("86400000", False), self.configs("configs")["retention.ms"], "retention.ms")
        if OLD:  # sets all: what is not named goes back
            same(("604800000", True), self.configs("configs")["segment.ms"], "segment.ms")
        else:
            same(("2000000", False), self.configs("configs")["segment.ms"], "segment.ms")
            self.admin.reset_configs([resource])
            same(("604800000", True), self.configs("configs")["retention.ms"], "set back")

    def delete_records(self):
        self.create("delete-records")
        self.send("delete-records", 100, {"acks": "all"})
        tp = TopicPartition("delete-records", 0)
        told = self.admin.delete_records({tp: 42})[tp]
        same(42, told["low_watermark"], "low watermark")
        compare_all(self.all("delete-records", 58), 42)
        beyond = self.admin.delete_records
        fails(errors.OffsetOutOfRangeError, "beyond the end", beyond, {tp: 101})
        self.admin.delete_records({tp: -1})
        consumer = self.consumer()
        same({tp: 100}, consumer.beginning_offsets([tp]), "all deleted: beginning")
        same({tp: 100}, consumer.end_offsets([tp]), "all deleted: end")
        consumer.close()

    def groups(self):
        self.create("groups")
        self.send("groups", 10, {})
        consumer = self.consumer(
            "groups", group_id="listed", client_id="the-client", auto_offset_reset="earliest"
        )
        self.take(consumer, 10)
        consumer.commit()
        assert "listed" in self.group_names(), "the group is not listed"
        state, members = self.describe("listed")
        same(("Stable", 1), (state, len(members)), "state and members")
        same(("the-client", {("groups", 0)}), members[0], "client and assignment")
        same("NonEmptyGroupError", self.delete_group("listed"), "deletion while in use")
        consumer.close()
        assert self.delete_group("listed") in ("NoError", "OK"), "the deletion failed"
        assert "listed" not in self.group_names(), "a deleted group is listed"

    def group_names(self):
        if OLD:
            return [group for group, _ in self.admin.list_consumer_groups()]
        return [group["group_id"] for group in self.admin.list_groups()]

    def delete_group(self, group):
        delete = self.admin.delete_consumer_groups if OLD else self.admin.delete_groups
        deleted = delete([group])
        error = deleted[0][1] if isinstance(deleted, list) else deleted[group]
        return getattr(error, "__name__", str(error))

    def describe(self, group):
        """State and [(client id, {(topic, partition)})]."""
        if OLD:
            described = self.admin.describe_consumer_groups([group])[0]
            members = [
                (m.client_id, m.member_assignment.assignment if m.member_assignment else [])
                for m in described.members
            ]
            state = described.state
        else:
            described = self.admin.describe_groups([group])[group]
            state = described["group_state"]
            members = []
            for m in described["members"]:
                assignment = m["member_assignment"] or {}
                parts = assignment.get("assigned_partitions", [])
                members.append((m["client_id"], [(p["topic"], p["partitions"]) for p in parts]))
        return state, [
            (client, {(topic, p) for topic, partitions in parts for p in partitions})
            for client, parts in members
        ]

    def committed(self, group):
        if OLD:
            offsets = self.admin.list_consumer_group_offsets(group)
        else:
            offsets = self.admin.list_group_offsets({group: None})[group]
        return {tp.partition: offset.offset for tp, offset in offsets.items()}

    # Records

    def send(self, topic, count, settings):
        producer = self.producer(**settings)
        futures = []
        for i in range(count):
            key, value, time, headers = sample(i)
            futures.append(producer.send(topic, value, key, headers, 0, time))
        producer.flush(60)
        for i, future in enumerate(futures):
            told = future.get(60)
            if settings.get("acks") != 0:
                same(i, told.offset, f"acknowledged offset of record {i}")
        producer.close()

    def produce(self, codec, acks, idempotent=False):
        topic = f"produce-{codec}-{acks}-{idempotent}"
        count = 3000 if idempotent else 500
        self.create(topic)
        settings = {"acks": acks, "batch_size": 4096, "linger_ms": 5}
        settings["compression_type"] = None if codec == "none" else codec
        if not OLD:
            settings["enable_idempotence"] = idempotent
        self.send(topic, count, settings)
        compare_all(self.all(topic, count))

    def seek(self):
        self.create("seek")
        self.send("seek", 500, {"batch_size": 2000, "linger_ms": 5, "acks": "all"})
        tp = TopicPartition("seek", 0)
        consumer = self.consumer(auto_offset_reset="latest")
        same({tp: 0}, consumer.beginning_offsets([tp]), "beginning")
        same({tp: 500}, consumer.end_offsets([tp]), "end")
        for i in [0, 1, 37, 249, 499]:
            for time in [TIME + i * 1000, TIME + i * 1000 - 999]:
                found = consumer.offsets_for_times({tp: time})[tp]
                same((i, TIME + i * 1000), (found.offset, found.timestamp), f"offset for {time}")
        same(None, consumer.offsets_for_times({tp: TIME + 499_001})[tp], "after all")
        consumer.assign([tp])
        same(500, consumer.position(tp), "position under auto_offset_reset=latest")
        consumer.seek(tp, 42)
        compare_all(self.take(consumer, 458), 42)
        consumer.seek_to_beginning(tp)
        compare_all(self.take(consumer, 500))
        consumer.seek_to_end(tp)
        same(500, consumer.position(tp), "position after seek_to_end")
        consumer.seek(tp, 7000)
        until("a reset to latest", lambda: not consumer.poll(100) and consumer.position(tp) == 500)
        consumer.close()

    def auto_create(self):
        producer = self.producer()
        same(0, producer.send("made-by-send", b"first").get(60).offset, "offset")
        producer.close()
        same(b"first", self.all("made-by-send", 1)[0].value, "value")

    def large(self, topic, size, settings):
        self.create(topic, 1, settings)
        producer = self.producer(max_request_size=20_000_000)
        values = [os.urandom(size) for _ in range(3)]
        for i, value in enumerate(values):
            same(i, producer.send(topic, value, partition=0).get(60).offset, "offset")
        producer.close()
        for value, record in zip(values, self.all(topic, 3)):
            assert value == record.value, f"the value at {record.offset} has changed"

    def too_large(self):
        self.create("too-large")
        producer = self.producer(max_request_size=20_000_000)
        sending = producer.send("too-large", bytes(2 << 20), partition=0)
        fails(errors.MessageSizeTooLargeError, "2 MiB", sending.get, 60)
        producer.close()
        producer = self.producer()  # the new client keeps the error for whatever comes after
        same(0, producer.send("too-large", b"small", partition=0).get(60).offset, "offset")
        producer.close()
        same(b"small", self.all("too-large", 1)[0].value, "value")

    def wide(self):
        self.create("wide", 1000)
        producer = self.producer(linger_ms=20)
        for i in range(3000):
            partition = i % 1000
            producer.send("wide", f"{partition}:{i // 1000}".encode(), partition=partition)
        producer.flush(60)
        producer.close()
        consumer = self.consumer("wide", group_id="wide", auto_offset_reset="earliest")
        got = [[] for _ in range(1000)]
        for record in self.take(consumer, 3000):
            got[record.partition].append((record.offset, record.value))
        for partition, records in enumerate(got):
            expected = [(i, f"{partition}:{i}".encode()) for i in range(3)]
            same(expected, records, f"records of partition {partition}")
        consumer.commit()
        same({p: 3 for p in range(1000)}, self.committed("wide"), "committed offsets")
        consumer.close()

    # Groups

    def group_of_5(self, group="churn", **settings):
        self.create(group, PARTITIONS)
        producer = self.producer(acks="all")

        def send_round(batch):
            for future in [producer.send(group, value, partition=p) for p, value in batch]:
                future.get(60)

        def settled(count):
            state, members = self.describe(group)
            owned = [p for _, partitions in members for p in partitions]
            return state == "Stable" and len(members) == count and len(owned) == PARTITIONS

        churn(
            lambda name, ranges: GroupMember(self, group, settings, name, ranges),
            send_round,
            lambda: self.committed(group),
            settled,
        )
        producer.close()

    def commit_metadata(self):
        self.create("metadata", 2)
        consumer = self.consumer(group_id="metadata")
        tp = TopicPartition("metadata", 1)
        consumer.assign([tp])
        offset = OffsetAndMetadata(5, "a note") if OLD else OffsetAndMetadata(5, "a note", 0)
        consumer.commit({tp: offset})
        same(offset, consumer.committed(tp, metadata=True), "committed")
        consumer.close()


class GroupMember(Member, ConsumerRebalanceListener):
    def __init__(self, checks, group, settings, name, ranges):
        self.checks, self.group, self.settings = checks, group, settings
        super().__init__(name, ranges)

    def open(self):
        self.consumer = self.checks.consumer(
            group_id=self.group,
            client_id=self.name,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=200,
            session_timeout_ms=20000,
            max_poll_records=50,
            **self.settings,
        )
        self.consumer.subscribe([self.group], listener=self)

    def poll(self):
        timeout_ms = 100 if self.owned else JOINING_MS
        for records in self.consumer.poll(timeout_ms=timeout_ms).values():
            for record in records:
                yield record.partition, record.offset, record.value

    def send_commit(self, offsets):
        try:
            self.consumer.commit(
                {
                    TopicPartition(self.group, p): OffsetAndMetadata(o, "")
                    for p, o in offsets.items()
                }
            )
        except (errors.CommitFailedError, errors.RebalanceInProgressError):
            return False
        return True

    def close(self):
        self.consumer.close()

    def on_partitions_assigned(self, assigned):
        partitions = [tp.partition for tp in assigned]
        if OLD:
            self.assigned(partitions, {tp.partition: self.consumer.position(tp) for tp in assigned})
        else:  # this is the client's own thread, where one must not wait for it
            self.assigned(partitions)

    def on_partitions_revoked(self, revoked):
        partitions = [tp.partition for tp in revoked]
        if OLD:
            self.revoked(partitions)
        else:
            self.lost(partitions)

    def on_partitions_lost(self, lost):
        self.lost([tp.partition for tp in lost])


def compare_all(records, first=0):
    compare([(r.offset, r.key, r.value, r.timestamp, list(r.headers)) for r in records], first)


def checks(report, bootstrap):
    c = Checks(bootstrap)
    report.check("cluster", c.cluster)
    report.check("topics", c.topics)
    report.check("partitions", c.partitions)
    report.check("topic configs", c.topic_configs)
    if not OLD:
        report.check("delete records", c.delete_records)
    report.check("groups", c.groups)
    for codec in CODECS:
        for acks in [0, 1, "all"]:
            report.check(f"produce {codec} acks={acks}", c.produce, codec, acks)
        if not OLD:
            report.check(f"idempotent {codec}", c.produce, codec, "all", True)
    report.check("seek", c.seek)
    report.check("auto-create", c.auto_create)
    report.check("large 900 KiB", c.large, "large-900k", 900 << 10, {})
    report.check("large 10 MiB", c.large, "large-10m", 10 << 20, {"max.message.bytes": 11 << 20})
    report.check("too large", c.too_large)
    report.check("1000 partitions", c.wide)
    report.check("group of 5", c.group_of_5)
    report.check("commit metadata", c.commit_metadata)


main(checks)
