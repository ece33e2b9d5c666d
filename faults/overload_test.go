//go:build faults

package faults

// More than the gateway or Kafka can take: a flood over a narrow line, a
// neighbour who sends a hundred times his share, and clients that hold
// streams, reset them or post slowly, with a well-behaved load beside them.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

// takes is how many events a second go through the narrow line of the overload cells.
const takes = 5000

func overloadCells() []cell {
	narrow := cell{on: fake, proxied: true, hurt: overload(1500*time.Millisecond, 6*time.Second), alive: 10 * time.Second,
		load: rig.Load{Rate: takes * 9 / 10, Unary: 4}, rules: ledger.Rules{Least: ledger.Counts{Acknowledged: 500}},
		// The times of production: the answers to what is queued behind a narrow line take seconds.
		settings: []string{"DELIVERY_TIMEOUT=25s", "KAFKA_WRITE_TIMEOUT=10s", "KAFKA_READ_TIMEOUT=10s", "BREAKER_OPEN_AFTER=5s",
			"SHUTDOWN_TIMEOUT=20s", "CLIENT_MAX_INFLIGHT_BYTES=0"}}
	small, usual, few := narrow, narrow, narrow
	small.name, small.ci = "O1", true
	small.fault = "10 times more than Kafka takes, 8 MiB in flight"
	small.settings = append([]string{"MAX_INFLIGHT_BYTES=8MiB"}, narrow.settings...)
	usual.name, usual.fault = "O1d", "10 times more than Kafka takes, 64 MiB in flight"
	usual.hurt = overload(12*time.Second, 24*time.Second) // 64 MiB wait for eleven seconds before such a line
	few.name, few.fault, few.partitions = "O1p", "10 times more than Kafka takes, 3 partitions", 3
	few.settings = small.settings
	calm := ledger.Rules{LeastDoubt: 1, Least: some}
	return []cell{small, usual, few,
		{name: "O2", fault: "one client of a hundred sends 100 times as much as the others", on: fake, restarts: true,
			rules: ledger.Rules{Least: some}, hurt: neighbour(99, rig.Load{})},
		{name: "O3", fault: "streams that never read their answers", on: fake, settings: []string{"SEND_TIMEOUT=2s"},
			rules: calm, hurt: neverRead, seen: undisturbed},
		{name: "O4", fault: "10,000 idle streams", on: fake, rules: ledger.Rules{Least: some}, hurt: idle, seen: undisturbed},
		{name: "O5", fault: "a thousand streams opened and reset a second", on: fake, rules: calm, hurt: func(x *run) {
			x.beside("churn", func() string {
				lasting := x.span(6*time.Second, 60*time.Second)
				n := rig.Churn(x, x.ledger, x.gateway.GRPC, 1000, lasting)
				return fmt.Sprintf("%d streams opened and reset, %.0f/s", n, float64(n)/lasting.Seconds())
			})
		}, seen: undisturbed},
		{name: "O6", fault: "20,000 rapid resets on one connection, then slow posts", on: fake, rules: ledger.Rules{Least: some},
			hurt: resetsAndSlowPosts, seen: undisturbed},
	}
}

// undisturbed holds the well-behaved clients of a cell to what they were promised: everything acknowledged.
func undisturbed(x *run, _ *ledger.Verdict) {
	if n := x.load.Count(); n.Acknowledged != n.Sent {
		x.Errorf("clients that did nothing wrong: %+v; reasons of all: %v", n, x.ledger.Reasons())
	}
}

