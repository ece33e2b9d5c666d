package transport

// ReplayEvents with a store in Kafka's place that the test plays.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// store is a stages.Reading that does what the test says.
type store struct {
	stages.Reading
	replay func(ctx context.Context, r *stages.Replay) error
}

func (s *store) Replay(ctx context.Context, r *stages.Replay) error { return s.replay(ctx, r) }

// startStore runs a gateway with a store.
func startStore(t *testing.T, change func(*setup), replay func(ctx context.Context, r *stages.Replay) error) *gateway {
	t.Helper()
	return start(t, func(c *setup) {
		c.config.ReplayMaxDuration, c.config.ReplayRateLimit = time.Hour, 1000
		c.topics, c.config.ReplayTopics = []string{"again", "dead"}, []string{"events", "again"}
		c.services.Reading = &store{replay: replay}
		if change != nil {
			change(c)
		}
	})
}

// stored are events as a store hands them over.
func stored(from, to int) (all []*stages.Delivery) {
	for i := from; i < to; i++ {
		ev := event(fmt.Sprint(i))
		ev.PartitionKey = fmt.Sprint(i % 5)
		ev.Metadata = map[string]string{"n": fmt.Sprint(i)}
		frame, err := proto.Marshal(ev)
		if err != nil {
			panic(err)
		}
		all = append(all, &stages.Delivery{Event: ev, Frame: frame, Topic: "events", Partition: int32(i % 3), Offset: int64(i), Stored: time.Unix(int64(i), 0)})
	}
	return all
}

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(time.Now().Add(-d)) }

// replayed is all that a call gave.
func replayed(t *testing.T, s gatewayv1.EventGateway_ReplayEventsClient) (events []*eventv1.Event, last *gatewayv1.ReplayResponse_Progress, err error) {
	t.Helper()
	for {
		r, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return events, last, nil
		}
		if err != nil {
			return events, last, err
		}
		events, last = append(events, r.Events...), r.Progress
	}
}

func TestReplayPages(t *testing.T) {
	position := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	var asked stages.Replay
	g := startStore(t, nil, func(_ context.Context, r *stages.Replay) error {
		asked = *r
		if ok, err := r.Match(event("1")); ok || err != nil {
			return fmt.Errorf("an event of another type matches: %w", err)
		}
		for page := range 3 {
			at := stages.ReplayProgress{Read: int64(page * 50), Matched: int64(page * 10), Position: position, Done: page == 2}
			if err := r.Page(stored(page*10, page*10+10), at); err != nil {
				return err
			}
		}
		return nil
	})
	begin := time.Now()
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(time.Minute), End: ago(time.Second), EventTypes: []string{"order.*"}, MaxEventsPerSecond: 7})
	if err != nil {
		t.Fatal(err)
	}
	events, last, err := replayed(t, s)
	if err != nil {
		t.Fatal(err)
	}
	for i, ev := range events {
		if !proto.Equal(ev, stored(i, i+1)[0].Event) {
			t.Errorf("event %d is %v", i, ev)
		}
	}
	want := &gatewayv1.ReplayResponse_Progress{Read: 100, Matched: 20, Position: timestamppb.New(position), Done: true}
	if len(events) != 30 || !proto.Equal(last, want) {
		t.Errorf("%d events, %v", len(events), last)
	}
	if asked.PerSecond != 7 || asked.To.After(begin) || !asked.From.Before(asked.To) {
		t.Errorf("asked for %+v", asked)
	}
}

// The metadata comes when the replay begins, not with the first event.
func TestReplayBeginsAtOnce(t *testing.T) {
	hold := make(chan struct{})
	g := startStore(t, nil, func(ctx context.Context, _ *stages.Replay) error {
		select {
		case <-hold:
		case <-ctx.Done():
		}
		return nil
	})
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if _, _, err := replayed(t, s); err != nil {
		t.Fatal(err)
	}
}

