package kafka

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

var letterTopic = func() *stages.Topic {
	t := stages.NewTopic("refused", 1)
	t.SetPartitions(3)
	return t
}()

// bury makes ev a dead letter as transform leaves it, without a message's bytes.
func bury(ev *stages.Event, v stages.Verdict, raw []byte, topic *stages.Topic) {
	ev.Dead, ev.More = true, true
	ev.Letter = &stages.DeadLetter{Verdict: v, Raw: raw, Topic: topic, At: time.Unix(1_700_000_000, 5).UTC()}
	ev.Topic, ev.Partition = letterTopic, letterTopic.Partitions()[2]
}

func genVerdict(t *rapid.T) stages.Verdict {
	v := stages.Verdict{Outcome: stages.Refused,
		Reason: rapid.SampledFrom([]stages.Reason{stages.MalformedEvent, stages.InvalidEvent, stages.TransformFailed, stages.SchemaViolation}).Draw(t, "reason"),
		Stage:  rapid.SampledFrom([]stages.StageID{stages.AtDecode, stages.AtValidate, stages.AtTransform}).Draw(t, "stage")}
	if rapid.Bool().Draw(t, "no detail") {
		return v
	}
	part := rapid.OneOf(rapid.String(), rapid.Just("bad \xff\xc3"), rapid.Just(strings.Repeat("ä", 2000)))
	v.Detail = &stages.Detail{Field: part.Draw(t, "field"), Message: part.Draw(t, "message"), Rule: part.Draw(t, "rule")}
	for range rapid.IntRange(0, stages.MaxViolations).Draw(t, "violations") {
		v.Detail.Violations = append(v.Detail.Violations, stages.Violation{Field: part.Draw(t, "field"), Message: part.Draw(t, "message")})
	}
	return v
}

// Every letter is read back as it was, in every format and on a record that other events have used; its size is never
// underestimated; and when franz-go has given the record back, nothing of the letter stays with it.
func TestLetterRoundTrip(t *testing.T) {
	t.Parallel()
	var recycled stages.Event
	rapid.Check(t, func(rt *rapid.T) {
		format := rapid.SampledFrom([]Format{FormatBinary, FormatEvent}).Draw(rt, "format")
		before := genEvent(rt)
		before.Sink = recycled.Sink
		recordOf(before).fill(context.Background(), format, before, &timeText{})

		ev := genEvent(rt)
		ev.Sink = before.Sink
		ev.Msg.Client = &stages.Client{Name: genText(0, 300).Draw(rt, "client")}
		raw, err := proto.Marshal(asSubscriberGets(ev))
		if err != nil {
			rt.Fatal(err)
		}
		v := genVerdict(rt)
		if v.Reason == stages.MalformedEvent {
			raw = rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(rt, "raw")
		}
		topic := rapid.SampledFrom([]*stages.Topic{nil, testTopic}).Draw(rt, "topic")
		bury(ev, v, raw, topic)
		r := recordOf(ev)
		r.fill(context.Background(), format, ev, &timeText{})
		recycled.Sink = ev.Sink

		checkLetter(rt, ev, overTheWire(&r.kafka))
		if size, encoded := format.EncodedSize(ev), wireSize(&r.kafka); size < encoded || size > encoded+12*len(r.kafka.Headers)+100 {
			rt.Fatalf("EncodedSize %d, encoded %d", size, encoded)
		}
		r.handOver(true)
		r.show() // as the partitioner does
		if !r.has(oversized) {
			rt.Fatal("the promise would not let go of the letter")
		}
		r.shrink()
		if r.kafka.Key != nil || r.kafka.Value != nil || r.kafka.Headers != nil || r.headers != nil || !r.has(last) {
			rt.Fatalf("the record still has %+v", r.kafka)
		}
	})
}

// checkLetter holds a record against the event that became it.
func checkLetter(t *rapid.T, ev *stages.Event, sent *kgo.Record) {
	l, err := ReadDeadLetter(sent)
	if err != nil {
		t.Fatal(err)
	}
	letter, v := ev.Letter, &ev.Letter.Verdict
	topic, rule := "", ""
	if letter.Topic != nil {
		topic = letter.Topic.Name
	}
	if v.Detail != nil {
		rule = bounded(v.Detail.Rule, maxLetterName)
	}
	if l.Reason != v.Reason.String() || l.Stage != v.Stage.String() || l.Rule != rule || l.Topic != topic ||
		l.Client != bounded(ev.Msg.Client.Name, maxLetterName) || l.ID != string(ev.ID.Value) {
		t.Fatalf("letter %+v of verdict %+v", l, v)
	}
	if l.Message == "" || len(l.Message) > maxLetterMessage || !utf8.ValidString(l.Message) {
		t.Fatalf("message %q", l.Message)
	}
	if !l.Time.Equal(letter.At) || !l.Received.Equal(ev.Msg.Received) {
		t.Fatalf("times %v and %v", l.Time, l.Received)
	}
	if sent.Value == nil || !bytes.Equal(l.Raw, letter.Raw) || !bytes.Equal(l.Key, ev.PartitionKey.Value) || (l.Key == nil) != (len(ev.PartitionKey.Value) == 0) {
		t.Fatalf("value %q key %q", l.Raw, l.Key)
	}
	if sent.Topic != "refused" || (l.Event == nil) != (v.Reason == stages.MalformedEvent) {
		t.Fatalf("topic %s, event %v", sent.Topic, l.Event)
	}
	got, err := EventFromRecord(sent)
	if v.Reason == stages.MalformedEvent {
		if !errors.Is(err, ErrNotAnEvent) {
			t.Fatalf("no event, but a subscriber gets %v, %v", got, err)
		}
		return
	}
	if err != nil || !proto.Equal(got, l.Event) {
		t.Fatalf("a subscriber gets %v, %v; want %v", got, err, l.Event)
	}
}

