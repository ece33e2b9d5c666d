package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// The messages of all streams together are evenly spaced.
func TestStreamsTakeTurnsOnTheSchedule(t *testing.T) {
	for _, batch := range []int{1, 10} {
		const streams, interval = 4, 4000.0 // an event of the run each microsecond
		for i := range streams {
			p := newPace(interval)
			p.ahead = interval * float64(batch) * float64(streams-1-i) / streams
			for k := range 5 {
				if got, want := p.next(batch), int64(1000*batch*(k*streams+i+1)); got != want {
					t.Errorf("stream %d, message %d of %d events: due at %d, want %d", i, k, batch, got, want)
				}
			}
		}
	}
}

func TestLatenessIsTheGeneratorsOwn(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, c := range []struct {
		name            string
		due, free, sent int64
		want            int64
	}{
		{"woke up late", 10 * ms, 5 * ms, 13 * ms, 3 * ms},
		{"held up by the gateway", 10 * ms, 30 * ms, 30 * ms, 0},
		{"held up, then slow itself", 10 * ms, 30 * ms, 34 * ms, 4 * ms},
		{"in time", 10 * ms, 5 * ms, 10 * ms, 0},
	} {
		p := newPace(1)
		p.free = c.free
		p.handed(c.due, c.sent)
		if got := p.late.Max() * 1000; got < c.want*99/100 || got > c.want*101/100+1000 {
			t.Errorf("%s: late by %d ns, want %d", c.name, got, c.want)
		}
	}
	p := newPace(0)
	p.handed(0, 5) // no schedule: nothing to be late for
}

func TestWaitForTheDueTime(t *testing.T) {
	stop, cancel := context.WithCancel(t.Context())
	j := &job{begin: time.Now(), stop: stop}
	for _, wait := range []time.Duration{0, 300 * time.Microsecond, 5 * time.Millisecond} {
		due := j.now() + int64(wait)
		if !j.until(due, 0) || j.now() < due {
			t.Errorf("%v: woke up %v early", wait, time.Duration(due-j.now()))
		}
	}
	for range cap(preciseSleepers) { // no thread is left: timers must do
		preciseSleepers <- struct{}{}
	}
	if due := j.now() + int64(time.Millisecond); !j.until(due, 0) || j.now() < due {
		t.Error("woke up early without precise sleep")
	}
	for range cap(preciseSleepers) {
		<-preciseSleepers
	}
	cancel()
	if j.until(j.now()+int64(time.Hour), 0) {
		t.Error("did not stop")
	}
}

// A slow gateway shows in the latency, not in the generator's own lateness.
func TestASlowGatewayIsLatencyAndNotLateness(t *testing.T) {
	for _, args := range []string{"--unary", "--window 1"} {
		gateway := &fake{answer: func(*eventv1.Event, int) *gatewayv1.IngestEventResponse {
			<-time.After(10 * time.Millisecond)
			return nil
		}}
		r := runJSON(t, 0, "", append(strings.Fields(args), "--address", startFake(t, gateway), "--rate", "1000", "--count", "60")...)
		if r.Late == nil || r.Late.P50 > 5 || r.Latency.P50 < 100 {
			t.Fatalf("%s: %+v, late %+v", args, r.Latency, r.Late)
		}
	}
	if r := runJSON(t, 0, "", "--address", startFake(t, &fake{}), "--count", "10"); r.Late != nil {
		t.Fatalf("late without a schedule: %+v", r.Late)
	}
}

func TestLatenessIsToldWhenItMatters(t *testing.T) {
	for p99, want := range map[float64]bool{0.9: false, 1.1: true} {
		var out strings.Builder
		if err := (&totals{Late: &lateness{P50: 0.1, P99: p99, P999: 2}}).writeText(&out); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "own lateness") != want {
			t.Errorf("p99 %v ms: %s", p99, out.String())
		}
	}
}
