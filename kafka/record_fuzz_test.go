package kafka

// The record mapping against whatever clients send and whatever lies in a topic:
// an event that the gateway takes becomes a record that reads back as the same
// event, and its size is never underestimated.

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// ingest takes an IngestEventRequest through decode and validate; nil when one of them refuses it.
func ingest(frame []byte, received time.Time) *stages.Event {
	m := &stages.Message{Frame: frame, Kind: stages.Single, Received: received}
	m.Arm(1)
	d := stages.NewDecoder(stages.Config{MaxEventBytes: 900_000}, stages.DeadLetters{}, 0)
	d.Start(m)
	ev := &stages.Event{Topic: testTopic, Partition: testTopic.Partitions()[0]}
	d.Next(ev)
	stages.NewValidate(stages.NewTopics("events"), stages.ValidateParts{}).Process([]*stages.Event{ev})
	if !ev.Live() {
		return nil
	}
	return ev
}

// checkRoundTrip lays ev out as a record, reads it back, and holds the sizes against each other.
func checkRoundTrip(t *testing.T, format Format, ev *stages.Event) *kgo.Record {
	t.Helper()
	r := recordOf(ev)
	r.fill(context.Background(), format, ev, &timeText{})
	sent := overTheWire(&r.kafka)
	if r.kafka.Value == nil {
		t.Fatal("null value: it would delete the key in a compacted topic")
	}
	got, err := EventFromRecord(sent)
	if err != nil {
		t.Fatal(err)
	}
	if want := asSubscriberGets(ev); !proto.Equal(got, want) {
		t.Fatalf("got  %v\nwant %v", got, want)
	}
	if bound, size := format.EncodedSize(ev), encodedSize(sent); size > bound {
		t.Fatalf("EncodedSize %d, encoded %d", bound, size)
	}
	return sent
}

// encodedSize is the size of a batch of one record as kmsg encodes it.
func encodedSize(r *kgo.Record) int {
	record := kmsg.Record{Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
	}
	record.Length = int32(len(record.AppendTo(nil)) - 1) // a length of 0 takes one byte
	batch := kmsg.RecordBatch{Records: record.AppendTo(nil)}
	return len(batch.AppendTo(nil))
}

func formatOf(event bool) Format {
	if event {
		return FormatEvent
	}
	return FormatBinary
}

// FuzzRecordRoundTrip: request -> event -> record -> event. What the official decoder reads of the request is what
// a subscriber gets.
func FuzzRecordRoundTrip(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte, event bool) {
		received := time.Unix(1_700_000_000, 123456789)
		ev := ingest(frame, received)
		if ev == nil {
			return
		}
		var request gatewayv1.IngestEventRequest
		if err := proto.Unmarshal(frame, &request); err != nil {
			t.Fatalf("taken, but malformed: %v", err)
		}
		got, err := EventFromRecord(checkRoundTrip(t, formatOf(event), ev))
		if err != nil {
			t.Fatal(err)
		}
		want := request.GetEvent()
		if want.ProtoReflect().SetUnknown(nil); want.Id == "" {
			want.Id = string(ev.ID.Value)
		}
		if want.Timestamp == nil {
			want.Timestamp = timestamppb.New(received)
		} else {
			want.Timestamp.ProtoReflect().SetUnknown(nil)
		}
		if !proto.Equal(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
	})
}

// FuzzRecordAgain: record -> event -> request -> event -> record -> event, as when a subscriber sends on what it got.
func FuzzRecordAgain(f *testing.F) {
	f.Fuzz(func(t *testing.T, value, key []byte, headers string, event bool) {
		first, err := EventFromRecord(foreignRecord(value, key, headers))
		if err != nil {
			return
		}
		frame, err := proto.Marshal(&gatewayv1.IngestEventRequest{Event: first})
		if err != nil {
			t.Fatalf("the event does not serialize: %v", err)
		}
		ev := ingest(frame, time.Unix(2, 0))
		if ev == nil {
			return // a foreign record may hold more than the API takes
		}
		again, err := EventFromRecord(checkRoundTrip(t, formatOf(event), ev))
		if err != nil {
			t.Fatal(err)
		}
		want := proto.Clone(first).(*eventv1.Event)
		if want.Id == "" {
			want.Id = again.Id
		}
		if want.Timestamp == nil {
			want.Timestamp = again.Timestamp
		}
		if !proto.Equal(again, want) {
			t.Fatalf("got  %v\nwant %v", again, want)
		}
	})
}

// foreignRecord is a record with headers written as name NUL value NUL name NUL value.
func foreignRecord(value, key []byte, headers string) *kgo.Record {
	r := &kgo.Record{Key: key, Value: value, Timestamp: time.Unix(1, 0)}
	parts := strings.Split(headers, "\x00")
	for i := 0; i+1 < len(parts); i += 2 {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: parts[i], Value: bytes.Clone([]byte(parts[i+1]))})
	}
	return r
}
