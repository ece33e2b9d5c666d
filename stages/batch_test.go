package stages

// The batch stage: when batches leave, in which order, and what a partition holds.

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

const roomy = 1 << 40 // a partition bound that refuses nothing

// inPartition makes n live events of a partition.
func inPartition(p *Partition, n int) []*Event {
	events := liveEvents(n)
	for _, ev := range events {
		ev.Topic, ev.Partition = p.Topic, p
	}
	return events
}

// partitions are n partitions of one topic.
func partitions(n int) []*Partition {
	topic := NewTopic("orders", 0)
	topic.SetPartitions(n)
	return topic.Partitions()
}

// addAll adds events at time now; none may fill a batch.
func addAll(t *testing.T, b *Batcher, now int64, events ...*Event) {
	t.Helper()
	for _, ev := range events {
		if full := b.Add(ev, now); full != nil {
			t.Fatalf("a batch of %d events left already", len(full.Events))
		}
	}
}

func sameEvents(got, want []*Event) bool {
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] {
			return false
		}
	}
	return true
}

func TestBatcherFullByEvents(t *testing.T) {
	p := partitions(1)[0]
	b := NewBatcher(Config{BatchMaxEvents: 3, BatchMaxBytes: MiB}, roomy, 5)
	events := inPartition(p, 4)
	addAll(t, b, 1, events[:2]...)
	full := b.Add(events[2], 2)
	if full == nil || !sameEvents(full.Events, events[:3]) || full.Partition != p || full.Bytes != 300 || full.Owner != 5 || full.Opened != 1 {
		t.Fatalf("the full batch is %+v", full)
	}
	if b.Flush() != nil {
		t.Fatal("a batch that left is still open")
	}
	addAll(t, b, 3, events[3])
	if rest := b.Flush(); rest == nil || rest == full || !sameEvents(rest.Events, events[3:]) {
		t.Fatalf("the rest is %+v", rest)
	}
	for _, ev := range events {
		if ev.At != AtBatch || ev.Cost != 100+EventOverhead {
			t.Fatalf("an event is at %v and costs %d", ev.At, ev.Cost)
		}
	}
}

func TestBatcherFullByBytes(t *testing.T) {
	p := partitions(1)[0]
	b := NewBatcher(Config{BatchMaxEvents: 100, BatchMaxBytes: 250}, roomy, 0)
	events := inPartition(p, 4)
	addAll(t, b, 1, events[:2]...)
	if full := b.Add(events[2], 1); full == nil || full.Bytes != 300 {
		t.Fatalf("300 of 250 bytes do not fill a batch: %+v", full)
	}
	events[3].Size = 250
	if full := b.Add(events[3], 1); full == nil || len(full.Events) != 1 {
		t.Fatalf("one event of 250 bytes does not fill a batch: %+v", full)
	}
}

func TestBatcherKeepsPartitionsApart(t *testing.T) {
	ps := partitions(3)
	b := NewBatcher(Config{BatchMaxEvents: 100, BatchMaxBytes: MiB}, roomy, 0)
	var want [3][]*Event
	for i := range 30 {
		ev := inPartition(ps[i%3], 1)[0]
		want[i%3] = append(want[i%3], ev)
		addAll(t, b, int64(i), ev)
	}
	for i, p := range ps {
		if p.Inflight() != 0 {
			t.Fatal("an open batch counts as in flight")
		}
		batch := b.Flush() // the oldest first
		if batch == nil || batch.Partition != p || !sameEvents(batch.Events, want[i]) {
			t.Fatalf("batch %d is %+v", i, batch)
		}
		if got := p.Inflight(); got != 10*(100+EventOverhead) {
			t.Fatalf("the partition has %d bytes in flight", got)
		}
	}
	if b.Flush() != nil {
		t.Fatal("a batch is left")
	}
}