// overload measures what comes through a narrow line without and with ten times as much before it. The times are of
// the short form: until the budget is full, and of the measurement.
func overload(fill, measure time.Duration) func(x *run) {
	return func(x *run) {
		bytes := x.bytesPerEvent()
		base, _ := x.gateway.Resources()
		rate := int(bytes * takes / 1024)
		x.broker.Proxies[0].Toxic("bandwidth", rig.Upstream, 1, map[string]int{"rate": rate})
		x.lasts(500*time.Millisecond, 3*time.Second)
		calm := x.throughput(3*time.Second, 20*time.Second)

		calls := &rig.Calls{}
		flood := rig.StartLoad(x, x.ledger, rig.Load{Name: "flood-", Address: x.gateway.GRPC, Rate: takes * 10, Unary: 96, Streams: 8,
			Batches: 16, BatchSize: 200, Window: 1 << 14, Dial: func(n int) []grpc.DialOption {
				return append(calls.Dial(n), rig.From(1, n))
			}})
		offered := time.Now()
		queue, stop := x.highest("gateway_admission_queue")
		received, stopToo := x.highest("gateway_receive_memory_bytes")
		x.lasts(fill, 15*time.Second)
		under := time.Now()
		flooded := x.throughput(measure, 60*time.Second)
		ended := time.Now()
		stop()
		stopToo()
		now, _ := x.gateway.Resources()
		inflight := int64(x.gateway.Metrics().Sum("gateway_inflight_bytes_limit"))
		flood.Stop(rig.Patience)
		x.broker.Proxies[0].Clear()

		x.say("line of %d KB/s, %.0f bytes an event; acknowledged a second: %s without, %s with the flood: %.2f of it",
			rate, bytes, calm, flooded, flooded.mean/calm.mean)
		sent, wanted := flood.Count(), takes*10*time.Since(offered).Seconds()
		x.say("the flood wanted to send %.0f events and sent %d: %+v; %d were waiting for admission at most", wanted, sent.Sent, sent, *queue)
		x.say("resident memory %d MiB before, %d MiB with the flood, peak %d MiB; in flight %d MiB at most, received and not admitted %d MiB",
			base.Bytes>>20, now.Bytes>>20, now.Peak>>20, inflight>>20, *received>>20)
		x.callsUnderLoad(calls.Between(under, ended))
		x.overloadBounds(overloadSeen{calm.mean, flooded.mean, float64(sent.Sent), wanted, *queue, now.Peak,
			// As docs/operations.md says: events take more than their charge in the Kafka client, and the collector lets
			// the heap double.
			base.Peak + 3*(inflight+int64(*received)) + 64<<20})
	}
}

// overloadSeen is what a flood has led to: events a second, events, messages, bytes.
type overloadSeen struct {
	calm, flooded, sent, wanted float64
	queue                       int
	peak, bound                 int64
}

// overloadBounds are generous: how it went is in the lines above.
func (x *run) overloadBounds(is overloadSeen) {
	x.Helper()
	if is.flooded < 0.7*is.calm {
		x.Errorf("goodput fell to %.2f of what it was without the flood", is.flooded/is.calm)
	}
	if is.sent > is.wanted/2 {
		x.Errorf("the flood sent %.0f of %.0f events, nothing held it back", is.sent, is.wanted)
	}
	if is.queue == 0 {
		x.Error("nothing waited for admission: this was no overload")
	}
	if is.peak > is.bound {
		x.Errorf("P9: peak memory %d MiB, bound %d MiB", is.peak>>20, is.bound>>20)
	}
	if streams := x.ledger.Count(ledger.Stream, ledger.Batch); streams.Refused > 0 {
		x.Errorf("%d events of streams were refused, where flow control slows them: %v", streams.Refused, x.ledger.Reasons())
	}
}

// callsUnderLoad holds the unary calls of a flood to the rules.
func (x *run) callsUnderLoad(calls []rig.Call) {
	x.Helper()
	var refused []time.Duration
	accepted := 0
	for _, c := range calls {
		switch {
		case c.Code == codes.OK:
			accepted++
		case c.Code == codes.ResourceExhausted && (c.Reason == "OVERLOADED" || c.Reason == "CLIENT_OVERLOADED") && c.Retry:
			refused = append(refused, c.Took)
		default:
			x.Errorf("a unary call under load ended with %v %q (RetryInfo: %t): %s", c.Code, c.Reason, c.Retry, c.Text)
		}
	}
	slices.Sort(refused)
	longest := time.Duration(0)
	if len(refused) > 0 {
		longest = refused[len(refused)-1]
	}
	x.say("unary: %d acknowledged, p50 %v, p99 %v; %d refused with RetryInfo, after %v at most", accepted,
		rig.Latency(calls, 0.5).Round(time.Millisecond), rig.Latency(calls, 0.99).Round(time.Millisecond), len(refused), longest.Round(time.Millisecond))
	// They take turns with the streams, which wait as long as it takes. Whether one waits too long depends on how what
	// goes out comes back: piece by piece or seconds' worth at a time.
	if accepted == 0 {
		x.Errorf("no unary call was acknowledged, %d were refused: they got no turn", len(refused))
	}
	if p99 := rig.Latency(calls, 0.99); p99 > 250*time.Millisecond+25*time.Second {
		x.Errorf("p99 of acknowledged calls is %v, more than ADMISSION_TIMEOUT and DELIVERY_TIMEOUT together", p99)
	}
}

// bytesPerEvent is what an event of the cell's load takes on the way to Kafka.
func (x *run) bytesPerEvent() float64 {
	before := x.gateway.Metrics()
	x.lasts(time.Second, 5*time.Second)
	after := x.gateway.Metrics()
	const written, events = "gateway_kafka_written_bytes_total", "gateway_events_total"
	n := after.Sum(events, `outcome="acknowledged"`) - before.Sum(events, `outcome="acknowledged"`)
	if n < 100 {
		x.Fatalf("only %.0f events were acknowledged before the line became narrow", n)
	}
	return (after.Sum(written) - before.Sum(written)) / n
}

