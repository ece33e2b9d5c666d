//go:build faults

package faults

// The network between gateway and Kafka, and between clients and gateway.

import (
	"strings"
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

func networkCells() []cell {
	plain := ledger.Rules{Least: some}
	return []cell{
		{name: "R14", fault: "connections to Kafka reset every 300 ms", on: fake, proxied: true, ci: true, rules: plain, hurt: resets, seen: spotless},
		{name: "R14k", fault: "connections to Kafka reset every 300 ms", on: apache1, proxied: true, rules: plain, hurt: resets, seen: spotless},
		{name: "R15", fault: "black hole to and from Kafka for twice the request timeout", on: fake, proxied: true,
			load: rig.Load{Resend: true}, rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some}, hurt: blackHole, alive: 8 * time.Second},
		{name: "R15k", fault: "black hole to and from Kafka for twice the request timeout", on: apache1, proxied: true,
			load: rig.Load{Resend: true}, rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some}, hurt: blackHole, alive: 8 * time.Second},
		{name: "R16", fault: "line with 300 +- 200 ms, in slices of 64 bytes, of 50 KB/s, cut after 20 KB", on: fake, proxied: true,
			load: rig.Load{Resend: true, Rate: 2000}, rules: ledger.Rules{MayDouble: true, Least: ledger.Counts{Acknowledged: 50}}, hurt: badLine, alive: 10 * time.Second},
		{name: "R17", fault: "gateway starts before Kafka; one bootstrap address is dead", on: fake, proxied: true,
			rules: plain, prepare: lateKafka, hurt: func(x *run) { x.lasts(time.Second, 10*time.Second) }},
		{name: "R24", fault: "clients go away in the middle of calls and streams", on: fake, ci: true, load: rig.Load{CancelEvery: 20},
			rules: ledger.Rules{LeastDoubt: 10, Least: some}, hurt: besideCalm},
		{name: "R25", fault: "clients' connections reset", on: fake, fronted: true, ci: true, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, LeastDoubt: 10, Least: some}, hurt: func(x *run) {
				var cuts sync.WaitGroup
				stop := make(chan struct{})
				cuts.Go(func() {
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-stop:
							return
						case <-tick.C:
							x.front.Cut()
						}
					}
				})
				besideCalm(x)
				close(stop)
				cuts.Wait()
			}},
		{name: "R26", fault: "deadlines of 25 ms while Kafka takes 50 ms", on: fake, proxied: true, load: rig.Load{Deadline: 25 * time.Millisecond, Unary: 16},
			rules: ledger.Rules{LeastDoubt: 10, Least: some, Methods: []ledger.Method{ledger.Stream, ledger.Batch}}, hurt: func(x *run) {
				x.broker.Proxies[0].Toxic("latency", rig.Downstream, 1, map[string]int{"latency": 50})
				x.lasts(5*time.Second, 30*time.Second)
				x.broker.Proxies[0].Clear()
			}, seen: func(x *run, v *ledger.Verdict) {
				// The server's own deadline is 10 ms before the caller's: most callers hear what became of it.
				if t := v.Methods[ledger.Unary]; t.Unknown < t.NoAnswer {
					x.Errorf("unary: %d heard OUTCOME_UNKNOWN, %d nothing", t.Unknown, t.NoAnswer)
				}
			}},
		{name: "R46", fault: "no broker for 8 s (LONG: 60 s)", on: fake, proxied: true, rules: ledger.Rules{LeastDoubt: 1, Least: some}, hurt: func(x *run) {
			x.broker.Proxies[0].Down()
			x.lasts(8*time.Second, 60*time.Second)
			if m := x.gateway.Metrics(); m.Sum("gateway_kafka_breaker_state") == 0 {
				x.Error("the breaker is closed while no broker answers")
			}
			if x.gateway.IsReady() {
				x.Error("/ready says 200 while no broker answers")
			}
			if code, _ := x.gateway.Get("/health"); code != 200 {
				x.Errorf("/health says %d", code)
			}
			x.broker.Proxies[0].Up()
		}, alive: 5 * time.Second, seen: breakerSeen},
		{name: "R46k", fault: "no broker for 8 s (LONG: 60 s)", on: apache1, proxied: true, rules: ledger.Rules{LeastDoubt: 1, Least: some}, hurt: func(x *run) {
			x.broker.Proxies[0].Down()
			x.lasts(8*time.Second, 60*time.Second)
			x.broker.Proxies[0].Up()
		}, alive: 10 * time.Second, seen: breakerSeen},
		{name: "R46f", fault: "brokers there and gone, a second each", on: fake, proxied: true, rules: plain, hurt: func(x *run) {
			for range x.times(4, 30) {
				x.broker.Proxies[0].Down()
				<-time.After(time.Second)
				x.broker.Proxies[0].Up()
				<-time.After(time.Second)
			}
		}},
	}
}

