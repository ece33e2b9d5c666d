package stages

// The wire scan against the official decoder: the same fields, or both refuse.

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// unbounded is a configuration in which size refuses nothing.
var unbounded = Config{MaxEventBytes: 1 << 40}

// reporter is what testing.T and rapid.T have in common.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
}

// sameEvent holds an event that we read against what the official decoder made of the same bytes.
// wantErr is that decoder's error.
func sameEvent(t reporter, ev *Event, sentID bool, want *eventv1.Event, wantErr error) {
	t.Helper()
	if len(ev.Metadata) > MaxMetadataEntries {
		// Not all of it was kept; that the event is refused is what counts.
		if ev.Live() {
			NewValidate(NewTopics("events"), ValidateParts{}).Process([]*Event{ev})
		}
		if ev.Live() {
			t.Fatalf("an event with more than %d metadata entries goes on", MaxMetadataEntries)
		}
		return
	}
	malformed := ev.Verdict.Reason == MalformedEvent || !validText(ev)
	if malformed != (wantErr != nil) {
		t.Fatalf("malformed for us: %v (%+v); for the official decoder: %v", malformed, ev.Verdict, wantErr)
	}
	if malformed {
		return
	}
	id := ev.ID.Value
	if !sentID {
		id = nil
	}
	for _, f := range []struct {
		name      string
		got, want []byte
	}{
		{"id", id, []byte(want.GetId())},
		{"source", ev.Source.Value, []byte(want.GetSource())},
		{"type", ev.Type.Value, []byte(want.GetType())},
		{"subject", ev.Subject.Value, []byte(want.GetSubject())},
		{"data", ev.Data, want.GetData()},
		{"data_content_type", ev.DataContentType.Value, []byte(want.GetDataContentType())},
		{"data_schema", ev.DataSchema.Value, []byte(want.GetDataSchema())},
		{"cursor", ev.Cursor, []byte(want.GetCursor())},
		{"partition_key", ev.PartitionKey.Value, []byte(want.GetPartitionKey())},
	} {
		if !bytes.Equal(f.got, f.want) {
			t.Fatalf("%s is %q, want %q", f.name, f.got, f.want)
		}
	}
	if stamp := want.GetTimestamp(); ev.HasTime != (stamp != nil) || ev.Seconds != stamp.GetSeconds() || ev.Nanos != stamp.GetNanos() {
		t.Fatalf("timestamp %v %d %d, want %v", ev.HasTime, ev.Seconds, ev.Nanos, stamp)
	}
	if behind := len(ev.Subject.Value) + len(ev.DataContentType.Value) + len(ev.DataSchema.Value) + len(ev.Cursor); !ev.More && (behind > 0 || ev.HasTime) {
		t.Fatalf("%d bytes are set behind PartitionKey and More does not say so", behind)
	}
	metadata := map[string]string{}
	for _, p := range ev.Metadata {
		metadata[string(p.Name)] = string(p.Value)
	}
	if len(metadata) != len(ev.Metadata) || len(metadata) != len(want.GetMetadata()) {
		t.Fatalf("%d metadata entries, %d names, want %d", len(ev.Metadata), len(metadata), len(want.GetMetadata()))
	}
	for name, value := range want.GetMetadata() {
		if got, ok := metadata[name]; !ok || got != value {
			t.Fatalf("metadata[%q] is %q (%v), want %q", name, got, ok, value)
		}
	}
}

// checkSingle decodes an IngestEventRequest both ways.
func checkSingle(t reporter, frame []byte) {
	t.Helper()
	var req gatewayv1.IngestEventRequest
	err := proto.Unmarshal(frame, &req)
	m := newMessage(Single, frame, 1)
	d, ev := NewDecoder(unbounded, DeadLetters{}, 0), &Event{}
	d.Start(m)
	d.Next(ev)
	if d.Active() {
		t.Fatalf("a single event is not the last one")
	}
	sameEvent(t, ev, !m.Results[0].Assigned, req.GetEvent(), err)
	checkViews(t, ev)
	checkPlain(t, ev)
}

// checkPlain: what decode calls plain breaks none of the rules that validate then does not look at.
func checkPlain(t reporter, ev *Event) {
	t.Helper()
	if ev.plain && (!ev.Live() || !validText(ev) || violation(ev) != nil) {
		t.Fatalf("plain, but %v, %v", ev.Verdict, violation(ev))
	}
}

