package stages

// The race for an event's answer, and what the answer says.

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// Many goroutines do all that can be done to the events of a message: each is
// answered by exactly one of them, the Result is that one's, the owner is told
// once, and the references end once. The race detector watches the Results.
func TestMessageHasOneAnswerForEachEvent(t *testing.T) {
	const events, rounds = 16, 300
	for range rounds {
		owner := &countingOwner{}
		m := &Message{Owner: owner}
		m.Arm(events)
		var answers [events]atomic.Int32
		var lastDrops atomic.Int32
		settle := func(i int, reason Reason) {
			m.SetVerdict(i, Verdict{Outcome: Refused, Reason: reason})
			answers[i].Store(int32(reason))
			m.Settle(1)
		}
		var wins atomic.Int32
		var running sync.WaitGroup
		for g := range 4 {
			reason := Reason(g + 1)
			running.Go(func() {
				for i := range events {
					i = (i*5 + g) % events
					if m.Queued(i) && hand(m, i) {
						continue
					}
					if m.WinQueued(i) || m.WinHanded(i) {
						wins.Add(1)
						settle(i, reason)
					}
				}
			})
		}
		running.Wait()
		for i := range events { // what nobody has answered, the owner's deadline does
			if m.WinQueued(i) || m.WinHanded(i) {
				wins.Add(1)
				settle(i, OutcomeUnknown)
			}
			if hand(m, i) || m.WinQueued(i) || m.WinHanded(i) || m.Queued(i) {
				t.Fatalf("event %d was answered and can be won again", i)
			}
		}
		if wins.Load() != events || owner.completed.Load() != 1 || !m.Answered() {
			t.Fatalf("%d answers for %d events, the owner was told %d times", wins.Load(), events, owner.completed.Load())
		}
		for i := range events {
			if got := int32(m.Results[i].Reason); got != answers[i].Load() {
				t.Fatalf("event %d has the answer of %d, won by %d", i, got, answers[i].Load())
			}
		}
		for range events + 1 {
			running.Go(func() {
				if m.Drop(1) {
					lastDrops.Add(1)
				}
			})
		}
		running.Wait()
		if lastDrops.Load() != 1 {
			t.Fatalf("%d of %d references were the last one", lastDrops.Load(), events+1)
		}
	}
}

// The steps exclude each other also when they meet at the same instant.
func TestMessageStepsExcludeEachOther(t *testing.T) {
	const n = 20_000
	m := newMessage(Batch, nil, n)
	var won, wonToo [n]bool
	lockstep(n,
		func(i int) { won[i] = m.WinQueued(i) },
		func(i int) { wonToo[i] = m.WinQueued(i) },
	)
	for i := range n {
		if won[i] == wonToo[i] {
			t.Fatalf("event %d: won by one %v, by the other %v", i, won[i], wonToo[i])
		}
	}
	m.Arm(n)
	var handed [n]bool
	lockstep(n,
		func(i int) { handed[i] = hand(m, i) },
		func(i int) { won[i] = m.WinQueued(i) },
	)
	for i := range n {
		if won[i] == handed[i] {
			t.Fatalf("event %d: refused %v, handed to Kafka %v", i, won[i], handed[i])
		}
	}
}

// The owner is told by one only, also when the last two events settle at the same instant.
func TestMessageTellsItsOwnerOnce(t *testing.T) {
	const n = 20_000
	messages := make([]*Message, n)
	for i := range messages {
		messages[i] = newMessage(Batch, nil, 2)
	}
	settle := func(i int) { messages[i].Settle(1) }
	lockstep(n, settle, settle)
	for _, m := range messages {
		if told := m.Owner.(*countingOwner).completed.Load(); told != 1 || !m.Answered() {
			t.Fatalf("the owner was told %d times", told)
		}
	}
}

