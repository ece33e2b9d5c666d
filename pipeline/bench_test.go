package pipeline

// The whole graph in process, from a received frame to a Producer that discards
// and back to the owner, beside what one would write without rings
// (bench_plain_test.go). An operation is one event of about 450 bytes. All of them
// decode, validate, limit, choose a partition by the key, group by partition and
// answer every event; what came out is checked against what went in.

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	benchPartitions = 3
	// In flight are benchWindow messages at most, and benchEvents events: whoever sends here waits for memory
	// while it holds answered messages, so all of them must fit into MAX_INFLIGHT_BYTES.
	benchWindow   = 64
	benchEvents   = 16 << 10
	benchWarm     = 4 * benchEvents // events before the first that is timed, at most
	benchData     = 370
	benchCapacity = 1024 // the default of RING_CAPACITY
	// Never reached: an event that is refused is no result.
	benchRPS, benchLimit = 1e9, 1 << 40
)

// discardTally is what a sink that discards has seen, by partition. Only one goroutine writes it.
type discardTally struct{ events, bytes [benchPartitions]int }

func (t *discardTally) add(partition int32, data int) {
	t.events[partition]++
	t.bytes[partition] += data
}

// discard acknowledges at once, on the produce worker.
type discard struct {
	report func([]*stages.Event)
	tally  *discardTally
}

func (d discard) Produce(p *stages.Partition, events []*stages.Event) {
	for _, ev := range events {
		d.tally.add(p.ID, len(ev.Data))
		ev.Ack = stages.Ack{Verdict: stages.Verdict{Outcome: stages.Acknowledged}, Partition: p.ID}
	}
	d.report(events)
}

// lookAgain is an Owner of many messages: some of them was answered.
type lookAgain chan struct{}

func (c lookAgain) Completed(*stages.Message) {
	select {
	case c <- struct{}{}:
	default: // whoever takes the one that is there will see this message, too
	}
}

// benchFrames are messages in distinct memory, as they would come from the network.
type benchFrames struct {
	batch  int // events a message
	window int // messages in flight
	frames [][]byte
	want   []discardTally // of each frame
}

func (f *benchFrames) kind() stages.Kind {
	if f.batch == 1 {
		return stages.Single
	}
	return stages.Batch
}

func newBenchFrames(batch int) *benchFrames {
	f := &benchFrames{batch: batch, window: min(benchWindow, benchEvents/batch)}
	for i := range max(benchWindow, 4096/batch) {
		var events []testEvent
		var want discardTally
		for j := range batch {
			key := fmt.Sprintf("key-%d", (i*batch+j)%1000)
			events = append(events, testEvent{id: fmt.Sprintf("0123456789-%d-%d", i, j), source: "bench/source",
				key: key, data: bytes.Repeat([]byte("x"), benchData)})
			want.add(int32(stages.KeyHash([]byte(key))%benchPartitions), benchData)
		}
		f.frames, f.want = append(f.frames, frameOf(events...)), append(f.want, want)
	}
	return f
}

// run sends messages until b.N events are on their way and waits for all of them. acked counts the events that
// were answered with an acknowledgement.
func (f *benchFrames) run(b *testing.B, tally *discardTally, send func(frame []byte), finish func(), acked *int) {
	sent := 0
	// Events and messages are made once. The Go runner calls this for each b.N that it tries, so it is bounded.
	for sent < min(16*f.window*f.batch, benchWarm) {
		send(f.frames[sent/f.batch%len(f.frames)])
		sent += f.batch
	}
	warm := sent
	b.ReportAllocs()
	b.ResetTimer()
	for sent-warm < b.N {
		send(f.frames[sent/f.batch%len(f.frames)])
		sent += f.batch
	}
	finish()
	b.StopTimer()
	var want discardTally
	for i := range sent / f.batch {
		for p, n := range f.want[i%len(f.want)].events {
			want.events[p] += n
			want.bytes[p] += n * benchData
		}
	}
	if *acked != sent || *tally != want {
		b.Fatalf("%d of %d events were acknowledged; the sink got %v, want %v", *acked, sent, *tally, want)
	}
}

