package pipeline

// Building the graph, starting it, draining it and stopping it.

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/event-gateway/event-gateway/ring"
	"github.com/event-gateway/event-gateway/stages"
)

// Pipeline is the graph with everything that it owns. Build it with New; all
// exported methods but Start, Stop and Close may be called from any goroutine.
type Pipeline struct {
	cfg   Config
	parts Parts
	log   Logger
	epoch time.Time // zero of now
	// maxEvents bounds the events in the graph and in the Producer's hands.
	maxEvents       int
	deliveryTimeout time.Duration

	decoders      []*decodeWorker
	middle        [][]*stageWorker // validate, ratelimit, transform
	batchers      []*batchWorker
	producers     []*produceWorker
	links         []linkGauge
	retirer       *retirer
	janitor       *janitor
	watchdog      *watchdog
	outcomeShards []*outcomeCounts
	callers       *outcomeCounts // written by handlers and the janitor

	// inflight is MAX_INFLIGHT_BYTES; clients have a budget of clientMaxInflight each.
	inflight          budget
	clientMaxInflight int64
	messages          messagePool
	// written is what rules have written for events in flight, in bytes.
	written budget

	_        [128]byte // the counters below are written by many handlers
	accepted [stages.Origins]atomic.Uint64
	// live counts messages that are received and not recycled.
	live               atomic.Int64
	nextLane           atomic.Uint64
	admissionWaits     atomic.Uint64
	admissionWaitNanos atomic.Int64
	_                  [128]byte
	lateAcks           atomic.Uint64 // guarded by retirer.mu for writers

	drainOnce, cutoffOnce sync.Once
	draining, cutoff      chan struct{}
	stopping              atomic.Bool
	workers, closers      sync.WaitGroup
}

// eventBound is how many events admission lets in: each is charged at least
// EventOverhead, except that a message larger than the whole budget gets in alone.
func eventBound(maxInflight stages.Bytes, maxBatchEvents int) int {
	n := max(int(maxInflight)/stages.EventOverhead, maxBatchEvents)
	return (n + slabSize) / slabSize * slabSize
}

// New builds the graph; nothing runs yet.
func New(cfg Config, parts Parts) (*Pipeline, error) {
	cfg = cfg.withDefaults(runtime.GOMAXPROCS(0))
	if problems := cfg.Validate(); len(problems) > 0 {
		return nil, fmt.Errorf("pipeline: %w", problems[0])
	}
	p := &Pipeline{
		cfg: cfg, parts: parts, log: parts.Log, epoch: time.Now(), deliveryTimeout: cfg.DeliveryTimeout,
		clientMaxInflight: int64(cfg.ClientMaxInflight),
		draining:          make(chan struct{}), cutoff: make(chan struct{}),
	}
	p.inflight.limit, p.written.limit = int64(cfg.MaxInflight), int64(cfg.MaxInflight)
	p.callers = p.newOutcomeCounts()
	p.maxEvents = eventBound(cfg.MaxInflight, parts.Stages.MaxBatchEvents)
	p.retirer = &retirer{p: p, counts: p.newOutcomeCounts()}
	p.janitor = &janitor{p: p, kick: make(chan struct{}, 1), done: make(chan struct{})}
	p.buildDecoders()
	p.buildMiddle()
	p.buildEnd()
	p.connectAll()
	p.watchdog = p.newWatchdog()
	return p, nil
}

// MaxEvents is the most events that can be in the Producer's hands; the Kafka client's own bound lies above it.
func (p *Pipeline) MaxEvents() int { return p.maxEvents }

// Config is the configuration with all defaults filled in.
func (p *Pipeline) Config() Config { return p.cfg }

// now is the graph's clock: monotonic nanoseconds since New.
func (p *Pipeline) now() int64 { return int64(time.Since(p.epoch)) }

// Now is the clock that the breaker and the buckets are used with: monotonic nanoseconds.
func (p *Pipeline) Now() int64 { return p.now() }

