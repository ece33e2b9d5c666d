package kafka

// An event as a Kafka record: the CloudEvents 1.0 Kafka binding in binary
// mode, or the serialized event.v1.Event. Nothing is allocated once an
// event's record has been used a few times.

import (
	"context"
	"math/bits"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// The headers that every binary record may have (CloudEvents 1.0, Kafka
// protocol binding, section 3.2).
const (
	headerContentType  = "content-type"
	headerSpecVersion  = "ce_specversion"
	headerID           = "ce_id"
	headerSource       = "ce_source"
	headerType         = "ce_type"
	headerSubject      = "ce_subject"
	headerTime         = "ce_time"
	headerDataSchema   = "ce_dataschema"
	headerPartitionKey = "ce_partitionkey"
	headerTraceParent  = "traceparent"
	headerTraceState   = "tracestate"

	attributePrefix = "ce_"
	metadataPrefix  = "md_"

	// eventContentType marks records of FormatEvent.
	eventContentType = `application/x-protobuf; messageType="event.v1.Event"`
)

var (
	specVersion       = []byte("1.0")
	eventContentValue = []byte(eventContentType)
	emptyValue        = []byte{}
)

// reserved are the attribute names that a metadata entry may not take in a
// record: the core attributes, and the extensions that the gateway writes itself.
var reserved = map[string]bool{
	"id": true, "source": true, "type": true, "specversion": true,
	"subject": true, "time": true, "datacontenttype": true, "dataschema": true,
	"data": true, "data_base64": true, "partitionkey": true,
}

// attributeMax is the length up to which CloudEvents wants all parties to take attribute names.
const attributeMax = 20

// isAttribute reports whether name is a legal CloudEvents attribute name that is not reserved.
func isAttribute(name []byte) bool {
	if len(name) == 0 || len(name) > attributeMax {
		return false
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return !reserved[string(name)]
}

const (
	// keptHeaders and keptScratch bound what a recycled record keeps: 64 headers at 40 bytes and 16 KiB of
	// names would be 18 KiB for each of tens of thousands of events.
	keptHeaders = 24
	keptScratch = 1024
	// timeSpace is enough for RFC 3339 with nanoseconds.
	timeSpace = len("9999-12-31T23:59:59.999999999Z")
)

// record is what an event keeps in Event.Sink: its Kafka record and the
// memory that the record points into. Owned by whoever owns the event; while
// franz-go has it, by franz-go.
//
// It is also the context of its kgo.Record: kgo sets Record.Context only when
// it is nil, and hands it back in the promise, so one promise method finds the
// event again without a closure for each record.
type record struct {
	// The first three cache lines are what franz-go reads when it encodes and gives back a record, and what the
	// promise of an acknowledged record needs: it looks neither at the event nor at the fourth line, so that those
	// stay in the cache of the processor that uses the event next. TestRecordLayout holds this.

	kafka kgo.Record
	ev    *stages.Event
	// msg, of, index and cost are the event's own Msg, Partition, Index and Cost, for the promise.
	msg   *stages.Message
	of    *stages.Partition
	index uint32
	// costAndFlags has the cost above flagBits, the flags below.
	costAndFlags uint32

	// The fourth line.

	// Context is the producer's background context, never a request's: franz-go fails every record of a
	// partition when the context of the first one ends.
	context.Context
	// partition, seq and lost are set by Produce; see partition.go. Of seq and lost the lower halves are enough:
	// far fewer than 2^32 records are in flight.
	partition *partition
	seq, lost uint32
	// headers are kafka.Headers, which are there only from the partitioner to the promise; see hide.
	headers []kgo.RecordHeader
	// spare is memory of the record's own, which most events need none of.
	spare *spare
}

// flags of a record.
const (
	// misplaced is set by the partitioner when the client knows fewer partitions than the event was routed by.
	misplaced uint32 = 1 << iota
	// oversized: the record holds more memory than shrink lets it keep; a dead letter's always does.
	oversized
	// last: the events that were handed over together and belong to one message end here; see reports.go.
	last
	// quiet: nobody reads the result of an acknowledged event (stages.Message.Quiet); a dead letter's is a refusal.
	quiet

	flagBits = 4
	maxCost  = 1<<(32-flagBits) - 1
)

func (r *record) has(flag uint32) bool { return r.costAndFlags&flag != 0 }

// handOver notes what the promise needs to know. isLast: the next event belongs to another message, or to another call.
func (r *record) handOver(isLast bool) {
	ev := r.ev
	r.msg, r.of, r.index = ev.Msg, ev.Partition, uint32(ev.Index)
	flags := r.costAndFlags & oversized
	if isLast {
		flags |= last
	}
	if ev.Msg.Quiet() && ev.Cost <= maxCost && !ev.Dead {
		flags |= quiet
	}
	r.costAndFlags = uint32(min(ev.Cost, maxCost))<<flagBits | flags
	r.hide()
}

// spare is what the headers and values of a record lie in that are no views of
// the event. It is kept with the (recycled) event, up to a size.
type spare struct {
	// scratch holds the header names that belong to no constant ("ce_" + name), and in FormatEvent the value.
	// Header names are Go strings over these bytes (unsafe.String): an intern table would need a bound, a lock,
	// and a policy for clients that invent names. The bytes stay untouched until the event is retired, which is
	// after franz-go has given the record back.
	scratch []byte
	// headers are used where the event's own attributes cannot be the headers; see headersOf.
	headers []kgo.RecordHeader
}

func (r *record) makeSpare() *spare {
	if r.spare == nil {
		r.spare = &spare{}
	}
	return r.spare
}

// touch reads a word of each cache line that most events use, see stages.Event.Touch.
func (r *record) touch() int {
	return len(r.kafka.Key) + len(r.kafka.Topic) + int(r.index) + int(r.seq)
}

// recordOf returns the event's record, made on first use.
func recordOf(ev *stages.Event) *record {
	if r, ok := ev.Sink.(*record); ok {
		return r
	}
	r := &record{}
	ev.Sink = r
	nameAttributes(&ev.Attributes)
	return r
}

// hide takes the headers out of the record until franz-go partitions it (show). franz-go
// counts a record's bytes when it takes it in and when it gives it back, header by
// header, for MaxBufferedBytes, which is unlimited here. When it gives it back, on the
// goroutine of the promises, that fetched five cache lines of every event from
// another processor: 4 % of the gateway's CPU, measured on two shared cores in
// batches of 100. So headers are hidden both times: the count stays right, without them.
func (r *record) hide() { r.headers, r.kafka.Headers = r.kafka.Headers, nil }

// show puts the headers back, before franz-go computes the record's length.
func (r *record) show() { r.kafka.Headers = r.headers }

// fill lays ev out in r. background becomes the record's context; c is the caller's.
func (r *record) fill(background context.Context, format Format, ev *stages.Event, c *timeText) {
	r.shrink()
	r.forget()
	if r.Context == nil { // once: franz-go may still look at it for a while after it has given a record back
		r.Context = background
	}
	r.ev, r.costAndFlags = ev, 0
	r.kafka = kgo.Record{
		Key:       keyOf(ev),
		Timestamp: ev.Msg.Received,
		Topic:     ev.Topic.Name,
		Partition: ev.Partition.ID,
		Context:   r,
	}
	switch {
	case ev.Dead:
		r.fillLetter(ev)
	case format == FormatEvent:
		r.fillEvent(ev)
	default:
		r.fillBinary(ev, c)
	}
	if r.spare != nil && r.spare.oversized() {
		r.costAndFlags |= oversized
	}
}

func (r *record) fillBinary(ev *stages.Event, c *timeText) {
	k := &r.kafka
	if k.Value = ev.Data; k.Value == nil {
		k.Value = emptyValue
	}
	if len(ev.Metadata) > 0 {
		// All scratch at once: growing it later would be correct (names keep the old array alive) but allocate twice.
		s := r.makeSpare()
		s.scratch = s.reserve(scratchSize(ev))
	}
	ev.TimeText.Value = c.of(ev.Time())
	k.Headers = r.headersOf(ev)
}

// Release implements stages.Releaser: it lets go of the event's bytes. A record
// lives on with a recycled event, and the views of an idle one would keep a
// dead message's memory, up to 20 MiB.
func (r *record) Release() {
	r.kafka.Key, r.kafka.Value, r.kafka.Headers, r.headers = nil, nil, nil, nil
	r.msg, r.of = nil, nil
	if r.ev != nil { // else it was never filled
		r.ev.TimeText.Value = nil
	}
	r.shrink()
	r.forget()
}

// forget clears every view in spare memory.
func (r *record) forget() {
	if r.spare != nil {
		clear(r.spare.headers)
		r.spare.headers = r.spare.headers[:0]
	}
}

// shrink lets go of memory that is larger than what a recycled record may
// keep, and of the views that would keep it. Only after franz-go has given the
// record back. No budget counts this memory: in FormatEvent a record's is as
// large as its event, and there are tens of thousands of records.
func (r *record) shrink() {
	if !r.has(oversized) {
		return
	}
	r.costAndFlags &^= oversized
	r.kafka.Key, r.kafka.Value, r.kafka.Headers, r.headers = nil, nil, nil, nil // views into it
	r.forget()
	s := r.spare
	if s == nil {
		return
	}
	if cap(s.scratch) > keptScratch {
		s.scratch = nil
	}
	if cap(s.headers) > keptHeaders {
		s.headers = nil
	}
}

func (s *spare) oversized() bool {
	return cap(s.scratch) > keptScratch || cap(s.headers) > keptHeaders
}

func keyOf(ev *stages.Event) []byte {
	if len(ev.PartitionKey.Value) == 0 {
		return nil
	}
	return ev.PartitionKey.Value
}

// reserve is scratch, empty, with room for n bytes.
func (s *spare) reserve(n int) []byte {
	if cap(s.scratch) < n {
		return make([]byte, 0, 1<<bits.Len(uint(n)))
	}
	return s.scratch[:0]
}

func scratchSize(ev *stages.Event) int {
	n := 0
	for i := range ev.Metadata {
		n += len(attributePrefix) + len(ev.Metadata[i].Name)
	}
	return n
}

// timeText writes times as text. It keeps the last one: the events of a message
// that have no time of their own share its time of receipt, and formatting one
// costs about 100 ns, a third of a record. A text stays as it is, also when its
// event is recycled; so texts lie in blocks that are never written to again.
type timeText struct {
	t           time.Time
	text, block []byte
}

// timeBlock is the size of a block of texts: 34 of them to an allocation. An event that is idle
// holds none (Release).
const timeBlock = 1024

func (c *timeText) of(t time.Time) []byte {
	if c.text != nil && t.Equal(c.t) {
		return c.text
	}
	if cap(c.block)-len(c.block) < timeSpace {
		c.block = make([]byte, 0, timeBlock)
	}
	start := len(c.block)
	c.block = t.AppendFormat(c.block, time.RFC3339Nano)
	c.t, c.text = t, c.block[start:len(c.block):len(c.block)]
	return c.text
}

// headerName is the header of a metadata entry. traceparent and tracestate
// stand alone, as tracing libraries for Kafka look for them.
func (s *spare) headerName(name []byte) string {
	prefix := metadataPrefix
	switch {
	case string(name) == headerTraceParent:
		return headerTraceParent
	case string(name) == headerTraceState:
		return headerTraceState
	case isAttribute(name):
		prefix = attributePrefix
	}
	start := len(s.scratch)
	s.scratch = append(s.scratch, prefix...)
	s.scratch = append(s.scratch, name...)
	text := s.scratch[start:]
	return unsafe.String(unsafe.SliceData(text), len(text))
}

// Sizes of a record batch of Kafka's format v2 with one record in it.
const (
	// batchOverhead is the batch header: 61 bytes, and up to 5 for the length in front of it, which
	// franz-go counts in and Kafka does not.
	batchOverhead = 61 + 5
	// recordOverhead is length (5), attributes (1), timestamp delta (10), offset delta (5), and the number of headers (2).
	recordOverhead = 5 + 1 + 10 + 5 + 2
	// lengthMax is a varint of up to 32 bits, zigzag.
	lengthMax = 5
)

// EncodedSize bounds from above the size that the event takes as a Kafka
// record batch of one, before compression: what max.message.bytes limits.
func (f Format) EncodedSize(ev *stages.Event) int {
	if ev.Dead {
		return letterSize(ev)
	}
	size := batchOverhead + recordOverhead + lengthMax + len(ev.PartitionKey.Value) + lengthMax
	header := func(name, value int) { size += 2*lengthMax + name + value }
	if f == FormatEvent {
		header(len(headerContentType), len(eventContentType))
		return size + ev.EncodedBound()
	}
	size += len(ev.Data)
	header(len(headerSpecVersion), len(specVersion))
	header(len(headerID), max(len(ev.ID.Value), 36)) // an id that the gateway has not assigned yet is a UUID
	header(len(headerSource), len(ev.Source.Value))
	header(len(headerType), len(ev.Type.Value))
	header(len(headerSubject), len(ev.Subject.Value))
	header(len(headerTime), timeSpace)
	header(len(headerContentType), len(ev.DataContentType.Value))
	header(len(headerDataSchema), len(ev.DataSchema.Value))
	header(len(headerPartitionKey), len(ev.PartitionKey.Value))
	for i := range ev.Metadata {
		header(len(attributePrefix)+len(ev.Metadata[i].Name), len(ev.Metadata[i].Value))
	}
	return size
}
