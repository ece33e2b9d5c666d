package kafka

// A record of the dead-letter topic, read back. Anybody may write to a topic:
// nothing in a record can make this panic.

import (
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// ErrNotADeadLetter is returned for a record that no gateway has written as a dead letter.
var ErrNotADeadLetter = errors.New("the record is not a dead letter: it has no header " + headerLetterReason)

// Letter is a dead letter as it lies in its topic. All its texts are valid UTF-8.
type Letter struct {
	Partition int32
	Offset    int64
	// Reason, Stage, Message and Rule say why the event was refused.
	Reason, Stage, Message, Rule string
	// Client is who sent it, Topic what it was meant for, ID what it was answered with. They may be empty.
	Client, Topic, ID string
	// Time is when it was refused; the record's time when the record does not say. Received is the record's time,
	// which is that of receipt.
	Time, Received time.Time
	// Key is the event's partition key; nil when it has none.
	Key []byte
	// Raw is the event as it was received, of a record of a source topic its value. Not a copy.
	Raw []byte
	// Source is where the letter was, if it was a record of a source topic: "topic/partition/offset".
	Source string
	// Event is the event; nil when the letter is none.
	Event *eventv1.Event
	// encoded: Raw is Event.
	encoded bool
}

// ReadDeadLetter reads a record of the dead-letter topic. With an error, the
// Letter has what any record has: its place, its time, its key and its value.
func ReadDeadLetter(r *kgo.Record) (Letter, error) {
	l := Letter{Partition: r.Partition, Offset: r.Offset, Time: r.Timestamp, Received: r.Timestamp, Key: r.Key, Raw: r.Value}
	isLetter, isEvent := false, false
	for i := range r.Headers {
		h := &r.Headers[i]
		switch h.Key {
		case headerContentType:
			isEvent = string(h.Value) == eventContentType
		case headerLetterReason:
			isLetter, l.Reason = len(h.Value) > 0, text(h.Value)
		case headerLetterStage:
			l.Stage = text(h.Value)
		case headerLetterMessage:
			l.Message = text(h.Value)
		case headerLetterRule:
			l.Rule = text(h.Value)
		case headerLetterTime:
			if t, err := time.Parse(time.RFC3339Nano, string(h.Value)); err == nil {
				l.Time = t
			}
		case headerLetterClient:
			l.Client = text(h.Value)
		case headerLetterTopic:
			l.Topic = text(h.Value)
		case headerLetterSource:
			l.Source = text(h.Value)
		case headerLetterID:
			l.ID = text(h.Value)
		}
	}
	if !isLetter {
		return l, fmt.Errorf("record at offset %d of %s-%d: %w", r.Offset, r.Topic, r.Partition, ErrNotADeadLetter)
	}
	switch {
	case isEvent:
		l.setEvent()
	case l.Source != "":
		l.setCloudEvent(r)
	}
	return l, nil
}

// setCloudEvent reads what was a CloudEvent in binary mode. With text that is not valid, or without a number of headers
// that would fit an event, it is none that could be sent again as it is.
func (l *Letter) setCloudEvent(r *kgo.Record) {
	for i := range r.Headers {
		if !utf8.Valid(r.Headers[i].Value) || !utf8.ValidString(r.Headers[i].Key) {
			return
		}
	}
	if ev, err := EventFromRecord(r); err == nil && utf8.Valid(r.Key) {
		l.Event = ev
	}
}

// Encoded is the event as an encoded event.v1.Event; nil when the letter is no event.
func (l *Letter) Encoded() []byte {
	if l.Event == nil {
		return nil
	}
	if l.encoded {
		return l.Raw
	}
	b, err := proto.Marshal(l.Event)
	if err != nil {
		return nil // not with texts that are valid
	}
	return b
}

// setEvent reads the event in full, with what a subscriber would not get (cursor, unknown fields, a time out of
// range): it may be the reason.
func (l *Letter) setEvent() {
	ev := &eventv1.Event{}
	if proto.Unmarshal(l.Raw, ev) != nil {
		return
	}
	l.Event, l.encoded = ev, true
	if l.ID == "" {
		l.ID = ev.Id
	}
}