// rates is a rate over some time: the whole, and slices of it.
type rates struct {
	mean   float64
	slices []float64
}

func (r rates) String() string {
	sorted := slices.Sorted(slices.Values(r.slices))
	return fmt.Sprintf("%.0f (slices: median %.0f, %.0f to %.0f)", r.mean, sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1])
}

// throughput counts the acknowledged events of all in ten slices of the time. Slices of less than some seconds vary
// much: what waits before a narrow line is acknowledged in large batches.
func (x *run) throughput(short, full time.Duration) (r rates) {
	const parts = 10
	first, began := x.ledger.Count().Acknowledged, time.Now()
	last, at := first, began
	for range parts {
		x.lasts(short/parts, full/parts)
		n, now := x.ledger.Count().Acknowledged, time.Now()
		r.slices = append(r.slices, float64(n-last)/now.Sub(at).Seconds())
		last, at = n, now
	}
	r.mean = float64(last-first) / at.Sub(began).Seconds()
	return r
}

// highest follows a metric until stop.
func (x *run) highest(name string) (value *int, stop func()) {
	value = new(int)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-end:
				return
			case <-tick.C:
				*value = max(*value, int(x.gateway.Metrics().Sum(name)))
			}
		}
	}()
	return value, func() { close(end); <-ended }
}

// neighbour lets one client send far more than each of the polite others, on and off.
func neighbour(polite int, noise rig.Load) func(x *run) {
	return func(x *run) { besideNoise(x, polite, noise) }
}

func besideNoise(x *run, polite int, noise rig.Load) {
	x.load.Stop(rig.Patience) // it comes from one host, and the runner needs it without limits
	x.restart(10*time.Second, 0)
	x.gateway.Settings = append(x.gateway.Settings, "RATE_LIMIT_ENABLED=true", "RATE_LIMIT_RPS=100", "RATE_LIMIT_BURST=100",
		"CLIENT_MAX_INFLIGHT_BYTES=0")
	x.gateway.Start().Ready()
	calls := &rig.Calls{}
	x.load = rig.StartLoad(x, x.ledger, rig.Load{Name: "polite-", Address: x.gateway.GRPC, Unary: polite, Streams: -1, Batches: -1, Rate: 10 * polite,
		Dial: func(n int) []grpc.DialOption { return append(calls.Dial(n), rig.From(1, n)) }})
	if err := x.load.Fresh(rig.Patience); err != nil {
		x.Fatal(err)
	}
	loud := &rig.Calls{}
	noise.Name, noise.Address, noise.Rate = "noisy-", x.gateway.GRPC, 1000
	noise.Dial = func(n int) []grpc.DialOption { return append(loud.Dial(n), rig.From(2, 0)) }
	noisy := rig.StartLoad(x, x.ledger, noise)
	var alone, beside []time.Duration
	for range 3 {
		for _, on := range []bool{false, true} {
			if noisy.Pause(); on {
				noisy.Resume()
			}
			began := time.Now()
			x.lasts(1500*time.Millisecond, 10*time.Second)
			p99 := rig.Latency(calls.Between(began, time.Now()), 0.99)
			if on {
				beside = append(beside, p99)
			} else {
				alone = append(alone, p99)
			}
		}
	}
	noisy.Stop(rig.Patience)
	slices.Sort(alone)
	slices.Sort(beside)
	x.say("p99 of %d clients with 10 calls a second each: %v alone, %v beside one with 1000 events a second: %.2f times; all slices %v %v",
		polite, alone[1], beside[1], float64(beside[1])/float64(alone[1]), alone, beside)
	if n := x.load.Count(); n.Refused+n.Unknown+n.NoAnswer > 0 {
		x.Errorf("of the polite clients: %+v", n)
	}
	limited := 0
	for _, c := range loud.All() {
		switch {
		case c.Code == codes.OK:
		case c.Code == codes.ResourceExhausted && c.Reason == "RATE_LIMITED" && c.Retry:
			limited++
		default:
			x.Errorf("a call of the noisy client ended with %v %q (RetryInfo: %t): %s", c.Code, c.Reason, c.Retry, c.Text)
		}
	}
	n := noisy.Count()
	x.say("the noisy client: %+v; %d of its calls refused with RetryInfo", n, limited)
	if limited == 0 || n.Refused < n.Acknowledged {
		x.Errorf("the noisy client's share: %+v", n)
	}
	if beside[1] > max(5*alone[1], 250*time.Millisecond) {
		x.Errorf("the p99 of the others went from %v to %v", alone[1], beside[1])
	}
}

