package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/filter"
)

// queue has one call of client wait for a turn, and gives where its name goes when it comes.
func (s *turns) queue(ctx context.Context, t *testing.T, client, name string, came chan<- string) {
	t.Helper()
	before := s.waiting()
	go func() {
		if err := s.take(ctx, client, newTurn()); err != nil {
			name = err.Error()
		}
		came <- name
	}()
	for deadline := time.Now().Add(patience); s.waiting() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s does not wait", name)
		}
	}
}

func receive(t *testing.T, came <-chan string) string {
	t.Helper()
	select {
	case name := <-came:
		return name
	case <-time.After(patience):
		t.Fatal("nobody's turn comes")
		return ""
	}
}

func (s *turns) waiting() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := s.lines.Front(); at != nil; at = at.Next() {
		n += at.Value.(*turnLine).waiting.Len()
	}
	return n
}

// Turns go round by client, and by who came first within one.
func TestTurnsGoRound(t *testing.T) {
	s := newTurns(1)
	if err := s.take(t.Context(), "a", newTurn()); err != nil {
		t.Fatal(err)
	}
	came := make(chan string, 1)
	for _, name := range []string{"a1", "a2", "a3", "b1", "a4", "c1", "b2"} {
		s.queue(t.Context(), t, name[:1], name, came)
	}
	for _, want := range []string{"a1", "b1", "c1", "a2", "b2", "a3", "a4"} {
		s.give()
		if got := receive(t, came); got != want {
			t.Fatalf("%s has its turn, want %s", got, want)
		}
	}
	if s.give(); s.taken != 0 || len(s.clients) != 0 || s.lines.Len() != 0 {
		t.Errorf("at rest: %d turns taken, %d clients wait", s.taken, len(s.clients))
	}
	if given, waited := s.given.Load(), s.waited.Load(); given != 8 || waited != 7 || s.waitedNanos.Load() == 0 {
		t.Errorf("%d given, %d waited for", given, waited)
	}
}

// Who no longer wants a turn is out of the way of those behind it.
func TestTurnsEndWithTheCall(t *testing.T) {
	s := newTurns(1)
	if err := s.take(t.Context(), "a", newTurn()); err != nil {
		t.Fatal(err)
	}
	came := make(chan string, 1)
	ended := errors.New("the call has ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	s.queue(ctx, t, "a", "a1", came)
	s.queue(t.Context(), t, "a", "a2", came)
	cancel(ended)
	if got := receive(t, came); got != ended.Error() {
		t.Fatal(got)
	}
	if err := s.take(ctx, "b", newTurn()); !errors.Is(err, ended) {
		t.Fatalf("a call that has ended: %v", err)
	}
	s.give()
	if got := receive(t, came); got != "a2" {
		t.Fatal(got)
	}

	// Its turn comes while it leaves.
	late := newTurn()
	s.join("a", late)
	s.queue(t.Context(), t, "a", "a4", came)
	s.give()
	s.leave(late)
	if got := receive(t, came); got != "a4" {
		t.Fatal(got)
	}
	if s.give(); s.taken != 0 || s.waiting() != 0 {
		t.Errorf("%d taken at rest", s.taken)
	}
}

// Whatever ends when, no turn is lost, and none is given twice.
func TestTurnsUnderCancellation(t *testing.T) {
	const most = 2
	s := newTurns(most)
	var at atomic.Int64
	var done sync.WaitGroup
	for i := range 16 {
		done.Go(func() {
			mine := newTurn()
			for n := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if n%2 == 0 {
					go cancel()
				}
				if s.take(ctx, fmt.Sprint(i%3), mine) == nil {
					if now := at.Add(1); now > most {
						t.Errorf("%d at once", now)
					}
					at.Add(-1)
					s.give()
				}
				cancel()
			}
		})
	}
	done.Wait()
	if s.taken != 0 || len(s.clients) != 0 || s.waiting() != 0 {
		t.Errorf("at rest: %d turns taken, %d wait", s.taken, s.waiting())
	}
}

// costly is a filter within its bounds that takes about a millisecond and wants nothing.
const costly = `[0,1,2,3,4,5,6,7,8,9].exists(a, [0,1,2,3,4,5,6,7,8,9].exists(b, [0,1,2,3,4,5,6,7,8].exists(c, a + b + c < 0)))`

