package transport

// Bounds the memory for what was received and is not admitted yet.
//
// grpc-go buffers whatever a client sends within the flow-control windows, and
// a whole message once its body is asked for: 200 unfinished messages of
// 20 MiB would take 4 GB. MAX_RECV_BYTES is divided into four parts:
//
//	2 parts  bytes that sit in grpc-go's buffers, unread or not yet admitted. When they are full, the
//	         connections that hold more than their fair share are not read (conn.go).
//	1 part   large bodies, first come first served: a message above largeBody reserves its length before
//	         its body is asked for. Until then the window holds the client.
//	1 part   large bodies again, divided evenly among the connections that receive one: who is within that
//	         share does not queue. So clients who leave all their messages unfinished delay only each other.

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	recvParts = 4
	// minShare is what a connection may hold however many there are: one window's worth.
	minShare = 64 << 10
	// recvPatience is how long a large message of a stream waits for memory before it is refused (one of a unary
	// call: ADMISSION_TIMEOUT), and a connection over its share before it is closed.
	recvPatience = 5 * time.Second
)

// recvLimit is the receive memory of one server. Safe for concurrent use.
type recvLimit struct {
	part int64
	// patience is recvPatience, shorter in tests.
	patience time.Duration

	// unread is the sum over all connections of what was received and not delivered.
	unread atomic.Int64
	// holders is the number of connections with unread bytes.
	holders atomic.Int64
	// paused counts the times that a connection was made to wait, cut the connections that were closed for it.
	paused, cut atomic.Int64

	mu sync.Mutex
	// queued is what the first-come part holds, shared what the even part holds.
	queued, shared int64
	// users is the number of connections that hold or wait for a large body.
	users   int64
	waiters list.List // of *recvWaiter
	refused int64
}

// recvWaiter is one large message that waits for memory.
type recvWaiter struct {
	n     int64
	ready chan struct{}
}

func newRecvLimit(total stages.Bytes) *recvLimit {
	return &recvLimit{part: int64(total) / recvParts, patience: recvPatience}
}

// reserve waits at most wait until n bytes of a large body may be received on s's connection. False: not within
// that, or ctx has ended.
func (l *recvLimit) reserve(ctx context.Context, s *recvStream, n int, wait time.Duration) bool {
	if s == nil { // a call that is not counted
		return true
	}
	size := int64(n)
	l.mu.Lock()
	l.enter(s)
	if l.grantShared(s, size) || (l.waiters.Len() == 0 && l.grantQueued(s, size)) {
		l.mu.Unlock()
		return true
	}
	w := &recvWaiter{n: size, ready: make(chan struct{})}
	place := l.waiters.PushBack(w)
	s.short = true
	l.mu.Unlock()

	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.ready:
	case <-timer.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-w.ready: // also when the grant raced with the timer
		s.short = false
		s.queued += size
		return true
	default:
	}
	l.waiters.Remove(place)
	l.refused++
	l.leave(s)
	l.grantWaiting()
	return false
}

// release gives n bytes of an earlier reserve back.
func (l *recvLimit) release(s *recvStream, n int) {
	if s == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// A stream has one large body at a time (and what its decompression added), so it matters only in sum
	// which part the bytes came from.
	fromShared := min(int64(n), s.shared)
	s.shared -= fromShared
	s.conn.shared -= fromShared
	l.shared -= fromShared
	s.queued -= int64(n) - fromShared
	l.queued -= int64(n) - fromShared
	for s.shared == 0 && s.queued == 0 && s.reservations > 0 {
		l.leave(s)
	}
	l.grantWaiting()
}

// enter and leave count the connections that hold or wait for a large body; mu is held.
func (l *recvLimit) enter(s *recvStream) {
	s.reservations++
	s.conn.reservations++
	if s.conn.reservations == 1 {
		l.users++
	}
}

func (l *recvLimit) leave(s *recvStream) {
	s.reservations--
	s.conn.reservations--
	if s.conn.reservations == 0 {
		l.users--
	}
}

// grantShared gives n bytes out of the connection's even share; mu is held.
func (l *recvLimit) grantShared(s *recvStream, n int64) bool {
	if s.conn.shared+n > max(l.part/l.users, minShare) {
		return false
	}
	s.shared += n
	s.conn.shared += n
	l.shared += n
	return true
}

// grantQueued gives n bytes out of the first-come part; mu is held.
func (l *recvLimit) grantQueued(s *recvStream, n int64) bool {
	if l.queued+n > l.part {
		return false
	}
	l.queued += n
	s.queued += n
	return true
}

// grantWaiting lets in the first waiters that fit; mu is held. The waiter itself notes the bytes as its own.
func (l *recvLimit) grantWaiting() {
	for e := l.waiters.Front(); e != nil; e = l.waiters.Front() {
		w := e.Value.(*recvWaiter)
		if l.queued+w.n > l.part {
			return
		}
		l.queued += w.n
		l.waiters.Remove(e)
		close(w.ready)
	}
}

// held is all receive memory in use.
func (l *recvLimit) held() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.unread.Load() + l.queued + l.shared
}

// holdsUp reports whether s's call is held up by the gateway and not by its client: it waits for a large body's
// memory or was refused it, or its connection is not read.
func (l *recvLimit) holdsUp(s *recvStream) bool {
	if s == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.short || l.over(s.conn.unread.Load())
}

// over reports whether a connection with that many unread bytes must wait: the buffers are full and it holds more
// than its share of them.
func (l *recvLimit) over(unread int64) bool {
	room := 2 * l.part
	return l.unread.Load() > room && unread > max(room/max(l.holders.Load(), 1), minShare)
}
