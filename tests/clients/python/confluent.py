"""What confluent-kafka-python, the binding of librdkafka, does.

confluent.py BOOTSTRAP [BEGINNING]
"""

import os

from report import CODECS, TIME, compare, fails, main, sample, same, until

from churn import PARTITIONS, Member, churn
from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourceType,
)


def refused(code, what, body, *arguments):
    error = fails(KafkaException, what, body, *arguments).args[0]
    same((code, KafkaError(code).name()), (error.code(), error.name()), what)


def alone(futures):
    """The result of the only future."""
    (future,) = futures.values()
    return future.result(60)


class Checks:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def producer(self, **settings):
        named = {key.replace("_", "."): value for key, value in settings.items()}
        return Producer({"bootstrap.servers": self.bootstrap, **named})

    def consumer(self, **settings):
        named = {key.replace("_", "."): value for key, value in settings.items()}
        named.setdefault("group.id", "unused")
        return Consumer({"bootstrap.servers": self.bootstrap, "enable.auto.commit": False, **named})

    def create(self, topic, partitions=1, settings=None, replicas=1, dry=False):
        new = NewTopic(topic, partitions, replicas, config=settings or {})
        alone(self.admin.create_topics([new], validate_only=dry))

    def take(self, consumer, count):
        """So many records; one more look shows that there are no others."""
        records = []

        def enough():
            for record in consumer.consume(1000, 0.1):
                assert record.error() is None, f"consume: {record.error()}"
                records.append(record)
            return len(records) >= count

        until(f"{count} records", enough)
        enough()
        same(count, len(records), "number of records")
        return records

    def all(self, topic, count, **settings):
        consumer = self.consumer(**settings)
        consumer.assign([TopicPartition(topic, 0, 0)])
        records = self.take(consumer, count)
        consumer.close()
        return records

    # Administration

    def cluster(self):
        described = self.admin.describe_cluster().result(60)
        same(1, len(described.nodes), "nodes")
        same(described.nodes[0].id, described.controller.id, "controller")
        same(22, len(described.cluster_id), "length of the cluster's id")

    def topics(self):
        self.create("topics", 3, dry=True)
        assert "topics" not in self.admin.list_topics().topics, "a dry run made the topic"
        self.create("topics", 3, {"retention.ms": "123456"})
        partitions = self.admin.list_topics("topics").topics["topics"].partitions
        same(3, len(partitions), "partitions")
        node = self.admin.list_topics().controller_id
        for p in partitions.values():
            same((node, [node], [node]), (p.leader, p.replicas, p.isrs), "leader and replicas")
        refused(KafkaError.TOPIC_ALREADY_EXISTS, "twice the same topic", self.create, "topics")
        refused(KafkaError.TOPIC_EXCEPTION, "a name with a slash", self.create, "a/b")
        refused(KafkaError.INVALID_REPLICATION_FACTOR, "3 replicas", self.create, "r", 1, {}, 3)
        wrong = {"no.such.setting": "1"}
        refused(KafkaError.INVALID_CONFIG, "an unknown setting", self.create, "w", 1, wrong)
        alone(self.admin.delete_topics(["topics"]))
        assert "topics" not in self.admin.list_topics().topics, "a deleted topic is listed"
        again = lambda: alone(self.admin.delete_topics(["topics"]))
        refused(KafkaError.UNKNOWN_TOPIC_OR_PART, "deleting a deleted topic", again)

    def partitions(self):
        self.create("partitions", 2)
        alone(self.admin.create_partitions([NewPartitions("partitions", 5)]))
        same(5, len(self.admin.list_topics("partitions").topics["partitions"].partitions), "count")
        fewer = lambda: alone(self.admin.create_partitions([NewPartitions("partitions", 3)]))
        refused(KafkaError.INVALID_PARTITIONS, "fewer partitions", fewer)
        self.send([("partitions", 4, None, b"to the new one")])

    def topic_configs(self):
        self.create("configs")
        resource = ConfigResource(ResourceType.TOPIC, "configs")
        configs = lambda: alone(self.admin.describe_configs([resource]))

        def alter(name, value, how):
            entry = ConfigEntry(name, value, incremental_operation=how)
            change = ConfigResource(ResourceType.TOPIC, "configs", incremental_configs=[entry])
            alone(self.admin.incremental_alter_configs([change]))

        before = configs()
        for key in ["cleanup.policy", "compression.type", "max.message.bytes", "retention.bytes"]:
            assert before[key].is_default, f"{key} is not said to be a default"
        alter("retention.ms", "86400000", AlterConfigOpType.SET)
        got = configs()["retention.ms"]
        same(("86400000", 1), (got.value, got.source), "retention.ms and its source")
        alter("retention.ms", None, AlterConfigOpType.DELETE)
        same("604800000", configs()["retention.ms"].value, "retention.ms set back")
        set_wrong = ("retention.ms", "long", AlterConfigOpType.SET)
        refused(KafkaError.INVALID_CONFIG, "a retention that is no number", alter, *set_wrong)
        nowhere = ConfigResource(ResourceType.TOPIC, "nowhere")
        ask = lambda: alone(self.admin.describe_configs([nowhere]))
        refused(KafkaError.UNKNOWN_TOPIC_OR_PART, "settings of an unknown topic", ask)

    def delete_records(self):
        self.create("delete-records")
        self.send_samples("delete-records", 100)
        delete = lambda offset: alone(
            self.admin.delete_records([TopicPartition("delete-records", 0, offset)])
        )
        same(42, delete(42).low_watermark, "low watermark")
        compare_all(self.all("delete-records", 58, auto_offset_reset="earliest"), 42)
        refused(KafkaError.OFFSET_OUT_OF_RANGE, "beyond the end", delete, 101)
        delete(-1)
        consumer = self.consumer()
        marks = consumer.get_watermark_offsets(TopicPartition("delete-records", 0))
        same((100, 100), marks, "watermarks after all was deleted")
        consumer.close()

    def groups(self):
        self.create("groups")
        self.send_samples("groups", 10)
        settings = {"group_id": "listed", "client_id": "the-client"}
        consumer = self.consumer(auto_offset_reset="earliest", **settings)
        consumer.subscribe(["groups"])
        self.take(consumer, 10)
        consumer.commit(asynchronous=False)
        listed = lambda: [g.group_id for g in self.admin.list_consumer_groups().result(60).valid]
        assert "listed" in listed(), "the group is not listed"
        state, members = self.describe("listed")
        same((ConsumerGroupState.STABLE, 1), (state, len(members)), "state and members")
        same(("the-client", "/127.0.0.1"), (members[0].client_id, members[0].host), "member")
        same([("groups", 0)], owned(members[0]), "assignment")
        delete = lambda: alone(self.admin.delete_consumer_groups(["listed"]))
        refused(KafkaError.NON_EMPTY_GROUP, "deleting a group with a member", delete)
        consumer.close()
        delete()
        assert "listed" not in listed(), "a deleted group is listed"

    def describe(self, group):
        described = alone(self.admin.describe_consumer_groups([group]))
        return described.state, described.members

    def group_offsets(self):
        self.create("offsets", 2)
        group = ConsumerGroupTopicPartitions

        def alter(*offsets):
            wanted = [TopicPartition("offsets", p, offset) for p, offset in offsets]
            alone(self.admin.alter_consumer_group_offsets([group("altered", wanted)]))

        alter((0, 7), (1, 9))
        same({0: 7, 1: 9}, self.committed("altered"), "offsets")
        alter((0, 3))
        same({0: 3, 1: 9}, self.committed("altered"), "offsets after one was set back")
        alone(self.admin.delete_topics(["offsets"]))
        until("the offsets of a deleted topic to go", lambda: not self.committed("altered"))

    def committed(self, group):
        listed = alone(
            self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])
        )
        return {tp.partition: tp.offset for tp in listed.topic_partitions}

    # Records

    def send(self, records, **settings):
        """Records (topic, partition, key, value, time, headers); gives the offsets told."""
        producer = self.producer(**settings)
        told = []

        def delivered(error, message):
            told.append(error or message.offset())

        for topic, partition, key, value, *more in records:
            timed = dict(zip(("timestamp", "headers"), more))
            while True:
                try:
                    producer.produce(topic, value, key, partition, on_delivery=delivered, **timed)
                    break
                except BufferError:
                    producer.poll(0.1)
        same(0, producer.flush(60), "records not acknowledged")
        for told_offset in told:
            assert not isinstance(told_offset, KafkaError), f"delivery: {told_offset}"
        return told

    def send_samples(self, topic, count, **settings):
        told = self.send([(topic, 0, *sample(i)) for i in range(count)], **settings)
        if settings.get("acks") != "0":
            same(list(range(count)), told, "acknowledged offsets")

    def produce(self, codec, acks, idempotent=False):
        topic = f"produce-{codec}-{acks}-{idempotent}"
        count = 3000 if idempotent else 500
        self.create(topic)
        settings = {"acks": acks, "compression_type": codec, "linger_ms": 5, "batch_size": 4096}
        self.send_samples(topic, count, enable_idempotence=idempotent, **settings)
        compare_all(self.all(topic, count, isolation_level="read_committed", check_crcs=True))

    def seek(self):
        self.create("seek")
        self.send_samples("seek", 500, linger_ms=5, batch_size=2000)
        at = lambda offset: TopicPartition("seek", 0, offset)
        consumer = self.consumer(auto_offset_reset="latest")
        same((0, 500), consumer.get_watermark_offsets(at(0)), "watermarks")
        for i in [0, 1, 37, 249, 499]:
            for time in [TIME + i * 1000, TIME + i * 1000 - 999]:
                same(i, consumer.offsets_for_times([at(time)])[0].offset, f"offset for {time}")
        same(-1, consumer.offsets_for_times([at(TIME + 499_001)])[0].offset, "after all")
        found = alone(self.admin.list_offsets({at(0): OffsetSpec.max_timestamp()}))
        same((499, TIME + 499_000), (found.offset, found.timestamp), "highest time")
        for offset, count in [(42, 458), (-2, 500), (495, 5)]:
            consumer.assign([at(offset)])
            compare_all(self.take(consumer, count), 500 - count)
        for offset in [-1, 7000]:  # the end, and out of range: reset to latest
            consumer.assign([at(offset)])
            same([], consumer.consume(10, 1), f"records from offset {offset}")
        self.send([("seek", 0, *sample(500))])
        compare_all(self.take(consumer, 1), 500)
        consumer.close()

    def auto_create(self):
        same([0], self.send([("made-by-send", 0, None, b"first")]), "offset")
        same(b"first", self.all("made-by-send", 1)[0].value(), "value")

    def large(self, topic, size, settings):
        self.create(topic, 1, settings)
        values = [os.urandom(size) for _ in range(3)]
        records = [(topic, 0, None, value) for value in values]
        same([0, 1, 2], self.send(records, message_max_bytes=20_000_000), "offsets")
        for value, record in zip(values, self.all(topic, 3)):
            assert value == record.value(), f"the value at {record.offset()} has changed"

    def too_large(self):
        self.create("too-large")
        big = [("too-large", 0, None, bytes(2 << 20))]
        error = fails(AssertionError, "2 MiB", self.send, big, message_max_bytes=20_000_000)
        assert "MSG_SIZE_TOO_LARGE" in str(error), f"2 MiB: {error}"
        same([0], self.send([("too-large", 0, None, b"small")]), "offset")
        same(b"small", self.all("too-large", 1)[0].value(), "value")

    def wide(self):
        self.create("wide", 1000)
        value = lambda i: f"{i % 1000}:{i // 1000}".encode()
        self.send([("wide", i % 1000, None, value(i)) for i in range(3000)], linger_ms=20)
        consumer = self.consumer(group_id="wide", auto_offset_reset="earliest")
        consumer.subscribe(["wide"])
        got = [[] for _ in range(1000)]
        for record in self.take(consumer, 3000):
            got[record.partition()].append((record.offset(), record.value()))
        for partition, records in enumerate(got):
            expected = [(i, f"{partition}:{i}".encode()) for i in range(3)]
            same(expected, records, f"records of partition {partition}")
        consumer.commit(asynchronous=False)
        same({p: 3 for p in range(1000)}, self.committed("wide"), "committed offsets")
        consumer.close()

    # Groups

    def group_of_5(self, group, assignor):
        self.create(group, PARTITIONS)

        def settled(count):
            state, members = self.describe(group)
            assigned = [p for member in members for p in owned(member)]
            stable = state == ConsumerGroupState.STABLE
            return stable and len(members) == count and len(assigned) == PARTITIONS

        churn(
            lambda name, ranges: GroupMember(self, group, assignor, name, ranges),
            lambda batch: self.send([(group, p, None, value) for p, value in batch], linger_ms=1),
            lambda: self.committed(group),
            settled,
        )

    def static_members(self):
        self.create("static", PARTITIONS)

        def member(instance):
            consumer = self.consumer(
                group_id="static",
                group_instance_id=instance,
                session_timeout_ms=20000,
                heartbeat_interval_ms=200,
                partition_assignment_strategy="range",
            )
            consumer.subscribe(["static"])
            return consumer

        def halves(*consumers):
            for consumer in consumers:
                consumer.poll(0.05)
            parts = [[tp.partition for tp in consumer.assignment()] for consumer in consumers]
            return parts if sorted(map(len, parts)) == [4, 4] else None

        a, b = member("instance-a"), member("instance-b")
        before = until("two halves", lambda: halves(a, b))
        b.close()
        again = member("instance-b")
        same(before, until("the same halves", lambda: halves(a, again)), "assignment on return")
        twin = member("instance-b")
        until("the twin's half", lambda: halves(a, twin))

        def fenced():
            message = again.poll(0.1)
            return message and message.error() and message.error().code() == KafkaError._FATAL

        until("the fencing of the member with a newer twin", fenced)
        _, members = self.describe("static")
        same(["instance-a", "instance-b"], sorted(m.group_instance_id for m in members), "members")
        for consumer in (a, twin, again):
            consumer.close()

    def commit_metadata(self):
        self.create("metadata", 2)
        consumer = self.consumer(group_id="metadata")
        at = TopicPartition("metadata", 1, 5, "a note", 0)
        consumer.commit(offsets=[at], asynchronous=False)
        got = consumer.committed([TopicPartition("metadata", 1)])[0]
        same((5, "a note", 0), (got.offset, got.metadata, got.leader_epoch), "committed")
        consumer.close()

    def transactions(self):
        producer = self.producer(transactional_id="t")
        fails(KafkaException, "init_transactions", producer.init_transactions, 60)


