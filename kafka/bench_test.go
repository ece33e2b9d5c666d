package kafka

import (
	"context"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/event-gateway/event-gateway/stages"
)

// benchEvent has about 450 bytes on the wire, with three metadata entries.
func benchEvent(p *stages.Partition, i int) *stages.Event {
	ev := newEvent(fmt.Sprintf("0198c0de-0000-7000-8000-%012d", i), p)
	ev.Data = make([]byte, 300)
	ev.More = true
	ev.Subject.Value, ev.DataContentType.Value = []byte("order-4711"), []byte("application/json")
	ev.PartitionKey.Value, ev.HasTime, ev.Nanos, ev.Seconds = []byte("customer-17"), true, 123_000_000, 1_700_000_000
	ev.Metadata = []stages.Pair{
		{Name: []byte("traceparent"), Value: []byte("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")},
		{Name: []byte("tenant"), Value: []byte("acme")},
		{Name: []byte("X-Request"), Value: []byte("abc")},
	}
	return ev
}

// BenchmarkFill is our own share of an event: its record laid out.
func BenchmarkFill(b *testing.B) {
	for _, format := range []Format{FormatBinary, FormatEvent} {
		b.Run(string(format), func(b *testing.B) {
			ev, clock := benchEvent(testTopic.Partitions()[0], 1), timeText{}
			b.ReportAllocs()
			for b.Loop() {
				recordOf(ev).fill(context.Background(), format, ev, &clock)
			}
		})
	}
}

// BenchmarkProduce is an event from Produce to its report, with franz-go and a
// broker that discards in the same process; their allocations are in the count.
func BenchmarkProduce(b *testing.B) {
	const window, burst = 8192, 128
	r := newRig(b, func(_ *Config, p *Parts) { p.MaxEvents = window }, kfake.BlackholeProduce()).ready()
	var free []*stages.Event
	for i := range window {
		free = append(free, benchEvent(r.partition(0), i))
	}
	b.ReportAllocs()
	b.ResetTimer()
	events := make([]*stages.Event, burst)
	collect := func() {
		ev := <-r.reports
		if v := ev.Ack.Verdict; v.Outcome != stages.Acknowledged {
			b.Fatalf("%+v\n%s", v, r.log)
		}
		free = append(free, ev)
	}
	for n := 0; n < b.N; n += burst {
		for len(free) < burst {
			collect()
		}
		copy(events, free[len(free)-burst:])
		free = free[:len(free)-burst]
		p := r.partition(n / burst % 3)
		for _, ev := range events {
			ev.Partition = p
		}
		r.producer.Produce(p, events)
	}
	for len(free) < window {
		collect()
	}
}

// TestProduceAllocatesNothing: between the hand-over and the report, what is ours allocates nothing.
func TestProduceAllocatesNothing(t *testing.T) {
	r := newRig(t, func(_ *Config, p *Parts) { p.Report = func(*stages.Event) {} }).ready()
	ev := benchEvent(r.partition(0), 1)
	part := (*r.producer.topics[0].partitions.Load())[0]
	n := testing.AllocsPerRun(1000, func() {
		rec := recordOf(ev)
		rec.fill(r.producer.background, FormatBinary, ev, &part.clock)
		rec.partition, rec.seq = part, part.handed.Add(1)
		if got := (topicPartitioner{r.producer.topics[0]}).Partition(&rec.kafka, 3); got != 0 {
			t.Fatal(got)
		}
		r.producer.settle(&rec.kafka, nil)
	})
	if n != 0 {
		t.Errorf("%v allocations an event", n)
	}
}
