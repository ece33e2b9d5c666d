package transport

// Unary calls whose message does not arrive: they end in time, with the reason.

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/event-gateway/event-gateway/stages"
)

// TestDrainEndsUnarySilence: a unary call that never sends its message, or half of it, does not hold up a drain.
func TestDrainEndsUnarySilence(t *testing.T) {
	t.Parallel()
	g := start(t, nil)
	half := g.rawHTTP2()
	half.open(1, unaryMethod)
	half.send(1, []byte{0, 0, 0, 4, 0, 1, 2, 3}, new(atomic.Bool))
	large := g.rawHTTP2()
	large.open(1, unaryBatchMethod)
	large.send(1, append([]byte{0, 0, 2, 0, 0}, make([]byte, 70<<10)...), new(atomic.Bool))
	silent := g.rawStream(g.context(), unaryMethod)
	health := g.rawStream(g.context(), healthpb.Health_Check_FullMethodName)
	g.eventually("four calls wait for their messages", func() bool {
		g.server.open.mu.Lock()
		defer g.server.open.mu.Unlock()
		return len(g.server.open.open) == 4 && g.server.recv.held() >= 128<<10
	})
	drained := make(chan error, 1)
	go func() { drained <- g.server.Drain(g.context()) }()
	var answer []byte
	wantStatus(t, silent.RecvMsg(&answer), codes.Unavailable, "DRAINING")
	wantStatus(t, health.RecvMsg(&answer), codes.Unavailable, "DRAINING")
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	if n := g.pipeline.Totals(stages.FromGRPC).Accepted; n != 0 {
		t.Errorf("%d events accepted of calls that were refused", n)
	}
	_ = half.conn.Close()
	_ = large.conn.Close()
}

// TestOpenCallIsDecidedOnce: a call that was ended is not taken, and one that was taken is not ended.
func TestOpenCallIsDecidedOnce(t *testing.T) {
	var o openCalls
	wires := []*playedStream{{}, {}}
	first, second := o.add(wires[0]), o.add(wires[1])
	if st := first.arrived(); st != nil {
		t.Fatalf("ended with %v", st)
	}
	o.drain()
	if st := second.arrived(); st == nil || st.Code() != codes.Unavailable {
		t.Errorf("taken in a drain: %v", st)
	}
	if first.ended() != nil || len(wires[0].told) != 0 || len(wires[1].told) != 1 {
		t.Errorf("statuses %v of the call that was taken, %v of the other", wires[0].told, wires[1].told)
	}
	if o.add(wires[0]) != nil {
		t.Error("a call was let in after the drain's begin")
	}
}

// fillReceiveMemory takes what is there for large bodies until the test is over.
func (g *gateway) fillReceiveMemory() {
	g.t.Helper()
	l := g.server.recv
	hog := &recvStream{conn: &recvConn{limit: l}}
	for range 2 { // its even share, then the first-come part
		if !l.reserve(context.Background(), hog, int(l.part), 0) {
			g.t.Fatal("the receive memory is in use")
		}
	}
	g.t.Cleanup(func() {
		l.release(hog, int(l.part))
		l.release(hog, int(l.part))
	})
}

// TestUnaryWaitsForReceiveMemoryWithinBounds: no longer than ADMISSION_TIMEOUT, nor than the caller does.
func TestUnaryWaitsForReceiveMemoryWithinBounds(t *testing.T) {
	big := batchRequest(1)
	big.Events[0].Data = make([]byte, 800_000) // more than the half of a part that a second connection has
	for _, c := range []struct{ admission, callers time.Duration }{
		{50 * time.Millisecond, patience},
		{patience, time.Second},
	} {
		g := start(t, func(s *setup) {
			s.config.AdmissionTimeout = c.admission
			s.config.MaxMessageBytes, s.config.MaxReceive = stages.MiB, 4*stages.MiB
		})
		g.fillReceiveMemory()
		ctx, cancel := context.WithTimeout(context.Background(), c.callers)
		began := time.Now()
		_, err := g.client().IngestEventBatch(ctx, big)
		cancel()
		wantStatus(t, err, codes.ResourceExhausted, "OVERLOADED")
		if took := time.Since(began); took > recvPatience/2 {
			t.Errorf("ADMISSION_TIMEOUT %v, caller's deadline %v: answered after %v", c.admission, c.callers, took)
		}
	}
}

// TestAdmissionTimeoutIsOne: what a message has waited for receive memory, it does not wait again for admission.
func TestAdmissionTimeoutIsOne(t *testing.T) {
	l := newRecvLimit(4 * stages.MiB)
	hog, s := &recvStream{conn: &recvConn{limit: l}}, &recvStream{conn: &recvConn{limit: l}}
	for range 2 {
		l.reserve(t.Context(), hog, int(l.part), 0)
	}
	r := newFrameReader(t.Context(), &playedStream{}, 1<<20, l)
	r.charge, r.patience = s, 20*time.Millisecond
	if r.reserve(800_000) || r.waited < r.patience {
		t.Errorf("waited %v of %v", r.waited, r.patience)
	}
	if !l.holdsUp(s) {
		t.Error("the call is not known to be held up by the gateway")
	}
}

func TestUnarySilenceEndsBeforeTheCallersDeadline(t *testing.T) {
	g := start(t, nil)
	err := beforeDeadline(t, func(ctx context.Context) error {
		var answer []byte
		return g.rawStream(ctx, unaryMethod).RecvMsg(&answer)
	})
	wantStatus(t, err, codes.Unavailable, "NOT_SENT")
	if n := g.pipeline.Totals(stages.FromGRPC).Accepted; n != 0 {
		t.Errorf("%d events accepted", n)
	}
	good, err := proto.Marshal(request("good"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.rawCall(unaryMethod, good); err != nil {
		t.Errorf("a call that sends its message: %v", err)
	}
}
