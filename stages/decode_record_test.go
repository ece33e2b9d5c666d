package stages

// The front end for records; that it is the inverse of how records are written
// is held in package kafka, which writes them.

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// cloudRecord is a CloudEvent in binary mode with more headers: name, value, name, value.
func cloudRecord(more ...string) Record {
	r := Record{Key: []byte("k"), Value: []byte("data"), Topic: "in", Partition: 3, Offset: 42,
		Headers: []Attribute{{"ce_specversion", []byte("1.0")}, {"ce_source", []byte("/s")}, {"ce_type", []byte("t")}}}
	for i := 0; i < len(more); i += 2 {
		r.Headers = append(r.Headers, Attribute{more[i], []byte(more[i+1])})
	}
	return r
}

// decodeRecord takes one record through decode and validate.
func decodeRecord(r Record, o RecordOptions, letters DeadLetters) *Event {
	m := newMessage(Records, nil, 1)
	m.SetRecords([]Record{r}, o)
	d := NewDecoder(unbounded, letters, 0)
	d.Start(m)
	ev := &Event{}
	d.Next(ev)
	NewValidate(NewTopics("events"), ValidateParts{Letters: letters}).Process([]*Event{ev})
	return ev
}

func TestRecordsAreRefusedWithWhatIsWrong(t *testing.T) {
	withoutVersion, foreignVersion, key := cloudRecord(), cloudRecord("ce_specversion", "0.3"), cloudRecord()
	withoutVersion.Headers = withoutVersion.Headers[1:]
	key.Key = []byte{0xff}
	for name, tc := range map[string]struct {
		record Record
		at     StageID
		reason Reason
		detail Detail
	}{
		"no event":      {withoutVersion, AtDecode, MalformedEvent, Detail{Message: "the record is no event: it has neither the header ce_specversion nor the content type of event.v1.Event"}},
		"other version": {foreignVersion, AtDecode, MalformedEvent, Detail{Field: "ce_specversion", Message: `is "0.3"; only 1.0 is known`}},
		"no time":       {cloudRecord("ce_time", "now"), AtDecode, MalformedEvent, Detail{Field: "ce_time", Message: `is "now", which is no time in the format of RFC 3339`}},
		"endless time": {cloudRecord("ce_time", "2020-01-01T00:00:00."+strings.Repeat("0", 100)+"Z"), AtDecode, MalformedEvent,
			Detail{Field: "ce_time", Message: `is "2020-01-01T00:00:00.00000000000000000000", which is no time in the format of RFC 3339`}},
		"key that is no text":     {key, AtValidate, MalformedEvent, Detail{Field: "partition_key", Message: "is not valid UTF-8"}},
		"type that is no text":    {cloudRecord("ce_type", notUTF8), AtValidate, MalformedEvent, Detail{Field: "type", Message: "is not valid UTF-8"}},
		"metadata that is none":   {cloudRecord("md_x", notUTF8), AtValidate, MalformedEvent, Detail{Field: "metadata", Message: "is not valid UTF-8"}},
		"no source":               {cloudRecord("ce_source", ""), AtValidate, InvalidEvent, Detail{Field: "source", Message: "is required: say which service or device the event comes from"}},
		"a year before the first": {cloudRecord("ce_time", "0000-01-01T00:00:00Z"), AtValidate, InvalidEvent, Detail{Field: "timestamp", Message: "has -62167219200 seconds; the years 1 to 9999 are allowed"}},
	} {
		t.Run(name, func(t *testing.T) {
			mustRefuse(t, decodeRecord(tc.record, RecordOptions{}, DeadLetters{}), tc.at, tc.reason, &tc.detail)
		})
	}
}

// TestIDsOfRecords: they are part of the contract, since consumers tell repeats by them.
func TestIDsOfRecords(t *testing.T) {
	ev := decodeRecord(cloudRecord(), RecordOptions{}, DeadLetters{})
	mustLive(t, ev)
	if id := string(ev.ID.Value); id != "9c2d238e-6f12-5351-ad18-de4a451925db" {
		t.Errorf("the id of in/3/42 is %s", id)
	}
	if id, _ := ev.Msg.EventID(0); string(id) != string(ev.ID.Value) {
		t.Errorf("the answer says %s", id)
	}
	if ev = decodeRecord(cloudRecord("ce_id", "mine"), RecordOptions{}, DeadLetters{}); string(ev.ID.Value) != "mine" {
		t.Errorf("the id is %s", ev.ID.Value)
	}
}

// TestTimesOfRecords: the event's own, else the record's, else that of receipt.
func TestTimesOfRecords(t *testing.T) {
	r := cloudRecord()
	if ev := decodeRecord(r, RecordOptions{}, DeadLetters{}); !ev.Time().Equal(ev.Msg.Received) {
		t.Errorf("%v", ev.Time())
	}
	r.Timestamp = time.UnixMilli(1_700_000_000_123)
	if ev := decodeRecord(r, RecordOptions{}, DeadLetters{}); !ev.Time().Equal(r.Timestamp) {
		t.Errorf("%v", ev.Time())
	}
	own := cloudRecord("ce_time", "2020-01-02T03:04:05.000000006+01:00")
	own.Timestamp = r.Timestamp
	if ev := decodeRecord(own, RecordOptions{}, DeadLetters{}); !ev.Time().Equal(time.Date(2020, 1, 2, 2, 4, 5, 6, time.UTC)) {
		t.Errorf("%v", ev.Time())
	}
}

