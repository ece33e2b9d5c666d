package kafka

// Subscriptions with a group against a broker in memory.

import (
	"slices"
	"strings"
	"testing"
	"time"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

func group(start stages.Start) stages.Subscription {
	return stages.Subscription{Group: "g", Start: start}
}

// union is what all of them had, and how much of it twice.
func union(subs ...*subscriber) (places []string, doubles int) {
	seen := map[string]bool{}
	for _, s := range subs {
		s.mu.Lock()
		for _, place := range s.places {
			if seen[place] {
				doubles++
				continue
			}
			seen[place] = true
			places = append(places, place)
		}
		s.mu.Unlock()
	}
	return places, doubles
}

// awaitUnion waits until the subscribers have had n different events together.
func awaitUnion(t *testing.T, n int, subs ...*subscriber) (doubles int) {
	t.Helper()
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(5 * time.Millisecond) {
		places, doubles := union(subs...)
		if len(places) >= n {
			return doubles
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d events of %d came", len(places), n)
		}
	}
}

// Members come and go while events are written: nothing is lost, and nothing comes twice as long as all of them leave
// in order.
func TestGroupsShareTheTopic(t *testing.T) {
	r := newReadRig(t, 4, nil)
	for p := range int32(4) {
		r.write(p, 0, 100)
	}
	other := r.open(nil)
	a := r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
	awaitUnion(t, 100, a)
	b := r.subscribe(other, group(stages.Start{}), nil)
	for i := 100; i < 600; i += 50 {
		for p := range int32(4) {
			r.write(p, i, i+50)
		}
		time.Sleep(20 * time.Millisecond) // so that the rebalance comes among the events; nothing depends on it
	}
	awaitUnion(t, 2400, a, b)
	a.cancel()
	_ = a.end(t)
	for p := range int32(4) {
		r.write(p, 600, 700)
	}
	doubles := awaitUnion(t, 2800, a, b)
	if len(b.places) == 0 {
		t.Error("the second member got nothing")
	}
	if doubles > 0 {
		t.Errorf("%d events came twice although every member left in order", doubles)
	}
	if name := "test.sub.g"; !r.groupExists(name) {
		t.Errorf("Kafka has no consumer group %s", name)
	}
}

func (r *readRig) groupExists(name string) bool {
	r.t.Helper()
	groups, err := r.admin.ListGroups(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return slices.Contains(groups.Groups(), name)
}

// A group that is there goes on where it was, whatever the start says; what a filter left out is done with.
func TestGroupsGoOnWhereTheyWere(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 20)
	odd := group(stages.Start{Earliest: true})
	odd.Match = func(ev *eventv1.Event) (bool, error) { return ev.Type == "t3", nil }
	s := r.subscribe(r.readers, odd, nil)
	s.await(t, 2)
	s.cancel()
	_ = s.end(t)
	r.write(0, 20, 30)
	s = r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
	s.await(t, 10)
	mustSee(t, "the next member", s.places, []int{20}, []int{30}, all)
	if cursor := s.events[0].Cursor; cursor != "" {
		t.Errorf("an event of a group has the cursor %s, which would say nothing of other members' partitions", cursor)
	}
}

// A new group that begins with what comes from now on gets all of it, also what comes before its first member has a
// partition.
func TestNewGroupsBeginWhenTheCallDoes(t *testing.T) {
	r := newReadRig(t, 2, nil)
	r.write(0, 0, 10)
	s := r.subscribe(r.readers, group(stages.Start{}), nil)
	s.started(t)
	r.write(0, 10, 20)
	r.write(1, 0, 10)
	s.await(t, 20)
	mustSee(t, "the first member", s.places, []int{10, 0}, []int{20, 10}, all)
}

// A group whose place is gone hears so once, and then goes on with what is there.
func TestGroupsWhosePlaceIsGone(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 10)
	s := r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
	s.await(t, 10)
	s.cancel()
	_ = s.end(t)
	r.write(0, 10, 30)
	r.deleteBefore(0, 25)
	s = r.subscribe(r.readers, group(stages.Start{}), nil)
	refused := reasonIs(t, s.end(t), stages.EventsExpired)
	if !strings.Contains(refused.Error(), "test.sub.g") {
		t.Errorf("%v does not name the group", refused)
	}
	s = r.subscribe(r.readers, group(stages.Start{}), nil)
	s.await(t, 5)
	mustSee(t, "the next call", s.places, []int{25}, []int{30}, all)
}

// What the client did not take is another member's: it is not committed.
func TestWhatWasNotSentIsNotCommitted(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 10)
	held := make(chan struct{})
	s := r.subscribe(r.readers, group(stages.Start{Earliest: true}), func() { <-held })
	s.started(t)
	s.cancel()
	close(held)
	_ = s.end(t)
	committed, err := r.admin.FetchOffsets(t.Context(), "test.sub.g")
	if err != nil {
		t.Fatal(err)
	}
	o, ok := committed.Lookup("events", 0)
	if !ok {
		t.Fatal("the new group has no place")
	}
	if want := int64(len(s.places)); o.At != want {
		t.Errorf("committed %d, and %d were sent", o.At, want)
	}
}
