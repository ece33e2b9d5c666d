package stages

// The second front end of decode: stored records to views, without building
// anything in between. It is the inverse of how the gateway writes records, and
// takes those of other producers that keep to the CloudEvents binding for Kafka.
// Anybody may write to a topic: nothing in a record can make this panic, and what
// it does for a record is bounded by the record's size.
//
// Where other readers of a record repair what is broken (a subscriber gets text
// with replacement characters), this refuses: what enters here is stored again.

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protowire"
)

// EventContentType is the content-type of records whose value is a serialized event.v1.Event.
const EventContentType = `application/x-protobuf; messageType="event.v1.Event"`

// Names of headers (CloudEvents 1.0, Kafka protocol binding, section 3.2) and prefixes of what has none of its own.
const (
	headerContentType = "content-type"
	headerSpecVersion = "ce_specversion"
	headerTime        = "ce_time"
	extensionPrefix   = "ce_"
	metadataPrefix    = "md_"
)

// maxTimeText bounds what is parsed as a time: RFC 3339 has no bound for the digits of a fraction.
const maxTimeText = 64

// nextRecord decodes record ev.Index of a message into ev; false: it was refused.
func (d *Decoder) nextRecord(ev *Event) (ok bool) {
	m := ev.Msg
	r := &m.records[ev.Index]
	if problem := ev.readRecord(r); problem != nil {
		ev.Refuse(AtDecode, MalformedEvent, problem)
		return false
	}
	if len(ev.ID.Value) == 0 {
		ev.ID.Value = AppendUUID(ev.idText[:0], r.id())
	}
	ev.Topic = m.options.Topic
	return true
}

// condemn makes a dead letter of a record that was refused before.
func (d *Decoder) condemn(ev *Event, refusal Verdict) {
	if d.letters.Topic == nil { // a bug of the caller; the record stays refused
		ev.Verdict = refusal
		return
	}
	ev.Verdict = refusal
	ev.Bury()
}

// recordSpace is the name space of the ids that records without one get (RFC 9562, version 5).
var recordSpace = uuid.MustParse("6f1d3c0e-52f7-4b0a-9d0c-6b8f5a0c2d41")

// id is the id of a record's event that has none of its own: from the place of the record, so that it is the same when
// the record is read again, and consumers can tell that they have the event twice.
func (r *Record) id() [16]byte {
	return uuid.NewSHA1(recordSpace, []byte(r.place()))
}

// place is "topic/partition/offset".
func (r *Record) place() string {
	return r.Topic + "/" + strconv.Itoa(int(r.Partition)) + "/" + strconv.FormatInt(r.Offset, 10)
}

// readRecord makes ev views of r, and its Size what the event takes as an
// encoded event.v1.Event. nil, or why it is no event; ev then has what could be
// read.
func (e *Event) readRecord(r *Record) (problem *Detail) {
	switch formatOf(r) {
	case recordOfHeaders:
		problem = e.readHeaders(r)
	case recordOfEvent:
		problem = e.readValue(r)
	default:
		problem = &Detail{Message: "the record is no event: it has neither the header ce_specversion nor the content type of event.v1.Event"}
	}
	if len(e.PartitionKey.Value) == 0 && len(r.Key) > 0 {
		e.PartitionKey.Value = r.Key
		e.nonASCII = e.nonASCII || highBits(r.Key) != 0
		e.Size += fieldSize(len(r.Key))
	}
	for i := range r.Marks {
		e.mark(r.Marks[i])
	}
	return problem
}

// recordFormat is how an event lies in a record.
type recordFormat uint8

const (
	recordOfNone recordFormat = iota
	recordOfHeaders
	recordOfEvent
)

// formatOf goes by the first header that says it.
func formatOf(r *Record) recordFormat {
	for i := range r.Headers {
		h := &r.Headers[i]
		if h.Name == headerSpecVersion {
			return recordOfHeaders
		}
		if h.Name == headerContentType && string(h.Value) == EventContentType {
			return recordOfEvent
		}
	}
	return recordOfNone
}

// readValue reads a serialized event.v1.Event.
func (e *Event) readValue(r *Record) *Detail {
	e.Size = len(r.Value)
	if !e.scanEvent(r.Value) {
		return &Detail{Message: "the record's value is not an event.v1.Event, which its content-type says it is"}
	}
	e.Cursor = nil // only the gateway makes cursors, for those who read
	if !e.HasTime {
		e.timeOf(r)
	}
	return nil
}

