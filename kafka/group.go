package kafka

// A subscription that shares the topic with others: a member of a Kafka
// consumer group, with a client of its own.
//
// What it promises follows from when offsets are committed: every
// KAFKA_COMMIT_INTERVAL, and when partitions go to another member, what was sent
// on the stream by then. A gateway that dies has sent events whose offsets were
// not committed: the next member sends them again. A client that dies has been
// sent events that it never read, as many as its stream's flow control let
// through: they are committed, and nobody sends them again. Who needs more
// resumes by cursor, without a group.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// groupRecords is how many records a member takes over at once. It gives no partition away while it sends them.
	groupRecords = 256
	// commitPatience bounds the last commit of a member.
	commitPatience = 5 * time.Second
	// heartbeatsPerSession is how often a member is heard within KAFKA_SESSION_TIMEOUT.
	heartbeatsPerSession = 3
)

// member is one subscription with a group; it belongs to the goroutine of its call.
type member struct {
	readers *Readers
	sub     *stages.Subscription
	group   string
	client  *kgo.Client
	out     []*stages.Delivery
	taken   []*kgo.Record
	beat    time.Time
}

// groupName is the group's name in Kafka.
func (r *Readers) groupName(group string) string { return r.cfg.GroupID + ".sub." + group }

// share serves a subscription with a group.
func (r *Readers) share(ctx context.Context, s *stages.Subscription) (err error) {
	m := &member{readers: r, sub: s, group: r.groupName(s.Group)}
	if err := m.found(ctx); err != nil {
		return err
	}
	client, release, err := r.newReader(ctx, readerFor{client: s.Name}, slotPatience, m.options()...)
	if err != nil {
		return err
	}
	m.client = client
	r.metrics.members.Add(1)
	defer r.metrics.members.Add(-1)
	defer release()
	defer m.end()
	if err := s.Begun(); err != nil {
		return err
	}
	m.pause()
	for {
		if err := m.round(ctx); err != nil {
			return err
		}
	}
}

func (m *member) options() []kgo.Opt {
	cfg := m.readers.cfg
	commit := func(_ context.Context, client *kgo.Client, _ map[string][]int32) {
		ctx, cancel := context.WithTimeout(context.Background(), commitPatience)
		defer cancel()
		if err := client.CommitMarkedOffsets(ctx); err != nil {
			m.readers.parts.Log.Log(LevelWarn, "a group's offsets could not be committed; events may be sent twice", "group", m.group, "error", err)
		}
	}
	return []kgo.Opt{
		kgo.ConsumerGroup(m.group), kgo.ConsumeTopics(m.readers.parts.Topic.Name),
		// A group's partitions have offsets from its beginning (found); one without was added since.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		// Those who stay keep their partitions, and go on while others come and go.
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(cfg.SessionTimeout), kgo.HeartbeatInterval(cfg.SessionTimeout / heartbeatsPerSession),
		// Only what was sent is committed.
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(cfg.CommitInterval),
		// A partition does not go away between the poll and the mark: the next member would send its events too.
		kgo.BlockRebalanceOnPoll(), kgo.OnPartitionsRevoked(commit),
	}
}

// found gives a new group its place: where the subscription is to start. A group that is there keeps its own.
func (m *member) found(ctx context.Context) error {
	r, topic := m.readers, m.readers.parts.Topic.Name
	ps, err := r.begin(ctx, m.sub.Start)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, r.cfg.ReadTimeout)
	defer cancel()
	committed, err := r.admin.FetchOffsetsForTopics(within, m.group, topic)
	if err == nil {
		err = committed.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return m.unusable(err)
	}
	for p := range ps {
		if o, ok := committed.Lookup(topic, int32(p)); ok && o.At >= 0 {
			return nil
		}
	}
	return m.commit(within, ps)
}