// buildDecoders gives every decode worker room for all events that admission
// lets in, since one lane may carry them all: were they divided, a lane could run
// out of events while one stalled partition holds them. They are allocated as
// they are needed.
func (p *Pipeline) buildDecoders() {
	// A lane holds every message that admission lets in: each is charged at least messageOverhead.
	laneCapacity := int(p.cfg.MaxInflight)/messageOverhead + 1
	for i := range p.cfg.DecodeWorkers {
		free, returned := ring.NewSPSC[*stages.Event](p.maxEvents)
		w := &decodeWorker{
			worker: p.newWorker(stages.AtDecode, i), lane: ring.NewMPSC[*stages.Message](laneCapacity),
			decoder: stages.NewDecoder(p.parts.Stages, p.parts.Letters, i), returned: returned,
			stack: make([]*stages.Event, 0, slabSize), most: p.maxEvents,
		}
		p.decoders = append(p.decoders, w)
		p.retirer.homes = append(p.retirer.homes, home{free: free, waiter: w.waiter})
	}
}

func (p *Pipeline) buildMiddle() {
	build := func(id stages.StageID, n int, route func(*stages.Event) uint32, stage func(*stageWorker) stages.Stage) {
		var row []*stageWorker
		for i := range n {
			w := &stageWorker{worker: p.newWorker(id, i), route: route}
			w.stage = p.parts.wrap(id, i, stage(w))
			row = append(row, w)
		}
		p.middle = append(p.middle, row)
	}
	build(stages.AtValidate, p.cfg.ValidateWorkers, byShard, p.newValidate)
	build(stages.AtRateLimit, p.cfg.RateLimitWorkers, byShard, func(*stageWorker) stages.Stage {
		return stages.NewRateLimit(p.parts.Stages, p.now)
	})
	build(stages.AtTransform, p.cfg.TransformWorkers, byPartition, func(*stageWorker) stages.Stage {
		return p.newTransform()
	})
}

// newValidate is the stage of one validate worker, w.
func (p *Pipeline) newValidate(w *stageWorker) stages.Stage {
	parts := stages.ValidateParts{Letters: p.parts.Letters, RecordSize: p.parts.RecordSize}
	if p.parts.Rules != nil {
		parts.RecordSize = nil
	}
	v := stages.NewValidate(p.parts.Topics, parts)
	if p.parts.Schemas != nil {
		waiter := w.waiter
		v.UseSchemas(p.parts.Schemas(func() {
			v.Again()
			waiter.Wake()
		}))
		w.holder = v
	}
	return v
}

// newTransform is the stage of one transform worker.
func (p *Pipeline) newTransform() *stages.Transform {
	parts := stages.TransformParts{Letters: p.parts.Letters, RecordSize: p.parts.RecordSize}
	if p.parts.Rules != nil || p.parts.Schemas != nil {
		parts.Memory = &scribe{p: p}
	}
	if p.parts.Rules != nil {
		parts.Rules = p.parts.Rules(parts.Memory)
	}
	return stages.NewTransform(p.parts.Topics, parts)
}

func (p *Pipeline) buildEnd() {
	for i := range p.cfg.BatchWorkers {
		b := &batchWorker{
			worker:  p.newWorker(stages.AtBatch, i),
			batcher: stages.NewBatcher(p.parts.Stages, int64(p.cfg.PartitionMaxInflight), i),
		}
		if !p.cfg.partitionMaxGiven {
			b.batcher.ShareAmong(p.parts.Topics, int64(p.cfg.MaxInflight))
		}
		p.batchers = append(p.batchers, b)
	}
	for i := range p.cfg.ProduceWorkers {
		p.producers = append(p.producers, &produceWorker{
			worker: p.newWorker(stages.AtProduce, i), empties: make([]*ring.Producer[*stages.RecordBatch], p.cfg.BatchWorkers),
		})
	}
}

func (p *Pipeline) connectAll() {
	var ends [4][]end[*stages.Event] // decode, validate, ratelimit, transform
	for _, w := range p.decoders {
		ends[0] = append(ends[0], end[*stages.Event]{waiter: w.waiter, out: &w.out})
	}
	for i, row := range p.middle {
		for _, w := range row {
			ends[i+1] = append(ends[i+1], end[*stages.Event]{waiter: w.waiter, in: &w.in, out: &w.out})
		}
	}
	var batchIn []end[*stages.Event]
	var batchOut, produceIn []end[*stages.RecordBatch]
	for _, w := range p.batchers {
		batchIn = append(batchIn, end[*stages.Event]{waiter: w.waiter, in: &w.in})
		batchOut = append(batchOut, end[*stages.RecordBatch]{waiter: w.waiter, out: &w.out})
	}
	for _, w := range p.producers {
		produceIn = append(produceIn, end[*stages.RecordBatch]{waiter: w.waiter, in: &w.in})
	}
	n := p.cfg.RingCapacity
	// Any lane takes any shard, and from transform on the hash is another one: full meshes there.
	connect(p, "decode", "validate", ends[0], ends[1], n, false)
	connect(p, "validate", "ratelimit", ends[1], ends[2], n, true)
	connect(p, "ratelimit", "transform", ends[2], ends[3], n, true)
	connect(p, "transform", "batch", ends[3], batchIn, n, false)
	connect(p, "batch", "produce", batchOut, produceIn, batchRingCapacity, true)
	for i, b := range p.batchers {
		for _, w := range p.producers {
			producer, consumer := ring.NewSPSC[*stages.RecordBatch](batchRingCapacity)
			w.empties[i] = producer
			b.empties = append(b.empties, consumer)
		}
	}
}

