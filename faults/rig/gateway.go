//go:build faults || kafka

package rig

// The gateway under test: the real binary with its own ports, folder and log.

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Gateway is a gateway that can be started again and again on the same addresses.
type Gateway struct {
	// GRPC and HTTP are its addresses; they stay the same over restarts.
	GRPC, HTTP string
	// Dir has its log and, with the embedded broker, its data.
	Dir string
	// Settings are environment variables, in force at the next Start.
	Settings []string
	// Wrap is put before the program at the next Start: prlimit, for example.
	Wrap []string

	t       testing.TB
	program string
	child   *child
	starts  int
	scraper *http.Client
}

// NewGateway prepares a gateway; it ends with the test. Later settings win.
func NewGateway(t testing.TB, dir string, settings ...string) *Gateway {
	t.Helper()
	addrs := FreeAddrs(t, 2)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	g := &Gateway{GRPC: addrs[0], HTTP: addrs[1], Dir: dir, t: t, program: Binary(t, "."),
		scraper: &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}}
	_, grpcPort, _ := net.SplitHostPort(g.GRPC)
	_, httpPort, _ := net.SplitHostPort(g.HTTP)
	g.Settings = append([]string{"GRPC_BIND=127.0.0.1", "HTTP_BIND=127.0.0.1", "GRPC_PORT=" + grpcPort, "HTTP_PORT=" + httpPort,
		"RATE_LIMIT_ENABLED=false", "SUBSCRIBE_MAX_READERS=256", // of which one client, here everybody, may have a quarter
		"EMBEDDED_DATA_DIR=" + filepath.Join(dir, "data"),
		// All load comes from one host, which is one client to the gateway.
		"CLIENT_MAX_INFLIGHT_BYTES=64MiB"}, settings...)
	t.Cleanup(func() { g.child.kill() })
	return g
}

// Start starts it and does not wait.
func (g *Gateway) Start() *Gateway {
	g.t.Helper()
	if g.child.alive() {
		g.t.Fatal("the gateway is running")
	}
	env := append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, g.Settings...)
	command := append(append([]string(nil), g.Wrap...), g.program)
	c, err := startChild(g.logFile(), env, command[0], command[1:]...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.child = c
	g.starts++
	return g
}

// Ready waits for /ready.
func (g *Gateway) Ready() *Gateway {
	g.t.Helper()
	if !Within(Patience, func() bool { return !g.child.alive() || g.IsReady() }) || !g.child.alive() {
		g.t.Fatalf("the gateway does not become ready; the end of its log:\n%s", tail(g.Log(), 20))
	}
	return g
}

// IsReady asks /ready once.
func (g *Gateway) IsReady() bool {
	code, _ := g.Get("/ready")
	return code == http.StatusOK
}

// Get asks the HTTP server; code 0 = no answer.
func (g *Gateway) Get(path string) (code int, body string) {
	response, err := g.scraper.Get("http://" + g.HTTP + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(text)
}

// Alive tells whether the process runs.
func (g *Gateway) Alive() bool { return g.child.alive() }

// Pid is the process id of the gateway that was started last.
func (g *Gateway) Pid() int { return g.child.cmd.Process.Pid }

// Starts counts them.
func (g *Gateway) Starts() int { return g.starts }

// Kill ends it with SIGKILL and waits until it is gone.
func (g *Gateway) Kill() { g.child.kill() }

// Signal sends it a signal.
func (g *Gateway) Signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.child.cmd.Process.Signal(s); err != nil {
		g.t.Fatalf("%v to the gateway: %v", s, err)
	}
}

// Exit waits for its end and returns the exit code; -1 = it did not end in time, or by a signal.
func (g *Gateway) Exit(within time.Duration) int {
	g.t.Helper()
	code, err := g.child.exit(within)
	if err != nil {
		g.t.Error(err)
	}
	return code
}

func (g *Gateway) logFile() string { return filepath.Join(g.Dir, "gateway.log") }

// Log is all that it wrote, over all starts.
func (g *Gateway) Log() string {
	text, err := os.ReadFile(g.logFile())
	if err != nil {
		return ""
	}
	return string(text)
}

// Lines are the log lines with that message, oldest first.
func (g *Gateway) Lines(message string) (lines []map[string]any) {
	for line := range strings.Lines(g.Log()) {
		var record map[string]any
		if json.Unmarshal([]byte(line), &record) == nil && record["message"] == message {
			lines = append(lines, record)
		}
	}
	return lines
}

// Said tells whether any line contains the text.
func (g *Gateway) Said(text string) bool { return strings.Contains(g.Log(), text) }

func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Panicked returns what the gateway must never write.
func (g *Gateway) Panicked() string {
	for _, bad := range []string{"a worker panicked", "panic:", "fatal error:", "DATA RACE", "were not given back at close"} {
		for line := range strings.Lines(g.Log()) {
			if strings.Contains(line, bad) {
				return fmt.Sprintf("the log says %q: %s", bad, strings.TrimSpace(line))
			}
		}
	}
	return ""
}