// checkViews makes sure that nothing was read from outside of the frame or copied.
func checkViews(t reporter, ev *Event) {
	t.Helper()
	views := [][]byte{ev.Source.Value, ev.Type.Value, ev.Subject.Value, ev.Data, ev.DataContentType.Value, ev.DataSchema.Value, ev.Cursor, ev.PartitionKey.Value}
	for _, p := range ev.Metadata {
		views = append(views, p.Name, p.Value)
	}
	frame := ev.Msg.Frame
	for _, v := range views {
		if len(v) == 0 {
			continue
		}
		first, start := uintptr(unsafe.Pointer(&v[0])), uintptr(unsafe.Pointer(&frame[0]))
		if first < start || first+uintptr(len(v)) > start+uintptr(len(frame)) {
			t.Fatalf("%q is not a view into the frame", v)
		}
	}
}

// checkBatch scans and decodes an IngestEventBatchRequest both ways. The
// official decoder refuses the whole message for one bad event, we only that
// event, so each one is also held against its own bytes.
func checkBatch(t reporter, frame []byte) {
	t.Helper()
	var req gatewayv1.IngestEventBatchRequest
	wholeErr := proto.Unmarshal(frame, &req)
	n, wantResults, ok := Scan(frame)
	if !ok {
		if wholeErr == nil {
			t.Fatalf("Scan refuses what the official decoder takes: %d events", len(req.GetEvents()))
		}
		return
	}
	inner, flag := splitBatch(t, frame)
	if n != len(inner) || wantResults != flag {
		t.Fatalf("Scan says %d events, want_results %v; want %d, %v", n, wantResults, len(inner), flag)
	}
	if wholeErr == nil && (n != len(req.GetEvents()) || wantResults != req.GetWantResults()) {
		t.Fatalf("Scan says %d events, want_results %v; the official decoder %d, %v",
			n, wantResults, len(req.GetEvents()), req.GetWantResults())
	}
	m := newMessage(Batch, frame, n)
	d, bad := NewDecoder(unbounded, DeadLetters{}, 0), 0
	if n > 0 {
		d.Start(m)
	}
	for i, b := range inner {
		var want eventv1.Event
		err := proto.Unmarshal(b, &want)
		if err != nil {
			bad++
		}
		ev := &Event{}
		d.Next(ev)
		if ev.Index != i || ev.Size != len(b) {
			t.Fatalf("event %d has index %d and %d bytes, want %d", i, ev.Index, ev.Size, len(b))
		}
		sameEvent(t, ev, !m.Results[i].Assigned, &want, err)
		checkPlain(t, ev)
		checkViews(t, ev)
	}
	if d.Active() {
		t.Fatalf("the decoder expects more than %d events", n)
	}
	if (bad > 0) != (wholeErr != nil) {
		t.Fatalf("%d of %d events are malformed by themselves; the official decoder says of the whole: %v", bad, n, wholeErr)
	}
}

// splitBatch walks over the top level with protowire alone.
func splitBatch(t reporter, frame []byte) (events [][]byte, wantResults bool) {
	t.Helper()
	for b := frame; len(b) > 0; {
		number, wire, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatalf("Scan takes a bad tag at %d", len(frame)-len(b))
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(number, wire, b)
		if n < 0 {
			t.Fatalf("Scan takes a bad value at %d", len(frame)-len(b))
		}
		switch {
		case number == 1 && wire == protowire.BytesType:
			v, _ := protowire.ConsumeBytes(b)
			events = append(events, v)
		case number == 2 && wire == protowire.VarintType:
			v, _ := protowire.ConsumeVarint(b)
			wantResults = v != 0
		}
		b = b[n:]
	}
	return events, wantResults
}

func FuzzDecodeEvent(f *testing.F) {
	for _, ev := range seedEvents(f) {
		f.Add(request(ev))
		f.Add(ev) // events are no requests, but close
	}
	whole := encode(f, sample())
	f.Add(request(whole[:60], whole[60:])) // cut in the middle of a field
	f.Add(request(field(nil, fieldID, "a"), field(nil, fieldType, "t"), whole))
	f.Fuzz(func(t *testing.T, frame []byte) { checkSingle(t, frame) })
}

