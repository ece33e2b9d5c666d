package kafka

// A Kafka record back to the event that a subscriber gets. Records of other
// producers are read too when they follow the CloudEvents binding; nothing in
// a record can make this panic or return an Event that does not serialize.

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// ErrNotAnEvent is returned for a record in neither of the two formats.
var ErrNotAnEvent = errors.New("the record is not an event: it has neither the header ce_specversion nor the content type of event.v1.Event")

// errIncomplete is what readers say of a record in one of the formats that lacks what CloudEvents requires. Without a source
// and a type it would look like a heartbeat to them; whoever shows records as they are (dead letters) takes it.
var errIncomplete = errors.New("the record is not an event: it lacks its id, source or type")

func incomplete(ev *eventv1.Event) bool { return ev.Id == "" || ev.Source == "" || ev.Type == "" }

// EventFromRecord reads a record in either format. The event's data is the
// record's value, not a copy.
func EventFromRecord(r *kgo.Record) (*eventv1.Event, error) {
	switch headers, err := inHeaders(r); {
	case err != nil:
		return nil, err
	case headers:
		m := making{event: &eventv1.Event{}, time: &timestamppb.Timestamp{}, text: text}
		if err := m.fromHeaders(r); err != nil {
			return nil, err
		}
		return m.event, nil
	}
	return eventFromValue(r)
}

// inHeaders says which format it is: attributes in headers, or all in the value.
func inHeaders(r *kgo.Record) (bool, error) {
	for i := range r.Headers {
		h := &r.Headers[i]
		if h.Key == headerSpecVersion {
			return true, nil
		}
		if h.Key == headerContentType && string(h.Value) == eventContentType {
			return false, nil
		}
	}
	return false, ErrNotAnEvent
}

func eventFromValue(r *kgo.Record) (*eventv1.Event, error) {
	ev := &eventv1.Event{}
	if err := proto.Unmarshal(r.Value, ev); err != nil {
		return nil, fmt.Errorf("record at offset %d of %s-%d: value is not an event.v1.Event: %w", r.Offset, r.Topic, r.Partition, err)
	}
	if ev.Timestamp != nil && ev.Timestamp.CheckValid() != nil {
		return nil, fmt.Errorf("record at offset %d of %s-%d: timestamp %v is not between the years 1 and 9999", r.Offset, r.Topic, r.Partition, ev.Timestamp)
	}
	ev.Cursor = "" // only the gateway makes cursors
	ev.ProtoReflect().SetUnknown(nil)
	return ev, nil
}

// making is an event that is being made of a record.
type making struct {
	event *eventv1.Event
	// time is memory for the event's, metadata too where it is not nil.
	time     *timestamppb.Timestamp
	metadata map[string]string
	// text makes an attribute of a header.
	text func([]byte) string
}

func (m making) fromHeaders(r *kgo.Record) error {
	ev := m.event
	ev.Data = r.Value
	for i := range r.Headers {
		h := &r.Headers[i]
		if err := m.set(h); err != nil {
			return fmt.Errorf("record at offset %d of %s-%d: %w", r.Offset, r.Topic, r.Partition, err)
		}
	}
	if ev.PartitionKey == "" && utf8.Valid(r.Key) {
		ev.PartitionKey = m.text(r.Key) // other CloudEvents producers set the key and not always the attribute
	}
	if ev.Timestamp == nil && !r.Timestamp.IsZero() {
		m.setTime(r.Timestamp)
	}
	return nil
}

func (m making) setTime(t time.Time) {
	m.time.Seconds, m.time.Nanos = t.Unix(), int32(t.Nanosecond())
	m.event.Timestamp = m.time
}

func (m making) set(h *kgo.RecordHeader) error {
	ev := m.event
	switch h.Key {
	case headerSpecVersion:
		if string(h.Value) != "1.0" {
			return fmt.Errorf("ce_specversion is %.20q; only 1.0 is known", h.Value)
		}
	case headerID:
		ev.Id = m.text(h.Value)
	case headerSource:
		ev.Source = m.text(h.Value)
	case headerType:
		ev.Type = m.text(h.Value)
	case headerSubject:
		ev.Subject = m.text(h.Value)
	case headerTime:
		t, err := time.Parse(time.RFC3339Nano, view(h.Value))
		if err != nil {
			return fmt.Errorf("ce_time %.40q is not a time in the format of RFC 3339", h.Value)
		}
		if m.setTime(t); m.time.CheckValid() != nil {
			return fmt.Errorf("ce_time %.40q is not between the years 1 and 9999", h.Value)
		}
	case headerContentType:
		ev.DataContentType = m.text(h.Value)
	case headerDataSchema:
		ev.DataSchema = m.text(h.Value)
	case headerPartitionKey:
		ev.PartitionKey = m.text(h.Value)
	case headerTraceParent, headerTraceState:
		m.setMetadata(h.Key, h.Value)
	default:
		if name, ok := strings.CutPrefix(h.Key, metadataPrefix); ok {
			m.setMetadata(name, h.Value)
		} else if name, ok := strings.CutPrefix(h.Key, attributePrefix); ok {
			m.setMetadata(name, h.Value)
		}
		// Headers of neither kind belong to whatever else travels with records.
	}
	return nil
}

// maxReadMetadata bounds what a foreign record can make us build; our own have at most 64 entries.
const maxReadMetadata = 256

func (m making) setMetadata(name string, value []byte) {
	if all := m.entries(); len(all) < maxReadMetadata {
		all[strings.ToValidUTF8(name, "\uFFFD")] = m.text(value)
	}
}

// entries is the event's metadata, made if it has none.
func (m making) entries() map[string]string {
	if m.event.Metadata == nil {
		if m.metadata == nil {
			m.metadata = make(map[string]string)
		}
		m.event.Metadata = m.metadata
	}
	return m.event.Metadata
}

// text keeps valid UTF-8 as it is; our own records hold nothing else.
func text(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
