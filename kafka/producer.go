package kafka

// The one franz-go client that produces.
//
//	produce workers --Produce--> TryProduce ... Kafka ... promise --report--> retirer
//	                                              |
//	                    hooks: answers, lost answers, batches written
//
// Goroutines: the watcher (topics.go), the breaker's clock (pulse.go) and the
// writer of failures (failures.go), all ended by Close; franz-go's own, one of
// which runs all promises one after the other, so a promise only fills in the
// answer and reports the events of a message together (reports.go, whose timer
// owns nothing: it asks that goroutine).

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// Parts is what the producer works with; built by main.
type Parts struct {
	Topics  *stages.Topics
	Breaker *stages.Breaker
	// Report takes events back, each once, when their Acks are set. It runs in a promise: it must not block, and
	// must not keep the slice.
	Report func([]*stages.Event)
	// Acknowledged takes back events of one quiet message that Kafka has, under the same conditions.
	Acknowledged func(*stages.AcknowledgedRun)
	// Log may be nil.
	Log Logger
	// MaxEvents is the pipeline's own bound on events in flight.
	MaxEvents int
	// DeliveryTimeout bounds how long a record may be in doubt.
	DeliveryTimeout time.Duration
	// Embedded is the broker to use instead of KAFKA_BROKERS; nil when those are set.
	Embedded *Embedded
	// Now is the clock of the breaker, the same that asks Breaker.Allow. nil: time.Now().UnixNano.
	Now func() int64

	// dial replaces TCP in tests.
	dial dialFunc
}

// Producer implements stages.Producer. Safe for concurrent use.
type Producer struct {
	cfg     *Config
	parts   Parts
	client  *kgo.Client
	topics  []*topic // by stages.Topic.Index
	promise func(*kgo.Record, error)
	reports *reports
	// background is every record's context: no request's, so that nobody's leaving can fail his neighbours.
	background context.Context
	stop       context.CancelFunc
	running    sync.WaitGroup
	// kick wakes the watcher early; capacity 1.
	kick   chan struct{}
	closed atomic.Bool

	// topicIDs: produce requests carry topic ids (v13), so none can reach a recreated topic.
	topicIDs atomic.Bool
	// lost counts what leaves batches in doubt that are sent again: failed reads, closed connections, and
	// answers after which a batch may be stored.
	lost    atomic.Uint64
	metrics metrics
	// errorAnswers are the answers that refused to store something.
	errorAnswers errorAnswers
	// failures is what the log says about records that failed.
	failures *failures
}

// NewProducer starts a producer. It does not wait for Kafka: until the first
// metadata the topics have no partitions and Ready says what is missing.
func NewProducer(cfg *Config, parts Parts) (*Producer, error) {
	if parts.Log == nil {
		parts.Log = discardLog{}
	}
	if parts.Now == nil {
		parts.Now = func() int64 { return time.Now().UnixNano() }
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Producer{cfg: cfg, parts: parts, background: context.Background(), stop: stop, kick: make(chan struct{}, 1), failures: newFailures()}
	p.promise = p.settle
	p.reports = newReports(parts)
	p.errorAnswers = errorAnswers{now: parts.Now, lines: p.failures}
	byName := make(map[string]*topic)
	for _, st := range parts.Topics.All {
		t := &topic{Topic: st}
		t.partitions.Store(&[]*partition{})
		p.topics = append(p.topics, t)
		byName[st.Name] = t
	}
	seeds, dial := cfg.Brokers, parts.dial
	if parts.Embedded != nil {
		seeds, dial = parts.Embedded.Seeds(), parts.Embedded.Dial
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: cfg.DialTimeout}).DialContext
	}
	if cfg.RequiredAcks != AcksNone { // else there are no answers
		dial = listening(dial, p.heard)
	}
	client, err := kgo.NewClient(producerOptions(cfg, clientParts{
		seeds:           seeds,
		dial:            dial,
		maxRecords:      parts.MaxEvents,
		deliveryTimeout: parts.DeliveryTimeout,
		batchBytes:      func(name string) int32 { return batchBytes(byName[name]) },
		partitioner:     partitioner{byName},
		onDataLoss:      p.dataLoss,
		hook:            (*hooks)(p),
		log:             &clientLog{log: parts.Log, now: time.Now},
	})...)
	if err != nil {
		stop()
		return nil, fmt.Errorf("kafka client: %w", err)
	}
	p.client, p.reports.client = client, client
	p.running.Go(func() { p.watch(ctx) })
	p.running.Go(func() { p.pulse(ctx) })
	p.running.Go(func() { p.failures.write(ctx, parts.Log) })
	return p, nil
}