func FuzzScanBatch(f *testing.F) {
	good := encode(f, sample())
	for _, ev := range seedEvents(f) {
		f.Add(request(ev))
		f.Add(request(good, ev, good))
		f.Add(ev)
	}
	for _, flag := range []uint64{0, 1, 2, 1 << 63} {
		f.Add(varint(request(good), 2, flag))
		f.Add(join(varint(nil, 2, 1), request(good), varint(nil, 2, flag)))
	}
	f.Add(field(request(good), 2, "not a bool"))
	f.Fuzz(func(t *testing.T, frame []byte) { checkBatch(t, frame) })
}

// genEvent draws any event that the official library can encode.
func genEvent(metadata int) *rapid.Generator[*eventv1.Event] {
	return rapid.Custom(func(t *rapid.T) *eventv1.Event {
		text := func(label string) string { return rapid.StringN(0, 20, 80).Draw(t, label) }
		ev := &eventv1.Event{
			Id: text("id"), Source: text("source"), Type: text("type"), Subject: text("subject"),
			Data:            rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
			DataContentType: text("data_content_type"), DataSchema: text("data_schema"),
			Cursor: text("cursor"), PartitionKey: text("partition_key"),
			Metadata: rapid.MapOfN(rapid.StringN(0, 8, 32), rapid.StringN(0, 8, 32), 0, metadata).Draw(t, "metadata"),
		}
		if rapid.Bool().Draw(t, "stamped") {
			ev.Timestamp = &timestamppb.Timestamp{Seconds: rapid.Int64().Draw(t, "seconds"), Nanos: rapid.Int32().Draw(t, "nanos")}
		}
		return ev
	})
}

func TestScanReadsWhatTheLibraryWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := &gatewayv1.IngestEventBatchRequest{
			Events:      rapid.SliceOfN(genEvent(MaxMetadataEntries), 1, 4).Draw(t, "events"),
			WantResults: rapid.Bool().Draw(t, "want_results"),
		}
		frame, err := proto.Marshal(req)
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		checkBatch(t, frame)
		single, err := proto.Marshal(&gatewayv1.IngestEventRequest{Event: req.Events[0]})
		if err != nil {
			t.Fatalf("marshal: %v", err)
		}
		checkSingle(t, single)
	})
}

func TestScanCountsOnlyTheTopLevel(t *testing.T) {
	good := encode(t, sample())
	for _, c := range []struct {
		name        string
		frame       []byte
		events      int
		wantResults bool
		ok          bool
	}{
		{"empty", nil, 0, false, true},
		{"two", request(good, good), 2, false, true},
		{"a bad event is not its business", request(good, []byte{0xff}, good), 3, false, true},
		{"flag", varint(request(good), 2, 1), 1, true, true},
		{"the last flag wins", varint(varint(nil, 2, 1), 2, 0), 0, false, true},
		{"flag of another wire type", field(nil, 2, "x"), 0, false, true},
		{"event of another wire type", varint(nil, 1, 1), 0, false, true},
		{"cut in the length", request(good)[:2], 0, false, false},
		{"cut in the event", request(good)[:40], 0, false, false},
		{"cut in the flag", []byte{0x10, 0x80}, 0, false, false},
		{"no flag at all", []byte{0x10}, 0, false, false},
		{"field number 0", []byte{0x02, 0}, 0, false, false},
		{"too large a field number", join(protowire.AppendVarint(nil, 1<<32), []byte{0}), 0, false, false},
		{"end of a group that never began", []byte{0x0c}, 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			events, wantResults, ok := Scan(c.frame)
			if events != c.events || wantResults != c.wantResults || ok != c.ok {
				t.Fatalf("%d events, want_results %v, ok %v; want %d, %v, %v", events, wantResults, ok, c.events, c.wantResults, c.ok)
			}
		})
	}
}

// Whoever sends ever more metadata must not make the scan quadratic.
func TestScanKeepsBoundedMetadata(t *testing.T) {
	var b []byte
	for i := range 10_000 {
		b = field(b, fieldMetadata, string(field(nil, 1, strings.Repeat("m", i%200)+string(rune('a'+i%26)))))
	}
	var ev Event
	if !ev.scanEvent(b) {
		t.Fatal("the event is not malformed")
	}
	if len(ev.Metadata) != keptMetadata {
		t.Fatalf("%d entries were kept, want those over the bound that marks may replace, and one: %d", len(ev.Metadata), keptMetadata)
	}
}
