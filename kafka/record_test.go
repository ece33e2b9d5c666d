package kafka

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

var testTopic = func() *stages.Topic {
	t := stages.NewTopic("events", 0)
	t.SetPartitions(3)
	return t
}()

// hostileNames are metadata names at the seams of the mapping.
var hostileNames = []string{
	"id", "source", "type", "subject", "time", "specversion", "datacontenttype", "dataschema", "data",
	"data_base64", "partitionkey", "traceparent", "tracestate", "content-type", "ce_id", "md_x", "ce_", "md_",
	"Upper", "with space", "a", strings.Repeat("a", 20), strings.Repeat("a", 21), "~", "0", "ce_specversion", "=", "knative",
}

func genText(least, most int) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringN(least, most, 4*most),
		rapid.SampledFrom([]string{"x", "\x00", "ä\u2028", strings.Repeat("y", max(least, 300)), "\r\nce_id: z", "null"}),
	).Filter(func(s string) bool { return utf8.ValidString(s) && len(s) >= least })
}

func genEvent(t *rapid.T) *stages.Event {
	optional := func(name string) []byte { return []byte(genText(0, 40).Draw(t, name)) }
	ev := &stages.Event{
		Data:      rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "data"),
		HasTime:   rapid.Bool().Draw(t, "has time"),
		Msg:       &stages.Message{Received: time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "received"), 123456789)},
		Topic:     testTopic,
		Partition: testTopic.Partitions()[0],
	}
	ev.ID.Value = []byte(genText(1, 40).Draw(t, "id"))
	ev.Source.Value = []byte(genText(1, 40).Draw(t, "source"))
	ev.Type.Value = []byte(genText(1, 40).Draw(t, "type"))
	ev.More = true
	ev.Subject.Value = optional("subject")
	ev.DataContentType.Value = optional("content type")
	ev.DataSchema.Value = optional("schema")
	ev.PartitionKey.Value = optional("key")
	if rapid.Bool().Draw(t, "no data") {
		ev.Data = nil
	}
	if ev.HasTime {
		ev.Seconds = rapid.Int64Range(-62135596800, 253402300799).Draw(t, "seconds")
		ev.Nanos = rapid.Int32Range(0, 999_999_999).Draw(t, "nanos")
	}
	name := rapid.OneOf(rapid.SampledFrom(hostileNames), rapid.StringMatching(`[ -~]{1,128}`))
	for k, v := range rapid.MapOfN(name, genText(0, 40), 0, 30).Draw(t, "metadata") {
		ev.Metadata = append(ev.Metadata, stages.Pair{Name: []byte(k), Value: []byte(v)})
	}
	return ev
}

// asSubscriberGets is the event as the contract has it, from the same views.
func asSubscriberGets(ev *stages.Event) *eventv1.Event {
	want := &eventv1.Event{
		Id: string(ev.ID.Value), Source: string(ev.Source.Value), Type: string(ev.Type.Value), Subject: string(ev.Subject.Value),
		Data: ev.Data, DataContentType: string(ev.DataContentType.Value), DataSchema: string(ev.DataSchema.Value),
		Timestamp: timestamppb.New(ev.Time()), PartitionKey: string(ev.PartitionKey.Value),
	}
	for _, m := range ev.Metadata {
		if want.Metadata == nil {
			want.Metadata = map[string]string{}
		}
		want.Metadata[string(m.Name)] = string(m.Value)
	}
	return want
}

// overTheWire copies the record, as a fetch would, so that nothing aliases the event.
func overTheWire(r *kgo.Record) *kgo.Record {
	out := &kgo.Record{Key: bytes.Clone(r.Key), Value: append([]byte{}, r.Value...), Topic: r.Topic, Timestamp: r.Timestamp}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: strings.Clone(h.Key), Value: append([]byte{}, h.Value...)})
	}
	return out
}

