package main

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const churned = 8 // partitions

// span is a range of offsets that was read and whose commit was acknowledged.
type span struct{ from, to int64 }

// shared is what the members of a group note.
type shared struct {
	sync.Mutex
	spans   map[int32][]span
	problem any
}

type member struct {
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{}
}

// start begins a member, which polls, checks, commits and notes what was committed. Rebalances wait
// while it does so.
func (s *shared) start(group string, balancer kgo.GroupBalancer) *member {
	life, stop := context.WithCancel(context.Background())
	m := &member{stop: stop, done: make(chan struct{})}
	m.client = client(kgo.ConsumerGroup(group), kgo.ConsumeTopics(group), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(balancer),
		kgo.BlockRebalanceOnPoll(), kgo.HeartbeatInterval(200*time.Millisecond),
		kgo.SessionTimeout(20*time.Second))
	go func() {
		defer close(m.done)
		defer m.client.CloseAllowingRebalance()
		defer func() {
			if problem := recover(); problem != nil {
				s.Lock()
				s.problem = problem
				s.Unlock()
			}
		}()
		for life.Err() == nil {
			s.round(life, m.client, group)
		}
	}()
	return m
}

func (s *shared) round(life context.Context, consumer *kgo.Client, group string) {
	defer consumer.AllowRebalance()
	limited, stop := context.WithTimeout(life, 100*time.Millisecond)
	defer stop()
	fetches := consumer.PollRecords(limited, 100)
	read := map[int32]span{}
	offsets := map[string]map[int32]kgo.EpochOffset{group: {}}
	fetches.EachRecord(func(r *kgo.Record) {
		got, began := read[r.Partition]
		if !began {
			got = span{r.Offset, r.Offset}
		}
		same(got.to, r.Offset, "next offset")
		same(fmt.Sprintf("%d:%d", r.Partition, r.Offset), string(r.Value), "value")
		read[r.Partition] = span{got.from, r.Offset + 1}
		offsets[group][r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
	})
	if len(read) == 0 {
		return
	}
	commit(consumer, offsets)
	s.Lock()
	defer s.Unlock()
	for partition, span := range read {
		s.spans[partition] = append(s.spans[partition], span)
	}
}

func (s *shared) check() {
	s.Lock()
	defer s.Unlock()
	if s.problem != nil {
		fail("a member failed: %v", s.problem)
	}
}

// cover fails unless each offset below end lies in exactly one span.
func (s *shared) cover(partition int32, end int64) {
	spans := s.spans[partition]
	sort.Slice(spans, func(i, j int) bool { return spans[i].from < spans[j].from })
	next := int64(0)
	for _, span := range spans {
		if span.from != next {
			fail("partition %d: [%d, %d) was committed where %d comes next", partition, span.from,
				span.to, next)
		}
		next = span.to
	}
	same(end, next, fmt.Sprintf("committed end of partition %d", partition))
}

// commit must succeed: the rebalance waits for it.
func commit(consumer *kgo.Client, offsets map[string]map[int32]kgo.EpochOffset) {
	consumer.CommitOffsetsSync(patient(), offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest,
		answer *kmsg.OffsetCommitResponse, err error) {
		must(err, "commit")
		for _, topic := range answer.Topics {
			for _, partition := range topic.Partitions {
				must(kerr.ErrorForCode(partition.ErrorCode), "commit")
			}
		}
	})
}

// load sends numbered records to all partitions until it is stopped, and gives their ends.
func load(topic string, stop <-chan struct{}, ends chan<- [churned]int64) {
	producer := client()
	defer producer.Close()
	sent := [churned]int64{}
	for {
		select {
		case <-stop:
			ends <- sent
			return
		case <-time.After(20 * time.Millisecond):
		}
		records := []*kgo.Record{}
		for range 5 {
			for p := range sent {
				value := fmt.Appendf(nil, "%d:%d", p, sent[p])
				records = append(records, &kgo.Record{Topic: topic, Partition: int32(p), Value: value})
				sent[p]++
			}
		}
		if producer.ProduceSync(patient(), records...).FirstErr() != nil {
			return
		}
	}
}

// watch reads the committed offsets; none may be lower than it was. It gives their sum.
func watch(group string, last *[churned]int64) (sum int64) {
	offsets, err := admin.FetchOffsets(patient(), group)
	must(err, "committed offsets")
	for p := range last {
		at, found := offsets.Lookup(group, int32(p))
		if (found && at.At < last[p]) || (!found && last[p] > 0) {
			fail("the committed offset of partition %d went from %d to %d", p, last[p], at.At)
		}
		if found {
			last[p] = at.At
		}
		sum += last[p]
	}
	return sum
}

// settled tells whether the group is stable with so many members, who own each partition once.
func settled(group string, members int) bool {
	described, err := admin.DescribeGroups(patient(), group)
	must(err, "describe group")
	now := described[group]
	owned := 0
	for _, m := range now.Members {
		if assigned, ok := m.Assigned.AsConsumer(); ok {
			for _, topic := range assigned.Topics {
				owned += len(topic.Partitions)
			}
		}
	}
	return now.State == "Stable" && len(now.Members) == members && owned == churned
}

// churn lets members come and go under load, up to five.
func churn(group string, balancer kgo.GroupBalancer) {
	made(group, churned)
	stop, ends := make(chan struct{}), make(chan [churned]int64, 1)
	go load(group, stop, ends)
	s := &shared{spans: map[int32][]span{}}
	members, last := []*member{}, [churned]int64{}
	for _, wanted := range []int{1, 2, 5, 3, 5, 1} {
		for len(members) < wanted {
			members = append(members, s.start(group, balancer))
		}
		for len(members) > wanted {
			members[0].stop()
			<-members[0].done
			members = members[1:]
		}
		until(fmt.Sprintf("a stable group of %d", wanted), func() bool {
			s.check()
			watch(group, &last)
			return settled(group, wanted)
		})
		target := watch(group, &last) + 300
		until("300 more records committed", func() bool { return watch(group, &last) >= target })
	}
	close(stop)
	sent := <-ends
	until("all records committed", func() bool {
		s.check()
		watch(group, &last)
		return last == sent
	})
	members[0].stop()
	<-members[0].done
	s.check()
	for p := range sent {
		s.cover(int32(p), sent[p])
	}
}
