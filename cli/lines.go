package cli

// Events as people write them: flags, or one JSON object a line.

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// maxLine bounds one JSON line: the gateway's default message limit, a third more for base64, and a little.
const maxLine = 28 << 20

// parseLine reads one event: the proto JSON of event.v1.Event, or with data_text (a string taken as it
// is) or data_json (any JSON value, taken as written) instead of data (base64).
func parseLine(line []byte) (*eventv1.Event, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(line, &object); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if object == nil {
		return nil, errors.New("not a JSON object: null")
	}
	text, hasText := object["data_text"]
	raw, hasJSON := object["data_json"]
	_, hasData := object["data"]
	if hasText && hasJSON || hasData && (hasText || hasJSON) {
		return nil, errors.New("only one of data, data_text and data_json is allowed")
	}
	delete(object, "data_text")
	delete(object, "data_json")
	rest, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	event := &eventv1.Event{}
	if err := protojson.Unmarshal(rest, event); err != nil {
		return nil, err
	}
	switch {
	case hasText:
		var s string
		if err := json.Unmarshal(text, &s); err != nil {
			return nil, fmt.Errorf("data_text must be a string: %w", err)
		}
		event.Data = []byte(s)
	case hasJSON:
		event.Data = raw
		if event.DataContentType == "" {
			event.DataContentType = "application/json"
		}
	}
	return event, nil
}

// encode is the event as a frame of one.
func encode(event *eventv1.Event) ([]byte, error) {
	return proto.Marshal(&gatewayv1.IngestEventRequest{Event: event})
}

// lineReader reads events from JSON lines and deals them out to streams: events with a key always to
// the stream of that key, so that their order holds, the others in turn.
type lineReader struct {
	in      io.Reader
	queues  []queue
	invalid func(line int, err error)
	seed    maphash.Seed
	turn    int
}

func newLineReader(in io.Reader, streams, batch int, invalid func(line int, err error)) *lineReader {
	r := &lineReader{in: in, invalid: invalid, seed: maphash.MakeSeed()}
	for range streams {
		r.queues = append(r.queues, make(queue, 2*max(batch, 64)))
	}
	return r
}

// run reads until the end of input, an error or ctx, and closes the queues.
func (r *lineReader) run(ctx context.Context) error {
	defer func() {
		for _, q := range r.queues {
			close(q)
		}
	}()
	scanner := bufio.NewScanner(r.in)
	scanner.Buffer(make([]byte, 64<<10), maxLine)
	for number := 1; scanner.Scan(); number++ {
		line := bytes.TrimSpace(scanner.Bytes())
		if len(line) == 0 {
			continue
		}
		event, err := parseLine(line)
		if err != nil {
			r.invalid(number, err)
			continue
		}
		event.Cursor = "" // where the original was read says nothing of the copy, and ingest refuses it
		encoded, err := encode(event)
		if err != nil {
			r.invalid(number, err)
			continue
		}
		select {
		case r.queues[r.pick(event.PartitionKey)] <- encoded:
		case <-ctx.Done():
			return nil
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("reading events: %w", err)
	}
	return nil
}

func (r *lineReader) pick(key string) int {
	if key == "" {
		r.turn++
		return r.turn % len(r.queues)
	}
	return int(maphash.String(r.seed, key) % uint64(len(r.queues)))
}
