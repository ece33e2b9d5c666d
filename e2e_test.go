package main

// End to end: the real binary as a child process, events through its own
// publish command and through gRPC, read back with a Kafka client.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// runTests runs the tests; those against Apache Kafka end their broker after it.
var runTests = (*testing.M).Run

// binary is the gateway, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "gateway-e2e-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "gateway")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = runTests(m)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// patience bounds every wait of these tests; a loaded machine may need some of it.
const patience = 30 * time.Second

// process is a running gateway.
type process struct {
	t       *testing.T
	cmd     *exec.Cmd
	out     *lockedBuffer
	grpc    string
	http    string
	started map[string]any
	exited  chan struct{}
}

// lockedBuffer is written by the child's output and read by the test.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// environ is the environment of a child: nothing of ours but what the test sets.
func environ(settings ...string) []string {
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, settings...)
}

// startGateway starts a gateway on free ports and waits until it says where it listens.
func startGateway(t *testing.T, settings ...string) *process {
	t.Helper()
	p := &process{t: t, out: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd = exec.Command(binary)
	p.cmd.Env = append(environ("GRPC_PORT=0", "HTTP_PORT=0", "GRPC_BIND=127.0.0.1", "HTTP_BIND=127.0.0.1",
		"RATE_LIMIT_ENABLED=false"), settings...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
		if t.Failed() {
			t.Logf("log of process %d:\n%s", p.cmd.Process.Pid, p.out)
		}
	})
	p.started = p.line("gateway started")
	p.grpc, p.http = p.started["grpc"].(string), p.started["http"].(string)
	return p
}

// line waits for a log line with that message.
func (p *process) line(message string) (found map[string]any) {
	p.t.Helper()
	p.eventually("log line "+message, func() bool {
		for line := range strings.Lines(p.out.String()) {
			var record map[string]any
			if json.Unmarshal([]byte(line), &record) == nil && record["message"] == message {
				found = record
			}
		}
		return found != nil
	})
	return found
}

func (p *process) eventually(what string, is func() bool) {
	p.t.Helper()
	eventually(p.t, what, is)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("gave up waiting for: %s", what)
		}
	}
}

// ready waits for /ready.
func (p *process) ready() *process {
	p.t.Helper()
	p.eventually("/ready", func() bool {
		code, _ := p.get("/ready")
		return code == http.StatusOK
	})
	return p
}

func (p *process) get(path string) (code int, body string) {
	response, err := http.Get("http://" + p.http + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// exit waits for the process to end and returns its exit code.
func (p *process) exit() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		p.t.Fatal("the process does not end")
		return -1
	}
}

// command runs one of the other commands of the binary.
func command(t *testing.T, stdin string, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = env, strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// published are the totals of publish --json that the tests look at.
type published struct {
	Sent         int64            `json:"sent"`
	Acknowledged int64            `json:"acknowledged"`
	Refused      int64            `json:"refused"`
	Unknown      int64            `json:"unknown"`
	NoAnswer     int64            `json:"no_answer"`
	Reasons      map[string]int64 `json:"refused_reasons"`
}

func publish(t *testing.T, p *process, want int, args ...string) (totals published) {
	t.Helper()
	code, stdout, stderr := command(t, "", environ(), append([]string{"publish", "--address", p.grpc, "--json"}, args...)...)
	if code != want {
		t.Fatalf("publish: exit code %d, want %d: %s%s", code, want, stdout, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &totals); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	return totals
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// readBack reads the whole topic with a Kafka client, in the order of each partition.
func readBack(t *testing.T, port string) (records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:"+port), kgo.ConsumeTopics("events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, "events")
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%v, %d records to go", err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records = append(records, r)
			left--
		})
	}
	return records
}

func eventID(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == "ce_id" {
			return string(h.Value)
		}
	}
	return ""
}

// checkIdentity reads /metrics and checks that every accepted event has exactly one outcome.
func checkIdentity(t *testing.T, p *process, accepted int64) {
	t.Helper()
	_, text := p.get("/metrics")
	value := func(name string) (sum int64) {
		matches := regexp.MustCompile(`(?m)^`+name+`\{[^}]*origin="grpc"[^}]*\} (\d+)$`).FindAllStringSubmatch(text, -1)
		if len(matches) == 0 {
			t.Fatalf("no metric %s in\n%s", name, text)
		}
		for _, m := range matches {
			n, _ := strconv.ParseInt(m[1], 10, 64)
			sum += n
		}
		return sum
	}
	if a, o, f := value("gateway_events_accepted_total"), value("gateway_events_total"), value("gateway_events_in_flight"); a != accepted || a != o || f != 0 {
		t.Errorf("accepted %d (want %d), outcomes %d, in flight %d", a, accepted, o, f)
	}
	if !strings.Contains(text, "gateway_build_info{") || !strings.Contains(text, "process_cpu_seconds_total") {
		t.Error("build information or process metrics are missing")
	}
}

