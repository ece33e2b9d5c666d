package main

// From a received frame to franz-go's Produce: what the whole path allocates an
// event, beside franz-go alone producing the same records. What the broker in
// this process allocates is in both.

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/event-gateway/event-gateway/bench/discard"
	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/pipeline"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

const (
	pathBatch  = 100
	pathWindow = 16 // messages in flight
)

type quiet struct{}

func (quiet) Panic(stages.StageID, int, any, []byte, string) {}
func (quiet) Stuck(stages.StageID, int, time.Duration)       {}
func (quiet) Unstuck(stages.StageID, int)                    {}

// completions is an Owner that counts.
type completions chan struct{}

func (c completions) Completed(*stages.Message) { c <- struct{}{} }

// pathFrames are distinct messages of 100 events of about 450 bytes.
func pathFrames(tb testing.TB) (frames [][]byte) {
	for i := range 2 * pathWindow {
		var request gatewayv1.IngestEventBatchRequest
		for j := range pathBatch {
			request.Events = append(request.Events, &eventv1.Event{
				Id: fmt.Sprintf("0123456789-%03d-%03d", i, j), Source: "bench/source", Type: "bench.event.happened",
				PartitionKey: fmt.Sprintf("key-%d", (i*pathBatch+j)%1000), Data: bytes.Repeat([]byte("x"), 370),
			})
		}
		frame, err := proto.Marshal(&request)
		if err != nil {
			tb.Fatal(err)
		}
		frames = append(frames, frame)
	}
	return frames
}

func BenchmarkFrameToProduce(b *testing.B) {
	b.Run("impl=gateway", benchGatewayPath)
	b.Run("impl=plain-franz-go", benchFranzGo)
}

func benchGatewayPath(b *testing.B) {
	broker, err := discard.Start("127.0.0.1:0", "events", 3)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	topics := stages.NewTopics("events")
	breaker := stages.NewBreaker(5*time.Second, nil)
	sc := stages.Config{MaxEventBytes: 900_000, MaxBatchEvents: 10_000, RateLimitRPS: 1, RateLimitBurst: 1, BatchMaxEvents: 1024, BatchMaxBytes: 900_000}
	p, err := pipeline.New(pipeline.Config{RingCapacity: 1024, MaxInflight: 64 * stages.MiB, ClientMaxInflight: 64 * stages.MiB,
		DeliveryTimeout: 25 * time.Second}, pipeline.Parts{Stages: sc, Topics: topics, Breaker: breaker, Log: quiet{}})
	if err != nil {
		b.Fatal(err)
	}
	producer, err := kafka.NewProducer(&kafka.Config{
		Brokers: []string{broker.Addr()}, Topic: "events", NumPartitions: 3, ReplicationFactor: 1, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, DialTimeout: 10 * time.Second, RequiredAcks: kafka.AcksAll, Compression: "none", RecordFormat: kafka.FormatBinary,
	}, kafka.Parts{Topics: topics, Breaker: breaker, Report: p.Report, Acknowledged: p.Acknowledged, MaxEvents: p.MaxEvents(), DeliveryTimeout: 25 * time.Second, Now: p.Now})
	if err != nil {
		b.Fatal(err)
	}
	p.Start(producer)
	for deadline := time.Now().Add(20 * time.Second); producer.Ready() != nil; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal(producer.Ready())
		}
	}
	client, frames, owner := p.NewClient("bench"), pathFrames(b), make(completions, pathWindow)
	var inflight []*stages.Message
	finish := func() {
		for m := inflight[0]; !m.Answered(); {
			<-owner // tokens are not tied to messages
		}
		for i := range inflight[0].Results {
			if inflight[0].Outcome(i) != stages.Acknowledged {
				b.Fatalf("event %d: %v %v", i, inflight[0].Outcome(i), inflight[0].Results[i].Reason)
			}
		}
		p.Release(inflight[0])
		inflight = append(inflight[:0], inflight[1:]...)
	}
	run := func(messages int) {
		for i := range messages {
			if len(inflight) == pathWindow {
				finish()
			}
			frame := frames[i%len(frames)]
			n, _, _ := stages.Scan(frame)
			m := p.Receive(client, frame, nil, stages.Batch, n)
			m.Owner = owner
			if v := p.Admit(context.Background(), m, -1); v != nil {
				b.Fatal(v)
			}
			p.Submit(0, m)
			inflight = append(inflight, m)
		}
		for len(inflight) > 0 {
			finish()
		}
	}
	run(10 * pathWindow) // events, records and batches are made once
	b.ReportAllocs()
	b.ResetTimer()
	run((b.N + pathBatch - 1) / pathBatch)
	b.StopTimer()
	p.Stop()
	producer.Close()
	p.Close()
}

func benchFranzGo(b *testing.B) {
	broker, err := discard.Start("127.0.0.1:0", "events", 3)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.Addr()), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	records := make([]kgo.Record, 2*pathWindow*pathBatch)
	free := make(chan *kgo.Record, len(records))
	for i := range records {
		records[i] = kgo.Record{Topic: "events", Partition: int32(i % 3), Key: []byte("key-1"), Value: bytes.Repeat([]byte("x"), 370),
			Timestamp: time.Now(), Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("0123456789-000-000")},
				{Key: "ce_source", Value: []byte("bench/source")}, {Key: "ce_type", Value: []byte("bench.event.happened")}}}
		free <- &records[i]
	}
	promise := func(r *kgo.Record, err error) {
		if err != nil {
			b.Error(err)
		}
		free <- r
	}
	run := func(n int) {
		for range n {
			client.Produce(context.Background(), <-free, promise)
		}
		if err := client.Flush(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
	run(len(records))
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
}
