package stages

// Events that wait for schemas: nothing is lost, no key's events pass each other,
// and the others do not wait.

import (
	"testing"

	"pgregory.net/rapid"
)

// slowSchemas have a schema for each shard, which is there or not yet.
type slowSchemas struct {
	missing map[uint32]bool
	// bad shards are refused, and panics at those of them.
	bad, broken map[uint32]bool
}

func (s *slowSchemas) Check(ev *Event) (wait bool) {
	switch {
	case s.missing[ev.Shard]:
		return true
	case s.broken[ev.Shard]:
		panic("broken schema")
	case s.bad[ev.Shard]:
		ev.Refuse(AtValidate, SchemaViolation, nil)
	}
	return false
}

// holdWorker does what the pipeline's worker does with a Holder.
type holdWorker struct {
	v   *Validate
	out []*Event
}

func (w *holdWorker) resume() {
	for ev := w.v.Resume(); ev != nil; ev = w.v.Resume() {
		w.out = append(w.out, ev)
	}
}

func (w *holdWorker) burst(events []*Event) {
	w.resume()
	w.v.Process(events)
	w.out = append(w.out, w.v.Sift(append([]*Event(nil), events...))...)
}

func TestHeldEventsKeepTheirOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const shards = 5
		schemas := &slowSchemas{missing: map[uint32]bool{}, bad: map[uint32]bool{3: true}}
		w := &holdWorker{v: NewValidate(NewTopics("events"), ValidateParts{Schemas: schemas})}
		sent := 0
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			shard := uint32(rapid.IntRange(0, shards-1).Draw(t, "shard"))
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0: // a schema leaves the cache
				schemas.missing[shard] = true
			case 1: // a fetch ends
				delete(schemas.missing, shard)
				w.v.Again()
			default:
				events := liveEvents(rapid.IntRange(1, 64).Draw(t, "events"))
				if len(events) > w.v.Room() {
					continue
				}
				for _, ev := range events {
					ev.Shard = uint32(rapid.IntRange(0, shards-1).Draw(t, "of"))
					ev.Seconds = int64(sent)
					if sent++; rapid.IntRange(0, 9).Draw(t, "refused") == 0 {
						ev.Refuse(AtDecode, MalformedEvent, nil)
					}
				}
				w.burst(events)
			}
			if len(w.out)+w.v.Kept() != sent {
				t.Fatalf("%d events came, %d went on and %d wait", sent, len(w.out), w.v.Kept())
			}
		}
		clear(schemas.missing)
		w.v.Again()
		w.resume()
		if len(w.out) != sent || w.v.Kept() != 0 {
			t.Fatalf("%d events came, %d went on", sent, len(w.out))
		}
		last := map[uint32]int{}
		for _, ev := range w.out {
			if ev.At != AtValidate {
				t.Fatal("the stage has not finished with an event that went on")
			}
			if ev.Verdict.Stage == AtDecode && !ev.Live() {
				continue // refused before: it has no order to keep
			}
			if (ev.Shard == 3) == ev.Live() {
				t.Fatalf("an event of shard %d is %v", ev.Shard, ev.Verdict.Outcome)
			}
			if before, ok := last[ev.Shard]; ok && before > int(ev.Seconds) {
				t.Fatalf("shard %d: event %d came after %d", ev.Shard, ev.Seconds, before)
			}
			last[ev.Shard] = int(ev.Seconds)
		}
	})
}

// Other shards pass a shard that waits.
func TestOthersPass(t *testing.T) {
	schemas := &slowSchemas{missing: map[uint32]bool{1: true}}
	w := &holdWorker{v: NewValidate(NewTopics("events"), ValidateParts{Schemas: schemas})}
	events := liveEvents(4)
	for i, shard := range []uint32{1, 2, 1, 3} {
		events[i].Shard = shard
	}
	w.burst(events)
	if len(w.out) != 2 || w.out[0] != events[1] || w.out[1] != events[3] || w.v.Kept() != 2 {
		t.Fatalf("%d went on, %d wait", len(w.out), w.v.Kept())
	}
	w.v.Again() // spurious
	if w.resume(); len(w.out) != 2 {
		t.Fatal("an event went on without its schema")
	}
	delete(schemas.missing, 1)
	if w.resume(); len(w.out) != 2 {
		t.Fatal("a pass without being asked for")
	}
	w.v.Again()
	if w.resume(); len(w.out) != 4 || w.out[2] != events[0] || w.out[3] != events[2] {
		t.Fatal("the events that waited did not go on in order")
	}
}

// A panic at a kept event is that event's: the others go on.
func TestPanicOfAKeptEvent(t *testing.T) {
	schemas := &slowSchemas{missing: map[uint32]bool{1: true, 2: true}, broken: map[uint32]bool{1: true}}
	w := &holdWorker{v: NewValidate(NewTopics("events"), ValidateParts{Schemas: schemas})}
	events := liveEvents(3)
	for i, shard := range []uint32{1, 2, 1} {
		events[i].Shard = shard
	}
	w.burst(events)
	clear(schemas.missing)
	w.v.Again()
	faults := 0
	for range 4 {
		func() {
			defer func() {
				if recover() != nil && w.v.Fault() != nil {
					faults++
				}
			}()
			w.resume()
		}()
	}
	if faults != 2 || len(w.out) != 1 || w.out[0] != events[1] || w.v.Kept() != 0 || w.v.Fault() != nil {
		t.Fatalf("%d faults, %d went on, %d wait", faults, len(w.out), w.v.Kept())
	}
}

// ruleFunc and plainMemory stand in for rules.
type ruleFunc func(*Event) bool

func (f ruleFunc) Apply(ev *Event) bool { return f(ev) }

type plainMemory struct{ none bool }

func (*plainMemory) Begin() {}

func (m *plainMemory) Take(_ *Event, n int) []byte {
	if m.none {
		return nil
	}
	return make([]byte, n)
}

// Events that wait behind others have their schemas fetched meanwhile: a queue of one key takes one fetch's time, not
// the sum of all. An event that a deadline has answered waits for nothing.
func TestFetchesOfOneKeyRunSideBySide(t *testing.T) {
	asked, there := map[*Event]int{}, false
	w := &holdWorker{v: NewValidate(NewTopics("events"), ValidateParts{Schemas: schemaFunc(func(ev *Event) bool {
		asked[ev]++
		return !there
	})})}
	events := liveEvents(5)
	w.burst(events)
	if len(asked) != 5 || w.v.Kept() != 5 {
		t.Fatalf("%d of 5 schemas were asked for", len(asked))
	}
	events[1].Msg.WinQueued(1)
	w.v.Again()
	if w.resume(); len(w.out) != 0 || asked[events[1]] != 1 {
		t.Fatalf("%d events went on; the answered one was asked for %d times", len(w.out), asked[events[1]])
	}
	there = true
	w.v.Again()
	if w.resume(); len(w.out) != 5 || w.v.Kept() != 0 {
		t.Fatalf("one pass lets %d of 5 events go", len(w.out))
	}
	for i, ev := range w.out {
		if ev != events[i] {
			t.Fatal("out of order")
		}
	}
}
