package cli

// gateway dlq show: one letter in full. Its event is written in the form that
// gateway publish reads, so that it can be mended and sent.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/event-gateway/event-gateway/kafka"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

type dlqShowCommand struct {
	Letter letterAt `arg:"" name:"PARTITION/OFFSET" help:"The letter, as gateway dlq list names it."`
	Raw    bool     `group:"gateway" help:"Write the bytes that were sent to stdout, and nothing else."`
	Event  bool     `group:"gateway" help:"Print only the event, on one line, as gateway publish reads it."`

	letterPlace
	Timeout time.Duration `group:"kafka" default:"10s" placeholder:"TIME" help:"Give up when Kafka does not answer for TIME (default ${default})."`
}

func (dlqShowCommand) Help() string {
	return `Prints one letter as JSON: why it was refused, who sent it, and the event, its data as text (data_text) or as JSON (data_json) when it is that. Of a letter that is no valid event the first bytes are shown; --raw writes all of them.

Exit codes: 0 shown; 1 there is no such letter, or Kafka cannot be read; 2 wrong usage.

Examples:
  gateway dlq show 0/12
  gateway dlq show 0/12 --raw | protoc --decode_raw
  gateway dlq show 0/12 --event | jq -c '.type = "order.created"' | gateway publish`
}

// Validate is called by kong after parsing.
func (c *dlqShowCommand) Validate() error {
	switch {
	case c.Raw && c.Event:
		return fmt.Errorf("--raw and --event exclude each other")
	case c.Timeout < minTimeout:
		return fmt.Errorf("--timeout=%v: %v or more", c.Timeout, minTimeout)
	}
	return nil
}

// Run shows the letter.
func (c *dlqShowCommand) Run(p *Program) error {
	ctx := context.Background()
	letters, err := c.open(ctx, p, c.Timeout)
	if err != nil {
		return err
	}
	defer letters.Close()
	if err := checkAt(letters, c.Letter); err != nil {
		return err
	}
	err = readAt(ctx, letters, c.Letter, func(l kafka.Letter, problem error) error { return c.show(p.Stdout, &l, problem) })
	if err != nil {
		return failed("%v", err)
	}
	return nil
}

func (c *dlqShowCommand) show(w io.Writer, l *kafka.Letter, problem error) error {
	switch {
	case c.Raw:
		_, err := w.Write(l.Raw)
		return err
	case c.Event && l.Event == nil:
		return fmt.Errorf("%v is no event: --raw writes its bytes", c.Letter)
	case c.Event:
		return writeJSON(w, shownEventOf(l.Event), "")
	}
	shown := shownLetter{letterRow: rowOf(l, problem)}
	if l.Event != nil {
		shown.Event = shownEventOf(l.Event)
	} else {
		shown.RawStart = l.Raw[:min(len(l.Raw), maxRawStart)]
	}
	return writeJSON(w, shown, "  ")
}

func writeJSON(w io.Writer, value any, indent string) error {
	encoder := jsonEncoder(w)
	encoder.SetIndent("", indent)
	return encoder.Encode(value)
}

// maxRawStart is how many bytes of a letter that is no event are shown.
const maxRawStart = 1024

type shownLetter struct {
	letterRow
	Event *shownEvent `json:"event,omitempty"`
	// RawStart are the first bytes of a letter that is no event.
	RawStart []byte `json:"raw_start_base64,omitempty"`
}

// shownEvent is an event as parseLine reads it: the proto JSON of event.v1.Event, its data in one of three forms.
type shownEvent struct {
	ID              string            `json:"id,omitempty"`
	Source          string            `json:"source,omitempty"`
	Type            string            `json:"type,omitempty"`
	Subject         string            `json:"subject,omitempty"`
	PartitionKey    string            `json:"partitionKey,omitempty"`
	Timestamp       any               `json:"timestamp,omitempty"`
	DataContentType string            `json:"dataContentType,omitempty"`
	DataSchema      string            `json:"dataSchema,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	Cursor          string            `json:"cursor,omitempty"`
	DataJSON        json.RawMessage   `json:"data_json,omitempty"`
	DataText        string            `json:"data_text,omitempty"`
	Data            []byte            `json:"data,omitempty"`
}

func shownEventOf(ev *eventv1.Event) *shownEvent {
	e := &shownEvent{ID: ev.Id, Source: ev.Source, Type: ev.Type, Subject: ev.Subject, PartitionKey: ev.PartitionKey,
		DataContentType: ev.DataContentType, DataSchema: ev.DataSchema, Metadata: ev.Metadata, Cursor: ev.Cursor}
	if t := ev.Timestamp; t != nil {
		if encoded, err := protojson.Marshal(t); err == nil {
			e.Timestamp = json.RawMessage(encoded)
		} else { // out of range, which may be why it was refused
			e.Timestamp = map[string]int64{"seconds": t.Seconds, "nanos": int64(t.Nanos)}
		}
	}
	switch {
	case isCompactJSON(ev):
		e.DataJSON = ev.Data
	case isText(ev.Data):
		e.DataText = string(ev.Data)
	default:
		e.Data = ev.Data
	}
	return e
}

// isCompactJSON reports whether the data can be shown as JSON, and gives the same bytes and the same event when it
// is read again.
func isCompactJSON(ev *eventv1.Event) bool {
	var compact bytes.Buffer
	return ev.DataContentType != "" && len(ev.Data) > 0 && utf8.Valid(ev.Data) &&
		json.Compact(&compact, ev.Data) == nil && bytes.Equal(compact.Bytes(), ev.Data)
}

// isText reports whether data is something to read.
func isText(data []byte) bool {
	for _, r := range string(data) {
		if r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
			return false
		}
	}
	return true
}
