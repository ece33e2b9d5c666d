package kafka

// FormatEvent: the record's value is the serialized event.v1.Event, written
// straight from the event's views.

import (
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/event-gateway/event-gateway/stages"
)

// The field numbers of event.v1.Event (proto/event/v1/event.proto).
const (
	fieldID           protowire.Number = 1
	fieldSource       protowire.Number = 2
	fieldType         protowire.Number = 3
	fieldSubject      protowire.Number = 4
	fieldData         protowire.Number = 5
	fieldContentType  protowire.Number = 6
	fieldDataSchema   protowire.Number = 7
	fieldTimestamp    protowire.Number = 8
	fieldMetadata     protowire.Number = 9
	fieldPartitionKey protowire.Number = 12

	// timestampMax is the encoded google.protobuf.Timestamp: two varints of up to 10 bytes with their tags.
	timestampMax = 22
)

func (r *record) fillEvent(ev *stages.Event) {
	s := r.makeSpare()
	b := s.reserve(eventSize(ev))
	b = appendField(b, fieldID, ev.ID.Value)
	b = appendField(b, fieldSource, ev.Source.Value)
	b = appendField(b, fieldType, ev.Type.Value)
	b = appendField(b, fieldSubject, ev.Subject.Value)
	b = appendField(b, fieldData, ev.Data)
	b = appendField(b, fieldContentType, ev.DataContentType.Value)
	b = appendField(b, fieldDataSchema, ev.DataSchema.Value)
	b = appendTimestamp(b, ev)
	for i := range ev.Metadata {
		m := &ev.Metadata[i]
		b = protowire.AppendTag(b, fieldMetadata, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(entrySize(m)))
		b = appendField(b, 1, m.Name)
		b = appendField(b, 2, m.Value)
	}
	b = appendField(b, fieldPartitionKey, ev.PartitionKey.Value)
	s.scratch, r.kafka.Value = b, b
	s.headers = append(s.headers[:0], kgo.RecordHeader{Key: headerContentType, Value: eventContentValue})
	r.kafka.Headers = s.headers
}

// appendField leaves an empty field out: in proto3 that is the same.
func appendField(b []byte, field protowire.Number, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, value)
}

func appendTimestamp(b []byte, ev *stages.Event) []byte {
	t := ev.Time()
	seconds, nanos := uint64(t.Unix()), uint64(t.Nanosecond())
	size := 0
	if seconds != 0 {
		size += 1 + protowire.SizeVarint(seconds)
	}
	if nanos != 0 {
		size += 1 + protowire.SizeVarint(nanos)
	}
	b = protowire.AppendTag(b, fieldTimestamp, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	if seconds != 0 {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, seconds)
	}
	if nanos != 0 {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, nanos)
	}
	return b
}

// entrySize is the length of one encoded map entry, without its own tag and length.
func entrySize(m *stages.Pair) int { return fieldSize(len(m.Name)) + fieldSize(len(m.Value)) }

func fieldSize(n int) int {
	if n == 0 {
		return 0
	}
	return 1 + protowire.SizeBytes(n) // every field number here is below 16: a tag is one byte
}

// eventSize bounds the length of the serialized event from above.
func eventSize(ev *stages.Event) int {
	size := fieldSize(max(len(ev.ID.Value), 36)) + fieldSize(len(ev.Source.Value)) + fieldSize(len(ev.Type.Value)) +
		fieldSize(len(ev.Subject.Value)) + fieldSize(len(ev.Data)) + fieldSize(len(ev.DataContentType.Value)) +
		fieldSize(len(ev.DataSchema.Value)) + 2 + timestampMax + fieldSize(len(ev.PartitionKey.Value))
	for i := range ev.Metadata {
		size += 1 + protowire.SizeBytes(entrySize(&ev.Metadata[i]))
	}
	return size
}