// touchAhead is how many events and records are brought into the cache together, see stages.Event.Touch.
const touchAhead = 16

// Produce implements stages.Producer.
func (p *Producer) Produce(sp *stages.Partition, events []*stages.Event) {
	known := *p.topics[sp.Topic.Index].partitions.Load()
	if p.closed.Load() || int(sp.ID) >= len(known) {
		p.refuse(events)
		return
	}
	part, n := known[sp.ID], len(events)
	if p.InFlight() == 0 {
		p.parts.Breaker.Busy(p.parts.Now()) // before the count rises, else a tick between sees old silence
	}
	seq := part.handed.Add(uint64(n)) - uint64(n)
	lost, next := p.lost.Load(), 0
	for chunk := range slices.Chunk(events, touchAhead) {
		for _, ev := range chunk {
			part.warmth += ev.Touch()
		}
		for _, ev := range chunk {
			part.warmth += recordOf(ev).touch()
		}
		for _, ev := range chunk {
			seq, next = seq+1, next+1
			r := recordOf(ev)
			r.fill(p.background, p.cfg.RecordFormat, ev, &part.clock)
			r.partition, r.seq, r.lost = part, uint32(seq), uint32(lost)
			r.handOver(next == n || events[next].Msg != ev.Msg)
			p.client.TryProduce(p.background, &r.kafka, p.promise) // from here on, ev is not ours
		}
	}
}

// refuse gives back events that franz-go never saw: the producer is closed, or
// the topic's partitions are not known yet.
func (p *Producer) refuse(events []*stages.Event) {
	reason := stages.KafkaUnavailable
	if p.closed.Load() {
		reason = stages.Draining
	}
	for _, ev := range events {
		ev.Ack = stages.Ack{
			Verdict: stages.Verdict{Outcome: stages.Refused, Reason: reason, Stage: stages.AtProduce},
			Offset:  -1,
		}
		p.metrics.failed[reason].Add(1)
	}
	p.parts.Report(events)
}

// heard takes what a produce request was answered with.
func (p *Producer) heard(a produceAnswers) {
	if a.doubt {
		p.lost.Add(1)
	}
	p.errorAnswers.note(a.errors, a.stored)
}

// settle is the promise of every record.
func (p *Producer) settle(kr *kgo.Record, err error) {
	r, ok := kr.Context.(*record)
	if !ok {
		p.sounded(kr)
		return
	}
	if r.has(oversized) {
		r.shrink()
	}
	switch {
	case err != nil:
		p.fail(r, err)
	case r.has(quiet):
		p.reports.acknowledge(r, p.offset(kr))
		return
	default:
		r.partition.settle(1)
		r.ev.Ack = stages.Ack{
			Verdict:   stages.Verdict{Outcome: stages.Acknowledged, Stage: stages.AtProduce},
			Partition: kr.Partition,
			Offset:    p.offset(kr),
		}
		p.parts.Breaker.Acknowledged()
	}
	p.reports.add(r.ev, r.has(last))
}

// fail sets what a record that was not acknowledged is answered with.
func (p *Producer) fail(r *record, err error) {
	p.reports.flush() // those before it count as settled, for whether it was alone
	v := p.verdict(r, err, r.partition.fail(r.seq))
	r.ev.Ack = stages.Ack{Verdict: v, Partition: r.kafka.Partition, Offset: -1}
	p.metrics.failed[v.Reason].Add(1)
	p.failures.note(failure{class: classOf(err), topic: r.kafka.Topic, partition: r.of.ID,
		outcome: v.Outcome, reason: v.Reason, err: err})
}

// offset is -1 when Kafka was not asked (acks=none).
func (p *Producer) offset(kr *kgo.Record) int64 {
	if p.cfg.RequiredAcks == AcksNone {
		return -1
	}
	return kr.Offset
}

