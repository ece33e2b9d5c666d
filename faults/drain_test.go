//go:build faults

package faults

// The orderly end, again and again: clients that reconnect must not notice
// more than a second sending.

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

func drainCells() []cell {
	return []cell{
		{name: "D1", fault: "rolling restart under load", on: fake, ci: true, restarts: true, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, Least: ledger.Counts{Acknowledged: 500}}, hurt: rollingRestart(4, 20), seen: drainedStreams},
		{name: "D1k", fault: "rolling restart under load", on: apache1, restarts: true, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, Least: ledger.Counts{Acknowledged: 500}}, hurt: rollingRestart(4, 20), seen: drainedStreams},
		{name: "D2", fault: "rolling restart while no broker answers", on: fake, proxied: true, restarts: true, load: rig.Load{Resend: true},
			settings: []string{"DELIVERY_TIMEOUT=25s", "SHUTDOWN_TIMEOUT=3s"}, alive: 10 * time.Second,
			rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some}, hurt: restartsWithoutKafka},
		{name: "D3", fault: "SIGTERM while Kafka takes 500 ms: the last answers of long streams", on: fake, proxied: true, ends: true,
			rules: ledger.Rules{Least: ledger.Counts{Acknowledged: 20}}, hurt: lastAnswers, seen: drainedStreams},
		{name: "D4", fault: "10,000 idle streams and SIGTERM", on: fake, ends: true, rules: ledger.Rules{Least: some}, hurt: drainIdle, seen: drainedStreams},
		{name: "D4r", fault: "streams that never read their answers and SIGTERM", on: fake, ends: true, settings: []string{"SEND_TIMEOUT=2s"},
			rules: ledger.Rules{Least: some}, hurt: drainDeaf},
		{name: "D5", fault: "a second gateway joins; streams end by age and spread", on: fake, restarts: true,
			settings: []string{"GRPC_MAX_CONNECTION_AGE=2s"}, rules: ledger.Rules{MayDouble: true, Least: some}, hurt: spread, seen: spreadSeen},
	}
}

// drainedStreams: what was received has its answer. Nothing is in doubt.
func drainedStreams(x *run, v *ledger.Verdict) {
	for _, m := range []ledger.Method{ledger.Stream, ledger.Batch} {
		if t := v.Methods[m]; t.Unknown+t.NoAnswer > 0 {
			x.Errorf("%v: %d unknown, %d without an answer: a drain answers everything; reasons %v", m, t.Unknown, t.NoAnswer, x.ledger.Reasons())
		}
	}
	if sum := v.Sum(); sum.Unknown > 0 {
		x.Errorf("%d answered unknown while Kafka was there; reasons %v", sum.Unknown, x.ledger.Reasons())
	}
}

// bare tells whether a status is of a door that was closed before the call went in: nothing was sent.
func bare(c *rig.Call) bool {
	return c.Code == codes.Unavailable && c.Reason == "" && (strings.Contains(c.Text, "connection refused") ||
		strings.Contains(c.Text, "connection error") || strings.Contains(c.Text, "error reading server preface"))
}

// drainAnswers holds the statuses of unary calls during drains to the rules.
func (x *run) drainAnswers(calls []rig.Call) {
	x.Helper()
	draining, refused, starting, others := 0, 0, 0, map[string]int{}
	for _, c := range calls {
		switch {
		case c.Code == codes.OK:
		case c.Code == codes.Unavailable && c.Reason == "DRAINING" && c.Retry:
			draining++
		case bare(&c):
			refused++
		case c.Code == codes.Unavailable && c.Reason == "KAFKA_UNAVAILABLE" && c.Retry: // the next process, before Kafka's first answer
			starting++
		default:
			others[fmt.Sprintf("%v %s (RetryInfo: %t) %s", c.Code, c.Reason, c.Retry, c.Text)]++
		}
	}
	x.say("%d calls; %d answered DRAINING with RetryInfo, %d found the door closed, %d came before Kafka's first answer, others: %v; all reasons %v",
		len(calls), draining, refused, starting, others,
		x.ledger.Reasons())
	if len(others) > 0 {
		x.Errorf("a drain answers UNAVAILABLE, DRAINING and RetryInfo; there were %v", others)
	}
}

