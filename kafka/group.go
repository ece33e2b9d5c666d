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
	"math"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// groupRecords and groupBytes bound what a member takes over at once, except that it is one record at least, and that
	// sizes are guessed from those before. It gives no partition away while it sends them: a client that takes 1 MB a
	// second holds the group up for a quarter of a second.
	groupRecords = 64
	groupBytes   = 256 << 10
	// eventHeader is what goes out before each event: a byte and its length.
	eventHeader = 5
	// handOver is how long a group that wants to share its partitions out anew waits for a member that sends.
	handOver = 5 * time.Second
	// commitPatience bounds a commit of a member.
	commitPatience = 5 * time.Second
	// heartbeatsPerSession is how often a member is heard within KAFKA_SESSION_TIMEOUT.
	heartbeatsPerSession = 3
	// minRebalance is the least rebalance timeout, franz-go's default too. A long one costs nothing: who is dead falls out
	// after KAFKA_SESSION_TIMEOUT.
	minRebalance = time.Minute
	maxRebalance = math.MaxInt32 * time.Millisecond // what the protocol can say
	// topicEvery is how often a member to whom nothing comes looks whether the topic is there. Kafka tells only those who
	// fetch of it: one without a partition would wait for ever.
	topicEvery = 5 * time.Second
)

// member is one subscription with a group; it belongs to the goroutine of its call.
type member struct {
	readers *Readers
	sub     *stages.Subscription
	group   string
	client  *kgo.Client
	filter  *recordFilter
	// id is the topic's. looked is when something came or was looked for last; missing: the topic was not there then.
	id      *identity
	looked  time.Time
	missing bool
	// last is the context of commits, which outlive the call; giveUp ends it.
	last   context.Context
	giveUp context.CancelFunc
	// alive is the client's context, which outlives the call, too; kill ends it.
	alive context.Context
	kill  context.CancelFunc
	// records is how many the next round takes over.
	records int
	// out goes out at once: bytes of it, in one write. taken is done with then, out's records among it.
	out   []*stages.Delivery
	bytes int
	taken []*kgo.Record
	// beat is when the subscriber has to hear something. in: the group has taken the member in, which may last (Kafka's
	// group.initial.rebalance.delay.ms, others that do not read); who wants heartbeats hears of it at once.
	beat time.Time
	in   bool
	// wanted is when the group first waited for this round, as time since 1970; 0 when it does not. franz-go sets it.
	wanted atomic.Int64
}

// groupName is the group's name in Kafka.
func (r *Readers) groupName(group string) string { return r.cfg.GroupID + ".sub." + group }

// share serves a subscription with a group.
func (r *Readers) share(ctx context.Context, s *stages.Subscription) error {
	// Before found: a group whose first member finds no slot has not begun.
	who := readerFor{client: s.Name}
	if err := r.slots.take(ctx, who, slotPatience); err != nil {
		return err
	}
	m := &member{readers: r, sub: s, group: r.groupName(s.Group), filter: r.filter(ctx, s.Name, s.Match), records: 1}
	m.last, m.giveUp = context.WithCancel(context.Background())
	defer m.giveUp()
	m.alive, m.kill = context.WithCancel(context.Background())
	defer m.kill()
	if err := m.found(ctx); err != nil {
		r.slots.give(who)
		return err
	}
	client, release, err := r.openReader(who, m.options()...)
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
		if err := m.idle(); err != nil {
			return err
		}
		if err := m.round(ctx); err != nil {
			return err
		}
		if err := m.same(ctx); err != nil {
			return err
		}
	}
}

// rebalanceTimeout is how long Kafka waits for members that still send before it gives their partitions to others, who
// send the same events. A member is done earlier: it ends its stream at the first write that begins after handOver, the
// one before is cut at 5/4 of SEND_TIMEOUT at the latest (a quarter of it is how often transport looks), and then it
// commits. The other commitPatience is for the way.
func (r *Readers) rebalanceTimeout() time.Duration {
	send := min(r.parts.SendTimeout, maxRebalance/2)
	return min(max(handOver+send*5/4+2*commitPatience, minRebalance), maxRebalance)
}