func TestPublishedEventsAreInKafkaOnceAndInOrder(t *testing.T) {
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
}

func TestRefusalsAreCountedAndNamed(t *testing.T) {
	p := startGateway(t, "SINK=discard", "RATE_LIMIT_ENABLED=true", "RATE_LIMIT_RPS=10", "RATE_LIMIT_BURST=50").ready()
	totals := publish(t, p, 1, "--count", "1000", "--batch", "100")
	if totals.Acknowledged < 50 || totals.Reasons["RATE_LIMITED"] != totals.Refused || totals.Acknowledged+totals.Refused != 1000 {
		t.Fatalf("%+v", totals)
	}
	checkIdentity(t, p, 1000)
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
	defer l.Close()
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

// background publishes in the background until the gateway goes away.
func background(t *testing.T, p *process) (totals func() published) {
	t.Helper()
	cmd := exec.Command(binary, "publish", "--address", p.grpc, "--duration", "20s", "--batch", "50", "--streams", "2",
		"--keys", "100", "--json", "--timeout", "4s")
	var out bytes.Buffer
	cmd.Env, cmd.Stdout = environ(), &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return func() (totals published) {
		_ = cmd.Wait() // exit code 1: the gateway went away
		if err := json.Unmarshal(out.Bytes(), &totals); err != nil {
			t.Fatalf("%v: %q", err, out.String())
		}
		return totals
	}
}

func TestDrainUnderLoadLosesNothing(t *testing.T) {
	dir, port := t.TempDir(), freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+dir, "EMBEDDED_KAFKA_PORT="+port, "SHUTDOWN_GRACE=200ms").ready()
	totals := loadUntil(t, p, 20000)
	p.signal(syscall.SIGTERM)
	p.eventually("/ready 503 while draining", func() bool {
		code, body := p.get("/ready")
		return code == 503 && strings.Contains(body, "draining") || code == 0
	})
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	got := totals()
	end := p.line("gateway stopped")
	sum := 0.0
	for _, outcome := range []string{"acknowledged", "filtered", "duplicate", "refused", "unknown"} {
		sum += end[outcome].(float64)
	}
	if sum != end["accepted"].(float64) || end["unknown"] != 0.0 || end["acknowledged"].(float64) < float64(got.Acknowledged) {
		t.Errorf("%v against %+v", end, got)
	}
	p = startGateway(t, "EMBEDDED_DATA_DIR="+dir, "EMBEDDED_KAFKA_PORT="+port).ready()
	if found := len(readBack(t, port)); float64(found) != end["acknowledged"].(float64) {
		t.Errorf("%v acknowledged, %d found", end["acknowledged"], found)
	}
}

// loadUntil is background, once n events were acknowledged.
func loadUntil(t *testing.T, p *process, n int64) (totals func() published) {
	t.Helper()
	totals = background(t, p)
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
	defer conn.Close()
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

func TestDrainWithoutKafkaIsBounded(t *testing.T) {
	port := freePort(t)
	broker := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port).ready()
	p := startGateway(t, "KAFKA_BROKERS=127.0.0.1:"+port, "SHUTDOWN_TIMEOUT=3s").ready()
	totals := loadUntil(t, p, 5000)
	broker.signal(syscall.SIGSTOP)
	defer broker.signal(syscall.SIGCONT)
	stalled := regexp.MustCompile(`gateway_events_in_flight\{origin="grpc"\} [1-9]`)
	p.eventually("events in flight", func() bool { _, text := p.get("/metrics"); return stalled.MatchString(text) })
	began := time.Now()
	p.signal(syscall.SIGTERM)
	code := p.exit()
	if took := time.Since(began); code != 3 || took > 3500*time.Millisecond {
		t.Errorf("exit code %d after %v", code, took)
	}
	end := p.line("gateway stopped")
	got := totals()
	if end["unknown"].(float64) == 0 {
		t.Errorf("%v", end)
	}
	if got.Unknown == 0 {
		t.Errorf("no unknown outcome reached the client: %+v, %v", got, end)
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
