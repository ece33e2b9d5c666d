package kafka

// Events as subscribers get them are EventFromRecord's, encoded; of the record nothing is left in them.

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// readable is what readers are to get of a record.
func readable(r *kgo.Record) (*eventv1.Event, error) {
	ev, err := EventFromRecord(r)
	if err == nil && (ev.Id == "" || ev.Source == "" || ev.Type == "") {
		return nil, errIncomplete
	}
	return ev, err
}

// checkDelivery compares a record's delivery with what EventFromRecord and proto.Marshal make of it. The record is
// overwritten.
func checkDelivery(t interface{ Fatalf(string, ...any) }, r *kgo.Record) {
	want, wantErr := readable(r)
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
	overwriteRecord(r)
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

// overwriteRecord is what becomes of a record's memory in the worst case.
func overwriteRecord(r *kgo.Record) {
	overwrite(r.Key)
	overwrite(r.Value)
	for _, h := range r.Headers {
		overwrite(h.Value)
	}
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = '#'
	}
}

func TestDeliveriesOfOurRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { checkDelivery(rt, ours(rt)) })
}

func TestDeliveriesOfForeignRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) { checkDelivery(rt, foreign(rt)) })
	rapid.Check(t, func(rt *rapid.T) { checkDelivery(rt, foreignValue(rt)) })
	many := eventRecord(0, 1)
	for i := range 2 * maxReadMetadata {
		many.Headers = append(many.Headers, kgo.RecordHeader{Key: fmt.Sprintf("md_%d", i), Value: []byte("x")})
	}
	checkDelivery(t, many)
}

// Without an id, a source or a type there is no event for readers, in either format.
func TestDeliveriesOfIncompleteEvents(t *testing.T) {
	names, numbers := []string{headerID, headerSource, headerType}, []int{idField, sourceField, typeField}
	for has := range 1 << len(names) {
		binary := &kgo.Record{Value: []byte("data"), Headers: []kgo.RecordHeader{{Key: headerSpecVersion, Value: []byte("1.0")}}}
		value := &kgo.Record{Headers: []kgo.RecordHeader{{Key: headerContentType, Value: []byte(eventContentType)}}}
		for i, name := range names {
			if has&(1<<i) != 0 {
				binary.Headers = append(binary.Headers, kgo.RecordHeader{Key: name, Value: []byte("x")})
				value.Value = append(value.Value, wireFields(numbers[i], "x")...)
			} else {
				binary.Headers = append(binary.Headers, kgo.RecordHeader{Key: name}) // there, and empty
			}
		}
		unknown := &kgo.Record{Headers: value.Headers, Value: append(slices.Clone(value.Value), wireFields(99, "left to proto.Unmarshal")...)}
		for kind, r := range map[string]*kgo.Record{"headers": binary, "value": value, "value with an unknown field": unknown} {
			d, err := deliveryOf(r, 0)
			if whole := has == 1<<len(names)-1; whole != (err == nil) || whole != (d != nil) || !whole && !errors.Is(err, errIncomplete) {
				t.Errorf("%s, the attributes %03b: %v, %v", kind, has, d, err)
			}
			if _, err := EventFromRecord(r); err != nil {
				t.Errorf("%s, the attributes %03b: whoever shows what is there hears %v", kind, has, err)
			}
		}
	}
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