// A record that was a letter and belongs to an idle event, or to another one, keeps nothing of it.
func TestLetterLeavesNothingOnTheRecord(t *testing.T) {
	for _, format := range []Format{FormatBinary, FormatEvent} {
		ev := newEvent("a", testTopic.Partitions()[0])
		bury(ev, stages.Verdict{Outcome: stages.Refused, Reason: stages.InvalidEvent}, []byte("raw"), nil)
		r := recordOf(ev)
		r.fill(t.Context(), format, ev, &timeText{})
		r.handOver(true)
		r.Release()
		if r.kafka.Value != nil || r.kafka.Headers != nil || r.headers != nil {
			t.Errorf("%s: an idle record has %+v", format, r.kafka)
		}
		r.fill(t.Context(), format, ev, &timeText{})
		next := newEvent("b", testTopic.Partitions()[0])
		next.Sink = ev.Sink
		recordOf(next).fill(t.Context(), format, next, &timeText{})
		for _, h := range r.kafka.Headers {
			if strings.HasPrefix(h.Key, "dlq_") {
				t.Errorf("%s: the next event's record has %s", format, h.Key)
			}
		}
		if r.kafka.Topic != "events" || string(r.kafka.Value) == "raw" || r.has(oversized) {
			t.Errorf("%s: the next event's record is %+v", format, r.kafka)
		}
	}
}

