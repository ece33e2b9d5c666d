package kafka

// Subscriptions with a group against a broker in memory.

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

func group(start stages.Start) stages.Subscription {
	return stages.Subscription{Group: "g", Start: start}
}

// union is what all of them had, and how much of it twice.
func union(subs ...*subscriber) (places []string, doubles int) {
	seen := map[string]bool{}
	for _, s := range subs {
		s.mu.Lock()
		for _, place := range s.places {
			if seen[place] {
				doubles++
				continue
			}
			seen[place] = true
			places = append(places, place)
		}
		s.mu.Unlock()
	}
	return places, doubles
}

// awaitUnion waits until the subscribers have had n different events together.
func awaitUnion(t *testing.T, n int, subs ...*subscriber) (doubles int) {
	t.Helper()
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(5 * time.Millisecond) {
		places, doubles := union(subs...)
		if len(places) >= n {
			return doubles
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events of %d came", len(places), n)
		}
	}
}

// Members come and go while events are written: nothing is lost, and nothing comes twice as long as all of them leave
// in order.
func TestGroupsShareTheTopic(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 4, nil)
	for p := range int32(4) {
		r.write(p, 0, 100)
	}
	other := r.open(nil)
	a := r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
	awaitUnion(t, 100, a)
	b := r.subscribe(other, group(stages.Start{}), nil)
	for i := 100; i < 600; i += 50 {
		for p := range int32(4) {
			r.write(p, i, i+50)
		}
		time.Sleep(20 * time.Millisecond) // so that the rebalance comes among the events; nothing depends on it
	}
	awaitUnion(t, 2400, a, b)
	a.cancel()
	_ = a.end(t)
	for p := range int32(4) {
		r.write(p, 600, 700)
	}
	doubles := awaitUnion(t, 2800, a, b)
	if len(b.places) == 0 {
		t.Error("the second member got nothing")
	}
	if doubles > 0 {
		t.Errorf("%d events came twice although every member left in order", doubles)
	}
	if name := "test.sub.g"; !r.groupExists(name) {
		t.Errorf("Kafka has no consumer group %s", name)
	}
}

func (r *readRig) groupExists(name string) bool {
	r.t.Helper()
	groups, err := r.admin.ListGroups(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.Contains(groups.Groups(), name)
}

// A group that is there goes on where it was, whatever the start says; what a filter left out is done with.
func TestGroupsGoOnWhereTheyWere(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 20)
	odd := group(stages.Start{Earliest: true})
	odd.Match = func(ev *eventv1.Event) (bool, error) { return ev.Type == "t3", nil }
	s := r.subscribe(r.readers, odd, nil)
	s.await(t, 2)
	s.cancel()
	_ = s.end(t)
	r.write(0, 20, 30)
	s = r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
	s.await(t, 10)
	mustSee(t, "the next member", s.places, []int{20}, []int{30}, all)
	if cursor := s.events[0].Cursor; cursor != "" {
		t.Errorf("an event of a group has the cursor %s, which would say nothing of other members' partitions", cursor)
	}
}

// A new group that begins with what comes from now on gets all of it, also what comes before its first member has a
// partition.
func TestNewGroupsBeginWhenTheCallDoes(t *testing.T) {
	r := newReadRig(t, 2, nil)
	r.write(0, 0, 10)
	s := r.subscribe(r.readers, group(stages.Start{}), nil)
	s.started(t)
	r.write(0, 10, 20)
	r.write(1, 0, 10)
	s.await(t, 20)
	mustSee(t, "the first member", s.places, []int{10, 0}, []int{20, 10}, all)
}

// A group whose place is gone hears so once, and then goes on with what is there.
func TestGroupsWhosePlaceIsGone(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 10)
	s := r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
	s.await(t, 10)
	s.cancel()
	_ = s.end(t)
	r.write(0, 10, 30)
	r.deleteBefore(0, 25)
	s = r.subscribe(r.readers, group(stages.Start{}), nil)
	refused := reasonIs(t, s.end(t), stages.EventsExpired)
	if !strings.Contains(refused.Error(), "test.sub.g") {
		t.Errorf("%v does not name the group", refused)
	}
	s = r.subscribe(r.readers, group(stages.Start{}), nil)
	s.await(t, 5)
	mustSee(t, "the next call", s.places, []int{25}, []int{30}, all)
}

