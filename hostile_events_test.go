package main

// Hostile events: protobuf that is none, or an event that breaks the rules of the API. Each is refused by itself: in
// its own response, and the stream goes on.

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// onStream sends a message on a stream, then a good event.
func onStream(message []byte) func(*rawClient) string {
	return body(streamMethod, join(message, goodFrame()))
}

// with is onStream for a good event that was changed.
func with(change func(*eventv1.Event)) func(*rawClient) string { return onStream(eventWith(change)) }

func field(number protowire.Number, value ...byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), value)
}

// groups is an unknown field of groups in groups.
func groups(depth int) []byte {
	return join(bytes.Repeat([]byte{15<<3 | 3}, depth), bytes.Repeat([]byte{15<<3 | 4}, depth))
}

// batchOf is a message of n events with no bytes in them.
func batchOf(n int, more ...byte) []byte {
	return frameOf(append(bytes.Repeat([]byte{1<<3 | 2, 0}, n), more...))
}

func metadataOf(n, nameBytes, valueBytes int) func(*eventv1.Event) {
	return func(e *eventv1.Event) {
		e.Metadata = map[string]string{}
		for i := range n {
			name := fmt.Sprintf("%d", i)
			e.Metadata[name+strings.Repeat("n", max(0, nameBytes-len(name)))] = strings.Repeat("v", valueBytes)
		}
	}
}

const (
	malformed = "INVALID_ARGUMENT MALFORMED_EVENT; OK"
	invalid   = "INVALID_ARGUMENT INVALID_EVENT "
)