func (m *member) options() []kgo.Opt {
	cfg := m.readers.cfg
	commit := func(_ context.Context, client *kgo.Client, _ map[string][]int32) {
		ctx, cancel := context.WithTimeout(m.last, commitPatience)
		defer cancel()
		if err := client.CommitMarkedOffsets(ctx); err != nil {
			m.readers.parts.Log.Log(LevelWarn, "a group's offsets could not be committed; events may be sent twice", "group", m.group, "error", err)
		}
	}
	return []kgo.Opt{
		kgo.WithContext(m.alive),
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
		kgo.OnPartitionsCallbackBlocked(m.want), kgo.RebalanceTimeout(m.readers.rebalanceTimeout()),
	}
}

// found gives a new group its place: where the subscription is to start. A group that is there keeps its own.
func (m *member) found(ctx context.Context) error {
	r, topic := m.readers, m.readers.parts.Topic.Name
	ps, id, err := r.begin(ctx, m.sub.Start)
	if err != nil {
		return err
	}
	m.id, m.looked = id, time.Now()
	within, cancel := context.WithTimeout(ctx, r.cfg.ReadTimeout)
	defer cancel()
	var committed kadm.OffsetResponses
	err = untilCoordinated(within, uncoordinated, func() (err error) {
		if committed, err = r.admin.FetchOffsetsForTopics(within, m.group, topic); err == nil {
			err = committed.Error()
		}
		return err
	})
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
	err := untilCoordinated(ctx, uncoordinated, func() error {
		answers, err := m.readers.admin.CommitOffsets(ctx, m.group, offsets)
		if err == nil {
			err = answers.Error()
		}
		return err
	})
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.RebalanceInProgress):
		return nil // somebody was faster and is in it
	}
	return m.unusable(err)
}

// uncoordinated reports whether err is about the group's coordinator. A topic that is gone is told at once.
func uncoordinated(err error) bool {
	return errors.Is(err, kerr.CoordinatorNotAvailable) || errors.Is(err, kerr.NotCoordinator) || errors.Is(err, kerr.CoordinatorLoadInProgress)
}

// unusable is what the caller hears of an error of the group.
func (m *member) unusable(err error) error {
	what := ""
	if errors.Is(err, kerr.InconsistentGroupProtocol) {
		what = "; another program has a group of this name: choose another group_id"
	}
	return refuse(readReason(err), fmt.Sprintf("consumer group %s: %v%s", m.group, err, what))
}

// end leaves the group, with what was sent committed. When Kafka does not answer it takes commitPatience and leavePatience: the
// call has ended, but holds its reader, and a drain waits for it. Kafka notices after KAFKA_SESSION_TIMEOUT then.
func (m *member) end() {
	m.client.AllowRebalance()
	late := time.AfterFunc(commitPatience, m.giveUp)
	defer late.Stop()
	d := departure{client: m.client, group: m.group, asks: m.readers.client, kill: m.kill, same: func(topic string, id [16]byte) bool {
		return identityOf(topic, id) == *m.id
	}}
	if err := d.commit(m.last); err != nil {
		m.readers.parts.Log.Log(LevelWarn, "a group's offsets could not be committed; events may be sent twice", "group", m.group, "error", err)
	}
	if err := d.leave(context.Background()); err != nil {
		m.readers.parts.Log.Log(LevelDebug, "a member could not leave its group", "group", m.group, "error", err)
	}
}

// want notes that the group waits for this member; franz-go calls it on a goroutine of its own.
func (m *member) want(context.Context, *kgo.Client) {
	m.wanted.CompareAndSwap(0, time.Now().UnixNano())
	m.readers.parts.Log.Log(LevelDebug, "a rebalance waits for a member that sends", "group", m.group, "client", m.sub.Name)
}

// overdue is a refusal when the group has waited for this member for too long. What it has not sent is another's.
func (m *member) overdue() error {
	since := m.wanted.Load()
	if since == 0 || time.Since(time.Unix(0, since)) < m.readers.handOver {
		return nil
	}
	return refuse(stages.SlowClient, fmt.Sprintf("consumer group %s: the group waited %v for this subscriber to take its events, and others get them now; read faster, or with a simpler filter, or subscribe without a group", m.group, m.readers.handOver))
}

