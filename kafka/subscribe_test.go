package kafka

// Subscriptions against a broker in memory.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// readRig is a cluster with the topic events, a client that writes to it, and Readers.
type readRig struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  *kgo.Client
	admin   *kadm.Client
	readers *Readers
	topic   *stages.Topic
	log     *testLog
}

func newReadRig(t *testing.T, partitions int, change func(*Config, *ReadingConfig)) *readRig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(partitions), "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r := &readRig{t: t, cluster: cluster, log: &testLog{}}
	r.client, err = kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("events"), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	r.admin = kadm.NewClient(r.client)
	r.topic = stages.NewTopics("events").All[0]
	r.topic.SetPartitions(partitions)
	r.readers = r.open(change)
	return r
}

// open opens Readers, as another gateway would.
func (r *readRig) open(change func(*Config, *ReadingConfig)) *Readers {
	r.t.Helper()
	cfg := testConfig(r.t)
	cfg.Brokers = r.cluster.ListenAddrs()
	reading := &ReadingConfig{SubscribeBuffer: stages.MiB, SubscribeMaxReaders: 64, SubscribeHeartbeat: time.Hour,
		ReplayMaxDuration: time.Hour, ReplayBatchSize: 1000, ReplayRateLimit: 1 << 30}
	if change != nil {
		change(cfg, reading)
	}
	readers, err := NewReaders(cfg, reading, ReaderParts{Topic: r.topic, Log: r.log, DeliveryTimeout: time.Second})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(readers.Close)
	return readers
}

// eventRecord is event number i of a partition.
func eventRecord(partition int32, i int) *kgo.Record {
	return &kgo.Record{Partition: partition, Value: fmt.Appendf(nil, "%d/%d", partition, i), Headers: []kgo.RecordHeader{
		{Key: headerSpecVersion, Value: []byte("1.0")}, {Key: headerID, Value: []byte(strconv.Itoa(i))},
		{Key: headerSource, Value: []byte("/test")}, {Key: headerType, Value: []byte("t" + strconv.Itoa(i%10))},
	}}
}

// write writes events from up to, without it, to, to a partition.
func (r *readRig) write(partition int32, from, to int) {
	r.t.Helper()
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, eventRecord(partition, i))
	}
	if err := r.client.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// subscriber collects what it is sent.
type subscriber struct {
	sub    *stages.Subscription
	cancel context.CancelFunc
	begun  chan struct{}
	done   chan struct{}
	err    error

	mu     sync.Mutex
	events []*eventv1.Event
	places []string
	beats  []string
	more   chan struct{}
	// slow delays each delivery.
	slow func()
}

func (r *readRig) subscribe(readers *Readers, sub stages.Subscription, slow func()) *subscriber {
	s := &subscriber{sub: &sub, begun: make(chan struct{}), done: make(chan struct{}), more: make(chan struct{}, 1), slow: slow}
	if sub.Match == nil {
		sub.Match = func(*eventv1.Event) (bool, error) { return true, nil }
	}
	sub.Begun = func() error { close(s.begun); return nil }
	sub.Idle = func(cursor string) error { return s.take(nil, cursor) }
	sub.Deliver = func(events []*stages.Delivery) error { return s.take(events, "") }
	ctx, cancel := context.WithCancel(r.t.Context())
	s.cancel = cancel
	go func() {
		defer close(s.done)
		s.err = readers.Subscribe(ctx, &sub)
	}()
	r.t.Cleanup(func() { cancel(); <-s.done })
	return s
}