func TestRecordRoundTrip(t *testing.T) {
	var recycled stages.Event // one event used over and over, as the pipeline does
	rapid.Check(t, func(rt *rapid.T) {
		ev := genEvent(rt)
		ev.Sink = recycled.Sink
		nameAttributes(&ev.Attributes)
		format := rapid.SampledFrom([]Format{FormatBinary, FormatEvent}).Draw(rt, "format")
		r := recordOf(ev)
		r.fill(context.Background(), format, ev, &timeText{})
		recycled.Sink = ev.Sink
		if size, bound := format.EncodedSize(ev), stages.RecordBound(proto.Size(asSubscriberGets(ev))); size > bound {
			rt.Fatalf("a record of up to %d bytes, above the bound of %d", size, bound)
		}

		if r.kafka.Value == nil {
			rt.Fatal("null value: it would delete the key in a compacted topic")
		}
		if len(ev.PartitionKey.Value) == 0 && r.kafka.Key != nil || !bytes.Equal(r.kafka.Key, ev.PartitionKey.Value) {
			rt.Fatalf("key %q of partition key %q", r.kafka.Key, ev.PartitionKey.Value)
		}
		if !r.kafka.Timestamp.Equal(ev.Msg.Received) {
			rt.Fatalf("record time %v, want time of receipt", r.kafka.Timestamp)
		}
		got, err := EventFromRecord(overTheWire(&r.kafka))
		if err != nil {
			rt.Fatal(err)
		}
		if want := asSubscriberGets(ev); !proto.Equal(got, want) {
			rt.Fatalf("got  %v\nwant %v", got, want)
		}
		if bound, size := format.EncodedSize(ev), wireSize(&r.kafka); size > bound || bound > size+12*len(r.kafka.Headers)+600 {
			rt.Fatalf("EncodedSize %d, encoded %d", bound, size)
		}
	})
}

// wireSize is the size of a v2 batch of one, written down a second time from
// Kafka's documentation (kafka.apache.org/documentation/#recordbatch).
func wireSize(r *kgo.Record) int {
	varint := func(n int) int {
		size, u := 1, uint64(n)<<1
		for ; u >= 0x80; u >>= 7 {
			size++
		}
		return size
	}
	keyLength := len(r.Key)
	body := 1 + 1 + 1 + varint(keyLength) + keyLength + varint(len(r.Value)) + len(r.Value) + varint(len(r.Headers))
	for _, h := range r.Headers {
		body += varint(len(h.Key)) + len(h.Key) + varint(len(h.Value)) + len(h.Value)
	}
	return 61 + varint(body) + body
}

func TestHeaderNames(t *testing.T) {
	ev := newEvent("a", testTopic.Partitions()[0])
	for _, name := range []string{"tenant", "Tenant", "subject", "traceparent", "content-type"} {
		ev.Metadata = append(ev.Metadata, stages.Pair{Name: []byte(name), Value: []byte("v")})
	}
	r := recordOf(ev)
	r.fill(context.Background(), FormatBinary, ev, &timeText{})
	var names []string
	for _, h := range r.kafka.Headers {
		names = append(names, h.Key)
	}
	want := "ce_specversion ce_id ce_source ce_type ce_time ce_tenant md_Tenant md_subject traceparent md_content-type"
	if got := strings.Join(names, " "); got != want {
		t.Errorf("headers %s\nwant    %s", got, want)
	}
}

func TestFillAllocatesNothing(t *testing.T) {
	ev := newEvent("a", testTopic.Partitions()[0])
	ev.PartitionKey.Value, ev.More, ev.HasTime, ev.Nanos = []byte("k"), true, true, 5
	for _, name := range []string{"tenant", "Tenant", "subject", "traceparent"} {
		ev.Metadata = append(ev.Metadata, stages.Pair{Name: []byte(name), Value: []byte("v")})
	}
	for _, format := range []Format{FormatBinary, FormatEvent} {
		var clock timeText
		n := testing.AllocsPerRun(100, func() { recordOf(ev).fill(context.Background(), format, ev, &clock) })
		if n != 0 {
			t.Errorf("%s: %v allocations an event", format, n)
		}
	}
}

