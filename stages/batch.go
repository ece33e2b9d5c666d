package stages

// The batch stage: groups events by partition. A batch is full at
// BATCH_MAX_EVENTS or BATCH_MAX_BYTES; when it leaves otherwise (input empty,
// linger over) is the worker's decision, since only it knows its input.

import "time"

// EventOverhead is what an event costs beside its bytes, in bytes: the Event, its
// record with headers, its Result. Admission and the bound of a partition both
// count it, so that a stalled partition holds its part of the budget and never
// all events of a lane.
const EventOverhead = 1024

// RecordBatch is events of one partition, in order; or, with Partition nil, events
// that were ended before produce and ride to the end of the graph.
type RecordBatch struct {
	Partition *Partition
	Events    []*Event
	Bytes     int
	// cost is what its live events count for in the partition's bytes in flight; inflight is what the
	// partition had when the batch was opened (one load of a contended word a batch, not an event).
	cost, inflight int64
	// Owner is the batch worker that the emptied batch goes back to.
	Owner int
	// Opened is when the first event came in, by the worker's clock in nanoseconds.
	Opened int64
}

// Reset makes a batch empty, keeping its memory and owner.
func (b *RecordBatch) Reset() {
	b.Partition, b.Bytes, b.Opened, b.cost, b.inflight = nil, 0, 0, 0, 0
	b.Events = b.Events[:0]
}

// Batcher is the stage. The worker that owns it owns every partition routed to it.
type Batcher struct {
	maxEvents, maxBytes  int
	linger               time.Duration
	maxPartitionInflight int64
	shares               shares
	// open has the batches that are being filled, oldest first.
	open []*RecordBatch
	// ended is the open batch of events that were ended before; a partition's is Partition.open.
	ended  *RecordBatch
	free   []*RecordBatch
	worker int
}

// NewBatcher returns the stage. maxPartitionInflight bounds the bytes of one
// partition between here and retirement; more are refused.
func NewBatcher(cfg Config, maxPartitionInflight int64, worker int) *Batcher {
	return &Batcher{
		worker:    worker,
		maxEvents: cfg.BatchMaxEvents, maxBytes: int(cfg.BatchMaxBytes), linger: cfg.BatchLinger,
		maxPartitionInflight: maxPartitionInflight,
	}
}

// Add takes one event in. It returns a batch when that event filled one up;
// the batch then belongs to the caller.
func (b *Batcher) Add(ev *Event, now int64) *RecordBatch {
	batch := b.batchOf(ev, now)
	if ev.Live() && b.stalled(batch) {
		ev.Refuse(AtBatch, PartitionStalled, &Detail{Message: "topic " + ev.Topic.Name})
		batch = b.batchOf(ev, now)
	}
	batch.Events = append(batch.Events, ev)
	batch.Bytes += ev.Size
	if ev.Live() {
		ev.Cost = int32(ev.Size + EventOverhead)
		batch.cost += int64(ev.Cost)
	}
	ev.At = AtBatch
	if len(batch.Events) >= b.maxEvents || batch.Bytes >= b.maxBytes {
		b.close(batch)
		return batch
	}
	return nil
}

// stalled reports whether the batch's partition takes nothing more for now.
func (b *Batcher) stalled(batch *RecordBatch) bool {
	if batch.inflight+batch.cost < b.maxPartitionInflight {
		return false
	}
	// The batch may have been open for a whole linger, so the number that refuses is a fresh one.
	batch.inflight = batch.Partition.Inflight()
	return batch.inflight+batch.cost >= max(b.maxPartitionInflight, b.shares.each())
}

// batchOf is the open batch for ev, opened now if there is none.
func (b *Batcher) batchOf(ev *Event, now int64) *RecordBatch {
	if !ev.Live() {
		if b.ended == nil {
			b.ended = b.begin(now)
		}
		return b.ended
	}
	p := ev.Partition
	if p.open == nil {
		p.open = b.begin(now)
		p.open.Partition, p.open.inflight = p, p.Inflight()
	}
	return p.open
}

// begin opens a batch.
func (b *Batcher) begin(now int64) *RecordBatch {
	batch := b.take()
	batch.Opened = now
	b.open = append(b.open, batch)
	return batch
}

// Flush takes out the oldest open batch, nil when there is none.
func (b *Batcher) Flush() *RecordBatch {
	if len(b.open) == 0 {
		return nil
	}
	batch := b.open[0]
	b.close(batch)
	return batch
}

// maxBusyAge is how old an open batch may get without linger while the input
// never runs empty: with many partitions batches would otherwise wait until
// they are full.
const maxBusyAge = time.Millisecond

// Due takes out the oldest open batch if it is old enough at time now.
func (b *Batcher) Due(now int64) *RecordBatch {
	age := b.linger
	if age == 0 {
		age = maxBusyAge
	}
	if len(b.open) == 0 || now-b.open[0].Opened < int64(age) {
		return nil
	}
	return b.Flush()
}

// NextDue is when the oldest open batch is due; ok is false when none is open.
func (b *Batcher) NextDue() (at int64, ok bool) {
	if len(b.open) == 0 {
		return 0, false
	}
	return b.open[0].Opened + int64(b.linger), true
}

// Lingers reports whether batches wait at all.
func (b *Batcher) Lingers() bool { return b.linger > 0 }

func (b *Batcher) close(batch *RecordBatch) {
	for i, open := range b.open {
		if open == batch {
			b.open = append(b.open[:i], b.open[i+1:]...)
			break
		}
	}
	if batch.Partition == nil {
		b.ended = nil
		return
	}
	batch.Partition.open = nil
	batch.Partition.AddInflight(batch.cost) // before anyone can retire one of its events
}

// Recycle gives an emptied batch back.
func (b *Batcher) Recycle(batch *RecordBatch) {
	batch.Reset()
	b.free = append(b.free, batch)
}

// take is a recycled batch or a new one. How many there can be is bounded by
// the open ones (at most one a partition) and the rings that carry the others.
func (b *Batcher) take() *RecordBatch {
	if n := len(b.free); n > 0 {
		batch := b.free[n-1]
		b.free = b.free[:n-1]
		return batch
	}
	return &RecordBatch{Owner: b.worker, Events: make([]*Event, 0, 64)}
}