// A filter that fails on an event ends the call there: what matched before it was sent, and the next member begins with it.
func TestGroupsWhoseFilterFails(t *testing.T) {
	const bad, total = 31, 40 // the first round has one record, the next one all others
	r := newReadRig(t, 1, nil)
	r.write(0, 0, total)
	failing := group(stages.Start{Earliest: true})
	failing.Match = func(ev *eventv1.Event) (bool, error) {
		if ev.Id == strconv.Itoa(bad) {
			return false, refuse(stages.FilterLimit, "no")
		}
		return ev.Type != "t0", nil // 30, right before it
	}
	s := r.subscribe(r.readers, failing, nil)
	_ = reasonIs(t, s.end(t), stages.FilterLimit)
	mustSee(t, "until the filter failed", s.places, []int{0}, []int{bad}, func(i int) bool { return i%10 != 0 })
	if at := r.committed()[0]; at != bad {
		t.Errorf("committed %d, and the filter failed on %d", at, bad)
	}
	s = r.subscribe(r.readers, group(stages.Start{}), nil)
	s.await(t, total-bad)
	mustSee(t, "the next member", s.places, []int{bad}, []int{total}, all)
}

// What the client did not take is another member's: it is not committed.
func TestWhatWasNotSentIsNotCommitted(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 10)
	held := make(chan struct{})
	s := r.subscribe(r.readers, group(stages.Start{Earliest: true}), func() { <-held })
	s.started(t)
	s.cancel()
	close(held)
	_ = s.end(t)
	committed, err := r.admin.FetchOffsets(t.Context(), "test.sub.g")
	if err != nil {
		t.Fatal(err)
	}
	o, ok := committed.Lookup("events", 0)
	if !ok {
		t.Fatal("the new group has no place")
	}
	if want := int64(len(s.places)); o.At != want {
		t.Errorf("committed %d, and %d were sent", o.At, want)
	}
}

// large writes events of about 1 KiB to partition 0: 15 of them go out at once.
func (r *readRig) large(n int) {
	r.t.Helper()
	var records []*kgo.Record
	for i := range n {
		record := eventRecord(0, i)
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: headerSubject, Value: []byte(strings.Repeat("s", 1000))})
		records = append(records, record)
	}
	if err := r.client.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// awaitLog waits until the log has a line with part.
