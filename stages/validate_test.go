package stages

// Every rule with its bound, one beyond it, and the sentence that says so.

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// validEvent breaks no rule.
func validEvent() *Event {
	ev := liveEvents(1)[0]
	ev.ID.Value = []byte("id")
	return ev
}

// entries are n metadata entries with names and values of the given lengths.
func entries(n, name, value int) (pairs []Pair) {
	for i := range n {
		pairs = append(pairs, Pair{Name: fmt.Appendf(nil, "%0*d", name, i), Value: []byte(strings.Repeat("v", value))})
	}
	return pairs
}

func TestValidateRules(t *testing.T) {
	long := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	rules := []struct {
		name  string
		bend  func(*Event)
		field string // empty: the event is valid
		text  string
	}{
		{"nothing bent", func(*Event) {}, "", ""},
		{"no source", func(ev *Event) { ev.Source.Value = nil }, "source", "is required: say which service or device the event comes from"},
		{"empty source", func(ev *Event) { ev.Source.Value = []byte{} }, "source", "is required: say which service or device the event comes from"},
		{"no type", func(ev *Event) { ev.Type.Value = nil }, "type", "is required: say what happened, for example order.created"},
		{"cursor", func(ev *Event) { ev.Cursor = []byte("c") }, "cursor", "is set by the gateway on events that are read back; leave it empty"},
		{"empty cursor", func(ev *Event) { ev.Cursor = []byte{} }, "", ""},
		{"empty metadata name", func(ev *Event) { ev.Metadata = []Pair{{nil, []byte("v")}} }, "metadata", "has a name of 0 bytes; 1 to 128 are allowed"},
		{"longest metadata name", func(ev *Event) { ev.Metadata = entries(1, 128, 0) }, "", ""},
		{"too long a metadata name", func(ev *Event) { ev.Metadata = entries(1, 129, 0) }, "metadata", "has a name of 129 bytes; 1 to 128 are allowed"},
		{"most metadata entries", func(ev *Event) { ev.Metadata = entries(64, 5, 5) }, "", ""},
		{"too many metadata entries", func(ev *Event) { ev.Metadata = entries(65, 5, 5) }, "metadata", "has more than the 64 entries that are allowed"},
		{"most metadata bytes", func(ev *Event) { ev.Metadata = entries(64, 128, 128) }, "", ""},
		{
			"too many metadata bytes", func(ev *Event) { ev.Metadata = append(entries(63, 128, 128), Pair{long(128), long(129)}) },
			"metadata", "has 16385 bytes of names and values; 16384 are allowed",
		},
		{"lowest printable names", func(ev *Event) { ev.Metadata = []Pair{{[]byte(" ~!"), nil}} }, "", ""},
		{"control character", func(ev *Event) { ev.Metadata = []Pair{{[]byte("a\x1f"), nil}} }, "metadata", `has the name "a\x1f"; only printable ASCII is allowed`},
		{"DEL", func(ev *Event) { ev.Metadata = []Pair{{[]byte("a\x7f"), nil}} }, "metadata", `has the name "a\x7f"; only printable ASCII is allowed`},
		{"not ASCII", func(ev *Event) { ev.Metadata = []Pair{{[]byte("\u00e9"), nil}} }, "metadata", `has the name "` + "\u00e9" + `"; only printable ASCII is allowed`},
		{"any value", func(ev *Event) { ev.Metadata = []Pair{{[]byte("n"), []byte("\u00e9\n\x00")}} }, "", ""},
	}
	for _, stamp := range []struct {
		name    string
		seconds int64
		nanos   int32
		text    string
	}{
		{"start of year 1", -62135596800, 0, ""},
		{"end of year 0", -62135596801, 999_999_999, "has -62135596801 seconds; the years 1 to 9999 are allowed"},
		{"end of year 9999", 253402300799, 999_999_999, ""},
		{"start of year 10000", 253402300800, 0, "has 253402300800 seconds; the years 1 to 9999 are allowed"},
		{"epoch", 0, 0, ""},
		{"-1 nanos", 0, -1, "has -1 nanos; 0 to 999999999 are allowed"},
		{"a second of nanos", 0, 1_000_000_000, "has 1000000000 nanos; 0 to 999999999 are allowed"},
		{"smallest of all", -1 << 63, 0, "has -9223372036854775808 seconds; the years 1 to 9999 are allowed"},
	} {
		rules = append(rules, struct {
			name  string
			bend  func(*Event)
			field string
			text  string
		}{stamp.name, func(ev *Event) { ev.HasTime, ev.Seconds, ev.Nanos = true, stamp.seconds, stamp.nanos }, "timestamp", stamp.text})
	}
	for _, c := range []struct {
		field string
		set   func(*Event, []byte)
		limit int
	}{
		{"id", func(ev *Event, v []byte) { ev.ID.Value = v }, 1024},
		{"source", func(ev *Event, v []byte) { ev.Source.Value = v }, 1024},
		{"type", func(ev *Event, v []byte) { ev.Type.Value = v }, 1024},
		{"subject", func(ev *Event, v []byte) { ev.Subject.Value = v }, 1024},
		{"data_content_type", func(ev *Event, v []byte) { ev.DataContentType.Value = v }, 1024},
		{"data_schema", func(ev *Event, v []byte) { ev.DataSchema.Value = v }, 1024},
		{"partition_key", func(ev *Event, v []byte) { ev.PartitionKey.Value = v }, 4096},
	} {
		for _, n := range []int{c.limit, c.limit + 1} {
			text := ""
			if n > c.limit {
				text = fmt.Sprintf("has %d bytes; %d are allowed", n, c.limit)
			}
			rules = append(rules, struct {
				name  string
				bend  func(*Event)
				field string
				text  string
			}{fmt.Sprintf("%s of %d bytes", c.field, n), func(ev *Event) { c.set(ev, long(n)) }, c.field, text})
		}
	}
	v := NewValidate(NewTopics("events"), ValidateParts{})
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			ev := validEvent()
			r.bend(ev)
			v.Process([]*Event{ev})
			if ev.At != AtValidate {
				t.Fatalf("the event is at %v", ev.At)
			}
			if r.text == "" {
				mustLive(t, ev)
				return
			}
			mustRefuse(t, ev, AtValidate, InvalidEvent, &Detail{Field: r.field, Message: r.text})
		})
	}
}

