//go:build faults

package faults

// Brokers that stop, die, freeze and come back.

import (
	"context"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

// some is what a cell must have acknowledged in each method to show anything.
var some = ledger.Counts{Acknowledged: 200}

func brokerCells() []cell {
	doubles := ledger.Rules{MayDouble: true, Least: some}
	resend := rig.Load{Resend: true}
	return []cell{
		{name: "R08", fault: "broker closed and opened again, state kept", on: fake, ci: true, load: resend, rules: doubles, seen: spotless, hurt: func(x *run) {
			for range x.times(3, 20) {
				<-time.After(time.Duration(500+x.random.IntN(1000)) * time.Millisecond)
				x.broker.Fake.Close()
				<-time.After(time.Duration(x.random.IntN(1000)) * time.Millisecond)
				x.broker.Fake.Open()
				x.again(10 * time.Second)
			}
		}},
		{name: "R08k", fault: "broker SIGKILL and restart", on: apache1, ci: true, load: resend, rules: doubles, alive: 10 * time.Second, hurt: func(x *run) {
			for range x.times(1, 20) {
				<-time.After(time.Duration(1000+x.random.IntN(1000)) * time.Millisecond)
				x.broker.Apache.Kill(0)
				x.broker.Apache.Restart(0)
				x.again(15 * time.Second)
			}
		}},
		{name: "R09", fault: "broker frozen, longer than DELIVERY_TIMEOUT", on: fake, load: resend,
			rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some}, alive: 8 * time.Second, hurt: func(x *run) {
				for range x.times(1, 3) {
					x.broker.Fake.Pause()
					x.lasts(8*time.Second, 45*time.Second)
					x.broker.Fake.Resume()
					x.again(10 * time.Second)
				}
			}},
		{name: "R09k", fault: "broker frozen, longer than DELIVERY_TIMEOUT", on: apache1, load: resend,
			rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some}, alive: 15 * time.Second, hurt: func(x *run) {
				for range x.times(1, 3) {
					x.broker.Apache.Pause(0)
					x.lasts(8*time.Second, 45*time.Second)
					x.broker.Apache.Resume(0)
					x.again(20 * time.Second)
				}
			}},
		{name: "R10", fault: "leaders of all partitions move every 200 ms", on: fake, nodes: 3, ci: true, rules: ledger.Rules{Least: some}, seen: spotless, hurt: func(x *run) {
			for began := time.Now(); time.Since(began) < x.span(6*time.Second, 60*time.Second); {
				x.broker.Fake.Shuffle()
				<-time.After(200 * time.Millisecond)
			}
		}},
		{name: "R51", fault: "one of three brokers SIGKILLed with its leaderships, and back", on: apache3, load: resend, rules: doubles,
			alive: 10 * time.Second, hurt: func(x *run) {
				x.broker.Apache.Kill(0)
				x.again(15 * time.Second) // two of three are enough
				x.lasts(time.Second, 30*time.Second)
				x.broker.Apache.Restart(0)
			}},
		{name: "R52", fault: "in-sync replicas below min.insync.replicas", on: apache3, load: resend, rules: doubles,
			alive: 20 * time.Second, prepare: func(x *run) { x.createTopic(6, 3, "min.insync.replicas", "3") }, hurt: func(x *run) {
				x.broker.Apache.Stop(0)
				x.lasts(9*time.Second, 30*time.Second)
				if n := x.gateway.Metrics().Sum("gateway_kafka_failed_records_total"); n == 0 {
					x.Error("gateway_kafka_failed_records_total is 0 while no batch is taken")
				}
				x.unready("NOT_ENOUGH_REPLICAS")
				x.broker.Apache.Restart(0)
			}, seen: func(x *run, _ *ledger.Verdict) {
				if !x.gateway.Said("RECORD_TIMEOUT") || !x.gateway.Said("a broker answered a batch with an error") || x.ledger.Reasons()["OUTCOME_UNKNOWN"] == 0 {
					x.Errorf("no line names RECORD_TIMEOUT or what brokers answered, or nothing was unknown: %v", x.ledger.Reasons())
				}
			}},
	}
}

// unready waits until /ready says 503 and why.
func (x *run) unready(why string) {
	x.Helper()
	code, text := 0, ""
	if !rig.Within(20*time.Second, func() bool { code, text = x.gateway.Get("/ready"); return code == 503 && strings.Contains(text, why) }) {
		x.Errorf("/ready says %d %q, want 503 and %s", code, text, why)
	}
}

// again is P7 in the middle of a cell.
func (x *run) again(within time.Duration) {
	x.Helper()
	began := time.Now()
	if err := x.load.Fresh(within); err != nil {
		x.Errorf("P7: %v", err)
	}
	x.say("fresh events of all after %v", time.Since(began).Round(10*time.Millisecond))
}

func (x *run) createTopic(partitions int32, replicas int16, settings ...string) {
	x.Helper()
	configs := map[string]*string{}
	for i := 0; i < len(settings); i += 2 {
		configs[settings[i]] = &settings[i+1]
	}
	x.broker.Admin(func(ctx context.Context, adm *kadm.Client) error {
		response, err := adm.CreateTopic(ctx, partitions, replicas, configs, topic)
		if err == nil {
			err = response.Err
		}
		return err
	})
}
