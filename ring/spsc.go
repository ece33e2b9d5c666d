package ring

// The single-producer single-consumer ring: a link between two workers. See
// doc.go for ownership and the memory-order argument.

import (
	"math/bits"
	"sync/atomic"
)

// padBytes separates words that different cores write; see "Layout" in doc.go.
const padBytes = 128

// cursors are the words that both sides of a ring share.
type cursors struct {
	_        [padBytes]byte
	writeSeq atomic.Uint64 // written by the producer
	_        [padBytes - 8]byte
	readSeq  atomic.Uint64 // written by the consumer
	_        [padBytes - 8]byte
	closed   atomic.Bool // written once, by the producer
	_        [padBytes]byte
}

// Producer is the sending end of an SPSC ring. Only one goroutine may use it.
type Producer[T any] struct {
	_        [padBytes]byte
	slots    []T
	mask     uint64
	shared   *cursors
	next     uint64 // private copy of writeSeq
	seenRead uint64 // the last readSeq that was loaded; <= readSeq
	_        [padBytes]byte
}

// Consumer is the receiving end of an SPSC ring. Only one goroutine may use it.
type Consumer[T any] struct {
	_         [padBytes]byte
	slots     []T
	mask      uint64
	shared    *cursors
	next      uint64 // private copy of readSeq
	seenWrite uint64 // the last writeSeq that was loaded; <= writeSeq
	_         [padBytes]byte
}

// NewSPSC returns both ends of a ring for at least capacity values (the next
// power of two, at least 1).
//
// Slots are not cleared when they are read: a ring keeps the last values that
// went through it reachable. It is made for preallocated, recycled values.
func NewSPSC[T any](capacity int) (*Producer[T], *Consumer[T]) {
	slots := make([]T, powerOfTwo(capacity))
	mask := uint64(len(slots) - 1)
	shared := &cursors{}
	return &Producer[T]{slots: slots, mask: mask, shared: shared},
		&Consumer[T]{slots: slots, mask: mask, shared: shared}
}

// powerOfTwo is the smallest power of two that is at least n and at least 1.
func powerOfTwo(n int) int {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(n-1))
}

// Cap is the number of values the ring holds.
func (p *Producer[T]) Cap() int { return len(p.slots) }

// Free is how many values can be pushed now; the consumer can only make it more.
func (p *Producer[T]) Free() int {
	p.seenRead = p.shared.readSeq.Load()
	return len(p.slots) - int(p.next-p.seenRead)
}

// TryPush adds one value; false when the ring is full.
func (p *Producer[T]) TryPush(v T) bool {
	if p.next-p.seenRead == uint64(len(p.slots)) && p.Free() == 0 {
		return false
	}
	p.slots[p.next&p.mask] = v
	p.next++
	p.shared.writeSeq.Store(p.next)
	return true
}

// Push adds as many of the values as fit, in order, with one publication, and says how many.
func (p *Producer[T]) Push(values []T) int {
	free := len(p.slots) - int(p.next-p.seenRead)
	if free < len(values) {
		free = p.Free()
	}
	n := min(free, len(values))
	if n == 0 {
		return 0
	}
	at := int(p.next & p.mask)
	copied := copy(p.slots[at:], values[:n])
	copy(p.slots, values[copied:n])
	p.next += uint64(n)
	p.shared.writeSeq.Store(p.next)
	return n
}

// Close says that nothing more will be pushed. What is in the ring can still be popped.
func (p *Producer[T]) Close() { p.shared.closed.Store(true) }

// Cap is the number of values the ring holds.
func (c *Consumer[T]) Cap() int { return len(c.slots) }

// Len is how many values can be popped now; the producer can only make it more.
func (c *Consumer[T]) Len() int {
	c.seenWrite = c.shared.writeSeq.Load()
	return int(c.seenWrite - c.next)
}

// TryPop takes one value; false when the ring is empty.
func (c *Consumer[T]) TryPop() (v T, ok bool) {
	if c.next == c.seenWrite && c.Len() == 0 {
		return v, false
	}
	v = c.slots[c.next&c.mask]
	c.next++
	c.shared.readSeq.Store(c.next)
	return v, true
}

// Pop takes up to len(into) values, in order, with one publication, and says how many.
func (c *Consumer[T]) Pop(into []T) int {
	have := int(c.seenWrite - c.next)
	if have < len(into) {
		have = c.Len()
	}
	n := min(have, len(into))
	if n == 0 {
		return 0
	}
	at := int(c.next & c.mask)
	copied := copy(into[:n], c.slots[at:])
	copy(into[copied:n], c.slots)
	c.next += uint64(n)
	c.shared.readSeq.Store(c.next)
	return n
}

// Drained reports whether the producer has closed the ring and everything was
// popped. The order of the two loads matters: Close comes after the last push,
// so a length read after seeing the close is final.
func (c *Consumer[T]) Drained() bool { return c.shared.closed.Load() && c.Len() == 0 }

// Gauge reads the depth of a ring from any goroutine.
type Gauge struct {
	shared   *cursors
	capacity int
}

// Gauge returns the ring's gauge.
func (c *Consumer[T]) Gauge() Gauge { return Gauge{c.shared, len(c.slots)} }

// Depth is approximate: the cursors are read one after the other.
func (g Gauge) Depth() int {
	read := g.shared.readSeq.Load()
	return min(int(g.shared.writeSeq.Load()-read), g.capacity)
}

// Cap is the number of values the ring holds.
func (g Gauge) Cap() int { return g.capacity }
