//go:build faults

package faults

// The runner: takes every cell through the same steps and judges it.

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rig.RemoveBinaries()
	os.Exit(code)
}

// broker is what a cell needs to write to.
type broker string

const (
	embedded broker = "embedded"
	fake     broker = "kfake"
	apache1  broker = "kafka-1"
	apache3  broker = "kafka-3"
)

// cell is one scenario.
type cell struct {
	name, fault string
	on          broker
	nodes       int    // brokers of kfake; 0 = 1
	proxied     bool   // toxiproxy before the brokers
	fronted     bool   // toxiproxy before the gateway
	ci          bool   // runs in CI
	partitions  int    // 0 = 6
	clock       string // shift of Apache Kafka's clock, by libfaketime
	settings    []string
	properties  []kafkatest.Option
	load        rig.Load
	rules       ledger.Rules
	// alive bounds the time from the heal to fresh acknowledgements of all (P7); 0 = 5 s.
	alive time.Duration
	// prepare comes before the gateway's start, which it may do itself.
	prepare func(x *run)
	// hurt is the fault and its heal.
	hurt func(x *run)
	// rest comes when all is answered and the gateway is at rest; seen when the verdict is there.
	rest func(x *run)
	seen func(x *run, v *ledger.Verdict)
	// ends: the gateway's process ends in the cell, on purpose and for good.
	ends bool
	// restarts: the gateway is killed and started again, so its counters begin anew.
	restarts bool
	// expires: retention takes the oldest events, on purpose.
	expires bool
	// noBaseline: goroutines, files and memory are not compared with before.
	noBaseline bool
}

// run is a cell while it runs.
type run struct {
	*testing.T
	cell    *cell
	dir     string
	random  *rand.Rand
	ledger  *ledger.Ledger
	gateway *rig.Gateway
	broker  *rig.Broker
	front   *rig.Proxy // before the gateway, with fronted
	load    *rig.Running
	// subscribers are judged by P8 at the end; groups are judged together.
	subscribers []*rig.Subscriber
	groups      []*group
	replays     []*ledger.Received
	began       time.Time
	healed      time.Time
	failures    failures
}

const (
	topic = "events"
	// maxMemory is MAX_RECV_BYTES, MAX_INFLIGHT_BYTES, EVENT_STORE_BYTES and 64 MiB for everything else.
	maxMemory = (128 + 64 + 64 + 64) << 20
)

var (
	long  = os.Getenv("LONG") != ""
	scale = number("FAULT_SCALE", 1)
	all   = os.Getenv("ALL") != ""
	only  = os.Getenv("ONLY")
)

func number(name string, otherwise float64) float64 {
	if v, err := strconv.ParseFloat(os.Getenv(name), 64); err == nil && v > 0 {
		return v
	}
	return otherwise
}

func outDir() string {
	if dir := os.Getenv("FAULT_OUT"); dir != "" {
		return dir
	}
	return "out"
}

// span is a duration of the cell: short in CI, full with LONG.
func (x *run) span(short, full time.Duration) time.Duration {
	if long {
		short = full
	}
	return time.Duration(float64(short) * scale)
}

// times is how often a fault is repeated.
func (x *run) times(short, full int) int {
	return int(x.span(time.Duration(short), time.Duration(full)))
}

// lasts lets a duration of a fault pass.
func (x *run) lasts(short, full time.Duration) { <-time.After(x.span(short, full)) }

// say prints progress at once; go test would keep it until the end.
func (x *run) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s %-5s %s\n", time.Now().Format("15:04:05"), x.cell.name, fmt.Sprintf(format, args...))
}

func wanted(c *cell) bool {
	if only != "" {
		return slices.ContainsFunc(strings.Split(only, ","), func(name string) bool {
			return strings.HasPrefix(c.name, strings.TrimSpace(name))
		})
	}
	return long || all || c.ci
}

func TestFaults(t *testing.T) {
	finished := readResults(t)
	failed := []string{}
	ran := 0
	for _, c := range cells() {
		if !wanted(&c) {
			continue
		}
		if _, done := finished[c.name]; done && long && os.Getenv("FAULT_FRESH") == "" && only == "" {
			fmt.Fprintf(os.Stderr, "%s %-5s finished before\n", time.Now().Format("15:04:05"), c.name)
			ran++
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			x := newRun(t, &c)
			defer func() { failed = append(failed, x.failures.lines(c.name)...) }()
			x.all()
		})
		ran++
	}
	if ran == 0 {
		t.Fatalf("ONLY=%s: no scenario has such a name", only)
	}
	writeTable(t)
	// Once more at the very end: who reads the tail of a log wants to know why.
	fmt.Fprint(os.Stderr, strings.Join(failed, ""))
}