func TestForeignRecords(t *testing.T) {
	header := func(pairs ...string) *kgo.Record {
		r := &kgo.Record{Value: []byte("v"), Key: []byte("k")}
		for i := 0; i < len(pairs); i += 2 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return r
	}
	if _, err := EventFromRecord(header()); !errors.Is(err, ErrNotAnEvent) {
		t.Errorf("no headers: %v", err)
	}
	for _, bad := range []*kgo.Record{
		header("ce_specversion", "0.3"), header("ce_specversion", "1.0", "ce_time", "yesterday"),
		header("content-type", eventContentType),
	} {
		if ev, err := EventFromRecord(bad); err == nil {
			t.Errorf("%v: %v", bad.Headers, ev)
		}
	}
	ev, err := EventFromRecord(header("ce_specversion", "1.0", "ce_id", "a\xff", "other", "x", "ce_custom", "y"))
	if err != nil || ev.Id != "a\uFFFD" || ev.PartitionKey != "k" || len(ev.Metadata) != 1 || ev.Metadata["custom"] != "y" {
		t.Errorf("%v, %v", ev, err)
	}
}

// FuzzEventFromRecord: whatever a record holds, reading it neither panics nor
// makes an event that cannot be sent on.
func FuzzEventFromRecord(f *testing.F) {
	f.Add([]byte("value"), []byte("key"), "ce_specversion\x001.0\x00ce_time\x002020-01-01T00:00:00Z\x00md_a\x00b")
	f.Add([]byte{10, 1, 'a'}, []byte(nil), "content-type\x00"+eventContentType)
	f.Fuzz(func(t *testing.T, value, key []byte, headers string) {
		checkDelivery(t, foreignRecord(bytes.Clone(value), bytes.Clone(key), headers))
		ev, err := EventFromRecord(foreignRecord(value, key, headers))
		if err != nil {
			return
		}
		if _, err := proto.Marshal(ev); err != nil {
			t.Fatalf("the event does not serialize: %v", err)
		}
		if ev.Timestamp != nil && ev.Timestamp.CheckValid() != nil || len(ev.ProtoReflect().GetUnknown()) > 0 || ev.Cursor != "" {
			t.Fatalf("passed on as it came: %v", ev)
		}
	})
}

// A record that had headers of its own and is then used by an event without a gap keeps none of the views of the first:
// they would hold a dead message's memory as long as the gateway is busy.
func TestHeadersAreForgottenOnReuse(t *testing.T) {
	ev := newEvent("a", testTopic.Partitions()[0])
	ev.Metadata = []stages.Pair{{Name: []byte("tenant"), Value: []byte("v")}}
	r := recordOf(ev)
	r.fill(t.Context(), FormatBinary, ev, &timeText{})
	kept := r.spare.headers
	ev.Metadata = nil
	r.fill(t.Context(), FormatBinary, ev, &timeText{})
	for i, h := range kept {
		if h.Value != nil {
			t.Errorf("header %d still has %q", i, h.Value)
		}
	}
	if len(r.kafka.Headers) != required {
		t.Errorf("%d headers, want %d", len(r.kafka.Headers), required)
	}
}

// TestRecordLayout: what franz-go and an acknowledged record's promise look at lies in three cache lines; a field in the
// wrong place costs no test, only time.
func TestRecordLayout(t *testing.T) {
	const line = 64
	var r record
	for _, f := range []struct {
		name string
		at   uintptr
		want uintptr
	}{
		{"the lengths that franz-go counts, the last of them", (unsafe.Offsetof(r.kafka.Headers) + 8) / line, 0},
		{"kafka.Offset", unsafe.Offsetof(r.kafka.Offset) / line, 2},
		{"the last word for a promise, costAndFlags", (unsafe.Offsetof(r.costAndFlags) + 3) / line, 2},
		{"the fourth line, Context", unsafe.Offsetof(r.Context), 3 * line},
		{"a record", unsafe.Sizeof(r), 4 * line},
	} {
		if f.at != f.want {
			t.Errorf("%s: %d, want %d", f.name, f.at, f.want)
		}
	}
}