// verdict is Classify plus what only the producer knows about this record.
func (p *Producer) verdict(r *record, err error, alone bool) stages.Verdict {
	refused := func(reason stages.Reason, detail string) stages.Verdict {
		return stages.Verdict{Outcome: stages.Refused, Reason: reason, Stage: stages.AtProduce, Detail: &stages.Detail{Message: detail}}
	}
	t := p.topics[r.ev.Topic.Index]
	if r.has(misplaced) {
		return refused(stages.KafkaUnavailable, "the topic has fewer partitions than a moment ago; send the event again")
	}
	if errors.Is(err, kerr.MessageTooLarge) {
		// franz-go fails such a record by itself, before it is in any batch.
		if size, limit := p.RecordSize(r.ev), int(batchBytes(t)); size > limit {
			return refused(stages.EventTooLarge, fmt.Sprintf("the event takes %d bytes as a Kafka record; the topic allows %d (max.message.bytes)", size, limit))
		}
	}
	batch := 0
	if alone {
		batch = 1
	}
	v := Classify(err, batch)
	switch v.Reason {
	case stages.TopicNotFound, stages.TopicRecreated, stages.KafkaUnauthorized:
		t.stale.CompareAndSwap(false, v.Reason == stages.TopicRecreated)
		p.wake()
	}
	// A refusal proves only that this attempt was not stored. When an answer was lost, or left it open,
	// while the record was with franz-go, an earlier attempt may have been.
	doubt := v.Outcome == stages.Refused && v.Reason != stages.BufferFull && uint32(p.lost.Load()) != r.lost
	// Before produce v13, requests name the topic: one that was under way when the topic was recreated can
	// land in the new one.
	doubt = doubt || v.Reason == stages.TopicRecreated && !p.topicIDs.Load()
	if doubt {
		return stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown, Stage: stages.AtProduce}
	}
	return v
}

// RecordSize bounds from above what the event takes as a Kafka record: to be
// compared with Topic.MaxMessageBytes.
func (p *Producer) RecordSize(ev *stages.Event) int { return p.cfg.RecordFormat.EncodedSize(ev) }

// Client is the franz-go client, for readers that need metadata and admin
// requests. Nothing else may produce with it.
func (p *Producer) Client() *kgo.Client { return p.client }

// InFlight is the number of records with franz-go, down to those whose promises have not returned. franz-go counts
// them under a lock that it takes for every record anyway; a counter of our own would be one more contended word.
func (p *Producer) InFlight() int64 { return p.client.BufferedProduceRecords() }

// Ready is nil when every topic can be written to, else it says what is missing.
func (p *Producer) Ready() error {
	var missing []string
	for _, t := range p.topics {
		switch reason := t.Refusal(); {
		case reason != stages.NoReason:
			missing = append(missing, fmt.Sprintf("topic %s: %s (%s)", t.Name, reason.Text(), reason))
		case len(t.Partitions()) == 0:
			missing = append(missing, fmt.Sprintf("topic %s: Kafka has not answered yet", t.Name))
		}
	}
	if text := p.errorAnswers.unready(); text != "" {
		missing = append(missing, text)
	}
	if p.parts.Breaker.State() == stages.BreakerIsOpen {
		missing = append(missing, stages.BreakerOpen.Text())
	}
	if len(missing) == 0 {
		return nil
	}
	return errors.New(strings.Join(missing, "; "))
}

// Warnings are settings under which acknowledged events can be lost; for the start's log and /ready.
func (p *Producer) Warnings() []string {
	switch p.cfg.RequiredAcks {
	case AcksLeader:
		return []string{"KAFKA_REQUIRED_ACKS=leader: an acknowledged event is lost when its broker fails before the replicas have it"}
	case AcksNone:
		return []string{"KAFKA_REQUIRED_ACKS=none: acknowledged means sent; nothing tells whether Kafka has the event"}
	}
	return nil
}

// Flush waits until franz-go holds no record, or ctx ends.
func (p *Producer) Flush(ctx context.Context) error { return p.client.Flush(ctx) }

// closeWait bounds the wait for the promises of records that Close fails; they are a matter of microseconds each.
const closeWait = 5 * time.Second

// Close ends the producer. What is still with franz-go is reported as unknown
// before Close returns; Flush first to avoid that.
func (p *Producer) Close() {
	if p.closed.Swap(true) {
		return
	}
	p.stop()
	p.client.Close()
	p.running.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	if err := p.client.Flush(ctx); err != nil {
		p.parts.Log.Log(LevelError, "records were not given back at close", "records", p.InFlight())
	}
	p.reports.close()
	p.failures.flush(p.parts.Log)
}

func (p *Producer) dataLoss(topic string, partition int32) {
	p.metrics.dataLoss.Add(1)
	p.parts.Log.Log(LevelError, "a broker forgot this producer's sequence: acknowledged events of the partition may be gone, or an event stored twice",
		"topic", topic, "partition", partition)
}
