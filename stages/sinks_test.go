package stages

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func sinkEvents(n int) []*Event {
	m := &Message{Received: time.Unix(1, 0)}
	events := make([]*Event, n)
	for i := range events {
		events[i] = &Event{Msg: m, Data: []byte("h\u00e4\n")}
		events[i].ID.Value, events[i].Source.Value, events[i].Type.Value = []byte{'a' + byte(i)}, []byte("/s"), []byte("t")
	}
	return events
}

func TestDiscardAcknowledgesWithRisingOffsetsPerPartition(t *testing.T) {
	topics := NewTopics("a", "b")
	reported := 0
	d := NewDiscard(topics, 2, func(events []*Event) {
		reported += len(events)
		for _, ev := range events {
			if ev.Ack.Verdict.Outcome != Acknowledged {
				t.Errorf("%+v", ev.Ack)
			}
		}
	})
	if n := len(topics.All[1].Partitions()); n != 2 {
		t.Fatalf("%d partitions", n)
	}
	one, other := topics.All[0].Partitions()[1], topics.All[1].Partitions()[1]
	events := sinkEvents(6)
	d.Produce(one, events[:2])
	d.Produce(other, events[2:3])
	d.Produce(one, events[3:])
	for i, want := range []int64{0, 1, 0, 2, 3, 4} {
		if a := events[i].Ack; a.Offset != want || a.Partition != 1 {
			t.Errorf("event %d: %+v, want offset %d", i, a, want)
		}
	}
	if reported != 6 {
		t.Errorf("%d reported", reported)
	}
}

func TestLogSinkWritesALineAnEvent(t *testing.T) {
	var out bytes.Buffer
	topics := NewTopics("a")
	s := NewLogSink(topics, 1, &out, func([]*Event) {})
	events := sinkEvents(2)
	events[1].Data = []byte{0xff, 0}
	events[1].Metadata = []Pair{{Name: []byte("n"), Value: []byte("v")}}
	s.Produce(topics.Default.Partitions()[0], events)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("%q", out.String())
	}
	var first, second map[string]any
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &first), json.Unmarshal([]byte(lines[1]), &second)); err != nil {
		t.Fatal(err)
	}
	if first["data_text"] != "h\u00e4\n" || first["id"] != "a" || first["timestamp"] != "1970-01-01T00:00:01Z" {
		t.Errorf("%v", first)
	}
	if second["data"] != "/wA=" || second["metadata"].(map[string]any)["n"] != "v" {
		t.Errorf("%v", second)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestLogSinkThatCannotWriteAnswersUnknown(t *testing.T) {
	topics := NewTopics("a")
	reported := 0
	s := NewLogSink(topics, 1, brokenWriter{}, func(events []*Event) {
		reported += len(events)
		for _, ev := range events {
			if v := ev.Ack.Verdict; v.Outcome != Unknown || v.Reason != OutcomeUnknown {
				t.Errorf("%+v", v)
			}
		}
	})
	s.Produce(topics.Default.Partitions()[0], sinkEvents(3))
	if reported != 3 {
		t.Errorf("%d reported", reported)
	}
}
