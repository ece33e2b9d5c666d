package stages

// The decode stage: stopping and resuming, ids, shards, and what an event costs.

import (
	"fmt"
	"testing"

	"github.com/google/uuid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// numbered are n encoded events with the ids "0", "1", ...
func numbered(tb testing.TB, n int, key string) (events [][]byte) {
	for i := range n {
		events = append(events, encode(tb, &eventv1.Event{Id: fmt.Sprint(i), Source: "s", Type: "t", PartitionKey: key}))
	}
	return events
}

func TestDecoderStopsAndResumes(t *testing.T) {
	d := NewDecoder(unbounded, DeadLetters{}, 0)
	m := batchMessage(t, request(numbered(t, 5, "")...))
	if d.Active() {
		t.Fatal("a new decoder has a message")
	}
	d.Start(m)
	for i := range 5 { // each Next is a stop: nothing but the decoder remembers where it was
		if !d.Active() || d.Answered() != nil {
			t.Fatalf("before event %d: active %v, answered %v", i, d.Active(), d.Answered() != nil)
		}
		var ev Event
		d.Next(&ev)
		if ev.Index != i || string(ev.ID.Value) != fmt.Sprint(i) || ev.Msg != m || ev.At != AtDecode {
			t.Fatalf("event %d is index %d, id %q, at %v", i, ev.Index, ev.ID.Value, ev.At)
		}
		mustLive(t, &ev)
		if id, assigned := m.EventID(i); string(id) != fmt.Sprint(i) || assigned {
			t.Fatalf("the answer's id of event %d is %q, assigned %v", i, id, assigned)
		}
	}
	if d.Active() {
		t.Fatal("five of five events are decoded and the decoder goes on")
	}
	d.Start(newMessage(Single, request(numbered(t, 1, "")...), 1)) // the next message starts afresh
	var ev Event
	d.Next(&ev)
	if ev.Index != 0 || string(ev.ID.Value) != "0" || d.Active() {
		t.Fatalf("the next message's event is index %d, id %q", ev.Index, ev.ID.Value)
	}
}

func TestDecoderSkipsAnsweredEvents(t *testing.T) {
	m := batchMessage(t, varint(request(numbered(t, 4, "")...), 2, 1))
	for _, i := range []int{0, 2, 3} {
		if !m.WinQueued(i) {
			t.Fatal("a fresh event cannot be won")
		}
	}
	d := NewDecoder(unbounded, DeadLetters{}, 0)
	d.Start(m)
	var decoded []string
	for d.Active() {
		if got := d.Answered(); got != nil {
			if got != m {
				t.Fatal("Answered names another message")
			}
			d.Skip()
			continue
		}
		var ev Event
		d.Next(&ev)
		decoded = append(decoded, string(ev.ID.Value))
	}
	if len(decoded) != 1 || decoded[0] != "1" {
		t.Fatalf("decoded %q, want only event 1", decoded)
	}

	single := newMessage(Single, request(numbered(t, 1, "")...), 1)
	single.WinQueued(0)
	d.Start(single)
	if d.Answered() != single {
		t.Fatal("the answered event is not to be skipped")
	}
	if d.Skip(); d.Active() {
		t.Fatal("the only event was skipped and the decoder goes on")
	}
}

func TestDecoderRefusesMalformedEventsByThemselves(t *testing.T) {
	good := numbered(t, 1, "")[0]
	m := batchMessage(t, request(good, []byte{0xff}, good))
	d := NewDecoder(unbounded, DeadLetters{}, 0)
	d.Start(m)
	var events [3]Event
	for i := range events {
		d.Next(&events[i])
	}
	mustLive(t, &events[0])
	mustRefuse(t, &events[1], AtDecode, MalformedEvent, nil)
	mustLive(t, &events[2])

	unread := newMessage(Malformed, []byte{0xff, 0xff}, 1)
	d.Start(unread)
	var ev Event
	d.Next(&ev)
	mustRefuse(t, &ev, AtDecode, MalformedEvent, nil)
	if id, assigned := unread.EventID(0); len(id) > 0 || assigned {
		t.Fatalf("an unreadable message has the id %q, assigned %v", id, assigned)
	}
	if d.Active() {
		t.Fatal("a malformed message counts as one event")
	}
}

func TestDecoderAssignsIDs(t *testing.T) {
	m := newMessage(Single, request(encode(t, &eventv1.Event{Source: "s", Type: "t"})), 1)
	d := NewDecoder(unbounded, DeadLetters{}, 0)
	d.Start(m)
	var ev Event
	d.Next(&ev)
	r := &m.Results[0]
	if id, assigned := m.EventID(0); id != nil || !assigned || !r.Assigned {
		t.Fatalf("the answer's id is %q, assigned %v", id, assigned)
	}
	id := uuid.UUID(r.ID)
	if string(ev.ID.Value) != id.String() || id.Version() != 7 || id.Variant() != uuid.RFC4122 {
		t.Fatalf("the event has the id %q, the answer %v, version %d", ev.ID.Value, id, id.Version())
	}
	for range 100 {
		id := uuid.New()
		if got := string(AppendUUID([]byte("id="), id)); got != "id="+id.String() {
			t.Fatalf("AppendUUID gives %q, want id=%v", got, id)
		}
	}
}

func TestDecoderBoundsEvents(t *testing.T) {
	b := encode(t, &eventv1.Event{Id: "large", Source: "s", Type: "t", Data: make([]byte, 200)})
	size := len(b)
	for _, kind := range []Kind{Single, Batch} {
		for _, c := range []struct {
			limit int
			fits  bool
		}{{size, true}, {size + 1, true}, {size - 1, false}} {
			m := newMessage(kind, request(b), 1)
			d := NewDecoder(Config{MaxEventBytes: Bytes(c.limit)}, DeadLetters{}, 0)
			d.Start(m)
			var ev Event
			d.Next(&ev)
			if ev.Size != size {
				t.Fatalf("kind %d: the event has %d bytes, want %d", kind, ev.Size, size)
			}
			if c.fits {
				mustLive(t, &ev)
				continue
			}
			mustRefuse(t, &ev, AtDecode, EventTooLarge, &Detail{Message: fmt.Sprintf(
				"the event has %d bytes; MAX_EVENT_BYTES allows %d", size, c.limit)})
			if id, _ := m.EventID(0); string(id) != "large" {
				t.Fatalf("the refused event is answered with the id %q", id)
			}
		}
	}
	d := NewDecoder(Config{MaxEventBytes: Bytes(size - 1)}, DeadLetters{}, 0)
	// Parts of one event that are sent separately count together; the first field takes 7 bytes.
	d.Start(newMessage(Single, request(b[:7], b[7:]), 1))
	var parts, anonymous Event
	d.Next(&parts)
	if parts.Size != size || parts.Verdict.Reason != EventTooLarge {
		t.Fatalf("the parts count %d bytes, want %d: %v", parts.Size, size, parts.Verdict.Reason)
	}
	// No id is made for an event that goes nowhere.
	m := newMessage(Single, request(encode(t, &eventv1.Event{Data: make([]byte, size)})), 1)
	d.Start(m)
	d.Next(&anonymous)
	if _, assigned := m.EventID(0); assigned || len(anonymous.ID.Value) > 0 {
		t.Fatalf("a refused event was given the id %q", anonymous.ID.Value)
	}
}

func TestDecoderFixesShards(t *testing.T) {
	d := NewDecoder(unbounded, DeadLetters{}, 3)
	shard := func(key string) uint32 {
		d.Start(newMessage(Single, request(numbered(t, 1, key)...), 1))
		var ev Event
		d.Next(&ev)
		return ev.Shard
	}
	if got, want := shard("customer-42"), KeyHash([]byte("customer-42")); got != want {
		t.Fatalf("the keyed event has shard %d, want the key's hash %d", got, want)
	}
	first := shard("")
	if again := shard(""); again != first {
		t.Fatalf("within a run the shard changes from %d to %d", first, again)
	}
	d.NextRun()
	if next := shard(""); next != first+1 {
		t.Fatalf("the next run has shard %d after %d, want the neighbour", next, first)
	}
	if got, want := shard("customer-42"), KeyHash([]byte("customer-42")); got != want {
		t.Fatal("a run moves keyed events")
	}
	if other := NewDecoder(unbounded, DeadLetters{}, 4); other.run%3 == NewDecoder(unbounded, DeadLetters{}, 3).run%3 {
		t.Fatal("neighbouring lanes start at the same one of three partitions")
	}
	d.run = 0x7fffffff
	if d.NextRun(); d.run != 0 {
		t.Fatalf("after the last run comes %d: shards have 31 bits", d.run)
	}
}

func TestDecodeAllocatesNothing(t *testing.T) {
	withID := sample()
	withoutID := sample()
	withoutID.Id = ""
	for name, event := range map[string]*eventv1.Event{"sent id": withID, "assigned id": withoutID} {
		t.Run(name, func(t *testing.T) {
			frame := request(encode(t, event))
			d, ev, m := NewDecoder(unbounded, DeadLetters{}, 0), &Event{}, newMessage(Single, frame, 1)
			allocs := testing.AllocsPerRun(1000, func() {
				m.Arm(1)
				ev.Reset()
				d.Start(m)
				d.Next(ev)
			})
			mustLive(t, ev)
			if allocs != 0 {
				t.Fatalf("%v allocations an event, want none", allocs)
			}
		})
	}
}
