package stages

// The sinks that stand in for Kafka: one that discards, for benchmarks, and
// one that writes each event as a line, to look at. Both acknowledge with
// offsets of their own, so answers look as they do with Kafka.

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// offsets counts positions in each partition of each topic, from 0 at every start.
type offsets [][]paddedCounter

// paddedCounter keeps the counters of two partitions, written by two workers, off one cache line pair.
type paddedCounter struct {
	next atomic.Int64
	_    [120]byte
}

// newOffsets gives every topic the same number of partitions.
func newOffsets(topics *Topics, partitions int) offsets {
	o := make(offsets, len(topics.All))
	for _, t := range topics.All {
		t.SetPartitions(partitions)
		o[t.Index] = make([]paddedCounter, partitions)
	}
	return o
}

// acknowledge gives events the next positions of p.
func (o offsets) acknowledge(p *Partition, events []*Event) {
	next := &o[p.Topic.Index][p.ID].next
	first := next.Add(int64(len(events))) - int64(len(events))
	for i, ev := range events {
		ev.Ack = Ack{Verdict: Verdict{Outcome: Acknowledged}, Partition: p.ID, Offset: first + int64(i)}
	}
}

// Discard is a Producer that stores nothing and acknowledges at once.
type Discard struct {
	offsets offsets
	report  func([]*Event)
}

// NewDiscard returns a Discard for topics, each with that many partitions.
func NewDiscard(topics *Topics, partitions int, report func([]*Event)) *Discard {
	return &Discard{offsets: newOffsets(topics, partitions), report: report}
}

// Produce implements Producer.
func (d *Discard) Produce(p *Partition, events []*Event) {
	d.offsets.acknowledge(p, events)
	d.report(events)
}

// LogSink is a Producer that writes each event as one line of JSON and
// acknowledges it when it is written. The lines are what "gateway publish"
// reads. A slow reader holds back the gateway.
type LogSink struct {
	offsets offsets
	report  func([]*Event)

	mu     sync.Mutex // guards the following
	out    io.Writer
	buffer []byte
}

// NewLogSink returns a LogSink for topics, each with that many partitions.
func NewLogSink(topics *Topics, partitions int, out io.Writer, report func([]*Event)) *LogSink {
	return &LogSink{offsets: newOffsets(topics, partitions), out: out, report: report}
}

// Produce implements Producer. A write that fails leaves the events unknown: part of them may be out.
func (s *LogSink) Produce(p *Partition, events []*Event) {
	s.offsets.acknowledge(p, events)
	if !s.write(events) {
		for _, ev := range events {
			ev.Ack = Ack{Verdict: Verdict{Outcome: Unknown, Reason: OutcomeUnknown, Stage: AtProduce}, Offset: -1}
		}
	}
	s.report(events)
}

func (s *LogSink) write(events []*Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buffer = s.buffer[:0]
	for _, ev := range events {
		line, err := json.Marshal(lineOf(ev))
		if err != nil {
			return false
		}
		s.buffer = append(append(s.buffer, line...), '\n')
	}
	_, err := s.out.Write(s.buffer)
	return err == nil
}

// eventLine is the proto JSON of event.v1.Event, with data_text instead of data where data is text.
type eventLine struct {
	ID              string            `json:"id"`
	Source          string            `json:"source"`
	Type            string            `json:"type"`
	Subject         string            `json:"subject,omitempty"`
	DataText        string            `json:"data_text,omitempty"`
	Data            string            `json:"data,omitempty"`
	DataContentType string            `json:"dataContentType,omitempty"`
	DataSchema      string            `json:"dataSchema,omitempty"`
	Timestamp       string            `json:"timestamp"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	PartitionKey    string            `json:"partitionKey,omitempty"`
}

func lineOf(ev *Event) eventLine {
	line := eventLine{ID: string(ev.ID.Value), Source: string(ev.Source.Value), Type: string(ev.Type.Value),
		Subject: string(ev.Subject.Value), DataContentType: string(ev.DataContentType.Value),
		DataSchema: string(ev.DataSchema.Value), PartitionKey: string(ev.PartitionKey.Value),
		Timestamp: ev.Time().Format(time.RFC3339Nano)}
	if utf8.Valid(ev.Data) {
		line.DataText = string(ev.Data)
	} else {
		line.Data = base64.StdEncoding.EncodeToString(ev.Data)
	}
	for _, pair := range ev.Metadata {
		if line.Metadata == nil {
			line.Metadata = make(map[string]string, len(ev.Metadata))
		}
		line.Metadata[string(pair.Name)] = string(pair.Value)
	}
	return line
}
