package pipeline

// What one would write without rings, doing the same work: a chain of goroutines
// over channels, and a handler that does everything itself.

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// plainMessage is a received frame on its way. Results are in request order; the
// message goes to answer when the last one is there.
type plainMessage struct {
	frame   []byte
	single  bool
	results []plainResult
	left    atomic.Int32
	answer  chan *plainMessage
}

type plainResult struct {
	err       error
	partition int32
}

type plainEvent struct {
	*eventv1.Event
	msg       *plainMessage
	index     int
	partition int32
}

// end answers an event. Each goes to its own place, so there is nothing to lock.
func (ev *plainEvent) end(err error) {
	ev.msg.results[ev.index] = plainResult{err, ev.partition}
	if ev.msg.left.Add(-1) == 0 {
		ev.msg.answer <- ev.msg
	}
}

// plainChain is six goroutines. A send carries atOnce events at most: one, as
// events move through the gateway's graph, or all of a message.
type plainChain struct {
	atOnce                                   int
	received                                 chan *plainMessage
	decoded, validated, limited, transformed chan []plainEvent
	batches                                  chan []plainEvent
	limiter                                  *rate.Limiter
	tally                                    *discardTally
	done                                     chan struct{}
}

func startPlainChain(atOnce int, tally *discardTally) *plainChain {
	link := func() chan []plainEvent { return make(chan []plainEvent, benchCapacity) }
	c := &plainChain{atOnce: atOnce, received: make(chan *plainMessage, benchCapacity), decoded: link(), validated: link(), limited: link(),
		transformed: link(), batches: link(), limiter: rate.NewLimiter(benchRPS, benchLimit), tally: tally, done: make(chan struct{})}
	go c.decode()
	go c.pass(c.decoded, c.validated, func(ev *plainEvent) error { return plainViolation(ev.Event) })
	go c.pass(c.validated, c.limited, func(*plainEvent) error {
		if !c.limiter.Allow() {
			return fmt.Errorf("over the rate limit")
		}
		return nil
	})
	go c.pass(c.limited, c.transformed, func(ev *plainEvent) error {
		ev.partition = int32(stages.KeyHash([]byte(ev.PartitionKey)) % benchPartitions)
		return nil
	})
	go c.batch()
	go c.produce()
	return c
}

func (c *plainChain) decode() {
	defer close(c.decoded)
	for m := range c.received {
		events, err := m.unmarshal()
		if err != nil {
			m.results, events = make([]plainResult, 1), make([]plainEvent, 1)
			events[0].msg = m
			m.left.Store(1)
			events[0].end(err)
			continue
		}
		for len(events) > 0 {
			n := min(c.atOnce, len(events))
			c.decoded <- events[:n:n]
			events = events[n:]
		}
	}
}

// unmarshal uses the generated code, which checks text for UTF-8.
func (m *plainMessage) unmarshal() ([]plainEvent, error) {
	var list []*eventv1.Event
	if m.single {
		var request gatewayv1.IngestEventRequest
		if err := proto.Unmarshal(m.frame, &request); err != nil {
			return nil, err
		}
		if request.Event == nil {
			return nil, fmt.Errorf("no event")
		}
		list = []*eventv1.Event{request.Event}
	} else {
		var request gatewayv1.IngestEventBatchRequest
		if err := proto.Unmarshal(m.frame, &request); err != nil {
			return nil, err
		}
		list = request.Events
	}
	m.results = make([]plainResult, len(list))
	m.left.Store(int32(len(list)))
	events := make([]plainEvent, len(list)) // one allocation a message
	for i, ev := range list {
		if ev.GetId() == "" {
			ev.Id = uuid.Must(uuid.NewV7()).String()
		}
		events[i] = plainEvent{Event: ev, msg: m, index: i}
	}
	return events, nil
}

func plainViolation(ev *eventv1.Event) error {
	switch {
	case ev.Source == "" || ev.Type == "":
		return fmt.Errorf("source and type are required")
	case ev.Cursor != "" || len(ev.Metadata) > stages.MaxMetadataEntries:
		return fmt.Errorf("a cursor, or too much metadata")
	case max(len(ev.Id), len(ev.Source), len(ev.Type), len(ev.Subject), len(ev.DataContentType), len(ev.DataSchema)) > stages.MaxAttributeBytes:
		return fmt.Errorf("an attribute is too long")
	case len(ev.PartitionKey) > stages.MaxPartitionKeyBytes:
		return fmt.Errorf("the key is too long")
	case ev.Timestamp != nil:
		return ev.Timestamp.CheckValid()
	}
	return nil
}

// pass is a stage in the middle. Events that it ends go no further.
func (c *plainChain) pass(in, out chan []plainEvent, step func(*plainEvent) error) {
	defer close(out)
	for events := range in {
		kept := events[:0]
		for i := range events {
			if err := step(&events[i]); err != nil {
				events[i].end(err)
			} else {
				kept = append(kept, events[i])
			}
		}
		if len(kept) > 0 {
			out <- kept
		}
	}
}