func TestMessageStates(t *testing.T) {
	m := newMessage(Batch, nil, 3)
	if !hand(m, 0) || hand(m, 0) || m.WinQueued(0) || !m.WinHanded(0) || m.WinHanded(0) {
		t.Fatal("queued, handed, answered: each step once and in this order")
	}
	if m.WinHanded(1) || !m.WinQueued(1) || hand(m, 1) {
		t.Fatal("a refused event was handed to Kafka")
	}
	if m.Queued(0) || m.Queued(1) || !m.Queued(2) {
		t.Fatal("Queued is wrong")
	}
	owner := m.Owner.(*countingOwner)
	if m.Settle(2); m.Answered() || owner.completed.Load() != 0 {
		t.Fatal("two of three events are not all")
	}
	if m.Settle(1); !m.Answered() || owner.completed.Load() != 1 {
		t.Fatal("the owner was not told")
	}
	if m.Drop(3) || !m.Drop(1) {
		t.Fatal("three events and the owner are four references")
	}
	results := &m.Results[0]
	m.Arm(2)
	if m.Events() != 2 || !m.Queued(0) || !m.Queued(1) || m.Answered() || &m.Results[0] != results {
		t.Fatal("an armed message is not fresh, or its memory was not used again")
	}
	ownerless := &Message{}
	ownerless.Arm(1)
	ownerless.Settle(1) // nobody to tell
}

func TestVerdictsBecomeAnswers(t *testing.T) {
	detail := &Detail{Field: "source", Message: "is required"}
	for _, c := range []struct {
		name    string
		verdict Verdict
		millis  uint32
	}{
		{"acknowledged", Verdict{Outcome: Acknowledged, Stage: AtProduce}, 0},
		{"no use in retrying", Verdict{Outcome: Refused, Reason: InvalidEvent, Stage: AtValidate, Detail: detail}, 0},
		{"the reason's advice", Verdict{Outcome: Refused, Reason: BatchRejected, Stage: AtProduce}, 100},
		{"the stage's own advice", Verdict{Outcome: Refused, Reason: RateLimited, RetryAfter: 7 * time.Millisecond}, 7},
		{"rounded up", Verdict{Outcome: Refused, Reason: RateLimited, RetryAfter: time.Millisecond + 1}, 2},
		{"never rounded to nothing", Verdict{Outcome: Refused, Reason: RateLimited, RetryAfter: 1}, 1},
		{"long", Verdict{Outcome: Refused, Reason: RateLimited, RetryAfter: 24 * time.Hour}, 86_400_000},
	} {
		m := newMessage(Batch, nil, 1)
		m.SetVerdict(0, c.verdict)
		r := &m.Results[0]
		if r.Outcome != c.verdict.Outcome || r.Reason != c.verdict.Reason || r.Stage != c.verdict.Stage || r.Detail != c.verdict.Detail ||
			r.RetryAfterMillis != c.millis {
			t.Errorf("%s: the answer is %+v", c.name, r)
		}
	}
}

// A verdict from outside the graph goes without what decode may be writing at
// the same moment; the id of a single event is read from its bytes instead.
func TestBlindVerdicts(t *testing.T) {
	b := encode(t, &eventv1.Event{Id: "order-1", Source: "s", Type: "t"})
	for _, c := range []struct {
		kind Kind
		want string
	}{{Single, "order-1"}, {Batch, "order-1"}} {
		m := newMessage(c.kind, request(b), 1)
		var running sync.WaitGroup
		running.Go(func() {
			d := NewDecoder(unbounded, DeadLetters{}, 0)
			d.Start(m)
			var ev Event
			d.Next(&ev)
		})
		running.Go(func() {
			if m.WinQueued(0) {
				m.SetBlindVerdict(0, Verdict{Outcome: Refused, Reason: NotSent, Stage: AtAdmission})
			}
			if id, assigned := m.EventID(0); string(id) != c.want || assigned {
				t.Errorf("kind %d: the id is %q, assigned %v", c.kind, id, assigned)
			}
		})
		running.Wait()
		if r := &m.Results[0]; r.Reason != NotSent || r.RetryAfterMillis != 1000 {
			t.Fatalf("the answer is %+v", r)
		}
	}
	m := newMessage(Single, request(encode(t, &eventv1.Event{Source: "s"})), 1)
	m.SetBlindVerdict(0, Verdict{Outcome: Refused, Reason: NotSent})
	if id, assigned := m.EventID(0); len(id) != 0 || assigned {
		t.Fatalf("the event without id has %q, assigned %v", id, assigned)
	}
}

