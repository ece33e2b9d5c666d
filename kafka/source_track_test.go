package kafka

import (
	"slices"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/stages"
)

// numbered is a record by its number among all that were added: after a truncation, offsets are used again.
func numbered(n int, offset int64, key string) stages.Record {
	return stages.Record{Key: []byte(key), Value: []byte(strconv.Itoa(n)), Offset: offset, Headers: []stages.Attribute{{Name: "ce_specversion", Value: []byte("1.0")}}}
}

func numberOf(r *stages.Record) int {
	n, _ := strconv.Atoi(string(r.Value))
	return n
}

// TestTracker: whatever comes in, is sent, fails and is sent again, the offset that may be committed never passes a
// record without an outcome, and in the end it is behind the last one. What is sent again keeps the order of each key:
// after it, the newest record of a key is the last that was stored. The partition may be cut back and written to anew by
// another leader at any time: what may be committed is about the log as it is now, and what was cut off is still sent.
func TestTracker(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		track := newTracker()
		type sending struct {
			position int64
			records  []stages.Record
			letter   bool
			turn     int // when it was sent
		}
		// round has what was stored of what is in flight together: Kafka stores it in the order sent, however the
		// answers come.
		type storing struct {
			turn int
			r    stages.Record
		}
		var round []storing
		turn := 0
		var flights []sending
		offset := int64(rapid.IntRange(0, 5).Draw(rt, "start"))
		first := offset
		var outcome []bool         // whether each record has a final outcome
		var came []stages.Record   // what is in Kafka's log
		stored := map[string]int{} // the number of the last stored record of each key
		newest := map[string]int{} // and of the newest
		epoch := int32(1)
		var marked kgo.EpochOffset
		land := func() {}
		check := func() {
			land()
			done, doneEpoch, moved := track.advance()
			for i := range came {
				if came[i].Offset < done && !outcome[numberOf(&came[i])] {
					rt.Fatalf("%d may be committed, but %d has no outcome", done, came[i].Offset)
				}
			}
			if done > offset+1 {
				rt.Fatalf("%d may be committed; the log ends with %d", done, offset)
			}
			mark := kgo.EpochOffset{Epoch: doneEpoch, Offset: done}
			if moved && !marked.Less(mark) {
				rt.Fatalf("%v is marked after %v: franz-go keeps the old mark", mark, marked)
			} else if moved {
				marked = mark
			}
			if done < first && done != -1 {
				rt.Fatalf("%d may be committed; the first record was %d", done, first)
			}
		}
		settle := func(i int, final bool) {
			f := flights[i]
			flights = append(flights[:i], flights[i+1:]...)
			for j, r := range f.records {
				position := f.position + int64(j)
				how := rapid.IntRange(0, 9).Draw(rt, "how")
				number := numberOf(&r)
				if was := numberOf(&track.at(position).record); number != was {
					rt.Fatalf("position %d is record %d, was sent as %d", position, was, number)
				}
				switch {
				case f.letter && (final || how < 6):
					track.set(position, handled)
					outcome[number] = true
				case final || how < 6 || how > 7 && outcome[number]: // what was taken once is not refused later
					track.set(position, written)
					outcome[number] = true
					round = append(round, storing{f.turn, r})
					newest[string(r.Key)] = max(newest[string(r.Key)], number)
				case how < 8:
					track.set(position, failed)
				case f.letter:
					track.set(position, handled)
					outcome[number] = true
				default:
					track.bury(position, &stages.Verdict{Outcome: stages.Refused})
				}
			}
		}
		land = func() {
			if len(flights) > 0 {
				return
			}
			slices.SortStableFunc(round, func(a, b storing) int { return a.turn - b.turn })
			for _, s := range round {
				stored[string(s.r.Key)] = numberOf(&s.r)
			}
			round = nil
		}
		take := func() bool {
			position, records, refusal := track.take(rapid.IntRange(1, 5).Draw(rt, "most"), 1<<20)
			if records == nil {
				return false
			}
			if refusal != nil && len(records) != 1 {
				rt.Fatalf("%d records share one refusal", len(records))
			}
			turn++
			flights = append(flights, sending{position, records, refusal != nil, turn})
			return true
		}
		add := func() {
			key := "k" + strconv.Itoa(rapid.IntRange(0, 2).Draw(rt, "key"))
			r := numbered(len(outcome), offset, key)
			if !track.add(r, epoch) || track.truncate(offset, epoch) || track.add(r, epoch) {
				rt.Fatalf("offset %d is to be taken once", offset)
			}
			came, outcome = append(came, r), append(outcome, false)
		}
		truncate := func() {
			offset = rapid.Int64Range(first+1, offset).Draw(rt, "cut")
			epoch++
			if !track.truncate(offset, epoch) {
				rt.Fatalf("offset %d by leader %d is another record", offset, epoch)
			}
			came = slices.DeleteFunc(came, func(r stages.Record) bool { return r.Offset >= offset })
			add()
		}
		steps := rapid.IntRange(1, 60).Draw(rt, "steps")
		for range steps {
			switch rapid.IntRange(0, 4).Draw(rt, "step") {
			case 0:
				offset += int64(rapid.IntRange(1, 3).Draw(rt, "gap"))
				add()
			case 1:
				if track.failures == 0 { // as the feeder does
					take()
				}
			case 2:
				if len(flights) > 0 {
					settle(rapid.IntRange(0, len(flights)-1).Draw(rt, "which"), false)
				}
			case 3:
				if len(flights) == 0 && track.failures > 0 {
					track.rewind()
				}
			case 4:
				if len(came) > 0 && rapid.IntRange(0, 3).Draw(rt, "whether") == 0 {
					truncate()
				}
			}
			check()
		}
		for len(flights) > 0 {
			settle(0, true)
			check()
		}
		for track.rewind(); take(); check() {
			for len(flights) > 0 {
				settle(0, true)
			}
		}
		check()
		if done, _, _ := track.advance(); len(came) > 0 && done != came[len(came)-1].Offset+1 || track.bytes != 0 || len(track.items) != 0 {
			rt.Fatalf("%d may be committed in the end, of %v; %d bytes, %d records left", done, came, track.bytes, len(track.items))
		}
		for number := range outcome {
			if !outcome[number] {
				rt.Fatalf("record %d has no outcome in the end", number)
			}
		}
		for key, o := range newest {
			if stored[key] != o {
				rt.Fatalf("the last record of %s that was stored is %d, and not the newest, %d", key, stored[key], o)
			}
		}
	})
}