class GroupMember(Member):
    def __init__(self, checks, group, assignor, name, ranges):
        self.checks, self.group, self.assignor = checks, group, assignor
        super().__init__(name, ranges)

    def open(self):
        self.consumer = self.checks.consumer(
            group_id=self.group,
            client_id=self.name,
            auto_offset_reset="earliest",
            heartbeat_interval_ms=200,
            session_timeout_ms=20000,
            partition_assignment_strategy=self.assignor,
        )
        self.consumer.subscribe(
            [self.group], on_assign=self.on_assign, on_revoke=self.on_revoke, on_lost=self.on_lost
        )

    def poll(self):
        for record in self.consumer.consume(50, 0.1):
            assert record.error() is None, f"consume: {record.error()}"
            if record.partition() in self.owned:  # not one of a batch that was cut by a rebalance
                yield record.partition(), record.offset(), record.value()

    def send_commit(self, offsets):
        wanted = [TopicPartition(self.group, p, offset) for p, offset in offsets.items()]
        try:
            done = self.consumer.commit(offsets=wanted, asynchronous=False)
        except KafkaException as e:
            moved = (
                KafkaError.REBALANCE_IN_PROGRESS,
                KafkaError.ILLEGAL_GENERATION,
                KafkaError.UNKNOWN_MEMBER_ID,
            )
            assert e.args[0].code() in moved, f"commit: {e}"
            return False
        for tp in done:
            assert tp.error is None, f"commit: {tp}"
        return True

    def close(self):
        self.consumer.close()

    def on_assign(self, _, assigned):
        self.assigned([tp.partition for tp in assigned])

    def on_revoke(self, _, revoked):
        self.revoked([tp.partition for tp in revoked])

    def on_lost(self, _, lost):
        self.lost([tp.partition for tp in lost])


