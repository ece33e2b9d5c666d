package ledger

// The judge is judged: each test tells it of a run with one thing wrong, and it
// must name that thing, the event and the place, and nothing else.

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// run is a small run without faults; its log can be spoilt before it is judged.
type run struct {
	ledger *Ledger
	log    []Record
	next   map[int32]int64
}

const (
	runProducers = 2
	runEvents    = 40
	runKeys      = 4
)

func partitionOf(key string) int32 { return int32(key[len(key)-1]-'0') % 3 }

func (r *run) store(ev Event) Position {
	at := Position{Partition: partitionOf(ev.Key)}
	at.Offset = r.next[at.Partition]
	r.next[at.Partition]++
	r.log = append(r.log, Record{Position: at, ID: ev.ID, Key: ev.Key, Data: slices.Clone(ev.Data)})
	return at
}

// newRun sends runEvents events on each producer of each method, all of them stored and acknowledged.
func newRun() *run {
	r := &run{ledger: New(7), next: map[int32]int64{}}
	for m := range Methods {
		for _, name := range []string{"a", "b"}[:runProducers] {
			p := r.ledger.Producer(m.String()+"-"+name, m, runKeys, 60)
			for range runEvents {
				ev := p.Next(false)
				p.Acknowledge(ev.Sending, r.store(ev))
			}
		}
	}
	return r
}

func (r *run) producer(name string) *Producer { return r.ledger.byName[name] }

func (r *run) judge(rules Rules) *Verdict {
	if rules.Partition == nil {
		rules.Partition = partitionOf
	}
	j := NewJudge(r.ledger, rules)
	for _, record := range r.log {
		j.Record(record)
	}
	return j.Verdict()
}

func TestFaultless(t *testing.T) {
	v := newRun().judge(Rules{})
	if len(v.Violations) > 0 {
		t.Fatal(v.Violations)
	}
	if sum := v.Sum(); sum.Stored != 3*runProducers*runEvents || sum.Acknowledged != sum.Stored {
		t.Errorf("%+v", sum)
	}
}

// spoil names what a test does to a run and what the judge has to say of it.
type spoil struct {
	name  string
	do    func(r *run) (id string, at Position)
	kind  Kind
	rules Rules
	check func(t *testing.T, tally Tally)
}