func newRun(t *testing.T, c *cell) *run {
	seed := uint64(number("FAULT_SEED", float64(time.Now().UnixNano()%1_000_000)))
	return &run{T: t, cell: c, random: rand.New(rand.NewPCG(seed, 1)), ledger: ledger.New(seed)}
}

// all is the whole cell.
func (x *run) all() {
	c := x.cell
	x.dir = x.folder()
	x.say("%s (seed %d)", c.fault, x.ledger.Seed)
	begun := time.Now()
	x.build()
	if c.prepare != nil {
		c.prepare(x)
	}
	if x.gateway.Starts() == 0 {
		x.gateway.Start().Ready()
	}
	watch := rig.Watch(x.gateway)
	base := x.baseline()
	x.began = time.Now()
	x.load = rig.StartLoad(x, x.ledger, x.loadConf())
	if err := x.load.Fresh(rig.Patience); err != nil {
		x.Fatalf("before the fault: %v", err)
	}
	x.say("warm after %v", time.Since(begun).Round(100*time.Millisecond))
	c.hurt(x)
	x.healed = time.Now()
	x.alive()
	if !c.ends {
		x.lasts(time.Second, 5*time.Second) // service stays
	}
	ended := time.Now()
	patience := 45 * time.Second
	if c.ends {
		patience = 2 * time.Second // nobody is left to answer
	}
	x.load.Stop(patience)
	x.arrive()
	x.rest(base)
	peak, scrapes, broken := watch.Stop()
	for _, finding := range broken {
		x.Errorf("P10: the accounting does not add up: %s", finding)
	}
	if peak > maxMemory {
		x.Errorf("P9: the gateway took %d MiB, at most %d are its bounds", peak>>20, maxMemory>>20)
	}
	if scrapes == 0 {
		x.Error("P10: /metrics was never read")
	}
	v := x.judge()
	if c.seen != nil {
		c.seen(x, v)
	}
	x.finish(v, ended, peak, time.Since(begun))
}

// folder is the cell's own; it is kept when the cell fails.
func (x *run) folder() string {
	dir, err := filepath.Abs(filepath.Join(outDir(), x.cell.name))
	if err == nil {
		_ = os.RemoveAll(dir)
		err = os.MkdirAll(dir, 0o755)
	}
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() {
		if x.Failed() {
			x.keep(dir)
			return
		}
		_ = os.RemoveAll(dir) // a leftover fails nothing
	})
	return dir
}

func (x *run) build() {
	c := x.cell
	partitions := c.partitions
	if partitions == 0 {
		partitions = 6
	}
	// Short times, so that a cell sees them pass: in LONG runs, too.
	settings := append([]string{fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", partitions), "DELIVERY_TIMEOUT=6s", "BREAKER_OPEN_AFTER=2s",
		"KAFKA_WRITE_TIMEOUT=2s", "KAFKA_READ_TIMEOUT=2s", "KAFKA_DIAL_TIMEOUT=2s", "SHUTDOWN_TIMEOUT=10s"}, c.settings...)
	x.gateway = rig.NewGateway(x, x.dir, settings...)
	switch c.on {
	case embedded:
		x.broker = rig.Embedded(x, x.gateway)
	case fake:
		x.broker = rig.StartFake(x, x.dir, max(c.nodes, 1), c.proxied)
	case apache1:
		if c.clock != "" {
			rig.ShiftClock(x.T, c.clock)
		}
		x.broker = rig.StartApache(x, 1, c.proxied, c.properties...)
	case apache3:
		x.broker = rig.StartApache(x, 3, false, c.properties...)
		x.gateway.Settings = append(x.gateway.Settings, "KAFKA_REPLICATION_FACTOR=3")
	}
	if c.on != embedded {
		x.gateway.Settings = append(x.gateway.Settings, "KAFKA_BROKERS="+strings.Join(x.broker.Addrs, ","))
	}
	if c.rules.Partition == nil && !c.rules.PartitionsGrow {
		c.rules.Partition = rig.PartitionOf(partitions)
	}
	if c.fronted {
		x.front = rig.NewProxy(x, rig.FreeAddrs(x, 1)[0], x.gateway.GRPC)
	}
}

