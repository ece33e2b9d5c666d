package ledger

// The judge of subscribers is judged: what one received is spoilt in one way,
// and that way, the event and the place must be named.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// partitionsOfRun are those of partitionOf.
const partitionsOfRun = 3

// delivered is what a subscriber gets of the run, in an order that only keeps that of each partition.
func (r *run) delivered(from map[int32]int64) (records []Record) {
	for offset := int64(0); ; offset++ {
		found := false
		for _, record := range r.log {
			if record.Offset != offset {
				continue
			}
			found = true
			if offset >= from[record.Partition] {
				records = append(records, record)
			}
		}
		if !found {
			return records
		}
	}
}

func receive(to *Received, records ...Record) {
	for _, r := range records {
		to.Add(r.ID, r.Key, r.Data)
	}
}

func (r *run) judgeReceived(rules Rules, subscribers ...*Received) (*Judge, *Verdict) {
	if rules.Partition == nil {
		rules.Partition = partitionOf
	}
	j := NewJudge(r.ledger, rules)
	for _, record := range r.log {
		j.Record(record)
	}
	v := j.Verdict()
	for _, s := range subscribers {
		j.Received(s)
	}
	return j, v
}

// found is the only violation, of a kind.
func found(t *testing.T, v *Verdict, kind Kind, record Record, text string) {
	t.Helper()
	if len(v.Violations) != 1 {
		t.Fatalf("%d violations: %v", len(v.Violations), v.Violations)
	}
	if is := v.Violations[0]; is.Property != "P8" || is.Kind != kind || is.ID != record.ID || !strings.Contains(is.Text, text) ||
		is.At.Partition != record.Partition || is.At.Offset >= 0 && is.At.Offset != record.Offset {
		t.Errorf("%v, want %s of %s at %v", is, kind, record.ID, record.Position)
	}
}

func everywhere(offset int64) map[int32]int64 {
	at := map[int32]int64{}
	for p := range int32(partitionsOfRun) {
		at[p] = offset
	}
	return at
}

func TestReceivedFaultless(t *testing.T) {
	r := newRun()
	all := r.ledger.Subscriber("all", partitionOf)
	all.Begin(Opening{})
	receive(all, r.delivered(nil)...)
	resumed := r.ledger.Subscriber("resumed", partitionOf)
	for _, part := range slices.Collect(slices.Chunk(r.delivered(nil), 50)) {
		resumed.Begin(Opening{Resumes: resumed.Total() > 0})
		receive(resumed, part...)
	}
	some := r.ledger.Subscriber("some", partitionOf)
	some.Wants = func(_ *Producer, seq int) bool { return seq%3 == 0 }
	some.Begin(Opening{From: everywhere(10), To: everywhere(20)})
	for _, record := range r.delivered(everywhere(15)) {
		if _, seq, _ := r.ledger.find(record.ID); seq%3 == 0 {
			receive(some, record)
		}
	}
	behind := r.ledger.Subscriber("behind", partitionOf)
	behind.Begin(Opening{Passed: map[int32]int{0: 7, 1: 7, 2: 7}})
	receive(behind, r.delivered(everywhere(7))...)
	j, v := r.judgeReceived(Rules{}, all, resumed, some, behind)
	if len(v.Violations) > 0 {
		t.Error(v.Violations)
	}
	for _, s := range []*Received{all, resumed, some, behind} {
		if !j.Arrived(s) || s.Total() == 0 {
			t.Errorf("%s has %d events and has not arrived", s.Name, s.Total())
		}
	}
}

func TestReceivedSpoilt(t *testing.T) {
	type spoilt struct {
		name string
		do   func(records []Record) (spoilt []Record, named Record)
		kind Kind
		text string
	}
	last := func(records []Record) int { return len(records) - 1 }
	for _, s := range []spoilt{
		{"skipped", func(all []Record) ([]Record, Record) { return slices.Delete(slices.Clone(all), 50, 51), all[50] }, Skipped, "did not come"},
		{"the first one skipped", func(all []Record) ([]Record, Record) { return all[1:], all[0] }, Skipped, "did not come"},
		{"the last one skipped", func(all []Record) ([]Record, Record) { return all[:last(all)], all[last(all)] }, Skipped, "never came"},
		{"twice", func(all []Record) ([]Record, Record) { return slices.Insert(slices.Clone(all), 60, all[50]), all[50] }, Repeated, "had come"},
		{"altered", func(all []Record) ([]Record, Record) {
			other := slices.Clone(all)
			other = append(other, all[50])
			other[last(other)].Data = []byte("not what was sent")
			return other, all[50]
		}, Phantom, "other bytes"},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := newRun()
			who := r.ledger.Subscriber("victim", partitionOf)
			who.Begin(Opening{})
			records, named := s.do(r.delivered(nil))
			receive(who, records...)
			_, v := r.judgeReceived(Rules{}, who)
			found(t, v, s.kind, named, s.text)
		})
	}
}

// TestReceivedSwapped: two events of a partition in the wrong order are one that was skipped and one that came too late.
func TestReceivedSwapped(t *testing.T) {
	r := newRun()
	who := r.ledger.Subscriber("victim", partitionOf)
	who.Begin(Opening{})
	all := r.delivered(nil)
	other := slices.IndexFunc(all, func(x Record) bool { return x.Partition == all[10].Partition && x.Offset == all[10].Offset+1 })
	all[10], all[other] = all[other], all[10]
	receive(who, all...)
	_, v := r.judgeReceived(Rules{}, who)
	if kinds := v.Sum().Kinds; kinds[Skipped] != 1 || kinds[Repeated] != 1 || len(v.Violations) != 2 {
		t.Error(v.Violations)
	}
}