func spoils() []spoil {
	victim := func(r *run, n int) (int, Record) { return n, r.log[n] }
	lose := func(pick func(r *run) int) func(r *run) (string, Position) {
		return func(r *run) (string, Position) {
			n, gone := victim(r, pick(r))
			r.log = slices.Delete(r.log, n, n+1)
			return gone.ID, gone.Position
		}
	}
	return []spoil{
		{name: "lost in the middle", kind: Lost, do: lose(func(*run) int { return 50 }), check: func(t *testing.T, tally Tally) {
			if tally.LostMiddle != 1 {
				t.Errorf("not told as a loss in the middle: %+v", tally)
			}
		}},
		{name: "lost at the beginning", kind: Lost, do: lose(func(r *run) int {
			return slices.IndexFunc(r.log, func(x Record) bool { return x.Partition == 1 })
		}), check: func(t *testing.T, tally Tally) {
			if tally.LostPrefix != 1 {
				t.Errorf("not told as a lost beginning: %+v", tally)
			}
		}},
		{name: "lost at the end", kind: Lost, do: lose(func(r *run) int { return len(r.log) - 1 }), check: func(t *testing.T, tally Tally) {
			if tally.LostPostfix != 1 {
				t.Errorf("not told as a lost end: %+v", tally)
			}
		}},
		{name: "doubled", kind: Doubled, do: func(r *run) (string, Position) {
			_, twice := victim(r, 20)
			twice.Offset = r.next[twice.Partition]
			r.log = append(r.log, twice)
			return twice.ID, twice.Position
		}},
		{name: "doubled without a doubt, where doubles are allowed", kind: Doubled, rules: Rules{MayDouble: true},
			do: func(r *run) (string, Position) {
				_, twice := victim(r, 20)
				twice.Offset = r.next[twice.Partition]
				r.log = append(r.log, twice)
				return twice.ID, twice.Position
			}},
		{name: "doubled after a doubt, where doubles are not allowed", kind: Doubled, do: func(r *run) (string, Position) {
			p := r.producer("unary-a")
			ev := p.Next(false)
			r.store(ev)
			p.GiveUp(ev.Sending, "connection")
			ev = p.Again(ev.Seq)
			at := r.store(ev)
			p.Acknowledge(ev.Sending, at)
			return ev.ID, at
		}},
		{name: "altered", kind: Altered, do: func(r *run) (string, Position) {
			n, bad := victim(r, 30)
			r.log[n].Data[25] ^= 4
			return bad.ID, bad.Position
		}},
		{name: "another event's bytes", kind: Altered, do: func(r *run) (string, Position) {
			n, bad := victim(r, 30)
			r.log[n].Data = r.log[n+1].Data
			return bad.ID, bad.Position
		}},
		{name: "another key", kind: Altered, do: func(r *run) (string, Position) {
			n, bad := victim(r, 30)
			r.log[n].Key = "stream-b-key-" + bad.Key[len(bad.Key)-1:]
			if r.log[n].Key == bad.Key {
				r.log[n].Key = "stream-a-key-" + bad.Key[len(bad.Key)-1:]
			}
			return bad.ID, bad.Position
		}},
		{name: "phantom", kind: Phantom, do: func(r *run) (string, Position) {
			at := Position{2, r.next[2]}
			r.log = append(r.log, Record{Position: at, ID: "stream-a|4711", Key: "x", Data: []byte("y")})
			return "stream-a|4711", at
		}},
		{name: "refused and stored", kind: RefusedStored, do: func(r *run) (string, Position) {
			p := r.producer("batch-a")
			ev := p.Next(false)
			at := r.store(ev)
			p.Refuse(ev.Sending, "RATE_LIMITED")
			return ev.ID, at
		}},
		{name: "wrong position", kind: WrongPosition, do: func(r *run) (string, Position) {
			p := r.producer("stream-a")
			ev := p.Next(false)
			at := r.store(ev)
			at.Offset += 100
			p.Acknowledge(ev.Sending, at)
			return ev.ID, at
		}},
		{name: "answered twice", kind: Contradiction, do: func(r *run) (string, Position) {
			p := r.producer("stream-a")
			p.Refuse(Sending{Seq: 3}, "OVERLOADED")
			return p.ID(3), Position{}
		}},
	}
}

func TestEachFaultIsNamed(t *testing.T) {
	for _, s := range spoils() {
		t.Run(s.name, func(t *testing.T) {
			r := newRun()
			id, at := s.do(r)
			v := r.judge(s.rules)
			if len(v.Violations) != 1 {
				t.Fatalf("%d violations: %v", len(v.Violations), v.Violations)
			}
			found := v.Violations[0]
			if found.Kind != s.kind || found.ID != id || found.At != at {
				t.Errorf("named %v; want %s of %s at %v", found, s.kind, id, at)
			}
			if sum := v.Sum(); sum.Kinds[s.kind] != 1 {
				t.Errorf("not counted: %+v", sum)
			} else if s.check != nil {
				s.check(t, sum)
			}
		})
	}
}

// swapped stores two events of one producer and key in the wrong order and acknowledges both truthfully.
func swapped(r *run, name string, between func(p *Producer)) (id string) {
	p := r.producer(name)
	one := p.Next(false)
	between(p)
	two := p.Next(false)
	for two.Key != one.Key { // others in between are stored as they should be
		p.Acknowledge(two.Sending, r.store(two))
		two = p.Next(false)
	}
	second, first := r.store(two), r.store(one)
	p.Acknowledge(one.Sending, first)
	p.Acknowledge(two.Sending, second)
	return two.ID
}

func TestReorderedIsNamed(t *testing.T) {
	for _, name := range []string{"stream-a", "batch-b"} {
		r := newRun()
		id := swapped(r, name, func(*Producer) {})
		v := r.judge(Rules{})
		if len(v.Violations) != 1 || v.Violations[0].Kind != Reordered || v.Violations[0].ID != id {
			t.Errorf("%s: %v, want %s reordered", name, v.Violations, id)
		}
		if v.Methods[r.producer(name).Method].Kinds[Reordered] != 1 {
			t.Errorf("%s: counted under another method", name)
		}
	}
}

