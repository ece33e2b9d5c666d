package kafka

// Records as the source hands them in: what the gateway has written comes in as
// the same event, and what anybody else has written is taken as subscribers get
// it, or refused.

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/stages"
)

// enter takes a record through decode and validate.
func enter(r *kgo.Record, marks ...stages.Pair) *stages.Event {
	in := recordFrom(r)
	in.Marks = marks
	m := &stages.Message{Kind: stages.Records, Received: time.Unix(3, 0)}
	m.SetRecords([]stages.Record{in}, stages.RecordOptions{Origin: stages.FromSource})
	m.Arm(1)
	d := stages.NewDecoder(stages.Config{MaxEventBytes: 900_000}, stages.DeadLetters{}, 0)
	d.Start(m)
	ev := &stages.Event{}
	d.Next(ev)
	stages.NewValidate(stages.NewTopics("events"), stages.ValidateParts{}).Process([]*stages.Event{ev})
	return ev
}

// TestWhatIsWrittenComesIn: event -> record -> event, in both formats.
func TestWhatIsWrittenComesIn(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ev := genEvent(rt)
		format := rapid.SampledFrom([]Format{FormatBinary, FormatEvent}).Draw(rt, "format")
		r := recordOf(ev)
		r.fill(context.Background(), format, ev, &timeText{})
		again := enter(overTheWire(&r.kafka))
		if !again.Live() {
			rt.Fatalf("refused: %v %+v", again.Verdict.Reason, again.Verdict.Detail)
		}
		want, got := asSubscriberGets(ev), asSubscriberGets(again)
		if !proto.Equal(got, want) {
			rt.Fatalf("got  %v\nwant %v", got, want)
		}
		again.Topic, again.Partition = ev.Topic, ev.Partition
		if size, bound := format.EncodedSize(again), stages.RecordBound(again.Size); size > bound {
			rt.Fatalf("a record of up to %d bytes, above the bound of %d", size, bound)
		}
		if key := string(again.PartitionKey.Value); key != "" && again.Shard != stages.KeyHash([]byte(key)) {
			rt.Fatalf("key %q is in shard %d", key, again.Shard)
		}
	})
}

