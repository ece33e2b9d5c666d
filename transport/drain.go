package transport

// The end of the gRPC server: every message gets its answer before its stream
// ends and its connection closes.

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/event-gateway/event-gateway/stages"
)

// draining reports whether new calls are to be refused.
func (s *Server) draining() bool { return s.drain.Load() }

// Drain ends the server in order: health says NOT_SERVING, clients are told to go elsewhere (GOAWAY), new calls and
// messages are refused DRAINING, unary calls whose message has not arrived end with DRAINING, streams are no longer
// read, get every answer that is outstanding and end with DRAINING. It returns when the last connection has closed, or
// with ctx's error; then call Stop. A client that leaves its last answers unread keeps its connection open: such
// connections are closed SEND_TIMEOUT after the last call has ended.
func (s *Server) Drain(ctx context.Context) error {
	s.health.Shutdown()
	s.drain.Store(true)
	s.pipeline.StartDrain()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop() // waits for all streams, without a bound: so they are ended here
	}()
	s.streams.drain()
	s.open.drain()
	tick := time.NewTicker(unreadTick)
	defer tick.Stop()
	var ended time.Time // when the last call had ended; zero while there are any
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			switch {
			case s.open.running.Load() > 0:
				ended = time.Time{}
			case ended.IsZero():
				ended = now
			case now.Sub(ended) >= s.config.SendTimeout:
				s.grpc.Stop() // which also ends GracefulStop
			}
		}
	}
}

// unreadTick is how often a drain looks whether calls are left.
const unreadTick = 50 * time.Millisecond

// Stop closes all connections at once. Calls that are still there are abandoned; those after Drain in time were
// answered. It returns when no connection is left.
func (s *Server) Stop() {
	s.drain.Store(true)
	s.health.Shutdown()
	s.grpc.Stop()
}

// openCall is a call that can be ended from outside its handler. Of those who want to end it and the handler that has
// its message (arrived), the first one wins: so no message is taken of a call that was told otherwise.
type openCall struct {
	wire wire
	// fate is nil while it is open, then the status that it was ended with, or taken.
	fate atomic.Pointer[status.Status]
}

// taken is the fate of a call that goes on.
var taken = new(status.Status)

// end ends the call with st, which also ends a read that blocks.
func (c *openCall) end(st *status.Status) {
	if c.fate.CompareAndSwap(nil, st) {
		_ = c.wire.WriteStatus(st)
	}
}

// arrived says that the call's message is there. Not nil: the status that the call has ended with before that.
func (c *openCall) arrived() *status.Status {
	if c.fate.CompareAndSwap(nil, taken) {
		return nil
	}
	return c.fate.Load()
}

// ended is the status that the call was ended with, or nil.
func (c *openCall) ended() *status.Status {
	if st := c.fate.Load(); st != taken {
		return st
	}
	return nil
}

// openCalls are the calls that a drain ends wherever they are, since nothing else would within its time: unary
// calls whose message has not arrived, and all of grpc-go's own services (reflection, health), which know nothing of
// a drain.
//
// They also count all calls that have not returned from their handlers.
type openCalls struct {
	running atomic.Int64

	mu      sync.Mutex
	open    map[*openCall]struct{}
	drained bool
}

// add notes a call; nil when the drain has begun.
func (o *openCalls) add(w wire) *openCall {
	c := &openCall{wire: w}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.drained {
		return nil
	}
	if o.open == nil {
		o.open = make(map[*openCall]struct{})
	}
	o.open[c] = struct{}{}
	return c
}

func (o *openCalls) remove(c *openCall) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.open, c)
}

// drain ends every call, those to come included.
func (o *openCalls) drain() {
	o.mu.Lock()
	o.drained = true
	all := slices.Collect(maps.Keys(o.open))
	o.mu.Unlock()
	for _, c := range all {
		c.end(reasonStatus(stages.Draining, ""))
	}
}

// intercept counts every call, and notes one of a foreign service while it lasts. Calls that read frames look after themselves.
func (o *openCalls) intercept(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo,
	handler grpc.StreamHandler) error {
	o.running.Add(1)
	defer o.running.Add(-1)
	w, ok := wireOf(ss.Context())
	if !ok || readsFrames(info.FullMethod) {
		return handler(srv, ss)
	}
	c := o.add(w)
	if c == nil {
		return reasonStatus(stages.Draining, "").Err()
	}
	defer o.remove(c)
	return handler(srv, ss)
}

// watched is desc with its unary methods intercepted like streams, before they read their request: grpc-go reads a unary
// call's request before an interceptor sees it, and waits for it for ever. For clients nothing changes.
func (o *openCalls) watched(desc grpc.ServiceDesc) *grpc.ServiceDesc {
	desc.Streams = slices.Clone(desc.Streams)
	for _, m := range desc.Methods {
		info := &grpc.StreamServerInfo{FullMethod: "/" + desc.ServiceName + "/" + m.MethodName}
		handler := func(srv any, ss grpc.ServerStream) error {
			answer, err := m.Handler(srv, ss.Context(), ss.RecvMsg, nil)
			if err != nil {
				return err
			}
			return ss.SendMsg(answer)
		}
		desc.Streams = append(desc.Streams, grpc.StreamDesc{
			StreamName: m.MethodName,
			Handler:    func(srv any, ss grpc.ServerStream) error { return o.intercept(srv, ss, info, handler) },
		})
	}
	desc.Methods = nil
	return &desc
}