func TestReplayRequests(t *testing.T) {
	var asked atomic.Pointer[stages.Replay]
	g := startStore(t, nil, func(_ context.Context, r *stages.Replay) error { asked.Store(r); return nil })
	c := g.client()
	for _, r := range []struct {
		name    string
		request *gatewayv1.ReplayRequest
		code    codes.Code
		reason  string
		field   string
		says    string
	}{
		{"no start", &gatewayv1.ReplayRequest{}, codes.InvalidArgument, "INVALID_REQUEST", "start", "missing"},
		{"start that is no time", &gatewayv1.ReplayRequest{Start: &timestamppb.Timestamp{Nanos: -1}}, codes.InvalidArgument, "INVALID_REQUEST", "start", "years"},
		{"end that is no time", &gatewayv1.ReplayRequest{Start: ago(1), End: &timestamppb.Timestamp{Seconds: 1 << 60}}, codes.InvalidArgument, "INVALID_REQUEST", "end", "years"},
		{"start in the future", &gatewayv1.ReplayRequest{Start: ago(-time.Minute)}, codes.InvalidArgument, "INVALID_REQUEST", "start", "future"},
		{"too long ago", &gatewayv1.ReplayRequest{Start: ago(time.Hour + 2*time.Minute)}, codes.InvalidArgument, "INVALID_REQUEST", "start", "REPLAY_MAX_DURATION"},
		{"end before start", &gatewayv1.ReplayRequest{Start: ago(time.Minute), End: ago(2 * time.Minute)}, codes.InvalidArgument, "INVALID_REQUEST", "end", "after start"},
		{"negative rate", &gatewayv1.ReplayRequest{Start: ago(1), MaxEventsPerSecond: -1}, codes.InvalidArgument, "INVALID_REQUEST", "max_events_per_second", "1 to 1000"},
		{"too high a rate", &gatewayv1.ReplayRequest{Start: ago(1), MaxEventsPerSecond: 1001}, codes.InvalidArgument, "INVALID_REQUEST", "max_events_per_second", "1 to 1000"},
		{"a filter that is none", &gatewayv1.ReplayRequest{Start: ago(1), Filter: "subject =="}, codes.InvalidArgument, "INVALID_FILTER", "filter", "1:11"},
		{"a type that is none", &gatewayv1.ReplayRequest{Start: ago(1), EventTypes: []string{"*.a"}}, codes.InvalidArgument, "INVALID_FILTER", "event_types[0]", "end"},
		{"a foreign topic", &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "\x1bnone"}, codes.PermissionDenied, "TOPIC_NOT_ALLOWED", "republish_topic", "events, again"},
		{"the dead letters", &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "dead"}, codes.PermissionDenied, "TOPIC_NOT_ALLOWED", "republish_topic", "events, again"},
		{"the same topic", &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "events"}, codes.InvalidArgument, "INVALID_REQUEST", "republish_topic", "allow_same_topic"},
	} {
		s, err := c.ReplayEvents(g.context(), r.request)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = replayed(t, s)
		wantStatus(t, err, r.code, r.reason)
		if message := status.Convert(err).Message(); !strings.Contains(message, r.says) || !strings.HasPrefix(message, r.field) {
			t.Errorf("%s: %s", r.name, message)
		}
		if r.code == codes.InvalidArgument && !slices.ContainsFunc(status.Convert(err).Details(), func(d any) bool {
			bad, ok := d.(*errdetails.BadRequest)
			return ok && bad.FieldViolations[0].Field == r.field
		}) {
			t.Errorf("%s: no BadRequest for %s: %v", r.name, r.field, status.Convert(err).Details())
		}
	}
	if asked.Load() != nil {
		t.Error("a bad request was served")
	}
	// And what is just within the bounds.
	for _, request := range []*gatewayv1.ReplayRequest{
		{Start: ago(time.Hour), End: ago(-time.Hour)},
		{Start: ago(-time.Second)},
		{Start: ago(1), MaxEventsPerSecond: 1000, AllowSameTopic: true},
		{Start: ago(1), RepublishTopic: "events", AllowSameTopic: true},
		{Start: ago(1), RepublishTopic: "again"},
	} {
		asked.Store(nil)
		s, err := c.ReplayEvents(g.context(), request)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = replayed(t, s); err != nil {
			t.Errorf("%v: %v", request, err)
		}
		if r := asked.Load(); r == nil || r.PerSecond != 1000 || r.To.After(time.Now()) {
			t.Errorf("%v: %+v", request, r)
		}
	}
}

func TestReplayWithoutKafka(t *testing.T) {
	g := start(t, nil)
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1)})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = replayed(t, s)
	wantStatus(t, err, codes.FailedPrecondition, "READING_DISABLED")
}

// What the store says reaches the client as it is.
func TestReplayFails(t *testing.T) {
	g := startStore(t, nil, func(context.Context, *stages.Replay) error {
		return &stages.Refusal{Reason: stages.EventsExpired, Info: map[string]string{"position": "p"}}
	})
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1)})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = replayed(t, s)
	wantStatus(t, err, codes.OutOfRange, "EVENTS_EXPIRED")
	if got := infoOf(err, "position"); got != "p" {
		t.Errorf("position %q", got)
	}
}

