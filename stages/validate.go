package stages

// The validate stage: the rules of the API that one event can break by itself.

import (
	"fmt"
	"unicode/utf8"
)

// Bounds of an event's parts in bytes (what Kafka headers and CloudEvents consumers handle well).
const (
	MaxAttributeBytes    = 1024  // id, source, type, subject, data_content_type, data_schema
	MaxPartitionKeyBytes = 4096  // partition_key
	MaxMetadataBytes     = 16384 // all names and values together
	MaxMetadataNameBytes = 128
)

// The range of google.protobuf.Timestamp: years 1 to 9999.
const (
	minSeconds = -62135596800
	maxSeconds = 253402300799
)

// RecordSizer bounds the encoded size of the Kafka record that an event becomes, in bytes. It is never above
// RecordBound of the event's size.
type RecordSizer func(ev *Event) int

// ValidateParts are what the stage works with.
type ValidateParts struct {
	// RecordSize may be nil: records are then not bounded by the topic's limit here. With rules, which may
	// shorten an event or choose another topic, transform does it.
	RecordSize RecordSizer
	// Schemas may be nil. They call Again when a fetch has ended.
	Schemas Schemas
	Letters DeadLetters
}

// Validate is the stage. With Schemas it is a Holder.
type Validate struct {
	topics *Topics
	parts  ValidateParts
	held   held
}

// NewValidate returns the stage.
func NewValidate(topics *Topics, parts ValidateParts) *Validate {
	return &Validate{topics: topics, parts: parts, held: held{shards: make(map[uint32]bool)}}
}

// UseSchemas sets the schemas that call Again of this stage. Before the first burst.
func (v *Validate) UseSchemas(s Schemas) { v.parts.Schemas = s }

// Process implements Stage.
func (v *Validate) Process(burst []*Event) {
	for _, ev := range burst {
		if ev.Open() {
			v.check(ev)
		}
		v.finish(ev)
		if v.parts.Schemas == nil || !ev.Live() {
			continue
		}
		waits := v.waits(ev)
		if waits || len(v.held.queue) > 0 && v.held.shards[ev.Shard] {
			v.held.keep(ev, !waits)
		}
	}
}

// finish notes that the stage is done with ev, which may have been refused.
func (v *Validate) finish(ev *Event) {
	if !ev.Live() {
		v.parts.Letters.take(ev)
	}
	ev.At = AtValidate
}

// waits holds a live ev against its schema, or reports that this is to be done later. A dead letter has no schema, but
// does not pass the events of its key either.
func (v *Validate) waits(ev *Event) bool {
	if !ev.Open() {
		return false
	}
	ev.At = AtDecode // a panic is this event's
	wait := v.parts.Schemas.Check(ev)
	v.finish(ev)
	return wait
}

func (v *Validate) check(ev *Event) {
	if !ev.plain {
		if !validText(ev) {
			ev.Refuse(AtValidate, MalformedEvent, &Detail{Field: badText(ev), Message: "is not valid UTF-8"})
			return
		}
		if d := violation(ev); d != nil {
			ev.Refuse(AtValidate, InvalidEvent, d)
			return
		}
	}
	topic := v.topics.Default
	if ev.Msg.options.Topic != nil {
		topic = ev.Msg.options.Topic
	}
	limit := topic.MaxMessageBytes()
	if v.parts.RecordSize == nil || limit == 0 || RecordBound(ev.Size) <= limit {
		return
	}
	if size := v.parts.RecordSize(ev); size > limit {
		ev.Refuse(AtValidate, EventTooLarge, &Detail{Message: fmt.Sprintf(
			"the event makes a record batch of up to %d bytes; the topic %s takes %d (max.message.bytes)",
			size, topic.Name, limit)})
	}
}

// isPlain is the quick yes for the common event, given by decode, where the
// event's bytes are in the cache: it has no invalid text and breaks no rule that
// violation knows. False says nothing. Most events then pass validate without
// their attributes moving to its processor and back.
func isPlain(ev *Event) bool {
	return len(ev.Source.Value) != 0 && len(ev.Type.Value) != 0 && !ev.nonASCII &&
		(!ev.More || len(ev.Cursor) == 0 && !ev.HasTime) && len(ev.Metadata) == 0 &&
		ev.Size-len(ev.Data) <= MaxAttributeBytes // so none alone is longer
}

