// What franz-go does: main BOOTSTRAP [BEGINNING].
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const firstTime = 1_700_000_000_000 // of the first record; each further one is a second later

var bootstrap string

func client(options ...kgo.Opt) *kgo.Client {
	options = append([]kgo.Opt{kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner())},
		options...)
	made, err := kgo.NewClient(options...)
	must(err, "client")
	return made
}

func patient() context.Context {
	limited, _ := context.WithTimeout(context.Background(), patience)
	return limited
}

var admin *kadm.Client

func create(topic string, partitions int32, settings ...string) error {
	configs := map[string]*string{}
	for i := 0; i < len(settings); i += 2 {
		configs[settings[i]] = &settings[i+1]
	}
	_, err := admin.CreateTopic(patient(), partitions, 1, configs, topic)
	return err
}

func made(topic string, partitions int32, settings ...string) {
	must(create(topic, partitions, settings...), "creating "+topic)
}

func sample(topic string, i int) *kgo.Record {
	record := &kgo.Record{Topic: topic, Timestamp: time.UnixMilli(firstTime + int64(i)*1000)}
	if i%3 != 0 {
		record.Key = fmt.Appendf(nil, "key-%d", i)
	}
	if i%51 != 49 {
		record.Value = fmt.Appendf(nil, "value-%d-%s", i, strings.Repeat("x", i%200))
	}
	if i%2 == 0 {
		record.Headers = []kgo.RecordHeader{{Key: "h", Value: fmt.Appendf(nil, "header-%d", i)}}
	}
	return record
}

func describe(r *kgo.Record) string {
	return fmt.Sprintf("%d %q nil=%v %q nil=%v %d %q", r.Offset, r.Key, r.Key == nil, r.Value,
		r.Value == nil, r.Timestamp.UnixMilli(), r.Headers)
}

func compare(records []*kgo.Record, topic string, first int) {
	for i, got := range records {
		expected := sample(topic, first+i)
		expected.Offset = int64(first + i)
		same(describe(expected), describe(got), fmt.Sprintf("record %d", i))
	}
}

func take(consumer *kgo.Client, count int) []*kgo.Record {
	records := []*kgo.Record{}
	poll := func(wait time.Duration) {
		limited, stop := context.WithTimeout(context.Background(), wait)
		defer stop()
		fetches := consumer.PollFetches(limited)
		for _, problem := range fetches.Errors() {
			if !errors.Is(problem.Err, context.DeadlineExceeded) {
				fail("fetch: %v", problem.Err)
			}
		}
		records = append(records, fetches.Records()...)
	}
	until(fmt.Sprintf("%d records", count), func() bool {
		poll(time.Second)
		return len(records) >= count
	})
	poll(100 * time.Millisecond) // shows that there are no others
	same(count, len(records), "number of records")
	return records
}

func from(topic string, offset kgo.Offset, count int, options ...kgo.Opt) []*kgo.Record {
	at := map[string]map[int32]kgo.Offset{topic: {0: offset}}
	consumer := client(append(options, kgo.ConsumePartitions(at))...)
	defer consumer.Close()
	return take(consumer, count)
}

func send(records []*kgo.Record, options ...kgo.Opt) []*kgo.Record {
	producer := client(options...)
	defer producer.Close()
	results := producer.ProduceSync(patient(), records...)
	must(results.FirstErr(), "produce")
	return records
}

func samples(topic string, count int) (records []*kgo.Record) {
	for i := range count {
		records = append(records, sample(topic, i))
	}
	return
}

