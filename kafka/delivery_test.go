package kafka

// Events as subscribers get them are EventFromRecord's, encoded; of the record nothing is left in them.

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// checkDelivery compares a record's delivery with what EventFromRecord and proto.Marshal make of it. The record is
// overwritten.
func checkDelivery(t interface{ Fatalf(string, ...any) }, r *kgo.Record) {
	want, wantErr := EventFromRecord(r)
	d, err := deliveryOf(r, cursorRoom(3))
	if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
		t.Fatalf("delivery: %v, event: %v", err, wantErr)
	}
	if err != nil {
		return
	}
	want = proto.CloneOf(want)
	plain, err := proto.Marshal(want)
	if err != nil {
		t.Fatalf("the event does not serialize: %v", err)
	}
	for _, memory := range [][]byte{r.Key, r.Value} {
		overwrite(memory)
	}
	for _, h := range r.Headers {
		overwrite(h.Value)
	}
	if len(want.Metadata) < 2 && string(d.Frame) != string(plain) { // more come in any order
		t.Fatalf("encoded %x\nwant    %x", d.Frame, plain)
	}
	if len(d.Frame) != len(plain) || d.body != len(plain) {
		t.Fatalf("%d bytes, of them %d the event's; want %d", len(d.Frame), d.body, len(plain))
	}
	if cap(d.Frame) != len(plain)+cursorRoom(3) {
		t.Fatalf("%d bytes of memory for %d and a cursor", cap(d.Frame), len(plain))
	}
	got := &eventv1.Event{}
	if err := proto.Unmarshal(d.Frame, got); err != nil || !proto.Equal(got, want) {
		t.Fatalf("encoded: %v, %v\nwant %v", err, got, want)
	}
	// With a cursor behind it: the attributes are where they were.
	d.setCursor(&testIdentity, positions{1, 2, 3})
	want.Data = nil
	if !proto.Equal(d.Event, want) {
		t.Fatalf("attributes %v\nwant       %v", d.Event, want)
	}
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

func TestDeliveriesOfOurRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ev := genEvent(rt)
		nameAttributes(&ev.Attributes)
		r := recordOf(ev)
		r.fill(context.Background(), rapid.SampledFrom([]Format{FormatBinary, FormatEvent}).Draw(rt, "format"), ev, &timeText{})
		checkDelivery(rt, overTheWire(&r.kafka))
	})
}

func TestDeliveriesOfForeignRecords(t *testing.T) {
	names := rapid.SampledFrom([]string{headerSpecVersion, headerID, headerSource, headerType, headerSubject, headerTime, headerContentType,
		headerDataSchema, headerPartitionKey, headerTraceParent, headerTraceState, "md_a", "md_b", "ce_a", "ce_\xff", "md_", "other"})
	values := rapid.SampledFrom([]string{"", "1.0", "x", "\xff", "a\xc3", "ä", "2020-01-01T00:00:00Z", "1969-12-31T23:59:59.000000001Z", "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999+00:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-10:00", "no time"})
	rapid.Check(t, func(rt *rapid.T) {
		r := &kgo.Record{Headers: []kgo.RecordHeader{{Key: headerSpecVersion, Value: []byte("1.0")}},
			Key: rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(rt, "key"), Value: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(rt, "value")}
		if rapid.Bool().Draw(rt, "stored at a time") {
			r.Timestamp = time.Unix(rapid.Int64Range(-1e12, 1e12).Draw(rt, "time"), 0)
		}
		for range rapid.IntRange(0, 12).Draw(rt, "headers") {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: names.Draw(rt, "name"), Value: []byte(values.Draw(rt, "header"))})
		}
		checkDelivery(rt, r)
	})
	many := eventRecord(0, 1)
	for i := range 2 * maxReadMetadata {
		many.Headers = append(many.Headers, kgo.RecordHeader{Key: fmt.Sprintf("md_%d", i), Value: []byte("x")})
	}
	checkDelivery(t, many)
}

// What the encoder does not know would not reach subscribers.
func TestEveryFieldIsEncoded(t *testing.T) {
	known := map[int]bool{idField: true, sourceField: true, typeField: true, subjectField: true, dataField: true, contentTypeField: true,
		dataSchemaField: true, timestampField: true, metadataField: true, partitionKeyField: true, cursorField: true}
	fields := (&eventv1.Event{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); !known[int(f.Number())] {
			t.Errorf("field %s, number %d, is not encoded by encodeEvent", f.Name(), f.Number())
		}
	}
}

func TestDeliveryAllocates(t *testing.T) {
	r := benchRecord(0)
	n := testing.AllocsPerRun(100, func() {
		d, err := deliveryOf(r, cursorRoom(3))
		if err != nil {
			t.Fatal(err)
		}
		d.setCursor(&testIdentity, positions{1, 2, 3})
	})
	if n > 2 {
		t.Errorf("%v allocations an event; itself and its frame are 2", n)
	}
}