// FuzzSourceRecord: any record is an event, the same that a subscriber gets, or is refused with what is wrong.
func FuzzSourceRecord(f *testing.F) {
	f.Fuzz(func(t *testing.T, value, key []byte, headers string) {
		r := foreignRecord(value, key, headers)
		r.Topic = "in"
		ev := enter(r, stages.Pair{Name: []byte("replayed_from"), Value: []byte("in/0/0")})
		want, err := EventFromRecord(r)
		if !ev.Live() {
			if v := ev.Verdict; v.Outcome != stages.Refused || v.Reason.Code() != stages.InvalidArgument || v.Detail == nil || v.Detail.Message == "" {
				t.Fatalf("refused without a word: %+v", v)
			}
			return
		}
		if err != nil {
			t.Fatalf("taken, but a subscriber gets: %v", err)
		}
		got := asSubscriberGets(ev)
		for _, format := range []Format{FormatBinary, FormatEvent} {
			if size, bound := format.EncodedSize(ev), stages.RecordBound(ev.Size); size > bound {
				t.Fatalf("a record of up to %d bytes, above the bound of %d", size, bound)
			}
		}
		if want.Id == "" {
			want.Id = got.Id
		}
		if want.PartitionKey == "" {
			want.PartitionKey = string(key)
		}
		if want.Timestamp == nil {
			want.Timestamp = timestamppb.New(r.Timestamp)
		}
		if want.Metadata == nil {
			want.Metadata = map[string]string{}
		}
		want.Metadata["replayed_from"] = "in/0/0"
		want.Timestamp.ProtoReflect().SetUnknown(nil)
		if !proto.Equal(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
		if again := enter(r); string(again.ID.Value) != got.Id {
			t.Fatalf("id %q the first time, %q the second", got.Id, again.ID.Value)
		}
		for _, format := range []Format{FormatBinary, FormatEvent} {
			ev.Topic, ev.Partition, ev.Msg.Received = testTopic, testTopic.Partitions()[0], time.Unix(3, 0)
			checkRoundTrip(t, format, ev)
		}
	})
}

// TestRefusedRecordsAreKeptAsTheyWere: the dead letter of a record has its key, value and headers, and what is an event
// can be sent again.
func TestRefusedRecordsAreKeptAsTheyWere(t *testing.T) {
	for name, tc := range map[string]struct {
		record  kgo.Record
		isEvent bool
	}{
		"foreign": {record: kgo.Record{Key: []byte{0xff}, Value: []byte{0xfe}, Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("text/plain")}, {Key: "\xff", Value: nil}}}},
		"null":    {record: kgo.Record{Key: []byte("gone")}},
		"cloud event": {record: kgo.Record{Key: []byte("k"), Value: []byte("data"), Headers: []kgo.RecordHeader{
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_source", Value: []byte("/s")}, {Key: "dlq_reason", Value: []byte("an earlier one")}}}, isEvent: true},
		"text that is not": {record: kgo.Record{Value: []byte("data"), Headers: []kgo.RecordHeader{
			{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_source", Value: []byte{0xff}}}}},
	} {
		was := tc.record
		was.Topic, was.Partition, was.Offset = "in", 3, 42
		m := &stages.Message{Kind: stages.Records, Received: time.Unix(3, 0), Client: &stages.Client{Name: "source in"}}
		verdict := stages.Verdict{Outcome: stages.Refused, Reason: stages.InvalidEvent, Stage: stages.AtValidate, Detail: &stages.Detail{Message: "no"}}
		m.SetRecords([]stages.Record{recordFrom(&was)}, stages.RecordOptions{Origin: stages.FromSource, Refusal: &verdict})
		m.Arm(1)
		d := stages.NewDecoder(stages.Config{MaxEventBytes: 1}, stages.DeadLetters{Topic: letterTopic}, 0)
		d.Start(m)
		ev := &stages.Event{Topic: letterTopic, Partition: letterTopic.Partitions()[0]}
		if d.Next(ev); !ev.Live() || !ev.Dead {
			t.Fatalf("%s: %+v", name, ev.Verdict)
		}
		ev.Topic, ev.Partition = letterTopic, letterTopic.Partitions()[0]
		r := recordOf(ev)
		r.fill(context.Background(), FormatBinary, ev, &timeText{})
		kept := overTheWire(&r.kafka)
		if size := FormatBinary.EncodedSize(ev); size < wireSize(kept) {
			t.Errorf("%s: EncodedSize %d, encoded %d", name, size, wireSize(kept))
		}
		n := 0
		for _, h := range was.Headers {
			if h.Key == headerLetterReason {
				continue
			}
			if kept.Headers[n].Key != h.Key || string(kept.Headers[n].Value) != string(h.Value) {
				t.Errorf("%s: header %d is %q, was %q", name, n, kept.Headers[n].Key, h.Key)
			}
			n++
		}
		l, err := ReadDeadLetter(kept)
		if err != nil || string(l.Key) != string(was.Key) || string(l.Raw) != string(was.Value) || l.Reason != "INVALID_EVENT" ||
			l.Source != "in/3/42" || l.Client != "source in" || (l.Event != nil) != tc.isEvent || kept.Value == nil {
			t.Errorf("%s: %v: %+v", name, err, l)
		}
		if tc.isEvent {
			ev := ingest(requestOf(l.Encoded()), time.Unix(4, 0))
			if ev != nil || string(l.Event.Data) != "data" || l.Event.PartitionKey != "k" {
				t.Errorf("%s: taken without a type, or %v", name, l.Event)
			}
		}
	}
}

// requestOf is an encoded event as an IngestEventRequest.
func requestOf(event []byte) []byte { return appendField(nil, 1, event) }