def owned(member):
    return [(tp.topic, tp.partition) for tp in member.assignment.topic_partitions]


def compare_all(records, first=0):
    assert all(r.timestamp()[0] != TIMESTAMP_NOT_AVAILABLE for r in records), "a record has no time"
    compare(
        [(r.offset(), r.key(), r.value(), r.timestamp()[1], r.headers() or []) for r in records],
        first,
    )


def checks(report, bootstrap):
    c = Checks(bootstrap)
    report.check("cluster", c.cluster)
    report.check("topics", c.topics)
    report.check("partitions", c.partitions)
    report.check("topic configs", c.topic_configs)
    report.check("delete records", c.delete_records)
    report.check("groups", c.groups)
    report.check("group offsets", c.group_offsets)
    for codec in CODECS:
        for acks in ["0", "1", "all"]:
            report.check(f"produce {codec} acks={acks}", c.produce, codec, acks)
        report.check(f"idempotent {codec}", c.produce, codec, "all", True)
    report.check("seek", c.seek)
    report.check("auto-create", c.auto_create)
    report.check("large 900 KiB", c.large, "large-900k", 900 << 10, {})
    report.check(
        "large 10 MiB", c.large, "large-10m", 10 << 20, {"max.message.bytes": str(11 << 20)}
    )
    report.check("too large", c.too_large)
    report.check("1000 partitions", c.wide)
    report.check("transactions refused", c.transactions)
    report.check("group of 5", c.group_of_5, "churn-range", "range")
    report.check("cooperative-sticky", c.group_of_5, "churn-coop", "cooperative-sticky")
    report.check("static members", c.static_members)
    report.check("commit metadata", c.commit_metadata)


main(checks)