func (x *run) loadConf() rig.Load {
	conf := x.cell.load
	conf.Address = x.gateway.GRPC
	if x.front != nil {
		conf.Address = x.front.Addr
	}
	if conf.Rate == 0 && x.cell.on != apache1 && x.cell.on != apache3 {
		conf.Rate = 20_000
	}
	return conf
}

// baseline is what the gateway holds after a first load, at rest.
func (x *run) baseline() (base rig.Resources) {
	warm := rig.StartLoad(x, x.ledger, rig.Load{Name: "warm-", Address: x.gateway.GRPC, Rate: 2000})
	if err := warm.Fresh(rig.Patience); err != nil {
		x.Fatalf("warming up: %v", err)
	}
	warm.Stop(rig.Patience)
	last := 0
	rig.Within(3*time.Second, func() bool { // until the connections' goroutines are gone
		ok := false
		base, ok = x.gateway.Resources()
		settled := ok && base.Goroutines == last
		last = base.Goroutines
		return settled
	})
	return base
}

// alive is P7.
func (x *run) alive() {
	if x.cell.ends {
		return
	}
	bound := x.cell.alive
	if bound == 0 {
		bound = 5 * time.Second
	}
	if err := x.load.Fresh(bound); err != nil {
		x.Errorf("P7: %v", err)
		return
	}
	x.say("healed; fresh events of all after %v", time.Since(x.healed).Round(10*time.Millisecond))
}

// rest is P9 and the end of P10.
func (x *run) rest(base rig.Resources) {
	c := x.cell
	if panicked := x.gateway.Panicked(); panicked != "" {
		x.Error(panicked)
	}
	if c.ends {
		if c.rest != nil {
			c.rest(x)
		}
		return
	}
	var m rig.Metrics
	if !rig.Within(10*time.Second, func() bool { m = x.gateway.Metrics(); return m != nil && m.InFlight() == 0 }) {
		x.Errorf("P10: %d events in flight at rest", m.InFlight())
	}
	x.accounts(m)
	if c.rest != nil {
		c.rest(x)
	}
	var now rig.Resources
	back := func() bool {
		ok := false
		now, ok = x.gateway.Resources()
		return ok && now.Goroutines <= base.Goroutines*21/20+4 && now.Files <= base.Files*21/20+4
	}
	if !c.noBaseline && !c.restarts && !rig.Within(30*time.Second, back) {
		x.Errorf("P9: %d goroutines and %d files, before it were %d and %d", now.Goroutines, now.Files, base.Goroutines, base.Files)
	}
	x.gateway.Signal(syscall.SIGTERM)
	if code := x.gateway.Exit(20 * time.Second); code != 0 {
		x.Errorf("the stop at rest ends with code %d: %v", code, x.gateway.Lines("gateway stopped"))
	}
	if c.on == embedded { // to be read
		x.gateway.Start().Ready()
	}
}

// accounts holds the gateway's counters against the ledger's.
func (x *run) accounts(m rig.Metrics) {
	if x.cell.restarts || m == nil {
		return
	}
	said, n := m.Sum("gateway_events_total", `origin="grpc"`, `outcome="acknowledged"`), x.ledger.Count()
	if int(said) < n.Acknowledged || int(said) > n.Acknowledged+n.NoAnswer {
		x.Errorf("P10: the gateway counts %.0f acknowledged, clients have read %d and %d got no answer", said, n.Acknowledged, n.NoAnswer)
	}
	if unknown := int(m.Sum("gateway_events_total", `origin="grpc"`, `outcome="unknown"`)); unknown < n.Unknown || unknown > n.Unknown+n.NoAnswer {
		x.Errorf("P10: the gateway counts %d unknown, clients have read %d and %d got no answer", unknown, n.Unknown, n.NoAnswer)
	}
}

// judge reads the topic and judges it.
func (x *run) judge() *ledger.Verdict {
	if x.cell.expires {
		x.cell.rules.Starts = x.broker.Starts(topic) // at rest: they stay
	}
	j := ledger.NewJudge(x.ledger, x.cell.rules)
	if err := x.broker.Read(topic, 2*time.Minute, j.Record); err != nil {
		x.Errorf("reading the topic: %v", err)
	}
	v := j.Verdict()
	x.judgeReaders(j)
	for _, found := range v.Violations {
		x.Error(found)
	}
	return v
}