func TestBatcherSeparatesEndedEvents(t *testing.T) {
	p := partitions(1)[0]
	b := NewBatcher(Config{BatchMaxEvents: 4, BatchMaxBytes: MiB}, roomy, 0)
	events := inPartition(p, 6)
	for _, i := range []int{0, 3, 5} {
		events[i].Refuse(AtRateLimit, RateLimited, nil)
	}
	events[3].Partition = nil // refused before it had one
	addAll(t, b, 1, events...)
	ended, live := b.Flush(), b.Flush()
	if ended.Partition != nil || !sameEvents(ended.Events, []*Event{events[0], events[3], events[5]}) {
		t.Fatalf("the ended events are %+v", ended)
	}
	if live.Partition != p || !sameEvents(live.Events, []*Event{events[1], events[2], events[4]}) {
		t.Fatalf("the live events are %+v", live)
	}
	if events[0].Cost != 0 || p.Inflight() != 3*(100+EventOverhead) {
		t.Fatalf("ended events cost: %d, the partition has %d bytes in flight", events[0].Cost, p.Inflight())
	}
}

func TestBatcherRefusesAStalledPartition(t *testing.T) {
	ps := partitions(2)
	const cost = 100 + EventOverhead
	b := NewBatcher(Config{BatchMaxEvents: 100, BatchMaxBytes: MiB}, 3*cost, 0)
	events := inPartition(ps[0], 5)
	addAll(t, b, 1, events...)
	for i, ev := range events {
		if i < 3 {
			mustLive(t, ev)
		} else {
			mustRefuse(t, ev, AtBatch, PartitionStalled, &Detail{Message: "topic orders"})
		}
	}
	healthy := inPartition(ps[1], 1)
	addAll(t, b, 1, healthy...)
	mustLive(t, healthy[0]) // the neighbour is not touched

	batch := b.Flush()
	if !sameEvents(batch.Events, events[:3]) || ps[0].Inflight() != 3*cost {
		t.Fatalf("%d events went on, %d bytes in flight", len(batch.Events), ps[0].Inflight())
	}
	more := inPartition(ps[0], 1)
	addAll(t, b, 2, more...)
	mustRefuse(t, more[0], AtBatch, PartitionStalled, &Detail{Message: "topic orders"})
	// The retirer gives one event back. The partition's batch is open since it was stalled, and yet the next
	// event goes on.
	ps[0].AddInflight(-cost)
	next := inPartition(ps[0], 2)
	addAll(t, b, 3, next...)
	mustLive(t, next[0])
	mustRefuse(t, next[1], AtBatch, PartitionStalled, &Detail{Message: "topic orders"})
	if got := (Verdict{Reason: PartitionStalled}).Reason.Retry(); got == 0 {
		t.Fatal("a stalled partition's refusal has no retry advice")
	}
}

func TestBatcherLinger(t *testing.T) {
	ps := partitions(2)
	const linger = 5 * time.Millisecond
	b := NewBatcher(Config{BatchMaxEvents: 100, BatchMaxBytes: MiB, BatchLinger: linger}, roomy, 0)
	if _, open := b.NextDue(); open || b.Due(1<<60) != nil || !b.Lingers() {
		t.Fatal("an empty batcher has a batch that is due")
	}
	addAll(t, b, 1000, inPartition(ps[0], 1)...)
	addAll(t, b, 2000, inPartition(ps[1], 1)...)
	addAll(t, b, 3000, inPartition(ps[0], 1)...) // does not make it wait longer
	for i, opened := range []int64{1000, 2000} {
		due, open := b.NextDue()
		if !open || due != opened+int64(linger) {
			t.Fatalf("batch %d is due at %d, open %v", i, due, open)
		}
		if b.Due(due-1) != nil {
			t.Fatalf("batch %d leaves before it is due", i)
		}
		if batch := b.Due(due); batch == nil || batch.Partition != ps[i] || len(batch.Events) != 2-i {
			t.Fatalf("batch %d at its time: %+v", i, batch)
		}
	}
	busy := NewBatcher(Config{BatchMaxEvents: 100, BatchMaxBytes: MiB}, roomy, 0)
	addAll(t, busy, 1000, inPartition(ps[0], 1)...)
	if busy.Lingers() || busy.Due(1000+int64(maxBusyAge)-1) != nil || busy.Due(1000+int64(maxBusyAge)) == nil {
		t.Fatal("without linger a batch leaves after a millisecond of steady input, not before")
	}
}

