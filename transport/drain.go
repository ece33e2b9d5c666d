package transport

// The end of the gRPC server: every message gets its answer before its stream
// ends and its connection closes.

import (
	"context"
	"sync"

	"google.golang.org/grpc"

	"github.com/event-gateway/event-gateway/stages"
)

// draining reports whether new calls are to be refused.
func (s *Server) draining() bool { return s.drain.Load() }

// Drain ends the server in order: health says NOT_SERVING, clients are told to go elsewhere (GOAWAY), new calls and
// messages are refused DRAINING, streams are no longer read, get every answer that is outstanding and end with
// DRAINING. It returns when the last connection has closed, or with ctx's error; then call Stop.
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
	s.foreign.drain()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop closes all connections at once. Calls that are still there are abandoned; those after Drain in time were
// answered. It returns when no connection is left.
func (s *Server) Stop() {
	s.drain.Store(true)
	s.health.Shutdown()
	s.grpc.Stop()
}

// foreignStreams are the streaming calls of grpc-go's own services (reflection, health watches), which know nothing
// of a drain and would hold it up for ever.
type foreignStreams struct {
	mu      sync.Mutex
	open    map[wire]struct{}
	drained bool
}

// intercept notes a streaming call while it lasts. Ingest streams look after themselves.
func (f *foreignStreams) intercept(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo,
	handler grpc.StreamHandler) error {
	w, ok := wireOf(ss.Context())
	if !ok || isIngest(info.FullMethod) {
		return handler(srv, ss)
	}
	if !f.add(w) {
		return reasonStatus(stages.Draining, "").Err()
	}
	defer f.remove(w)
	return handler(srv, ss)
}

func (f *foreignStreams) add(w wire) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained {
		return false
	}
	if f.open == nil {
		f.open = make(map[wire]struct{})
	}
	f.open[w] = struct{}{}
	return true
}

func (f *foreignStreams) remove(w wire) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, w)
}

func (f *foreignStreams) drain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.drained = true
	for w := range f.open {
		_ = w.WriteStatus(reasonStatus(stages.Draining, ""))
	}
}
