package kafka

// Replays against a broker in memory.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// replayed is what a replay handed over.
type replayed struct {
	places []string
	// pages are the numbers of events, progress what came with them.
	pages    []int
	progress []stages.ReplayProgress
	// held calls back before each page is taken.
	held func(events int) error
}

func (p *replayed) page(events []*stages.Delivery, at stages.ReplayProgress) error {
	if p.held != nil {
		if err := p.held(len(events)); err != nil {
			return err
		}
	}
	p.pages, p.progress = append(p.pages, len(events)), append(p.progress, at)
	for _, d := range events {
		ev := &eventv1.Event{}
		if err := proto.Unmarshal(d.Frame, ev); err != nil {
			return err
		}
		if ev.Cursor != "" {
			return errors.New("a replayed event has a cursor")
		}
		p.places = append(p.places, string(ev.Data))
	}
	return nil
}

func (p *replayed) last() stages.ReplayProgress {
	if len(p.progress) == 0 {
		return stages.ReplayProgress{}
	}
	return p.progress[len(p.progress)-1]
}

// ask is a replay of a range.
func (p *replayed) ask(from, to time.Time) *stages.Replay {
	return &stages.Replay{From: from, To: to, PerSecond: 1 << 30, Page: p.page,
		Match: func(*eventv1.Event) (bool, error) { return true, nil }}
}

var replayBase = time.Now().Add(-time.Hour).Truncate(time.Second)

