package main

// End to end: how the process ends and comes back. Drain under load, without
// Kafka, a second signal, SIGKILL, SIGHUP.

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// background publishes in the background until the gateway goes away.
func background(t *testing.T, p *process, timeout string) (totals func() published) {
	t.Helper()
	cmd := exec.Command(binary, "publish", "--address", p.grpc, "--duration", "20s", "--batch", "50", "--streams", "2",
		"--keys", "100", "--json", "--timeout", timeout)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = environ(), &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() (totals published) {
		_ = cmd.Wait() // exit code 1: the gateway went away
		if err := json.Unmarshal(out.Bytes(), &totals); err != nil {
			t.Fatalf("%v: %q", err, out.String())
		}
		totals.stderr = errs.String()
		return totals
	}
}

func TestDrainUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+dir, "EMBEDDED_KAFKA_PORT="+port, "SHUTDOWN_GRACE=1s").ready()
	totals := loadUntil(t, p, 20000, "2s")
	p.signal(syscall.SIGTERM)
	p.eventually("/ready 503 while draining", func() bool {
		code, body := p.get("/ready")
		return code == 503 && strings.Contains(body, "draining")
	})
	p.eventually("grpc.health NOT_SERVING while draining", func() bool { return p.health() == healthpb.HealthCheckResponse_NOT_SERVING })
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	got := totals()
	if !strings.Contains(got.stderr, "the gateway is shutting down") {
		t.Errorf("the streams did not end with DRAINING: %s", got.stderr)
	}
	end := p.line("gateway stopped")
	sum := 0.0
	for _, outcome := range []string{"acknowledged", "filtered", "duplicate", "refused", "unknown"} {
		sum += end[outcome].(float64)
	}
	// Every acknowledgement has reached the client. A refusal in the last moment may have reached it as the
	// stream's own status.
	if sum != end["accepted"].(float64) || end["unknown"] != 0.0 ||
		end["acknowledged"] != float64(got.Acknowledged) || end["refused"].(float64) < float64(got.Refused) {
		t.Errorf("%v against %+v", end, got)
	}
	p = startGateway(t, "EMBEDDED_DATA_DIR="+dir, "EMBEDDED_KAFKA_PORT="+port).ready()
	if found := len(readBack(t, port)); float64(found) != end["acknowledged"].(float64) {
		t.Errorf("%v acknowledged, %d found", end["acknowledged"], found)
	}
}

// loadUntil is background, once n events were acknowledged.
func loadUntil(t *testing.T, p *process, n int64, timeout string) (totals func() published) {
	t.Helper()
	totals = background(t, p, timeout)
	acknowledged := regexp.MustCompile(`gateway_events_total\{origin="grpc",outcome="acknowledged"\} (\d+)`)
	p.eventually("events acknowledged", func() bool {
		_, text := p.get("/metrics")
		m := acknowledged.FindStringSubmatch(text)
		if m == nil {
			return false
		}
		have, _ := strconv.ParseInt(m[1], 10, 64)
		return have >= n
	})
	return totals
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	p := startGateway(t, "SINK=discard", "SHUTDOWN_GRACE=19s").ready()
	p.signal(syscall.SIGTERM)
	p.line("stopping")
	p.signal(os.Interrupt)
	if code := p.exit(); code != 130 {
		t.Errorf("exit code %d", code)
	}
}

func TestKilledGatewayKeepsWhatItAcknowledged(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+dir, "EMBEDDED_KAFKA_PORT="+port).ready()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	client := gatewayv1.NewEventGatewayClient(conn)
	var acknowledged []string
	for n := 0; ; n++ {
		request := &gatewayv1.IngestEventBatchRequest{}
		for i := range 20 {
			request.Events = append(request.Events, &eventv1.Event{Id: fmt.Sprintf("%d-%d", n, i), Type: "t", Source: "/s",
				PartitionKey: fmt.Sprint(i), Data: []byte("data")})
		}
		if n == 100 { // in the middle of the traffic, not between two calls
			time.AfterFunc(2*time.Millisecond, func() { _ = p.cmd.Process.Kill() })
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		response, err := client.IngestEventBatch(ctx, request)
		cancel()
		if err != nil {
			break
		}
		if response.Succeeded != 20 {
			t.Fatal(response)
		}
		for _, e := range request.Events {
			acknowledged = append(acknowledged, e.Id)
		}
	}
	p.exit()
	p = startGateway(t, "EMBEDDED_DATA_DIR="+dir, "EMBEDDED_KAFKA_PORT="+port).ready()
	found := map[string]bool{}
	for _, r := range readBack(t, port) {
		found[eventID(r)] = true
	}
	for _, id := range acknowledged {
		if !found[id] {
			t.Fatalf("%s was acknowledged and is lost (%d acknowledged, %d found)", id, len(acknowledged), len(found))
		}
	}
	publish(t, p, 0, "--count", "100")
}

func TestHangupOpensTheLogAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.log")
	cmd := exec.Command(binary)
	cmd.Env = environ("SINK=discard", "GRPC_PORT=0", "HTTP_PORT=0", "LOG_OUTPUT="+path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	has := func(path, text string) func() bool {
		return func() bool {
			b, _ := os.ReadFile(path)
			return bytes.Contains(b, []byte(text))
		}
	}
	eventually(t, "start in the log file", has(path, "gateway started"))
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(syscall.SIGHUP)
	eventually(t, "the new file", has(path, "log opened anew"))
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil || !has(path, "gateway stopped")() || has(path+".1", "gateway stopped")() {
		t.Errorf("%v", err)
	}
}

// awaitStall waits until events are in flight and Kafka acknowledges nothing any more. Right after a broker was
// signalled to stop, what is in flight may still be acknowledged.
func (p *process) awaitStall() {
	p.t.Helper()
	inFlight := regexp.MustCompile(`gateway_events_in_flight\{origin="grpc"\} [1-9]`)
	acknowledged := regexp.MustCompile(`gateway_events_total\{origin="grpc",outcome="acknowledged"\} \d+`)
	last, since := "", time.Now()
	p.eventually("events that stay in flight", func() bool {
		_, text := p.get("/metrics")
		if now := acknowledged.FindString(text); now != last || !inFlight.MatchString(text) {
			last, since = now, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
}

func TestDrainWithoutKafkaIsBounded(t *testing.T) {
	port := freePort(t)
	broker := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port).ready()
	p := startGateway(t, "KAFKA_BROKERS=127.0.0.1:"+port, "SHUTDOWN_TIMEOUT=3s").ready()
	totals := loadUntil(t, p, 5000, "4s")
	broker.signal(syscall.SIGSTOP)
	defer broker.signal(syscall.SIGCONT)
	p.awaitStall()
	began := time.Now()
	p.signal(syscall.SIGTERM)
	code := p.exit()
	if took := time.Since(began); code != 3 || took > 6*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	end := p.line("gateway stopped")
	if took := end["took_ms"].(float64); took > 4000 { // the machine may be slow; the drain itself has an end
		t.Errorf("the drain took %v ms", took)
	}
	got := totals()
	if end["unknown"].(float64) == 0 {
		t.Errorf("%v", end)
	}
	if got.Unknown == 0 {
		t.Errorf("no unknown outcome reached the client: %+v, %v", got, end)
	}
}