func TestValidateRefusesInvalidUTF8(t *testing.T) {
	bad := []byte(notUTF8)
	for field, bend := range map[string]func(*Event){
		"id":                func(ev *Event) { ev.ID.Value = bad },
		"source":            func(ev *Event) { ev.Source.Value = bad },
		"type":              func(ev *Event) { ev.Type.Value = bad },
		"subject":           func(ev *Event) { ev.Subject.Value = bad },
		"data_content_type": func(ev *Event) { ev.DataContentType.Value = bad },
		"data_schema":       func(ev *Event) { ev.DataSchema.Value = bad },
		"partition_key":     func(ev *Event) { ev.PartitionKey.Value = bad },
		"cursor":            func(ev *Event) { ev.Cursor = bad },
		"metadata":          func(ev *Event) { ev.Metadata = []Pair{{[]byte("n"), []byte("v")}, {bad, nil}} },
	} {
		ev := validEvent()
		bend(ev)
		NewValidate(NewTopics("events"), ValidateParts{}).Process([]*Event{ev})
		mustRefuse(t, ev, AtValidate, MalformedEvent, &Detail{Field: field, Message: "is not valid UTF-8"})
	}
	ev := validEvent()
	ev.Metadata = []Pair{{[]byte("n"), bad}}
	NewValidate(NewTopics("events"), ValidateParts{}).Process([]*Event{ev})
	mustRefuse(t, ev, AtValidate, MalformedEvent, &Detail{Field: "metadata", Message: "is not valid UTF-8"})
	ev = validEvent()
	ev.Data = bad // data is bytes
	NewValidate(NewTopics("events"), ValidateParts{}).Process([]*Event{ev})
	mustLive(t, ev)
}

func TestValidateBoundsRecords(t *testing.T) {
	topics := NewTopics("orders")
	size := 0
	v := NewValidate(topics, ValidateParts{RecordSize: func(*Event) int { return size }})
	check := func(limit, n int) *Event {
		topics.Default.SetMaxMessageBytes(limit)
		size = n
		ev := validEvent()
		v.Process([]*Event{ev})
		return ev
	}
	mustLive(t, check(0, 1<<40)) // the topic's limit is not known yet
	mustLive(t, check(1000, 1000))
	mustRefuse(t, check(1000, 1001), AtValidate, EventTooLarge, &Detail{
		Message: "the event makes a record batch of up to 1001 bytes; the topic orders takes 1000 (max.message.bytes)",
	})
}