// TestNoOrderPromised: calls side by side, and two streams of which the second begins before the first is answered.
func TestNoOrderPromised(t *testing.T) {
	r := newRun()
	swapped(r, "unary-a", func(*Producer) {})
	swapped(r, "stream-a", (*Producer).NewStream)
	if v := r.judge(Rules{}); len(v.Violations) > 0 {
		t.Error(v.Violations)
	}
}

// TestOrderAfterAnswer: what was sent after an answer lies behind it, also over another stream and in unary calls.
func TestOrderAfterAnswer(t *testing.T) {
	for m := range Methods {
		r := newRun()
		p := r.producer(m.String() + "-a")
		one := p.Next(false)
		at := r.store(one)
		late := at
		late.Offset += 5
		p.Acknowledge(one.Sending, late)
		r.log[len(r.log)-1].Position = late
		p.NewStream()
		two := p.Next(false)
		for two.Key != one.Key {
			p.Refuse(two.Sending, "RATE_LIMITED")
			two = p.Next(false)
		}
		before := late
		before.Offset -= 2
		r.log = append(r.log[:len(r.log)-1], Record{Position: before, ID: two.ID, Key: two.Key, Data: two.Data}, r.log[len(r.log)-1])
		p.Acknowledge(two.Sending, before)
		v := r.judge(Rules{})
		if len(v.Violations) != 1 || v.Violations[0].Kind != Reordered || v.Violations[0].ID != two.ID {
			t.Errorf("%v: %v", m, v.Violations)
		}
	}
}

// TestResend: after a refusal and after a doubt the resend has its place; a double after a doubt is allowed when asked for.
func TestResend(t *testing.T) {
	r := newRun()
	p := r.producer("stream-b")
	refused, doubtful, later := p.Next(false), p.Next(false), p.Next(false)
	p.Refuse(refused.Sending, "BATCH_REJECTED")
	r.store(doubtful)
	p.Doubt(doubtful.Sending, "OUTCOME_UNKNOWN")
	p.Acknowledge(later.Sending, r.store(later))
	for _, seq := range []int{refused.Seq, doubtful.Seq} {
		again := p.Again(seq)
		p.Acknowledge(again.Sending, r.store(again))
	}
	v := r.judge(Rules{MayDouble: true})
	if len(v.Violations) > 0 {
		t.Fatal(v.Violations)
	}
	if tally := v.Methods[Stream]; tally.TwiceStored != 1 || tally.Resent != 2 || tally.Unknown != 1 || tally.Refused != 1 {
		t.Errorf("%+v", tally)
	}
}

// TestGrownPartitions: a key may move when the partition count changes, and only then.
func TestGrownPartitions(t *testing.T) {
	r := newRun()
	p := r.producer("stream-a")
	ev := p.Next(false)
	at := Position{9, 0}
	r.log = append(r.log, Record{Position: at, ID: ev.ID, Key: ev.Key, Data: ev.Data})
	p.Acknowledge(ev.Sending, at)
	j := r.judge(Rules{})
	if kinds := j.Sum().Kinds; kinds[Reordered] != 1 || kinds[Altered] != 1 {
		t.Errorf("a moved key: %v", j.Violations)
	}
	grown := NewJudge(r.ledger, Rules{PartitionsGrow: true})
	for _, record := range r.log {
		grown.Record(record)
	}
	if v := grown.Verdict(); len(v.Violations) > 0 {
		t.Errorf("after the count changed: %v", v.Violations)
	}
}

// TestRecreated: what went with the old topic is not missed, what is in the new one is; offsets begin anew.
func TestRecreated(t *testing.T) {
	r := newRun()
	r.log = nil
	rules := Rules{GoneBefore: r.ledger.NewEra(), Methods: []Method{Stream}}
	if v := r.judge(rules); len(v.Violations) > 0 {
		t.Error(v.Violations)
	}
	clear(r.next)
	p := r.producer("unary-a")
	again := p.Again(3)
	p.Acknowledge(again.Sending, r.store(again))
	if v := r.judge(rules); len(v.Violations) > 0 {
		t.Error(v.Violations)
	}
	ev := p.Next(false)
	p.Acknowledge(ev.Sending, Position{partitionOf(ev.Key), 1000})
	if v := r.judge(rules); len(v.Violations) != 1 || v.Violations[0].Kind != Lost {
		t.Error(v.Violations)
	}
}

