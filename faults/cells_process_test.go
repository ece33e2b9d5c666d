//go:build faults

package faults

// The gateway's own process: killed, stopped, frozen.

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

func plainCells() []cell {
	nothing := func(x *run) { x.lasts(5*time.Second, 60*time.Second) }
	rules := ledger.Rules{Least: ledger.Counts{Acknowledged: 500, Refused: 5}}
	return []cell{
		{name: "R01a", fault: "none", on: embedded, ci: true, load: rig.Load{BadEvery: 50}, rules: rules, hurt: nothing, seen: spotless},
		{name: "R01b", fault: "none", on: apache1, load: rig.Load{BadEvery: 50}, rules: rules, hurt: nothing, seen: spotless},
		{name: "R01c", fault: "none", on: apache3, load: rig.Load{BadEvery: 50}, rules: rules, hurt: nothing, seen: spotless},
		{name: "R01d", fault: "none, as fast as it goes", on: fake, load: rig.Load{BadEvery: 50, Rate: 200_000, BatchSize: 100},
			rules: rules, hurt: nothing, seen: spotless},
	}
}

// spotless: nothing was in doubt, so nothing can be stored twice.
func spotless(x *run, v *ledger.Verdict) {
	if sum := v.Sum(); sum.Unknown+sum.NoAnswer > 0 || sum.TwiceStored > 0 {
		x.Errorf("%d unknown, %d without an answer, %d doubled; here none may be", sum.Unknown, sum.NoAnswer, sum.TwiceStored)
	}
}

