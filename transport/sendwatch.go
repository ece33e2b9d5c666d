package transport

// Notices a client that does not read: grpc-go blocks SendMsg for as long as
// the stream lives.

import (
	"sync"
	"sync/atomic"
	"time"
)

// sendWatch calls cut, once, when one SendMsg has blocked for a whole timeout. It looks four times within that whether
// the same one still blocks.
type sendWatch struct {
	// writes is odd while the stream's sender is in SendMsg; the sender adds 1 before it and after it.
	writes  *atomic.Uint64
	timeout time.Duration
	cut     func()

	mu    sync.Mutex
	timer *time.Timer
	last  uint64
	same  int
	off   bool
}

const watchSteps = 4

func newSendWatch(writes *atomic.Uint64, timeout time.Duration, cut func()) *sendWatch {
	w := &sendWatch{writes: writes, timeout: timeout, cut: cut}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.step(), w.look)
	return w
}

func (w *sendWatch) step() time.Duration { return w.timeout / watchSteps }

func (w *sendWatch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.off = true
	w.timer.Stop()
}

// look runs on the timer's goroutine, one at a time: each run sets the next.
func (w *sendWatch) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.off {
		return
	}
	writes := w.writes.Load()
	if writes%2 == 1 && writes == w.last {
		w.same++
	} else {
		w.last, w.same = writes, 0
	}
	if w.same < watchSteps {
		w.timer.Reset(w.step())
		return
	}
	w.cut()
}