// restart ends the gateway in order and starts it again.
func (x *run) restart(within time.Duration, code int) (took time.Duration) {
	x.Helper()
	began := time.Now()
	x.gateway.Signal(syscall.SIGTERM)
	if is := x.gateway.Exit(within); is != code {
		x.Errorf("exit code %d after %v, want %d: %v", is, time.Since(began), code, x.gateway.Lines("gateway stopped"))
	}
	return time.Since(began)
}

func rollingRestart(short, full int) func(x *run) {
	return func(x *run) {
		calls := &rig.Calls{}
		callers := rig.StartLoad(x, x.ledger, rig.Load{Name: "caller-", Address: x.gateway.GRPC, Unary: 32, Streams: -1, Batches: -1,
			Rate: 2000, Resend: true, Dial: calls.Dial})
		var longest time.Duration
		for range x.times(short, full) {
			<-time.After(time.Duration(200+x.random.IntN(800)) * time.Millisecond)
			longest = max(longest, x.restart(10*time.Second, 0)) // SHUTDOWN_TIMEOUT
			x.gateway.Start().Ready()
			if err := x.load.Fresh(10 * time.Second); err != nil {
				x.Errorf("P7: after a restart: %v", err)
			}
		}
		callers.Stop(rig.Patience)
		x.say("%d stops, %v at most", x.gateway.Starts()-1, longest.Round(time.Millisecond))
		x.drainAnswers(calls.All())
	}
}

// restartsWithoutKafka: exit code 3, in time, and what was in doubt is found once or twice, never not at all.
func restartsWithoutKafka(x *run) {
	for range x.times(2, 5) {
		for _, d := range []rig.Direction{rig.Upstream, rig.Downstream} {
			x.broker.Proxies[0].Toxic("timeout", d, 1, map[string]int{"timeout": 0})
		}
		x.lasts(500*time.Millisecond, time.Second)
		took := x.restart(3500*time.Millisecond, 3) // SHUTDOWN_TIMEOUT, and what a loaded machine adds
		stopped := x.gateway.Lines("gateway stopped")
		if last := stopped[len(stopped)-1]; last["unknown"].(float64) == 0 {
			x.Errorf("the last log line has no unknown events: %v", last)
		}
		x.say("ended after %v", took.Round(time.Millisecond))
		x.broker.Proxies[0].Clear()
		x.broker.Proxies[0].Cut()
		x.gateway.Start().Ready()
		if err := x.load.Fresh(10 * time.Second); err != nil {
			x.Errorf("P7: after a restart: %v", err)
		}
	}
}

// lastAnswers ends the gateway while every stream waits for half a second's worth of answers.
func lastAnswers(x *run) {
	x.broker.Proxies[0].Toxic("latency", rig.Downstream, 1, map[string]int{"latency": 500})
	x.lasts(2*time.Second, 10*time.Second)
	waiting := x.gateway.Metrics().InFlight()
	before := x.ledger.Count(ledger.Stream, ledger.Batch)
	took := x.restart(10*time.Second, 0)
	rig.Within(2*time.Second, func() bool { // the clients read what the connections still hold
		n := x.ledger.Count(ledger.Stream, ledger.Batch)
		return n.Sent == n.Acknowledged+n.Refused+n.Unknown+n.NoAnswer
	})
	after := x.ledger.Count(ledger.Stream, ledger.Batch)
	x.say("%d events were in flight at SIGTERM; streams read %d more acknowledgements until the end, %v later", waiting,
		after.Acknowledged-before.Acknowledged, took.Round(time.Millisecond))
	if after.Acknowledged == before.Acknowledged || waiting < 100 {
		x.Errorf("%d in flight, %d acknowledged afterwards: nothing was shown", waiting, after.Acknowledged-before.Acknowledged)
	}
	x.broker.Proxies[0].Clear()
}

