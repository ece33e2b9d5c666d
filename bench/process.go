package main

// Child processes: built once, started on free loopback ports, ended by their id.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// binaries are the programs of a run. The generator is a gateway, too: this tree's, whichever is measured.
type binaries struct{ gateway, generator, baseline, discard, franzgo, rawgrpc, fanout, kafka string }

// build compiles the programs into dir, the way make build does.
func build(dir string) (binaries, error) {
	// One go build links them side by side; it names a program after its folder, and two folders are called run.
	in := func(name string) string { return filepath.Join(dir, "bin", name) }
	b := binaries{in("event-gateway"), in("event-gateway"), in("baseline"), in("run"), in("franzgo"), in("rawgrpc"), in("fanout"), filepath.Join(dir, "kafkarun")}
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return b, err
	}
	err := buildInto(".", filepath.Join(dir, "bin"), ".", "./bench/baseline", "./bench/discard/run", "./bench/limits/franzgo", "./bench/limits/rawgrpc", "./bench/fanout")
	if err != nil {
		return b, err
	}
	return b, buildInto(".", b.kafka, "./kafka/kafkatest/run")
}

// buildInto compiles packages of the module in folder tree: several into the folder out, one also into a
// file. All with the gateway's profile (make pgo), where the tree has one: what the gateway is compared with has
// the same libraries, and is to gain from it as much.
func buildInto(tree, out string, packages ...string) error {
	args := []string{"build", "-trimpath", "-o", out}
	if profile, err := filepath.Abs(filepath.Join(tree, "default.pgo")); err == nil {
		if _, err := os.Stat(profile); err == nil {
			args = append(args, "-pgo="+profile)
		}
	}
	cmd := exec.Command("go", append(args, packages...)...)
	cmd.Dir, cmd.Stderr = tree, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s in %s: %w", strings.Join(packages, " "), tree, err)
	}
	return nil
}

// process is a running child.
type process struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// startListening starts a program whose first line is its address.
func startListening(log, program string, env []string, args ...string) (p *process, address string, err error) {
	if p, err = start(log, program, env, args...); err != nil {
		return nil, "", err
	}
	if address, err = p.line(); err != nil {
		return nil, "", errors.Join(err, p.end())
	}
	p.rest()
	return p, address, nil
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

// lineLimit bounds the wait for a line; Kafka's first one may come after a download.
const lineLimit = 5 * time.Minute

// line is the next line of the child's standard output. A child that says nothing for too long is killed.
func (p *process) line() (string, error) {
	kill := time.AfterFunc(lineLimit, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
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

// family is the processor time of a child and of its children, counted by the kernel in ticks of 10 ms, with that of
// threads that have ended.
func (p *process) family() time.Duration {
	pids := []string{strconv.Itoa(p.cmd.Process.Pid)}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.cmd.Process.Pid))
	for _, t := range threads { // a child is listed with the thread that started it
		children, _ := os.ReadFile(t)
		pids = append(pids, strings.Fields(string(children))...)
	}
	ticks := 0
	for _, pid := range pids {
		raw, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil {
			continue
		}
		// The name, in parentheses, may hold anything; utime and stime are the 12th and 13th field after it.
		if fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:])); len(fields) > 13 {
			user, _ := strconv.Atoi(fields[11])
			system, _ := strconv.Atoi(fields[12])
			ticks += user + system
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
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

// startGateway starts the gateway on free ports and waits until it is ready.
func (b *bench) startGateway(ctx context.Context, env []string) (*server, error) {
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
	p, err := start(b.log("gateway"), b.bin.gateway, env)
	if err != nil {
		return nil, err
	}
	p.rest()
	ready := http.Client{Timeout: time.Second}
	v := &server{p, fmt.Sprintf("127.0.0.1:%d", grpcPort), fmt.Sprintf("127.0.0.1:%d", httpPort)}
	for {
		if r, err := ready.Get("http://" + v.http + "/ready"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return v, nil
			}
		}
		select {
		case <-ctx.Done():
			_ = v.end()
			return nil, fmt.Errorf("the gateway is not ready: %w; the end of its log:\n%s", ctx.Err(), tail(b.log("gateway")))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
