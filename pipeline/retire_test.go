package pipeline

// Nothing is freed before it is retired: the Producer may read an event's bytes
// again long after a deadline has answered it.

import (
	"bytes"
	"runtime"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/event-gateway/event-gateway/stages"
)

// arena hands out buffers and scribbles over those that are given back, as a receive pool under load does.
type arena struct {
	mu    sync.Mutex // guards the following
	free  [][]byte
	taken int
}

type arenaBuffer struct {
	a *arena
	b []byte
}

func (a *arena) take(frame []byte) arenaBuffer {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken++
	var b []byte
	if n := len(a.free); n > 0 {
		b, a.free = a.free[n-1], a.free[:n-1]
	}
	return arenaBuffer{a, append(b[:0], frame...)}
}

func (b arenaBuffer) Free() {
	b.a.mu.Lock()
	defer b.a.mu.Unlock()
	for i := range b.b {
		b.b[i] = 0xDB
	}
	b.a.taken--
	b.a.free = append(b.a.free, b.b)
}

// An idle gateway does not keep dead messages through the views of its free events.
func TestIdleEventsForgetTheirMessages(t *testing.T) {
	h := newHarness(t)
	frame := frameOf(testEvent{id: "id", source: "s", key: "k", data: make([]byte, 1<<16)})
	memory := weak.Make(&frame[0])
	h.p.Release(h.call(stages.Single, frame, 1))
	frame = nil
	h.r.mu.Lock()
	h.r.queue = nil
	h.r.mu.Unlock()
	for deadline := time.Now().Add(10 * time.Second); memory.Value() != nil; runtime.GC() {
		if time.Now().After(deadline) {
			t.Fatal("a retired message is still reachable")
		}
	}
	h.close()
}

func TestNothingIsFreedBeforeItIsRetired(t *testing.T) {
	h := newHarness(t)
	a := &arena{}
	payload := bytes.Repeat([]byte("precious"), 100)
	send := func(data []byte) (*stages.Message, *waiting) {
		w := newWaiting()
		buf := a.take(frameOf(testEvent{id: "id", source: "s", key: "k", data: data}))
		m := h.p.Receive(h.client, buf.b, buf, stages.Single, 1)
		m.Owner = w
		if v := h.p.Admit(t.Context(), m, -1); v != nil {
			t.Fatal(v)
		}
		h.p.Submit(0, m)
		return m, w
	}
	h.r.hold.Store(true)
	m, _ := send(payload)
	h.awaitHanded(1)
	h.r.mu.Lock()
	held := h.r.queue
	h.r.queue = nil
	h.r.mu.Unlock()
	h.p.Expire(m, stages.NotSent)
	mustOutcome(t, m, 0, stages.Unknown, stages.OutcomeUnknown, stages.AtProduce)
	h.p.Release(m) // the owner has nothing to do with it any more

	h.r.heal()
	for range 10_000 { // 10 MB of other traffic through the same buffers and events
		m, w := send(bytes.Repeat([]byte("x"), 1000))
		w.await(t)
		h.p.Release(m)
	}
	if ev := held[0]; !bytes.Equal(ev.Data, payload) || string(ev.PartitionKey.Value) != "k" {
		t.Errorf("the bytes of an event that is not retired have changed: key %q, data %.20q", ev.PartitionKey.Value, ev.Data)
	}
	h.p.Report(held[:1])
	h.close()
	if a.taken != 0 {
		t.Errorf("%d buffers were not freed", a.taken)
	}
}
