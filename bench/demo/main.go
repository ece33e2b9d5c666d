// Command demo shows the gateway at work, on its own and in one go: it starts a gateway with the embedded
// broker in a directory of its own, sends events through gRPC, reads them back with a Kafka client, and
// compares.
//
//	go run ./bench/demo
//	go run ./bench/demo -count 1000000 -rate 0
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// options are the command line.
type options struct {
	count    int64
	duration time.Duration
	rate     float64
	batch    int
	gateway  string
}

func main() {
	var o options
	flag.Int64Var(&o.count, "count", 0, "send this many events (default: for -duration)")
	flag.DurationVar(&o.duration, "duration", 10*time.Second, "send for this long")
	flag.Float64Var(&o.rate, "rate", 50_000, "events a second; 0 = as fast as answers come")
	flag.IntVar(&o.batch, "batch", 100, "events in a message")
	flag.StringVar(&o.gateway, "gateway", "", "gateway binary (default: built from this repository)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo runs all of it; nothing that it started is left when it returns.
func demo(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "gateway-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if o.gateway == "" {
		fmt.Println("building the gateway ...")
		o.gateway = filepath.Join(dir, "gateway")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.gateway, "github.com/event-gateway/event-gateway")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building the gateway: %w", err)
		}
	}
	g, err := startGateway(ctx, o.gateway, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	fmt.Printf("gateway: process %d, gRPC on %s, Kafka protocol on %s\n", g.cmd.Process.Pid, g.grpc, g.kafka)

	sent, err := send(ctx, o, g.grpc)
	if err != nil {
		return err
	}
	fmt.Printf("sent %d events in %.1f s: %d acknowledged (%.0f a second), %d refused, %d unknown\n",
		sent.Sent, sent.Seconds, sent.Acknowledged, sent.Rate, sent.Refused, sent.Unknown+sent.NoAnswer)
	if l := sent.Latency; l != nil {
		fmt.Printf("latency in ms: p50 %.2f, p90 %.2f, p99 %.2f, p99.9 %.2f, max %.2f\n", l.P50, l.P90, l.P99, l.P999, l.Max)
	}
	began := time.Now()
	found, err := readBack(ctx, g.kafka)
	if err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	fmt.Printf("read back %d records with a Kafka client in %.1f s: %d different events, %d out of order within their key\n",
		found.records, time.Since(began).Seconds(), len(found.ids), found.disorder)
	return compare(sent, found)
}

// compare says whether Kafka has what was acknowledged.
func compare(sent totals, found readings) error {
	fmt.Printf("acknowledged %d, found %d\n", sent.Acknowledged, len(found.ids))
	acknowledged := sent.Acknowledged
	switch most := acknowledged + sent.Unknown + sent.NoAnswer; {
	case acknowledged == 0:
		return errors.New("nothing was acknowledged")
	case int64(len(found.ids)) < acknowledged || int64(len(found.ids)) > most:
		return fmt.Errorf("%d events were acknowledged, but Kafka has %d", acknowledged, len(found.ids))
	case found.records != len(found.ids):
		return fmt.Errorf("%d events are there more than once", found.records-len(found.ids))
	case found.disorder > 0:
		return fmt.Errorf("%d events are out of order", found.disorder)
	case sent.Sent != acknowledged:
		return fmt.Errorf("%d of %d events were not acknowledged", sent.Sent-acknowledged, sent.Sent)
	}
	fmt.Println("every acknowledged event is in Kafka, once and in order")
	return nil
}

// gateway is the child process.
type gateway struct {
	cmd         *exec.Cmd
	grpc, kafka string
}

// startTime bounds the gateway's start, and stopTime its stop.
const (
	startTime = 30 * time.Second
	stopTime  = 30 * time.Second
)

