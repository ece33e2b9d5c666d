package cli

// The wire side of publish, cheap enough to share two cores with what it
// loads: frames are built once as bytes, answers are scanned, not decoded.

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// frame is one encoded request message. An IngestEventRequest with its one event and an
// IngestEventBatchRequest with one event are the same bytes: field 1, length-delimited.
type frame struct {
	buffer mem.Buffer
	events int
}

// rawCodec sends frames as they are and scans answers. Its name is proto's, because that is what the bytes
// are.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	f, ok := v.(*frame)
	if !ok {
		return nil, fmt.Errorf("sending %T: only frames are sent", v)
	}
	f.buffer.Ref() // the sender keeps its own reference until the answer
	return mem.BufferSlice{f.buffer}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	a, ok := v.(*answer)
	if !ok {
		return fmt.Errorf("receiving %T: only answers are received", v)
	}
	if len(data) == 1 {
		return a.scan(data[0].ReadOnlyData())
	}
	return a.scan(data.Materialize())
}

// verdict is the answer of one event as far as publish needs it.
type verdict struct {
	index   int
	outcome gatewayv1.Outcome
	// reason aliases answer.text.
	reason []byte
	retry  time.Duration
}

// answer is one scanned response, reused for every message of a stream.
type answer struct {
	batch bool
	// verdict is the answer of a single event.
	verdict verdict
	// The counts of a batch's answer, and its failures.
	succeeded, filtered, duplicates int
	failures                        []verdict
	text                            []byte
	// keep is set by those who want the raw message as well.
	keep bool
	raw  []byte
}

var errBadAnswer = errors.New("the answer is not a valid message")

// scan reads a response; the bytes are only valid during the call.
func (a *answer) scan(data []byte) error {
	*a = answer{batch: a.batch, failures: a.failures[:0], text: a.text[:0], keep: a.keep, raw: a.raw[:0]}
	if a.keep {
		a.raw = append(a.raw, data...)
	}
	if !a.batch {
		return a.scanResult(data, &a.verdict)
	}
	return fields(data, func(number protowire.Number, value uint64, bytes []byte) error {
		switch number {
		case 1:
			a.succeeded = int(value)
		case 2:
			return a.scanFailure(bytes)
		case 4:
			a.filtered += countPacked(value, bytes)
		case 5:
			a.duplicates += countPacked(value, bytes)
		}
		return nil
	})
}

func (a *answer) scanFailure(data []byte) error {
	var v verdict
	err := fields(data, func(number protowire.Number, value uint64, bytes []byte) error {
		switch number {
		case 1:
			v.index = int(value)
		case 2:
			return a.scanResult(bytes, &v)
		}
		return nil
	})
	a.failures = append(a.failures, v)
	return err
}

func (a *answer) scanResult(data []byte, v *verdict) error {
	return fields(data, func(number protowire.Number, value uint64, bytes []byte) error {
		switch number {
		case 4:
			v.outcome = gatewayv1.Outcome(value)
		case 6:
			from := len(a.text)
			a.text = append(a.text, bytes...)
			v.reason = a.text[from:]
		case 8:
			return fields(bytes, func(number protowire.Number, value uint64, _ []byte) error {
				switch number {
				case 1:
					v.retry += time.Duration(value) * time.Second
				case 2:
					v.retry += time.Duration(value)
				}
				return nil
			})
		}
		return nil
	})
}

// fields calls f for every field of a message: value for varints, bytes for length-delimited ones.
func fields(data []byte, f func(number protowire.Number, value uint64, bytes []byte) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return errBadAnswer
		}
		data = data[n:]
		var value uint64
		var bytes []byte
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			bytes, n = protowire.ConsumeBytes(data)
		default:
			n = protowire.ConsumeFieldValue(number, kind, data)
		}
		if n < 0 {
			return errBadAnswer
		}
		data = data[n:]
		if err := f(number, value, bytes); err != nil {
			return err
		}
	}
	return nil
}

// countPacked is the number of entries of a repeated int32: packed bytes, or one plain value.
func countPacked(_ uint64, packed []byte) int {
	if packed == nil {
		return 1
	}
	count := 0
	for _, b := range packed {
		if b < 0x80 {
			count++ // the last byte of each varint has its top bit clear
		}
	}
	return count
}

// split cuts a frame into its events, each with its own tag and length: a frame of its own.
func split(data []byte) [][]byte {
	var events [][]byte
	for len(data) > 0 {
		n := protowire.ConsumeFieldValue(1, protowire.BytesType, data[1:])
		if n < 0 {
			return events
		}
		events = append(events, data[:n+1])
		data = data[n+1:]
	}
	return events
}