func TestReceivedWrongStart(t *testing.T) {
	for name, c := range map[string]struct {
		opening Opening
		from    int64
		kind    Kind
	}{
		"too late":                   {Opening{From: everywhere(5), To: everywhere(9)}, 10, Skipped},
		"too early":                  {Opening{From: everywhere(5), To: everywhere(9)}, 4, Repeated},
		"behind a cursor, too early": {Opening{Passed: map[int32]int{0: 8, 1: 8, 2: 8}}, 7, Repeated},
		"behind a cursor, too late":  {Opening{Passed: map[int32]int{0: 8, 1: 8, 2: 8}}, 9, Skipped},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun()
			who := r.ledger.Subscriber("victim", partitionOf)
			who.Begin(c.opening)
			receive(who, r.delivered(everywhere(c.from))...)
			_, v := r.judgeReceived(Rules{}, who)
			if n := v.Sum().Kinds[c.kind]; n != partitionsOfRun || len(v.Violations) != n {
				t.Error(v.Violations)
			}
		})
	}
}

// TestReceivedHeartbeatFirst: a subscriber from the end on gets a cursor before any event, and resumes with it: its start is
// as little known as before, and nothing behind it may be left out.
func TestReceivedHeartbeatFirst(t *testing.T) {
	for from, right := range map[int64]bool{5: true, 9: true, 10: false} {
		r := newRun()
		who := r.ledger.Subscriber("who", partitionOf)
		who.Begin(Opening{From: everywhere(5), To: everywhere(9)})
		who.Begin(Opening{Resumes: true})
		receive(who, r.delivered(everywhere(from))...)
		if _, v := r.judgeReceived(Rules{}, who); right != (len(v.Violations) == 0) {
			t.Errorf("from %d: %v", from, v.Violations)
		}
	}
}

// TestReceivedGap: what retention took may be left out when the subscriber was told so, and no more than that.
func TestReceivedGap(t *testing.T) {
	for _, told := range []bool{true, false} {
		for _, from := range []int64{15, 16} {
			t.Run(fmt.Sprintf("told %t, goes on at %d", told, from), func(t *testing.T) {
				r := newRun()
				who := r.ledger.Subscriber("who", partitionOf)
				who.Begin(Opening{})
				receive(who, slices.DeleteFunc(r.delivered(nil), func(x Record) bool { return x.Offset >= 10 })...)
				opening := Opening{Resumes: true}
				if told {
					opening.To = everywhere(15)
				}
				who.Begin(opening)
				receive(who, r.delivered(everywhere(from))...)
				r.log = slices.DeleteFunc(r.log, func(x Record) bool { return x.Offset < 15 })
				_, v := r.judgeReceived(Rules{Starts: everywhere(15)}, who)
				if right := told && from == 15; right != (len(v.Violations) == 0) || !right && v.Sum().Kinds[Skipped] != partitionsOfRun {
					t.Error(v.Violations)
				}
			})
		}
	}
}

func TestReceivedTimes(t *testing.T) {
	r := newRun()
	for i := range r.log {
		r.log[i].Millis = 1000 + r.log[i].Offset
	}
	since := r.ledger.Subscriber("since", partitionOf)
	since.Begin(Opening{Since: 1012})
	receive(since, r.delivered(everywhere(12))...)
	replay := r.ledger.Subscriber("replay", partitionOf)
	replay.From, replay.Until = 1003, 1008
	replay.Begin(Opening{})
	receive(replay, slices.DeleteFunc(r.delivered(everywhere(3)), func(x Record) bool { return x.Offset >= 8 })...)
	if _, v := r.judgeReceived(Rules{}, since, replay); len(v.Violations) > 0 {
		t.Error(v.Violations)
	}
	replay.From = 1002
	if _, v := r.judgeReceived(Rules{}, replay); v.Sum().Kinds[Skipped] != partitionsOfRun {
		t.Error(v.Violations)
	}
}

func TestShared(t *testing.T) {
	r := newRun()
	members := []*Received{r.ledger.Subscriber("one", partitionOf), r.ledger.Subscriber("two", partitionOf)}
	for _, m := range members {
		m.Begin(Opening{})
	}
	missing := r.delivered(nil)[70]
	for i, record := range r.delivered(nil) {
		if i == 70 {
			continue
		}
		receive(members[int(record.Partition)%2], record)
		if i%40 == 0 { // the next member of the partition gets it again
			receive(members[1-int(record.Partition)%2], record)
		}
	}
	j, v := r.judgeReceived(Rules{})
	twice := j.Shared(Opening{}, members...)
	if want := (len(r.log) + 39) / 40; twice != want {
		t.Errorf("%d came twice, want %d", twice, want)
	}
	found(t, v, Skipped, missing, "no member")
	if j.SharedArrived(Opening{}, members...) {
		t.Error("the group has arrived, and one event is missing")
	}
	early := r.delivered(nil)[3]
	receive(members[int(early.Partition)%2], early)
	j, v = r.judgeReceived(Rules{})
	j.Shared(Opening{}, members...)
	if n := v.Sum().Kinds; n[Repeated] != 1 {
		t.Errorf("one came behind later ones of its partition: %v", maps.Clone(n))
	}
}
