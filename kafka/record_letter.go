package kafka

// A dead letter as a Kafka record, whatever KAFKA_RECORD_FORMAT says: the value
// is the event as it was received, byte by byte, and headers say why it was
// refused. One that was a record of a source topic keeps its key and its headers,
// too. Letters are rare: here things are allocated.

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// The headers of dead letters, beside content-type: that of FormatEvent when the value is an event.
const (
	headerLetterReason  = "dlq_reason"
	headerLetterStage   = "dlq_stage"
	headerLetterMessage = "dlq_message"
	headerLetterRule    = "dlq_rule"
	headerLetterTime    = "dlq_time"
	headerLetterClient  = "dlq_client"
	headerLetterTopic   = "dlq_topic"
	headerLetterID      = "dlq_id"
	// headerLetterSource is there when the letter was a record of a source topic: "topic/partition/offset".
	headerLetterSource = "dlq_source"
	// headerLetterNull says that the record's value was null. The letter's is empty: null would delete letters.
	headerLetterNull = "dlq_null_value"

	letterPrefix = "dlq_"

	// bytesContentType marks letters that are no event.
	bytesContentType = "application/octet-stream"
)

// Bounds of what is said about a letter, in bytes: it has to fit into the topic beside the event.
const (
	maxLetterMessage = 1024
	maxLetterName    = 256 // a client's or a rule's
)

// fillLetter lays the dead event out.
func (r *record) fillLetter(ev *stages.Event) {
	if r.kafka.Value = ev.Letter.Raw; r.kafka.Value == nil {
		r.kafka.Value = emptyValue
	}
	if was := ev.Letter.Record; was != nil {
		r.kafka.Key = was.Key
	}
	r.kafka.Headers = letterHeaders(ev)
	r.costAndFlags |= oversized // so that the record lets go of them as soon as franz-go has given it back
}

// letterHeaders are the headers of the dead event's record. What is not known has none.
func letterHeaders(ev *stages.Event) []kgo.RecordHeader {
	letter := ev.Letter
	v := &letter.Verdict
	contentType := eventContentType
	if v.Reason == stages.MalformedEvent {
		contentType = bytesContentType
	}
	headers := make([]kgo.RecordHeader, 0, 9)
	was := letter.Record
	if was != nil {
		headers = originalHeaders(was)
	}
	add := func(name, value string) {
		if value != "" {
			headers = append(headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
		}
	}
	if was == nil {
		add(headerContentType, contentType)
	} else {
		add(headerLetterSource, fmt.Sprintf("%s/%d/%d", was.Topic, was.Partition, was.Offset))
		if was.Value == nil {
			add(headerLetterNull, "true")
		}
	}
	add(headerLetterReason, v.Reason.String())
	add(headerLetterStage, v.Stage.String())
	add(headerLetterMessage, letterMessage(v))
	if v.Detail != nil {
		add(headerLetterRule, bounded(v.Detail.Rule, maxLetterName))
	}
	add(headerLetterTime, letter.At.UTC().Format(time.RFC3339Nano))
	if client := ev.Msg.Client; client != nil {
		add(headerLetterClient, bounded(client.Name, maxLetterName))
	}
	if letter.Topic != nil {
		add(headerLetterTopic, letter.Topic.Name)
	}
	// The client was told this id. It is not in the value when the gateway has assigned it. A part of one that is
	// too long would only mislead.
	if id := ev.ID.Value; len(id) <= stages.MaxAttributeBytes && utf8.Valid(id) {
		add(headerLetterID, string(id))
	}
	return headers
}

// originalHeaders are all headers of a record that was refused, without what an earlier refusal said.
func originalHeaders(was *stages.Record) []kgo.RecordHeader {
	headers := make([]kgo.RecordHeader, 0, len(was.Headers)+11)
	for _, h := range was.Headers {
		if !strings.HasPrefix(h.Name, letterPrefix) {
			headers = append(headers, kgo.RecordHeader{Key: h.Name, Value: h.Value})
		}
	}
	return headers
}

// letterMessage is the error_message that the client gets, and what else is wrong with the data.
func letterMessage(v *stages.Verdict) string {
	d := v.Detail
	if d == nil || d.Message == "" {
		return v.Reason.Text()
	}
	parts := []string{withField(d.Field, d.Message)}
	for i := range d.Violations {
		if i > 0 { // the first one repeats Field and Message
			parts = append(parts, withField(d.Violations[i].Field, d.Violations[i].Message))
		}
	}
	return bounded(strings.Join(parts, "; "), maxLetterMessage)
}

func withField(field, message string) string {
	if field == "" {
		return message
	}
	return field + ": " + message
}

// bounded is s as valid UTF-8 of at most n bytes, cut between characters.
func bounded(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// letterSize is EncodedSize of a dead event.
func letterSize(ev *stages.Event) int {
	key := keyOf(ev)
	if was := ev.Letter.Record; was != nil {
		key = was.Key
	}
	size := batchOverhead + recordOverhead + lengthMax + len(key) + lengthMax + len(ev.Letter.Raw)
	for _, h := range letterHeaders(ev) {
		size += 2*lengthMax + len(h.Key) + len(h.Value)
	}
	return size
}
