package main

// One caller, one event a call: what the gateway costs beside an empty gRPC
// call on the same machine. Both servers are processes of their own; calls go
// to one and the other in turn.

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// emptyServer is a gateway service whose IngestEvent does nothing.
type emptyServer struct {
	gatewayv1.UnimplementedEventGatewayServer
}

func (emptyServer) IngestEvent(context.Context, *gatewayv1.IngestEventRequest) (*gatewayv1.IngestEventResponse, error) {
	return &gatewayv1.IngestEventResponse{}, nil
}

// serveEmpty runs the empty server in this process (bench -serve-empty) until standard input ends.
func serveEmpty() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	s := grpc.NewServer()
	gatewayv1.RegisterEventGatewayServer(s, emptyServer{})
	return s.Serve(l)
}

// unaryFigures are latencies in microseconds.
type unaryFigures struct{ empty, gateway []float64 }

// unary calls both servers in turn, rounds times a round of calls each, and returns the median latency of each round.
func (b *bench) unary(ctx context.Context, rounds, calls int) (f unaryFigures, err error) {
	self, err := os.Executable()
	if err != nil {
		return f, err
	}
	empty, err := start(filepath.Join(b.logs, "empty.log"), self, nil, "-serve-empty")
	if err != nil {
		return f, err
	}
	defer func() { _ = empty.cmd.Process.Kill(); _ = empty.cmd.Wait() }()
	emptyAddr, err := empty.line()
	if err != nil {
		return f, err
	}
	broker, err := start(filepath.Join(b.logs, "discard.log"), b.bin.discard, nil)
	if err != nil {
		return f, err
	}
	defer func() { _ = broker.end() }()
	addr, err := broker.line()
	if err != nil {
		return f, err
	}
	broker.rest()
	g, err := startGateway(ctx, filepath.Join(b.logs, "gateway.log"), b.bin.gateway, "KAFKA_BROKERS="+addr, "KAFKA_COMPRESSION=none")
	if err != nil {
		return f, err
	}
	defer func() { _ = g.end() }()
	for range rounds {
		for _, t := range []struct {
			addr string
			into *[]float64
		}{{emptyAddr, &f.empty}, {g.grpc, &f.gateway}} {
			median, err := medianLatency(ctx, t.addr, calls)
			if err != nil {
				return f, err
			}
			*t.into = append(*t.into, median)
		}
	}
	return f, nil
}

// medianLatency makes calls one after the other and returns the median in microseconds.
func medianLatency(ctx context.Context, addr string, calls int) (float64, error) {
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // nothing is left to lose
	client := gatewayv1.NewEventGatewayClient(conn)
	request := &gatewayv1.IngestEventRequest{Event: &eventv1.Event{
		Id: "0123456789abcdef", Source: "bench/source", Type: "bench.event.happened", PartitionKey: "key-1", Data: make([]byte, 370),
	}}
	took := make([]float64, 0, calls)
	for i := range calls + calls/10 {
		start := time.Now()
		if _, err := client.IngestEvent(ctx, request); err != nil {
			return 0, fmt.Errorf("calling %s: %w", addr, err)
		}
		if i >= calls/10 { // the first tenth warms up
			took = append(took, float64(time.Since(start))/1e3)
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}