// TestMarksComeOnTop: an event with all the metadata that it may have can be marked, and one with too much is refused, however
// many headers it has.
func TestMarksComeOnTop(t *testing.T) {
	full := func(n int) Record {
		r := cloudRecord("md_replayed_from", "an/old/one")
		for i := range n - 1 {
			r.Headers = append(r.Headers, Attribute{fmt.Sprint("md_", i), []byte(strings.Repeat("x", 200))})
		}
		r.Marks = []Pair{{[]byte("replayed_from"), []byte("in/3/42")}, {[]byte("replay"), []byte(strings.Repeat("y", MaxMetadataBytes))}}
		return r
	}
	ev := decodeRecord(full(MaxMetadataEntries+1), RecordOptions{}, DeadLetters{}) // one of them is a mark itself
	mustLive(t, ev)
	if n := len(ev.Metadata); n != MaxMetadataEntries+2 || string(ev.Metadata[0].Value) != "in/3/42" {
		t.Errorf("%d entries, the first is %s", n, ev.Metadata[0].Value)
	}
	if d := CheckEvent(ev); d != nil { // what rules ask for
		t.Errorf("%+v", d)
	}
	for _, n := range []int{MaxMetadataEntries + 2, MaxMetadataEntries + 5, 100_000} {
		began := time.Now()
		ev := decodeRecord(full(n), RecordOptions{}, DeadLetters{})
		if ev.Live() || ev.Verdict.Reason != InvalidEvent || len(ev.Metadata) > MaxMetadataEntries+1+2*MaxMarks {
			t.Errorf("%d entries: %+v, %d are kept", n, ev.Verdict, len(ev.Metadata))
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%d headers took %v", n, took)
		}
	}
}

// TestLettersOfRecords: what the caller says counts, and not DLQ_ON.
func TestLettersOfRecords(t *testing.T) {
	letters := DeadLetters{Topic: NewTopic("dead", 1)}
	letters.On[AtValidate] = true
	for _, tc := range []struct {
		policy           LetterPolicy
		malformed, other bool
	}{{LettersOfStages, false, true}, {AllLetters, true, true}, {NoLetters, false, false}} {
		o := RecordOptions{Letters: tc.policy}
		malformed, other := decodeRecord(cloudRecord("ce_time", "now"), o, letters), decodeRecord(cloudRecord("ce_type", ""), o, letters)
		if malformed.Dead != tc.malformed || other.Dead != tc.other {
			t.Errorf("policy %d: %v %v", tc.policy, malformed.Dead, other.Dead)
		}
		if other.Dead && (other.Letter.Record == nil || string(other.Letter.Raw) != "data" || string(other.PartitionKey.Value) != "k" || other.Shard != KeyHash([]byte("k"))) {
			t.Errorf("%+v", other.Letter)
		}
	}
	refusal := Verdict{Outcome: Refused, Reason: RecordRejected, Stage: AtProduce}
	if ev := decodeRecord(cloudRecord(), RecordOptions{Refusal: &refusal}, letters); !ev.Dead || ev.Letter.Verdict.Reason != RecordRejected {
		t.Errorf("%+v", ev.Verdict)
	}
	mustRefuse(t, decodeRecord(cloudRecord(), RecordOptions{Refusal: &refusal}, DeadLetters{}), AtProduce, RecordRejected, nil)
}

// TestFlowBreaks: by what an outcome means, in the order of positions.
func TestFlowBreaks(t *testing.T) {
	for _, tc := range []struct {
		v                 Verdict
		usual, whenStrict bool
	}{
		{Verdict{Outcome: Acknowledged}, false, false}, {Verdict{Outcome: Filtered}, false, false},
		{Verdict{Outcome: Unknown, Reason: OutcomeUnknown}, true, true}, {Verdict{Outcome: Refused, Reason: Overloaded}, true, true},
		{Verdict{Outcome: Refused, Reason: InvalidEvent}, false, true}, {Verdict{Outcome: Refused, Reason: InvalidEvent, RetryAfter: 1}, true, true},
		{Verdict{Outcome: Refused, Reason: TopicNotFound, Stage: AtTransform}, true, true}, {Verdict{Outcome: Refused, Reason: KafkaUnauthorized, Stage: AtProduce}, true, true},
		{Verdict{Outcome: Refused, Reason: InternalError, Stage: AtProduce}, true, true}, {Verdict{Outcome: Refused, Reason: InternalError, Stage: AtTransform}, false, true},
	} {
		for strict, want := range map[bool]bool{false: tc.usual, true: tc.whenStrict} {
			f := NewFlow(strict)
			f.note(5, &tc.v)
			if f.Broken() != want || f.stops(6) != want || f.stops(5) || f.stops(4) {
				t.Errorf("%v %v, strict %v: broken %v", tc.v.Outcome, tc.v.Reason, strict, f.Broken())
			}
		}
	}
	f := NewFlow(false)
	f.Break(7)
	f.Break(3)
	f.Break(5)
	if !f.stops(4) || f.stops(3) {
		t.Error("the first break does not count")
	}
	if f.Mend(); f.Broken() || f.stops(1<<62) {
		t.Error("still broken")
	}
}
