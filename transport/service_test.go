package transport

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
)

// TestServiceDescs: what clients see of the hand-written ServiceDescs is what was generated.
func TestServiceDescs(t *testing.T) {
	g := start(t, nil)
	info := g.server.grpc.GetServiceInfo()
	for _, generated := range []*grpc.ServiceDesc{&gatewayv1.EventGateway_ServiceDesc, &schemav1.SchemaService_ServiceDesc} {
		var want []grpc.MethodInfo
		for _, m := range generated.Methods {
			want = append(want, grpc.MethodInfo{Name: m.MethodName})
		}
		for _, m := range generated.Streams {
			want = append(want, grpc.MethodInfo{Name: m.StreamName, IsClientStream: m.ClientStreams, IsServerStream: m.ServerStreams})
		}
		got := info[generated.ServiceName]
		byName := func(a, b grpc.MethodInfo) int {
			if a.Name < b.Name {
				return -1
			}
			return 1
		}
		slices.SortFunc(want, byName)
		slices.SortFunc(got.Methods, byName)
		if !slices.Equal(got.Methods, want) || got.Metadata != generated.Metadata {
			t.Errorf("%s: %v, generated: %v", generated.ServiceName, got, want)
		}
	}
	if _, ok := info["grpc.reflection.v1.ServerReflection"]; !ok {
		t.Error("no reflection")
	}
}

func TestReflectionAndHealth(t *testing.T) {
	g := start(t, nil)
	conn := g.dial()
	r, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(g.context())
	if err != nil {
		t.Fatal(err)
	}
	err = r.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{
		FileContainingSymbol: "gateway.v1.EventGateway"}})
	if err != nil {
		t.Fatal(err)
	}
	if a, err := r.Recv(); err != nil || len(a.GetFileDescriptorResponse().GetFileDescriptorProto()) == 0 {
		t.Fatalf("reflection: %v, %v", a, err)
	}
	check := func(want healthpb.HealthCheckResponse_ServingStatus) {
		t.Helper()
		for _, name := range []string{"", "gateway.v1.EventGateway"} {
			a, err := healthpb.NewHealthClient(conn).Check(g.context(), &healthpb.HealthCheckRequest{Service: name})
			if err != nil || a.Status != want {
				t.Errorf("health of %q: %v, %v; want %v", name, a, err, want)
			}
		}
	}
	check(healthpb.HealthCheckResponse_SERVING)
	g.server.SetServing(false)
	check(healthpb.HealthCheckResponse_NOT_SERVING)
}

func TestMissingMethodsSaySo(t *testing.T) {
	g := start(t, nil)
	conn := g.dial()
	c := gatewayv1.NewEventGatewayClient(conn)
	s, err := c.SubscribeEvents(g.context(), &gatewayv1.SubscribeRequest{})
	if err == nil {
		_, err = s.Recv()
	}
	wantStatus(t, err, codes.FailedPrecondition, "READING_DISABLED")
	_, err = schemav1.NewSchemaServiceClient(conn).ListSchemas(g.context(), &schemav1.ListSchemasRequest{})
	wantStatus(t, err, codes.Unimplemented, "NOT_IMPLEMENTED")
	err = conn.Invoke(g.context(), "/no.such.Service/Method", &gatewayv1.GetEventRequest{}, &gatewayv1.GetEventRequest{})
	wantStatus(t, err, codes.Unimplemented, "NOT_IMPLEMENTED")
}

// TestWire: grpc-go still hands its transport stream to handlers, with the methods that frames are read by.
func TestWire(t *testing.T) {
	g := start(t, nil)
	_, err := g.client().IngestEvent(g.context(), request("x"))
	if err != nil {
		t.Fatalf("this grpc-go does not fit frame.go: %v", err)
	}
}

