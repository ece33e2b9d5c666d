package cli

// A gateway that stores nothing: it counts what it gets and answers as the
// test says. Run on its own (FAKE_GATEWAY=1), it is what publish's own cost is
// measured against.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func TestMain(m *testing.M) {
	if os.Getenv("FAKE_GATEWAY") != "" {
		serveDiscarding()
		return
	}
	if os.Getenv("GATEWAY_COMMAND") != "" { // a process of its own, for signals
		os.Exit(Run(Program{Version: "test", Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}, os.Args[1:]))
	}
	goleak.VerifyTestMain(m)
}

// fake is a gateway; answer says what becomes of an event (nil = acknowledged).
type fake struct {
	gatewayv1.UnimplementedEventGatewayServer
	answer func(event *eventv1.Event, sending int) *gatewayv1.IngestEventResponse
	// breakAfter ends each stream with UNAVAILABLE after that many messages, and so a call after as many others; 0 =
	// never.
	breakAfter int
	// status answers every unary call.
	status error
	// before runs at the beginning of each unary call.
	before func()
	// keeps: events that a unary call refuses with INVALID_ARGUMENT are kept as dead letters.
	keeps bool

	mu     sync.Mutex
	events []*eventv1.Event
	times  map[string]int
	calls  int
}

func startFake(t *testing.T, f *fake) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	gatewayv1.RegisterEventGatewayServer(server, f)
	f.times = map[string]int{}
	var group sync.WaitGroup
	group.Go(func() { _ = server.Serve(listener) })
	t.Cleanup(func() {
		server.Stop()
		group.Wait()
	})
	return listener.Addr().String()
}

func (f *fake) result(event *eventv1.Event) *gatewayv1.IngestEventResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, event)
	f.times[event.Id]++
	if f.answer != nil {
		if a := f.answer(event, f.times[event.Id]); a != nil {
			return a
		}
	}
	return &gatewayv1.IngestEventResponse{EventId: event.Id, Success: true, Topic: "events", Partition: 1,
		Offset: int64(len(f.events)), Outcome: gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED}
}

func (f *fake) received() []*eventv1.Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events
}

func (f *fake) IngestEventStream(s grpc.BidiStreamingServer[gatewayv1.IngestEventRequest, gatewayv1.IngestEventResponse]) error {
	for n := 1; ; n++ {
		in, err := s.Recv()
		if err != nil {
			return endOf(err)
		}
		if f.breakAfter > 0 && n > f.breakAfter {
			return errBroken
		}
		if err := s.Send(f.result(in.Event)); err != nil {
			return err
		}
	}
}

func (f *fake) IngestEventBatchStream(s grpc.BidiStreamingServer[gatewayv1.IngestEventBatchRequest, gatewayv1.IngestEventBatchResponse]) error {
	for {
		in, err := s.Recv()
		if err != nil {
			return endOf(err)
		}
		if err := s.Send(f.results(in.Events)); err != nil {
			return err
		}
	}
}

func (f *fake) results(events []*eventv1.Event) *gatewayv1.IngestEventBatchResponse {
	out := &gatewayv1.IngestEventBatchResponse{}
	for i, event := range events {
		r := f.result(event)
		switch r.Outcome {
		case gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED:
			out.Succeeded++
		case gatewayv1.Outcome_OUTCOME_FILTERED:
			out.Succeeded++
			out.Filtered = append(out.Filtered, int32(i))
		case gatewayv1.Outcome_OUTCOME_DUPLICATE:
			out.Succeeded++
			out.Duplicates = append(out.Duplicates, int32(i))
		default:
			out.Failures = append(out.Failures,
				&gatewayv1.IngestEventBatchResponse_Failure{Index: int32(i), Result: r})
		}
	}
	return out
}

// call is the status of a whole unary call.
func (f *fake) call() error {
	if f.before != nil {
		f.before()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.breakAfter > 0 && f.calls%(f.breakAfter+1) == 0 {
		return errBroken
	}
	return f.status
}

func (f *fake) IngestEvent(_ context.Context, in *gatewayv1.IngestEventRequest) (*gatewayv1.IngestEventResponse, error) {
	if err := f.call(); err != nil {
		return nil, err
	}
	r := f.result(in.Event)
	if r.Success {
		return r, nil
	}
	if f.keeps && codes.Code(r.Code) == codes.InvalidArgument {
		return nil, statusOf(r, "dead_lettered", "true")
	}
	return nil, statusOf(r)
}

func (f *fake) IngestEventBatch(_ context.Context, in *gatewayv1.IngestEventBatchRequest) (*gatewayv1.IngestEventBatchResponse, error) {
	if err := f.call(); err != nil {
		return nil, err
	}
	return f.results(in.Events), nil
}

// statusOf is a failure as unary calls answer it; more are further names and values of its metadata.
func statusOf(r *gatewayv1.IngestEventResponse, more ...string) error {
	code := codes.ResourceExhausted
	switch {
	case r.Code != 0:
		code = codes.Code(r.Code)
	case r.Outcome == gatewayv1.Outcome_OUTCOME_UNKNOWN:
		code = codes.Unavailable
	}
	metadata := map[string]string{"stage": r.Stage, "event_id": r.EventId}
	for i := 0; i < len(more); i += 2 {
		metadata[more[i]] = more[i+1]
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{Reason: r.Reason, Domain: "eventgateway", Metadata: metadata}}
	if r.RetryDelay != nil {
		details = append(details, &errdetails.RetryInfo{RetryDelay: r.RetryDelay})
	}
	st, err := status.New(code, r.ErrorMessage).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return st.Err()
}

func endOf(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// discardCodec hands frames to the discarding server as a count of events.
type discardCodec struct{}

func (discardCodec) Name() string { return "proto" }

func (discardCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (discardCodec) Unmarshal(data mem.BufferSlice, v any) error {
	events := 0
	if data.Len() > 0 {
		events = len(split(data.Materialize()))
	}
	*v.(*int) = events
	return nil
}

// serveDiscarding prints its address and serves until stdin ends.
func serveDiscarding() {
	single, _ := proto.Marshal(&gatewayv1.IngestEventResponse{Success: true, EventId: "0123456789abcdef-0123",
		Outcome: gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED, Topic: "events", Partition: 2, Offset: 123456})
	batch := func(n int) []byte {
		out, _ := proto.Marshal(&gatewayv1.IngestEventBatchResponse{Succeeded: int32(n)})
		return out
	}
	stream := func(answer func(events int) []byte) grpc.StreamHandler {
		return func(_ any, s grpc.ServerStream) error {
			for {
				var events int
				if err := s.RecvMsg(&events); err != nil {
					return endOf(err)
				}
				out := answer(events)
				if err := s.SendMsg(&out); err != nil {
					return err
				}
			}
		}
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(discardCodec{}), grpc.MaxRecvMsgSize(64<<20))
	server.RegisterService(&grpc.ServiceDesc{ServiceName: "gateway.v1.EventGateway", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "IngestEventStream", ClientStreams: true, ServerStreams: true,
				Handler: stream(func(int) []byte { return single })},
			{StreamName: "IngestEventBatchStream", ClientStreams: true, ServerStreams: true, Handler: stream(batch)},
			// A unary call is a stream of one message each way.
			{StreamName: "IngestEvent", Handler: stream(func(int) []byte { return single })},
			{StreamName: "IngestEventBatch", Handler: stream(batch)},
		}}, struct{}{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	context.AfterFunc(ctx, server.Stop)
	_ = server.Serve(listener)
}
