package pipeline

// The whole graph in process: from a received frame to a Producer that
// discards, six stages as goroutines, and back to the owner.

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

// discard acknowledges at once, on the produce worker.
type discard struct{ report func(*stages.Event) }

func (d discard) Produce(p *stages.Partition, events []*stages.Event) {
	for _, ev := range events {
		ev.Ack = stages.Ack{Verdict: stages.Verdict{Outcome: stages.Acknowledged}, Partition: p.ID}
		d.report(ev)
	}
}

// BenchmarkPipeline: an operation is one event of 450 bytes.
func BenchmarkPipeline(b *testing.B) {
	for _, batch := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchPipeline(b, batch) })
	}
}

func benchPipeline(b *testing.B, batch int) {
	cfg, sc := testConfig()
	cfg.RingCapacity, cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = 1024, 64*stages.MiB, 64*stages.MiB, 64*stages.MiB
	topics := stages.NewTopics("events")
	topics.Default.SetPartitions(3)
	p, err := New(cfg, Parts{Stages: sc, Topics: topics, Log: &testLog{}})
	if err != nil {
		b.Fatal(err)
	}
	p.Start(discard{p.Report})
	client := p.NewClient("bench")
	const frames = 64 // distinct memory, as it would come from the network
	var pool [frames][]byte
	for i := range pool {
		var events []testEvent
		for j := range batch {
			events = append(events, testEvent{id: fmt.Sprintf("0123456789-%d-%d", i, j), source: "bench/source",
				key: fmt.Sprintf("key-%d", (i*batch+j)%1000), data: bytes.Repeat([]byte("x"), 370)})
		}
		pool[i] = frameOf(events...)
	}
	const window = 64
	owner := &waiting{make(chan struct{}, window)}
	kind := stages.Batch
	if batch == 1 {
		kind = stages.Single
	}
	inflight := make([]*stages.Message, 0, window)
	b.ReportAllocs()
	b.ResetTimer()
	for sent, i := 0, 0; sent < b.N; i++ {
		if len(inflight) == window {
			<-owner.completed
			for !inflight[0].Answered() { // tokens are not tied to messages
				<-owner.completed
			}
			p.Release(inflight[0])
			copy(inflight, inflight[1:])
			inflight = inflight[:window-1]
		}
		frame := pool[i%frames]
		n, _, _ := stages.Scan(frame)
		m := p.Receive(client, frame, nil, kind, n)
		m.Owner = owner
		if v := p.Admit(context.Background(), m, -1); v != nil {
			b.Fatal(v)
		}
		p.Submit(0, m)
		inflight = append(inflight, m)
		sent += batch
	}
	for _, m := range inflight {
		for !m.Answered() {
			<-owner.completed
		}
		p.Release(m)
	}
	b.StopTimer()
	p.Stop()
	p.Close()
}
