package kafka

// A record's value that is a serialized event.v1.Event, as views of it. This is
// for what writers of events make: all else, what is not valid among it, is left
// to proto.Unmarshal (eventFromValue), so that what is an event and what is none
// has one judge. FuzzEventFromRecord holds the two against each other.

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// fromValue reads a serialized event into views. False: it may be an event all the same, and the memory may hold a part of it.
func (m making) fromValue(b []byte) bool {
	ev := m.event
	for len(b) > 0 {
		number, v, rest, ok := nextBytes(b)
		if !ok {
			return false
		}
		b = rest
		switch number {
		case dataField:
			ev.Data = v
		case timestampField:
			ok = m.timeFrom(v)
		case metadataField:
			ok = m.entryFrom(v)
		case cursorField: // only the gateway makes cursors
			ok = utf8.Valid(v)
		default:
			ok = putAttribute(ev, number, v)
		}
		if !ok {
			return false
		}
	}
	return ev.Timestamp == nil || ev.Timestamp.IsValid()
}

// nextBytes reads a field of one byte's tag that has a length: all of an event's do.
func nextBytes(b []byte) (number protowire.Number, v, rest []byte, ok bool) {
	tag := b[0]
	if tag >= 0x80 || protowire.Type(tag&7) != protowire.BytesType {
		return 0, nil, nil, false
	}
	v, n := protowire.ConsumeBytes(b[1:])
	if n < 0 {
		return 0, nil, nil, false
	}
	return protowire.Number(tag >> 3), v, b[1+n:], true
}

// putAttribute sets an attribute that is text. False: there is no such field, or this is no text.
func putAttribute(ev *eventv1.Event, number protowire.Number, v []byte) bool {
	var to *string
	switch number {
	case idField:
		to = &ev.Id
	case sourceField:
		to = &ev.Source
	case typeField:
		to = &ev.Type
	case subjectField:
		to = &ev.Subject
	case contentTypeField:
		to = &ev.DataContentType
	case dataSchemaField:
		to = &ev.DataSchema
	case partitionKeyField:
		to = &ev.PartitionKey
	default:
		return false
	}
	return putView(to, v)
}

func putView(to *string, v []byte) bool {
	if !utf8.Valid(v) {
		return false
	}
	*to = view(v)
	return true
}

// timeFrom reads a google.protobuf.Timestamp. A second one is merged with the first, as protobuf has it.
func (m making) timeFrom(b []byte) bool {
	m.event.Timestamp = m.time
	for len(b) > 0 {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 || wire != protowire.VarintType {
			return false
		}
		v, size := protowire.ConsumeVarint(b[n:])
		if size < 0 {
			return false
		}
		switch b = b[n+size:]; number {
		case secondsField:
			m.time.Seconds = int64(v)
		case nanosField:
			m.time.Nanos = int32(v)
		default:
			return false
		}
	}
	return true
}

// entryFrom reads an entry of the metadata; the last one of a name counts.
func (m making) entryFrom(b []byte) bool {
	var name, value string
	for len(b) > 0 {
		number, v, rest, ok := nextBytes(b)
		if !ok {
			return false
		}
		b = rest
		switch number {
		case entryKeyField:
			ok = putView(&name, v)
		case entryValueField:
			ok = putView(&value, v)
		default:
			ok = false
		}
		if !ok {
			return false
		}
	}
	m.entries()[name] = value
	return true
}