// Many costly filters beside somebody who writes: few are decided at once, none ends, and a filter that takes little sees
// everything.
func TestCostlyFiltersTakeTurns(t *testing.T) {
	const subscribers, events = 20, 20 // a millisecond each, ten under the race detector
	r, broker := startEmbedded(t, nil)
	reading := &ReadingConfig{SubscribeBuffer: stages.MiB, SubscribeMaxReaders: 64, SubscribeHeartbeat: time.Hour}
	readers, err := NewReaders(r.cfg, reading, ReaderParts{Topic: r.topics.Default, Log: r.log, Embedded: broker, DeliveryTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(readers.Close)
	at := &atOnce{}
	rig := &readRig{t: t}
	var all []*subscriber
	for range subscribers {
		s := rig.subscribe(readers, stages.Subscription{Name: "a", Match: at.counts(compiled(t, costly))}, nil)
		s.started(t)
		all = append(all, s)
	}
	cheap := rig.subscribe(readers, stages.Subscription{Name: "b", Match: at.counts(compiled(t, `source == "/test"`))}, nil)
	cheap.started(t)
	p := r.partition(0)
	for i := range events {
		id := fmt.Sprint(i)
		r.produce(p, id)
		r.want(id, stages.Acknowledged, stages.NoReason)
	}
	for i, ev := range cheap.await(t, events) {
		if ev.Id != fmt.Sprint(i) {
			t.Fatalf("event %d is %s", i, ev.Id)
		}
	}
	r.eventually("each costly filter was asked for each event", func() bool { return at.decided.Load() == subscribers*events })
	for _, s := range all {
		s.cancel()
		if err := s.end(t); !errors.Is(err, context.Canceled) {
			t.Errorf("a subscription with a costly filter: %v", err)
		}
	}
	if most := at.most.Load(); most > int64(turnsAtOnce()) {
		t.Errorf("%d events were decided at once; %d are the most", most, turnsAtOnce())
	}
	if given, waited := readers.turns.given.Load(), readers.turns.waited.Load(); given != subscribers*events || waited == 0 {
		t.Errorf("%d turns of %d, %d waited for", given, subscribers*events, waited)
	}
}

func compiled(t *testing.T, expression string) stages.Match {
	t.Helper()
	match, err := filter.Compile(nil, nil, expression)
	if err != nil {
		t.Fatal(err)
	}
	return match
}

// atOnce counts the events that are decided at once.
type atOnce struct{ now, most, decided atomic.Int64 }

// counts is match, of which what takes long is counted.
func (a *atOnce) counts(match stages.Match) stages.Match {
	return func(ev *eventv1.Event) (bool, error) {
		wanted, err := match(ev)
		costly, ok := errors.AsType[*stages.Costly](err)
		if !ok {
			return wanted, err
		}
		return false, &stages.Costly{Decide: func(ev *eventv1.Event) (bool, error) {
			now := a.now.Add(1)
			for most := a.most.Load(); now > most && !a.most.CompareAndSwap(most, now); most = a.most.Load() {
			}
			wanted, err := costly.Decide(ev)
			a.now.Add(-1)
			a.decided.Add(1)
			return wanted, err
		}}
	}
}

// A subscriber whose filter takes long hears from the gateway between the events of one block, with a cursor that does not
// lead back behind what it has had.
func TestHeartbeatsBetweenCostlyEvents(t *testing.T) {
	const events, size = 40, 8 << 10 // some go out in the midst of what a reader of its own has polled
	for name, start := range map[string]stages.Start{"live": {}, "of the past": {Earliest: true}} {
		t.Run(name, func(t *testing.T) {
			r := newReadRig(t, 1, func(_ *Config, c *ReadingConfig) { c.SubscribeHeartbeat = time.Nanosecond })
			write := func() error {
				var records []*kgo.Record
				for i := range events + history { // what the tail reads again is not of the past
					one := eventRecord(0, i)
					if i < events {
						one.Value = make([]byte, size)
					}
					records = append(records, one)
				}
				return r.client.ProduceSync(t.Context(), records...).FirstErr()
			}
			if start.Earliest {
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			had, decided := int64(0), 0
			sub := stages.Subscription{Start: start, Heartbeat: true,
				Match: func(*eventv1.Event) (bool, error) {
					return false, &stages.Costly{Decide: func(*eventv1.Event) (bool, error) {
						if decided++; decided > 1 {
							t.Errorf("event %d or later: nothing came while %d events were decided", had, decided)
						}
						return true, nil
					}}
				},
				Begun: func() error {
					if start.Earliest {
						return nil
					}
					return write()
				},
				Idle: func(cursor string) error {
					decided = 0
					if ps, err := readCursor(cursor, r.readers.identity.Load()); err != nil || ps.at(0) < had {
						t.Errorf("a heartbeat leads to %v (%v) after event %d", ps, err, had-1)
					}
					return nil
				},
				Deliver: func(ds []*stages.Delivery) error {
					if had = ds[len(ds)-1].Offset + 1; had >= events {
						return errEnough
					}
					return nil
				},
			}
			if err := r.readers.Subscribe(t.Context(), &sub); !errors.Is(err, errEnough) {
				t.Fatal(err)
			}
		})
	}
}

var errEnough = errors.New("the test has had what it wants")
