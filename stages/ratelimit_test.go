package stages

// The ratelimit stage: who is charged, how often, and who gets what is left.

import (
	"testing"
	"time"
)

func rateLimited(enabled bool, rps float64, burst int) *RateLimit {
	cfg := Config{RateLimitEnabled: enabled, RateLimitRPS: rps, RateLimitBurst: burst}
	return NewRateLimit(cfg, func() int64 { return int64(time.Hour) })
}

// of makes n live events of a client.
func of(c *Client, n int) []*Event {
	events := liveEvents(n)
	events[0].Msg.Client = c
	return events
}

func liveCount(events []*Event) (n int) {
	for _, ev := range events {
		if ev.Live() {
			n++
		}
	}
	return n
}

func TestRateLimitGivesTheFirstOnes(t *testing.T) {
	events := of(&Client{}, 8)
	rateLimited(true, 10, 5).Process(events)
	for i, ev := range events {
		if ev.At != AtRateLimit {
			t.Fatalf("event %d is at %v", i, ev.At)
		}
		if i < 5 {
			mustLive(t, ev)
			continue
		}
		mustRefuse(t, ev, AtRateLimit, RateLimited, nil)
		if retry := ev.Verdict.RetryAfter; retry != 100*time.Millisecond+1 {
			t.Fatalf("the advice is %v, want one interval", retry)
		}
	}
}

func TestRateLimitChargesEachClient(t *testing.T) {
	a, b := &Client{}, &Client{}
	burst := append(of(a, 3), append(of(b, 4), of(a, 3)...)...)
	rateLimited(true, 10, 4).Process(burst)
	for name, c := range map[string]struct {
		events []*Event
		live   int
	}{"a": {burst[:3], 3}, "b": {burst[3:7], 4}, "a again": {burst[7:], 1}} {
		if got := liveCount(c.events); got != c.live {
			t.Errorf("%s: %d events were allowed, want %d", name, got, c.live)
		}
	}
	mustLive(t, burst[7]) // the first of those
}

func TestRateLimitChargesOnceForABurst(t *testing.T) {
	client, r := &Client{}, rateLimited(true, 1e3, 100)
	r.Process(of(client, 60))
	if got, want := client.Limit.arrival.Load(), int64(time.Hour)+60*int64(time.Millisecond); got != want {
		t.Fatalf("60 events moved the bucket to %d, want %d", got, want)
	}
}

func TestRateLimitDoesNotChargeRefusedEvents(t *testing.T) {
	client := &Client{}
	events := of(client, 6)
	for _, i := range []int{0, 2, 4} {
		events[i].Refuse(AtValidate, InvalidEvent, nil)
	}
	r := rateLimited(true, 10, 3)
	r.Process(events)
	for i, ev := range events {
		if i%2 == 0 {
			mustRefuse(t, ev, AtValidate, InvalidEvent, nil)
		} else {
			mustLive(t, ev)
		}
		if ev.At != AtRateLimit {
			t.Fatalf("event %d is at %v", i, ev.At)
		}
	}
	refused := of(&Client{}, 2)
	for _, ev := range refused {
		ev.Refuse(AtValidate, InvalidEvent, nil)
	}
	r.Process(refused)
	if got := refused[0].Msg.Client.Limit.arrival.Load(); got != 0 {
		t.Fatalf("a burst of refused events moved the bucket to %d", got)
	}
}

func TestRateLimitSwitchedOff(t *testing.T) {
	events := of(&Client{}, 9)
	rateLimited(false, 1, 1).Process(events)
	if got := liveCount(events); got != 9 || events[8].At != AtRateLimit {
		t.Fatalf("%d of 9 events were allowed, the last is at %v", got, events[8].At)
	}
}

// A limit that can let nothing through refuses with the reason's own advice.
func TestRateLimitOfNothing(t *testing.T) {
	events := of(&Client{}, 1)
	rateLimited(true, 0, 0).Process(events)
	mustRefuse(t, events[0], AtRateLimit, RateLimited, nil)
	events[0].Msg.SetVerdict(0, events[0].Verdict)
	if got := events[0].Msg.Results[0].RetryAfterMillis; got != 1000 {
		t.Fatalf("the advice is %d ms, want that of the reason", got)
	}
}

func TestRateLimitAllocatesNothing(t *testing.T) {
	events, r := of(&Client{}, 64), rateLimited(true, 1e9, 1e9)
	if allocs := testing.AllocsPerRun(1000, func() { r.Process(events) }); allocs != 0 {
		t.Fatalf("%v allocations a burst, want none", allocs)
	}
}