// RecordBound bounds the Kafka record of an event of size bytes without looking
// at it. The partition key is the only part of an event that a record has twice;
// beside its event's bytes it has the batch's and the record's headers, the names
// of the attributes, an id, a time, and for 64 metadata entries a prefix and two
// lengths each.
func RecordBound(size int) int { return 2*size + 2048 }

// validText: a string field with invalid UTF-8 makes a protobuf message malformed.
func validText(ev *Event) bool {
	ok := utf8.Valid(ev.ID.Value) && utf8.Valid(ev.Source.Value) && utf8.Valid(ev.Type.Value) && valid(ev.Subject.Value) &&
		valid(ev.DataContentType.Value) && valid(ev.DataSchema.Value) && valid(ev.PartitionKey.Value) && valid(ev.Cursor)
	for i := range ev.Metadata {
		ok = ok && utf8.Valid(ev.Metadata[i].Name) && utf8.Valid(ev.Metadata[i].Value)
	}
	return ok
}

// valid spares the call for absent fields.
func valid(b []byte) bool { return len(b) == 0 || utf8.Valid(b) }

// text is a string field with its bound in bytes.
type text struct {
	name  string
	value []byte
	limit int
}

// texts are the string fields that may be sent, without metadata.
func texts(ev *Event) [7]text {
	return [...]text{
		{"id", ev.ID.Value, MaxAttributeBytes},
		{"source", ev.Source.Value, MaxAttributeBytes},
		{"type", ev.Type.Value, MaxAttributeBytes},
		{"subject", ev.Subject.Value, MaxAttributeBytes},
		{"data_content_type", ev.DataContentType.Value, MaxAttributeBytes},
		{"data_schema", ev.DataSchema.Value, MaxAttributeBytes},
		{"partition_key", ev.PartitionKey.Value, MaxPartitionKeyBytes},
	}
}

// badText is the name of the first field that is not valid UTF-8.
func badText(ev *Event) string {
	for _, f := range texts(ev) {
		if !utf8.Valid(f.value) {
			return f.name
		}
	}
	if !utf8.Valid(ev.Cursor) {
		return "cursor"
	}
	return "metadata"
}

// violation is the first rule that the event breaks, or nil.
func violation(ev *Event) *Detail {
	switch {
	case len(ev.Source.Value) == 0:
		return &Detail{Field: "source", Message: "is required: say which service or device the event comes from"}
	case len(ev.Type.Value) == 0:
		return &Detail{Field: "type", Message: "is required: say what happened, for example order.created"}
	case len(ev.Cursor) > 0:
		return &Detail{Field: "cursor", Message: "is set by the gateway on events that are read back; leave it empty"}
	case ev.HasTime && (ev.Seconds < minSeconds || ev.Seconds > maxSeconds):
		return &Detail{Field: "timestamp", Message: fmt.Sprintf("has %d seconds; the years 1 to 9999 are allowed", ev.Seconds)}
	case ev.HasTime && (ev.Nanos < 0 || ev.Nanos > 999_999_999):
		return &Detail{Field: "timestamp", Message: fmt.Sprintf("has %d nanos; 0 to 999999999 are allowed", ev.Nanos)}
	}
	for _, f := range texts(ev) {
		if len(f.value) > f.limit {
			return &Detail{Field: f.name, Message: fmt.Sprintf("has %d bytes; %d are allowed", len(f.value), f.limit)}
		}
	}
	if len(ev.Metadata) > 0 {
		return metadataViolation(ev)
	}
	return nil
}

func metadataViolation(ev *Event) *Detail {
	metadata := ev.Metadata
	entries, bytes := ev.marks()
	if len(metadata) > MaxMetadataEntries+entries {
		return &Detail{Field: "metadata", Message: fmt.Sprintf("has more than the %d entries that are allowed", MaxMetadataEntries)}
	}
	total := 0
	for i := range metadata {
		name := metadata[i].Name
		total += len(name) + len(metadata[i].Value)
		if len(name) == 0 || len(name) > MaxMetadataNameBytes {
			return &Detail{Field: "metadata", Message: fmt.Sprintf("has a name of %d bytes; 1 to %d are allowed", len(name), MaxMetadataNameBytes)}
		}
		for _, c := range name {
			if c < ' ' || c > '~' {
				return &Detail{Field: "metadata", Message: fmt.Sprintf("has the name %q; only printable ASCII is allowed", name)}
			}
		}
	}
	if total > MaxMetadataBytes+bytes {
		return &Detail{Field: "metadata", Message: fmt.Sprintf("has %d bytes of names and values; %d are allowed", total, MaxMetadataBytes)}
	}
	return nil
}