// infoOf is an entry of the ErrorInfo's metadata.
func infoOf(err error, name string) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Metadata[name]
		}
	}
	return ""
}

// endless hands over pages of 100 KB for as long as the call lasts.
func endless(ended chan<- struct{}) func(context.Context, *stages.Replay) error {
	return func(ctx context.Context, r *stages.Replay) error {
		big := make([]byte, 100<<10)
		frame, _ := proto.Marshal(&eventv1.Event{Id: "1", Data: big})
		at := stages.ReplayProgress{Position: time.Unix(1000, 0)}
		for {
			err := r.Page([]*stages.Delivery{{Frame: frame}}, at)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				close(ended)
				return err
			}
			at.Position = at.Position.Add(time.Second)
		}
	}
}

// A client that does not read its replay is told so, with the position to go on from, and nobody else waits.
func TestReplayIsNotRead(t *testing.T) {
	ended := make(chan struct{})
	g := startStore(t, func(c *setup) { c.config.SendTimeout = 300 * time.Millisecond }, endless(ended))
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1)})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the replay goes on")
	}
	g.good()
	_, last, err := replayed(t, s)
	wantStatus(t, err, codes.ResourceExhausted, "SLOW_CLIENT")
	at, parseErr := time.Parse(time.RFC3339Nano, infoOf(err, "position"))
	if parseErr != nil || last == nil || at.Before(last.Position.AsTime()) {
		t.Errorf("position %q, of what was read %v", infoOf(err, "position"), last)
	}
}

// A replay ends with its stream's age, with a drain, and when its client leaves.
func TestReplayEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*setup)
		end    func(g *gateway, cancel func())
		code   codes.Code
		reason string
	}{
		{"age", func(c *setup) { c.config.MaxConnectionAge = time.Second }, func(*gateway, func()) {}, codes.Unavailable, "STREAM_AGE"},
		{"drain", nil, func(g *gateway, _ func()) {
			go func() {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				_ = g.server.Drain(ctx)
			}()
		}, codes.Unavailable, "DRAINING"},
		{"cancel", nil, func(_ *gateway, cancel func()) { cancel() }, codes.Canceled, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ended := make(chan struct{})
			g := startStore(t, c.change, endless(ended))
			ctx, cancel := context.WithCancel(g.context())
			defer cancel()
			s, err := g.client().ReplayEvents(ctx, &gatewayv1.ReplayRequest{Start: ago(1)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatal(err)
			}
			c.end(g, cancel)
			_, _, err = replayed(t, s)
			if c.reason == "" {
				if status.Code(err) != c.code {
					t.Errorf("%v", err)
				}
			} else {
				wantStatus(t, err, c.code, c.reason)
			}
			select {
			case <-ended:
			case <-time.After(patience):
				t.Fatal("the replay goes on")
			}
		})
	}
}

// published are the events that the broker was given, by topic.
type published struct {
	mu  sync.Mutex
	all map[string][]*eventv1.Event
	// answer changes the verdict about an event, by its id and how often it came before.
	answer func(id string, before int) (stages.Verdict, bool)
	seen   map[string]int
}

func (p *published) judge(to *stages.Partition, ev *stages.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	got := &eventv1.Event{Id: string(ev.ID.Value), Data: slices.Clone(ev.Data), PartitionKey: string(ev.PartitionKey.Value), Metadata: map[string]string{}}
	for _, m := range ev.Metadata {
		got.Metadata[string(m.Name)] = string(m.Value)
	}
	if p.all == nil {
		p.all, p.seen = map[string][]*eventv1.Event{}, map[string]int{}
	}
	before := p.seen[got.Id]
	p.seen[got.Id]++
	if p.answer != nil {
		if v, other := p.answer(got.Id, before); other {
			ev.Ack = stages.Ack{Verdict: v, Partition: to.ID, Offset: -1}
			return
		}
	}
	p.all[to.Topic.Name] = append(p.all[to.Topic.Name], got)
}

// pagesOf hands over n events in pages of 100.
func pagesOf(n int) func(context.Context, *stages.Replay) error {
	return func(_ context.Context, r *stages.Replay) error {
		for from := 0; from < n; from += 100 {
			to := min(from+100, n)
			at := stages.ReplayProgress{Read: int64(to), Matched: int64(to), Position: time.Unix(int64(to), 0)}
			if err := r.Page(stored(from, to), at); err != nil {
				return err
			}
		}
		return r.Page(nil, stages.ReplayProgress{Read: int64(n), Matched: int64(n), Position: time.Unix(int64(n), 0), Done: true})
	}
}

