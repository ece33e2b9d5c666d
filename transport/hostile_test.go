package transport

// Bad input: the exact answer or bound, no other client hurt, nothing left behind.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// rawCodec sends and receives frames as they are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

const (
	unaryMethod       = "/gateway.v1.EventGateway/IngestEvent"
	unaryBatchMethod  = "/gateway.v1.EventGateway/IngestEventBatch"
	streamMethod      = "/gateway.v1.EventGateway/IngestEventStream"
	batchStreamMethod = "/gateway.v1.EventGateway/IngestEventBatchStream"
)

var bothSides = &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}

// rawStream opens a call whose frames are the test's own.
func (g *gateway) rawStream(ctx context.Context, method string) grpc.ClientStream {
	g.t.Helper()
	s, err := g.dial().NewStream(ctx, bothSides, method, grpc.ForceCodecV2(rawCodec{}))
	if err != nil {
		g.t.Fatal(err)
	}
	return s
}

func (g *gateway) rawCall(method string, frames ...[]byte) ([]byte, error) {
	s := g.rawStream(g.context(), method)
	for _, f := range frames {
		if err := s.SendMsg(&f); err != nil {
			break
		}
	}
	_ = s.CloseSend()
	var answer []byte
	err := s.RecvMsg(&answer)
	return answer, err
}

// badFrames are bytes that are no IngestEventRequest.
func badFrames() map[string][]byte {
	good, _ := proto.Marshal(request("x"))
	return map[string][]byte{
		"truncated":       good[:len(good)-3],
		"garbage":         bytes.Repeat([]byte{0xff}, 100),
		"length past end": {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1},
		"wrong wire type": protowire.AppendVarint([]byte{1 << 3}, 5),
		"field number 0":  {0x02, 0x01, 0x00},
		"open group":      {1<<3 | 3, 0x0b},
	}
}

func TestBadFramesUnary(t *testing.T) {
	g := start(t, nil)
	for name, frame := range badFrames() {
		_, err := g.rawCall(unaryMethod, frame)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		if st := wantReason(t, err); st.code != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := g.rawCall(unaryBatchMethod, frame); err == nil {
			t.Errorf("%s: accepted as a batch", name)
		} else if st := wantReason(t, err); st.code != codes.InvalidArgument {
			t.Errorf("%s as a batch: %v", name, err)
		}
	}
	g.good()
}

type reasonOf struct {
	code   codes.Code
	reason string
}

// wantReason checks that an error has an ErrorInfo.
func wantReason(t testing.TB, err error) reasonOf {
	t.Helper()
	st := statusOf(err)
	if st.reason == "" {
		t.Errorf("no ErrorInfo: %v", err)
	}
	return st
}

