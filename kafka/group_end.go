package kafka

// How a member leaves its group. The group may be about to share out its partitions, and wait for another member that does not
// read, or for one that is dead and has not been missed yet. franz-go commits nothing meanwhile, and does not close. Kafka
// takes offsets until the partitions are shared out, and lets members go at any time: so we ask it ourselves.

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// joinPatience is how long a member that leaves waits for franz-go to commit. It does not when the group waits for others.
	joinPatience = time.Second
	// leavePatience bounds a member's good-bye after its last commit: half of it for franz-go's, half for ours.
	leavePatience = 2 * time.Second
)

// end leaves the group, with what was sent committed. When Kafka does not answer it takes commitPatience and leavePatience: the
// call has ended, but holds its reader, and a drain waits for it. Kafka notices after KAFKA_SESSION_TIMEOUT then.
func (m *member) end() {
	m.client.AllowRebalance()
	late := time.AfterFunc(commitPatience, m.giveUp)
	defer late.Stop()
	if err := m.commitLast(); err != nil {
		m.readers.parts.Log.Log(LevelWarn, "a group's offsets could not be committed; events may be sent twice", "group", m.group, "error", err)
	}
	if err := m.leave(); err != nil {
		m.readers.parts.Log.Log(LevelDebug, "a member could not leave its group", "group", m.group, "error", err)
	}
}

// commitLast commits what was sent.
func (m *member) commitLast() error {
	within, cancel := context.WithTimeout(m.last, joinPatience)
	defer cancel()
	err := m.client.CommitMarkedOffsets(within)
	if err == nil || within.Err() == nil || m.last.Err() != nil {
		return err
	}
	return untilCoordinated(m.last, rejoins, m.commitItself)
}

// rejoins reports whether err passes when the partitions are shared out, or the coordinator is there.
func rejoins(err error) bool {
	return uncoordinated(err) || errors.Is(err, kerr.RebalanceInProgress) || errors.Is(err, kerr.IllegalGeneration)
}

// commitItself commits what was sent without franz-go's care for rebalances: until this member has agreed to the next
// sharing out, nobody else gets its partitions.
func (m *member) commitItself() error {
	name := m.readers.parts.Topic.Name
	is, err := describeTopic(m.last, m.readers.client, name)
	if err != nil {
		return err
	}
	if identityOf(name, is.TopicID) != *m.id {
		return refuse(stages.TopicRecreated, "") // its offsets are other events
	}
	request := kmsg.NewPtrOffsetCommitRequest()
	request.Group = m.group
	request.MemberID, request.Generation = m.client.GroupMetadata()
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = name, is.TopicID
	for p, at := range m.client.MarkedOffsets()[name] {
		one := kmsg.NewOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset, one.LeaderEpoch = p, at.Offset, at.Epoch
		topic.Partitions = append(topic.Partitions, one)
	}
	if len(topic.Partitions) == 0 {
		return nil // committed by now
	}
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(m.last, m.readers.client)
	if err != nil {
		return err
	}
	return commitError(answer)
}

// leave says good-bye. A context of its own that is not over: else franz-go would leave when it closes, for as long as it
// likes.
func (m *member) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leavePatience/2)
	defer cancel()
	err := m.client.LeaveGroupContext(ctx)
	if ctx.Err() == nil {
		return err
	}
	id, _ := m.client.GroupMetadata()
	m.kill() // it waits to be let in again, which would be as another member once this one is gone
	if id == "" {
		return nil
	}
	ctx, cancel = context.WithTimeout(context.Background(), leavePatience/2)
	defer cancel()
	request := kmsg.NewPtrLeaveGroupRequest()
	request.Group, request.MemberID = m.group, id
	one := kmsg.NewLeaveGroupRequestMember()
	one.MemberID = id
	request.Members = append(request.Members, one)
	answer, err := request.RequestWith(ctx, m.readers.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(answer.ErrorCode)
}
