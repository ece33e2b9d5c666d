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
