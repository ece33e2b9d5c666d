//go:build faults || kafka

package rig

// Children: built once, started in process groups of their own, killed by the
// kernel when the test dies, ended by id.

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// Patience bounds waits for what must come but has no promised time; a loaded machine may need some of it.
const Patience = 30 * time.Second

var built struct {
	sync.Mutex
	dir      string
	programs map[string]string
}

// Binary builds a package of this repository ("." is the gateway) once for all tests; tags are build tags.
func Binary(t testing.TB, pkg string, tags ...string) string {
	t.Helper()
	built.Lock()
	defer built.Unlock()
	name := pkg + "," + strings.Join(tags, ",")
	if program := built.programs[name]; program != "" {
		return program
	}
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatalf("where is the repository: %v", err)
	}
	if built.dir == "" {
		if built.dir, err = os.MkdirTemp("", "gateway-faults-"); err != nil {
			t.Fatal(err)
		}
		built.programs = map[string]string{}
	}
	program := filepath.Join(built.dir, fmt.Sprintf("program-%d", len(built.programs)))
	build := exec.Command("go", "build", "-tags", strings.Join(tags, ","), "-o", program, "./"+pkg)
	build.Dir = strings.TrimSpace(string(root))
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", pkg, err, out)
	}
	built.programs[name] = program
	return program
}

// RemoveBinaries removes what Binary built; TestMain calls it last.
func RemoveBinaries() {
	built.Lock()
	defer built.Unlock()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // a leftover in the temporary folder fails nothing
	}
	built.dir, built.programs = "", nil
}

// child is one process.
type child struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startChild appends both outputs to the file log.
func startChild(log string, env []string, name string, args ...string) (*child, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer out.Close() // the child has its own copy
	c := &child{cmd: exec.Command(name, args...), exited: make(chan struct{})}
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = env, out, out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() { // owns the child until it has ended
		// The parent-death signal comes when the thread that started the child ends, so it is held.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(c.exited)
		err := c.cmd.Start()
		started <- err
		if err == nil {
			_ = c.cmd.Wait()
		}
	}()
	return c, <-started
}

func (c *child) alive() bool {
	if c == nil {
		return false
	}
	select {
	case <-c.exited:
		return false
	default:
		return true
	}
}

// kill ends it at once and waits until it is gone.
func (c *child) kill() {
	if c.alive() {
		_ = c.cmd.Process.Kill()
		<-c.exited
	}
}

// exit waits for it to end.
func (c *child) exit(within time.Duration) (code int, err error) {
	select {
	case <-c.exited:
		return c.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return -1, fmt.Errorf("process %d has not ended within %v", c.cmd.Process.Pid, within)
	}
}

// FreeAddrs are addresses for servers that start later.
func FreeAddrs(t testing.TB, n int) []string {
	t.Helper()
	addrs, err := kafkatest.FreeAddrs(n)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// Within waits until is holds, looking every few milliseconds.
func Within(patience time.Duration, is func() bool) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if is() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}
