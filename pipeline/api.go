package pipeline

// What transport and main see of the pipeline.
//
// A handler's walk, for one received message:
//
//	m := p.Receive(client, frame, buffer, kind, n)   // counted as accepted, in flight
//	m.Owner, m.Seq, m.Deadline, m.WantResults = ...
//	if v := p.Admit(ctx, m, wait); v != nil {        // waits its turn for memory
//	        p.Refuse(m, *v)                          // every event answered; m may be encoded and released (Reject: neither)
//	} else {
//	        p.Submit(lane, m)                        // never waits; ends in m.Owner.Completed(m)
//	}
//	... wait for Completed, or:
//	p.Expire(m, stages.NotSent)  // at the deadline, or with Draining when p.Cutoff is closed: what is queued
//	                             // is refused, what is handed is unknown; m is answered when it returns
//	... encode m.Results (they and m.Frame stay valid until Release)
//	p.Release(m)   // the owner's reference goes
//
// or, when the caller is gone and nobody will read the answer:
//
//	p.Abandon(m)   // instead of Release: what is queued is refused, the rest is counted as what becomes of it

import (
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// Config is what operators set of the pipeline.
type Config struct {
	DecodeWorkers    int `env:"STAGE_DECODE_WORKERS" envDefault:"0" doc:"workers of the decode stage; 0 = from GOMAXPROCS"`
	ValidateWorkers  int `env:"STAGE_VALIDATE_WORKERS" envDefault:"0" doc:"workers of the validate stage; 0 = from GOMAXPROCS"`
	RateLimitWorkers int `env:"STAGE_RATELIMIT_WORKERS" envDefault:"0" doc:"workers of the ratelimit stage; 0 = from GOMAXPROCS"`
	TransformWorkers int `env:"STAGE_TRANSFORM_WORKERS" envDefault:"0" doc:"workers of the transform stage; 0 = from GOMAXPROCS"`
	BatchWorkers     int `env:"STAGE_BATCH_WORKERS" envDefault:"0" doc:"workers of the batch stage; 0 = from GOMAXPROCS"`
	ProduceWorkers   int `env:"STAGE_PRODUCE_WORKERS" envDefault:"0" doc:"workers of the produce stage; 0 = from GOMAXPROCS"`
	RingCapacity     int `env:"RING_CAPACITY" envDefault:"1024" doc:"events that one ring between two workers holds; rounded up to a power of two"`

	MaxInflight          stages.Bytes `env:"MAX_INFLIGHT_BYTES" envDefault:"64MiB" doc:"memory for messages between receipt and answer, all clients together"`
	ClientMaxInflight    stages.Bytes `env:"CLIENT_MAX_INFLIGHT_BYTES" envDefault:"0" doc:"one client's share of MAX_INFLIGHT_BYTES; 0 = an eighth of it"`
	PartitionMaxInflight stages.Bytes `env:"PARTITION_MAX_INFLIGHT_BYTES" envDefault:"0" doc:"bytes of one topic-partition between batch and retirement, then its events are refused PARTITION_STALLED; 0 = a quarter of MAX_INFLIGHT_BYTES, with fewer than 8 partitions twice what each gets when all share it evenly"`

	AdmissionTimeout time.Duration `env:"ADMISSION_TIMEOUT" envDefault:"250ms" doc:"how long a unary call waits for memory before it is refused"`
	DeliveryTimeout  time.Duration `env:"DELIVERY_TIMEOUT" envDefault:"25s" doc:"how long after admission an event has its outcome at the latest"`

	EventStoreCapacity int          `env:"EVENT_STORE_CAPACITY" envDefault:"65536" doc:"how many of the last acknowledged events this instance keeps in memory for GetEvent; 0 = none, which saves a tenth to a fifth of the CPU where nobody calls it"`
	EventStoreBytes    stages.Bytes `env:"EVENT_STORE_BYTES" envDefault:"64MiB" doc:"memory for those events; the oldest make room, and an event larger than a 64th of it is not kept"`

	DedupeWindow    time.Duration `env:"DEDUPE_WINDOW" envDefault:"0s" doc:"how long the id and source of an acknowledged event are known: the same again is answered DUPLICATE with the first one's position and not stored again, or waits for its outcome while it is in flight. Only ids that clients send, only within this instance (not across instances or a restart) and only the last DEDUPE_MAX_EVENTS; after an unknown outcome a retry may still be stored twice, and what Kafka acknowledged and then lost (KAFKA_REQUIRED_ACKS) stays a duplicate. 0s = off"`
	DedupeMaxEvents int           `env:"DEDUPE_MAX_EVENTS" envDefault:"1048576" doc:"how many acknowledged ids are known at most, 56 to 64 bytes each; with more within DEDUPE_WINDOW the oldest are forgotten early"`

	// partitionMaxGiven: PartitionMaxInflight is the operator's, and not ours to widen.
	partitionMaxGiven bool
}

// Parts are what the graph works with; built by main.
type Parts struct {
	Stages stages.Config
	Topics *stages.Topics
	// Breaker may be nil: then nothing is ever refused with BREAKER_OPEN.
	Breaker *stages.Breaker
	// RecordSize bounds an event's encoded record; may be nil.
	RecordSize stages.RecordSizer
	// Letters says which refusals are kept in a topic of their own; the zero value keeps none.
	Letters stages.DeadLetters
	// Rules makes the rules of one transform worker, which write into memory; nil: there are none.
	Rules func(memory stages.Memory) stages.Rules
	// Schemas makes the schemas of one validate worker, which call wake when an event may be checked again; nil:
	// there are none.
	Schemas func(wake func()) stages.Schemas
	Log     Logger

	// wrapStage replaces a stage in tests (a panic, a stall); nil in production.
	wrapStage func(id stages.StageID, worker int, stage stages.Stage) stages.Stage
	// unwatched: tests call the watchdog themselves.
	unwatched bool
}

func (p *Parts) wrap(id stages.StageID, worker int, stage stages.Stage) stages.Stage {
	if p.wrapStage == nil {
		return stage
	}
	return p.wrapStage(id, worker, stage)
}

// Logger takes the few lines that the data path has to say.
type Logger interface {
	// Panic reports a recovered panic of a worker with the event's coordinates.
	Panic(stage stages.StageID, worker int, value any, stack []byte, event string)
	// Stuck reports that a worker has been at one burst for that long, Unstuck that it has gone on.
	Stuck(stage stages.StageID, worker int, still time.Duration)
	Unstuck(stage stages.StageID, worker int)
}

// Lane is one entrance into the graph: the lane of one decode worker. One stream stays on one lane for life.
type Lane int