func drainIdle(x *run) {
	n := x.times(2000, 10_000)
	rig.Idle(x, x.ledger, x.gateway.GRPC, n, 250)
	took := x.restart(10*time.Second, 0)
	x.say("with %d idle streams it ended after %v", n, took.Round(time.Millisecond))
}

func drainDeaf(x *run) {
	deaf := rig.NeverRead(x, x.ledger, x.gateway.GRPC, 4)
	if !rig.Within(10*time.Second, func() bool { return x.gateway.Metrics().Sum("gateway_grpc_slow_clients_total") == 4 }) {
		x.Error("they are not cut")
	}
	took := x.restart(10*time.Second, 0)
	x.say("ended after %v; the streams: %v", took.Round(time.Millisecond), deaf.Read())
}

// second prepares another gateway before the same Kafka; it is started later.
func (x *run) second() *rig.Gateway {
	g := rig.NewGateway(x, filepath.Join(x.dir, "second"), x.gateway.Settings...)
	g.Settings = append(g.Settings, g.Settings[:4]...) // its own addresses
	return g
}

// both is a load balancer in the client, with both gateways.
func both(addresses ...string) func(int) []grpc.DialOption {
	return func(int) []grpc.DialOption {
		builder := manual.NewBuilderWithScheme("both")
		state := resolver.State{}
		for _, address := range addresses {
			state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
		}
		builder.InitialState(state)
		return []grpc.DialOption{grpc.WithResolvers(builder), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig":[{"round_robin":{}}]}`)}
	}
}

func spread(x *run) {
	other, calls := x.second(), &rig.Calls{}
	streams := func(g *rig.Gateway) int { return int(g.Metrics().Sum("gateway_grpc_ingest_streams")) }
	x.load.Stop(rig.Patience)
	x.load = rig.StartLoad(x, x.ledger, rig.Load{Name: "long-", Address: "both:///gateways", Unary: 4, Streams: 16, Batches: 8, Rate: 6000, Resend: true,
		Dial: func(n int) []grpc.DialOption {
			return append(both(x.gateway.GRPC, other.GRPC)(n), calls.Dial(n)...)
		}})
	if err := x.load.Fresh(rig.Patience); err != nil {
		x.Fatal(err)
	}
	if n := streams(x.gateway); n < 20 {
		x.Errorf("%d streams on the one gateway that is there, want 24", n)
	}
	other.Start().Ready()
	joined := time.Now()
	balanced := func() bool { return streams(x.gateway) >= 6 && streams(other) >= 6 }
	if !rig.Within(20*time.Second, balanced) {
		x.Errorf("%d streams on the old gateway, %d on the new one", streams(x.gateway), streams(other))
	}
	x.say("%d and %d streams %v after the second gateway is there", streams(x.gateway), streams(other), time.Since(joined).Round(time.Millisecond))
	x.lasts(5*time.Second, 60*time.Second)
	x.load.Stop(rig.Patience)
	n := x.load.Count()
	x.say("%+v; %v", n, x.ledger.Reasons())
	x.load = rig.StartLoad(x, x.ledger, rig.Load{Name: "after-", Address: x.gateway.GRPC, Resend: true})
	other.Signal(syscall.SIGTERM)
	if code := other.Exit(10 * time.Second); code != 0 {
		x.Errorf("the second gateway ends with code %d", code)
	}
}

func spreadSeen(x *run, v *ledger.Verdict) {
	drainedStreams(x, v)
	if x.ledger.Reasons()["STREAM_END_STREAM_AGE"] == 0 {
		x.Errorf("no stream ended by its age with something unread: %v", x.ledger.Reasons())
	}
}
