package ledger

// The judge: fed with every record that Kafka holds, partition by partition in
// the order of offsets, it says what is wrong and names the event and the place.

import (
	"bytes"
	"fmt"
	"slices"
)

// Rules are what a scenario allows.
type Rules struct {
	// MayDouble: events whose first sending ended unknown and that were sent again may be stored twice. Without
	// it, nothing may be stored twice.
	MayDouble bool
	// PartitionsGrow: the topic's partition count changed during the run; a key's events before and after may lie
	// in different partitions, and order holds within each.
	PartitionsGrow bool
	// Partition says where a key belongs; nil = not judged.
	Partition func(key string) int32
	// GoneBefore: what was acknowledged in an earlier era went with the old topic, on purpose. It is not missed.
	GoneBefore uint8
	// Starts are the first offsets that retention has left of each partition: what was acknowledged before them
	// has expired, on purpose. It is not missed; what lies behind them must be there.
	Starts map[int32]int64
	// Least is what must have happened in each method for the run to show anything.
	Least Counts
	// LeastDoubt is how many sendings of all methods must have ended unknown or without an answer.
	LeastDoubt int
	// Methods that are judged for Least; nil = all three.
	Methods []Method
}

// Record is what Kafka holds at a place.
type Record struct {
	Position
	ID   string
	Key  string
	Data []byte
	// Millis is Kafka's time of the record, in Unix milliseconds.
	Millis int64
}

// Kind is a kind of violation.
type Kind string

// The kinds.
const (
	Lost          Kind = "lost"
	Phantom       Kind = "phantom"
	Altered       Kind = "altered"
	RefusedStored Kind = "refused but stored"
	Reordered     Kind = "reordered"
	WrongPosition Kind = "wrong position"
	Doubled       Kind = "doubled"
	Contradiction Kind = "contradiction"
	Vacuous       Kind = "vacuous"
)

// Violation is one finding.
type Violation struct {
	Property string
	Kind     Kind
	Method   Method
	ID       string
	At       Position
	Text     string
}

func (v Violation) String() string {
	return fmt.Sprintf("%s %s: %s %s at %v: %s", v.Property, v.Kind, v.Method, v.ID, v.At, v.Text)
}

// Tally is a method's share of a verdict.
type Tally struct {
	Counts
	Stored int // records of the method's events
	Kinds  map[Kind]int
	// TwiceStored counts events stored more than once, allowed or not.
	TwiceStored int
	// Expired counts acknowledgements of what retention has taken since.
	Expired int
	// Losses by where they lie between the acknowledged records of their partition that are there.
	LostPrefix, LostMiddle, LostPostfix int
}

// Verdict is what the judge says.
type Verdict struct {
	Methods [Methods]Tally
	// Violations are the first of each kind; the tallies count all.
	Violations []Violation
	kept       map[Kind]int
}

// Sum adds the methods up.
func (v *Verdict) Sum() Tally {
	sum := Tally{Kinds: map[Kind]int{}}
	for _, t := range v.Methods {
		sum.Sent += t.Sent
		sum.Acknowledged += t.Acknowledged
		sum.Refused += t.Refused
		sum.Unknown += t.Unknown
		sum.NoAnswer += t.NoAnswer
		sum.Resent += t.Resent
		sum.Stored += t.Stored
		sum.TwiceStored += t.TwiceStored
		sum.Expired += t.Expired
		sum.LostPrefix += t.LostPrefix
		sum.LostMiddle += t.LostMiddle
		sum.LostPostfix += t.LostPostfix
		for kind, n := range t.Kinds {
			sum.Kinds[kind] += n
		}
	}
	return sum
}

// maxKept bounds the violations of one kind that are kept word for word.
const maxKept = 20

// Add adds a finding.
func (v *Verdict) Add(found Violation) {
	if v.kept == nil {
		v.kept = map[Kind]int{}
	}
	t := &v.Methods[found.Method]
	if t.Kinds == nil {
		t.Kinds = map[Kind]int{}
	}
	t.Kinds[found.Kind]++
	if v.kept[found.Kind]++; v.kept[found.Kind] <= maxKept {
		v.Violations = append(v.Violations, found)
	}
}