func TestValidatePassesOverEndedEvents(t *testing.T) {
	ev := validEvent()
	ev.Source.Value = nil
	ev.Refuse(AtDecode, MalformedEvent, nil)
	good := validEvent()
	NewValidate(NewTopics("events"), ValidateParts{}).Process([]*Event{ev, good})
	mustRefuse(t, ev, AtDecode, MalformedEvent, nil)
	mustLive(t, good)
	if ev.At != AtValidate {
		t.Fatalf("the ended event is at %v: after a panic it would be blamed", ev.At)
	}
}

func BenchmarkValidate(b *testing.B) {
	d, ev := NewDecoder(unbounded, DeadLetters{}, 0), &Event{}
	d.Start(newMessage(Single, request(encode(b, sample())), 1))
	d.Next(ev)
	v, burst := NewValidate(NewTopics("events"), ValidateParts{}), []*Event{ev}
	b.ReportAllocs()
	for b.Loop() {
		v.Process(burst)
	}
	if !ev.Live() {
		b.Fatal("the sample is not valid")
	}
}

// What decode calls plain is not looked at again: an otherwise plain event with one fault must not pass for plain.
func TestOneFaultIsNotPlain(t *testing.T) {
	good := func() *eventv1.Event {
		return &eventv1.Event{Id: "i", Source: "/s", Type: "t", Subject: "about", PartitionKey: "k", DataContentType: "text/plain",
			DataSchema: "urn:x", Data: []byte("\xff")}
	}
	check := func(ev *eventv1.Event) *Event {
		b, err := proto.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.ReplaceAll(b, []byte("BAD"), []byte("\xff\xff\xff")) // proto.Marshal would refuse it
		d, got := NewDecoder(unbounded, DeadLetters{}, 0), &Event{}
		d.Start(newMessage(Single, protowire.AppendBytes([]byte{1<<3 | 2}, b), 1))
		d.Next(got)
		NewValidate(NewTopics("events"), ValidateParts{}).Process([]*Event{got})
		return got
	}
	if ev := check(good()); !ev.Live() || !ev.plain {
		t.Fatalf("the event without a fault: %v, plain %v", ev.Verdict, ev.plain)
	}
	long := strings.Repeat("x", MaxAttributeBytes+1)
	for name, spoil := range map[string]func(ev *eventv1.Event){
		"no source": func(ev *eventv1.Event) { ev.Source = "" }, "no type": func(ev *eventv1.Event) { ev.Type = "" },
		"cursor":                     func(ev *eventv1.Event) { ev.Cursor = "c" },
		"time":                       func(ev *eventv1.Event) { ev.Timestamp = &timestamppb.Timestamp{Nanos: -1} },
		"name":                       func(ev *eventv1.Event) { ev.Metadata = map[string]string{"\n": ""} },
		"metadata with invalid text": func(ev *eventv1.Event) { ev.Metadata = map[string]string{"n": "BAD"} },
		"id":                         func(ev *eventv1.Event) { ev.Id = "BAD" },
		"source":                     func(ev *eventv1.Event) { ev.Source = "12345678BAD" },
		"type":                       func(ev *eventv1.Event) { ev.Type = "BAD45678" },
		"subject":                    func(ev *eventv1.Event) { ev.Subject = "1234BAD" },
		"content type":               func(ev *eventv1.Event) { ev.DataContentType = "BAD" },
		"schema":                     func(ev *eventv1.Event) { ev.DataSchema = "BAD" },
		"key":                        func(ev *eventv1.Event) { ev.PartitionKey = "BAD" },
		"long id":                    func(ev *eventv1.Event) { ev.Id = long },
		"long schema":                func(ev *eventv1.Event) { ev.DataSchema = long },
	} {
		ev := good()
		spoil(ev)
		if got := check(ev); got.Live() || got.plain {
			t.Errorf("%s: %v, plain %v", name, got.Verdict, got.plain)
		}
	}
}