// TestRewindKeepsTheOrderOfKeys: a record that was stored before an earlier one of its key is stored once more behind it.
func TestRewindKeepsTheOrderOfKeys(t *testing.T) {
	track := newTracker()
	cloud := []stages.Attribute{{Name: "ce_specversion", Value: []byte("1.0")}}
	for i, key := range []string{"a", "b", "a", "", "b"} {
		track.add(stages.Record{Key: []byte(key), Offset: int64(i), Headers: cloud}, 1)
	}
	position, records, _ := track.take(10, 1<<20)
	if position != 0 || len(records) != 5 {
		t.Fatalf("%d records from %d", len(records), position)
	}
	for i, state := range []trackedState{failed, written, written, written, failed} {
		track.set(int64(i), state)
	}
	if done, _, moved := track.advance(); moved {
		t.Fatalf("%d may be committed", done)
	}
	if n := track.rewind(); n != 3 {
		t.Fatalf("%d records are sent again", n)
	}
	var again []int64
	for {
		_, records, _ := track.take(10, 1<<20)
		if records == nil {
			break
		}
		for _, r := range records {
			again = append(again, r.Offset)
		}
	}
	if len(again) != 3 || again[0] != 0 || again[1] != 2 || again[2] != 4 {
		t.Errorf("sent again: %v", again)
	}
}

// A record that was in a rejected batch goes by itself, also from among others.
func TestTrackerTakesRecordsAlone(t *testing.T) {
	track := newTracker()
	for i := range 5 {
		track.add(numbered(i, int64(i), "k"), 1)
	}
	track.at(2).alone = true
	for _, want := range [][]int{{0, 1}, {2}, {3, 4}} {
		if alone := track.alone(); alone != (len(want) == 1) {
			t.Errorf("before %v: alone is %v", want, alone)
		}
		_, records, _ := track.take(100, 1<<20)
		var got []int
		for i := range records {
			got = append(got, numberOf(&records[i]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v are taken together, want %v", got, want)
		}
	}
}
