package main

// The server: raw frames in, the same bytes out each time.

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/transport"
)

// received is a message that nobody looks at.
type received struct{}

// answer is an encoded message, the same for every request.
type answer struct{ buffers mem.BufferSlice }

// rawCodec has the name of the codec whose bytes it passes on.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

// Marshal gives the answer's bytes away; memory that no pool owns needs no counting.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	a, ok := v.(*answer)
	if !ok {
		return nil, fmt.Errorf("sending %T: only answers are sent", v)
	}
	return a.buffers, nil
}

// Unmarshal leaves the message in the buffers that it came in; grpc-go frees them afterwards.
func (rawCodec) Unmarshal(_ mem.BufferSlice, v any) error {
	if _, ok := v.(*received); !ok {
		return fmt.Errorf("receiving into %T", v)
	}
	return nil
}

func newAnswer(m proto.Message) (*answer, error) {
	encoded, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	return &answer{mem.BufferSlice{mem.SliceBuffer(encoded)}}, nil
}

// newServer answers single events and batches of the given size.
func newServer(batch int, tuned bool) (*grpc.Server, error) {
	if batch < 1 {
		return nil, fmt.Errorf("a batch of %d events: at least 1", batch)
	}
	one, err := newAnswer(&gatewayv1.IngestEventResponse{Success: true, EventId: "0123abcd-000000000000",
		Outcome: gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED, Topic: "events", Partition: 2, Offset: 1234567})
	if err != nil {
		return nil, err
	}
	many, err := newAnswer(&gatewayv1.IngestEventBatchResponse{Succeeded: int32(batch)})
	if err != nil {
		return nil, err
	}
	options := []grpc.ServerOption{grpc.ForceServerCodecV2(rawCodec{}), grpc.MaxRecvMsgSize(20 << 20)}
	if tuned {
		options = append(options, transport.BufferOptions()...)
	}
	server := grpc.NewServer(options...)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: gatewayv1.EventGateway_ServiceDesc.ServiceName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "IngestEvent", Handler: call(one)},
			{MethodName: "IngestEventBatch", Handler: call(many)},
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "IngestEventStream", Handler: stream(one), ServerStreams: true, ClientStreams: true},
			{StreamName: "IngestEventBatchStream", Handler: stream(many), ServerStreams: true, ClientStreams: true},
		},
	}, struct{}{})
	return server, nil
}

func call(a *answer) grpc.MethodHandler {
	return func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		if err := decode(&received{}); err != nil {
			return nil, err
		}
		return a, nil
	}
}

func stream(a *answer) grpc.StreamHandler {
	return func(_ any, s grpc.ServerStream) error {
		var message received
		for {
			if err := s.RecvMsg(&message); err != nil {
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			if err := s.SendMsg(a); err != nil {
				return err
			}
		}
	}
}