// TestExpired: what lies before a partition's start is not missed; one hole behind it is, and so is a start that
// nobody announced.
func TestExpired(t *testing.T) {
	r := newRun()
	const start = 10
	r.log = slices.DeleteFunc(r.log, func(rec Record) bool { return rec.Partition == 1 && rec.Offset < start })
	if v := r.judge(Rules{Starts: map[int32]int64{1: start}}); len(v.Violations) > 0 || v.Sum().Expired != start {
		t.Errorf("%d expired: %v", v.Sum().Expired, v.Violations)
	}
	if v := r.judge(Rules{}); v.Sum().Kinds[Lost] != start || v.Sum().LostPrefix != start {
		t.Errorf("without a start: %+v", v.Sum())
	}
	r.log = slices.DeleteFunc(r.log, func(rec Record) bool { return rec.Partition == 1 && rec.Offset == start+3 })
	if v := r.judge(Rules{Starts: map[int32]int64{1: start}}); len(v.Violations) != 1 || v.Violations[0].Kind != Lost ||
		v.Violations[0].At != (Position{1, start + 3}) {
		t.Errorf("a hole behind the start: %v", v.Violations)
	}
}

func TestVacuousIsNamed(t *testing.T) {
	empty := NewJudge(New(1), Rules{}).Verdict()
	for m := range Methods {
		if empty.Methods[m].Kinds[Vacuous] == 0 {
			t.Errorf("nothing was sent by %v, and the judge is content", m)
		}
	}
	for _, rules := range []Rules{{LeastDoubt: 1}, {Least: Counts{Refused: 1}}, {Least: Counts{Acknowledged: 1e6}}} {
		if v := newRun().judge(rules); v.Sum().Kinds[Vacuous] == 0 {
			t.Errorf("%+v holds of a run without faults", rules)
		}
	}
	if v := newRun().judge(Rules{}); v.Sum().Kinds[Vacuous] != 0 {
		t.Error(v.Violations)
	}
}

func TestPayloadFollowsFromID(t *testing.T) {
	a, b := Payload(1, "x|1", 200), Payload(1, "x|1", 200)
	if !slices.Equal(a, b) || slices.Equal(a, Payload(1, "x|2", 200)) || slices.Equal(a, Payload(2, "x|1", 200)) || !intact("x|1", a) || intact("x|2", a) {
		t.Error("a payload does not tell whose it is")
	}
	for _, size := range []int{0, minPayload, 13, 4000} {
		if data := Payload(1, "x|1", size); !intact("x|1", data) || len(data) != max(size, minPayload) {
			t.Errorf("size %d", size)
		}
	}
}

func TestWithoutService(t *testing.T) {
	l := New(1)
	now := time.Unix(100, 0)
	l.clock = func() time.Time { return now }
	p := l.Producer("p", Unary, 1, 20)
	for _, ms := range []int{0, 40, 100, 900, 950} {
		now = time.Unix(100, int64(ms)*1e6)
		p.Acknowledge(p.Next(false).Sending, Position{})
	}
	if gap := l.WithoutService(time.Unix(100, 0), time.Unix(101, 0)); gap < 700*time.Millisecond || gap > 800*time.Millisecond {
		t.Errorf("%v without service, it was 0.8 s", gap)
	}
	if gap := l.WithoutService(time.Unix(90, 0), time.Unix(101, 0)); gap < 9*time.Second {
		t.Errorf("%v without service before the first answer", gap)
	}
}

func TestViolationSaysWhere(t *testing.T) {
	v := Violation{Property: "P1", Kind: Lost, Method: Stream, ID: "s|1", At: Position{2, 17}, Text: "gone"}
	for _, part := range []string{"P1", "lost", "stream", "s|1", "2/17", "gone"} {
		if !strings.Contains(v.String(), part) {
			t.Errorf("%q does not say %s", v, part)
		}
	}
}
