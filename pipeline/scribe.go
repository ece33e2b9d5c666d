package pipeline

// Memory for what rules write: chunks that belong to a message and go back when
// it is recycled, like its frame. Together they are bounded by MAX_INFLIGHT_BYTES
// once more: admission has charged what was received and cannot know what rules
// make of it, and a budget of its own cannot be taken by messages that wait for
// rules to free it. An event for which there is none is refused, with advice to
// send it again: waiting would hold up the events of other partitions, and might
// wait for the very message that the event is part of.

import (
	"math/bits"
	"sync"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// minChunk and maxChunk are sizes in bytes, powers of two. Larger pieces are made for one value and not kept.
	minChunk = 512
	maxChunk = 2 << 20
	// batchChunk is what the events of a batch share a piece of.
	batchChunk = 8 << 10
)

// chunks are pieces by the logarithm of their size.
var chunks [22]sync.Pool

// scribe gives one transform worker its memory; it implements stages.Memory.
type scribe struct {
	p *Pipeline
	// left is the rest of the chunk that msg got last in this burst. A later burst must not use it: msg may have
	// been recycled since, and the chunk with it. Within a burst the worker holds events of msg, so it lives.
	msg  *stages.Message
	left []byte
}

// Begin implements stages.Memory.
func (s *scribe) Begin() { s.msg, s.left = nil, nil }

// Take implements stages.Memory.
func (s *scribe) Take(ev *stages.Event, n int) []byte {
	if m := ev.Msg; m != s.msg || len(s.left) < n {
		c := s.p.chunk(max(n, min(batchChunk, n*m.Events())))
		if c == nil {
			return nil
		}
		m.Own(c)
		s.msg, s.left = m, c.Bytes
	}
	b := s.left[:n:n]
	s.left = s.left[n:]
	return b
}

// chunk is a piece of at least n bytes, nil when the budget is taken.
func (p *Pipeline) chunk(n int) *stages.Chunk {
	class := bits.Len(uint(max(n, minChunk) - 1))
	size := 1 << class
	if size > maxChunk {
		size = n
	}
	if !p.written.take(int64(size)) {
		return nil
	}
	if size <= maxChunk {
		if c, ok := chunks[class].Get().(*stages.Chunk); ok {
			return c
		}
	}
	return &stages.Chunk{Bytes: make([]byte, size)}
}

// unwrite takes a chunk back from a message that is recycled.
func (p *Pipeline) unwrite(c *stages.Chunk) {
	n := len(c.Bytes)
	if poison {
		for i := range c.Bytes {
			c.Bytes[i] = poisonByte
		}
	}
	if n <= maxChunk {
		chunks[bits.Len(uint(n-1))].Put(c)
	}
	p.written.used.Add(int64(-n))
}