func TestRepublish(t *testing.T) {
	var to published
	g := startStore(t, func(c *setup) { c.judge = to.judge }, pagesOf(1000))
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "again"})
	if err != nil {
		t.Fatal(err)
	}
	events, last, err := replayed(t, s)
	if err != nil || len(events) > 0 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if !last.Done || last.Read != 1000 || last.Matched != 1000 || last.Republished != 1000 || last.Refused != 0 || last.Filtered != 0 {
		t.Errorf("%v", last)
	}
	if len(to.all["again"]) != 1000 || len(to.all["events"]) != 0 {
		t.Fatalf("%d events in again, %d in events", len(to.all["again"]), len(to.all["events"]))
	}
	key := map[string]int{}
	for _, ev := range to.all["again"] {
		var i int
		_, _ = fmt.Sscan(ev.Id, &i)
		want := stored(i, i+1)[0].Event
		if string(ev.Data) != string(want.Data) || ev.PartitionKey != want.PartitionKey || ev.Metadata["n"] != ev.Id ||
			ev.Metadata["replayed_from"] != fmt.Sprintf("events/%d/%d", i%3, i) {
			t.Errorf("%v", ev)
		}
		if i < key[ev.PartitionKey] {
			t.Errorf("%d came after %d", i, key[ev.PartitionKey])
		}
		key[ev.PartitionKey] = i
	}
	if totals := g.pipeline.Totals(stages.FromReplay); totals.Accepted != 1000 || totals.Outcomes[stages.Acknowledged] != 1000 {
		t.Errorf("accounting: %+v", totals)
	}
}

// One event is refused for good, one for a while, one is in doubt: the replay tells of the first, and sends the others
// again; nothing of a key passes what was sent before it, but for what comes twice.
func TestRepublishWhatIsRefused(t *testing.T) {
	t.Parallel()
	var to published
	to.answer = func(id string, before int) (stages.Verdict, bool) {
		switch {
		case id == "150":
			return stages.Verdict{Outcome: stages.Refused, Reason: stages.RecordRejected, Stage: stages.AtProduce, Detail: &stages.Detail{Message: "too odd"}}, true
		case id == "210" && before < 2:
			return stages.Verdict{Outcome: stages.Refused, Reason: stages.BatchRejected, Stage: stages.AtProduce}, true
		case id == "333" && before < 1:
			return stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown, Stage: stages.AtProduce}, true
		}
		return stages.Verdict{}, false
	}
	g := startStore(t, func(c *setup) { c.judge = to.judge }, pagesOf(500))
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "events", AllowSameTopic: true})
	if err != nil {
		t.Fatal(err)
	}
	_, last, err := replayed(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if !last.Done || last.Matched != 500 || last.Republished != 499 || last.Refused != 1 ||
		last.LastRefusal != "events/0/150: RECORD_REJECTED: too odd" {
		t.Errorf("%v", last)
	}
	ids := map[string]bool{}
	for _, ev := range to.all["events"] {
		ids[ev.Id] = true
	}
	if len(ids) != 499 || ids["150"] {
		t.Errorf("%d different events are there", len(ids))
	}
}

// Kafka rejects a batch for one event in it: the others go by themselves then, and only that one is refused.
func TestRepublishTakesARejectedBatchApart(t *testing.T) {
	t.Parallel()
	var to published
	g := startStore(t, func(c *setup) {
		c.config.DeliveryTimeout = time.Second
		c.judge = func(part *stages.Partition, ev *stages.Event) {
			v := stages.Verdict{Outcome: stages.Refused, Stage: stages.AtProduce}
			switch id := string(ev.ID.Value); {
			case len(id) == 3 && id >= "400" && ev.Msg.Events() > 1:
				v.Reason = stages.BatchRejected
			case id == "477":
				v.Reason = stages.RecordRejected
			default:
				to.judge(part, ev)
				return
			}
			ev.Ack = stages.Ack{Verdict: v, Partition: part.ID, Offset: -1}
		}
	}, pagesOf(600))
	s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "again"})
	if err != nil {
		t.Fatal(err)
	}
	_, last, err := replayed(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if !last.Done || last.Republished != 599 || last.Refused != 1 || !strings.HasPrefix(last.LastRefusal, "events/0/477: RECORD_REJECTED") || len(to.all["again"]) != 599 {
		t.Errorf("%v; %d events are there", last, len(to.all["again"]))
	}
}

