//go:build faults

package faults

// The soak: constant mixed load for minutes or hours, a random fault a minute,
// and at the end the same judge as for every scenario. Between the faults the
// load pauses, and what the gateway then holds must stay the same.

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

// TestSoak runs for SOAK (5m). FAULT_SCALE shortens the minute between the faults and the faults with it; SOAK_OUT
// gets soak.csv and soak.svg.
func TestSoak(t *testing.T) {
	lasting := 5 * time.Minute
	if text := os.Getenv("SOAK"); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil || lasting < 10*time.Second {
			t.Fatalf("SOAK=%s: a duration of 10s and more, such as 5m or 1h", text)
		}
	}
	out := os.Getenv("SOAK_OUT")
	if out == "" {
		out = filepath.Join("..", "bench", "out")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		t.Fatal(err)
	}
	var s soak
	newRun(t, &cell{name: "SOAK", fault: "a random fault a minute, for " + lasting.String(), on: fake, proxied: true, fronted: true,
		restarts: true, settings: []string{"PPROF_ENABLED=true"}, load: rig.Load{Rate: 2000, Resend: true, BadEvery: 200},
		rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some}, alive: 20 * time.Second,
		hurt: func(x *run) { s.run(x, lasting) },
		seen: func(x *run, _ *ledger.Verdict) { s.finish(x, out) },
	}).all()
}

// soakFault is one kind of fault; it is healed when it returns.
type soakFault struct {
	name string
	hurt func(x *run)
}

func soakFaults() []soakFault {
	toxic := func(name, kind string, d rig.Direction, attributes map[string]int) soakFault {
		return soakFault{name, func(x *run) {
			p := x.broker.Proxies[0]
			p.Toxic(kind, d, 1, attributes)
			x.lasts(8*time.Second, 8*time.Second)
			p.Clear()
			p.Cut() // what a toxic has ended for good is dialled anew
		}}
	}
	answers := func(name string, f rig.FakeFault) soakFault {
		return soakFault{name, func(x *run) {
			x.broker.Fake.Fail(f)
			x.lasts(8*time.Second, 8*time.Second)
			x.broker.Fake.Heal()
		}}
	}
	return []soakFault{
		{"connections to Kafka reset", func(x *run) {
			for range 10 {
				x.lasts(300*time.Millisecond, 300*time.Millisecond)
				x.broker.Proxies[0].Cut()
			}
		}},
		toxic("latency to Kafka", "latency", rig.Upstream, map[string]int{"latency": 300, "jitter": 200}),
		toxic("narrow line to Kafka", "bandwidth", rig.Upstream, map[string]int{"rate": 100}),
		toxic("black hole before Kafka", "timeout", rig.Upstream, map[string]int{"timeout": 0}),
		answers("NOT_LEADER_OR_FOLLOWER for 30 %", rig.FakeFault{Code: 6, Percent: 30}),
		answers("NOT_ENOUGH_REPLICAS for 30 %", rig.FakeFault{Code: 19, Percent: 30}),
		answers("REQUEST_TIMED_OUT for 10 %", rig.FakeFault{Code: 7, Percent: 10}),
		{"broker restart", func(x *run) {
			x.broker.Fake.Close()
			x.lasts(3*time.Second, 3*time.Second)
			x.broker.Fake.Open()
		}},
		{"broker frozen", func(x *run) {
			x.broker.Fake.Pause()
			x.lasts(5*time.Second, 5*time.Second)
			x.broker.Fake.Resume()
		}},
		{"clients' connections reset", func(x *run) {
			for range 5 {
				x.lasts(500*time.Millisecond, 500*time.Millisecond)
				x.front.Cut()
			}
		}},
		{"gateway SIGTERM and restart", func(x *run) {
			x.gateway.Signal(syscall.SIGTERM)
			if code := x.gateway.Exit(12 * time.Second); code != 0 {
				x.Errorf("exit code %d: %v", code, x.gateway.Lines("gateway stopped"))
			}
			x.gateway.Start().Ready()
		}},
	}
}

// run goes through rounds of all faults, each round in an order of its own that follows from the seed.
func (s *soak) run(x *run, lasting time.Duration) {
	period := x.span(time.Minute, time.Minute)
	s.record(x)
	defer s.stop()
	x.lasts(5*time.Second, 5*time.Second) // warm
	s.rest(x)
	var round []soakFault
	for began := time.Now(); time.Since(began) < lasting; {
		next := time.Now().Add(period)
		if len(round) == 0 {
			round = soakFaults()
			x.random.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		}
		<-time.After(time.Duration(x.random.Int64N(int64(period / 4))))
		x.say("%4.0f s: %s", time.Since(began).Seconds(), round[0].name)
		s.mark(round[0].name)
		round[0].hurt(x)
		round = round[1:]
		if err := x.load.Fresh(20 * time.Second); err != nil {
			x.Errorf("P7: %v", err)
		}
		s.mark("")
		x.lasts(5*time.Second, 5*time.Second)
		s.rest(x)
		<-time.After(time.Until(next))
	}
}
