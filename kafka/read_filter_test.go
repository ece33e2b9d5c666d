package kafka

// What a filter takes of records is what it is asked about one by one with EventFromRecord, whatever came before in the
// same memory.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// filterOf is a filter without a reader around it.
func filterOf(match stages.Match) *recordFilter {
	return (&Readers{parts: ReaderParts{Log: discardLog{}}, turns: newTurns(1)}).filter(context.Background(), "", match)
}

// ours is a record as the gateway writes it.
func ours(rt *rapid.T) *kgo.Record {
	ev := genEvent(rt)
	nameAttributes(&ev.Attributes)
	r := recordOf(ev)
	r.fill(context.Background(), rapid.SampledFrom([]Format{FormatBinary, FormatEvent}).Draw(rt, "format"), ev, &timeText{})
	return overTheWire(&r.kafka)
}

// foreign is a record of somebody else, in binary mode.
func foreign(rt *rapid.T) *kgo.Record {
	names := rapid.SampledFrom([]string{headerSpecVersion, headerID, headerSource, headerType, headerSubject, headerTime, headerContentType,
		headerDataSchema, headerPartitionKey, headerTraceParent, headerTraceState, "md_a", "md_b", "ce_a", "ce_\xff", "md_", "other"})
	values := rapid.SampledFrom([]string{"", "1.0", "x", "\xff", "a\xc3", "ä", "2020-01-01T00:00:00Z", "1969-12-31T23:59:59.000000001Z", "0001-01-01T00:00:00Z",
		"9999-12-31T23:59:59.999999999+00:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-10:00", "no time"})
	r := &kgo.Record{Headers: []kgo.RecordHeader{{Key: headerSpecVersion, Value: []byte("1.0")}},
		Key: rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(rt, "key"), Value: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(rt, "value")}
	if rapid.IntRange(0, 3).Draw(rt, "incomplete") > 0 {
		for _, name := range []string{headerID, headerSource, headerType} {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: []byte("given")})
		}
	}
	if rapid.Bool().Draw(rt, "stored at a time") {
		r.Timestamp = time.Unix(rapid.Int64Range(-1e12, 1e12).Draw(rt, "time"), 0)
	}
	for range rapid.IntRange(0, 12).Draw(rt, "headers") {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: names.Draw(rt, "name"), Value: []byte(values.Draw(rt, "header"))})
	}
	return r
}

// foreignValue is a record of somebody else whose value says that it is an event.
func foreignValue(rt *rapid.T) *kgo.Record {
	value := genFields(rt, 13, []string{"", "x", "ä", "\xff", "a longer text",
		string(wireFields(1, "name", 2, "value")), string(wireFields(2, "value")), string(wireFields(1, "\xff")), string(wireFields(3, "more")),
		"\x08\x05", "\x10\x05", "\x08\x05\x10\x06", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x10\xff\xff\xff\xff\x0f", "\x18\x01", "\x0a\x00"})
	if rapid.IntRange(0, 3).Draw(rt, "incomplete") > 0 {
		value = append(wireFields(idField, "given", sourceField, "given", typeField, "given"), value...)
	}
	if rapid.IntRange(0, 9).Draw(rt, "cut") == 0 && len(value) > 0 {
		value = value[:rapid.IntRange(0, len(value)-1).Draw(rt, "to")]
	}
	return &kgo.Record{Value: value, Timestamp: time.Unix(1, 0), Key: []byte("key"),
		Headers: []kgo.RecordHeader{{Key: headerContentType, Value: []byte(eventContentType)}}}
}

// genFields are fields of the wire format with numbers up to most, nearly all of them with one of values.
func genFields(rt *rapid.T, most int, values []string) (b []byte) {
	for range rapid.IntRange(0, 10).Draw(rt, "fields") {
		number := protowire.Number(rapid.IntRange(1, most).Draw(rt, "number"))
		switch rapid.IntRange(0, 19).Draw(rt, "wire") {
		case 0:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), 1)
		case 1:
			b = protowire.AppendFixed32(protowire.AppendTag(b, number, protowire.Fixed32Type), 1)
		case 2:
			b = protowire.AppendString(protowire.AppendTag(b, number+20, protowire.BytesType), "unknown")
		default:
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), rapid.SampledFrom(values).Draw(rt, "field"))
		}
	}
	return b
}

// wireFields are a number and a text in turn.
func wireFields(all ...any) (b []byte) {
	for i := 0; i < len(all); i += 2 {
		b = protowire.AppendString(protowire.AppendTag(b, protowire.Number(all[i].(int)), protowire.BytesType), all[i+1].(string))
	}
	return b
}

// garbage says nothing of an event, or says it wrong.
func garbage(rt *rapid.T) *kgo.Record {
	r := &kgo.Record{Value: rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(rt, "value")}
	switch rapid.IntRange(0, 2).Draw(rt, "kind of garbage") {
	case 0:
		r.Headers = []kgo.RecordHeader{{Key: headerContentType, Value: []byte(eventContentType)}}
	case 1:
		r.Headers = []kgo.RecordHeader{{Key: "md_a", Value: []byte("x")}, {Key: headerSpecVersion, Value: []byte("2.0")}}
	}
	return r
}

