package main

// The gRPC side: raw frames in, one goroutine that reads and one that answers for each stream.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that rawCodec hands answers to
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// window is how many messages of one stream may wait for Kafka.
const window = 64

// rawCodec receives messages as they came and encodes answers as protobuf.
type rawCodec struct{ encoding.CodecV2 }

func (c rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(*message); ok {
		// Not MaterializeToBuffer: grpc-go's pool clears a whole MiB for a message of 42 kB, which took 31 % of
		// this process's CPU.
		n := data.Len()
		m.data = slices.Grow(m.data[:0], n)[:n]
		data.CopyTo(m.data)
		return nil
	}
	return c.CodecV2.Unmarshal(data, v)
}

// ingest serves the streams. It is shared by all of them and immutable but for the counter.
type ingest struct {
	client     *kgo.Client
	topic      string
	partitions uint32
	messages   atomic.Uint32 // spreads events without key: one partition a message
}

func newServer(in *ingest) *grpc.Server {
	server := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{encoding.GetCodecV2("proto")}),
		grpc.MaxRecvMsgSize(20<<20),
	)
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "gateway.v1.EventGateway",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "IngestEvent", Handler: callHandler(false)},
			{MethodName: "IngestEventBatch", Handler: callHandler(true)},
		},
		Streams: []grpc.StreamDesc{
			{StreamName: "IngestEventStream", Handler: streamHandler(false), ServerStreams: true, ClientStreams: true},
			{StreamName: "IngestEventBatchStream", Handler: streamHandler(true), ServerStreams: true, ClientStreams: true},
		},
		Metadata: "gateway/v1/gateway.proto",
	}, in)
	return server
}

func streamHandler(batch bool) grpc.StreamHandler {
	return func(server any, stream grpc.ServerStream) error {
		in, ok := server.(*ingest)
		if !ok {
			return fmt.Errorf("handler of a %T", server)
		}
		return in.stream(stream, batch)
	}
}

// callHandler waits for Kafka where it is.
func callHandler(batch bool) grpc.MethodHandler {
	return func(server any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		in, ok := server.(*ingest)
		if !ok {
			return nil, fmt.Errorf("handler of a %T", server)
		}
		m := messages.Get().(*message)
		defer m.release()
		if err := decode(m); err != nil {
			return nil, err
		}
		m.produce(in)
		<-m.done
		response, ok := m.response(batch).(proto.Message)
		if !ok {
			return nil, fmt.Errorf("a response of the wrong type: %T", response)
		}
		return proto.Clone(response), nil // it is encoded after this function, when m is someone else's
	}
}

// stream reads messages until the client ends the stream, and returns when all are answered.
func (in *ingest) stream(stream grpc.ServerStream, batch bool) error {
	pending := make(chan *message, window)
	sent := make(chan error, 1)
	go func() { sent <- answerAll(stream, pending, batch) }() // ends when pending is closed and empty
	var err error
	for {
		m := messages.Get().(*message)
		if err = stream.RecvMsg(m); err != nil {
			m.release()
			break
		}
		m.produce(in)
		pending <- m // in order; waits while the window is full
	}
	close(pending)
	sendErr := <-sent
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, sendErr)
}

// answerAll answers messages in order, each when all its records have their answer. A client that is gone is
// answered no more, but its records are waited for: franz-go reads from their buffers until then.
func answerAll(stream grpc.ServerStream, pending <-chan *message, batch bool) error {
	var failed error
	for m := range pending {
		<-m.done
		if failed == nil {
			failed = stream.SendMsg(m.response(batch))
		}
		m.release()
	}
	return failed
}

// background is what records are produced under: a stream that ends must not fail its neighbours' records.
var background = context.Background()
