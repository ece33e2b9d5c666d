package main

// End to end: events through the gateway's own publish command, read back with
// a Kafka client; settings, commands and exit codes of the real binary.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
)

func TestPublishedEventsAreInKafkaOnceAndInOrder(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port).ready()
	single := publish(t, p, 0, "--count", "2000", "--keys", "20")
	batch := publish(t, p, 0, "--count", "20000", "--keys", "20", "--batch", "100", "--streams", "2")
	if single.Acknowledged != 2000 || batch.Acknowledged != 20000 {
		t.Fatalf("%+v %+v", single, batch)
	}
	code, stdout, stderr := command(t, `{"type":"t","source":"/s","id":"line","data_text":"x"}`, environ(), "publish", "--address", p.grpc)
	if code != 0 {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	seen, last := map[string]bool{}, map[string]string{}
	for _, r := range readBack(t, port) {
		id := eventID(r)
		if seen[id] {
			t.Fatalf("%s is there twice", id)
		}
		seen[id] = true
		run, _, _ := strings.Cut(id, "-")
		if key := run + string(r.Key); id <= last[key] && run != "line" {
			t.Fatalf("%s comes after %s", id, last[key])
		} else {
			last[key] = id
		}
	}
	if len(seen) != 22001 {
		t.Fatalf("%d different events", len(seen))
	}
	checkIdentity(t, p, 22001)
	p.eventually("grpc.health SERVING", func() bool { return p.health() == healthpb.HealthCheckResponse_SERVING })
}

func TestUnaryCallsOfPublish(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port).ready()
	for _, args := range []string{"--count 500 --keys 20 --streams 4", "--count 5000 --batch 100 --streams 3", "--count 200 --rate 1000"} {
		publish(t, p, 0, append(strings.Fields(args), "--unary")...)
	}
	code, stdout, stderr := command(t, "", environ(), "publish", "--unary", "--address", p.grpc, "--type", "t", "--source", "/s", "--id", "one")
	if code != 0 || !strings.Contains(stdout, "acknowledged: one is in events, partition ") {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, "", environ(), "publish", "--unary", "--address", p.grpc, "--type", "t", "--source", strings.Repeat("x", 5000))
	if code != 1 || !strings.Contains(stdout, "refused at validate: INVALID_EVENT: source: ") {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	seen := map[string]bool{}
	for _, r := range readBack(t, port) {
		seen[eventID(r)] = true
	}
	if len(seen) != 5701 {
		t.Fatalf("%d different events", len(seen))
	}
	checkIdentity(t, p, 5702)
}

func TestRefusalsAreCountedAndNamed(t *testing.T) {
	t.Parallel()
	for _, unary := range []string{"", "--unary"} {
		p := startGateway(t, "SINK=discard", "RATE_LIMIT_ENABLED=true", "RATE_LIMIT_RPS=10", "RATE_LIMIT_BURST=50").ready()
		for i, batch := range []string{"100", "0"} {
			totals := publish(t, p, 1, append(strings.Fields(unary), "--count", "1000", "--batch", batch)...)
			if i == 0 && totals.Acknowledged < 50 || totals.Reasons["RATE_LIMITED"] != totals.Refused || totals.Acknowledged+totals.Refused != 1000 {
				t.Fatalf("%s: %+v", unary, totals)
			}
		}
		checkIdentity(t, p, 2000)
	}
}

