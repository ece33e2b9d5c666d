package main

// One message in flight: its buffer, its records, its count of promises. Pooled whole.

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc/codes"

	"github.com/event-gateway/event-gateway/stages"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// message owns what a received message needs until it is answered: the stream's reader fills it, the promises
// of its records count it down, the stream's sender answers and releases it.
type message struct {
	data    []byte       // as received; the records' keys and values are views into it
	records []kgo.Record // one per event, with their header slices
	scratch []byte       // values made here: times, ids
	receipt []byte       // the time of receipt as text, for events without a time; part of scratch
	faults  []fault      // by event; guarded by mu once records are with franz-go
	mu      sync.Mutex

	left    atomic.Int32  // promises still to come
	done    chan struct{} // one token when left is 0
	promise func(*kgo.Record, error)

	batch  gatewayv1.IngestEventBatchResponse
	single gatewayv1.IngestEventResponse
}

// fault is an event that is not stored, or of which that is not known.
type fault struct {
	index   int
	err     error
	refused bool // else unknown
}

var messages = sync.Pool{New: func() any {
	m := &message{done: make(chan struct{}, 1)}
	m.promise = m.acknowledged // one closure a message, not one a record
	return m
}}

// produce scans the events and hands them to franz-go, bad ones excepted.
func (m *message) produce(in *ingest) {
	now := time.Now()
	scanErr := m.scan(in.topic, now)
	if scanErr != nil { // nothing of a message that cannot be read to its end is sent
		m.records = m.records[:0]
		m.faults = append(m.faults[:0], fault{err: scanErr, refused: true})
	}
	spread := in.messages.Add(1)
	m.left.Store(1 + int32(len(m.records))) // one for this function
	bad := m.faults
	for i := range m.records {
		if len(bad) > 0 && bad[0].index == i {
			bad = bad[1:]
			m.finish()
			continue
		}
		r := &m.records[i]
		r.Partition = int32(spread % in.partitions)
		if len(r.Key) > 0 {
			r.Partition = int32(stages.KeyHash(r.Key) % in.partitions)
		}
		in.client.Produce(background, r, m.promise)
	}
	m.finish()
}

func (m *message) finish() {
	if m.left.Add(-1) == 0 {
		m.done <- struct{}{}
	}
}

// acknowledged is the promise of every record.
func (m *message) acknowledged(r *kgo.Record, err error) {
	if err != nil {
		m.mu.Lock()
		m.faults = append(m.faults, fault{index: m.indexOf(r), err: err})
		m.mu.Unlock()
	}
	m.finish()
}

func (m *message) indexOf(r *kgo.Record) int {
	for i := range m.records {
		if &m.records[i] == r {
			return i
		}
	}
	return -1
}

// keptBuffer bounds what an unusually large message leaves behind in the pool.
const keptBuffer = 1 << 20

// release gives the message back, with its memory, and forgets everything that points into its buffer.
func (m *message) release() {
	if cap(m.data) > keptBuffer {
		m.data = nil
	}
	m.data = m.data[:0]
	m.records, m.scratch, m.faults = m.records[:0], m.scratch[:0], m.faults[:0]
	messages.Put(m)
}

// response is valid until release.
func (m *message) response(batch bool) any {
	if batch {
		m.batch.Reset()
		m.batch.Succeeded = int32(len(m.records) - len(m.faults))
		if len(m.records) == 0 {
			m.batch.Succeeded = 0 // the message could not be read: one fault, no event
		}
		slices.SortFunc(m.faults, func(a, b fault) int { return a.index - b.index })
		for _, f := range m.faults {
			m.batch.Failures = append(m.batch.Failures, &gatewayv1.IngestEventBatchResponse_Failure{
				Index: int32(f.index), Result: f.response(),
			})
		}
		return &m.batch
	}
	if len(m.faults) > 0 {
		return m.faults[0].response()
	}
	m.single.Reset()
	m.single.Success = true
	m.single.Outcome = gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED
	if len(m.records) > 0 {
		r := &m.records[0]
		m.single.EventId = string(header(r, "ce_id"))
		m.single.Topic, m.single.Partition, m.single.Offset = r.Topic, r.Partition, r.Offset
	}
	return &m.single
}

func (f fault) response() *gatewayv1.IngestEventResponse {
	if f.refused {
		return &gatewayv1.IngestEventResponse{
			Outcome: gatewayv1.Outcome_OUTCOME_REFUSED, Code: int32(codes.InvalidArgument),
			Reason: "INVALID_EVENT", ErrorMessage: f.err.Error(),
		}
	}
	return &gatewayv1.IngestEventResponse{
		Outcome: gatewayv1.Outcome_OUTCOME_UNKNOWN, Code: int32(codes.Unavailable),
		Reason: "OUTCOME_UNKNOWN", ErrorMessage: f.err.Error(),
	}
}

func header(r *kgo.Record, key string) []byte {
	for _, h := range r.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return nil
}

var errNoEvent = errors.New("event: required")