func resets(x *run) {
	for began := time.Now(); time.Since(began) < x.span(6*time.Second, 30*time.Second); {
		<-time.After(300 * time.Millisecond)
		x.broker.Proxies[0].Cut()
	}
}

func blackHole(x *run) {
	for _, d := range []rig.Direction{rig.Upstream, rig.Downstream} {
		x.broker.Proxies[0].Toxic("timeout", d, 1, map[string]int{"timeout": 0})
	}
	x.lasts(8*time.Second, 30*time.Second)
	x.broker.Proxies[0].Clear()
}

func badLine(x *run) {
	p := x.broker.Proxies[0]
	for _, toxic := range []struct {
		kind       string
		attributes map[string]int
	}{
		{"latency", map[string]int{"latency": 300, "jitter": 200}},
		{"slicer", map[string]int{"average_size": 64, "size_variation": 32, "delay": 10}},
		{"bandwidth", map[string]int{"rate": 50}},
		{"limit_data", map[string]int{"bytes": 20_000}},
	} {
		p.Toxic(toxic.kind, rig.Upstream, 1, toxic.attributes)
		x.lasts(3*time.Second, 30*time.Second)
		p.Clear()
		p.Cut() // what a toxic has ended for good is dialled anew
	}
}

// lateKafka starts the gateway while no broker answers.
func lateKafka(x *run) {
	x.broker.Proxies[0].Down()
	dead := rig.FreeAddrs(x, 1)[0]
	x.gateway.Settings = append(x.gateway.Settings, "KAFKA_BROKERS="+dead+","+strings.Join(x.broker.Addrs, ","))
	x.gateway.Start()
	if !rig.Within(rig.Patience, func() bool { code, _ := x.gateway.Get("/health"); return code == 200 }) {
		x.Fatal("/health does not answer before Kafka does")
	}
	early := rig.StartLoad(x, x.ledger, rig.Load{Name: "early-", Address: x.gateway.GRPC, Rate: 500})
	x.lasts(3*time.Second, 30*time.Second)
	if x.gateway.IsReady() {
		x.Error("/ready says 200 before Kafka has answered")
	}
	if n := early.Count(); n.Refused == 0 || n.Acknowledged+n.Unknown > 0 || x.ledger.Reasons()["KAFKA_UNAVAILABLE"] == 0 {
		x.Errorf("before Kafka has answered: %+v, %v", n, x.ledger.Reasons())
	}
	x.broker.Proxies[0].Up()
	x.gateway.Ready()
	if err := early.Fresh(10 * time.Second); err != nil {
		x.Errorf("P7: %v", err)
	}
	early.Stop(rig.Patience)
}

// besideCalm runs a load of well-behaved clients, past any proxy, beside the others: they must notice nothing.
func besideCalm(x *run) {
	calm := rig.StartLoad(x, x.ledger, rig.Load{Name: "calm-", Address: x.gateway.GRPC, Rate: 3000})
	x.lasts(6*time.Second, 60*time.Second)
	calm.Stop(rig.Patience)
	if n := calm.Count(); n.Acknowledged < 1000 || n.Acknowledged != n.Sent {
		x.Errorf("clients that did nothing wrong: %+v", n)
	}
}

func breakerSeen(x *run, _ *ledger.Verdict) {
	if reasons := x.ledger.Reasons(); reasons["BREAKER_OPEN"] == 0 || reasons["OUTCOME_UNKNOWN"] == 0 {
		x.Errorf("reasons: %v", reasons)
	}
}