// Judge holds a ledger against the records of a topic. Use it when nobody sends any more.
type Judge struct {
	ledger  *Ledger
	rules   Rules
	verdict Verdict
	// stored has the first place of each event, by producer and number; others are in again.
	stored map[*Producer][]Position
	again  map[*Producer]map[int][]Position
	last   map[int32]int64
	// log has the events of each partition, past what was there before, too; made when a subscriber is judged.
	log, past map[int32][]stored
}

var nowhere = Position{Partition: -1, Offset: -1}

// NewJudge returns a judge that has seen no record.
func NewJudge(l *Ledger, rules Rules) *Judge {
	j := &Judge{ledger: l, rules: rules, stored: map[*Producer][]Position{}, again: map[*Producer]map[int][]Position{},
		last: map[int32]int64{}, log: map[int32][]stored{}}
	for _, p := range l.Producers() {
		places := make([]Position, len(p.events))
		for i := range places {
			places[i] = nowhere
		}
		j.stored[p], j.again[p] = places, map[int][]Position{}
	}
	return j
}

// Record judges one record by itself and notes where it is.
func (j *Judge) Record(r Record) {
	if last, ok := j.last[r.Partition]; ok && r.Offset <= last {
		j.verdict.Add(Violation{Property: "P5", Kind: WrongPosition, ID: r.ID, At: r.Position,
			Text: fmt.Sprintf("Kafka gave this offset after offset %d of the same partition", last)})
	}
	j.last[r.Partition] = r.Offset
	p, seq, ok := j.ledger.find(r.ID)
	if !ok {
		j.verdict.Add(Violation{Property: "P2", Kind: Phantom, ID: r.ID, At: r.Position, Text: "it was never sent"})
		return
	}
	j.log[r.Partition] = append(j.log[r.Partition], stored{r.Offset, placeOf(p, seq), r.Millis})
	e := &p.events[seq]
	if j.stored[p][seq] == nowhere {
		j.stored[p][seq] = r.Position
	} else {
		j.again[p][seq] = append(j.again[p][seq], r.Position)
	}
	altered := ""
	switch want := Payload(j.ledger.Seed, r.ID, int(e.size)); {
	case r.Key != p.keyName(e.key):
		altered = fmt.Sprintf("its key is %q, it was sent with %q", r.Key, p.keyName(e.key))
	case !bytes.Equal(r.Data, want):
		altered = fmt.Sprintf("its %d bytes are not the %d that were sent (checksum of its own right: %t)",
			len(r.Data), len(want), intact(r.ID, r.Data))
	case j.rules.Partition != nil && j.rules.Partition(r.Key) != r.Partition:
		altered = fmt.Sprintf("its key %q belongs into partition %d", r.Key, j.rules.Partition(r.Key))
	}
	if altered != "" {
		j.verdict.Add(Violation{Property: "P2", Kind: Altered, Method: p.Method, ID: r.ID, At: r.Position, Text: altered})
	}
}

// Verdict judges the whole, once every record has been shown.
func (j *Judge) Verdict() *Verdict {
	v := &j.verdict
	for _, p := range j.ledger.Producers() {
		t, c := &v.Methods[p.Method], p.Count()
		t.Sent += c.Sent
		t.Acknowledged += c.Acknowledged
		t.Refused += c.Refused
		t.Unknown += c.Unknown
		t.NoAnswer += c.NoAnswer
		t.Resent += c.Resent
	}
	missing := map[int32][]lostEvent{}
	for _, p := range j.ledger.Producers() {
		for seq := range p.events {
			j.event(p, seq, missing)
		}
		j.order(p)
	}
	j.placeLosses(missing)
	for _, found := range j.ledger.complaint {
		v.Add(found)
	}
	j.vacuous()
	return v
}

