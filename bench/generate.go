package main

// The generators: gateway publish for everything that speaks gRPC, and franz-go alone for what Kafka's client takes
// without a gateway.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// totals are the parts of the generators' JSON that count here.
type totals struct {
	Sent         int64       `json:"sent"`
	Acknowledged int64       `json:"acknowledged"`
	Seconds      float64     `json:"seconds"`
	Rate         float64     `json:"acknowledged_per_second"`
	CPUNanos     float64     `json:"cpu_ns_per_event"`
	Latency      percentiles `json:"latency_ms"`
	Late         percentiles `json:"late_ms"`
}

type percentiles struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
}

// generate sends a load to each of the servers at the same time, and adds up.
func (b *bench) generate(ctx context.Context, l load, servers []*server) (sum totals, err error) {
	parts := make([]totals, len(servers))
	l.rate /= float64(len(servers))
	err = together(servers, func(i int, v *server) (err error) {
		parts[i], err = b.publish(ctx, l, v.grpc)
		return err
	})
	for _, p := range parts {
		sum.Rate += p.Rate
		sum.CPUNanos += p.CPUNanos * float64(p.Sent)
		sum.Sent += p.Sent
		sum.Acknowledged += p.Acknowledged
		sum.Latency = sum.Latency.worst(p.Latency)
		sum.Late = sum.Late.worst(p.Late)
	}
	if sum.Sent > 0 {
		sum.CPUNanos /= float64(sum.Sent)
	}
	if err == nil && (sum.Acknowledged == 0 || sum.Acknowledged != sum.Sent) {
		err = fmt.Errorf("%d events were sent, %d acknowledged: not a result", sum.Sent, sum.Acknowledged)
	}
	return sum, err
}

func (p percentiles) worst(o percentiles) percentiles {
	return percentiles{max(p.P50, o.P50), max(p.P99, o.P99), max(p.P999, o.P999)}
}

// publish runs one generator to its end.
func (b *bench) publish(ctx context.Context, l load, address string) (totals, error) {
	args := []string{"publish", "--address", address, "--json", "--duration", l.took.String(), "--streams", strconv.Itoa(l.streams),
		"--keys", strconv.Itoa(l.keys), "--size", strconv.Itoa(l.size), "--source", "bench/source", "--type", "bench.event.happened"}
	if l.batch > 0 {
		args = append(args, "--batch", strconv.Itoa(l.batch))
	}
	if l.unary {
		args = append(args, "--unary")
	}
	if l.window > 0 {
		args = append(args, "--window", strconv.Itoa(l.window))
	}
	if l.rate > 0 {
		args = append(args, "--rate", strconv.FormatFloat(l.rate, 'f', 1, 64))
	}
	return runGenerator(ctx, b.bin.generator, nil, args)
}

// produceAlone runs franz-go without a gateway.
func (b *bench) produceAlone(ctx context.Context, s scene, st *stage) (f figures, err error) {
	args := []string{"--brokers", st.broker.address(), "--topic", st.broker.topic(), "--size", strconv.Itoa(s.load.size),
		"--keys", strconv.Itoa(s.load.keys), "--burn", strconv.FormatFloat(s.burn, 'f', 0, 64)}
	if s.load.batch == 0 {
		args = append(args, "--inflight", strconv.Itoa(256*s.load.streams))
	}
	stored, err := st.broker.stored(ctx)
	if err != nil {
		return f, err
	}
	cpu := st.broker.cpu()
	sum, err := runGenerator(ctx, b.bin.franzgo, []string{plainCollector}, append(args, "--warmup", warmUp.String(), "--duration", s.load.took.String()))
	if err != nil {
		return f, err
	}
	if sum.Acknowledged == 0 {
		return f, errors.New("no record was acknowledged: not a result")
	}
	f = figures{Events: sum.Acknowledged, Rate: sum.Rate, Server: sum.CPUNanos, P50: sum.Latency.P50, P99: sum.Latency.P99,
		P999: sum.Latency.P999, Broker: float64(st.broker.cpu()-cpu) / float64(sum.Sent)}
	now, err := st.broker.stored(ctx)
	if err == nil && now-stored != sum.Sent {
		err = fmt.Errorf("%d records were acknowledged, with those of the warm-up, the broker has %d: not a result", sum.Sent, now-stored)
	}
	return f, err
}

// runGenerator runs a program that ends with its totals.
func runGenerator(ctx context.Context, program string, env, args []string) (t totals, err error) {
	err = runFor(ctx, &t, program, env, args)
	return t, err
}

// runFor runs a program that ends with one JSON object, which goes into result.
func runFor(ctx context.Context, result any, program string, env, args []string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	var said strings.Builder
	cmd.Stderr = &said
	raw, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(raw, result)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; it said %q %q", strings.Join(cmd.Args, " "), err, raw, said.String())
	}
	return nil
}
