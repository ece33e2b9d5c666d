package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// Each bound holds, and the refusal says which it is.
func TestReaderSlots(t *testing.T) {
	s := newReaderSlots(16)
	take := func(who readerFor) error { return s.take(t.Context(), who, 0) }
	refused := func(who readerFor, says string) {
		t.Helper()
		if message := reasonIs(t, take(who), stages.TooManyReaders).Detail.Message; !strings.Contains(message, says) {
			t.Errorf("%+v: %q does not say %q", who, message, says)
		}
	}
	must := func(who readerFor) {
		t.Helper()
		if err := take(who); err != nil {
			t.Fatalf("%+v: %v", who, err)
		}
	}
	for range 4 {
		must(readerFor{client: "a"})
	}
	refused(readerFor{client: "a"}, "client a has 4 readers")
	refused(readerFor{client: "a", live: true}, "client a has 4 readers")
	for i := range 10 {
		must(readerFor{client: fmt.Sprint(i)})
	}
	refused(readerFor{client: "b"}, "the last 2")
	must(readerFor{client: "b", live: true})
	must(readerFor{client: "b", live: true})
	refused(readerFor{client: "b", live: true}, "16 readers")
	s.give(readerFor{client: "a"})
	refused(readerFor{client: "a"}, "the last 2")
	must(readerFor{client: "a", live: true})
	for range 4 {
		s.give(readerFor{client: "a"})
	}
	for i := range 10 {
		s.give(readerFor{client: fmt.Sprint(i)})
	}
	s.give(readerFor{client: "b"})
	s.give(readerFor{client: "b"})
	if s.inUse() != 0 || len(s.clients) != 0 {
		t.Errorf("%d slots are left, of %v", s.inUse(), s.clients)
	}
}

// However few readers there are, one client gets one.
func TestFewReaderSlots(t *testing.T) {
	for most, want := range map[int][2]int{1: {1, 0}, 3: {1, 0}, 7: {1, 0}, 8: {2, 1}, 64: {16, 8}} {
		if s := newReaderSlots(most); s.share != want[0] || s.reserve != want[1] {
			t.Errorf("of %d readers one client may have %d, %d are kept for live subscribers; want %v", most, s.share, s.reserve, want)
		}
	}
}

// No slot that is given back is overlooked: many wait for few, and all get one in the end.
func TestReaderSlotsWakeWhoWaits(t *testing.T) {
	s := newReaderSlots(4)
	var at, most atomic.Int64
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			who := readerFor{client: fmt.Sprint(i % 3), live: i%2 == 0}
			for range 20 {
				if err := s.take(t.Context(), who, patience); err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), at.Add(1)))
				at.Add(-1)
				s.give(who)
			}
		})
	}
	all.Wait()
	if most.Load() > 3 || s.inUse() != 0 { // three clients with one each
		t.Errorf("%d at once, %d are left", most.Load(), s.inUse())
	}
}

// Who waits for a slot hears why the call ends.
func TestReaderSlotsEndWithTheCall(t *testing.T) {
	s := newReaderSlots(1)
	_ = s.take(t.Context(), readerFor{}, 0)
	why := errors.New("over")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if err := s.take(ctx, readerFor{}, time.Hour); !errors.Is(err, why) {
		t.Error(err)
	}
}