func TestBatcherReusesBatches(t *testing.T) {
	p := partitions(1)[0]
	b := NewBatcher(Config{BatchMaxEvents: 64, BatchMaxBytes: MiB}, roomy, 3)
	events := inPartition(p, 32)
	addAll(t, b, 1, events...)
	first := b.Flush()
	b.Recycle(first)
	if len(first.Events) != 0 || first.Partition != nil || first.Bytes != 0 || first.Opened != 0 || first.cost != 0 || first.Owner != 3 {
		t.Fatalf("the emptied batch is %+v", first)
	}
	allocs := testing.AllocsPerRun(100, func() {
		for _, ev := range events {
			b.Add(ev, 2)
		}
		again := b.Flush()
		if again != first || len(again.Events) != len(events) {
			t.Fatal("the recycled batch is not used")
		}
		b.Recycle(again)
	})
	if allocs != 0 {
		t.Fatalf("%v allocations a batch, want none", allocs)
	}
}

// Whatever comes: every event leaves exactly once, those of a partition in the
// order in which they came, no batch is over its bounds, and what is in flight is
// what the live events cost.
func TestBatcherLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ps := partitions(rapid.IntRange(1, 5).Draw(t, "partitions"))
		cfg := Config{
			BatchMaxEvents: rapid.IntRange(1, 10).Draw(t, "max events"), BatchMaxBytes: Bytes(rapid.IntRange(1, 2000).Draw(t, "max bytes")),
			BatchLinger: time.Duration(rapid.IntRange(0, 3).Draw(t, "linger")) * time.Microsecond,
		}
		bound := rapid.Int64Range(300, 20_000).Draw(t, "partition bound")
		b := NewBatcher(cfg, bound, 0)
		want, got, now := map[*Partition][]*Event{}, map[*Partition][]*Event{}, int64(0)
		ended, left := 0, 0
		out := func(batch *RecordBatch) {
			if batch == nil {
				return
			}
			for i, ev := range batch.Events {
				switch {
				case ev.Live() != (batch.Partition != nil):
					t.Fatalf("event %d of a batch of partition %v: live %v", i, batch.Partition, ev.Live())
				case ev.Live():
					got[ev.Partition] = append(got[ev.Partition], ev)
				default:
					left++
				}
			}
			if len(batch.Events) > cfg.BatchMaxEvents {
				t.Fatalf("a batch has %d events, allowed are %d", len(batch.Events), cfg.BatchMaxEvents)
			}
			b.Recycle(batch)
		}
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			now += rapid.Int64Range(0, 500_000).Draw(t, "gap")
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				out(b.Flush())
			case 1:
				out(b.Due(now))
			default:
				ev := inPartition(rapid.SampledFrom(ps).Draw(t, "partition"), 1)[0]
				ev.Size = rapid.IntRange(1, 800).Draw(t, "size")
				if rapid.IntRange(0, 4).Draw(t, "refused") == 0 {
					ev.Refuse(AtValidate, InvalidEvent, nil)
				}
				full := b.Add(ev, now)
				if ev.Live() {
					want[ev.Partition] = append(want[ev.Partition], ev)
				} else {
					ended++
				}
				out(full)
			}
		}
		for batch := b.Flush(); batch != nil; batch = b.Flush() {
			out(batch)
		}
		for _, p := range ps {
			var cost int64
			for _, ev := range got[p] {
				cost += int64(ev.Cost)
			}
			if !sameEvents(got[p], want[p]) || p.Inflight() != cost || cost > bound+800+EventOverhead {
				t.Fatalf("partition %d: %d of %d events, %d bytes in flight, cost %d", p.ID, len(got[p]), len(want[p]), p.Inflight(), cost)
			}
		}
		if left != ended {
			t.Fatalf("%d of %d ended events left", left, ended)
		}
	})
}
