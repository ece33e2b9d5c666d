package main

// The wire scan: from the bytes of a message to records whose values are views into it.

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of event.v1.Event. In both requests, field 1 holds the events.
const (
	fieldEvent = 1

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
	fieldPartitionKey    = 12 // there is no 11
)

var (
	errMalformed   = errors.New("the message is not protobuf")
	specVersion    = []byte("1.0")
	emptyData      = []byte{} // never nil: a null value deletes the key in a compacted topic
	reservedInKeys = map[string]bool{
		"id": true, "source": true, "type": true, "subject": true, "time": true, "specversion": true,
		"dataschema": true, "datacontenttype": true, "partitionkey": true, "data": true,
	}
)

// fields are the plain fields of one event, views into the message.
type fields struct {
	byNumber [fieldPartitionKey + 1][]byte
	metadata [][]byte
}

// scan makes one record of each event. A bad event becomes a fault; an error says that the message is
// unreadable.
func (m *message) scan(topic string, now time.Time) error {
	var f fields
	m.receipt = m.keep(now.UTC().AppendFormat(m.scratch, time.RFC3339Nano))
	for p := m.data; len(p) > 0; {
		number, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return errMalformed
		}
		p = p[n:]
		if number != fieldEvent || kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, p); n < 0 {
				return errMalformed
			}
			p = p[n:]
			continue
		}
		event, n := protowire.ConsumeBytes(p)
		if n < 0 {
			return errMalformed
		}
		p = p[n:]
		if err := f.scan(event); err != nil {
			return err
		}
		r := m.nextRecord()
		r.Topic, r.Timestamp = topic, now
		if err := m.fill(r, &f); err != nil {
			m.faults = append(m.faults, fault{index: len(m.records) - 1, err: err, refused: true})
		}
	}
	if len(m.records) == 0 {
		return errNoEvent
	}
	return nil
}

// nextRecord returns an empty record that keeps its header slice from former messages.
func (m *message) nextRecord() *kgo.Record {
	if len(m.records) < cap(m.records) {
		m.records = m.records[:len(m.records)+1]
	} else {
		m.records = append(m.records, kgo.Record{})
	}
	r := &m.records[len(m.records)-1]
	headers := r.Headers[:0]
	*r = kgo.Record{}
	r.Headers = headers
	return r
}

func (f *fields) scan(p []byte) error {
	*f = fields{metadata: f.metadata[:0]}
	for len(p) > 0 {
		number, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return errMalformed
		}
		p = p[n:]
		if kind != protowire.BytesType || number > fieldPartitionKey || number == 11 {
			if n = protowire.ConsumeFieldValue(number, kind, p); n < 0 {
				return errMalformed
			}
			p = p[n:]
			continue
		}
		value, n := protowire.ConsumeBytes(p)
		if n < 0 {
			return errMalformed
		}
		p = p[n:]
		if number == fieldMetadata {
			f.metadata = append(f.metadata, value)
			continue
		}
		if number != fieldData && number != fieldTimestamp && !utf8.Valid(value) {
			return fmt.Errorf("field %d is not UTF-8", number)
		}
		f.byNumber[number] = value
	}
	return nil
}

// fill makes the record of an event: CloudEvents in binary mode.
func (m *message) fill(r *kgo.Record, f *fields) error {
	switch {
	case len(f.byNumber[fieldSource]) == 0:
		return errors.New("source: required")
	case len(f.byNumber[fieldType]) == 0:
		return errors.New("type: required")
	case len(f.byNumber[fieldCursor]) != 0:
		return errors.New("cursor: set by the gateway only")
	}
	if r.Value = f.byNumber[fieldData]; r.Value == nil {
		r.Value = emptyData
	}
	if key := f.byNumber[fieldPartitionKey]; len(key) > 0 {
		r.Key = key
	}
	add := func(name string, value []byte) {
		if len(value) > 0 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: value})
		}
	}
	id := f.byNumber[fieldID]
	if len(id) == 0 {
		var err error
		if id, err = m.newID(); err != nil {
			return err
		}
	}
	add("ce_specversion", specVersion)
	add("ce_id", id)
	add("ce_source", f.byNumber[fieldSource])
	add("ce_type", f.byNumber[fieldType])
	add("ce_subject", f.byNumber[fieldSubject])
	if t := f.byNumber[fieldTimestamp]; t != nil {
		text, err := m.time(t)
		if err != nil {
			return err
		}
		add("ce_time", text)
	} else {
		add("ce_time", m.receipt)
	}
	add("content-type", f.byNumber[fieldDataContentType])
	add("ce_dataschema", f.byNumber[fieldDataSchema])
	add("ce_partitionkey", r.Key)
	for _, entry := range f.metadata {
		name, value, err := mapEntry(entry)
		if err != nil {
			return err
		}
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerName(name), Value: value})
	}
	return nil
}

func (m *message) newID() ([]byte, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return m.keep(append(m.scratch, id.String()...)), nil
}

// time renders a google.protobuf.Timestamp as RFC 3339.
func (m *message) time(p []byte) ([]byte, error) {
	var seconds, nanos int64
	for len(p) > 0 {
		number, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return nil, errMalformed
		}
		p = p[n:]
		if kind != protowire.VarintType {
			if n = protowire.ConsumeFieldValue(number, kind, p); n < 0 {
				return nil, errMalformed
			}
			p = p[n:]
			continue
		}
		v, n := protowire.ConsumeVarint(p)
		if n < 0 {
			return nil, errMalformed
		}
		p = p[n:]
		switch number {
		case 1:
			seconds = int64(v)
		case 2:
			nanos = int64(int32(v))
		}
	}
	const first, last = -62135596800, 253402300799 // years 1 to 9999
	if seconds < first || seconds > last || nanos < 0 || nanos > 999_999_999 {
		return nil, errors.New("timestamp: not between the years 1 and 9999")
	}
	return m.keep(time.Unix(seconds, nanos).UTC().AppendFormat(m.scratch, time.RFC3339Nano)), nil
}

// keep takes what append made of scratch and returns the new part. Parts returned before stay valid when
// scratch moves: they keep the old memory.
func (m *message) keep(scratch []byte) []byte {
	part := scratch[len(m.scratch):len(scratch):len(scratch)]
	m.scratch = scratch
	return part
}

// mapEntry reads an entry of map<string, string>.
func mapEntry(p []byte) (name, value []byte, err error) {
	value = emptyData
	for len(p) > 0 {
		number, kind, n := protowire.ConsumeTag(p)
		if n < 0 {
			return nil, nil, errMalformed
		}
		p = p[n:]
		if kind != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(number, kind, p); n < 0 {
				return nil, nil, errMalformed
			}
			p = p[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(p)
		if n < 0 {
			return nil, nil, errMalformed
		}
		p = p[n:]
		switch number {
		case 1:
			name = v
		case 2:
			value = v
		}
	}
	if !utf8.Valid(name) || !utf8.Valid(value) {
		return nil, nil, errors.New("metadata: not UTF-8")
	}
	return name, value, nil
}

// headerName allocates a string for all names but the two of tracing: a record's header names are strings.
func headerName(name []byte) string {
	switch string(name) {
	case "traceparent":
		return "traceparent"
	case "tracestate":
		return "tracestate"
	}
	if reservedInKeys[string(name)] {
		return "md_" + string(name)
	}
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return "md_" + string(name)
		}
	}
	return "ce_" + string(name)
}
