package stages

// The wire scan: protobuf bytes to views, without building Go structs. It
// follows the protobuf encoding rules (protobuf.dev/programming-guides/encoding):
// the last value of a scalar wins, repeated embedded messages merge, unknown
// fields and known fields with another wire type are skipped. The fuzz tests
// hold it against proto.Unmarshal.

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of event.v1.Event.
const (
	fieldID              = 1
	fieldSource          = 2
	fieldType            = 3
	fieldSubject         = 4
	fieldData            = 5
	fieldDataContentType = 6
	fieldDataSchema      = 7
	fieldTimestamp       = 8
	fieldMetadata        = 9
	fieldCursor          = 10
	fieldPartitionKey    = 12
)

// MaxMetadataEntries bounds an event's metadata (design of the API).
const MaxMetadataEntries = 64

// MaxMarks bounds the Marks of a Record.
const MaxMarks = 4

// keptMetadata is how many entries decode keeps: with every mark in the place of one, there is still one too many.
const keptMetadata = MaxMetadataEntries + MaxMarks + 1

// tagAt reads the tag at b[i:]. end is the position behind it, 0 when the bytes are not a tag.
func tagAt(b []byte, i int) (number protowire.Number, wire protowire.Type, end int) {
	if c := b[i]; c < 0x80 { // fields 1 to 15: all of ours
		if c < 1<<3 {
			return 0, 0, 0 // field number 0 is not legal
		}
		return protowire.Number(c >> 3), protowire.Type(c & 7), i + 1
	}
	number, wire, n := protowire.ConsumeTag(b[i:])
	if n < 0 || number > protowire.MaxValidNumber { // protowire lets larger numbers pass, for MessageSets
		return 0, 0, 0
	}
	return number, wire, i + n
}

// bytesAt reads a length and that many bytes at b[i:]. end is the position
// behind them, 0 when there are not enough.
func bytesAt(b []byte, i int) (value []byte, end int) {
	if i >= len(b) {
		return nil, 0
	}
	n := uint64(b[i])
	i++
	if n >= 0x80 {
		v, size := protowire.ConsumeVarint(b[i-1:])
		if size < 0 {
			return nil, 0
		}
		n, i = v, i-1+size
	}
	if n > uint64(len(b)-i) {
		return nil, 0
	}
	end = i + int(n)
	return b[i:end:end], end
}

// skipAt passes over a field's value at b[i:]; end is 0 when it is malformed.
func skipAt(b []byte, i int, number protowire.Number, wire protowire.Type) (end int) {
	n := protowire.ConsumeFieldValue(number, wire, b[i:])
	if n < 0 {
		return 0
	}
	return i + n
}

// Scan counts the events of an IngestEventBatchRequest and reads want_results
// without decoding events. ok is false when the frame's top level is not
// valid; what is inside an event is decode's to judge, event by event.
func Scan(frame []byte) (events int, wantResults, ok bool) {
	for i := 0; i < len(frame); {
		number, wire, end := tagAt(frame, i)
		if end == 0 {
			return 0, false, false
		}
		switch {
		case number == 1 && wire == protowire.BytesType:
			_, i = bytesAt(frame, end)
			events++
		case number == 2 && wire == protowire.VarintType:
			v, n := protowire.ConsumeVarint(frame[end:])
			if n < 0 {
				return 0, false, false
			}
			wantResults, i = protowire.DecodeBool(v), end+n
		default:
			i = skipAt(frame, end, number, wire)
		}
		if i == 0 {
			return 0, false, false
		}
	}
	return events, wantResults, true
}

// nextEvent finds the next embedded event (field 1) of a request at or after
// position i. end is the position behind it; 0 with ok when there is none left,
// and ok is false when the bytes are malformed.
func nextEvent(frame []byte, i int) (event []byte, end int, ok bool) {
	for i < len(frame) {
		number, wire, at := tagAt(frame, i)
		if at == 0 {
			return nil, 0, false
		}
		if number == 1 && wire == protowire.BytesType {
			event, end = bytesAt(frame, at)
			return event, end, end != 0
		}
		if i = skipAt(frame, at, number, wire); i == 0 {
			return nil, 0, false
		}
	}
	return nil, 0, true
}

// highBits is not 0 when b has a byte above 0x7f.
func highBits(b []byte) uint64 {
	const mask = 0x8080808080808080
	n := len(b)
	if n < 8 {
		high := byte(0)
		for _, c := range b {
			high |= c
		}
		return uint64(high) & mask
	}
	high := binary.LittleEndian.Uint64(b[n-8:]) // overlaps what the loop reads: no byte is read alone
	for ; len(b) > 8; b = b[8:] {
		high |= binary.LittleEndian.Uint64(b)
	}
	return high & mask
}

