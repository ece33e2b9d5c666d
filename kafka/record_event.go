package kafka

// FormatEvent: the record's value is the serialized event.v1.Event, written
// straight from the event's views.

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

func (r *record) fillEvent(ev *stages.Event) {
	s := r.makeSpare()
	b := ev.AppendEncoded(s.reserve(ev.EncodedBound()))
	s.scratch, r.kafka.Value = b, b
	s.headers = append(s.headers[:0], kgo.RecordHeader{Key: headerContentType, Value: eventContentValue})
	r.kafka.Headers = s.headers
}
