package ring

// The many-producers single-consumer ring: a lane, where many handlers meet
// one decode worker. See doc.go, "Memory order (MPSC)".

import "sync/atomic"

// slot is one place of an MPSC ring. turn s means "free for the claimer of
// sequence s", turn s+1 "holds the value of sequence s".
type slot[T any] struct {
	turn  atomic.Uint64
	value T
}

// MPSC is a bounded queue of many producers and one consumer.
type MPSC[T any] struct {
	_        [padBytes]byte
	slots    []slot[T]
	mask     uint64
	_        [padBytes]byte
	writeSeq atomic.Uint64 // claimed by producers
	_        [padBytes - 8]byte
	readSeq  atomic.Uint64 // the consumer's published position, for Len only
	_        [padBytes - 8]byte
	next     uint64 // the consumer's private position
	_        [padBytes]byte

	// afterClaim runs between claim and publish in tests (a preempted producer); nil in production.
	afterClaim func(seq uint64)
}

// NewMPSC returns a ring for at least capacity values (the next power of two, at least 2:
// with one slot the turns of two laps would be the same number).
func NewMPSC[T any](capacity int) *MPSC[T] {
	q := &MPSC[T]{slots: make([]slot[T], powerOfTwo(max(capacity, 2)))}
	q.mask = uint64(len(q.slots) - 1)
	for i := range q.slots {
		q.slots[i].turn.Store(uint64(i))
	}
	return q
}

// Cap is the number of values the ring holds.
func (q *MPSC[T]) Cap() int { return len(q.slots) }

// TryPush adds one value; false when the ring is full. Any goroutine.
func (q *MPSC[T]) TryPush(v T) bool {
	for {
		seq := q.writeSeq.Load()
		s := &q.slots[seq&q.mask]
		switch turn := s.turn.Load(); {
		case turn == seq:
			if !q.writeSeq.CompareAndSwap(seq, seq+1) {
				continue
			}
			if q.afterClaim != nil {
				q.afterClaim(seq)
			}
			s.value = v
			s.turn.Store(seq + 1)
			return true
		case turn < seq: // still held by the value of the lap before
			return false
		}
		// turn > seq: another producer took this number after we loaded it
	}
}

// Pop takes up to len(into) values in the order of their claims. It stops at a
// claim that is not published yet. Only the consumer may call it.
func (q *MPSC[T]) Pop(into []T) int {
	var zero T
	n := 0
	for n < len(into) {
		s := &q.slots[q.next&q.mask]
		if s.turn.Load() != q.next+1 {
			break
		}
		// Cleared: a lane has a quarter of a million slots, and each would keep its last message for a whole lap.
		into[n], s.value = s.value, zero
		s.turn.Store(q.next + uint64(len(q.slots)))
		q.next++
		n++
	}
	if n > 0 {
		q.readSeq.Store(q.next)
	}
	return n
}

// Ready reports whether Pop would return something. Only the consumer may call it.
func (q *MPSC[T]) Ready() bool { return q.slots[q.next&q.mask].turn.Load() == q.next+1 }

// Depth is the number of values claimed and not popped, from any goroutine; approximate.
func (q *MPSC[T]) Depth() int {
	read := q.readSeq.Load()
	return min(int(q.writeSeq.Load()-read), len(q.slots))
}
