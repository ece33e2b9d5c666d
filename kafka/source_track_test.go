package kafka

import (
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/stages"
)

// TestTracker: whatever comes in, is sent, fails and is sent again, the offset that may be committed never passes a
// record without an outcome, and in the end it is behind the last one. What is sent again keeps the order of each key:
// after it, the newest record of a key is the last that was stored.
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
		outcome := map[int64]bool{} // offsets with a final outcome, of all that came in
		var came []int64
		stored := map[string]int64{} // the last stored offset of each key
		newest := map[string]int64{} // and the newest
		land := func() {}
		check := func() {
			land()
			done, _, _ := track.advance()
			for _, o := range came {
				if o < done && !outcome[o] {
					rt.Fatalf("%d may be committed, but %d has no outcome", done, o)
				}
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
				if r.Offset != track.at(position).record.Offset {
					rt.Fatalf("position %d is offset %d, was sent as %d", position, track.at(position).record.Offset, r.Offset)
				}
				switch {
				case f.letter && (final || how < 6):
					track.set(position, handled)
					outcome[r.Offset] = true
				case final || how < 6 || how > 7 && outcome[r.Offset]: // what was taken once is not refused later
					track.set(position, written)
					outcome[r.Offset] = true
					round = append(round, storing{f.turn, r})
					newest[string(r.Key)] = max(newest[string(r.Key)], r.Offset)
				case how < 8:
					track.set(position, failed)
				case f.letter:
					track.set(position, handled)
					outcome[r.Offset] = true
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
				stored[string(s.r.Key)] = s.r.Offset
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
		steps := rapid.IntRange(1, 60).Draw(rt, "steps")
		for range steps {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				offset += int64(rapid.IntRange(1, 3).Draw(rt, "gap"))
				key := "k" + strconv.Itoa(rapid.IntRange(0, 2).Draw(rt, "key"))
				r := stages.Record{Key: []byte(key), Offset: offset, Headers: []stages.Attribute{{Name: "ce_specversion", Value: []byte("1.0")}}}
				if !track.add(r, 1) || track.add(r, 1) {
					rt.Fatalf("offset %d is to be taken once", offset)
				}
				came = append(came, offset)
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
		if done, _, _ := track.advance(); len(came) > 0 && done != came[len(came)-1]+1 || track.bytes != 0 || len(track.items) != 0 {
			rt.Fatalf("%d may be committed in the end, of %v; %d bytes, %d records left", done, came, track.bytes, len(track.items))
		}
		for _, o := range came {
			if !outcome[o] {
				rt.Fatalf("%d has no outcome in the end", o)
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