// writeAt writes events of a partition with the times that at gives, in offset order.
func (r *readRig) writeAt(partition int32, n int, at func(i int) time.Time) {
	r.t.Helper()
	var records []*kgo.Record
	for i := range n {
		one := eventRecord(partition, i)
		one.Timestamp = at(i)
		records = append(records, one)
	}
	if err := r.client.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func second(i int) time.Time { return replayBase.Add(time.Duration(i) * time.Second) }

// Events of three partitions, a little out of the order of their times: exactly those of the range come, in the order of
// each partition and about in that of time, and every position on the way is honest.
func TestReplayOfARange(t *testing.T) {
	t.Parallel()
	const n, slack = 3000, 25 * time.Second
	r := newReadRig(t, 3, func(_ *Config, c *ReadingConfig) { c.ReplayBatchSize = 100 })
	r.readers.parts.DeliveryTimeout = slack
	everything := map[string]time.Time{}
	for p := range int32(3) {
		r.writeAt(p, n, func(i int) time.Time {
			at := replayBase.Add(time.Duration(i)*100*time.Millisecond - time.Duration(rand.IntN(int(slack/time.Millisecond)))*time.Millisecond)
			everything[fmt.Sprintf("%d/%d", p, i)] = at
			return at
		})
	}
	from, to := second(60), second(180)
	want := map[string]time.Time{}
	for place, at := range everything {
		if !at.Before(from) && at.Before(to) {
			want[place] = at
		}
	}
	var got replayed
	if err := r.readers.Replay(t.Context(), got.ask(from, to)); err != nil {
		t.Fatal(err)
	}
	last := map[byte]int{}
	var latest time.Time
	for _, place := range got.places {
		at, due := want[place]
		if !due {
			t.Fatalf("%s came twice, or is not of the range", place)
		}
		delete(want, place)
		var i int
		_, _ = fmt.Sscanf(place[2:], "%d", &i)
		if i < last[place[0]] {
			t.Fatalf("%s came after %d", place, last[place[0]])
		}
		last[place[0]] = i
		if at.Before(latest.Add(-2 * slack)) {
			t.Fatalf("%s of %v came after %v", place, at, latest)
		}
		if at.After(latest) {
			latest = at
		}
	}
	if len(want) > 0 {
		t.Fatalf("%d events of the range did not come", len(want))
	}
	got.honest(t, func(place string) time.Time { return everything[place] })
	at := got.last()
	if !at.Done || at.Read != int64(len(got.places)) || at.Matched != at.Read || !at.Position.Equal(to) {
		t.Errorf("the end is %+v of %d events up to %v", at, len(got.places), to)
	}
	if slices.Max(got.pages) > 100 || len(got.pages) < len(got.places)/100 {
		t.Errorf("pages of %v", got.pages)
	}
}

// honest fails when something below a position came after it, or the position tells nothing.
func (p *replayed) honest(t *testing.T, timeOf func(place string) time.Time) {
	t.Helper()
	earliest := make([]time.Time, len(p.places)) // of what came from this place on
	for i, place := range slices.Backward(p.places) {
		if earliest[i] = timeOf(place); i+1 < len(p.places) && earliest[i+1].Before(earliest[i]) {
			earliest[i] = earliest[i+1]
		}
	}
	seen, moved := 0, 0
	for i, n := range p.pages {
		seen += n
		if i > 0 && p.progress[i].Position.Before(p.progress[i-1].Position) {
			t.Fatalf("page %d: the position goes back from %v to %v", i, p.progress[i-1].Position, p.progress[i].Position)
		}
		if i > 0 && p.progress[i].Position.After(p.progress[i-1].Position) {
			moved++
		}
		if seen < len(p.places) && earliest[seen].Before(p.progress[i].Position) {
			t.Fatalf("after page %d all below %v is done, but then an event of %v came", i, p.progress[i].Position, earliest[seen])
		}
	}
	if moved < len(p.pages)/4 {
		t.Errorf("the position moved %d times in %d pages", moved, len(p.pages))
	}
}

func TestReplayEdges(t *testing.T) {
	r := newReadRig(t, 2, nil)
	r.writeAt(0, 100, second)
	r.writeAt(1, 100, second)
	for _, c := range []struct {
		name     string
		from, to time.Time
		first, n int
	}{
		{"all", second(0), second(100), 0, 100},
		{"before anything", second(-1000), second(-500), 0, 0},
		{"from before the first", second(-1000), second(3), 0, 3},
		{"after everything", second(100), second(500), 0, 0},
		{"to after the last", second(97), second(500), 97, 3},
		{"one event", second(50), second(51), 50, 1},
		{"one millisecond", second(50), second(50).Add(time.Millisecond), 50, 1},
		{"less than one millisecond", second(50), second(50).Add(999 * time.Microsecond), 0, 0},
		{"behind a record's millisecond", second(50).Add(time.Millisecond), second(51), 0, 0},
		{"up to now", second(90), time.Now(), 90, 10},
	} {
		var got replayed
		if err := r.readers.Replay(t.Context(), got.ask(c.from, c.to)); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		mustSee(t, c.name, got.places, []int{c.first, c.first}, []int{c.first + c.n, c.first + c.n}, all)
		if at := got.last(); !at.Done || at.Read != int64(2*c.n) || at.Position.After(c.to) {
			t.Errorf("%s: the end is %+v", c.name, at)
		}
	}
	if n := r.readers.metrics.readers.Load(); n != 0 || r.readers.slots.inUse() != 0 {
		t.Errorf("%d readers, %d slots are left", n, r.readers.slots.inUse())
	}
}

// What was received just now may be stored later than this replay looks: its position says so.
func TestReplayUpToNowEndsBeforeIt(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.readers.parts.DeliveryTimeout = 25 * time.Second
	now := time.Now()
	r.writeAt(0, 10, func(i int) time.Time { return now.Add(time.Duration(i-10) * time.Second) })
	var got replayed
	if err := r.readers.Replay(t.Context(), got.ask(now.Add(-time.Minute), now)); err != nil {
		t.Fatal(err)
	}
	if at := got.last(); len(got.places) != 10 || at.Position.After(time.Now().Add(-25*time.Second)) || at.Position.Before(now.Add(-26*time.Second)) {
		t.Errorf("%d events, position %v at %v", len(got.places), at.Position, now)
	}
}

// The position of a replay of the last moments does not lie before its range.
func TestReplayOfTheLastMoments(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.readers.parts.DeliveryTimeout = 25 * time.Second
	r.write(0, 0, 10)
	from := time.Now().Add(-5 * time.Second).Truncate(time.Millisecond)
	var got replayed
	if err := r.readers.Replay(t.Context(), got.ask(from, time.Now().Add(time.Second))); err != nil {
		t.Fatal(err)
	}
	if at := got.last(); len(got.places) != 10 || !at.Position.Equal(from) || !at.Done {
		t.Errorf("%d events, %+v of a range from %v", len(got.places), at, from)
	}
}

func TestReplayFilters(t *testing.T) {
	r := newReadRig(t, 2, nil)
	r.writeAt(0, 1000, second)
	r.writeAt(1, 1000, second)
	var got replayed
	ask := got.ask(second(0), second(1000))
	ask.Match = func(ev *eventv1.Event) (bool, error) { return ev.Type == "t3", nil }
	if err := r.readers.Replay(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	mustSee(t, "t3", got.places, []int{0, 0}, []int{1000, 1000}, func(i int) bool { return i%10 == 3 })
	if at := got.last(); at.Read != 2000 || at.Matched != 200 {
		t.Errorf("%+v", at)
	}
	ask.Match = func(ev *eventv1.Event) (bool, error) {
		if ev.Id == "500" {
			return false, refuse(stages.FilterLimit, "no")
		}
		return true, nil
	}
	got = replayed{}
	refused := reasonIs(t, r.readers.Replay(t.Context(), ask), stages.FilterLimit)
	// What matched before is there, and the position leaves out neither the event nor what was not handed over.
	if n := len(got.places); n < 900 || n > 1001 || int64(n) != got.last().Matched {
		t.Errorf("%d events were handed over, the progress is %+v", n, got.last())
	}
	at, err := time.Parse(time.RFC3339Nano, refused.Info["position"])
	if err != nil || at.After(second(500)) || at.Before(second(500).Add(-r.readers.parts.DeliveryTimeout-time.Second)) {
		t.Errorf("position %q, the event is of %v", refused.Info["position"], second(500))
	}
}

// A filter that fails on the last event of the range, or before a long silence: the position is not behind it.
func TestReplayFilterFailsBeforeASilence(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.writeAt(0, 2, func(i int) time.Time { return second(1800 * i) })
	for _, bad := range []string{"0", "1"} {
		var got replayed
		ask := got.ask(second(0), second(2000))
		ask.Match = func(ev *eventv1.Event) (bool, error) {
			if ev.Id == bad {
				return false, refuse(stages.FilterLimit, "no")
			}
			return true, nil
		}
		refused := reasonIs(t, r.readers.Replay(t.Context(), ask), stages.FilterLimit)
		at, err := time.Parse(time.RFC3339Nano, refused.Info["position"])
		if bad == "1" && len(got.places) != 1 {
			t.Errorf("%v were handed over", got.places)
		}
		if want := map[string]time.Time{"0": second(0), "1": second(1800)}[bad]; err != nil || at.After(want) {
			t.Errorf("position %q, the event is of %v", refused.Info["position"], want)
		}
	}
}

// What is no event is read, counted, and left out.
func TestReplayLeavesOutWhatIsNoEvent(t *testing.T) {
	r := newReadRig(t, 1, nil)
	for i := range 10 {
		one := eventRecord(0, i)
		one.Timestamp = second(i)
		switch i % 4 {
		case 1:
			one.Headers = nil
		case 3: // an event without an id, a source and a type
			one.Headers = one.Headers[:1]
		}
		if err := r.client.ProduceSync(t.Context(), one).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var got replayed
	if err := r.readers.Replay(t.Context(), got.ask(second(0), second(10))); err != nil {
		t.Fatal(err)
	}
	mustSee(t, "events", got.places, []int{0}, []int{10}, func(i int) bool { return i%2 == 0 })
	if at := got.last(); at.Read != 10 || at.Matched != 5 || r.readers.metrics.skipped.Load() != 5 {
		t.Errorf("%+v, %d skipped", at, r.readers.metrics.skipped.Load())
	}
}

// Transactions that were given up were never stored, and their marks at the end of a partition hold nobody up.
func TestReplayOfTransactions(t *testing.T) {
	r := newReadRig(t, 1, nil)
	writer, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.DefaultProduceTopic("events"),
		kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for i := range 20 {
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		one := eventRecord(0, i)
		one.Timestamp = second(i)
		if err := writer.ProduceSync(t.Context(), one).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := writer.EndTransaction(t.Context(), kgo.TransactionEndTry(i%2 == 0)); err != nil {
			t.Fatal(err)
		}
	}
	var got replayed
	if err := r.readers.Replay(t.Context(), got.ask(second(0), time.Now())); err != nil {
		t.Fatal(err)
	}
	mustSee(t, "committed", got.places, []int{0}, []int{20}, func(i int) bool { return i%2 == 0 })
}

// Pages keep to the bytes that a gRPC client takes; what is larger by itself travels alone.
func TestReplayPagesByBytes(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	big := strings.Repeat("x", 700<<10)
	for i := range 20 {
		one := eventRecord(0, i)
		one.Timestamp = second(i)
		one.Headers = append(one.Headers, kgo.RecordHeader{Key: "md_big", Value: []byte(big)})
		if err := r.client.ProduceSync(t.Context(), one).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var got replayed
	if err := r.readers.Replay(t.Context(), got.ask(second(0), second(20))); err != nil {
		t.Fatal(err)
	}
	mustSee(t, "all", got.places, []int{0}, []int{20}, all)
	if most := slices.Max(got.pages); most != 4 {
		t.Errorf("pages of %v events of 700 KiB", got.pages)
	}
}

// The rate holds for what matches, and the caller hears of the progress while nothing does.
func TestReplayRate(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.writeAt(0, 400, second)
	var got replayed
	ask := got.ask(second(0), second(400))
	ask.PerSecond = 100
	ask.Match = func(ev *eventv1.Event) (bool, error) { return ev.Type < "t5", nil }
	started := time.Now()
	if err := r.readers.Replay(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	// 200 match, of which 10 are free.
	if took := time.Since(started); took < 1700*time.Millisecond {
		t.Errorf("200 events at 100 a second took %v", took)
	}
	if len(got.places) != 200 || len(got.pages) < 2 {
		t.Errorf("%d events in pages of %v; a page comes at least once a second", len(got.places), got.pages)
	}
}

// An event that waits for its turn is not done, however late the next one is, and also when it is the last.
func TestReplayPositionsOfEventsThatWait(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	times := map[string]time.Time{}
	r.writeAt(0, 3, func(i int) time.Time {
		times[fmt.Sprintf("0/%d", i)] = second(600 * i)
		return second(600 * i)
	})
	var got replayed
	ask := got.ask(second(0), second(1800))
	ask.PerSecond = 1
	if err := r.readers.Replay(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	got.honest(t, func(place string) time.Time { return times[place] })
}

func TestReplayIsCancelled(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.writeAt(0, 100, second)
	ctx, cancel := context.WithCancel(t.Context())
	var got replayed
	ask := got.ask(second(0), second(100))
	ask.PerSecond = 1
	got.held = func(int) error { cancel(); return nil }
	started := time.Now()
	err := r.readers.Replay(ctx, ask)
	if !errors.Is(err, context.Canceled) || time.Since(started) > 10*time.Second {
		t.Errorf("%v after %v", err, time.Since(started))
	}
	var own replayed
	own.held = func(int) error { return errors.New("the client is gone") }
	if err := r.readers.Replay(t.Context(), own.ask(second(0), second(100))); err == nil || err.Error() != "the client is gone" {
		t.Errorf("%v", err)
	}
	done := make(chan error)
	go func() { done <- r.readers.Replay(t.Context(), ask) }()
	for deadline := time.Now().Add(patience); r.readers.metrics.replays.Load() == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r.readers.Close()
	_ = reasonIs(t, <-done, stages.Draining)
	_ = reasonIs(t, r.readers.Replay(t.Context(), ask), stages.Draining)
}

// A replay that nobody wants any more asks no filter again.
func TestReplaysHearOfTheirEndBeforeEachRecord(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.writeAt(0, 100, second)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var got replayed
	ask := got.ask(second(0), second(100))
	asked := 0
	ask.Match = func(*eventv1.Event) (bool, error) {
		if asked++; asked == 10 {
			cancel()
		}
		return false, nil
	}
	if err := r.readers.Replay(ctx, ask); !errors.Is(err, context.Canceled) || asked != 10 {
		t.Errorf("%v after %d events", err, asked)
	}
}

func TestReplaysTakeReaders(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, func(_ *Config, c *ReadingConfig) { c.SubscribeMaxReaders = 1 })
	r.writeAt(0, 10, second)
	var other error
	var got, theirs replayed
	got.held = func(events int) error {
		if events > 0 { // not the last page, when nothing is read any more
			other = r.readers.Replay(t.Context(), theirs.ask(second(0), second(10)))
		}
		return nil
	}
	ask := got.ask(second(0), second(10))
	r.readers.reading.ReplayBatchSize = 10
	if err := r.readers.Replay(t.Context(), ask); err != nil {
		t.Fatal(err)
	}
	_ = reasonIs(t, other, stages.TooManyReaders)
}

// writeBig writes events of 100 KB that a replay cannot have taken over all at once.
func (r *readRig) writeBig(n int) {
	r.t.Helper()
	big := make([]byte, 100<<10)
	for i := range n {
		one := eventRecord(0, i)
		one.Timestamp = second(i)
		for j := range big { // nothing that compresses to less than a fetch
			big[j] = byte(' ' + rand.IntN(95))
		}
		one.Headers = append(one.Headers, kgo.RecordHeader{Key: "md_big", Value: slices.Clone(big)})
		if err := r.client.ProduceSync(r.t.Context(), one).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// Retention passes a replay at work: it ends and says how far it came, and nothing is left out silently.
func TestRetentionPassesAReplay(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.writeBig(100)
	var got replayed
	passed := false
	got.held = func(int) error {
		if !passed {
			passed = true
			r.deleteBefore(0, 95)
		}
		return nil
	}
	refused := reasonIs(t, r.readers.Replay(t.Context(), got.ask(second(0), second(100))), stages.EventsExpired)
	if len(got.places) == 0 || len(got.places) >= 95 {
		t.Fatalf("%d events came; retention has not passed anybody", len(got.places))
	}
	mustSee(t, "what came", got.places, []int{0}, []int{len(got.places)}, all)
	position, err := time.Parse(time.RFC3339Nano, refused.Info["position"])
	if err != nil || position.After(second(len(got.places))) || position.Before(second(len(got.places)-3)) {
		t.Errorf("position %q after %d events", refused.Info["position"], len(got.places))
	}
	// What is gone before a replay begins is simply not there.
	var rest replayed
	if err := r.readers.Replay(t.Context(), rest.ask(second(0), second(100))); err != nil {
		t.Fatal(err)
	}
	mustSee(t, "the rest", rest.places, []int{95}, []int{100}, all)
}

func TestTopicDeletedUnderAReplay(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.writeBig(60)
	var got replayed
	gone := false
	got.held = func(int) error {
		if !gone {
			gone = true
			if _, err := r.admin.DeleteTopics(t.Context(), "events"); err != nil {
				return err
			}
		}
		return nil
	}
	started := time.Now()
	err := r.readers.Replay(t.Context(), got.ask(second(0), second(60)))
	refused, ok := errors.AsType[*stages.Refusal](err)
	if !ok || refused.Reason != stages.TopicNotFound && refused.Reason != stages.TopicRecreated {
		t.Fatalf("%v, want TOPIC_NOT_FOUND or TOPIC_RECREATED", err)
	}
	if took := time.Since(started); took > 10*time.Second {
		t.Errorf("it took %v to find out", took)
	}
	mustSee(t, "what came", got.places, []int{0}, []int{len(got.places)}, all)
	var again replayed
	_ = reasonIs(t, r.readers.Replay(t.Context(), again.ask(second(0), second(60))), stages.TopicNotFound)
}

// The topic is made anew under a replay, with as many events: those are not of the replay.
func TestTopicRecreatedUnderAReplay(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, nil)
	r.writeBig(60)
	var got replayed
	anew := false
	got.held = func(int) error {
		if anew {
			return nil
		}
		anew = true
		_, err := r.admin.DeleteTopics(t.Context(), "events")
		if err == nil {
			_, err = r.admin.CreateTopic(t.Context(), 1, 1, nil, "events")
		}
		if err != nil {
			return err
		}
		r.client.PurgeTopicsFromClient("events")
		r.writeSoon(0, 1000, 1100)
		return nil
	}
	err := r.readers.Replay(t.Context(), got.ask(second(0), time.Now()))
	refused, ok := errors.AsType[*stages.Refusal](err)
	if !ok || refused.Reason != stages.TopicNotFound && refused.Reason != stages.TopicRecreated {
		t.Fatalf("%v, want TOPIC_NOT_FOUND or TOPIC_RECREATED", err)
	}
	mustSee(t, "what came", got.places, []int{0}, []int{len(got.places)}, all)
}

// Kafka goes away under a replay, and does not come back.
func TestKafkaAwayUnderAReplay(t *testing.T) {
	t.Parallel()
	r := newReadRig(t, 1, func(c *Config, _ *ReadingConfig) { c.ReadTimeout, c.DialTimeout = time.Second, time.Second })
	r.writeBig(60)
	var got replayed
	gone := false
	got.held = func(int) error {
		if !gone {
			gone = true
			r.cluster.Close()
		}
		return nil
	}
	started := time.Now()
	refused := reasonIs(t, r.readers.Replay(t.Context(), got.ask(second(0), second(60))), stages.KafkaUnavailable)
	if took := time.Since(started); took > 15*time.Second {
		t.Errorf("it took %v to find out", took)
	}
	if refused.Info["position"] == "" {
		t.Error("the refusal does not say how far the replay came")
	}
	var again replayed
	_ = reasonIs(t, r.readers.Replay(t.Context(), again.ask(second(0), second(60))), stages.KafkaUnavailable)
}

// A batch that cannot be read ends a replay at once, with how far it came.
func TestReplayOfACorruptBatch(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.writeAt(0, 10, second)
	topics, err := r.admin.ListTopics(t.Context(), "events")
	if err != nil {
		t.Fatal(err)
	}
	broken := kmsg.NewRecordBatch()
	broken.Magic, broken.NumRecords, broken.LastOffsetDelta, broken.Records = 2, 10, 9, []byte("no records at all")
	broken.Length = int32(49 + len(broken.Records))
	broken.CRC = 12345
	r.cluster.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		answer := request.ResponseKind().(*kmsg.FetchResponse)
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = "events", topics["events"].ID
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.HighWatermark, partition.LastStableOffset, partition.RecordBatches = 10, 10, broken.AppendTo(nil)
		topic.Partitions = append(topic.Partitions, partition)
		answer.Topics = append(answer.Topics, topic)
		return answer, nil, true
	})
	var got replayed
	started := time.Now()
	refused := reasonIs(t, r.readers.Replay(t.Context(), got.ask(second(0), second(10))), stages.RecordUnreadable)
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	if refused.Info["position"] != second(0).UTC().Format(time.RFC3339Nano) || len(got.places) > 0 {
		t.Errorf("%v after %d events", refused.Info, len(got.places))
	}
}