func TestLetterHeaders(t *testing.T) {
	ev := newEvent("id-1", testTopic.Partitions()[0])
	ev.Msg.Client = &stages.Client{Name: "10.0.0.7"}
	bury(ev, stages.Verdict{Outcome: stages.Refused, Reason: stages.SchemaViolation, Stage: stages.AtValidate, Detail: &stages.Detail{
		Field: "data/total", Message: "must be a number", Rule: "TRANSFORM_0",
		Violations: []stages.Violation{{Field: "data/total", Message: "must be a number"}, {Field: "data/id", Message: "is required"}},
	}}, []byte("raw"), testTopic)
	var got []string
	for _, h := range letterHeaders(ev) {
		got = append(got, h.Key+"="+string(h.Value))
	}
	want := []string{"content-type=" + eventContentType, "dlq_reason=SCHEMA_VIOLATION", "dlq_stage=validate",
		"dlq_message=data/total: must be a number; data/id: is required", "dlq_rule=TRANSFORM_0",
		"dlq_time=2023-11-14T22:13:20.000000005Z", "dlq_client=10.0.0.7", "dlq_topic=events", "dlq_id=id-1"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	ev.Msg.Client, ev.Letter.Topic, ev.Letter.Verdict.Detail = nil, nil, nil
	ev.Letter.Verdict.Reason = stages.MalformedEvent
	ev.ID.Value = bytes.Repeat([]byte("x"), stages.MaxAttributeBytes+1)
	got = nil
	for _, h := range letterHeaders(ev) {
		got = append(got, h.Key)
	}
	if names := strings.Join(got, " "); names != "content-type dlq_reason dlq_stage dlq_message dlq_time" {
		t.Errorf("headers of a letter of which little is known: %s", names)
	}
}

// A letter goes through franz-go to its own topic and partition, beside events.
func TestLetterIsStored(t *testing.T) {
	r := newRig(t, nil).ready()
	ev := newEvent("a", r.partition(1))
	ev.PartitionKey.Value = []byte("k")
	bury(ev, stages.Verdict{Outcome: stages.Refused, Reason: stages.InvalidEvent, Stage: stages.AtValidate}, []byte("\x0a\x01a"), nil)
	ev.Topic, ev.Partition = r.topics.Default, r.partition(1)
	ev.Msg.Kind = stages.Batch
	r.producer.Produce(r.partition(1), []*stages.Event{ev})
	r.want("a", stages.Acknowledged, stages.NoReason)
	if rec := recordOf(ev); rec.kafka.Value != nil || rec.kafka.Headers != nil || rec.headers != nil {
		t.Errorf("the record still has %+v", rec.kafka)
	}
	got := r.stored(1, 1)[0]
	l, err := ReadDeadLetter(got)
	if err != nil || l.Reason != "INVALID_EVENT" || l.ID != "a" || string(l.Key) != "k" || l.Event.GetId() != "a" {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestForeignRecordsAreNoLetters(t *testing.T) {
	r := &kgo.Record{Partition: 3, Offset: 4, Value: []byte("v"), Timestamp: time.Unix(9, 0)}
	l, err := ReadDeadLetter(r)
	if !errors.Is(err, ErrNotADeadLetter) || l.Partition != 3 || l.Offset != 4 || string(l.Raw) != "v" || !l.Time.Equal(r.Timestamp) {
		t.Errorf("%+v, %v", l, err)
	}
	r.Headers = []kgo.RecordHeader{{Key: headerLetterReason, Value: []byte("X\xff")}, {Key: headerLetterTime, Value: []byte("soon")},
		{Key: headerContentType, Value: eventContentValue}}
	l, err = ReadDeadLetter(r)
	if err != nil || l.Reason != "X\uFFFD" || !l.Time.Equal(r.Timestamp) || l.Event != nil {
		t.Errorf("%+v, %v", l, err)
	}
}

// The event of a letter is the whole one, with what a subscriber does not get: that may be the reason.
func TestLetterKeepsWhatWasWrong(t *testing.T) {
	raw, err := proto.Marshal(&eventv1.Event{Id: "a", Cursor: "forged"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := ReadDeadLetter(&kgo.Record{Value: raw, Headers: []kgo.RecordHeader{
		{Key: headerContentType, Value: eventContentValue}, {Key: headerLetterReason, Value: []byte("INVALID_EVENT")}}})
	if err != nil || l.Event.GetCursor() != "forged" || l.ID != "a" {
		t.Errorf("%+v, %v", l, err)
	}
}

// FuzzReadDeadLetter: whatever a record holds, reading it neither panics nor changes its value.
func FuzzReadDeadLetter(f *testing.F) {
	f.Fuzz(func(t *testing.T, value, key []byte, headers string) {
		l, err := ReadDeadLetter(foreignRecord(value, key, headers))
		if !bytes.Equal(l.Raw, value) || !bytes.Equal(l.Key, key) {
			t.Fatalf("value %q, key %q", l.Raw, l.Key)
		}
		for _, s := range []string{l.Reason, l.Stage, l.Message, l.Rule, l.Client, l.Topic, l.ID, l.Source} {
			if !utf8.ValidString(s) {
				t.Fatalf("%q is not valid UTF-8", s)
			}
		}
		if err != nil {
			if l.Event != nil {
				t.Fatalf("%v, and the event %v", err, l.Event)
			}
			return
		}
		if l.Reason == "" {
			t.Fatal("a letter without a reason")
		}
		if _, err := proto.Marshal(l.Event); err != nil {
			t.Fatalf("the event does not serialize: %v", err)
		}
		again := &eventv1.Event{}
		if err := proto.Unmarshal(l.Encoded(), again); err != nil || l.Event != nil && !proto.Equal(again, l.Event) {
			t.Fatalf("%v: what is sent again is %v, and not %v", err, again, l.Event)
		}
	})
}

// FuzzLetterRoundTrip: request -> decode refuses -> letter -> the event's bytes as they were sent.
func FuzzLetterRoundTrip(f *testing.F) {
	f.Fuzz(func(t *testing.T, frame []byte, batch bool) {
		m := &stages.Message{Frame: frame, Kind: stages.Single, Received: time.Unix(1, 0)}
		n := 1
		if batch {
			events, _, ok := stages.Scan(frame)
			if m.Kind, n = stages.Batch, events; !ok || events == 0 {
				m.Kind, n = stages.Malformed, 1
			}
		}
		m.Arm(n)
		letters := stages.DeadLetters{Topic: letterTopic}
		letters.On[stages.AtDecode] = true
		d := stages.NewDecoder(stages.Config{MaxEventBytes: 900_000}, letters, 0)
		d.Start(m)
		ev := &stages.Event{}
		for range n {
			d.Next(ev)
			if ev.Dead {
				ev.Topic, ev.Partition = letterTopic, letterTopic.Partitions()[ev.Shard%3]
				r := recordOf(ev)
				r.fill(context.Background(), FormatBinary, ev, &timeText{})
				sent := overTheWire(&r.kafka)
				l, err := ReadDeadLetter(sent)
				if err != nil || l.Reason != "MALFORMED_EVENT" || l.Event != nil || !bytes.Equal(l.Raw, ev.Letter.Raw) {
					t.Fatalf("%+v, %v", l, err)
				}
				if bound, size := FormatBinary.EncodedSize(ev), encodedSize(sent); size > bound {
					t.Fatalf("EncodedSize %d, encoded %d", bound, size)
				}
			}
			ev.Reset()
		}
	})
}