func TestEventTime(t *testing.T) {
	received := time.Date(2024, 5, 6, 7, 8, 9, 10, time.FixedZone("here", 3600))
	ev := &Event{Msg: &Message{Received: received}}
	if got := ev.Time(); !got.Equal(received) || got.Location() != time.UTC {
		t.Fatalf("without timestamp the time is %v", got)
	}
	ev.HasTime, ev.Seconds, ev.Nanos = true, -1, 5
	if got, want := ev.Time(), time.Date(1969, 12, 31, 23, 59, 59, 5, time.UTC); !got.Equal(want) || got.Location() != time.UTC {
		t.Fatalf("the time is %v, want %v", got, want)
	}
}

func TestEventReset(t *testing.T) {
	d, ev := NewDecoder(unbounded, DeadLetters{}, 0), &Event{Home: 3, Sink: "record"}
	d.Start(newMessage(Single, request(encode(t, sample())), 1))
	d.Next(ev)
	ev.RefuseFor(AtRateLimit, RateLimited, time.Second)
	kept := ev.Metadata
	ev.Reset()
	if kept[:1][0].Name != nil {
		t.Fatal("a recycled event keeps a dead message's memory")
	}
	if cap(ev.Metadata) != cap(kept) || len(ev.Metadata) != 0 {
		t.Fatal("the small metadata slice was not kept")
	}
	ev.Metadata = nil
	if ev.Home != 3 || ev.Sink != "record" || !ev.Live() || ev.ID.Value != nil || ev.HasTime || ev.Size != 0 {
		t.Fatalf("the recycled event is %+v", ev)
	}
	ev.Metadata = make([]Pair, 0, maxKeptMetadata+1)
	if ev.Reset(); ev.Metadata != nil {
		t.Fatal("a large metadata slice was kept")
	}
}

func TestClientIsHeld(t *testing.T) {
	var c Client
	c.Hold()
	c.Hold()
	c.Unhold()
	if c.Idle() {
		t.Fatal("a client with one stream is idle")
	}
	if c.Unhold(); !c.Idle() {
		t.Fatal("a client without streams is not idle")
	}
}

// The answer of a quiet message notes only what failed; outcomes and ids are known all the same.
func TestQuietMessages(t *testing.T) {
	var events [][]byte
	for i := range 5 {
		events = append(events, encode(t, &eventv1.Event{Id: fmt.Sprint("id-", i), Source: "s", Type: "t"}))
	}
	events[3] = encode(t, &eventv1.Event{Source: "s", Type: "t"}) // the gateway gives it an id
	for _, quiet := range []bool{true, false} {
		m := newMessage(Batch, request(events...), len(events))
		m.WantResults = !quiet
		d := NewDecoder(unbounded, DeadLetters{}, 0)
		d.Start(m)
		for range events {
			var ev Event
			d.Next(&ev)
		}
		for i := range events {
			if hand(m, i); i == 1 {
				m.WinHanded(i)
				m.SetVerdict(i, Verdict{Outcome: Unknown, Reason: OutcomeUnknown, Stage: AtProduce})
			} else if !acknowledge(m, i) || acknowledge(m, i) || m.WinHanded(i) {
				t.Fatal("an acknowledgement was not won, or twice")
			}
		}
		for _, i := range []int{4, 0, 3, 2, 1, 1, 4} {
			id, assigned := m.EventID(i)
			if want := fmt.Sprint("id-", i); i == 3 && (!assigned || id != nil) || i != 3 && (string(id) != want || assigned) {
				t.Errorf("quiet %v: event %d has the id %q, assigned %v", quiet, i, id, assigned)
			}
			want := Acknowledged
			if i == 1 {
				want = Unknown
			}
			if o := m.Outcome(i); o != want {
				t.Errorf("quiet %v: event %d: %v", quiet, i, o)
			}
		}
		if m.Quiet() != quiet || !m.Assigned() {
			t.Errorf("quiet %v, assigned %v", m.Quiet(), m.Assigned())
		}
		m.Reset()
		if m.Arm(len(events)); m.Outcome(0) != Pending || m.Results[1].Reason != NoReason || m.Results[3].Assigned || m.Assigned() {
			t.Error("a used message is not fresh")
		}
	}
}