// readHeaders reads a CloudEvent in binary mode: the value is the data. Of
// headers with one name the last one counts, as for fields of a message. Headers
// of other kinds belong to whatever else travels with records, and are left out.
func (e *Event) readHeaders(r *Record) *Detail {
	e.Data = r.Value
	if e.Data == nil {
		e.Data = []byte{} // null is no event's data; the event's record has an empty value
	}
	var problem *Detail
	for i := range r.Headers {
		if d := e.readHeader(&r.Headers[i]); d != nil && problem == nil {
			problem = d
		}
	}
	if !e.HasTime {
		e.timeOf(r)
	}
	e.Size += fieldSize(len(e.Data))
	for _, a := range [...][]byte{e.ID.Value, e.Source.Value, e.Type.Value, e.Subject.Value, e.DataContentType.Value, e.DataSchema.Value, e.PartitionKey.Value} {
		e.Size += fieldSize(len(a))
		e.nonASCII = e.nonASCII || highBits(a) != 0
	}
	for i := range e.Metadata {
		e.Size += entrySize(&e.Metadata[i])
	}
	return problem
}

// readHeader takes one header in.
func (e *Event) readHeader(h *Attribute) *Detail {
	switch h.Name {
	case headerSpecVersion:
		if string(h.Value) != "1.0" {
			return &Detail{Field: headerSpecVersion, Message: fmt.Sprintf("is %.20q; only 1.0 is known", h.Value)}
		}
	case "ce_id":
		e.ID.Value = h.Value
	case "ce_source":
		e.Source.Value = h.Value
	case "ce_type":
		e.Type.Value = h.Value
	case "ce_subject":
		e.Subject.Value, e.More = h.Value, true
	case headerTime:
		return e.readTime(h.Value)
	case headerContentType:
		e.DataContentType.Value, e.More = h.Value, true
	case "ce_dataschema":
		e.DataSchema.Value, e.More = h.Value, true
	case "ce_partitionkey":
		e.PartitionKey.Value = h.Value
	case "traceparent", "tracestate":
		e.setMetadata(Pair{Name: nameBytes(h.Name), Value: h.Value})
	default:
		name, ok := strings.CutPrefix(h.Name, metadataPrefix)
		if !ok {
			name, ok = strings.CutPrefix(h.Name, extensionPrefix)
		}
		if ok {
			e.setMetadata(Pair{Name: nameBytes(name), Value: h.Value})
		}
	}
	return nil
}

// readTime reads ce_time.
func (e *Event) readTime(text []byte) *Detail {
	var t time.Time
	var err error
	if len(text) <= maxTimeText {
		t, err = time.Parse(time.RFC3339Nano, string(text))
	}
	if err != nil || len(text) > maxTimeText {
		return &Detail{Field: headerTime, Message: fmt.Sprintf("is %.40q, which is no time in the format of RFC 3339", text)}
	}
	e.setTime(t)
	return nil
}

// timeOf gives the event the record's time, if Kafka has one.
func (e *Event) timeOf(r *Record) {
	if !r.Timestamp.IsZero() {
		e.setTime(r.Timestamp)
	}
}

func (e *Event) setTime(t time.Time) {
	e.HasTime, e.More = true, true
	e.Seconds, e.Nanos = t.Unix(), int32(t.Nanosecond())
	const encodedTime = 2 + 2 + 10 + 5 // bounds the field: two lengths and tags, two varints
	e.Size += encodedTime
}

// setMetadata is scanMetadata for an entry that was read: at most one over the bound is kept, which validate refuses.
func (e *Event) setMetadata(p Pair) {
	if len(e.Metadata) > MaxMetadataEntries {
		return // refused anyway: no more searches
	}
	for i := range e.Metadata {
		if bytes.Equal(e.Metadata[i].Name, p.Name) {
			e.Metadata[i].Value = p.Value
			return
		}
	}
	e.Metadata = append(e.Metadata, p)
}

// mark sets an entry beside the bound.
func (e *Event) mark(p Pair) {
	for i := range e.Metadata {
		if bytes.Equal(e.Metadata[i].Name, p.Name) {
			e.Size += len(p.Value)
			e.Metadata[i].Value = p.Value
			return
		}
	}
	e.Metadata = append(e.Metadata, p)
	e.Size += entrySize(&p)
}

// marks is how many entries, and bytes of them, the event has beside what the API allows.
func (e *Event) marks() (entries, size int) {
	if e.Msg == nil || e.Msg.Kind != Records {
		return 0, 0
	}
	for _, p := range e.Msg.records[e.Index].Marks {
		entries++
		size += len(p.Name) + len(p.Value)
	}
	return entries, size
}

// fieldSize is what a field of n bytes takes in an encoded event.v1.Event; every field's tag is one byte.
func fieldSize(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n)
}

func entrySize(p *Pair) int {
	return 1 + protowire.SizeBytes(fieldSize(len(p.Name))+fieldSize(len(p.Value)))
}

// nameBytes is a view of a header's name, which nobody writes to.
func nameBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
