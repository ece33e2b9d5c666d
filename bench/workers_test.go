package main

// What a second transform worker gives when rules are what takes the time: the
// whole graph in process, with a jq program and a sink that discards.

import (
	"context"
	"fmt"
	"runtime/debug"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/event-gateway/event-gateway/pipeline"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/transform"
)

// heavyJQ takes about ten times what the rest of the graph takes for an event.
const heavyJQ = `.items |= map(.cents = (.price * 100 | round)) | .total = (.items | map(.cents * .quantity) | add) | .customer.email |= sub("^[^@]+"; "***")`

func heavyFrames(tb testing.TB) (frames [][]byte) {
	for i := range 2 * pathWindow {
		var request gatewayv1.IngestEventBatchRequest
		for j := range pathBatch {
			n := i*pathBatch + j
			request.Events = append(request.Events, &eventv1.Event{
				Id: fmt.Sprintf("0123456789-%03d-%03d", i, j), Source: "/shop/checkout", Type: "order.created", PartitionKey: fmt.Sprintf("key-%d", n%1000),
				Data: fmt.Appendf(nil, `{"order":%d,"customer":{"id":"c-%d","email":"someone.%d@example.org"},"items":[{"sku":"A-1","price":12.5,"quantity":2},{"sku":"B-7","price":3.99,"quantity":1}],"note":"leave it at the door"}`, n, n%1000, n),
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

func BenchmarkTransformWorkers(b *testing.B) {
	b.Run("impl=gateway", func(b *testing.B) { benchWorkers(b, 2) })
	b.Run("impl=plain-one-worker", func(b *testing.B) { benchWorkers(b, 1) })
}

func benchWorkers(b *testing.B, workers int) {
	// The gateway waits for 32 MiB between two collections (collector.go); here the heap is small, and with Go's default the
	// collector would take the second processor from the second worker.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	topics := stages.NewTopics("events")
	rules, problems := transform.Compile(transform.Config{Rules: []transform.RuleConfig{{JQ: heavyJQ}}, Timeout: time.Second},
		transform.Options{Topics: []string{"events"}, MaxEventBytes: 900_000})
	if len(problems) > 0 {
		b.Fatal(problems)
	}
	sc := stages.Config{MaxEventBytes: 900_000, MaxBatchEvents: 10_000, RateLimitRPS: 1, RateLimitBurst: 1, BatchMaxEvents: 1024, BatchMaxBytes: 900_000}
	p, err := pipeline.New(pipeline.Config{RingCapacity: 1024, MaxInflight: 64 * stages.MiB, ClientMaxInflight: 64 * stages.MiB,
		TransformWorkers: workers, DeliveryTimeout: 25 * time.Second}, pipeline.Parts{Stages: sc, Topics: topics, Log: quiet{},
		Rules: func(m stages.Memory) stages.Rules { return rules.NewWorker(topics, m) }})
	if err != nil {
		b.Fatal(err)
	}
	p.Start(stages.NewDiscard(topics, 3, p.Report))
	client, frames, owner := p.NewClient("bench"), heavyFrames(b), make(completions, pathWindow)
	run := func(messages int) {
		inflight := 0
		finish := func() {
			<-owner
			inflight--
		}
		for i := range messages {
			if inflight == pathWindow {
				finish()
			}
			m := p.Receive(client, frames[i%len(frames)], nil, stages.Batch, pathBatch)
			m.Owner = releasing{owner, p}
			if v := p.Admit(context.Background(), m, -1); v != nil {
				b.Fatal(v)
			}
			p.Submit(0, m)
			inflight++
		}
		for inflight > 0 {
			finish()
		}
	}
	run(2 * pathWindow)
	b.ResetTimer()
	run((b.N + pathBatch - 1) / pathBatch)
	b.StopTimer()
	p.Stop()
	p.Close()
	if t := p.Totals(stages.FromGRPC); t.Outcomes[stages.Acknowledged] != t.Accepted {
		b.Fatalf("%+v", t)
	}
}

// releasing gives a message back as soon as it is answered.
type releasing struct {
	done completions
	p    *pipeline.Pipeline
}

func (r releasing) Completed(m *stages.Message) {
	r.done <- struct{}{}
	go r.p.Release(m) // not here: the retirer's lock is held
}
