package main

// Who has got what: the writer is never more than a window ahead of the slowest reader, so that the same is measured
// however fast readers are, and no subscriber of the gateway falls behind its hub.

import (
	"context"
	"fmt"
	"sync/atomic"
)

const (
	// chunk is how many events are written at once.
	chunk = 256
	// window is how many chunks are under way at most: a thousand events.
	window = 4
	// warmChunks is what every reader gets before anything is measured.
	warmChunks = 2
)

// round counts chunks. One goroutine writes.
type round struct {
	readers []*reader
	// missing is how many readers have not all of a chunk; chunk i has the place i % len.
	missing [2 * window]atomic.Int64
	// done has a token for each chunk that all readers have.
	done    chan struct{}
	written atomic.Int64
	// failed ends the run.
	failed context.CancelCauseFunc
}

// reader is one of those that get everything. It belongs to its goroutine.
type reader struct {
	round *round
	got   atomic.Int64
}

func newRound(n int) *round {
	r := &round{done: make(chan struct{}, 2*window)}
	for range n {
		r.readers = append(r.readers, &reader{round: r})
	}
	return r
}

// took counts n events.
func (r *reader) took(n int) {
	got := r.got.Load()
	now := got + int64(n)
	r.got.Store(now)
	for c := got / chunk; c < now/chunk; c++ {
		if r.round.missing[c%int64(len(r.round.missing))].Add(-1) == 0 {
			r.round.done <- struct{}{} // never more than there is room for
		}
	}
}

// write writes chunks while more says so, and returns when everybody has them.
func (r *round) write(ctx context.Context, t *topic, more func(chunks int) bool) error {
	for chunks, under := 0, 0; ; {
		going := more(chunks)
		switch {
		case going && under < window:
			at := r.written.Load() / chunk
			r.missing[at%int64(len(r.missing))].Store(int64(len(r.readers)))
			if err := t.produce(ctx, r.written.Load(), chunk); err != nil {
				return err
			}
			r.written.Add(chunk)
			chunks, under = chunks+1, under+1
			continue
		case !going && under == 0:
			return nil
		}
		select {
		case <-r.done:
			under--
		case <-ctx.Done():
			return fmt.Errorf("not everybody got all: %w", context.Cause(ctx))
		}
	}
}

// exact is an error when a reader has more or less than what was written.
func (r *round) exact() error {
	for i, one := range r.readers {
		if got := one.got.Load(); got != r.written.Load() {
			return fmt.Errorf("reader %d of %d has %d events, %d were written: not a result", i, len(r.readers), got, r.written.Load())
		}
	}
	return nil
}
