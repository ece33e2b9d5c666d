package stages

// Topics, partitions, and the transform stage that settles them.

import "testing"

func TestTransformRefuses(t *testing.T) {
	topics := NewTopics("orders", "other")
	run := func() *Event {
		ev := liveEvents(1)[0]
		NewTransform(topics, TransformParts{}).Process([]*Event{ev})
		if ev.At != AtTransform {
			t.Fatalf("the event is at %v", ev.At)
		}
		return ev
	}
	mustRefuse(t, run(), AtTransform, KafkaUnavailable, nil) // before the first metadata
	topics.Default.SetPartitions(3)
	mustLive(t, run())
	for _, reason := range []Reason{TopicNotFound, TopicRecreated, KafkaUnauthorized} {
		topics.Default.SetRefusal(reason)
		ev := run()
		mustRefuse(t, ev, AtTransform, reason, &Detail{Message: "topic orders"})
		if ev.Partition != nil {
			t.Fatal("a refused event has a partition")
		}
	}
	topics.Default.SetRefusal(NoReason)
	mustLive(t, run())

	ended := liveEvents(1)[0]
	ended.Refuse(AtValidate, InvalidEvent, nil)
	NewTransform(topics, TransformParts{}).Process([]*Event{ended})
	mustRefuse(t, ended, AtValidate, InvalidEvent, nil)
	if ended.Partition != nil || ended.At != AtTransform {
		t.Fatalf("the ended event has the partition %v, at %v", ended.Partition, ended.At)
	}
}

func TestTopicKeepsItsPartitions(t *testing.T) {
	topic := NewTopic("orders", 2)
	if len(topic.Partitions()) != 0 || topic.MaxMessageBytes() != 0 || topic.Refusal() != NoReason {
		t.Fatal("a new topic knows something")
	}
	topic.SetPartitions(2)
	first := topic.Partitions()
	first[1].AddInflight(7)
	topic.SetPartitions(2)
	if &topic.Partitions()[0] != &first[0] {
		t.Fatal("the same count made a new table")
	}
	topic.SetPartitions(4)
	grown := topic.Partitions()
	if len(first) != 2 || len(grown) != 4 || grown[0] != first[0] || grown[1] != first[1] || grown[1].Inflight() != 7 {
		t.Fatal("growth replaced partitions that events in flight point at")
	}
	for i, p := range grown {
		if p.ID != int32(i) || p.Topic != topic {
			t.Fatalf("partition %d has the number %d", i, p.ID)
		}
	}
	topic.SetPartitions(1)
	if got := topic.Partitions(); len(got) != 1 || got[0] != first[0] {
		t.Fatal("shrinking replaced a partition")
	}
}

func TestTopicsByName(t *testing.T) {
	topics := NewTopics("a", "b")
	if topics.Default != topics.All[0] || topics.Named("b") != topics.All[1] || topics.Named("c") != nil {
		t.Fatal("a name leads to the wrong topic")
	}
	if topics.Named("b").Index != 1 {
		t.Fatalf("b has the index %d", topics.Named("b").Index)
	}
}

// All events of a partition meet one worker; equal numbers of two topics usually do not.
func TestRoutes(t *testing.T) {
	topics := NewTopics("a", "b")
	for _, topic := range topics.All {
		topic.SetPartitions(2)
	}
	ev := liveEvents(1)[0]
	ev.Shard = 77
	if ev.Route() != 77 {
		t.Fatalf("without a partition the route is %d, want the shard", ev.Route())
	}
	ev.Partition = topics.All[1].Partitions()[1]
	if ev.Route() != ev.Partition.Route() {
		t.Fatal("an event and its partition have different routes")
	}
	if topics.All[0].Partitions()[0].Route()%2 == topics.All[1].Partitions()[0].Route()%2 {
		t.Fatal("the partitions 0 of two topics meet on one of two workers")
	}
}

