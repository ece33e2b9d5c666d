package kafka

// The reader of one subscription that is behind the hub.

import (
	"fmt"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/filter"
)

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