func processCells() []cell {
	doubt := ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: ledger.Counts{Acknowledged: 200, Resent: 1}, Methods: []ledger.Method{ledger.Stream, ledger.Batch}}
	kills := func(x *run) {
		for range x.times(4, 25) {
			<-time.After(time.Duration(200+x.random.IntN(1800)) * time.Millisecond)
			x.gateway.Kill()
			x.gateway.Start().Ready()
			if err := x.load.Fresh(10 * time.Second); err != nil {
				x.Errorf("P7: after a restart: %v", err)
			}
		}
	}
	return []cell{
		{name: "R02", fault: "gateway SIGKILL and restart, again and again; clients resend", on: fake, ci: true, restarts: true,
			load: rig.Load{Resend: true}, rules: doubt, hurt: kills},
		{name: "R02k", fault: "gateway SIGKILL and restart, again and again; clients resend", on: apache1, restarts: true,
			load: rig.Load{Resend: true}, rules: doubt, hurt: kills},
		{name: "R03", fault: "gateway with its embedded broker SIGKILL and restart", on: embedded, restarts: true,
			load: rig.Load{Resend: true}, rules: doubt, hurt: kills},
		{name: "R03s", fault: "the same, EMBEDDED_SYNC_WRITES=true", on: embedded, restarts: true, settings: []string{"EMBEDDED_SYNC_WRITES=true"},
			load: rig.Load{Resend: true, Rate: 2000}, rules: doubt, hurt: kills},
		{name: "R04", fault: "gateway SIGTERM under load", on: fake, ci: true, ends: true, hurt: func(x *run) {
			x.lasts(2*time.Second, 10*time.Second)
			x.gateway.Signal(syscall.SIGTERM)
			began := time.Now()
			if code := x.gateway.Exit(12 * time.Second); code != 0 {
				x.Errorf("exit code %d, want 0", code)
			}
			x.say("stopped after %v", time.Since(began).Round(time.Millisecond))
		}, seen: func(x *run, v *ledger.Verdict) {
			stopped := x.gateway.Lines("gateway stopped")
			if len(stopped) != 1 || stopped[0]["unknown"].(float64) != 0 || stopped[0]["exit_code"].(float64) != 0 {
				x.Errorf("the last log line: %v", stopped)
			}
			// What was received has its answer: of streams nothing is in doubt, a unary call may have met a closed door.
			for _, m := range []ledger.Method{ledger.Stream, ledger.Batch} {
				if t := v.Methods[m]; t.Unknown+t.NoAnswer > 0 {
					x.Errorf("%v: %d unknown, %d without an answer: a drain answers everything", m, t.Unknown, t.NoAnswer)
				}
			}
			if v.Sum().Unknown > 0 || x.ledger.Reasons()["DRAINING"]+x.ledger.Reasons()["STREAM_END_DRAINING"] == 0 {
				x.Errorf("reasons: %v", x.ledger.Reasons())
			}
		}},
		{name: "R05", fault: "gateway SIGTERM while no broker answers", on: fake, proxied: true, ci: true, ends: true,
			settings: []string{"DELIVERY_TIMEOUT=25s", "SHUTDOWN_TIMEOUT=5s"}, rules: ledger.Rules{LeastDoubt: 1}, hurt: func(x *run) {
				x.broker.Proxies[0].Toxic("timeout", rig.Downstream, 1, map[string]int{"timeout": 0})
				x.lasts(time.Second, 5*time.Second)
				x.stops(syscall.SIGTERM, 6*time.Second, 3)
				x.broker.Proxies[0].Clear()
			}, seen: func(x *run, v *ledger.Verdict) {
				cut := x.gateway.Lines("the time for the drain is over: events that were not handed to Kafka were refused, the others are unknown")
				if len(cut) != 1 || cut[0]["unknown"].(float64) == 0 {
					x.Errorf("the log's count of unknown events: %v", cut)
				}
				if sum := v.Sum(); sum.Unknown == 0 || v.Methods[ledger.Stream].NoAnswer > 0 {
					x.Errorf("%d answered unknown; streams: %d without an answer", sum.Unknown, v.Methods[ledger.Stream].NoAnswer)
				}
			}},
		{name: "R06", fault: "a second SIGTERM while no broker answers", on: fake, proxied: true, ci: true, ends: true,
			settings: []string{"DELIVERY_TIMEOUT=25s"}, rules: ledger.Rules{LeastDoubt: 1}, hurt: func(x *run) {
				x.broker.Proxies[0].Toxic("timeout", rig.Downstream, 1, map[string]int{"timeout": 0})
				x.lasts(time.Second, 5*time.Second)
				x.gateway.Signal(syscall.SIGTERM)
				if !rig.Within(5*time.Second, func() bool { return len(x.gateway.Lines("stopping")) > 0 }) {
					x.Error("the first signal is not logged")
				}
				x.stops(syscall.SIGTERM, time.Second, 130)
				x.broker.Proxies[0].Clear()
			}},
		{name: "R07", fault: "gateway SIGSTOP and SIGCONT", on: fake, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, Least: some}, hurt: func(x *run) {
				x.gateway.Signal(syscall.SIGSTOP)
				x.lasts(7*time.Second, 30*time.Second)
				x.gateway.Signal(syscall.SIGCONT)
			}},
		{name: "R42", fault: "file descriptors exhausted by connections", on: fake, rules: ledger.Rules{Least: some},
			prepare: func(x *run) { x.gateway.Wrap = []string{"prlimit", "--nofile=128"} }, hurt: manyConnections},
	}
}

// stops sends a signal and checks how and when the gateway ends.
func (x *run) stops(s syscall.Signal, within time.Duration, code int) {
	x.Helper()
	began := time.Now()
	x.gateway.Signal(s)
	is := x.gateway.Exit(within)
	x.say("ended with code %d after %v", is, time.Since(began).Round(time.Millisecond))
	if is != code {
		x.Errorf("exit code %d, want %d", is, code)
	}
}

// manyConnections holds more connections open than the gateway has file descriptors.
func manyConnections(x *run) {
	var open []net.Conn
	for range 300 {
		conn, err := net.DialTimeout("tcp", x.gateway.GRPC, time.Second)
		if err != nil {
			break
		}
		open = append(open, conn)
	}
	cpu := x.cpu()
	x.lasts(4*time.Second, 30*time.Second)
	if err := x.load.Fresh(5 * time.Second); err != nil { // on the connections that were there before
		x.Errorf("P7: while no file descriptor is left: %v", err)
	}
	held, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", x.gateway.Pid()))
	if err != nil || len(held) < 120 {
		x.Errorf("P11: %d of 128 file descriptors are open: they never ran out (%v)", len(held), err)
	}
	x.say("%d connections, %d files; %v of CPU", len(open), len(held), x.cpu()-cpu)
	for _, conn := range open {
		conn.Close()
	}
}

// cpu is the gateway's processor time.
func (x *run) cpu() time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", x.gateway.Pid()))
	if err != nil {
		x.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(after)
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
}