var hostileEvents = newHostileTable("TestHostileEvents", nil, []hostileRow{
	{"H21a", "malformed protobuf on a stream", malformed, onStream(frameOf(bytes.Repeat([]byte{0xff}, 100)))},
	{"H21b", "a field's length past the end of the event", malformed, onStream(eventAnd(field(4)[0], 100))},
	{"H21c", "an event's length past the end of the message", malformed, onStream(frameOf([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f, 1}))},
	{"H21d", "malformed protobuf, unary", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryMethod, frameOf(bytes.Repeat([]byte{0xff}, 100)))},
	{"H21e", "malformed protobuf, unary batch", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryBatchMethod, frameOf(bytes.Repeat([]byte{0xff}, 100)))},
	{"H21f", "a malformed batch on a stream, then one of a good event", "0 OK, 1 INVALID_ARGUMENT MALFORMED_EVENT; 1 OK",
		body(batchStreamMethod, join(frameOf(bytes.Repeat([]byte{0xff}, 100)), goodFrame()))},
	{"H21g", "one malformed event of three in a batch", "2 OK, 1 INVALID_ARGUMENT MALFORMED_EVENT",
		body(unaryBatchMethod, frameOf(join(goodFrame()[5:], requestOf([]byte{0xff}), goodFrame()[5:])))},
	{"H21h", "field number 0", malformed, onStream(eventAnd(2, 0))},
	{"H21i", "a varint of 11 bytes", malformed, onStream(eventAnd(append([]byte{13 << 3}, bytes.Repeat([]byte{0x80}, 11)...)...))},
	{"H22a", "invalid UTF-8 in `source`", "INVALID_ARGUMENT MALFORMED_EVENT source; OK", onStream(eventAnd(field(2, 0xff, 0xfe)...))},
	{"H22b", "invalid UTF-8 in a metadata name", "INVALID_ARGUMENT MALFORMED_EVENT metadata; OK", onStream(eventAnd(field(9, field(1, 0xff)...)...))},
	{"H22c", "invalid UTF-8 in `data`, which is bytes", "OK; OK", onStream(eventAnd(field(5, 0xff, 0xfe)...))},
	{"H23a", "`source` with another wire type, so it is missing", invalid + "source; OK",
		onStream(frameOf(requestOf(join([]byte{2 << 3, 5}, field(3, 't')))))},
	{"H23b", "an unknown field of 10 KB", "OK; OK", onStream(eventAnd(field(99, make([]byte, 10<<10)...)...))},
	{"H24a", "an empty message", invalid + "source; OK", onStream(frameOf(nil))},
	{"H24b", "an empty message, unary", invalid + "source", body(unaryMethod, frameOf(nil))},
	{"H24c", "an empty event", invalid + "source; OK", onStream(frameOf(requestOf(nil)))},
	{"H24d", "no `type`", invalid + "type; OK", with(func(e *eventv1.Event) { e.Type = "" })},
	{"H33a", "an unknown field of groups, 9,999 deep", "OK; OK", onStream(eventAnd(groups(9999)...))},
	{"H33b", "the same 10,002 deep", malformed, onStream(eventAnd(groups(10_002)...))},
	{"H33c", "the same 400,000 deep", malformed, onStream(eventAnd(groups(400_000)...))},
	{"H33d", "a group that never ends", malformed, onStream(eventAnd(15<<3 | 3))},
	{"H34a", "a batch of no events, unary", "INVALID_ARGUMENT EMPTY_BATCH", body(unaryBatchMethod, frameOf(nil))},
	{"H34b", "a batch of no events on a stream, then a good one", "0 OK, 1 INVALID_ARGUMENT EMPTY_BATCH; 1 OK", body(batchStreamMethod, join(frameOf(nil), goodFrame()))},
	{"H34c", "a batch of 10,001 events (MAX_BATCH_EVENTS + 1)", "INVALID_ARGUMENT TOO_MANY_EVENTS", body(unaryBatchMethod, batchOf(10_001))},
	{"H34d", "a batch of 100,001 events on a stream, then a good one", "0 OK, 1 INVALID_ARGUMENT TOO_MANY_EVENTS; 1 OK", body(batchStreamMethod, join(batchOf(100_001), goodFrame()))},
	{"H34e", "a batch of 2,000,000 empty events, 4 MB", "INVALID_ARGUMENT TOO_MANY_EVENTS", body(unaryBatchMethod, batchOf(2_000_000))},
	{"H34f", "a batch of 10,000 empty events, a result wanted for each", "0 OK, 10000 INVALID_ARGUMENT INVALID_EVENT source", body(unaryBatchMethod, batchOf(10_000, 2<<3, 1))},
	{"H35a", "10,000 metadata entries", invalid + "metadata; OK", with(metadataOf(10_000, 1, 1))},
	{"H35b", "65 metadata entries", invalid + "metadata; OK", with(metadataOf(65, 1, 1))},
	{"H35c", "64 metadata entries", "OK; OK", with(metadataOf(64, 1, 1))},
	{"H35d", "an empty metadata name", invalid + "metadata; OK", with(func(e *eventv1.Event) { e.Metadata = map[string]string{"": "x"} })},
	{"H35e", "a metadata name of 64 KB", invalid + "metadata; OK", with(metadataOf(1, 64<<10, 1))},
	{"H35f", "a metadata name of 129 bytes", invalid + "metadata; OK", with(metadataOf(1, 129, 1))},
	{"H35g", "16 KiB and a byte of metadata", invalid + "metadata; OK", with(metadataOf(1, 1, 16<<10))},
	{"H35h", "a metadata name twice: the last value counts", "OK; OK", onStream(eventAnd(append(
		field(9, join(field(1, 'a'), field(2, '1'))...), field(9, join(field(1, 'a'), field(2, '2'))...)...)...))},
	{"H35i", "a line end in a metadata name", invalid + "metadata; OK", with(func(e *eventv1.Event) { e.Metadata = map[string]string{"a\nb": "x"} })},
	{"H35j", "a reserved name as metadata (`ce_id`, `content-type`)", "OK; OK", with(func(e *eventv1.Event) {
		e.Metadata = map[string]string{"ce_id": "x", "content-type": "y", "id": "z"}
	})},
	{"H36a", "no partition key", "OK; OK", with(func(e *eventv1.Event) { e.PartitionKey = "" })},
	{"H36b", "a partition key of 4 KiB", "OK; OK", with(func(e *eventv1.Event) { e.PartitionKey = strings.Repeat("k", 4<<10) })},
	{"H36c", "a partition key of 4 KiB and a byte", invalid + "partition_key; OK", with(func(e *eventv1.Event) { e.PartitionKey = strings.Repeat("k", 4<<10+1) })},
	{"H36d", "a partition key of 1 MB", "INVALID_ARGUMENT EVENT_TOO_LARGE; OK", with(func(e *eventv1.Event) { e.PartitionKey = strings.Repeat("k", 1<<20) })},
	{"H36e", "a partition key of 0xFF", "INVALID_ARGUMENT MALFORMED_EVENT partition_key; OK", onStream(eventAnd(field(12, 0xff, 0xff)...))},
	{"H36f", "200,000 different partition keys", "200000 OK", manyKeys},
	{"H37a", "timestamp 0", "OK; OK", withTime(0, 0)},
	{"H37b", "timestamp before year 1", invalid + "timestamp; OK", withTime(-62135596801, 0)},
	{"H37c", "timestamp in year 294276", invalid + "timestamp; OK", withTime(9_223_371_974_400, 0)},
	{"H37d", "timestamp of -2^63 seconds", invalid + "timestamp; OK", withTime(math.MinInt64, 0)},
	{"H37e", "2,000,000,000 nanos", invalid + "timestamp; OK", withTime(1, 2_000_000_000)},
	{"H37f", "-1 nanos", invalid + "timestamp; OK", withTime(1, -1)},
	{"H37g", "timestamp in year 1969", "OK; OK", withTime(-1, 0)},
	{"H37h", "timestamp in year 9999, 7,900 years ahead of Kafka's clock", "OK; OK", withTime(253402300799, 999_999_999)},
	{"X24", "a cursor, which only the gateway sets", invalid + "cursor; OK", with(func(e *eventv1.Event) { e.Cursor = "x" })},
	{"X25", "an id of 1,025 bytes", invalid + "id; OK", with(func(e *eventv1.Event) { e.Id = strings.Repeat("i", 1025) })},
	{"X26", "line ends, escapes and NUL in id, source and type", "OK; OK", with(func(e *eventv1.Event) {
		e.Id, e.Source, e.Type = "a\nb\x00", "\x1b[31m\r\n", "%s\x00"
	})},
	{"X27", "an event above MAX_EVENT_BYTES", "INVALID_ARGUMENT EVENT_TOO_LARGE; OK", with(func(e *eventv1.Event) { e.Data = make([]byte, 900_001) })},
	{"X28", "an event that its message has in 100,000 parts, which protobuf merges", "OK; OK", onStream(frameOf(join(
		goodFrame()[5:], bytes.Repeat(requestOf(nil), 100_000))))},
})

func withTime(seconds int64, nanos int32) func(*rawClient) string {
	return with(func(e *eventv1.Event) { e.Timestamp = &timestamppb.Timestamp{Seconds: seconds, Nanos: nanos} })
}

// manyKeys sends batches in which no key comes twice.
func manyKeys(c *rawClient) string {
	ok := 0
	for i := range 20 {
		r := &gatewayv1.IngestEventBatchRequest{}
		for k := range 10_000 {
			e := goodEvent()
			e.PartitionKey = fmt.Sprintf("key-%d-%d", i, k)
			r.Events = append(r.Events, e)
		}
		b, err := proto.Marshal(r)
		if err != nil {
			return err.Error()
		}
		var n int
		answer := c.call(fields(unaryBatchMethod), frameOf(b))
		if _, err := fmt.Sscanf(answer, "%d OK", &n); err != nil {
			return answer
		}
		ok += n
	}
	return fmt.Sprintf("%d OK", ok)
}

func TestHostileEvents(t *testing.T) { hostileEvents.run(t) }
