package kafka

// Retention of the embedded broker on our own clock: its own stops after a
// restart. By size the broker is asked to; by age we delete ourselves and leave
// the last batch of every partition, because a broker that starts on an empty
// partition counts its offsets from 0 again, and cursors would point at other
// events.

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// sizeEvery bounds the overshoot of EMBEDDED_MAX_BYTES to what is written in this time.
	sizeEvery = time.Second
	// ageEvery is coarse: nobody's EMBEDDED_RETENTION is about seconds.
	ageEvery = 10 * time.Second
	// ageTimeout bounds the requests to a broker in the same process.
	ageTimeout = 5 * time.Second
	// segmentsPerShare: a partition's share of the disk is kept in at least this many files, because only whole
	// files are freed; and a start reads a file of each partition at a time whole, so none has more than maxSegment.
	segmentsPerShare       = 8
	minSegment, maxSegment = 1 << 20, 16 << 20
	// maxSegments goes before maxSegment: the broker keeps files that were read open.
	maxSegments = 256
)

// limits are the broker's settings for partitions partitions in all.
func (e *Embedded) limits(partitions int) map[string]string {
	share := int64(e.cfg.EmbeddedMaxBytes) / int64(max(partitions, 1))
	return map[string]string{
		"log.retention.ms": "-1",
		// Three quarters, and one file that cannot be freed yet: seven eighths of the share.
		"log.retention.bytes": strconv.FormatInt(share*3/4, 10),
		"log.segment.bytes":   strconv.FormatInt(min(max(share/segmentsPerShare, minSegment), max(maxSegment, share/maxSegments)), 10),
	}
}

// retain drops old events until ctx ends.
func (e *Embedded) retain(ctx context.Context, client *kgo.Client) {
	defer client.Close()
	size, age := time.NewTicker(sizeEvery), time.NewTicker(ageEvery)
	defer size.Stop()
	defer age.Stop()
	for {
		if err := e.expire(ctx, kadm.NewClient(client), time.Now()); err != nil && ctx.Err() == nil {
			e.log.Log(LevelError, "embedded broker: old events could not be dropped", "error", err)
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return
			case <-size.C:
				e.cluster.ApplyRetention()
			case <-age.C:
				waiting = false
			}
		}
	}
}

// expire deletes what is older than EMBEDDED_RETENTION at now, and shares the disk out anew when there are more
// or fewer partitions than before.
func (e *Embedded) expire(ctx context.Context, admin *kadm.Client, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, ageTimeout)
	defer cancel()
	topics, err := admin.ListTopicsWithInternal(ctx)
	if err != nil || len(topics) == 0 {
		return err
	}
	partitions := 0
	for _, t := range topics {
		partitions += len(t.Partitions)
	}
	if err := e.share(ctx, admin, partitions); err != nil {
		return err
	}
	cutoff := now.Add(-e.cfg.EmbeddedRetention).UnixMilli()
	offsets, err := admin.ListOffsetsAfterMilli(ctx, cutoff, topics.Names()...)
	if err != nil {
		return err
	}
	offsets.Each(func(o kadm.ListedOffset) {
		if o.Err == nil && e.mayDelete(o.Topic) {
			e.deleteBefore(o.Topic, o.Partition, o.Offset)
		}
	})
	return nil
}

func (e *Embedded) share(ctx context.Context, admin *kadm.Client, partitions int) error {
	if partitions == e.partitions {
		return nil
	}
	var changes []kadm.AlterConfig
	for name, value := range e.limits(partitions) {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
	}
	responses, err := admin.AlterBrokerConfigs(ctx, changes)
	if err != nil {
		return err
	}
	for _, r := range responses {
		if r.Err != nil {
			return r.Err
		}
	}
	e.partitions = partitions
	return nil
}

// mayDelete: compacted topics keep the last record of each key, however old.
func (e *Embedded) mayDelete(topic string) bool {
	info := e.cluster.TopicInfo(topic)
	if info == nil {
		return false
	}
	policy := info.Configs["cleanup.policy"]
	return policy == nil || strings.Contains(*policy, "delete")
}

func (e *Embedded) deleteBefore(topic string, partition int32, offset int64) {
	info := e.cluster.PartitionInfo(topic, partition)
	if info == nil {
		return
	}
	if keep := min(offset, info.HighWatermark-1); keep > info.LogStartOffset {
		if err := e.cluster.DeleteRecords(topic, partition, keep); err != nil {
			e.log.Log(LevelError, "embedded broker: old events could not be dropped", "topic", topic, "partition", partition, "error", err)
		}
	}
}
