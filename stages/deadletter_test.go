package stages

// Dead letters: what becomes of a refused event that is kept.

import (
	"bytes"
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

func lettersOn(at ...StageID) DeadLetters {
	d := DeadLetters{Topic: NewTopic("dead", 1)}
	for _, stage := range at {
		d.On[stage] = true
	}
	return d
}

// decoded is the first event of a message, as decode leaves it.
func decoded(m *Message, letters DeadLetters) *Event {
	d := NewDecoder(Config{MaxEventBytes: MiB}, letters, 0)
	d.Start(m)
	ev := &Event{}
	d.Next(ev)
	return ev
}

// What rules have made of an event is undone, whatever it was.
func TestBuryUndoesRules(t *testing.T) {
	raw := encode(t, sample())
	other := encode(t, &eventv1.Event{Source: "s", Type: "t", PartitionKey: "k"})
	twice := append(field(nil, 1, string(raw[:0])), field(nil, 1, string(raw))...)
	for name, m := range map[string]*Message{
		"single":       newMessage(Single, request(raw), 1),
		"single twice": newMessage(Single, twice, 1),
		"batch":        newMessage(Batch, request(raw, other), 2),
	} {
		ev := decoded(m, DeadLetters{})
		shard, topic := ev.Shard, NewTopic("orders", 2)
		ev.Type.Value, ev.Subject.Value, ev.Data = []byte("x"), nil, []byte("made by a rule")
		ev.DataContentType.Value = []byte("text/plain")
		ev.Metadata = append(ev.Metadata[:0], Pair{[]byte("a"), []byte("b")})
		ev.Rekey([]byte("another"))
		ev.Topic = topic
		ev.Refuse(AtTransform, TransformFailed, &Detail{Rule: "TRANSFORM_0", Message: "no"})
		ev.Bury()

		letter := ev.Letter
		if !ev.Dead || !ev.Live() || ev.Open() || letter == nil {
			t.Fatalf("%s: dead %t, live %t, letter %v", name, ev.Dead, ev.Live(), letter)
		}
		if !bytes.Equal(letter.Raw, raw) || letter.Topic != topic || letter.Verdict.Reason != TransformFailed || letter.At.IsZero() {
			t.Errorf("%s: the letter is %+v", name, letter)
		}
		if string(ev.PartitionKey.Value) != "customer-42" || ev.Shard != shard || ev.Size != len(raw) || string(ev.Type.Value) != "order.created" ||
			string(ev.Subject.Value) != "order/4711" || len(ev.Data) != 220 || len(ev.Metadata) != 1 || ev.Topic != nil {
			t.Errorf("%s: the event is not what was sent: %+v", name, ev)
		}
		ev.Reset()
		if ev.Dead || ev.Letter != nil || ev.More {
			t.Errorf("%s: a recycled event has a letter", name)
		}
	}
}

// An id that the gateway has made stays: the answer names it.
func TestBuryKeepsTheAssignedID(t *testing.T) {
	raw := encode(t, &eventv1.Event{Source: "s", Type: "t"})
	ev := decoded(newMessage(Batch, request(raw), 1), DeadLetters{})
	id := string(ev.ID.Value)
	ev.Refuse(AtTransform, TransformFailed, nil)
	ev.Bury()
	if len(id) != 36 || string(ev.ID.Value) != id {
		t.Fatalf("the id was %q and is %q", id, ev.ID.Value)
	}
}

func TestDecodeKeepsWhatItCannotRead(t *testing.T) {
	bad := []byte("\x0a\x05abc") // an id that is longer than the event
	good := encode(t, &eventv1.Event{Source: "s", Type: "t"})
	for name, c := range map[string]struct {
		m    *Message
		want []byte
	}{
		"an event of a batch": {newMessage(Batch, request(bad, good), 2), bad},
		"a single event":      {newMessage(Single, request(bad), 1), bad},
		"a whole message":     {newMessage(Malformed, []byte("\xff\xff"), 1), []byte("\xff\xff")},
		"no field 1":          {newMessage(Single, []byte("\x0a\xff"), 1), []byte("\x0a\xff")},
	} {
		ev := decoded(c.m, lettersOn(AtDecode))
		if !ev.Dead || ev.Letter.Verdict.Reason != MalformedEvent || !bytes.Equal(ev.Letter.Raw, c.want) || ev.Size != len(c.want) {
			t.Errorf("%s: dead %t, letter %+v", name, ev.Dead, ev.Letter)
		}
		if ev := decoded(c.m, lettersOn(AtValidate)); ev.Dead || ev.Verdict.Reason != MalformedEvent {
			t.Errorf("%s: kept although DLQ_ON has no decode", name)
		}
	}
}

// Only refusals that no resend can change are kept; the client is to send the others again.
func TestWhatIsKept(t *testing.T) {
	for reason, want := range map[Reason]bool{
		InvalidEvent: true, SchemaViolation: true, SchemaNotFound: true, SchemaInvalid: true, TransformFailed: true, TransformLimit: true,
		SchemaUnavailable: false, Overloaded: false, TopicNotFound: false, InternalError: false, EventTooLarge: false,
	} {
		raw := encode(t, &eventv1.Event{Source: "s", Type: "t"})
		ev := decoded(newMessage(Batch, request(raw), 1), DeadLetters{})
		ev.Refuse(AtValidate, reason, nil)
		letters := lettersOn(AtValidate)
		letters.take(ev)
		if ev.Dead != want {
			t.Errorf("%v: kept %t, want %t", reason, ev.Dead, want)
		}
	}
	ev := liveEvents(1)[0]
	letters := lettersOn(AtValidate)
	if letters.take(ev); ev.Dead {
		t.Error("a live event was buried")
	}
}

// A dead letter passes the stages as it is, and goes to the topic of the dead letters by its key.
func TestDeadLettersPass(t *testing.T) {
	topics := NewTopics("orders", "dead")
	letters := DeadLetters{Topic: topics.Named("dead"), On: lettersOn(AtValidate).On}
	topics.Default.SetPartitions(3)
	letters.Topic.SetPartitions(5)
	raw := encode(t, &eventv1.Event{Type: "t", PartitionKey: "k"}) // no source
	ev := decoded(newMessage(Batch, request(raw), 1), DeadLetters{})
	burst := []*Event{ev}
	NewValidate(topics, ValidateParts{Letters: letters}).Process(burst)
	if !ev.Dead {
		t.Fatalf("not kept: %+v", ev.Verdict)
	}
	transform := NewTransform(topics, TransformParts{Letters: letters, Rules: ruleFunc(func(*Event) bool { panic("a rule saw a dead letter") }), Memory: &plainMemory{}})
	transform.Process(burst)
	if ev.Letter.Topic != topics.Default {
		t.Errorf("the letter was meant for %v", ev.Letter.Topic)
	}
	if ev.Topic != letters.Topic || ev.Partition.ID != int32(KeyHash([]byte("k"))%5) || !ev.Live() {
		t.Fatalf("the dead letter is at %v %v, %+v", ev.Topic, ev.Partition, ev.Verdict)
	}

	// A topic that cannot take it: what stands in the way is the answer, and a resend tries again.
	letters.Topic.SetRefusal(TopicNotFound)
	transform.Process(burst)
	mustRefuse(t, ev, AtTransform, TopicNotFound, &Detail{Message: "topic dead"})
}

// A letter that is too large for its topic is refused as it would be without one.
func TestLetterTooLarge(t *testing.T) {
	topics := NewTopics("orders", "dead")
	letters := DeadLetters{Topic: topics.Named("dead")}
	for _, topic := range topics.All {
		topic.SetPartitions(1)
	}
	letters.Topic.SetMaxMessageBytes(1000)
	raw := encode(t, &eventv1.Event{Source: "s", Type: "t"})
	ev := decoded(newMessage(Batch, request(raw), 1), DeadLetters{})
	ev.Refuse(AtValidate, InvalidEvent, &Detail{Field: "source", Message: "is bad"})
	ev.Bury()
	NewTransform(topics, TransformParts{Letters: letters, RecordSize: func(*Event) int { return 1001 }}).Process([]*Event{ev})
	mustRefuse(t, ev, AtValidate, InvalidEvent, &Detail{Field: "source", Message: "is bad; the event is too large to be kept in the dead-letter topic dead"})
	if ev.Dead {
		t.Fatal("it is still a dead letter")
	}
}

func TestRequestEventMerges(t *testing.T) {
	one, two := &eventv1.Event{Id: "1", Source: "a"}, &eventv1.Event{Source: "b", Type: "t"}
	frame := request(encode(t, one), encode(t, two))
	before := bytes.Clone(frame)
	var got eventv1.Event
	if err := proto.Unmarshal(requestEvent(frame), &got); err != nil || got.Id != "1" || got.Source != "b" || got.Type != "t" {
		t.Fatalf("merged: %v, %v", &got, err)
	}
	if !bytes.Equal(frame, before) {
		t.Fatal("the frame was written to")
	}
}
