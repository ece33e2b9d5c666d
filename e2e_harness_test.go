package main

// What the end-to-end tests share: the real binary as a child process, its
// commands, and a Kafka client that reads back what it has written.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
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
	watchSources()
	build := exec.Command("go", "build", "-o", binary, ".")
	if coverDir != "" {
		build = exec.Command("go", "build", "-cover", "-coverpkg=./...", "-o", binary, ".")
	}
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = runTests(m)
		http.DefaultClient.CloseIdleConnections()
		if err := goleak.Find(); code == 0 && err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// watchSources looks at every source file: go test notes that, and runs these tests again when one has
// changed, although the test binary itself may be the same.
func watchSources() {
	_ = filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			_, _ = os.Stat(path)
		}
		return nil
	})
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

// coverDir is where the children leave their coverage (make coverage); empty: they are built without it.
var coverDir = os.Getenv("GATEWAY_COVER_DIR")

// environ is the environment of a child: nothing of ours but what the test sets.
func environ(settings ...string) []string {
	if coverDir != "" {
		settings = append(settings, "GOCOVERDIR="+coverDir)
	}
	return append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, settings...)
}

// startGateway starts a gateway on free ports and waits until it says where it listens.
func startGateway(t *testing.T, settings ...string) *process {
	t.Helper()
	return startProcess(t, nil, settings...)
}

// startProcess is startGateway with a place of its own for stdout; nil = with stderr.
func startProcess(t *testing.T, stdout io.Writer, settings ...string) *process {
	t.Helper()
	p := &process{t: t, out: &lockedBuffer{}, exited: make(chan struct{})}
	p.cmd = exec.Command(binary)
	p.cmd.Env = append(environ("GRPC_PORT=0", "HTTP_PORT=0", "GRPC_BIND=127.0.0.1", "HTTP_BIND=127.0.0.1",
		"RATE_LIMIT_ENABLED=false"), settings...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
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
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// health is what grpc.health.v1 says.
func (p *process) health() healthpb.HealthCheckResponse_ServingStatus {
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	response, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil {
		return healthpb.HealthCheckResponse_UNKNOWN
	}
	return response.Status
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

	stderr string
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
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// readBack reads the whole topic with a Kafka client, in the order of each partition.
func readBack(t *testing.T, port string) (records []*kgo.Record) {
	t.Helper()
	return readEmbedded(t, port, "events")
}

// readEmbedded is readBack for another topic.
func readEmbedded(t *testing.T, port, topic string) (records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:"+port), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
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