func (s *subscriber) take(events []*stages.Delivery, beat string) error {
	if s.slow != nil {
		s.slow()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if events == nil {
		s.beats = append(s.beats, beat)
	}
	for _, d := range events {
		ev := &eventv1.Event{}
		if err := proto.Unmarshal(d.Frame, ev); err != nil {
			return err
		}
		s.events = append(s.events, ev)
		s.places = append(s.places, string(ev.Data))
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

// await waits until the subscriber has had n events.
func (s *subscriber) await(t *testing.T, n int) []*eventv1.Event {
	t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		have, events := len(s.events), s.events
		s.mu.Unlock()
		if have >= n {
			return events[:have:have]
		}
		select {
		case <-s.more:
		case <-s.done:
			t.Fatalf("the subscription ended after %d events of %d: %v", have, n, s.err)
		case <-deadline:
			t.Fatalf("%d events of %d came in %v", have, n, patience)
		}
	}
}

func (s *subscriber) started(t *testing.T) {
	t.Helper()
	select {
	case <-s.begun:
	case <-s.done:
		t.Fatalf("the subscription did not begin: %v", s.err)
	case <-time.After(patience):
		t.Fatal("the subscription did not begin in time")
	}
}

func (s *subscriber) end(t *testing.T) error {
	t.Helper()
	select {
	case <-s.done:
		return s.err
	case <-time.After(patience):
		t.Fatal("the subscription did not end in time")
		return nil
	}
}

// mustSee fails unless the places are each partition's events from its first one on, all of them that pick takes, in
// order, once.
func mustSee(t *testing.T, who string, places []string, first, end []int, pick func(i int) bool) {
	t.Helper()
	next := slices.Clone(first)
	skip := func(p int) {
		for next[p] < end[p] && !pick(next[p]) {
			next[p]++
		}
	}
	for _, place := range places {
		a, b, _ := strings.Cut(place, "/")
		p, _ := strconv.Atoi(a)
		i, _ := strconv.Atoi(b)
		if skip(p); i != next[p] {
			t.Fatalf("%s: partition %d: event %d came where %d was due", who, p, i, next[p])
		}
		next[p]++
	}
	for p := range next {
		if skip(p); next[p] != end[p] {
			t.Fatalf("%s: partition %d: ended before event %d of %d", who, p, next[p], end[p])
		}
	}
}

func all(int) bool { return true }

// reasonIs fails unless err is a refusal for reason.
func reasonIs(t *testing.T, err error, reason stages.Reason) *stages.Refusal {
	t.Helper()
	r, ok := errors.AsType[*stages.Refusal](err)
	if !ok || r.Reason != reason {
		t.Fatalf("%v (%T), want %v", err, err, reason)
	}
	return r
}

// Twenty subscribers with different starts, speeds and filters, some of which end and resume by cursor, while events are
// written: each sees what its start and filter say, once, in order. The hub holds little, so those who are slow fall out
// of it and come back.
func TestSubscribersSeeEverythingOnce(t *testing.T) {
	t.Parallel()
	const partitions, before, total = 3, 300, 3000
	r := newReadRig(t, partitions, func(_ *Config, c *ReadingConfig) { c.SubscribeBuffer = 200 << 10 })
	for p := range int32(partitions) {
		r.write(p, 0, before)
	}
	end := []int{total, total, total}
	var waiting sync.WaitGroup
	for n := range 20 {
		sub, first, pick := stages.Subscription{Name: strconv.Itoa(n)}, []int{before, before, before}, all
		if n%2 == 0 {
			sub.Start.Earliest, first = true, []int{0, 0, 0}
		}
		if n%3 == 0 {
			pick = func(i int) bool { return i%10 == 3 }
			sub.Match = func(ev *eventv1.Event) (bool, error) { return ev.Type == "t3", nil }
		}
		var slow func()
		if n%5 == 1 {
			slow = func() { time.Sleep(time.Duration(rand.IntN(8)) * time.Millisecond) } // a client, not synchronisation
		}
		s := r.subscribe(r.readers, sub, slow)
		s.started(t)
		waiting.Go(func() { r.followUp(t, fmt.Sprintf("subscriber %d", n), s, sub, slow, first, end, pick, n%4 == 3) })
	}
	for i := before; i < total; i += 60 {
		for p := range int32(partitions) {
			r.write(p, i, i+60)
		}
	}
	waiting.Wait()
	m := &r.readers.metrics
	t.Logf("from the hub %d, from readers %d", m.fromHub.Load(), m.fromReaders.Load())
	if m.fromHub.Load() == 0 || m.fromReaders.Load() == 0 {
		t.Error("nothing came from one of the two; the test proves nothing about how they meet")
	}
}

// followUp waits for all that s is to see; with resume, it ends it now and then and goes on by cursor.
func (r *readRig) followUp(t *testing.T, who string, s *subscriber, sub stages.Subscription, slow func(), first, end []int, pick func(int) bool, resume bool) {
	want := 0
	for p := range end {
		for i := first[p]; i < end[p]; i++ {
			if pick(i) {
				want++
			}
		}
	}
	var places []string
	for len(places) < want {
		n := want - len(places)
		if resume {
			n = min(n, 1+rand.IntN(want/4))
		}
		events := s.await(t, n)[:n]
		for _, ev := range events {
			places = append(places, string(ev.Data))
		}
		if len(places) < want {
			s.cancel()
			_ = s.end(t)
			sub.Start = stages.Start{Cursor: events[n-1].Cursor}
			s = r.subscribe(r.readers, sub, slow)
		}
	}
	s.cancel()
	_ = s.end(t)
	mustSee(t, who, places, first, end, pick)
}

// A thousand live subscribers cost Kafka one fetch stream.
func TestLiveSubscribersShareOneFetchStream(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 2, nil)
	var fetches atomic.Int64
	r.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		fetches.Add(1)
		return nil, nil, false
	})
	subs := make([]*subscriber, 300)
	for i := range subs {
		subs[i] = r.subscribe(r.readers, stages.Subscription{Name: strconv.Itoa(i)}, nil)
	}
	for _, s := range subs {
		s.started(t)
	}
	r.write(0, 0, 100)
	r.write(1, 0, 100)
	for i, s := range subs {
		s.await(t, 200)
		mustSee(t, fmt.Sprint(i), s.places, []int{0, 0}, []int{100, 100}, all)
	}
	if n := fetches.Load(); n > 40 {
		t.Errorf("Kafka was asked %d times for 200 events", n)
	}
	if n := r.readers.metrics.fromReaders.Load(); n != 0 {
		t.Errorf("%d events came from readers of single subscribers", n)
	}
}