// putText sets a string field. The last value wins, and whether that one is
// valid UTF-8 is validate's to check, once; but a value that it replaces is
// never seen again, so it is checked here: any invalid one makes the message
// malformed.
func putText(field *[]byte, v []byte) bool {
	old := *field
	*field = v
	return old == nil || utf8.Valid(old)
}

// scanEvent reads one encoded event.v1.Event into e, on top of what e already
// has (embedded messages merge). False: the bytes are malformed.
//
// It notes on the way whether there is anything in the text that validate has
// to look at: here the bytes are in the cache. Tags and lengths of one byte,
// which is nearly all of them, are read in place: with a call for each, the scan
// of an event takes half as long again (BenchmarkDecode).
func (e *Event) scanEvent(b []byte) bool {
	high := uint64(0)
	for i := 0; i < len(b); {
		c := b[i]
		number, wire, at := protowire.Number(c>>3), protowire.Type(c&7), i+1
		if c >= 0x80 || number == 0 {
			if number, wire, at = tagAt(b, i); at == 0 {
				return false
			}
		}
		if wire != protowire.BytesType {
			if i = skipAt(b, at, number, wire); i == 0 {
				return false
			}
			continue
		}
		var v []byte
		if at < len(b) && b[at] < 0x80 {
			at, i = at+1, at+1+int(b[at])
			if i > len(b) {
				return false
			}
			v = b[at:i:i]
		} else if v, i = bytesAt(b, at); i == 0 {
			return false
		}
		var a *Attribute
		switch number {
		case fieldID:
			a = &e.ID
		case fieldSource:
			a = &e.Source
		case fieldType:
			a = &e.Type
		case fieldSubject:
			a, e.More = &e.Subject, true
		case fieldData:
			e.Data = v
			continue
		case fieldDataContentType:
			a, e.More = &e.DataContentType, true
		case fieldDataSchema:
			a, e.More = &e.DataSchema, true
		case fieldPartitionKey:
			a = &e.PartitionKey
		default:
			if !e.setField(number, v) {
				return false
			}
			continue
		}
		high |= highBits(v)
		if a.Value != nil && !utf8.Valid(a.Value) {
			return false // see putText
		}
		a.Value = v
	}
	e.nonASCII = e.nonASCII || high != 0
	return true
}

// setField sets a length-delimited field that is no attribute; unknown ones are passed over.
func (e *Event) setField(number protowire.Number, v []byte) bool {
	switch number {
	case fieldTimestamp:
		e.More = true
		return e.scanTimestamp(v)
	case fieldMetadata:
		return e.scanMetadata(v)
	case fieldCursor:
		e.More = true
		return putText(&e.Cursor, v)
	}
	return true
}

// scanTimestamp reads a google.protobuf.Timestamp (seconds=1, nanos=2).
func (e *Event) scanTimestamp(b []byte) bool {
	e.HasTime = true
	for i := 0; i < len(b); {
		number, wire, at := tagAt(b, i)
		if at == 0 {
			return false
		}
		if wire != protowire.VarintType || number > 2 {
			if i = skipAt(b, at, number, wire); i == 0 {
				return false
			}
			continue
		}
		v, n := protowire.ConsumeVarint(b[at:])
		if n < 0 {
			return false
		}
		if i = at + n; number == 1 {
			e.Seconds = int64(v)
		} else {
			e.Nanos = int32(v)
		}
	}
	return true
}

// scanMetadata reads one map entry (key=1, value=2). A key that was there
// before is replaced. A few entries over the bound are kept: enough for validate
// to refuse the event, with marks that take the place of some, and the search
// stays short whatever is sent.
func (e *Event) scanMetadata(b []byte) bool {
	p := Pair{Name: b[:0], Value: b[:0]}
	for i := 0; i < len(b); {
		number, wire, at := tagAt(b, i)
		if at == 0 {
			return false
		}
		if wire != protowire.BytesType || number > 2 {
			if i = skipAt(b, at, number, wire); i == 0 {
				return false
			}
			continue
		}
		var v []byte
		if v, i = bytesAt(b, at); i == 0 {
			return false
		}
		field := &p.Value
		if number == 1 {
			field = &p.Name
		}
		if !putText(field, v) {
			return false
		}
	}
	for i := range e.Metadata {
		if bytes.Equal(e.Metadata[i].Name, p.Name) {
			return putText(&e.Metadata[i].Value, p.Value)
		}
	}
	if len(e.Metadata) < keptMetadata {
		e.Metadata = append(e.Metadata, p)
	}
	return true
}