// batch groups by partition, and lets batches go when they are full or nothing more is there.
func (c *plainChain) batch() {
	defer close(c.batches)
	const maxEvents = 1024
	var open [benchPartitions][]plainEvent
	flush := func(p int32) {
		if len(open[p]) > 0 {
			c.batches <- open[p]
			open[p] = nil
		}
	}
	add := func(events []plainEvent) {
		for _, ev := range events {
			if open[ev.partition] = append(open[ev.partition], ev); len(open[ev.partition]) == maxEvents {
				flush(ev.partition)
			}
		}
	}
	for events := range c.transformed {
		add(events)
		for more := true; more; {
			select {
			case next, ok := <-c.transformed:
				more = ok
				add(next)
			default:
				more = false
			}
		}
		for p := range open {
			flush(int32(p))
		}
	}
}

func (c *plainChain) produce() {
	defer close(c.done)
	for batch := range c.batches {
		for i := range batch {
			c.tally.add(batch[i].partition, len(batch[i].Data))
			batch[i].end(nil)
		}
	}
}

func benchChannels(b *testing.B, f *benchFrames, atOnce int) {
	tally, acked := &discardTally{}, 0
	c := startPlainChain(atOnce, tally)
	inflight := make([]*plainMessage, 0, f.window)
	oldest := func() {
		for _, r := range (<-inflight[0].answer).results {
			if r.err == nil {
				acked++
			}
		}
		copy(inflight, inflight[1:])
		inflight = inflight[:len(inflight)-1]
	}
	f.run(b, tally, func(frame []byte) {
		if len(inflight) == f.window {
			oldest()
		}
		m := &plainMessage{frame: frame, single: f.batch == 1, answer: make(chan *plainMessage, 1)}
		c.received <- m
		inflight = append(inflight, m)
	}, func() {
		for len(inflight) > 0 {
			oldest()
		}
		close(c.received)
		<-c.done
	}, &acked)
}

// plainHandler does everything on the goroutine that received the message, with
// the gateway's own scan and recycled events: the least CPU that an event can
// cost here, and no more than one processor can do for one stream.
type plainHandler struct {
	decoder  *stages.Decoder
	middle   [3]stages.Stage
	batcher  *stages.Batcher
	produce  *stages.Produce
	events   []stages.Event
	pointers []*stages.Event
	msg      *stages.Message
	tally    *discardTally
}

// Produce implements stages.Producer: it acknowledges at once.
func (h *plainHandler) Produce(p *stages.Partition, events []*stages.Event) {
	for _, ev := range events {
		h.tally.add(p.ID, len(ev.Data))
		p.AddInflight(-int64(ev.Cost))
		var g stages.Group
		g.Add(ev.Index)
		if won := h.msg.WinAcknowledged(g); won.Len() == 1 && !h.msg.Quiet() {
			r := h.msg.Write(ev.Index)
			r.Outcome, r.Stage, r.Topic, r.Partition = stages.Acknowledged, stages.AtProduce, ev.Topic, p.ID
		}
	}
}

func benchHandler(b *testing.B, f *benchFrames) {
	cfg, sc := benchConfig()
	topics := stages.NewTopics("events")
	topics.Default.SetPartitions(benchPartitions)
	epoch := time.Now()
	now := func() int64 { return int64(time.Since(epoch)) }
	tally, acked := &discardTally{}, 0
	h := &plainHandler{decoder: stages.NewDecoder(sc, stages.DeadLetters{}, 0), batcher: stages.NewBatcher(sc, int64(cfg.PartitionMaxInflight), 0), tally: tally,
		middle: [3]stages.Stage{stages.NewValidate(topics, stages.ValidateParts{}), stages.NewRateLimit(sc, now), stages.NewTransform(topics, stages.TransformParts{})},
		msg:    stages.NewMessage(f.batch),
		events: make([]stages.Event, burstSize)}
	h.produce = stages.NewProduce(h, nil, now)
	client := &stages.Client{Name: "bench"}
	f.run(b, tally, func(frame []byte) {
		n := 1
		if f.kind() == stages.Batch {
			n, _, _ = stages.Scan(frame)
		}
		m := h.msg
		m.Reset()
		m.Frame, m.Kind, m.Client, m.Received = frame, f.kind(), client, time.Now()
		m.Arm(n)
		h.handle(now())
		for i := range n {
			if m.Outcome(i) == stages.Acknowledged {
				acked++
			}
		}
	}, func() {}, &acked)
}

// handle takes the message's events through the stages in bursts as large as a worker's.
func (h *plainHandler) handle(now int64) {
	h.decoder.Start(h.msg)
	for h.decoder.Active() {
		h.pointers = h.pointers[:0]
		for len(h.pointers) < len(h.events) && h.decoder.Active() {
			ev := &h.events[len(h.pointers)]
			ev.Reset()
			h.decoder.Next(ev)
			h.pointers = append(h.pointers, ev)
		}
		for _, stage := range h.middle {
			stage.Process(h.pointers)
		}
		for _, ev := range h.pointers {
			if batch := h.batcher.Add(ev, now); batch != nil {
				h.send(batch)
			}
		}
		for batch := h.batcher.Flush(); batch != nil; batch = h.batcher.Flush() {
			h.send(batch)
		}
	}
}

func (h *plainHandler) send(batch *stages.RecordBatch) {
	h.produce.Process(batch)
	h.batcher.Recycle(batch)
}
