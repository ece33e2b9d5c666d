package kafka

// The reader of one subscription that is behind the hub.

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/filter"
)

// What would look like a heartbeat is no event, for a reader of the past, for the hub, and in a group.
func TestSubscribersAreNotSentWhatHasNoAttributes(t *testing.T) {
	r := newReadRig(t, 1, nil)
	nothing := func(header, value string) *kgo.Record {
		return &kgo.Record{Headers: []kgo.RecordHeader{{Key: header, Value: []byte(value)}}}
	}
	write := func(from int) {
		t.Helper()
		records := []*kgo.Record{eventRecord(0, from), nothing(headerSpecVersion, "1.0"), nothing(headerContentType, eventContentType), eventRecord(0, from+1)}
		if err := r.client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	past := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
	past.await(t, 2)
	live := r.subscribe(r.readers, stages.Subscription{}, nil)
	live.started(t)
	member := r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
	member.await(t, 2)
	write(2)
	past.await(t, 4)
	member.await(t, 4)
	live.await(t, 2)
	mustSee(t, "from the beginning", past.places, []int{0}, []int{4}, all)
	mustSee(t, "live", live.places, []int{2}, []int{4}, all)
	mustSee(t, "in a group", member.places, []int{0}, []int{4}, all)
	if n := r.readers.metrics.skipped.Load(); n == 0 {
		t.Error("what is no event was not counted")
	}
}

// A filter that fails on an event of the past ends the subscription there: what matched before it was delivered.
func TestEventsOfThePastBeforeAFilterThatFails(t *testing.T) {
	const bad, total = 301, 300 + 2*history // the tail of one who resumes begins behind bad
	r := newReadRig(t, 1, nil)
	r.write(0, 0, total)
	match, err := filter.Compile(nil, nil, fmt.Sprintf("int(id) %% 2 == 0 || 10 / (%d - int(id)) > 100", bad))
	if err != nil {
		t.Fatal(err)
	}
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}, Match: match}, nil)
	_ = reasonIs(t, s.end(t), stages.FilterLimit)
	mustSee(t, "until the filter failed", s.places, []int{0}, []int{bad}, func(i int) bool { return i%2 == 0 })
	if n := r.readers.metrics.fromReaders.Load(); n != uint64(len(s.places)) {
		t.Errorf("%d of %d events came from a reader of the past", n, len(s.places))
	}
}
