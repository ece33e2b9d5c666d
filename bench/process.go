package main

// Child processes: built once, started on free loopback ports, ended by their id.

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// binaries are the programs of a run.
type binaries struct{ gateway, baseline, discard string }

// build compiles the programs into dir.
func build(dir string) (binaries, error) {
	b := binaries{filepath.Join(dir, "gateway"), filepath.Join(dir, "baseline"), filepath.Join(dir, "discard")}
	for out, pkg := range map[string]string{b.gateway: ".", b.baseline: "./bench/baseline", b.discard: "./bench/discard/run"} {
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return b, fmt.Errorf("building %s: %w", pkg, err)
		}
	}
	return b, nil
}

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// start runs a program with additional environment; what it logs goes to the file log.
func start(log, program string, env []string, args ...string) (*process, error) {
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the child has its own descriptor
	cmd.Stderr = file
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", program, err)
	}
	return &process{cmd, bufio.NewScanner(out)}, nil
}

// line is the next line of the child's standard output.
func (p *process) line() (string, error) {
	if !p.lines.Scan() {
		return "", fmt.Errorf("%s ended without a line: %w", p.cmd.Path, io.ErrUnexpectedEOF)
	}
	return p.lines.Text(), nil
}

// rest reads standard output to its end, so that a talkative child never blocks.
func (p *process) rest() {
	go func() {
		for p.lines.Scan() {
		}
	}()
}

// cpu is the processor time that a living child has used so far, from /proc; 0 where there is none.
func (p *process) cpu() time.Duration {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	var total time.Duration
	for _, t := range tasks { // a process's own schedstat is that of its main thread only
		var ns, wait, slices int64
		if raw, err := os.ReadFile(t); err == nil {
			if _, err := fmt.Sscan(string(raw), &ns, &wait, &slices); err == nil {
				total += time.Duration(ns)
			}
		}
	}
	return total
}

// peak is the child's largest resident size in bytes so far.
func (p *process) peak() int64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		var kb int64
		if n, _ := fmt.Sscanf(s.Text(), "VmHWM: %d kB", &kb); n == 1 {
			return kb << 10
		}
	}
	return 0
}

// end asks the child to stop and waits; after 15 seconds it is killed.
func (p *process) end() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	kill := time.AfterFunc(15*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	return p.cmd.Wait()
}

// freePort is a loopback port that nobody uses now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// gatewayAt is a running gateway with its addresses.
type gatewayAt struct {
	*process
	grpc, http string
}

// startGateway starts the gateway on free ports and waits until it is ready.
func startGateway(ctx context.Context, log, program string, env ...string) (*gatewayAt, error) {
	grpcPort, err := freePort()
	if err != nil {
		return nil, err
	}
	httpPort, err := freePort()
	if err != nil {
		return nil, err
	}
	env = append([]string{
		"GRPC_BIND=127.0.0.1", "HTTP_BIND=127.0.0.1", "GRPC_PORT=" + strconv.Itoa(grpcPort), "HTTP_PORT=" + strconv.Itoa(httpPort),
		"RATE_LIMIT_ENABLED=false", "LOG_OUTPUT=stderr", "PPROF_ENABLED=true",
	}, env...)
	p, err := start(log, program, env)
	if err != nil {
		return nil, err
	}
	p.rest()
	g := &gatewayAt{p, fmt.Sprintf("127.0.0.1:%d", grpcPort), fmt.Sprintf("127.0.0.1:%d", httpPort)}
	for {
		if r, err := http.Get("http://" + g.http + "/ready"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return g, nil
			}
		}
		select {
		case <-ctx.Done():
			_ = g.end()
			return nil, fmt.Errorf("the gateway is not ready: %w; see %s", ctx.Err(), log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
