package stages

// An event as an encoded event.v1.Event again, as a subscriber gets it: with the
// id and the time that the gateway gave it, without what the API does not know.

import (
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	// timestampMax is an encoded google.protobuf.Timestamp in bytes: two varints of up to 10 bytes with their tags.
	timestampMax = 22
	uuidLength   = 36
)

// EncodedBound bounds from above what AppendEncoded appends, in bytes.
func (e *Event) EncodedBound() int {
	size := fieldSize(max(len(e.ID.Value), uuidLength)) + fieldSize(len(e.Source.Value)) + fieldSize(len(e.Type.Value)) +
		fieldSize(len(e.Subject.Value)) + fieldSize(len(e.Data)) + fieldSize(len(e.DataContentType.Value)) +
		fieldSize(len(e.DataSchema.Value)) + 2 + timestampMax + fieldSize(len(e.PartitionKey.Value))
	for i := range e.Metadata {
		size += 1 + protowire.SizeBytes(entryLength(&e.Metadata[i]))
	}
	return size
}

// AppendEncoded appends the event as an event.v1.Event, written from its views.
func (e *Event) AppendEncoded(b []byte) []byte {
	b = appendBytes(b, fieldID, e.ID.Value)
	b = appendBytes(b, fieldSource, e.Source.Value)
	b = appendBytes(b, fieldType, e.Type.Value)
	b = appendBytes(b, fieldSubject, e.Subject.Value)
	b = appendBytes(b, fieldData, e.Data)
	b = appendBytes(b, fieldDataContentType, e.DataContentType.Value)
	b = appendBytes(b, fieldDataSchema, e.DataSchema.Value)
	b = appendTimestamp(b, e)
	for i := range e.Metadata {
		m := &e.Metadata[i]
		b = protowire.AppendTag(b, fieldMetadata, protowire.BytesType)
		b = protowire.AppendVarint(b, uint64(entryLength(m)))
		b = appendBytes(b, 1, m.Name)
		b = appendBytes(b, 2, m.Value)
	}
	return appendBytes(b, fieldPartitionKey, e.PartitionKey.Value)
}

// StoredBound bounds from above what AppendStored appends, in bytes.
func (e *Event) StoredBound() int {
	if e.Shaped || e.Msg.Kind == Records { // which is no encoded event.v1.Event, or has marks
		return e.EncodedBound()
	}
	return e.Size + 2 + uuidLength + 2 + timestampMax
}

// Stamp is an encoded time of receipt. The events of a message share theirs. Used by one goroutine.
type Stamp struct {
	of      time.Time
	encoded []byte
}

// append appends the time of receipt of e, which has no time of its own.
func (s *Stamp) append(b []byte, e *Event) []byte {
	if received := e.Msg.Received; s.encoded == nil || !received.Equal(s.of) {
		s.of, s.encoded = received, appendTimestamp(s.encoded[:0], e)
	}
	return append(b, s.encoded...)
}

// AppendStored is AppendEncoded by a copy of what was received, where that is still what the event is: then it has
// unknown fields, if the client has sent some. In protobuf the last value of a field wins, so what the gateway has
// given the event comes behind it.
func (e *Event) AppendStored(b []byte, s *Stamp) []byte {
	if e.Shaped || e.Msg.Kind == Records { // which is no encoded event.v1.Event, or has marks
		return e.AppendEncoded(b)
	}
	b = append(b, e.raw()...)
	if !e.HasClientID() {
		b = appendBytes(b, fieldID, e.ID.Value)
	}
	if !e.HasTime {
		b = s.append(b, e)
	}
	return b
}

// appendBytes leaves an empty field out: in proto3 that is the same.
func appendBytes(b []byte, field protowire.Number, value []byte) []byte {
	if len(value) == 0 {
		return b
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, value)
}

func appendTimestamp(b []byte, e *Event) []byte {
	t := e.Time()
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

// entryLength is the length of one encoded map entry, without its own tag and length.
func entryLength(m *Pair) int { return fieldSize(len(m.Name)) + fieldSize(len(m.Value)) }
