package kafka

// How a member leaves its consumer group. The group may be about to share out its partitions, and wait for another member that
// does not read, or for one that is dead and has not been missed yet. franz-go commits nothing meanwhile, and does not close.
// Kafka takes offsets until the partitions are shared out, and lets members go at any time: so we ask it ourselves.

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// joinPatience is how long a member that leaves waits for franz-go to commit. It does not when the group waits for others.
	joinPatience = time.Second
	// leavePatience bounds a member's good-bye after its last commit: half of it for franz-go's, half for ours.
	leavePatience = 2 * time.Second
)

// departure is a member that leaves.
type departure struct {
	client *kgo.Client
	group  string
	// asks is another client, for client does not outlive a good-bye that takes too long.
	asks *kgo.Client
	// kill ends client's context.
	kill context.CancelFunc
	// same reports whether a topic is the one whose offsets were marked: those of one that was deleted and created again are
	// other records.
	same func(topic string, id [16]byte) bool
}

// commit commits what was marked.
func (d *departure) commit(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	err := d.client.CommitMarkedOffsets(within)
	if err == nil || within.Err() == nil || ctx.Err() != nil {
		return err
	}
	return untilCoordinated(ctx, rejoins, func() error { return d.commitItself(ctx) })
}

// rejoins reports whether err passes when the partitions are shared out, or the coordinator is there.
func rejoins(err error) bool {
	return uncoordinated(err) || errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration)
}

// commitItself commits what was marked without franz-go's care for rebalances: until this member has agreed to the next
// sharing out, nobody else gets its partitions.
func (d *departure) commitItself(ctx context.Context) error {
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = d.group
	request.MemberID, request.Generation = d.client.GroupMetadata()
	for name, marks := range d.client.MarkedOffsets() {
		is, err := describeTopic(ctx, d.asks, name)
		if err != nil {
			return err
		}
		if len(marks) == 0 || !d.same(name, is.TopicID) {
			continue
		}
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic, topic.TopicID = name, is.TopicID
		for p, at := range marks {
			one := kmsg.NewOffsetCommitRequestTopicPartition()
			one.Partition, one.Offset, one.LeaderEpoch = p, at.Offset, at.Epoch
			topic.Partitions = append(topic.Partitions, one)
		}
		request.Topics = append(request.Topics, topic)
	}
	if len(request.Topics) == 0 {
		return nil // committed by now
	}
	answer, err := request.RequestWith(ctx, d.asks)
	if err != nil {
		return err
	}
	return commitError(answer)
}

// leave says good-bye, within leavePatience. ctx must not be over: else franz-go would leave when it closes, for as long as
// it likes.
func (d *departure) leave(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, leavePatience/2)
	defer cancel()
	err := d.client.LeaveGroupContext(within)
	if within.Err() == nil {
		return err
	}
	id, _ := d.client.GroupMetadata()
	d.kill() // it waits to be let in again, which would be as another member once this one is gone
	if id == "" {
		return nil
	}
	within, cancel = context.WithTimeout(ctx, leavePatience/2)
	defer cancel()
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group, request.MemberID = d.group, id
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = id
	request.Members = append(request.Members, one)
	answer, err := request.RequestWith(within, d.asks)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.ErrorCode)
}