// choosing is a Match that looks at all there is, and fails now and then.
func choosing(ev *eventv1.Event) (bool, error) {
	sum := len(ev.Id) + 3*len(ev.Source) + 5*len(ev.Type) + 7*len(ev.Subject) + len(ev.DataContentType) + len(ev.DataSchema) + len(ev.PartitionKey)
	for name, value := range ev.Metadata {
		sum += len(name) * len(value)
	}
	if sum += int(ev.Timestamp.GetSeconds()%7) + int(ev.Timestamp.GetNanos()%7); sum%11 == 10 {
		return false, fmt.Errorf("no answer for %q", ev.Id)
	}
	return sum%3 == 0, nil
}

func TestFiltersTakeWhatEventFromRecordSays(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		filter := filterOf(choosing)
		var records []*kgo.Record
		var events []*eventv1.Event
		var taken []*delivery
		var skipped uint64
		for range rapid.IntRange(1, 12).Draw(rt, "records") {
			kind := rapid.SampledFrom([]func(*rapid.T) *kgo.Record{ours, ours, foreign, foreignValue, foreignValue, garbage}).Draw(rt, "kind")
			r := kind(rt)
			records = append(records, r)
			d, err := filter.take(r, cursorRoom(3))
			ev, unread := readable(r)
			wanted, failed := false, error(nil)
			if unread != nil {
				skipped++
			} else {
				wanted, failed = choosing(ev)
			}
			if (d != nil) != wanted || fmt.Sprint(err) != fmt.Sprint(failed) {
				rt.Fatalf("%v, %v; want %v, %v, of %v, %v", d, err, wanted, failed, ev, unread)
			}
			if n := filter.readers.metrics.skipped.Load(); n != skipped {
				rt.Fatalf("%d were counted as no events, want %d: %v", n, skipped, unread)
			}
			if wanted {
				taken, events = append(taken, d), append(events, proto.CloneOf(ev))
			}
		}
		for _, r := range records {
			overwriteRecord(r)
		}
		for i, d := range taken {
			checkTaken(rt, d, events[i])
		}
	})
}

// checkTaken compares a delivery with the event that it is to have.
func checkTaken(t interface{ Fatalf(string, ...any) }, d *delivery, want *eventv1.Event) {
	got := &eventv1.Event{}
	if err := proto.Unmarshal(d.Frame, got); err != nil || !proto.Equal(got, want) {
		t.Fatalf("encoded: %v, %v\nwant %v", err, got, want)
	}
	if want.Data = nil; !proto.Equal(d.Event, want) {
		t.Fatalf("attributes %v\nwant       %v", d.Event, want)
	}
}

// What nobody wants costs no memory, with metadata too, and none of it is held.
func TestFiltersAllocateNothingForWhatIsNotWanted(t *testing.T) {
	for _, format := range []Format{FormatBinary, FormatEvent} {
		for _, metadata := range []bool{false, true} {
			r := storedRecord(1, format, metadata)
			filter := filterOf(func(ev *eventv1.Event) (bool, error) { return ev.Type == "other", nil })
			n := testing.AllocsPerRun(100, func() {
				if d, err := filter.take(r, 0); d != nil || err != nil {
					t.Fatal(d, err)
				}
			})
			if n != 0 {
				t.Errorf("%s, metadata %v: %v allocations a record", format, metadata, n)
			}
			if s := filter.spare; s.Event != nil || s.Topic != "" || !s.Stored.IsZero() || proto.Size(&s.event) != 0 || s.event.Data != nil {
				t.Errorf("%s, metadata %v: %v is held of a record that nobody wants", format, metadata, s)
			}
			if len(filter.metadata) > 0 {
				t.Errorf("%s: the metadata %v is held", format, filter.metadata)
			}
		}
	}
	if s := view([]byte("memory")[:0]); unsafe.StringData(s) != nil {
		t.Error("an empty attribute holds the memory that it lay in")
	}
}

// A record that nobody else writes like this has much metadata: its memory is not cleared for each record from then on.
func TestFiltersForgetLargeMetadata(t *testing.T) {
	large := eventRecord(0, 1)
	for i := range spareEntries + 1 {
		large.Headers = append(large.Headers, kgo.RecordHeader{Key: fmt.Sprintf("md_%d", i), Value: []byte("x")})
	}
	filter := filterOf(func(*eventv1.Event) (bool, error) { return false, errors.New("no") })
	if _, err := filter.take(large, 0); err == nil || filter.metadata != nil {
		t.Errorf("%v, and %d entries are kept", err, len(filter.metadata))
	}
	// One that proto.Unmarshal has to read in the end leaves nothing of its first entries to the next.
	broken := &kgo.Record{Headers: []kgo.RecordHeader{{Key: headerContentType, Value: []byte(eventContentType)}},
		Value: wireFields(metadataField, string(wireFields(1, "stale", 2, "x")), 99, "unknown")}
	_, _ = filter.take(broken, 0)
	seen := 0
	filter.match = func(ev *eventv1.Event) (bool, error) { seen = len(ev.Metadata); return true, nil }
	small := eventRecord(0, 1)
	small.Headers = append(small.Headers, kgo.RecordHeader{Key: "md_a", Value: []byte("x")})
	if d, err := filter.take(small, 0); err != nil || d == nil || seen != 1 || strings.Contains(fmt.Sprint(d.Event), "stale") {
		t.Errorf("%v, %v, %d entries", d, err, seen)
	}
}