func shapedBy(topics *Topics, parts TransformParts, ev *Event) *Event {
	if parts.Memory == nil {
		parts.Memory = &plainMemory{}
	}
	NewTransform(topics, parts).Process([]*Event{ev})
	return ev
}

func TestTransformRoutesAndFilters(t *testing.T) {
	topics := NewTopics("orders", "other")
	topics.Default.SetPartitions(3)
	topics.Named("other").SetPartitions(2)
	ev := shapedBy(topics, TransformParts{Rules: ruleFunc(func(ev *Event) bool {
		ev.Topic = topics.Named("other")
		ev.Rekey([]byte("k"))
		return true
	})}, liveEvents(1)[0])
	mustLive(t, ev)
	if ev.Topic.Name != "other" || ev.Partition.ID != int32(KeyHash([]byte("k"))%2) {
		t.Fatalf("the event goes to %s/%d", ev.Topic.Name, ev.Partition.ID)
	}
	if ev.Size != 101 { // a key of one byte
		t.Fatalf("the event has %d bytes after the rule, want 101", ev.Size)
	}
	ev = shapedBy(topics, TransformParts{Rules: ruleFunc(func(ev *Event) bool { ev.Filter(AtTransform); return false })}, liveEvents(1)[0])
	if ev.Verdict.Outcome != Filtered || ev.Partition != nil {
		t.Fatalf("a filtered event is %v", ev.Verdict.Outcome)
	}
}

// With rules the record is bounded here, by the topic that was chosen, whether a rule changed the event or not.
func TestTransformBoundsRecords(t *testing.T) {
	topics := NewTopics("orders", "other")
	for _, topic := range topics.All {
		topic.SetPartitions(1)
	}
	topics.Named("other").SetMaxMessageBytes(1000)
	for _, changed := range []bool{true, false} {
		parts := TransformParts{RecordSize: func(*Event) int { return 1001 }, Rules: ruleFunc(func(ev *Event) bool {
			ev.Topic = topics.Named("other")
			return changed
		})}
		mustRefuse(t, shapedBy(topics, parts, liveEvents(1)[0]), AtTransform, EventTooLarge, &Detail{
			Message: "after the rules the event makes a record batch of up to 1001 bytes; the topic other takes 1000 (max.message.bytes)"})
	}
}

func TestWireFormat(t *testing.T) {
	topics := NewTopics("orders")
	topics.Default.SetPartitions(1)
	var seen []byte
	schema := &Schema{Prefix: []byte{0, 0, 0, 0, 7}, Check: func(ev *Event) *Detail {
		if seen = ev.Data; string(ev.Data) == "bad" {
			return &Detail{Message: "not good"}
		}
		return nil
	}}
	event := func() *Event {
		ev := liveEvents(1)[0]
		ev.Data, ev.Schema, ev.More = []byte("data"), schema, true
		return ev
	}
	ev := shapedBy(topics, TransformParts{}, event())
	if mustLive(t, ev); string(ev.Data) != "\x00\x00\x00\x00\x07data" || ev.Size != 105 || seen != nil {
		t.Fatalf("data %q, %d bytes, checked again %t", ev.Data, ev.Size, seen != nil)
	}
	// What a rule has made must match the schema that the prefix names.
	becomes := func(data string) Rules {
		return ruleFunc(func(ev *Event) bool { ev.Data = []byte(data); return true })
	}
	ev = shapedBy(topics, TransformParts{Rules: becomes("better")}, event())
	if mustLive(t, ev); string(ev.Data) != "\x00\x00\x00\x00\x07better" || string(seen) != "better" {
		t.Fatalf("data %q, checked %q", ev.Data, seen)
	}
	mustRefuse(t, shapedBy(topics, TransformParts{Rules: becomes("bad")}, event()), AtTransform, SchemaViolation, &Detail{Message: "not good"})
	mustRefuse(t, shapedBy(topics, TransformParts{Memory: &plainMemory{none: true}}, event()), AtTransform, Overloaded,
		&Detail{Message: "the memory for what rules write is taken (MAX_INFLIGHT_BYTES)"})
}
