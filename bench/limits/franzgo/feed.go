package main

// One goroutine makes records and hands them to franz-go, the plain way. Records come in groups that are used again
// when all of theirs are acknowledged; the number of groups is the bound on what is in flight.
//
//	free groups -> feeder -> franz-go ... broker
//	     ^                       |
//	     +------- promises <-----+

import (
	"context"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/cli"
	"github.com/event-gateway/event-gateway/stages"
)

// groupSize is the events of a message in the gateway's own measurements. What the gateway does once a message is
// done here once a group.
const groupSize = 100

// figures is what a run came to. The names are those of gateway publish --json.
type figures struct {
	Acknowledged int `json:"acknowledged"`
	Failed       int `json:"failed"`
	// Sent counts the records of the warm-up, too: what the broker must have.
	Sent    int     `json:"sent"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"acknowledged_per_second"`
	// CPUNanos is this process's processor time from the first record to the last acknowledgement, without what was burnt.
	CPUNanos float64 `json:"cpu_ns_per_event"`
	// Latency is of whole groups, from their first record's hand-over to their last acknowledgement.
	Latency latency `json:"latency_ms"`
}

type latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
}

// feeder is one run.
type feeder struct {
	config
	client     *kgo.Client
	partitions uint32
	events     *memory
	free       chan *group

	// Only promises write these, which franz-go runs one after the other; read when all groups are free again.
	figures  figures
	measured *hdrhistogram.Histogram
}

// group is records that leave together. It belongs to the feeder, and from its first record's hand-over to the promise
// of its last to the promises.
type group struct {
	records [groupSize]kgo.Record
	headers [groupSize][7]kgo.RecordHeader
	left    int
	began   time.Time
	time    []byte // began as text
	promise func(*kgo.Record, error)
}

var (
	background  = context.Background()
	specVersion = []byte("1.0")
)

func newFeeder(c config, client *kgo.Client, partitions uint32) *feeder {
	f := &feeder{config: c, client: client, partitions: partitions, events: newMemory(c.memory, c.size, c.keys),
		free: make(chan *group, c.inflight/groupSize), measured: hdrhistogram.New(1, time.Minute.Microseconds(), 2)}
	for range cap(f.free) {
		g := &group{}
		g.promise = func(_ *kgo.Record, err error) { f.settle(g, err) } // one closure a group, not one a record
		f.free <- g
	}
	return f
}

// run produces everything and waits for the last answer.
func (f *feeder) run() figures {
	began, cpu := time.Now(), cli.CPUTime()
	stop := make(chan struct{})
	burner := newBurner(f.burn, cap(f.free), stop)
	for number := 0; number < f.count && (f.duration == 0 || time.Since(began) < f.duration); number += groupSize {
		burner.take()
		f.produce(<-f.free, number, min(groupSize, f.count-number))
	}
	close(stop)
	burnt := burner.end()
	for range cap(f.free) {
		<-f.free
	}
	took, cpu := time.Since(began), cli.CPUTime()-cpu-burnt
	r := f.figures
	r.Seconds = took.Seconds()
	r.Rate = float64(r.Acknowledged) / r.Seconds
	r.CPUNanos = float64(cpu) / float64(r.Acknowledged+r.Failed)
	millis := func(percentile float64) float64 { return float64(f.measured.ValueAtPercentile(percentile)) / 1000 }
	r.Latency = latency{P50: millis(50), P99: millis(99), P999: millis(99.9)}
	return r
}

// produce hands the next n events to franz-go, the first of which is event number of the run.
func (f *feeder) produce(g *group, number, n int) {
	g.began, g.left = time.Now(), n
	g.time = g.began.UTC().AppendFormat(g.time[:0], time.RFC3339Nano)
	unkeyed := uint32(number/groupSize) % f.partitions
	for i := range n {
		e := f.events.take()
		r := &g.records[i]
		f.fill(r, &g.headers[i], &e, g)
		if len(e.key) > 0 {
			r.Partition = int32(stages.KeyHash(e.key) % f.partitions)
		} else {
			r.Partition = int32(unkeyed)
		}
		f.client.TryProduce(background, r, g.promise) // from here on, r is not ours
	}
}

// fill makes the record that the gateway makes of e.
func (f *feeder) fill(r *kgo.Record, headers *[7]kgo.RecordHeader, e *event, g *group) {
	*r = kgo.Record{Value: e.data, Headers: headers[:0], Topic: f.topic, Timestamp: g.began, Context: background}
	r.Headers = append(r.Headers,
		kgo.RecordHeader{Key: "ce_specversion", Value: specVersion},
		kgo.RecordHeader{Key: "ce_id", Value: e.id},
		kgo.RecordHeader{Key: "ce_source", Value: e.source},
		kgo.RecordHeader{Key: "ce_type", Value: e.kind},
		kgo.RecordHeader{Key: "ce_time", Value: g.time})
	if len(e.key) > 0 {
		r.Key = e.key
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "ce_partitionkey", Value: e.key})
	}
	r.Headers = append(r.Headers, kgo.RecordHeader{Key: "content-type", Value: e.contentType})
}

// settle is the promise of every record.
func (f *feeder) settle(g *group, err error) {
	if err == nil {
		f.figures.Acknowledged++
	} else {
		f.figures.Failed++
		f.figures.Error = err.Error()
	}
	if g.left--; g.left == 0 {
		_ = f.measured.RecordValue(min(time.Since(g.began), time.Minute).Microseconds())
		f.free <- g
	}
}
