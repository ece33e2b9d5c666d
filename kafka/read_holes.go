package kafka

// Offsets without a record. Compaction removes records and leaves their offsets,
// and a batch may end with some. A reader gets over such a hole with the next
// record behind it, and hears nothing of it until then. One that has to arrive
// somewhere asks what Kafka has there.

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// holes says where a topic has any; for all who read it. Safe for concurrent use.
type holes struct {
	client *kgo.Client
	admin  *kadm.Client
	topic  string
	// batches decompresses.
	batches kgo.Decompressor
	// committed: they get no records of transactions that were given up, and nothing behind one that is open.
	committed bool
	// policy is for all who come upon a hole.
	policy topicPolicy
}

// policyAge is how long Kafka's answer about a topic's policy counts. A topic seldom changes it.
const policyAge = time.Minute

// topicPolicy is Kafka's last answer, for the topic id.
type topicPolicy struct {
	mu        sync.Mutex
	id        identity
	compacted bool
	// answered is when; zero: never.
	answered time.Time
}

// compacted reports whether the topic id is known to be compacted. Only then nothing means that there is nothing: of a topic
// whose old records lie elsewhere (remote.storage.enable, which compaction excludes), Kafka answers without records when it
// could not fetch them in time.
func (h *holes) compacted(ctx context.Context, id *identity) bool {
	p := &h.policy
	p.mu.Lock()
	known, compacted := p.id == *id && time.Since(p.answered) < policyAge, p.compacted
	p.mu.Unlock()
	if known {
		return compacted
	}
	compacted, answered := h.askPolicy(ctx)
	if answered {
		p.mu.Lock()
		p.id, p.compacted, p.answered = *id, compacted, time.Now()
		p.mu.Unlock()
	}
	return compacted
}

// askPolicy asks Kafka. That we may not know is an answer; what may pass by itself is none.
func (h *holes) askPolicy(ctx context.Context) (compacted, answered bool) {
	all, err := h.admin.DescribeTopicConfigs(ctx, h.topic)
	if _, ok := errors.AsType[*kadm.AuthError](err); ok {
		return false, true
	}
	if err != nil {
		return false, false
	}
	one, err := all.On(h.topic, nil)
	if err != nil || one.Err != nil {
		return false, err == nil && !kerr.IsRetriable(one.Err)
	}
	for _, c := range one.Configs {
		if c.Key == "cleanup.policy" && c.Value != nil {
			return strings.Contains(*c.Value, "compact"), true
		}
	}
	return false, true
}

// skip moves the places of m in the topic id over offsets that Kafka has no records of, and reports whether one has moved.
// Partitions that are paused have enough as it is.
func (h *holes) skip(ctx context.Context, id *identity, m *merge) (moved bool) {
	if !h.compacted(ctx, id) {
		return false
	}
	for _, q := range m.queues {
		if q.paused || q.next >= q.end {
			continue
		}
		if next := h.behind(ctx, id, q.partition, q.next, q.end); next > q.next {
			q.next, moved = next, true
		}
	}
	return moved
}

// behind is the first offset, to at most, from which on partition p of the topic id, which is compacted, may have what a
// reader gets; there is nothing between from and it. It is from itself when that is not known before ctx is over: what is in
// the way of asking is in the way of whoever reads, too, and that says so.
func (h *holes) behind(ctx context.Context, id *identity, p int32, from, to int64) int64 {
	options := kgo.ProcessFetchPartitionOpts{KeepControlRecords: true, IsolationLevel: kgo.ReadUncommitted(), Topic: h.topic, Partition: p}
	if h.committed {
		options.IsolationLevel = kgo.ReadCommitted()
	}
	for from < to {
		has := h.fetchOnce(ctx, id, p, from)
		if has == nil || has.ErrorCode != 0 {
			break
		}
		options.Offset = from
		// One record is enough.
		read, next := kgo.ProcessFetchPartition(options, has, newFetchBudget(h.batches, readPartitionBytes), nil)
		switch {
		case len(read.Records) > 0:
			return min(max(read.Records[0].Offset, from), to)
		case len(has.RecordBatches) == 0:
			return min(max(from, h.end(has)), to)
		case next <= from || read.Err != nil && !errors.Is(read.Err, errAnswerFull):
			return from
		}
		from = min(next, to) // batches without records
	}
	return from
}

// end is up to where a reader gets what partition has: what is behind the last stable offset waits for a transaction.
func (h *holes) end(partition *kmsg.FetchResponseTopicPartition) int64 {
	if h.committed {
		return partition.LastStableOffset
	}
	return partition.HighWatermark
}

// fetchOnce is what partition p has from offset on, as much as one answer holds; nil when it could not be asked.
func (h *holes) fetchOnce(ctx context.Context, id *identity, p int32, offset int64) *kmsg.FetchResponseTopicPartition {
	topic, err := describeTopic(ctx, h.client, h.topic)
	if err != nil || identityOf(h.topic, topic.TopicID) != *id {
		return nil
	}
	for i := range topic.Partitions {
		if topic.Partitions[i].Partition == p {
			return h.fetchFrom(ctx, topic, topic.Partitions[i].Leader, p, offset)
		}
	}
	return nil
}

func (h *holes) fetchFrom(ctx context.Context, topic *kmsg.MetadataResponseTopic, leader, p int32, offset int64) *kmsg.FetchResponseTopicPartition {
	request := kmsg.NewPtrFetchRequest()
	request.MinBytes, request.MaxBytes = 1, readFetchBytes
	if h.committed {
		request.IsolationLevel = 1
	}
	one := kmsg.NewFetchRequestTopic()
	one.Topic, one.TopicID = h.topic, topic.TopicID
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p, offset, readPartitionBytes
	one.Partitions = append(one.Partitions, part)
	request.Topics = append(request.Topics, one)
	answered, err := h.client.Broker(int(leader)).RetriableRequest(ctx, request)
	if err != nil {
		return nil
	}
	answer, ok := answered.(*kmsg.FetchResponse)
	if !ok || kerr.ErrorForCode(answer.ErrorCode) != nil || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return nil // a broker that holds us back answers without the partition
	}
	return &answer.Topics[0].Partitions[0]
}