func (r *readRig) awaitLog(part string) bool {
	for deadline := time.Now().Add(patience); !r.log.has(part); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// A member whose client is slow ends when the group has waited for it; what it had been sent does not come again.
func TestGroupsDoNotWaitForSlowClients(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.readers.handOver = time.Nanosecond
	r.large(200)
	deliveries := 0
	waited := make(chan struct{})
	a := r.subscribe(r.readers, group(stages.Start{Earliest: true}), func() {
		if deliveries++; deliveries == 2 { // the first round has one record
			close(waited)
			r.awaitLog("a rebalance waits")
		}
	})
	<-waited
	b := r.subscribe(r.open(nil), group(stages.Start{}), nil)
	refused := reasonIs(t, a.end(t), stages.SlowClient)
	if !strings.Contains(refused.Error(), "test.sub.g") {
		t.Errorf("%v does not name the group", refused)
	}
	if doubles := awaitUnion(t, 200, a, b); doubles > 0 {
		t.Errorf("%d events came twice", doubles)
	}
	if n := len(a.places); n < 2 || n > groupRecords {
		t.Errorf("the slow member was sent %d events", n)
	}
}

// A member that still sends is not put out by Kafka before it has ended by itself.
func TestGroupsRebalanceTimeout(t *testing.T) {
	for send, least := range map[time.Duration]time.Duration{
		0: minRebalance, 10 * time.Second: minRebalance, 2 * time.Minute: 150*time.Second + handOver + commitPatience,
		1 << 62: maxRebalance / 2,
	} {
		r := newReadRig(t, 1, nil)
		r.readers.parts.SendTimeout = send
		client, err := kgo.NewClient((&member{readers: r.readers, sub: &stages.Subscription{}, group: "g", alive: t.Context()}).options()...)
		if err != nil {
			t.Fatalf("SEND_TIMEOUT %v: %v", send, err)
		}
		if got := client.OptValue(kgo.RebalanceTimeout).(time.Duration); got < least {
			t.Errorf("SEND_TIMEOUT %v: the rebalance timeout is %v, at least %v is needed", send, got, least)
		}
		client.Close()
	}
}

// A stream that ends between two writes ends behind the first, whoever ends it.
func TestGroupsMarkEachWrite(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.large(60)
	deliveries := 0
	sub := group(stages.Start{Earliest: true})
	s := &subscriber{more: make(chan struct{}, 1)}
	sub.Match = func(*eventv1.Event) (bool, error) { return true, nil }
	sub.Begun = func() error { return nil }
	sub.Deliver = func(events []*stages.Delivery) error {
		size := 0
		for _, d := range events {
			size += eventHeader + len(d.Frame)
		}
		if size > stages.DeliverBytes {
			t.Errorf("%d bytes at once, %d leave in one write", size, stages.DeliverBytes)
		}
		if deliveries++; deliveries == 4 { // the first round has one record
			return refuse(stages.Draining, "")
		}
		return s.take(events, "")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_ = reasonIs(t, r.readers.Subscribe(ctx, &sub), stages.Draining)
	if len(s.places) < 10 {
		t.Errorf("%d events were sent", len(s.places))
	}
	if at := r.committed()[0]; at != int64(len(s.places)) {
		t.Errorf("committed %d, and %d were sent", at, len(s.places))
	}
}

// committed is where the group is.
func (r *readRig) committed() map[int32]int64 {
	r.t.Helper()
	committed, err := r.admin.FetchOffsets(r.t.Context(), "test.sub.g")
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		r.t.Fatal(err)
	}
	at := map[int32]int64{}
	committed.Each(func(o kadm.OffsetResponse) { at[o.Partition] = o.At })
	return at
}

// place sets where the group is, which has no members.
func (r *readRig) place(at map[int32]int64) {
	r.t.Helper()
	offsets := kadm.Offsets{}
	for p, offset := range at {
		offsets.AddOffset("events", p, offset, -1)
	}
	answers, err := r.admin.CommitOffsets(r.t.Context(), "test.sub.g", offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// A group whose places lie before the beginning or beyond the end hears so once, for all partitions, and is moved in
// both directions.
func TestGroupsAreMovedBothWays(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 4, nil)
	for p := range int32(4) {
		r.write(p, 0, 20)
	}
	r.deleteBefore(0, 15)
	r.deleteBefore(1, 5)
	r.place(map[int32]int64{0: 3, 1: 2, 2: 1000, 3: 7})
	s := r.subscribe(r.readers, group(stages.Start{}), nil)
	refused := reasonIs(t, s.end(t), stages.EventsExpired)
	if !strings.Contains(refused.Error(), "it was moved") {
		t.Errorf("%v does not say that the group was moved", refused)
	}
	// What partition 3 had sent by then is done with.
	at := r.committed()
	if at[0] != 15 || at[1] != 5 || at[2] != 20 || at[3] < 7 {
		t.Fatalf("the group was moved to %v", at)
	}
	r.write(2, 20, 25)
	next := r.subscribe(r.readers, group(stages.Start{}), nil)
	if doubles := awaitUnion(t, 5+15+5+13, s, next); doubles > 0 {
		t.Errorf("%d events came twice", doubles)
	}
}

// A group that could not be moved is not told that it was.
func TestGroupsThatCannotBeMoved(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 20)
	r.place(map[int32]int64{0: 1000})
	r.cluster.ControlKey(int16(kmsg.OffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		answer := request.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range request.(*kmsg.OffsetCommitRequest).Topics {
			to := kmsg.OffsetCommitResponseTopic{Topic: topic.Topic, TopicID: topic.TopicID}
			for _, p := range topic.Partitions {
				to.Partitions = append(to.Partitions, kmsg.OffsetCommitResponseTopicPartition{Partition: p.Partition, ErrorCode: kerr.GroupAuthorizationFailed.Code})
			}
			answer.Topics = append(answer.Topics, to)
		}
		return answer, nil, true
	})
	s := r.subscribe(r.readers, group(stages.Start{}), nil)
	refused := reasonIs(t, s.end(t), stages.GroupUnusable)
	if !strings.Contains(refused.Error(), "could not be moved") {
		t.Errorf("%v does not say that the group could not be moved", refused)
	}
}

// A new group whose first member finds no reader free has not begun.
func TestGroupsWithoutAReaderDoNotBegin(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, func(_ *Config, c *ReadingConfig) { c.SubscribeMaxReaders = 1 })
	other := readerFor{client: "other"}
	if err := r.readers.slots.take(t.Context(), other, 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // long enough to begin a group
	defer cancel()
	waiting := group(stages.Start{})
	waiting.Begun = func() error { t.Error("a member came in without a reader"); return ctx.Err() }
	if err := r.readers.share(ctx, &waiting); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if at := r.committed(); len(at) > 0 {
		t.Errorf("the group is at %v", at)
	}
	r.readers.slots.give(other)
	s := r.subscribe(r.readers, group(stages.Start{Cursor: "no cursor"}), nil)
	_ = reasonIs(t, s.end(t), stages.InvalidCursor)
	if r.readers.slots.used != 0 {
		t.Error("a member that was refused has kept its reader")
	}
}

// Who asks for heartbeats hears at once that the subscription has begun, without a cursor: a member has none.
func TestGroupsBeatAtTheBeginning(t *testing.T) {
	r := newReadRig(t, 1, nil)
	sub := group(stages.Start{})
	sub.Heartbeat = true
	s := r.subscribe(r.readers, sub, nil)
	s.started(t)
	select {
	case <-s.more:
	case <-time.After(patience):
		t.Fatal("no heartbeat came")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.beats) != 1 || s.beats[0] != "" || len(s.events) > 0 {
		t.Errorf("heartbeats %q and %d events", s.beats, len(s.events))
	}
}

// The first heartbeat comes when the group has taken the member in: a reader that takes silence for the end begins to count then.
func TestMembersBeatWhenTheyAreIn(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	var let atomic.Bool
	asked := make(chan struct{}, 1)
	r.cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		signal(asked)
		if let.Load() {
			return nil, nil, false
		}
		answer := request.ResponseKind().(*kmsg.JoinGroupResponse)
		answer.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return answer, nil, true
	})
	sub := group(stages.Start{Earliest: true})
	sub.Heartbeat = true
	s := r.subscribe(r.readers, sub, nil)
	s.started(t)
	<-asked
	<-asked
	if s.mu.Lock(); len(s.beats) > 0 {
		t.Error("a heartbeat came before the member was in")
	}
	s.mu.Unlock()
	let.Store(true)
	select {
	case <-s.more:
	case <-time.After(patience):
		t.Fatal("no heartbeat came")
	}
}

