package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func administration(r *report) {
	r.check("cluster", cluster)
	r.check("topics", topics)
	r.check("partitions", partitions)
	r.check("topic configs", topicConfigs)
	r.check("delete records", deleteRecords)
	r.check("log dirs", logDirs)
	r.check("groups", groups)
	r.check("group offsets", groupOffsets)
}

func cluster() {
	metadata, err := admin.BrokerMetadata(patient())
	must(err, "metadata")
	same(1, len(metadata.Brokers), "brokers")
	same(metadata.Brokers[0].NodeID, metadata.Controller, "controller")
	same(22, len(metadata.Cluster), "length of the cluster's id")
}

func topics() {
	_, err := admin.ValidateCreateTopics(patient(), 3, 1, nil, "topics")
	must(err, "dry run")
	listed := func() bool {
		all, err := admin.ListTopics(patient())
		must(err, "list topics")
		return all.Has("topics")
	}
	same(false, listed(), "listed after a dry run")
	made("topics", 3, "retention.ms", "123456")
	all, err := admin.ListTopics(patient(), "topics")
	must(err, "list topics")
	node := all["topics"].Partitions[0].Leader
	for p := range int32(3) {
		got := all["topics"].Partitions[p]
		expected := fmt.Sprint(node, []int32{node}, []int32{node})
		same(expected, fmt.Sprint(got.Leader, got.Replicas, got.ISR), "leader, replicas, in sync")
	}
	same(3, len(all["topics"].Partitions), "partitions")
	same(kerr.TopicAlreadyExists, unwrapped(create("topics", 1)), "twice the same topic")
	same(kerr.InvalidTopicException, unwrapped(create("a/b", 1)), "a name with a slash")
	same(kerr.InvalidConfig, unwrapped(create("w", 1, "no.such.setting", "1")), "unknown setting")
	_, err = admin.CreateTopic(patient(), 1, 3, nil, "three")
	same(kerr.InvalidReplicationFactor, unwrapped(err), "three replicas on one node")
	_, err = admin.DeleteTopic(patient(), "topics")
	must(err, "delete")
	until("the deleted topic to be listed no more", func() bool { return !listed() }) // it has a cache
	_, err = admin.DeleteTopic(patient(), "topics")
	same(kerr.UnknownTopicOrPartition, unwrapped(err), "deleting a deleted topic")
}

// unwrapped is the broker's error itself, without its message.
func unwrapped(err error) error {
	for err != nil {
		if inner, ok := err.(interface{ Unwrap() error }); ok {
			err = inner.Unwrap()
			continue
		}
		break
	}
	return err
}

func partitions() {
	made("partitions", 2)
	_, err := admin.UpdatePartitions(patient(), 5, "partitions")
	must(err, "more partitions")
	all, err := admin.ListTopics(patient(), "partitions")
	must(err, "list topics")
	same(5, len(all["partitions"].Partitions), "partitions")
	fewer, err := admin.UpdatePartitions(patient(), 3, "partitions")
	must(err, "request for fewer")
	same(kerr.InvalidPartitions, unwrapped(fewer["partitions"].Err), "fewer partitions")
	send([]*kgo.Record{{Topic: "partitions", Partition: 4, Value: []byte("to the new one")}})
}

func config(topic, key string) kadm.Config {
	described, err := admin.DescribeTopicConfigs(patient(), topic)
	must(err, "describe configs")
	for _, config := range described[0].Configs {
		if config.Key == key {
			return config
		}
	}
	fail("%s is not described", key)
	return kadm.Config{}
}

func topicConfigs() {
	made("configs", 1)
	for _, key := range []string{"cleanup.policy", "compression.type", "max.message.bytes"} {
		same("DEFAULT_CONFIG", config("configs", key).Source, "source of "+key)
	}
	alter := func(op kadm.IncrementalOp, value string) error {
		change := []kadm.AlterConfig{{Op: op, Name: "retention.ms", Value: &value}}
		answer, err := admin.AlterTopicConfigs(patient(), change, "configs")
		must(err, "alter configs")
		return answer[0].Err
	}
	must(alter(kadm.SetConfig, "86400000"), "set")
	got := config("configs", "retention.ms")
	same("86400000 DYNAMIC_TOPIC_CONFIG", fmt.Sprint(*got.Value, " ", got.Source), "retention.ms")
	must(alter(kadm.DeleteConfig, ""), "delete")
	same("604800000", *config("configs", "retention.ms").Value, "retention.ms set back")
	same(kerr.InvalidConfig, unwrapped(alter(kadm.SetConfig, "long")), "a retention that is no number")
}