// BenchmarkPipeline sends single events and batches.
func BenchmarkPipeline(b *testing.B) {
	for _, batch := range []int{1, 10, 100, 1000} {
		f := newBenchFrames(batch)
		run := func(impl string, bench func(*testing.B, *benchFrames)) {
			b.Run(fmt.Sprintf("events=%d/impl=%s", batch, impl), func(b *testing.B) { bench(b, f) })
		}
		run("gateway", func(b *testing.B, f *benchFrames) { benchGateway(b, f, 0) })
		run("plain-channels", func(b *testing.B, f *benchFrames) { benchChannels(b, f, 1) })
		if batch > 1 {
			run("plain-channels-of-messages", func(b *testing.B, f *benchFrames) { benchChannels(b, f, f.batch) })
		}
		run("plain-handler", benchHandler)
	}
}

// BenchmarkRemembering is what keeping the recent events costs the whole graph.
func BenchmarkRemembering(b *testing.B) {
	for _, batch := range []int{1, 100} {
		f := newBenchFrames(batch)
		b.Run(fmt.Sprintf("events=%d/impl=gateway", batch), func(b *testing.B) { benchGateway(b, f, 65_536) })
		b.Run(fmt.Sprintf("events=%d/impl=plain-forgetting", batch), func(b *testing.B) { benchGateway(b, f, 0) })
	}
}

// benchGateway keeps as many recent events.
func benchGateway(b *testing.B, f *benchFrames, recent int) {
	cfg, sc := benchConfig()
	cfg.EventStoreCapacity, cfg.EventStoreBytes = recent, 64*stages.MiB
	topics := stages.NewTopics("events")
	topics.Default.SetPartitions(benchPartitions)
	p, err := New(cfg, Parts{Stages: sc, Topics: topics, Log: &testLog{}})
	if err != nil {
		b.Fatal(err)
	}
	tally, acked := &discardTally{}, 0
	// Events are made when more are in flight than ever before, and kept: here before the start, so that no peak in the
	// middle of a run looks like an allocation of each event.
	for _, w := range p.decoders {
		for w.made < min(w.most, benchEvents) {
			w.grow()
		}
	}
	p.Start(discard{p.Report, tally})
	client := p.NewClient("bench")
	owner := make(lookAgain, 1)
	inflight := make([]*stages.Message, 0, f.window)
	oldest := func() {
		for !inflight[0].Answered() {
			<-owner
		}
		for i := range inflight[0].Events() {
			if inflight[0].Outcome(i) == stages.Acknowledged {
				acked++
			}
		}
		p.Release(inflight[0])
		copy(inflight, inflight[1:])
		inflight = inflight[:len(inflight)-1]
	}
	f.run(b, tally, func(frame []byte) {
		if len(inflight) == f.window {
			oldest()
		}
		n := 1
		if f.kind() == stages.Batch {
			n, _, _ = stages.Scan(frame)
		}
		m := p.Receive(client, frame, nil, f.kind(), n)
		m.Owner = owner
		if v := p.Admit(context.Background(), m, -1); v != nil {
			b.Fatal(v)
		}
		p.Submit(0, m)
		inflight = append(inflight, m)
	}, func() {
		for len(inflight) > 0 {
			oldest()
		}
		b.StopTimer()
		p.Stop()
		p.Close()
	}, &acked)
}

func benchConfig() (Config, stages.Config) {
	cfg, sc := testConfig()
	cfg.RingCapacity, cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = benchCapacity, 64*stages.MiB, 64*stages.MiB, 64*stages.MiB
	sc.RateLimitEnabled, sc.RateLimitRPS, sc.RateLimitBurst = true, benchRPS, benchLimit
	return cfg, sc
}