// When nothing passes, the replay ends and says why and where.
func TestRepublishThatIsStuck(t *testing.T) {
	t.Parallel()
	for reason, code := range map[stages.Reason]codes.Code{stages.KafkaUnavailable: codes.Unavailable, stages.TopicNotFound: codes.FailedPrecondition} {
		t.Run(reason.String(), func(t *testing.T) {
			t.Parallel()
			var to published
			to.answer = func(id string, _ int) (stages.Verdict, bool) {
				return stages.Verdict{Outcome: stages.Refused, Reason: reason, Stage: stages.AtProduce}, len(id) == 3
			}
			g := startStore(t, func(c *setup) {
				c.judge = to.judge
				c.config.DeliveryTimeout = time.Second
			}, pagesOf(500))
			s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "again"})
			if err != nil {
				t.Fatal(err)
			}
			_, last, err := replayed(t, s)
			wantStatus(t, err, code, reason.String())
			if last == nil || last.Republished != 100 || last.Done {
				t.Errorf("%v", last)
			}
			if got := infoOf(err, "position"); got != clock(time.Unix(100, 0)) {
				t.Errorf("position %q", got)
			}
			if message := status.Convert(err).Message(); !strings.Contains(message, "events/1/100 into again") {
				t.Errorf("%s", message)
			}
		})
	}
}

// A republish that waits is not silent: neither for Kafka nor for room in the pipeline.
func TestRepublishTellsWhileItWaits(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*setup)
		begin  func(*gateway)
		in     string
	}{
		"for Kafka": {nil, func(g *gateway) { g.broker.hold() }, "(*Server).await("},
		"for room": {func(c *setup) {
			c.pipeline.MaxInflight, c.pipeline.ClientMaxInflight, c.pipeline.PartitionMaxInflight = stages.MiB, stages.MiB, stages.MiB
		}, func(g *gateway) {
			g.broker.hold()
			large := request("large")
			large.Event.Data = make([]byte, 800_000) // what is left is too little for the page
			go func() { _, _ = g.client().IngestEvent(g.context(), large) }()
			g.eventually("the room is taken", func() bool { return g.broker.taken.Load() == 1 })
		}, "(*Pipeline).Admit("},
	} {
		t.Run(name, func(t *testing.T) {
			g := startStore(t, c.change, func(_ context.Context, r *stages.Replay) error {
				page := stored(0, 100)
				for i := range page {
					page[i].Event.Data = make([]byte, 4000)
					page[i].Frame, _ = proto.Marshal(page[i].Event)
				}
				return r.Page(page, stages.ReplayProgress{Read: 100, Matched: 100, Done: true})
			})
			c.begin(g)
			s, err := g.client().ReplayEvents(g.context(), &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "again"})
			if err != nil {
				t.Fatal(err)
			}
			g.eventually("the replay waits", func() bool { return goroutineIn(c.in) })
			for range 2 {
				r, err := s.Recv()
				if err != nil || r.Progress.Republished != 0 || r.Progress.Done {
					t.Fatalf("%v, %v while nothing can pass", r, err)
				}
			}
			g.broker.release()
			if _, last, err := replayed(t, s); err != nil || last.Republished != 100 || !last.Done {
				t.Errorf("%v, %v", last, err)
			}
		})
	}
}

// The client leaves, or the gateway drains, in the middle: everything in flight gets its outcome (the harness looks).
func TestRepublishEnds(t *testing.T) {
	for _, how := range []string{"cancel", "drain"} {
		t.Run(how, func(t *testing.T) {
			g := startStore(t, nil, pagesOf(100_000))
			ctx, cancel := context.WithCancel(g.context())
			defer cancel()
			s, err := g.client().ReplayEvents(ctx, &gatewayv1.ReplayRequest{Start: ago(1), RepublishTopic: "again"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Recv(); err != nil {
				t.Fatal(err)
			}
			g.broker.hold()
			if how == "cancel" {
				cancel()
				g.eventually("the call ended", func() bool { return g.server.open.running.Load() == 0 })
			}
			g.stop()
			if totals := g.pipeline.Totals(stages.FromReplay); totals.Accepted == 0 || totals.Outcomes[stages.Pending] != 0 {
				t.Errorf("accounting: %+v", totals)
			}
		})
	}
}
