package main

// The gateway's reading side, from Readers to the gRPC server, and subscribers to it over loopback, with a connection
// each. Their codec throws the events away: what a client makes of an event is its own, as is what a consumer makes of a
// record, which franz-go has taken apart by then.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caarlos0/env/v11"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/pipeline"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/transport"
)

// subscribe opens a gateway and n subscribers, from the end of the topic on.
func (t *topic) subscribe(ctx context.Context, n int, r *round) (end func(), err error) {
	g, err := t.openGateway()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	end = func() { cancel(); running.Wait(); g.close() }
	for i := range n {
		conn, stream, err := subscribeOnce(ctx, g.address())
		if err != nil {
			end()
			return nil, fmt.Errorf("subscriber %d: %w", i, err)
		}
		running.Go(func() {
			defer func() { _ = conn.Close() }()
			for {
				if err := stream.RecvMsg(nil); err != nil {
					if ctx.Err() == nil {
						r.failed(fmt.Errorf("subscriber %d: %w", i, err))
					}
					return
				}
				r.readers[i].took(1)
			}
		})
	}
	return end, nil
}

// subscribeOnce returns when the gateway has settled where the subscription begins.
func subscribeOnce(ctx context.Context, address string) (conn *grpc.ClientConn, stream grpc.ClientStream, err error) {
	conn, err = grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(discarding{encoding.GetCodecV2(proto.Name)})))
	if err != nil {
		return nil, nil, err
	}
	stream, err = conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, gatewayv1.EventGateway_SubscribeEvents_FullMethodName)
	if err == nil {
		err = stream.SendMsg(&gatewayv1.SubscribeRequest{})
	}
	if err == nil {
		err = stream.CloseSend()
	}
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, stream, nil
}

// discarding is a codec that does not look at what it receives.
type discarding struct{ encoding.CodecV2 }

// Unmarshal looks at nothing.
func (discarding) Unmarshal(mem.BufferSlice, any) error { return nil }

// gateway is what serves subscriptions. Its pipeline has nothing to do.
type gateway struct {
	readers  *kafka.Readers
	pipeline *pipeline.Pipeline
	server   *transport.Server
	serving  sync.WaitGroup
}

func (t *topic) openGateway() (g *gateway, err error) {
	var parts struct {
		reading  kafka.ReadingConfig
		stages   stages.Config
		pipeline pipeline.Config
		server   transport.Config
	}
	for _, c := range []any{&parts.reading, &parts.stages, &parts.pipeline, &parts.server} {
		if err := env.ParseWithOptions(c, env.Options{Environment: map[string]string{}}); err != nil { // the defaults
			return nil, err
		}
	}
	parts.server.GRPCBind, parts.server.GRPCPort = "127.0.0.1", 0
	parts.server.DeliveryTimeout, parts.server.MaxBatchEvents = parts.pipeline.DeliveryTimeout, parts.stages.MaxBatchEvents
	topics := stages.NewTopics(topicName)
	topics.Default.SetPartitions(partitions)
	g = &gateway{}
	if g.pipeline, err = pipeline.New(parts.pipeline, pipeline.Parts{Stages: parts.stages, Topics: topics, Log: quiet{}}); err != nil {
		return nil, err
	}
	g.pipeline.Start(stages.NewDiscard(topics, partitions, g.pipeline.Report))
	g.readers, err = kafka.NewReaders(t.config, &parts.reading, kafka.ReaderParts{Topic: topics.Default, Embedded: t.broker, DeliveryTimeout: parts.pipeline.DeliveryTimeout})
	if err == nil {
		g.server, err = transport.New(parts.server, g.pipeline, transport.Services{Reading: g.readers}, nil)
	}
	if err != nil {
		g.close()
		return nil, err
	}
	g.serving.Go(func() { _ = g.server.Serve() }) // its error is the subscribers', too
	return g, nil
}

func (g *gateway) address() string { return g.server.Addr().String() }

func (g *gateway) close() {
	if g.server != nil {
		g.server.Stop()
		g.serving.Wait()
	}
	if g.readers != nil {
		g.readers.Close()
	}
	g.pipeline.Stop()
	g.pipeline.Close()
}

type quiet struct{}

func (quiet) Panic(stages.StageID, int, any, []byte, string) {}
func (quiet) Stuck(stages.StageID, int, time.Duration)       {}
func (quiet) Unstuck(stages.StageID, int)                    {}