func TestDrainAnswersEverything(t *testing.T) {
	g := start(t, nil)
	g.broker.hold()
	client := g.client()
	s, err := client.IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	idle, err := client.IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	watch, err := healthpb.NewHealthClient(g.dial()).Watch(g.context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	reflection, err := reflectionpb.NewServerReflectionClient(g.dial()).ServerReflectionInfo(g.context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reflection.CloseSend() }()
	const n = 150
	for range n {
		if err := s.Send(request("")); err != nil {
			t.Fatal(err)
		}
	}
	unary := make(chan error, 1)
	go func() {
		_, err := client.IngestEvent(g.context(), request("unary"))
		unary <- err
	}()
	g.eventually("everything is at the broker", func() bool { return g.broker.taken.Load() == n+1 })
	g.eventually("streams", func() bool { return g.server.streams.count() == 2 })
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	drained := make(chan error, 1)
	go func() { drained <- g.server.Drain(g.context()) }()
	_, err = idle.Recv()
	wantStatus(t, err, codes.Unavailable, "DRAINING")
	if a, err := watch.Recv(); err == nil && a.Status != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("health: %v", a)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with %d events without an answer: %v", n, err)
	default:
	}
	begin := time.Now()
	g.broker.release()
	for i, a := range collect(t, s.Recv, n) {
		if !a.Success {
			t.Fatalf("answer %d: %v", i, a)
		}
	}
	_, err = s.Recv()
	wantStatus(t, err, codes.Unavailable, "DRAINING")
	if err := <-unary; err != nil {
		t.Errorf("unary: %v", err)
	}
	if err := <-drained; err != nil {
		t.Errorf("drain: %v", err)
	}
	if took := time.Since(begin); took > patience/2 { // before the contexts of the watching clients end
		t.Errorf("the drain took %v after the last answer", took)
	}
}

func TestCallsInADrainAreRefused(t *testing.T) {
	g := start(t, nil)
	g.server.drain.Store(true)
	c := g.client()
	_, err := c.IngestEvent(g.context(), request("x"))
	wantStatus(t, err, codes.Unavailable, "DRAINING")
	g.server.streams.drain()
	s, err := c.IngestEventStream(g.context())
	if err == nil {
		_, err = s.Recv()
	}
	wantStatus(t, err, codes.Unavailable, "DRAINING")
}

func TestHardEndOfADrain(t *testing.T) {
	g := start(t, nil)
	g.broker.hold()
	client := g.client()
	s, err := client.IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := s.Send(request("")); err != nil {
			t.Fatal(err)
		}
	}
	unary := make(chan error, 1)
	go func() {
		_, err := client.IngestEvent(g.context(), request("unary"))
		unary <- err
	}()
	g.eventually("everything is at the broker", func() bool { return g.broker.taken.Load() == 11 })
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if err := g.server.Drain(ctx); err == nil {
		t.Fatal("drained without answers")
	}
	begin := time.Now()
	if refused, unknown := g.pipeline.ExpireAll(g.context()); refused != 0 || unknown != 11 {
		t.Errorf("%d refused, %d unknown", refused, unknown)
	}
	if took := time.Since(begin); took > patience/4 {
		t.Errorf("the owners took %v to answer", took)
	}
	for _, a := range collect(t, s.Recv, 10) {
		if a.Reason != "OUTCOME_UNKNOWN" {
			t.Fatalf("answer %v", a)
		}
	}
	_, err = s.Recv()
	wantStatus(t, err, codes.Unavailable, "DRAINING")
	wantStatus(t, <-unary, codes.Unavailable, "OUTCOME_UNKNOWN")
}

func TestStreamAge(t *testing.T) {
	t.Parallel()
	g := start(t, func(c *setup) { c.config.MaxConnectionAge = time.Second })
	s, err := g.client().IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for err == nil && time.Since(begin) < 500*time.Millisecond { // on a machine that stands still for that long, less
		if err = s.Send(request("")); err == nil {
			_, err = s.Recv()
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		_, err = s.Recv()
	}
	wantStatus(t, err, codes.Unavailable, "STREAM_AGE")
	if lived := time.Since(begin); lived < 850*time.Millisecond || lived > patience/2 {
		t.Errorf("the stream lived %v", lived)
	}
}
