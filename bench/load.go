package main

// End to end: a generator (gateway publish), the gateway or the baseline, and
// the discarding broker, three processes on this machine.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// load is what the generator sends.
type load struct {
	name                   string
	count                  int
	batch, streams, window int
	size                   int
}

// figures are what one run gave; CPU times are nanoseconds an event.
type figures struct {
	rate                 float64
	serverCPU, clientCPU float64
	p50, p99             float64 // milliseconds
	peak                 int64
}

// totals are the parts of gateway publish --json that count here.
type totals struct {
	Sent         int     `json:"sent"`
	Acknowledged int     `json:"acknowledged"`
	Rate         float64 `json:"acknowledged_per_second"`
	CPUNanos     float64 `json:"cpu_ns_per_event"`
	Latency      struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"latency_ms"`
}

// bench holds what the runs share.
type bench struct {
	bin  binaries
	out  string // bench/out
	logs string
}

// target is a gateway under load.
type target interface {
	cpu() time.Duration
	peak() int64
	end() error
}

// run measures one load against "gateway" or "baseline".
func (b *bench) run(ctx context.Context, which string, l load, profile string) (f figures, err error) {
	broker, err := start(filepath.Join(b.logs, "discard.log"), b.bin.discard, nil, "--partitions", "3")
	if err != nil {
		return f, err
	}
	addr, err := broker.line()
	if err != nil {
		return f, err
	}
	t, grpcAddr, httpAddr, err := b.target(ctx, which, addr)
	if err != nil {
		_ = broker.end()
		return f, err
	}
	before := t.cpu()
	profiled := make(chan error, 1)
	if profile != "" {
		go func() { profiled <- fetchProfile(httpAddr, profile) }()
	} else {
		profiled <- nil
	}
	sum, err := b.generate(ctx, grpcAddr, l)
	f = figures{rate: sum.Rate, clientCPU: sum.CPUNanos, p50: sum.Latency.P50, p99: sum.Latency.P99,
		serverCPU: float64(t.cpu()-before) / float64(l.count), peak: t.peak()}
	if e := <-profiled; err == nil {
		err = e
	}
	if e := t.end(); err == nil && e != nil {
		err = fmt.Errorf("%s: %w", which, e)
	}
	received, e := stopBroker(broker)
	if err == nil {
		err = e
	}
	if err == nil && (sum.Acknowledged != l.count || received != l.count) {
		err = fmt.Errorf("%s, %s: sent %d, acknowledged %d, the broker has %d: not a result", which, l.name, l.count, sum.Acknowledged, received)
	}
	return f, err
}

// target starts the process under test and says where it listens.
func (b *bench) target(ctx context.Context, which, brokers string) (t target, grpcAddr, httpAddr string, err error) {
	if which == "gateway" {
		g, err := startGateway(ctx, filepath.Join(b.logs, "gateway.log"), b.bin.gateway, "KAFKA_BROKERS="+brokers, "KAFKA_COMPRESSION=none")
		if err != nil {
			return nil, "", "", err
		}
		return g, g.grpc, g.http, nil
	}
	p, err := start(filepath.Join(b.logs, "baseline.log"), b.bin.baseline, []string{"KAFKA_BROKERS=" + brokers, "GRPC_PORT=0"})
	if err != nil {
		return nil, "", "", err
	}
	addr, err := p.line()
	p.rest()
	return p, addr, "", err
}

// generate runs the generator to its end.
func (b *bench) generate(ctx context.Context, addr string, l load) (t totals, err error) {
	args := []string{"publish", "--address", addr, "--json", "--count", strconv.Itoa(l.count), "--streams", strconv.Itoa(l.streams),
		"--keys", "1000", "--size", strconv.Itoa(l.size), "--source", "bench/source", "--type", "bench.event.happened"}
	if l.batch > 1 {
		args = append(args, "--batch", strconv.Itoa(l.batch))
	}
	if l.window > 0 {
		args = append(args, "--window", strconv.Itoa(l.window))
	}
	cmd := exec.CommandContext(ctx, b.bin.gateway, args...)
	cmd.Stderr = os.Stderr
	raw, err := cmd.Output()
	if e := json.Unmarshal(raw, &t); e != nil {
		return t, fmt.Errorf("gateway publish said %q: %w", raw, e)
	}
	if err != nil {
		return t, fmt.Errorf("gateway publish: %w: %s", err, raw)
	}
	return t, nil
}

// stopBroker ends the discarding broker and reads how many records it received.
func stopBroker(p *process) (received int, err error) {
	go func() { _ = p.cmd.Process.Signal(os.Interrupt) }()
	line, err := p.line()
	if err != nil {
		return 0, err
	}
	var r struct {
		Received int `json:"received"`
	}
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		return 0, fmt.Errorf("the broker said %q: %w", line, err)
	}
	return r.Received, p.cmd.Wait()
}

// fetchProfile takes a CPU profile of two seconds from a running gateway.
func fetchProfile(addr, file string) error {
	<-time.After(time.Second) // past the start-up of the load
	r, err := http.Get("http://" + addr + "/debug/pprof/profile?seconds=2")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("profile: %s: %s", r.Status, raw)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0o644)
}