func TestBadFramesOnAStreamLeaveItAlive(t *testing.T) {
	g := start(t, nil)
	good, _ := proto.Marshal(request("good"))
	goodBatch, _ := proto.Marshal(batchRequest(3))
	for _, batch := range []bool{false, true} {
		method, fine := streamMethod, good
		if batch {
			method, fine = batchStreamMethod, goodBatch
		}
		s := g.rawStream(g.context(), method)
		for name, frame := range badFrames() {
			for _, f := range [][]byte{frame, fine} {
				if err := s.SendMsg(&f); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 2 {
				var answer []byte
				if err := s.RecvMsg(&answer); err != nil {
					t.Fatalf("%s ended the stream: %v", name, err)
				}
				if got := succeededIn(t, answer, batch); got != (i == 1) {
					t.Errorf("%s (batch %v): answer %d success=%v", name, batch, i, got)
				}
			}
		}
		_ = s.CloseSend()
		var answer []byte
		if err := s.RecvMsg(&answer); !errors.Is(err, io.EOF) {
			t.Errorf("at the end: %v", err)
		}
	}
}

func succeededIn(t testing.TB, answer []byte, batch bool) bool {
	t.Helper()
	if batch {
		var a gatewayv1.IngestEventBatchResponse
		if err := proto.Unmarshal(answer, &a); err != nil {
			t.Fatal(err)
		}
		return len(a.Failures) == 0 && a.Succeeded == 3
	}
	var a gatewayv1.IngestEventResponse
	if err := proto.Unmarshal(answer, &a); err != nil {
		t.Fatal(err)
	}
	return a.Success
}

func TestCardinality(t *testing.T) {
	g := start(t, nil)
	good, _ := proto.Marshal(request("x"))
	for _, method := range []string{unaryMethod, unaryBatchMethod} {
		_, err := g.rawCall(method)
		wantStatus(t, err, codes.InvalidArgument, "MALFORMED_EVENT")
		_, err = g.rawCall(method, good, good)
		wantStatus(t, err, codes.InvalidArgument, "MALFORMED_EVENT")
	}
	g.good()
	if n := g.pipeline.Totals(stages.FromGRPC).Outcomes[stages.Acknowledged]; n != 1 {
		t.Errorf("%d events acknowledged, want the good client's only", n)
	}
}

func TestOversizeMessage(t *testing.T) {
	g := start(t, nil)
	over := make([]byte, 20<<20+1)
	_, err := g.rawCall(unaryMethod, over)
	wantStatus(t, err, codes.InvalidArgument, "MESSAGE_TOO_LARGE")

	s := g.rawStream(g.context(), streamMethod)
	good, _ := proto.Marshal(request("after"))
	for _, f := range [][]byte{over, good} {
		if err := s.SendMsg(&f); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 2 {
		var answer []byte
		if err := s.RecvMsg(&answer); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
		var a gatewayv1.IngestEventResponse
		if err := proto.Unmarshal(answer, &a); err != nil {
			t.Fatal(err)
		}
		if i == 0 && a.Reason != "MESSAGE_TOO_LARGE" || i == 1 && !a.Success {
			t.Errorf("answer %d: %v", i, &a)
		}
	}
	_ = s.CloseSend()
	g.good()
}

func TestLargestMessageIsRead(t *testing.T) {
	g := start(t, nil)
	r := batchRequest(25) // 25 events of 800 kB are just below 20 MiB
	for _, e := range r.Events {
		e.Data = make([]byte, 800_000)
	}
	answer, err := g.client().IngestEventBatch(g.context(), r)
	if err != nil || answer.Succeeded != 25 {
		t.Fatalf("%v, %v", answer, err)
	}
}

func TestStreamNeverUsed(t *testing.T) {
	g := start(t, nil)
	before := runtime.NumGoroutine()
	var cancels []context.CancelFunc
	conn := g.dial()
	client := gatewayv1.NewEventGatewayClient(conn)
	for range 100 {
		ctx, cancel := context.WithCancel(context.Background())
		cancels = append(cancels, cancel)
		if _, err := client.IngestEventStream(ctx); err != nil {
			t.Fatal(err)
		}
	}
	g.eventually("100 streams", func() bool { return g.server.streams.count() == 100 })
	// Per stream: the handler, and on the client's side in this process one watcher.
	if extra := runtime.NumGoroutine() - before; extra > 220 {
		t.Errorf("%d goroutines for 100 idle streams", extra)
	}
	g.good()
	for _, cancel := range cancels {
		cancel()
	}
	g.eventually("streams ended", func() bool { return g.server.streams.count() == 0 })
}

func TestClientNeverReadsItsAnswers(t *testing.T) {
	g := start(t, func(c *setup) { c.config.SendTimeout = 400 * time.Millisecond })
	// A client that reads its connection, but leaves the stream's flow-control window shut.
	client := gatewayv1.NewEventGatewayClient(g.dial(grpc.WithStaticStreamWindowSize(64 << 10)))
	s, err := client.IngestEventBatchStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	r := batchRequest(2000)
	r.WantResults = true
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for s.Send(r) == nil { // until the stream was cut and the client has seen it
		}
	}()
	g.eventually("a stream", func() bool { return g.server.streams.count() == 1 })
	g.good()
	g.eventually("stream cut", func() bool { return g.server.streams.count() == 0 })
	g.good()
	if err := g.pipeline.AwaitIdle(g.context()); err != nil {
		t.Errorf("messages of the cut stream are left: %v", err)
	}
	// Once it reads, it gets the answers that were on their way, then the reason.
	for {
		if _, err = s.Recv(); err != nil {
			break
		}
	}
	wantStatus(t, err, codes.ResourceExhausted, "SLOW_CLIENT")
	<-sent
	if n := g.server.metrics.slowClients.Get(); n != 1 {
		t.Errorf("%d slow clients counted", n)
	}
}

func TestClientVanishes(t *testing.T) {
	for _, held := range []bool{false, true} {
		g := start(t, nil)
		if held {
			g.broker.hold()
		}
		ctx, cancel := context.WithCancel(context.Background())
		s, err := g.client().IngestEventStream(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			if err := s.Send(request(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		unary := make(chan struct{})
		c := g.client()
		go func() {
			defer close(unary)
			_, _ = c.IngestEvent(ctx, request("unary"))
		}()
		g.eventually("events at the broker", func() bool { return g.broker.taken.Load() >= 100 })
		cancel()
		<-unary
		g.eventually("stream ended", func() bool { return g.server.streams.count() == 0 })
		g.broker.release()
		g.good()
		g.stop()
	}
}
