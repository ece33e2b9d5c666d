package cli

import (
	"context"
	"strings"
	"sync"
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
	type message struct {
		due, free, sent int64 // in milliseconds; free is when the gateway let the sender go on before
		slept           bool
		late            int64
	}
	for name, messages := range map[string][]message{
		"in time":                    {{10, 5, 10, true, 0}, {20, 11, 20, true, 0}},
		"woke up late":               {{10, 5, 13, true, 3}},
		"woke up late for two":       {{10, 5, 25, true, 15}, {20, 25, 25, false, 5}, {30, 25, 30, true, 0}},
		"held up by the gateway":     {{10, 5, 10, true, 0}, {20, 60, 60, false, 0}, {30, 60, 60, false, 0}},
		"held up, then slow itself":  {{10, 5, 10, true, 0}, {20, 60, 74, false, 4}, {30, 74, 74, false, 0}},
		"slower than the schedule":   {{10, 0, 10, true, 0}, {20, 10, 23, false, 3}, {30, 23, 36, false, 6}},
		"held up while it connected": {{10, 100, 100, false, 0}, {20, 100, 100, false, 0}},
	} {
		p := newPace(float64(10 * ms))
		for i, m := range messages {
			p.free, p.slept = m.free*ms, m.slept
			p.late.Reset()
			p.handed(m.due*ms, m.sent*ms)
			if got := p.late.Max() * 1000; got < m.late*ms*98/100 || got > m.late*ms*102/100+1000 {
				t.Errorf("%s, message %d: late by %d ns, want %d ms", name, i, got, m.late)
			}
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
	var sleepers sync.WaitGroup
	for range 200 { // more than can sleep precisely at once: timers must do
		sleepers.Go(func() {
			for range 20 {
				if due := j.now() + int64(500*time.Microsecond); !j.until(due, 0) || j.now() < due {
					t.Error("woke up early among many")
				}
			}
		})
	}
	sleepers.Wait()
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