// What is acknowledged after the call has begun is delivered; what was before is not.
func TestLatestBeginsWhenTheCallDoes(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 3, nil)
	for round := range 30 {
		r.write(int32(round%3), round*10, round*10+5)
		s := r.subscribe(r.readers, stages.Subscription{}, nil)
		s.started(t)
		r.write(int32(round%3), round*10+5, round*10+10)
		s.await(t, 5)
		s.cancel()
		_ = s.end(t)
		if want := fmt.Sprintf("%d/%d", round%3, round*10+5); s.places[0] != want || len(s.places) != 5 {
			t.Fatalf("round %d: %v, want five from %s", round, s.places, want)
		}
	}
}

func TestSubscribersOfATopicThatGrows(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 10)
	early := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
	cursor := early.await(t, 10)[9].Cursor
	if _, err := r.admin.UpdatePartitions(t.Context(), 3, "events"); err != nil {
		t.Fatal(err)
	}
	r.client.ForceMetadataRefresh()
	r.topic.SetPartitions(3)
	for p := range int32(3) {
		from := 0
		if p == 0 {
			from = 10
		}
		r.writeSoon(p, from, 30)
	}
	early.await(t, 90)
	mustSee(t, "early", early.places, []int{0, 0, 0}, []int{30, 30, 30}, all)
	late := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: cursor}}, nil)
	late.await(t, 80)
	mustSee(t, "resumed from before it grew", late.places, []int{10, 0, 0}, []int{30, 30, 30}, all)
}

// A cursor that knows partitions of which a broker has not heard yet is not refused: earliest_cursor would forget them, and who
// goes on there would get all of them again.
func TestCursorsAheadOfABroker(t *testing.T) {
	r := newReadRig(t, 2, nil)
	b, err := r.readers.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	late := &bounds{id: b.id, start: b.start[:1], end: b.end[:1], high: b.high[:1]}
	cursor := cursorOf(b.id, b.end)
	if ps, err := r.readers.beginIn(t.Context(), late, stages.Start{Cursor: cursor}); err != nil || len(ps) != 2 {
		t.Errorf("begins at %v, %v", ps, err)
	}
}

// writeSoon is write for a partition that the client may not know yet.
func (r *readRig) writeSoon(p int32, from, to int) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		err := r.client.ProduceSync(r.t.Context(), eventRecord(p, from)).FirstErr()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			r.t.Fatal(err)
		}
		r.client.ForceMetadataRefresh()
	}
	if from+1 < to {
		r.write(p, from+1, to)
	}
}

func TestStartTime(t *testing.T) {
	r := newReadRig(t, 2, nil)
	base := time.Now().Add(-time.Hour).Truncate(time.Second)
	for i := range 20 {
		for p := range int32(2) {
			one := eventRecord(p, i)
			one.Timestamp = base.Add(time.Duration(i) * time.Second)
			if err := r.client.ProduceSync(t.Context(), one).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Time: base.Add(15 * time.Second)}}, nil)
	s.await(t, 10)
	mustSee(t, "from second 15", s.places, []int{15, 15}, []int{20, 20}, all)
}