// costlyGroup is a group whose filter takes long for all events but the first, wants none, and has each decided by decide.
func costlyGroup(decide func()) stages.Subscription {
	sub := group(stages.Start{Earliest: true})
	sub.Match = func(ev *eventv1.Event) (bool, error) {
		if ev.Id == "0" {
			return false, nil
		}
		return false, &stages.Costly{Decide: func(*eventv1.Event) (bool, error) { decide(); return false, nil }}
	}
	return sub
}

// A member whose events wait for turns takes over one at a time: it is heard between them, and the group may share out anew.
func TestGroupsTakeCostlyEventsOneByOne(t *testing.T) {
	r := newReadRig(t, 1, func(_ *Config, c *ReadingConfig) { c.SubscribeHeartbeat = time.Nanosecond })
	r.write(0, 0, 300)
	decided, round, rounds := 0, 0, []int(nil)
	sub := costlyGroup(func() { decided++; round++ })
	sub.Heartbeat = true
	sub.Begun = func() error { return nil }
	sub.Idle = func(string) error {
		if round > 0 {
			rounds, round = append(rounds, round), 0
		}
		if decided >= 299 {
			return errEnough
		}
		return nil
	}
	if err := r.readers.Subscribe(t.Context(), &sub); !errors.Is(err, errEnough) {
		t.Fatal(err)
	}
	for i, n := range rounds {
		if n > 1 && i > 0 { // the first one is not known to be costly
			t.Fatalf("%d events in round %d of %v", n, i, rounds)
		}
	}
}

