package transport

// Bounds the memory for answers that clients do not take.
//
// grpc-go queues what a handler sends until flow control lets it go: the first message of a stream always, then
// 64 KiB. A client that shuts its windows and goes on calling made the gateway hold 160 MiB of answers on one
// connection (256 batches of 10,000 events), for as long as it liked; nothing of that is in any other budget. So
// the buffers of answers are counted, by connection and in sum, until grpc-go gives them back. When the sum is
// over sendRoom, a connection that grpc-go holds more of than its share waits before it sends more; so does one of which
// it holds more than maxSendShare in any case. When nothing of it is taken for SEND_TIMEOUT, it is closed.

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	// sendRoom is the sum of all answers on their way that nobody has to wait for.
	sendRoom = 64 << 20
	// minSendShare is what a connection may hold however many there are.
	minSendShare = 256 << 10
	// maxSendShare is what one may hold when there is room: several answers of the largest batches.
	maxSendShare = 16 << 20
	// answerCost is what an answer takes besides its buffer (grpc-go's queue and headers), roughly.
	answerCost = 512
)

var errUnread = errors.New("the client leaves too many answers unread")

// sendLimit is the memory of all answers on their way. Safe for concurrent use.
type sendLimit struct {
	room int64
	// timeout is SEND_TIMEOUT.
	timeout time.Duration
	// held is what all connections hold, holders how many hold any; cut counts those that were closed for it.
	held, holders, cut atomic.Int64
}

// over reports whether a connection of whose answers grpc-go holds n must wait.
func (l *sendLimit) over(n int64) bool {
	return n > maxSendShare || l.held.Load() > l.room && n > max(l.room/max(l.holders.Load(), 1), minSendShare)
}

// sending is a connection's account in the limit.
type sending struct {
	limit *sendLimit
	held  atomic.Int64
	// waiting is the part of held that is not grpc-go's yet: it waits in reserve, and must not be in its own way.
	waiting atomic.Int64
	// taken counts what was given back, ever.
	taken atomic.Int64
	// first is for who waits and is the next to send, so that the others come in their order. Capacity 1.
	first chan struct{}
}

// over reports whether the connection must wait. Who comes to wait between the two loads is in held alone, and it looks as if
// grpc-go had more; the other way round it would look as if it had less, and an answer too many was let through.
func (s *sending) over() bool {
	waiting := s.waiting.Load()
	return s.limit.over(s.held.Load() - waiting)
}

// charge adds n bytes, which may be negative. After close it does nothing: the sum stays far below 0.
func (s *sending) charge(n int64) {
	after := s.held.Add(n)
	if after < 0 || after-n < 0 {
		return
	}
	if n < 0 {
		s.taken.Add(-n)
	}
	switch {
	case after == n && n > 0: // it was 0
		s.limit.holders.Add(1)
	case after == 0:
		s.limit.holders.Add(-1)
	}
	s.limit.held.Add(n)
}

// close gives back what the connection holds: grpc-go drops it with the connection. To be called once.
func (s *sending) close() {
	if left := s.held.Swap(streamClosed); left > 0 {
		s.limit.holders.Add(-1)
		s.limit.held.Add(-left)
	}
}

// account is one call's account in that of its connection.
type account struct {
	conn *recvConn
	held atomic.Int64
}

// charge adds n bytes, which may be negative. After close it does nothing: the sum stays far below 0.
func (a *account) charge(n int64) {
	if after := a.held.Add(n); after >= 0 && after >= n {
		a.conn.sending.charge(n)
	}
}

// close gives back what the call holds. Further calls do nothing.
func (a *account) close() {
	if left := a.held.Swap(streamClosed); left > 0 {
		a.conn.sending.charge(-left)
	}
}

// outbox is the mem.BufferPool of one call's answers. One goroutine, the call's sender, reserves and hands over; grpc-go
// puts from any. Only those who send and the answers on their way refer to it; see handed.
type outbox struct{ *account }

// Get is not used: answers come with their buffer.
func (o *outbox) Get(n int) *[]byte { return buffers.Get(n) }

// Put takes back the buffer of an answer that was written, or never will be.
func (o *outbox) Put(b *[]byte) {
	o.charge(-int64(cap(*b)) - answerCost)
	buffers.Put(b)
}

// handed says that grpc-go took an answer. It drops one that comes behind the end of its call without giving it back
// (1.85, loopyWriter.preprocessData): while a handler sends, its client may cancel, its deadline pass, or the gateway
// itself end the call.
//
// Who ended it does not say what became of the answer: behind a reset and a deadline, grpc-go gives back what is queued
// and drops what follows; behind the gateway's own status it keeps everything until the client reads, and both may
// happen at once. But each answer that it keeps refers to its outbox. So the garbage collector tells: when it finds the
// outbox without any, what is still on the account was dropped. That takes up to two minutes in a process at rest
// (the runtime's forced collection); until then the answer is counted, and it is there.
//
// grpc-go cancels the context before it queues any end, so an answer that was handed over with the context in order is
// in front of the end. That spares nearly all calls the cleanup.
func (o *outbox) handed(ctx context.Context) {
	if ctx.Err() != nil && o.held.Load() > 0 {
		runtime.AddCleanup(o, (*account).close, o.account)
	}
}

// send charges b, the next answer, and waits while the connection holds more than its share. An error ends the call:
// ctx is over, or nothing moved for SEND_TIMEOUT, and then the connection is closed.
func (o *outbox) send(ctx context.Context, b *[]byte) error { return o.reserve(ctx, cap(*b)) }

// reserve is send for an answer whose buffer, of capacity n, is still to be taken from the pool.
func (o *outbox) reserve(ctx context.Context, n int) error {
	cost := int64(n) + answerCost
	o.charge(cost)
	s := &o.conn.sending
	if !s.over() {
		return nil
	}
	s.waiting.Add(cost)
	select {
	case s.first <- struct{}{}:
	case <-ctx.Done():
		s.waiting.Add(-cost)
		return context.Cause(ctx)
	}
	err := o.await(ctx)
	s.waiting.Add(-cost) // before the next one looks
	<-s.first
	return err
}

// await waits until grpc-go holds no more of the connection than its share. For who is the first of those who wait.
func (o *outbox) await(ctx context.Context) error {
	s := &o.conn.sending
	deadline := time.NewTimer(s.limit.timeout)
	defer deadline.Stop()
	poll := time.NewTicker(pausePoll)
	defer poll.Stop()
	for last := s.taken.Load(); s.over(); {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			s.limit.cut.Add(1)
			_ = o.conn.Close()
			return errUnread
		}
		if now := s.taken.Load(); now != last { // it reads, slowly
			last = now
			deadline.Reset(s.limit.timeout)
		}
	}
	return nil
}