// A cursor whose events are gone is refused with the next one that works, in all ways in which they can be gone.
func TestExpiredCursors(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 2, nil)
	r.write(0, 0, 20)
	r.write(1, 0, 20)
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
	old := s.await(t, 40)[4].Cursor
	s.cancel()
	_ = s.end(t)
	r.deleteBefore(0, 12)
	r.deleteBefore(1, 12)
	again := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: old}}, nil)
	refused := reasonIs(t, again.end(t), stages.EventsExpired)
	earliest := refused.Info["earliest_cursor"]
	s = r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: earliest}}, nil)
	s.await(t, 16)
	mustSee(t, "from the earliest", s.places, []int{12, 12}, []int{20, 20}, all)

	beyond := cursorOf(r.readers.identity.Load(), positions{20, 999})
	again = r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: beyond}}, nil)
	_ = reasonIs(t, again.end(t), stages.EventsExpired)
	foreign := cursorOf(&testIdentity, positions{20, 20})
	again = r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: foreign}}, nil)
	_ = reasonIs(t, again.end(t), stages.InvalidCursor)
}

func (r *readRig) deleteBefore(p int32, offset int64) {
	r.t.Helper()
	offsets := kadm.Offsets{}
	offsets.AddOffset("events", p, offset, -1)
	answers, err := r.admin.DeleteRecords(r.t.Context(), offsets)
	if err == nil {
		err = answers.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// Retention passes a subscriber that reads the past: it hears so, and nothing is left out silently.
func TestRetentionPassesASubscriber(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, func(_ *Config, c *ReadingConfig) { c.SubscribeBuffer = 10 << 10 })
	big := strings.Repeat("x", 100<<10)
	for i := range 100 {
		one := eventRecord(0, i)
		one.Headers = append(one.Headers, kgo.RecordHeader{Key: "md_big", Value: []byte(big)})
		if err := r.client.ProduceSync(t.Context(), one).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	passed, entered := make(chan struct{}), make(chan struct{})
	var once sync.Once
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, func() {
		once.Do(func() { close(entered) })
		<-passed
	})
	<-entered
	r.deleteBefore(0, 90)
	close(passed)
	refused := reasonIs(t, s.end(t), stages.EventsExpired)
	if refused.Info["earliest_cursor"] == "" {
		t.Error("the refusal does not name the earliest cursor")
	}
	for i, place := range s.places {
		if want := fmt.Sprintf("0/%d", i); place != want {
			t.Fatalf("event %d is %s, want %s: something was left out", i, place, want)
		}
	}
	if len(s.places) >= 90 {
		t.Fatalf("%d events came; retention has not passed anybody", len(s.places))
	}
}

func TestTopicDeletedUnderASubscriber(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 2, nil)
	live := r.subscribe(r.readers, stages.Subscription{}, nil)
	live.started(t)
	r.write(0, 0, 1)
	live.await(t, 1)
	if _, err := r.admin.DeleteTopics(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	err := live.end(t)
	refused, ok := errors.AsType[*stages.Refusal](err)
	if !ok || refused.Reason != stages.TopicNotFound && refused.Reason != stages.TopicRecreated {
		t.Fatalf("%v, want TOPIC_NOT_FOUND or TOPIC_RECREATED", err)
	}
	again := r.subscribe(r.readers, stages.Subscription{}, nil)
	_ = reasonIs(t, again.end(t), stages.TopicNotFound)
}

func TestHeartbeats(t *testing.T) {
	r := newReadRig(t, 2, func(_ *Config, c *ReadingConfig) { c.SubscribeHeartbeat = 20 * time.Millisecond })
	none := func(*eventv1.Event) (bool, error) { return false, nil }
	s := r.subscribe(r.readers, stages.Subscription{Heartbeat: true, Match: none}, nil)
	s.started(t)
	r.write(0, 0, 50)
	r.write(1, 0, 50)
	want := cursorOf(r.readers.identity.Load(), positions{50, 50})
	for deadline := time.After(patience); ; {
		s.mu.Lock()
		ok := slices.Contains(s.beats, want)
		s.mu.Unlock()
		if ok {
			break
		}
		select {
		case <-s.more:
		case <-deadline:
			t.Fatalf("no heartbeat with the newest cursor %s: %v", want, s.beats)
		}
	}
}

func TestTooManyReaders(t *testing.T) {
	r := newReadRig(t, 1, func(_ *Config, c *ReadingConfig) { c.SubscribeMaxReaders = 1 })
	client, release, err := r.readers.newReader(t.Context(), readerFor{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = client
	_, _, err = r.readers.newReader(t.Context(), readerFor{}, 0)
	_ = reasonIs(t, err, stages.TooManyReaders)
	release()
	_, release, err = r.readers.newReader(t.Context(), readerFor{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// The tail ends some time after the last listener, and another one begins for the next.
func TestTheHubRunsWhileSomebodyListens(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	s := r.subscribe(r.readers, stages.Subscription{}, nil)
	s.started(t)
	r.write(0, 0, 1)
	s.await(t, 1)
	s.cancel()
	_ = s.end(t)
	if r.readers.hub.newest() == nil {
		t.Error("the tail ended with its listener, and not a moment later")
	}
	for deadline := time.Now().Add(patience); r.readers.hub.newest() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the tail goes on without listeners")
		}
	}
	s = r.subscribe(r.readers, stages.Subscription{}, nil)
	s.started(t)
	r.write(0, 1, 2)
	s.await(t, 1)
}

// Blocks that only move positions, of records that are no events, take memory too.
func TestTheHubIsBoundedByBlocksWithoutEvents(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	h := newHub(r.readers, 1<<20)
	tl := &tail{hub: h, readers: r.readers, at: positions{0}}
	h.run = tl
	for i := range 100_000 {
		b := tl.block()
		b.at[0] = int64(i + 1)
		if tl.push(b) == nil {
			t.Fatal("the tail is not the hub's")
		}
	}
	if n := len(h.blocks); n > 1<<20/64 {
		t.Errorf("%d blocks are kept in 1 MiB", n)
	}
	if got := h.newest(); got.at(0) != 100_000 {
		t.Errorf("the hub stands at %v", got)
	}
}

// The topic is deleted and created again, and somebody else has noticed before: nobody goes on in it at his old place.
func TestTopicRecreatedUnderSubscribers(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 100)
	held := make(chan struct{})
	blocked := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, func() { <-held })
	live := r.subscribe(r.readers, stages.Subscription{}, nil)
	blocked.started(t)
	live.started(t)
	r.write(0, 100, 101)
	live.await(t, 1)
	if _, err := r.admin.DeleteTopics(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	r.client.PurgeTopicsFromClient("events")
	if _, err := r.admin.CreateTopic(t.Context(), 1, 1, nil, "events"); err != nil {
		t.Fatal(err)
	}
	r.writeSoon(0, 1000, 1300)
	other := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
	other.await(t, 300)
	close(held)
	for name, s := range map[string]*subscriber{"live": live, "blocked": blocked} {
		err := s.end(t)
		refused, ok := errors.AsType[*stages.Refusal](err)
		if !ok || refused.Reason != stages.TopicRecreated && refused.Reason != stages.TopicNotFound {
			t.Errorf("%s: %v, want TOPIC_RECREATED", name, err)
		}
		for _, place := range s.places {
			if len(place) > len("0/100") {
				t.Fatalf("%s: went on in the new topic with %s", name, place)
			}
		}
	}
}

// What is written while the start is looked up is not left out.
func TestStartTimeWhileEventsAreWritten(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 10)
	start := time.Now().Add(time.Second)
	asked := false
	r.cluster.ControlKey(int16(kmsg.ListOffsets), func(request kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		at := request.(*kmsg.ListOffsetsRequest).Topics[0].Partitions[0].Timestamp
		if at > 0 {
			asked = true
		} else if asked {
			asked = false
			r.cluster.SleepControl(func() {
				for i := range 2 {
					one := eventRecord(0, 10+i)
					one.Timestamp = start.Add(time.Second)
					if err := r.client.ProduceSync(context.Background(), one).FirstErr(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		return nil, nil, false
	})
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Time: start}}, nil)
	s.await(t, 2)
	mustSee(t, "from now on", s.places, []int{10}, []int{12}, all)
}

// Events before one that the filter fails on are delivered.
func TestEventsBeforeAFilterThatFails(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 20)
	failing := func(ev *eventv1.Event) (bool, error) {
		if ev.Id == "15" {
			return false, refuse(stages.FilterLimit, "")
		}
		return true, nil
	}
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}, Match: failing}, nil)
	_ = reasonIs(t, s.end(t), stages.FilterLimit)
	mustSee(t, "until the filter failed", s.places, []int{0}, []int{15}, all)

	live := r.subscribe(r.readers, stages.Subscription{Match: failing}, nil)
	live.started(t)
	r.write(0, 0, 5)
	live.await(t, 5) // so it has the hub's own cursors
	r.write(0, 5, 20)
	_ = reasonIs(t, live.end(t), stages.FilterLimit)
	mustSee(t, "live, until the filter failed", live.places, []int{0}, []int{15}, all)
}