// round sends what has come, once.
func (m *member) round(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, growthEvery)
	defer cancel()
	m.wanted.Store(0) // what waited for the last round goes before the poll
	fetches := m.client.PollRecords(within, m.records)
	defer m.client.AllowRebalance()
	if err := m.send(fetches); err != nil {
		return err
	}
	if err := fetchError(within, fetches); err != nil {
		return m.broken(ctx, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// same refuses to wait in a topic that is gone, or another one by now. A broker that has just started may not know of a topic,
// so it has to be missing twice.
func (m *member) same(ctx context.Context) error {
	if time.Since(m.looked) < m.readers.topicEvery {
		return nil
	}
	m.looked = time.Now()
	within, cancel := context.WithTimeout(ctx, growthEvery)
	defer cancel()
	topic, err := describeTopic(within, m.readers.client, m.readers.parts.Topic.Name)
	switch {
	case err == nil && identityOf(m.readers.parts.Topic.Name, topic.TopicID) != *m.id:
		return refuse(stages.TopicRecreated, fmt.Sprintf("consumer group %s: the topic was deleted and created again; subscribe again to go on with the new one", m.group))
	case err == nil || readReason(err) != stages.TopicNotFound: // what else is wrong, the fetches say
		m.missing = false
	case m.missing:
		return m.unusable(err)
	default:
		m.missing = true
	}
	return nil
}

// send sends records, and settles how many the next round takes over: one when some of this one had to wait for turns, so
// that the member is heard, and the group may share out anew, between any two.
func (m *member) send(fetches kgo.Fetches) error {
	n, bytes, costly := 0, 0, m.filter.costly
	for iter := fetches.RecordIter(); !iter.Done(); n++ {
		if m.filter.costly > costly {
			if err := m.overdue(); err != nil {
				return err
			}
		}
		more, err := m.take(iter.Next())
		if err != nil {
			return err
		}
		bytes += more
	}
	if n > 0 {
		m.looked, m.missing = time.Now(), false
		m.records = min(groupRecords, 1+groupBytes*n/(bytes+1))
	}
	if m.filter.costly > costly {
		m.records = 1
	}
	return m.flush()
}

// take takes in one record, and says how many bytes go out for it. A record on which the filter fails is not taken, and
// those before it go out: the next member begins with it.
func (m *member) take(r *kgo.Record) (bytes int, err error) {
	d, err := m.read(r)
	if err != nil {
		if sendErr := m.flush(); sendErr != nil {
			return 0, sendErr
		}
		return 0, err
	}
	if d == nil {
		m.taken = append(m.taken, r)
		return 0, nil
	}
	bytes = eventHeader + len(d.Frame)
	if len(m.out) > 0 && m.bytes+bytes > stages.DeliverBytes {
		if err := m.flush(); err != nil {
			return 0, err
		}
	}
	m.out, m.taken = append(m.out, &d.Delivery), append(m.taken, r)
	m.bytes += bytes
	return bytes, nil
}

// read is the event of a record, encoded; nil when there is none for this subscriber.
func (m *member) read(r *kgo.Record) (*delivery, error) {
	if r.Attrs.IsControl() {
		return nil, nil
	}
	return m.filter.take(r, 0)
}

// flush sends what is to go out, in one write. Then what was taken is done with: whoever ends the stream next, between
// two writes, ends it behind what was marked.
func (m *member) flush() error {
	if len(m.out) > 0 {
		if err := m.overdue(); err != nil {
			return err
		}
		if err := m.sub.Deliver(m.out); err != nil {
			return err
		}
		m.readers.metrics.fromGroups.Add(uint64(len(m.out)))
		m.pause()
	}
	m.client.MarkCommitRecords(m.taken...)
	clear(m.out)
	clear(m.taken)
	m.out, m.bytes, m.taken = m.out[:0], 0, m.taken[:0]
	return nil
}

func (m *member) pause() {
	if m.sub.Heartbeat {
		m.beat = time.Now().Add(m.readers.reading.SubscribeHeartbeat)
	}
}

// idle says that the stream lives. A member has no cursor: it knows only its own partitions.
func (m *member) idle() error {
	if !m.sub.Heartbeat {
		return nil
	}
	_, generation := m.client.GroupMetadata()
	if first := !m.in && generation >= 0; !first && time.Now().Before(m.beat) {
		return nil
	}
	m.in = m.in || generation >= 0
	m.pause()
	return m.sub.Idle("")
}