// batchRingCapacity is the batches that a ring from batch to produce holds. Produce
// never blocks, so a few are enough; each may hold BATCH_MAX_EVENTS.
const batchRingCapacity = 64

// Start starts every goroutine; producer takes what the produce workers hand over and calls Report and Acknowledged.
func (p *Pipeline) Start(producer stages.Producer) {
	p.run(&p.closers, "janitor", 0, p.janitor.janitorLoop)
	if !p.parts.unwatched {
		p.run(&p.closers, "watchdog", 0, p.watchdog.watchLoop)
	}
	for _, w := range p.producers {
		w.stage = stages.NewProduce(producer, p.parts.Breaker, p.now)
		p.run(&p.workers, "produce", w.index, w.produceLoop)
	}
	for _, w := range p.batchers {
		p.run(&p.workers, "batch", w.index, w.batchLoop)
	}
	for _, row := range p.middle {
		for _, w := range row {
			loop := w.stageLoop
			if w.holder != nil {
				loop = w.holdLoop
			}
			p.run(&p.workers, w.id.String(), w.index, loop)
		}
	}
	for _, w := range p.decoders {
		p.run(&p.workers, "decode", w.index, w.decodeLoop)
	}
}

// run starts one goroutine of the data path, labelled for profiles. It is the only go statement of the package.
func (p *Pipeline) run(wg *sync.WaitGroup, stage string, worker int, loop func()) {
	labels := pprof.Labels("stage", stage, "worker", strconv.Itoa(worker))
	wg.Go(func() { pprof.Do(context.Background(), labels, func(context.Context) { loop() }) })
}

// StartDrain makes Admit refuse with DRAINING from now on, waiters included.
func (p *Pipeline) StartDrain() { p.drainOnce.Do(func() { close(p.draining) }) }

// Draining is closed when StartDrain was called.
func (p *Pipeline) Draining() <-chan struct{} { return p.draining }

// AwaitIdle returns when no message is held by anyone: every event answered
// and retired, every answer released by its owner; or with ctx's error.
func (p *Pipeline) AwaitIdle(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.live.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Cutoff is closed by ExpireAll: owners then call Expire(m, Draining) on what they wait for.
func (p *Pipeline) Cutoff() <-chan struct{} { return p.cutoff }

// ExpireAll is the hard end of a drain: it closes Cutoff, expires abandoned
// messages itself, waits until the owners have expired theirs (or ctx ends),
// and says how many events were refused and how many became unknown meanwhile.
func (p *Pipeline) ExpireAll(ctx context.Context) (refused, unknown int) {
	before := p.allOutcomes()
	p.cutoffOnce.Do(func() { close(p.cutoff) })
	p.janitor.expireAll()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for p.InFlight() > 0 && ctx.Err() == nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	after := p.allOutcomes()
	diff := func(o stages.Outcome) int { return int(after[o] - before[o]) }
	return diff(stages.Refused), diff(stages.Unknown)
}

// allOutcomes sums the outcomes of all origins.
func (p *Pipeline) allOutcomes() (sum [stages.Outcomes]uint64) {
	for origin := range stages.Origins {
		for o, n := range p.Totals(origin).Outcomes {
			sum[o] += n
		}
	}
	return sum
}

// Stop ends the workers in the order of the graph, after what is in it was
// passed on. Nothing may be submitted any more. The Producer may still report.
func (p *Pipeline) Stop() {
	p.StartDrain()
	p.stopping.Store(true)
	p.watchdog.stop()
	for _, w := range p.decoders {
		w.waiter.Wake()
	}
	p.workers.Wait()
}

// Close ends the janitor and the watchdog. Call it after Stop and after the Producer was closed.
func (p *Pipeline) Close() {
	close(p.janitor.done)
	p.watchdog.stop()
	p.closers.Wait()
}