func produce(name string, codec kgo.CompressionCodec, acks kgo.Acks, idempotent bool) {
	topic, count := name, 500
	made(topic, 1)
	options := []kgo.Opt{kgo.RequiredAcks(acks), kgo.ProducerBatchCompression(codec),
		kgo.ProducerBatchMaxBytes(4096)}
	if idempotent {
		count = 3000
	} else {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	sent := send(samples(topic, count), options...)
	if acks != kgo.NoAck() {
		compare(sent, topic, 0)
	}
	compare(from(topic, kgo.NewOffset().AtStart(), count), topic, 0)
}

func seek() {
	made("seek", 1)
	send(samples("seek", 500), kgo.ProducerBatchMaxBytes(2048))
	compare(from("seek", kgo.NewOffset().AtStart(), 500), "seek", 0)
	compare(from("seek", kgo.NewOffset().At(42), 458), "seek", 42)
	compare(from("seek", kgo.NewOffset().AtEnd().Relative(-5), 5), "seek", 495)
	compare(from("seek", kgo.NewOffset().AfterMilli(firstTime+99_500), 400), "seek", 100)
	for _, i := range []int64{0, 1, 37, 249, 499} {
		for _, before := range []int64{0, 999} {
			listed, err := admin.ListOffsetsAfterMilli(patient(), firstTime+i*1000-before, "seek")
			must(err, "list offsets")
			at, _ := listed.Lookup("seek", 0)
			same([]int64{i, firstTime + i*1000}, []int64{at.Offset, at.Timestamp}, "offset for a time")
		}
	}
	end, err := admin.ListEndOffsets(patient(), "seek")
	must(err, "list end offsets")
	at, _ := end.Lookup("seek", 0)
	same(500, at.Offset, "end")
}

func large(topic string, size int, settings ...string) {
	made(topic, 1, settings...)
	records := []*kgo.Record{}
	for range 3 {
		value := make([]byte, size)
		rand.Read(value)
		records = append(records, &kgo.Record{Topic: topic, Value: value})
	}
	most := kgo.ProducerBatchMaxBytes(20_000_000)
	for _, record := range records {
		send([]*kgo.Record{record}, most, kgo.ProducerBatchCompression(kgo.NoCompression()))
	}
	for i, got := range from(topic, kgo.NewOffset().AtStart(), 3) {
		if got.Offset != int64(i) || !bytes.Equal(records[i].Value, got.Value) {
			fail("the value at %d has changed", got.Offset)
		}
	}
}

func tooLarge() {
	made("too-large", 1)
	producer := client(kgo.ProducerBatchMaxBytes(20_000_000),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer producer.Close()
	big := &kgo.Record{Topic: "too-large", Value: make([]byte, 2<<20)}
	err := producer.ProduceSync(patient(), big).FirstErr()
	if !errors.Is(err, kerr.MessageTooLarge) {
		fail("2 MiB: %v", err)
	}
	send(samples("too-large", 1))
	compare(from("too-large", kgo.NewOffset().AtStart(), 1), "too-large", 0)
}

func wide() {
	made("wide", 1000)
	records := []*kgo.Record{}
	for i := range 3000 {
		value := fmt.Appendf(nil, "%d:%d", i%1000, i/1000)
		records = append(records, &kgo.Record{Topic: "wide", Partition: int32(i % 1000), Value: value})
	}
	send(records)
	consumer := client(kgo.ConsumerGroup("wide"), kgo.ConsumeTopics("wide"), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	next := map[int32]int64{}
	for _, record := range take(consumer, 3000) {
		p := record.Partition
		same(fmt.Sprintf("%d:%d", p, next[p]), string(record.Value), "value")
		same(next[p], record.Offset, "offset")
		next[p]++
	}
	same(1000, len(next), "partitions with records")
	must(consumer.CommitUncommittedOffsets(patient()), "commit")
	committed, err := admin.FetchOffsets(patient(), "wide")
	must(err, "committed offsets")
	for p := range int32(1000) {
		at, _ := committed.Lookup("wide", p)
		same(3, at.At, fmt.Sprintf("committed in partition %d", p))
	}
}

func autoCreate() {
	producer := client(kgo.AllowAutoTopicCreation())
	defer producer.Close()
	must(producer.ProduceSync(patient(), sample("made-by-send", 0)).FirstErr(), "produce")
	compare(from("made-by-send", kgo.NewOffset().AtStart(), 1), "made-by-send", 0)
}

func main() {
	bootstrap = os.Args[1]
	r := &report{}
	if len(os.Args) > 2 {
		r.only = os.Args[2]
	}
	admin = kadm.NewClient(client())
	administration(r)
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()},
		{"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}}
	levels := []struct {
		name string
		acks kgo.Acks
	}{{"0", kgo.NoAck()}, {"1", kgo.LeaderAck()}, {"all", kgo.AllISRAcks()}}
	for _, c := range codecs {
		for _, a := range levels {
			r.check("produce "+c.name+" acks="+a.name, func() {
				produce("produce-"+c.name+"-"+a.name, c.codec, a.acks, false)
			})
		}
		r.check("idempotent "+c.name, func() {
			produce("idempotent-"+c.name, c.codec, kgo.AllISRAcks(), true)
		})
	}
	r.check("seek", seek)
	r.check("auto-create", autoCreate)
	r.check("large 900 KiB", func() { large("large-900k", 900<<10) })
	r.check("large 10 MiB", func() { large("large-10m", 10<<20, "max.message.bytes", "11534336") })
	r.check("too large", tooLarge)
	r.check("1000 partitions", wide)
	r.check("group of 5", func() { churn("churn-range", kgo.RangeBalancer()) })
	r.check("cooperative-sticky", func() { churn("churn-coop", kgo.CooperativeStickyBalancer()) })
	r.end()
}
