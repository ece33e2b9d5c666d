//go:build faults

package faults

// Shares: of one key among many, of a narrow line, of memory, of one client
// among ten.

import (
	"time"

	"google.golang.org/grpc"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

func shareCells() []cell {
	const eight = 8
	// As in production: the answers to what is queued behind a narrow line take seconds. But calls, which take turns
	// with the streams, do not wait for their turn: some are to hear that there is no room.
	patient := []string{"ADMISSION_TIMEOUT=20ms", "DELIVERY_TIMEOUT=25s", "KAFKA_WRITE_TIMEOUT=10s", "KAFKA_READ_TIMEOUT=10s", "BREAKER_OPEN_AFTER=5s",
		"SHUTDOWN_TIMEOUT=20s", "MAX_INFLIGHT_BYTES=8MiB", "CLIENT_MAX_INFLIGHT_BYTES=8MiB"}
	capped := append([]string{"GOMEMLIMIT=128MiB", "MAX_RECV_BYTES=80MiB"}, patient...)
	return []cell{
		{name: "R27", fault: "nine tenths of the events have one key", on: fake, partitions: eight, rules: ledger.Rules{Least: some},
			load: rig.Load{KeysOf: perPartition(eight), Unary: eight, Streams: eight, Batches: eight, Rate: 2000}, hurt: hotKey, seen: spotless},
		{name: "R29", fault: "Kafka takes a tenth of what is sent, for minutes", on: fake, proxied: true, settings: patient,
			load: rig.Load{Resend: true, Window: 1 << 14}, rules: ledger.Rules{MayDouble: true, Least: some}, hurt: slowKafka, alive: 15 * time.Second},
		{name: "R43", fault: "address space of 2 GiB, GOMEMLIMIT=128MiB, and more than Kafka takes", on: fake, proxied: true, settings: capped,
			load: rig.Load{Resend: true, Window: 1 << 14}, rules: ledger.Rules{MayDouble: true, Least: some}, alive: 15 * time.Second,
			prepare: func(x *run) { x.gateway.Wrap = []string{"prlimit", "--as=2147483648"} }, hurt: slowKafka, rest: func(x *run) {
				r, ok := x.gateway.Resources()
				x.say("peak %d MiB, one start: %t", r.Peak>>20, x.gateway.Starts() == 1)
				if !ok || r.Peak > 192<<20 {
					x.Errorf("P9: peak memory %d MiB with GOMEMLIMIT=128MiB", r.Peak>>20)
				}
			}},
		{name: "R47", fault: "one client of ten sends 100 times as much as the others, over 70 connections", on: fake, restarts: true,
			rules: ledger.Rules{Least: some}, hurt: neighbour(9, rig.Load{Unary: 64})},
	}
}

// hotKey sends nine times the cell's load with one key, beside it.
func hotKey(x *run) {
	calls := &rig.Calls{}
	probe := rig.StartLoad(x, x.ledger, rig.Load{Name: "probe-", Address: x.gateway.GRPC, Unary: 8, Streams: -1, Batches: -1, Rate: 400,
		Dial: func(n int) []grpc.DialOption { return calls.Dial(n) }, KeysOf: others(8)})
	if err := probe.Fresh(rig.Patience); err != nil {
		x.Fatal(err)
	}
	measure := func() (acknowledged int, p99 time.Duration) {
		before, began := x.load.Count().Acknowledged, time.Now()
		x.lasts(3*time.Second, 20*time.Second)
		return x.load.Count().Acknowledged - before, rig.Latency(calls.Between(began, time.Now()), 0.99)
	}
	calm, calmP99 := measure()
	key := perPartition(8)(victim)[:1]
	hot := rig.StartLoad(x, x.ledger, rig.Load{Name: "hot-", Address: x.gateway.GRPC, Unary: 1, Streams: 1, Batches: 1, Rate: 18_000, BatchSize: 100,
		KeysOf: func(int) []string { return key }})
	if err := hot.Fresh(rig.Patience); err != nil {
		x.Errorf("P7: %v", err)
	}
	beside, besideP99 := measure()
	hot.Stop(rig.Patience)
	probe.Stop(rig.Patience)
	x.say("beside %d events of one key the others keep %.0f %% of their rate; p99 of calls to other partitions %v before, %v beside",
		hot.Count().Acknowledged, 100*float64(beside)/float64(max(calm, 1)), calmP99.Round(10*time.Microsecond), besideP99.Round(10*time.Microsecond))
	if n := hot.Count(); n.Acknowledged != n.Sent || n.Acknowledged < 4*beside {
		x.Errorf("P11: of the hot key: %+v, of the others %d", n, beside)
	}
	if float64(beside) < 0.8*float64(calm) {
		x.Errorf("the others acknowledge %d, without the hot key it were %d", beside, calm)
	}
}

// others are keys of all partitions but the victim.
func others(partitions int) func(n int) []string {
	own := perPartition(partitions)
	return func(n int) []string {
		if n%partitions == victim {
			n++
		}
		return own(n)
	}
}

// slowKafka lets through a tenth of what is sent.
func slowKafka(x *run) {
	rate := int(x.bytesPerEvent() * 2000 / 1024)
	x.broker.Proxies[0].Toxic("bandwidth", rig.Upstream, 1, map[string]int{"rate": rate})
	before, began := x.ledger.Count().Acknowledged, time.Now()
	x.lasts(9*time.Second, 5*time.Minute)
	through := float64(x.ledger.Count().Acknowledged-before) / time.Since(began).Seconds()
	now, _ := x.gateway.Resources()
	reasons := x.ledger.Reasons()
	x.say("line of %d KB/s: %.0f acknowledged a second, %d MiB; %v", rate, through, now.Bytes>>20, reasons)
	// Streams are held back by flow control; calls beside them hear it.
	if through > 8000 || reasons["OVERLOADED"]+reasons["CLIENT_OVERLOADED"] == 0 {
		x.Errorf("P11: %.0f events a second came through, %v: Kafka was not slow", through, reasons)
	}
	x.broker.Proxies[0].Clear()
}