// commit sets the group's offsets, which only a group without members takes from outside.
func (m *member) commit(ctx context.Context, ps positions) error {
	offsets := kadm.Offsets{}
	for p, offset := range ps {
		offsets.AddOffset(m.readers.parts.Topic.Name, int32(p), offset, -1)
	}
	answers, err := m.readers.admin.CommitOffsets(ctx, m.group, offsets)
	if err == nil {
		err = answers.Error()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress):
		return nil // somebody was faster and is in it
	}
	return m.unusable(err)
}

// unusable is what the caller hears of an error of the group.
func (m *member) unusable(err error) error {
	return refuse(readReason(err), fmt.Sprintf("consumer group %s: %v", m.group, err))
}

// end leaves the group, with what was sent committed.
func (m *member) end() {
	m.client.AllowRebalance()
	ctx, cancel := context.WithTimeout(context.Background(), commitPatience)
	defer cancel()
	if err := m.client.CommitMarkedOffsets(ctx); err != nil {
		m.readers.parts.Log.Log(LevelWarn, "a group's offsets could not be committed; events may be sent twice", "group", m.group, "error", err)
	}
	m.client.LeaveGroup()
}

// round sends what has come, once.
func (m *member) round(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, growthEvery)
	defer cancel()
	fetches := m.client.PollRecords(within, groupRecords)
	defer m.client.AllowRebalance()
	bytes := 0
	for iter := fetches.RecordIter(); !iter.Done(); {
		n, err := m.take(iter.Next())
		if err != nil {
			return err
		}
		if bytes += n; bytes >= blockBytes {
			bytes = 0
			if err := m.flush(); err != nil {
				return err
			}
		}
	}
	if err := m.flush(); err != nil {
		return err
	}
	if err := fetchError(within, fetches); err != nil {
		return m.broken(ctx, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return m.idle()
}

// take takes in one record, and says how many bytes go out for it.
func (m *member) take(r *kgo.Record) (bytes int, err error) {
	m.taken = append(m.taken, r)
	if r.Attrs.IsControl() {
		return 0, nil
	}
	d, err := readDelivery(r)
	if err != nil {
		m.readers.skipped(r, err)
		return 0, nil
	}
	wanted, err := m.sub.Match(d.Event)
	if err != nil || !wanted {
		return 0, err
	}
	if err := d.encode(0); err != nil {
		m.readers.skipped(r, err)
		return 0, nil
	}
	m.out = append(m.out, &d.Delivery)
	return len(d.Frame), nil
}

// flush sends what is to go out. Then what was taken is done with.
func (m *member) flush() error {
	if len(m.out) > 0 {
		if err := m.sub.Deliver(m.out); err != nil {
			return err
		}
		m.readers.metrics.fromGroups.Add(uint64(len(m.out)))
		m.pause()
	}
	m.client.MarkCommitRecords(m.taken...)
	clear(m.out)
	clear(m.taken)
	m.out, m.taken = m.out[:0], m.taken[:0]
	return nil
}

func (m *member) pause() {
	if m.sub.Heartbeat {
		m.beat = time.Now().Add(m.readers.reading.SubscribeHeartbeat)
	}
}

// idle says that the stream lives. A member has no cursor: it knows only its own partitions.
func (m *member) idle() error {
	if !m.sub.Heartbeat || time.Now().Before(m.beat) {
		return nil
	}
	m.pause()
	return m.sub.Idle("")
}

// broken is what the caller hears of a failed fetch. A group whose place is gone is moved to the next one that is
// there, so that the next call goes on; this one says so.
func (m *member) broken(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*partitionError](err)
	if !ok || readReason(err) != stages.EventsExpired {
		return m.unusable(err)
	}
	b, lookErr := m.readers.look(ctx)
	if lookErr != nil {
		return lookErr
	}
	p := failed.partition
	// franz-go marks only what is later than before, and an older epoch never is. end commits it.
	to := m.client.CommittedOffsets()[failed.topic][p]
	to.Offset = b.start.at(p)
	m.client.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{failed.topic: {p: to}})
	return refuse(stages.EventsExpired, fmt.Sprintf("consumer group %s: its place in partition %d is gone (retention), and it was moved to offset %d, the first that is there; subscribe again to go on", m.group, p, b.start.at(p)))
}