// event judges what became of one id.
func (j *Judge) event(p *Producer, seq int, missing map[int32][]lostEvent) {
	e, v := &p.events[seq], &j.verdict
	var places []Position
	if first := j.stored[p][seq]; first != nowhere {
		places = append(append(places, first), j.again[p][seq]...)
	}
	v.Methods[p.Method].Stored += len(places)
	if len(places) > 1 {
		v.Methods[p.Method].TwiceStored++
	}
	add := func(property string, kind Kind, at Position, text string, args ...any) {
		v.Add(Violation{Property: property, Kind: kind, Method: p.Method, ID: p.ID(seq), At: at, Text: fmt.Sprintf(text, args...)})
	}
	var acks []Position
	doubts, refusals := 0, 0
	e.each(func(s *sending) {
		switch at := (Position{s.partition, s.offset}); s.outcome {
		case Acknowledged:
			if s.era < j.rules.GoneBefore {
				return
			}
			if at.Offset < j.rules.Starts[at.Partition] && !slices.Contains(places, at) {
				v.Methods[p.Method].Expired++
				return
			}
			if slices.Contains(acks, at) {
				add("P5", WrongPosition, at, "two sendings of it were acknowledged with this one position")
			}
			acks = append(acks, at)
			if e.bad {
				add("P3", Contradiction, at, "it has no source and was acknowledged")
			}
			switch {
			case len(places) == 0:
				add("P1", Lost, at, "it was acknowledged and Kafka does not have it")
				missing[at.Partition] = append(missing[at.Partition], lostEvent{p.Method, at.Offset})
			case !slices.Contains(places, at):
				add("P5", WrongPosition, at, "it was acknowledged with this position and is at %v", places)
			}
		case Refused:
			refusals++
		default:
			doubts++
		}
	})
	switch {
	case len(places) > len(acks)+doubts && refusals > 0:
		add("P3", RefusedStored, places[0], "it is stored at %v, after %d acknowledgements, %d doubts and %d refusals: a refused sending is in Kafka",
			places, len(acks), doubts, refusals)
	case len(places) > len(acks)+doubts:
		add("P6", Doubled, places[len(places)-1], "it is stored at %v, after %d acknowledgements and %d doubts", places, len(acks), doubts)
	case len(places) > 1 && !j.rules.MayDouble:
		add("P6", Doubled, places[len(places)-1], "it is stored at %v, and nothing in this scenario allows that", places)
	}
}

// lostEvent is an acknowledged position without its event.
type lostEvent struct {
	method Method
	offset int64
}

// placeLosses says whether losses lie before, among or behind the acknowledged events that are there: a lost
// beginning is retention or truncation, a lost end an acknowledgement that came too early, a hole corruption.
func (j *Judge) placeLosses(missing map[int32][]lostEvent) {
	if len(missing) == 0 {
		return
	}
	first, last := map[int32]int64{}, map[int32]int64{}
	note := func(at Position) {
		if at == nowhere {
			return
		}
		if _, ok := first[at.Partition]; !ok || at.Offset < first[at.Partition] {
			first[at.Partition] = at.Offset
		}
		last[at.Partition] = max(last[at.Partition], at.Offset)
	}
	for p, places := range j.stored {
		for seq := range places {
			p.events[seq].each(func(s *sending) {
				if s.outcome == Acknowledged {
					note(places[seq])
				}
			})
		}
	}
	for partition, events := range missing {
		for _, lost := range events {
			t := &j.verdict.Methods[lost.method]
			low, any := first[partition]
			switch {
			case !any, lost.offset > last[partition]:
				t.LostPostfix++
			case lost.offset < low:
				t.LostPrefix++
			default:
				t.LostMiddle++
			}
		}
	}
}

// vacuous finds runs that show nothing.
func (j *Judge) vacuous() {
	v, least := &j.verdict, j.rules.Least
	methods := j.rules.Methods
	if methods == nil {
		methods = []Method{Unary, Stream, Batch}
	}
	doubt := 0
	for _, t := range v.Methods {
		doubt += t.Unknown + t.NoAnswer
	}
	for _, m := range methods {
		t := v.Methods[m]
		for _, is := range []struct {
			name      string
			n, atLast int
		}{
			{"sent", t.Sent, max(least.Sent, 1)}, {"acknowledged", t.Acknowledged, max(least.Acknowledged, 1)},
			{"refused", t.Refused, least.Refused}, {"answered unknown", t.Unknown, least.Unknown},
			{"without an answer", t.NoAnswer, least.NoAnswer}, {"sent again", t.Resent, least.Resent},
		} {
			if is.n < is.atLast {
				v.Add(Violation{Property: "P11", Kind: Vacuous, Method: m, At: nowhere,
					Text: fmt.Sprintf("%d %s, at least %d show something", is.n, is.name, is.atLast)})
			}
		}
	}
	if doubt < j.rules.LeastDoubt {
		v.Add(Violation{Property: "P11", Kind: Vacuous, At: nowhere,
			Text: fmt.Sprintf("%d outcomes in doubt, at least %d show something", doubt, j.rules.LeastDoubt)})
	}
}
