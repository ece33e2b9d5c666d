package stages

// Events that wait for a schema while it is fetched from the registry. They wait
// in a bounded side queue, and with them the later events of their shards, which
// keeps the order of each key; the events of other shards pass them by. An event
// that waits behind others has its own schema fetched meanwhile, so none waits
// longer than its own fetch takes from when it came, SCHEMA_TIMEOUT at most. When
// the queue is full the worker takes nothing in until a fetch has ended.

import "sync/atomic"

// Holder is a Stage that may keep events for a while.
type Holder interface {
	Stage
	// Room is how many events the stage may still keep: a burst must not be longer.
	Room() int
	// Sift returns the events of the last burst that go on, in order, in the burst's memory.
	Sift(burst []*Event) []*Event
	// Resumable reports whether kept events may go on; from any goroutine.
	Resumable() bool
	// Resume is the next kept event that goes on, nil when there is none for now. All of them are to be taken
	// before the next burst.
	Resume() *Event
	// Kept is how many events are kept.
	Kept() int
	// Fault takes the event that Resume was at when it panicked.
	Fault() *Event
}

// maxHeld bounds the side queue of one worker in events.
const maxHeld = 1024

// held is the side queue.
type held struct {
	queue []heldEvent
	// seen is how much of queue earlier bursts have put there.
	seen int
	// shards have events in the queue, which later events of theirs must not pass.
	shards map[uint32]bool
	// again is set from outside when a fetch has ended.
	again atomic.Bool

	// A pass over the queue: events before next have been looked at; those that stay are before stay.
	passing    bool
	next, stay int
	current    *Event
}

// heldEvent is one event in the side queue. checked: it waits for others only.
type heldEvent struct {
	*Event
	checked bool
}

func (h *held) keep(ev *Event, checked bool) {
	h.queue = append(h.queue, heldEvent{ev, checked})
	h.shards[ev.Shard] = true
}

// Room implements Holder.
func (v *Validate) Room() int { return maxHeld - len(v.held.queue) }

// Kept implements Holder.
func (v *Validate) Kept() int { return len(v.held.queue) }

// Resumable implements Holder.
func (v *Validate) Resumable() bool { return v.held.again.Load() }

// Again makes kept events Resumable: what the Schemas call when a fetch has ended. From any goroutine.
func (v *Validate) Again() { v.held.again.Store(true) }

// Sift implements Holder. Kept events lie in the queue in the burst's order.
func (v *Validate) Sift(burst []*Event) []*Event {
	h := &v.held
	if h.seen == len(h.queue) {
		return burst
	}
	on, kept := burst[:0], h.queue[h.seen:]
	for _, ev := range burst {
		if len(kept) > 0 && kept[0].Event == ev {
			kept = kept[1:]
			continue
		}
		on = append(on, ev)
	}
	h.seen = len(h.queue)
	return on
}

// Resume implements Holder.
func (v *Validate) Resume() *Event {
	h := &v.held
	if !h.passing {
		if !h.again.Swap(false) { // before the first look: a fetch that ends during the pass asks for another one
			return nil
		}
		h.passing, h.next, h.stay = true, 0, 0
		clear(h.shards)
	}
	for h.next < len(h.queue) {
		e := h.queue[h.next]
		h.next++
		if !e.checked {
			h.current = e.Event
			e.checked = !v.unchecked(e.Event)
			h.current = nil
		}
		if e.checked && !h.shards[e.Shard] {
			return e.Event
		}
		h.shards[e.Shard] = true
		h.queue[h.stay] = e
		h.stay++
	}
	clear(h.queue[h.stay:])
	h.queue = h.queue[:h.stay]
	h.seen, h.passing = h.stay, false
	return nil
}

// unchecked is waits for a kept event. One that a deadline has answered meanwhile needs no schema: nobody produces it.
func (v *Validate) unchecked(ev *Event) bool { return ev.Msg.Queued(ev.Index) && v.waits(ev) }

// Fault implements Holder.
func (v *Validate) Fault() *Event {
	ev := v.held.current
	v.held.current = nil
	return ev
}

// Drop forgets all kept events: a dry run has ended.
func (v *Validate) Drop() {
	h := &v.held
	clear(h.queue)
	h.queue, h.seen, h.passing = h.queue[:0], 0, false
	clear(h.shards)
}