func deleteRecords() {
	made("delete-records", 1)
	send(samples("delete-records", 100))
	remove := func(before int64) kadm.DeleteRecordsResponse {
		offsets := kadm.Offsets{}
		offsets.AddOffset("delete-records", 0, before, -1)
		answer, err := admin.DeleteRecords(patient(), offsets)
		must(err, "delete records")
		return answer["delete-records"][0]
	}
	same(42, remove(42).LowWatermark, "low watermark")
	compare(from("delete-records", kgo.NewOffset().AtStart(), 58), "delete-records", 42)
	same(kerr.OffsetOutOfRange, unwrapped(remove(101).Err), "beyond the end")
	same(100, remove(-1).LowWatermark, "low watermark after all was deleted")
}

func logDirs() {
	made("log-dirs", 1)
	send(samples("log-dirs", 100))
	all, err := admin.DescribeAllLogDirs(patient(), nil)
	must(err, "describe log dirs")
	size := int64(0)
	all.Each(func(folder kadm.DescribedLogDir) {
		must(folder.Err, "folder")
		if partition, found := folder.Topics.Lookup("log-dirs", 0); found {
			size += partition.Size
		}
	})
	if size < 1000 || size > 100_000 {
		fail("size of a partition with 100 records: %d", size)
	}
}

func groups() {
	made("groups", 1)
	send(samples("groups", 10))
	consumer := client(kgo.ConsumerGroup("listed"), kgo.ConsumeTopics("groups"),
		kgo.ClientID("the-client"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	compare(take(consumer, 10), "groups", 0)
	listed := func() bool {
		all, err := admin.ListGroups(patient())
		must(err, "list groups")
		_, found := all["listed"]
		return found
	}
	same(true, listed(), "listed")
	described, err := admin.DescribeGroups(patient(), "listed")
	must(err, "describe groups")
	group := described["listed"]
	same("Stable 1", fmt.Sprint(group.State, " ", len(group.Members)), "state and members")
	member := group.Members[0]
	same("the-client /127.0.0.1", member.ClientID+" "+member.ClientHost, "member")
	remove := func() error {
		answer, err := admin.DeleteGroups(patient(), "listed")
		must(err, "delete groups")
		return unwrapped(answer["listed"].Err)
	}
	same(kerr.NonEmptyGroup, remove(), "deleting a group with a member")
	consumer.Close()
	must(remove(), "deletion")
	same(false, listed(), "listed after deletion")
}

func groupOffsets() {
	made("offsets", 2)
	commit := func(p int32, at int64, metadata string) {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: "offsets", Partition: p, At: at, LeaderEpoch: 0, Metadata: metadata})
		must(admin.CommitAllOffsets(patient(), "altered", offsets), "commit")
	}
	committed := func() string {
		offsets, err := admin.FetchOffsets(patient(), "altered")
		must(err, "committed offsets")
		told := ""
		for p := range int32(2) {
			if at, found := offsets.Lookup("offsets", p); found {
				told += fmt.Sprintf("%d:%d,%d,%s ", p, at.At, at.LeaderEpoch, at.Metadata)
			}
		}
		return told
	}
	commit(0, 7, "seven")
	commit(1, 9, "")
	same("0:7,0,seven 1:9,0, ", committed(), "offsets")
	commit(0, 3, "")
	same("0:3,0, 1:9,0, ", committed(), "an offset set back")
	only := kadm.TopicsSet{}
	only.Add("offsets", 0)
	_, err := admin.DeleteOffsets(patient(), "altered", only)
	must(err, "delete offsets")
	same("1:9,0, ", committed(), "offsets after one was deleted")
	_, err = admin.DeleteTopic(patient(), "offsets")
	must(err, "delete topic")
	until("the offsets of a deleted topic to go", func() bool { return committed() == "" })
}