// beside measures a well-behaved client's calls before and while something bad goes on.
func (x *run) beside(what string, bad func() string) {
	calls := &rig.Calls{}
	probe := rig.StartLoad(x, x.ledger, rig.Load{Name: what + "-probe-", Address: x.gateway.GRPC, Unary: 4, Streams: -1, Batches: -1, Rate: 200,
		Dial: calls.Dial})
	if err := probe.Fresh(rig.Patience); err != nil {
		x.Fatal(err)
	}
	began := time.Now()
	x.lasts(2*time.Second, 10*time.Second)
	during := time.Now()
	text := bad()
	alone, beside := calls.Between(began, during), calls.Between(during, time.Now())
	probe.Stop(rig.Patience)
	x.say("%s; other calls: p99 %v before, %v beside", text, rig.Latency(alone, 0.99).Round(10*time.Microsecond),
		rig.Latency(beside, 0.99).Round(10*time.Microsecond))
	if n := probe.Count(); n.Acknowledged != n.Sent || n.Sent < 50 {
		x.Errorf("beside %s: %+v", what, n)
	}
}

func neverRead(x *run) {
	x.beside("streams nobody reads", func() string {
		const n = 8
		deaf := rig.NeverRead(x, x.ledger, x.gateway.GRPC, n)
		began := time.Now()
		cut := func() bool { return x.gateway.Metrics().Sum("gateway_grpc_slow_clients_total") == n }
		if !rig.Within(15*time.Second, cut) {
			x.Errorf("gateway_grpc_slow_clients_total is %.0f, want %d", x.gateway.Metrics().Sum("gateway_grpc_slow_clients_total"), n)
		}
		took := time.Since(began)
		reasons := deaf.Read()
		for _, reason := range reasons {
			if reason != "SLOW_CLIENT" {
				x.Errorf("a stream whose answers nobody read ended with %s", reason)
			}
		}
		return fmt.Sprintf("%d streams cut after %v (SEND_TIMEOUT=2s): %s", n, took.Round(time.Millisecond), strings.Join(slices.Compact(slices.Sorted(slices.Values(reasons))), " "))
	})
}

func idle(x *run) {
	n := x.times(3000, 10_000)
	var closing func() int
	x.beside("idle streams", func() string {
		before, _ := x.gateway.Resources()
		began := time.Now()
		closing = rig.Idle(x, x.ledger, x.gateway.GRPC, n, 250)
		opened := time.Since(began)
		if !rig.Within(5*time.Second, func() bool { // each is one goroutine: the senders are gone
			r, ok := x.gateway.Resources()
			return ok && r.Goroutines < before.Goroutines+2*n
		}) {
			x.Error("idle streams keep their senders")
		}
		x.lasts(2*time.Second, 10*time.Second)
		r, _ := x.gateway.Resources()
		if open := x.gateway.Metrics().Sum("gateway_grpc_ingest_streams"); int(open) < n {
			x.Errorf("%.0f streams are open, want %d", open, n)
		}
		each := (r.Bytes - before.Bytes) / int64(n)
		if each > 64<<10 {
			x.Errorf("P9: an idle stream takes %d KiB", each>>10)
		}
		return fmt.Sprintf("%d idle streams, opened in %v; each takes %.1f KiB (%d MiB before, %d with them) and %.2f goroutines",
			n, opened.Round(time.Millisecond), float64(each)/1024, before.Bytes>>20, r.Bytes>>20, float64(r.Goroutines-before.Goroutines)/float64(n))
	})
	if bad := closing(); bad > 0 {
		x.Errorf("%d idle streams did not end with OK", bad)
	}
}

func resetsAndSlowPosts(x *run) {
	x.beside("rapid resets", func() string {
		began := time.Now()
		n := 0
		for time.Since(began) < x.span(2*time.Second, 20*time.Second) {
			n += rig.RapidResets(x, x.gateway.GRPC, 20_000)
		}
		return fmt.Sprintf("%d streams reset in %v, 20,000 a connection", n, time.Since(began).Round(time.Millisecond))
	})
	x.beside("slow posts", func() string {
		stop := rig.SlowPosts(x, x.gateway.GRPC, 100, time.Second)
		x.lasts(3*time.Second, 40*time.Second)
		ended := stop()
		if long && scale >= 1 && ended == 0 {
			x.Error("no slow post was ended")
		}
		return fmt.Sprintf("100 slow posts, %d ended by the gateway", ended)
	})
}