func startGateway(ctx context.Context, binary, data string) (*gateway, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	g := &gateway{cmd: exec.Command(binary), kafka: "127.0.0.1:" + port}
	g.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		"GRPC_BIND=127.0.0.1", "GRPC_PORT=0", "HTTP_BIND=127.0.0.1", "HTTP_PORT=0", "RATE_LIMIT_ENABLED=false",
		"EMBEDDED_KAFKA_PORT=" + port, "EMBEDDED_DATA_DIR=" + data,
		"EMBEDDED_MAX_BYTES=64GiB"} // or retention takes what is to be read back
	g.cmd.SysProcAttr = ownGroup() // Ctrl-C is for the demo, which stops the gateway itself
	output, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	g.cmd.Stderr = os.Stderr
	if err := g.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the gateway: %w", err)
	}
	address := make(chan string, 1)
	go follow(output, address)
	select {
	case found, ok := <-address:
		if !ok {
			return nil, errors.Join(errors.New("the gateway ended while it started; its lines are above"), g.stop())
		}
		g.grpc = found
	case <-time.After(startTime):
		return nil, errors.Join(fmt.Errorf("the gateway did not start within %v", startTime), g.stop())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), g.stop())
	}
	return g, nil
}

// follow reads the gateway's log: where it listens, and that it is ready. It passes on what went wrong.
func follow(output io.Reader, address chan<- string) {
	defer close(address)
	found := ""
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	ready := false
	for lines.Scan() {
		var line struct{ Level, Message, GRPC string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		switch {
		case line.Message == "gateway started":
			found = line.GRPC
		case line.Message == "ready":
			ready = true
		case line.Level == "error":
			fmt.Fprintln(os.Stderr, lines.Text())
		}
		if ready && found != "" {
			address <- found
			ready = false
		}
	}
}

// stop ends the gateway as an operator would: it drains and exits with 0.
func (g *gateway) stop() error {
	_ = g.cmd.Process.Signal(syscall.SIGTERM)
	kill := time.AfterFunc(stopTime, func() { _ = g.cmd.Process.Kill() })
	defer kill.Stop()
	if err := g.cmd.Wait(); err != nil {
		return fmt.Errorf("stopping the gateway: %w", err)
	}
	fmt.Println("gateway stopped")
	return nil
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// totals are what publish --json prints.
type totals struct {
	Sent         int64   `json:"sent"`
	Acknowledged int64   `json:"acknowledged"`
	Refused      int64   `json:"refused"`
	Unknown      int64   `json:"unknown"`
	NoAnswer     int64   `json:"no_answer"`
	Seconds      float64 `json:"seconds"`
	Rate         float64 `json:"acknowledged_per_second"`
	Latency      *struct {
		P50  float64 `json:"p50"`
		P90  float64 `json:"p90"`
		P99  float64 `json:"p99"`
		P999 float64 `json:"p99.9"`
		Max  float64 `json:"max"`
	} `json:"latency_ms"`
}

// send publishes with the gateway's own command, whose progress goes to stderr.
func send(ctx context.Context, o options, address string) (sent totals, err error) {
	args := []string{"publish", "--address", address, "--json", "--progress", "--streams", "2", "--keys", "1000",
		"--size", "100", "--batch", fmt.Sprint(o.batch)}
	if o.count > 0 {
		args = append(args, "--count", fmt.Sprint(o.count))
	} else {
		args = append(args, "--duration", o.duration.String())
	}
	if o.rate > 0 {
		args = append(args, "--rate", fmt.Sprint(o.rate))
	}
	publish := exec.CommandContext(ctx, o.gateway, args...)
	publish.Cancel = func() error { return publish.Process.Signal(os.Interrupt) }
	publish.Stderr = os.Stderr
	output, err := publish.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return sent, fmt.Errorf("publishing: %w", err)
	}
	if err := json.Unmarshal(output, &sent); err != nil {
		return sent, fmt.Errorf("the totals of publish: %w", err)
	}
	return sent, nil
}

// readings are what the Kafka client found.
type readings struct {
	records  int
	ids      map[string]struct{}
	disorder int
}

// readBack reads the whole topic.
func readBack(ctx context.Context, broker string) (readings, error) {
	found := readings{ids: map[string]struct{}{}}
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics("events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return found, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "events")
	if err != nil {
		return found, err
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	last := map[string]string{}
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return found, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			left--
			found.records++
			id := eventID(r)
			found.ids[id] = struct{}{}
			// Ids rise in the order of sending; all events of a key are on one stream.
			if key := string(r.Key); strings.Compare(id, last[key]) <= 0 {
				found.disorder++
			} else {
				last[key] = id
			}
		})
	}
	return found, nil
}

func eventID(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == "ce_id" {
			return string(h.Value)
		}
	}
	return ""
}
