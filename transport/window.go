package transport

// The messages of one stream that are in flight, in request order: a ring
// that starts small, grows to STREAM_WINDOW under load and shrinks when it is
// empty, so that ten thousand idle streams cost little.
//
// The receiver pushes, the sender takes off. Both hold the lock for a few
// instructions per burst. Completions never take it: they look at head alone.

import (
	"sync"
	"sync/atomic"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// firstWindow is the ring that a stream starts with, in messages.
	firstWindow = 16
	// sendBurst is how many messages the sender looks at under one lock.
	sendBurst = 32
)

// window is a queue of messages. head and tail count messages since the stream began.
type window struct {
	// head is the number of the message that is to be answered next. Written by the sender under the lock,
	// read by everybody.
	head atomic.Uint64

	mu   sync.Mutex
	tail uint64
	ring []*stages.Message // a power of two long, or nil
	// sealed: nothing may be pushed any more.
	sealed bool
}

// rings keeps first rings of streams that are idle at present.
var rings = sync.Pool{New: func() any { r := make([]*stages.Message, firstWindow); return &r }}

// length is the number of messages in the window. Exact for the receiver up to what the sender takes off.
func (w *window) length() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int(w.tail - w.head.Load())
}

// push adds m at the end, whose Seq the caller has set to next(). first: the window was empty. False: it is sealed.
func (w *window) push(m *stages.Message) (first, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sealed {
		return false, false
	}
	head := w.head.Load()
	if w.tail-head == uint64(len(w.ring)) {
		w.grow(head)
	}
	w.ring[w.tail&uint64(len(w.ring)-1)] = m
	w.tail++
	return w.tail-head == 1, true
}

// grow doubles the ring; the lock is held. The caller has bounded the number of messages.
func (w *window) grow(head uint64) {
	if w.ring == nil {
		w.ring = *rings.Get().(*[]*stages.Message)
		return
	}
	larger := make([]*stages.Message, 2*len(w.ring))
	for i := head; i < w.tail; i++ {
		larger[i&uint64(len(larger)-1)] = w.ring[i&uint64(len(w.ring)-1)]
	}
	w.recycle()
	w.ring = larger
}

// recycle gives the ring away; the lock is held.
func (w *window) recycle() {
	if len(w.ring) == firstWindow {
		clear(w.ring)
		r := w.ring
		rings.Put(&r)
	}
	w.ring = nil
}

// advance takes the first done messages off and copies the next ones to out. When the window is empty, it lets
// go of a ring that has grown.
func (w *window) advance(done int, out []*stages.Message) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	head := w.head.Load()
	mask := uint64(len(w.ring) - 1)
	for i := head; i < head+uint64(done); i++ {
		w.ring[i&mask] = nil
	}
	head += uint64(done)
	w.head.Store(head)
	n := min(int(w.tail-head), len(out))
	for i := range n {
		out[i] = w.ring[(head+uint64(i))&mask]
	}
	if n == 0 && len(w.ring) > firstWindow {
		w.recycle()
	}
	return n
}

// idle lets go of the ring of an empty window.
func (w *window) idle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tail == w.head.Load() && w.ring != nil {
		w.recycle()
	}
}

// seal forbids further pushes if the window is empty, and reports whether it did.
func (w *window) seal() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tail == w.head.Load() {
		w.sealed = true
	}
	return w.sealed
}
