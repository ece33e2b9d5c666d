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
func (r *Readers) compacted(ctx context.Context, id *identity) bool {
	p := &r.policy
	p.mu.Lock()
	known, compacted := p.id == *id && time.Since(p.answered) < policyAge, p.compacted
	p.mu.Unlock()
	if known {
		return compacted
	}
	compacted, answered := r.askPolicy(ctx)
	if answered {
		p.mu.Lock()
		p.id, p.compacted, p.answered = *id, compacted, time.Now()
		p.mu.Unlock()
	}
	return compacted
}

// askPolicy asks Kafka. That we may not know is an answer; what may pass by itself is none.
func (r *Readers) askPolicy(ctx context.Context) (compacted, answered bool) {
	all, err := r.admin.DescribeTopicConfigs(ctx, r.parts.Topic.Name)
	if _, ok := errors.AsType[*kadm.AuthError](err); ok {
		return false, true
	}
	if err != nil {
		return false, false
	}
	one, err := all.On(r.parts.Topic.Name, nil)
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

// behindHole is the first offset, to at most, from which on partition p of the topic id, which is compacted, may have what a
// reader gets; there is nothing between from and it. It is from itself when that is not known before ctx is over: what is in
// the way of asking is in the way of whoever reads, too, and that says so.
func (r *Readers) behindHole(ctx context.Context, id *identity, p int32, from, to int64) int64 {
	for from < to {
		has := r.fetchOnce(ctx, id, p, from)
		if has == nil || has.ErrorCode != 0 {
			break
		}
		options := kgo.ProcessFetchPartitionOpts{KeepControlRecords: true, IsolationLevel: kgo.ReadCommitted(), Offset: from, Topic: r.parts.Topic.Name, Partition: p}
		read, next := kgo.ProcessFetchPartition(options, has, newFetchBudget(r.batches, readPartitionBytes), nil)
		switch {
		case len(read.Records) > 0:
			return min(max(read.Records[0].Offset, from), to)
		case len(has.RecordBatches) == 0: // what is behind the last stable offset waits for a transaction
			return min(max(from, has.LastStableOffset), to)
		case next <= from, read.Err != nil && !errors.Is(read.Err, errAnswerFull):
			return from
		}
		from = min(next, to) // batches without records
	}
	return from
}

// fetchOnce is what partition p has from offset on, as much as one answer holds; nil when it could not be asked.
func (r *Readers) fetchOnce(ctx context.Context, id *identity, p int32, offset int64) *kmsg.FetchResponseTopicPartition {
	topic, err := r.describe(ctx)
	if err != nil || identityOf(r.parts.Topic.Name, topic.TopicID) != *id {
		return nil
	}
	for i := range topic.Partitions {
		if topic.Partitions[i].Partition == p {
			return r.fetchFrom(ctx, topic, topic.Partitions[i].Leader, p, offset)
		}
	}
	return nil
}

func (r *Readers) fetchFrom(ctx context.Context, topic *kmsg.MetadataResponseTopic, leader, p int32, offset int64) *kmsg.FetchResponseTopicPartition {
	request := kmsg.NewPtrFetchRequest()
	request.MinBytes, request.MaxBytes, request.IsolationLevel = 1, readFetchBytes, 1
	one := kmsg.NewFetchRequestTopic()
	one.Topic, one.TopicID = r.parts.Topic.Name, topic.TopicID
	part := kmsg.NewFetchRequestTopicPartition()
	part.Partition, part.FetchOffset, part.PartitionMaxBytes = p, offset, readPartitionBytes
	one.Partitions = append(one.Partitions, part)
	request.Topics = append(request.Topics, one)
	answered, err := r.client.Broker(int(leader)).RetriableRequest(ctx, request)
	if err != nil {
		return nil
	}
	answer, ok := answered.(*kmsg.FetchResponse)
	if !ok || kerr.ErrorForCode(answer.ErrorCode) != nil || len(answer.Topics) != 1 || len(answer.Topics[0].Partitions) != 1 {
		return nil // a broker that holds us back answers without the partition
	}
	return &answer.Topics[0].Partitions[0]
}