func TestSettingsThatAreWrong(t *testing.T) {
	env := environ("GRPC_PORT=x", "JWT_SECRET=hush", "SHUTDOWN_GRACE=1h")
	code, stdout, stderr := command(t, "", env)
	if code != 2 || strings.Count(stderr, "\n") != 3 || stdout != "" || strings.Contains(stderr, "hush") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, "", env, "config")
	if code != 1 || strings.Count(stderr, "\n") != 3 || !strings.Contains(stdout, "SHUTDOWN_GRACE") || strings.Contains(stdout+stderr, "hush") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
	code, stdout, stderr = command(t, "", environ("RATE_LIMIT_RPS=5"), "config")
	if code != 0 || stderr != "" || !regexp.MustCompile(`RATE_LIMIT_RPS +5 +1000 +environment +`).MatchString(stdout) {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestAPortInUseFailsTheStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	code, stdout, _ := command(t, "", environ("SINK=discard", "GRPC_BIND=127.0.0.1", "HTTP_PORT=0", "GRPC_PORT="+port))
	if code != 1 || !strings.Contains(stdout, "127.0.0.1:"+port) {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func TestHealthcheck(t *testing.T) {
	p := startGateway(t, "SINK=discard").ready()
	_, port, _ := net.SplitHostPort(p.http)
	here := environ("HTTP_BIND=127.0.0.1", "HTTP_PORT="+port)
	for _, args := range []string{"healthcheck", "healthcheck --live", "healthcheck --address " + p.http} {
		if code, stdout, stderr := command(t, "", here, strings.Fields(args)...); code != 0 {
			t.Errorf("%s: exit code %d: %s%s", args, code, stdout, stderr)
		}
	}
	// Kafka that never answers: alive, not ready, and the reason is named.
	away := startGateway(t, "KAFKA_BROKERS=127.0.0.1:1")
	code, _, stderr := command(t, "", environ(), "healthcheck", "--address", away.http)
	if code != 1 || !strings.Contains(stderr, "503") || !strings.Contains(stderr, "Kafka has not answered yet") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := command(t, "", environ(), "healthcheck", "--live", "--address", away.http); code != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := command(t, "", environ("HTTP_PORT=1"), "healthcheck"); code != 1 || stderr == "" {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if code, _, stderr := command(t, "", environ("HTTP_PORT=0"), "healthcheck"); code != 1 || !strings.Contains(stderr, "--address") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestVersion(t *testing.T) {
	code, stdout, _ := command(t, "", environ(), "version")
	if code != 0 || !strings.Contains(stdout, "franz-go  v") || !strings.Contains(stdout, "google.golang.org/grpc") {
		t.Errorf("exit code %d: %s", code, stdout)
	}
}

func TestPublishStopsOnInterrupt(t *testing.T) {
	t.Parallel()
	p := startGateway(t, "SINK=discard").ready()
	for _, tc := range []struct {
		args string
		want int
	}{{"--duration 60s", 0}, {"--count 100000000", 1}} {
		cmd := exec.Command(binary, append(strings.Fields("publish --json --rate 1000 --progress --address "+p.grpc), strings.Fields(tc.args)...)...)
		var out bytes.Buffer
		errs := &lockedBuffer{}
		cmd.Env, cmd.Stdout, cmd.Stderr = environ(), &out, errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "progress", func() bool { return strings.Contains(errs.String(), "acknowledged") })
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		var got published
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Sent == 0 || got.Acknowledged != got.Sent ||
			cmd.ProcessState.ExitCode() != tc.want {
			t.Errorf("%s: %v %+v, exit code %d", tc.args, err, got, cmd.ProcessState.ExitCode())
		}
	}
}

// TestASlipIsNamedWhenTheStartFails: the slip may be why the value that was meant is not there.
func TestASlipIsNamedWhenTheStartFails(t *testing.T) {
	code, _, stderr := command(t, "", environ("GRPC_PORT=x", "KAFKA_REQURED_ACKS=leader"))
	if code != 2 || !strings.Contains(stderr, "GRPC_PORT=x: a whole number; a port from 0 to 65535\n") ||
		!strings.Contains(stderr, "KAFKA_REQURED_ACKS is set, but the gateway has no such setting; did you mean KAFKA_REQUIRED_ACKS?\n") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// TestTheStartLineShowsWhatIsInForce: 0 stands for a value that the gateway finds itself.
func TestTheStartLineShowsWhatIsInForce(t *testing.T) {
	p := startGateway(t, "SINK=discard", "MAX_INFLIGHT_BYTES=32MiB")
	settings := p.started["settings"].(map[string]any)
	for name, want := range map[string]string{"MAX_INFLIGHT_BYTES": "32MiB", "CLIENT_MAX_INFLIGHT_BYTES": "4MiB", "PARTITION_MAX_INFLIGHT_BYTES": "8MiB"} {
		if settings[name] != want {
			t.Errorf("%s is %v, want %s", name, settings[name], want)
		}
	}
	if n := p.started["workers"].(map[string]any)["decode"]; settings["STAGE_DECODE_WORKERS"] != fmt.Sprint(n) {
		t.Errorf("STAGE_DECODE_WORKERS is %v, and there are %v", settings["STAGE_DECODE_WORKERS"], n)
	}
}

// TestSinkLogKeepsStdoutForEvents: with nothing else set, stdout as it is can be piped into publish.
func TestSinkLogKeepsStdoutForEvents(t *testing.T) {
	p := startGateway(t, "SINK=discard")
	q := &lockedBuffer{}
	events := startProcess(t, q, "SINK=log")
	publish(t, events, 0, "--count", "50")
	events.signal(os.Interrupt)
	if code := events.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if n := strings.Count(q.String(), "\n"); n != 50 {
		t.Fatalf("%d lines on stdout:\n%s", n, q)
	}
	if !strings.Contains(events.out.String(), "SINK=log: stdout has the events") {
		t.Error("the log does not say where it went")
	}
	code, stdout, stderr := command(t, q.String(), environ(), "publish", "--address", p.grpc, "--json")
	var totals published
	if err := json.Unmarshal([]byte(stdout), &totals); err != nil || code != 0 || totals.Acknowledged != 50 {
		t.Errorf("%v, exit code %d: %s%s", err, code, stdout, stderr)
	}
}

func TestSinkLogWritesWhatPublishReads(t *testing.T) {
	p := startGateway(t, "SINK=log", "LOG_OUTPUT=stderr").ready()
	if code, _, stderr := command(t, "", environ(), "publish", "--address", p.grpc, "--type", "t", "--source", "/s", "--id", "first", "--data", "hi"); code != 0 {
		t.Fatal(stderr)
	}
	var line string
	for l := range strings.Lines(p.out.String()) {
		if strings.Contains(l, `"id":"first"`) {
			line = strings.Replace(l, "first", "second", 1)
		}
	}
	if code, stdout, stderr := command(t, line, environ(), "publish", "--address", p.grpc); code != 0 || line == "" {
		t.Fatalf("%q: %s%s", line, stdout, stderr)
	}
	if !strings.Contains(p.out.String(), `"id":"second","source":"/s","type":"t","data_text":"hi"`) {
		t.Error(p.out.String())
	}
}