// A member that is still about its filter when the group has waited long enough ends, although it sends nothing.
func TestGroupsDoNotWaitForFilters(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.readers.handOver = time.Nanosecond
	r.write(0, 0, groupRecords)
	decided, deciding := 0, make(chan struct{})
	a := r.subscribe(r.readers, costlyGroup(func() {
		if decided++; decided == 1 {
			close(deciding)
			r.awaitLog("a rebalance waits")
		}
	}), nil)
	<-deciding
	b := r.subscribe(r.open(nil), group(stages.Start{}), nil)
	_ = reasonIs(t, a.end(t), stages.SlowClient)
	if decided > 1 {
		t.Errorf("%d events were decided while the group waited", decided)
	}
	b.await(t, 1)
}

// A member hears that the topic is gone also when it has no partition of it, and Kafka tells it nothing.
func TestTopicGoneUnderMembers(t *testing.T) {
	for name, anew := range map[string]bool{"deleted": false, "recreated": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReadRig(t, 1, nil)
			r.readers.topicEvery = 100 * time.Millisecond
			r.write(0, 0, 1)
			members := []*subscriber{
				r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil),
				r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil),
			}
			for _, s := range members {
				s.started(t)
			}
			awaitUnion(t, 1, members...)
			if _, err := r.admin.DeleteTopics(t.Context(), "events"); err != nil {
				t.Fatal(err)
			}
			if anew {
				if _, err := r.admin.CreateTopic(t.Context(), 1, 1, nil, "events"); err != nil {
					t.Fatal(err)
				}
			}
			for i, s := range members {
				refused, ok := errors.AsType[*stages.Refusal](s.end(t))
				if !ok || refused.Reason != stages.TopicNotFound && refused.Reason != stages.TopicRecreated {
					t.Errorf("member %d ends with %v", i, refused)
				}
			}
		})
	}
}

// The first group of a cluster begins as soon as it has a coordinator, which takes Kafka some seconds.
func TestGroupsWaitForTheCoordinator(t *testing.T) {
	r := newReadRig(t, 1, nil)
	asked := uncoordinate(r.cluster)
	s := r.subscribe(r.readers, group(stages.Start{}), nil)
	s.started(t)
	r.write(0, 0, 10)
	s.await(t, 10)
	if n := asked.Load(); n <= 3 {
		t.Errorf("Kafka was asked %d times for the coordinator", n)
	}
}

// A member whose Kafka does not answer any more ends in bounded time, whatever KAFKA_READ_TIMEOUT is.
func TestMembersEndWithoutKafka(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	readers := r.open(func(c *Config, _ *ReadingConfig) { c.CommitInterval, c.ReadTimeout = time.Hour, time.Minute })
	r.write(0, 0, 10)
	s := r.subscribe(readers, group(stages.Start{Earliest: true}), nil)
	s.await(t, 10)
	for _, key := range []int16{int16(kmsg.OffsetCommit), int16(kmsg.LeaveGroup)} {
		r.cluster.ControlKey(key, func(kmsg.Request) (kmsg.Response, error, bool) {
			r.cluster.KeepControl()
			return nil, nil, true // no answer
		})
	}
	began := time.Now()
	s.cancel()
	_ = s.end(t)
	if took := time.Since(began); took > commitPatience+leavePatience+patience/4 {
		t.Errorf("the end took %v", took)
	}
}
