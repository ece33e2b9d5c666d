package kafka

// A group whose place is gone: retention was faster, or Kafka has lost what was there. It is moved to the nearest place
// that is there, and its members hear of it once.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// broken is what the caller hears of a failed fetch. A group whose place is gone is moved to the nearest one that is
// there, so that the next call goes on; this one says so.
func (m *member) broken(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*partitionError](err)
	if !ok || readReason(err) != stages.EventsExpired {
		return m.unusable(err)
	}
	m.client.AllowRebalance() // all is sent that was polled, and a commit may have to wait for a rebalance
	moved, err := m.move(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return m.unusable(fmt.Errorf("its place in partition %d is gone, and it could not be moved: %w", failed.partition, err))
	}
	to, ok := moved[failed.partition]
	if !ok { // another member has moved it, or a new leader has learnt of its end
		return refuse(stages.EventsExpired, fmt.Sprintf("consumer group %s: its place in partition %d was gone, and by now it has one that is there; subscribe again to go on", m.group, failed.partition))
	}
	return refuse(stages.EventsExpired, fmt.Sprintf("consumer group %s: its place in partition %d is gone, and it was moved to offset %d, the nearest that is there (%d partitions were moved); subscribe again to go on", m.group, failed.partition, to.Offset, len(moved)))
}

// move commits the nearest place that is there for each partition whose place is gone, also for those that other
// members have: so the group hears of it once.
func (m *member) move(ctx context.Context) (moved map[int32]kgo.EpochOffset, err error) {
	topic := m.readers.parts.Topic.Name
	within, cancel := context.WithTimeout(ctx, aheadPatience+commitPatience)
	defer cancel()
	// First what was sent: other partitions' places would look as if they were gone, or go back.
	if err := m.client.CommitMarkedOffsets(within); err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		late := time.Since(began) > aheadPatience
		var ahead bool
		if moved, ahead, err = m.gone(ctx); err != nil {
			return nil, err
		}
		if !ahead || late {
			break
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(aheadPoll):
		}
	}
	to := map[string]map[int32]kgo.EpochOffset{topic: moved}
	// Marks never go back: without this, what was marked before would be committed again after it.
	m.client.SetOffsets(to)
	m.client.CommitOffsetsSync(within, to, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, failed error) {
		err = failed
		if failed == nil {
			err = commitError(answer)
		}
	})
	return moved, err
}

// commitError is the first error of a partition.
func commitError(answer *kmsg.OffsetCommitResponse) error {
	for _, topic := range answer.Topics {
		for _, p := range topic.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("committing partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}

// gone are the nearest places for partitions whose place is not there. ahead: one of them is beyond the end, which may be
// the broker's delay.
func (m *member) gone(ctx context.Context) (nearest map[int32]kgo.EpochOffset, ahead bool, err error) {
	topic := m.readers.parts.Topic.Name
	b, err := m.readers.look(ctx)
	if err != nil {
		return nil, false, err
	}
	within, cancel := context.WithTimeout(ctx, m.readers.cfg.ReadTimeout)
	defer cancel()
	committed, err := m.readers.admin.FetchOffsetsForTopics(within, m.group, topic)
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return nil, false, err
	}
	nearest = map[int32]kgo.EpochOffset{}
	for p := range b.start {
		o, ok := committed.Lookup(topic, int32(p))
		if !ok || o.At < 0 || o.At >= b.start[p] && o.At <= b.high[p] {
			continue
		}
		ahead = ahead || o.At > b.high[p]
		nearest[int32(p)] = kgo.EpochOffset{Epoch: -1, Offset: min(max(o.At, b.start[p]), b.high[p])}
	}
	return nearest, ahead, nil
}
