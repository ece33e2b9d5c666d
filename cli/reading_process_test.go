//go:build unix

package cli

// The commands as processes: signals and pipes are the operating system's.

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// command starts the program in a process of its own, with a pipe to read its output from.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, stdout *os.File, stderr *both) {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr = &both{}
	cmd = exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), "GATEWAY_COMMAND=1")
	cmd.Stdout, cmd.Stderr = write, stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	t.Cleanup(func() {
		_ = read.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd, read, stderr
}

// exitCode waits for the end of a process. It is -1 when a signal was the end.
func exitCode(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		t.Fatalf("the process does not end: %v", <-ended)
	}
	return cmd.ProcessState.ExitCode()
}

func readSome(t *testing.T, stdout io.Reader) {
	t.Helper()
	if _, err := stdout.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
}

func TestInterruptEndsTheProcess(t *testing.T) {
	gateway := &store{}
	gateway.fill(4, 1, rand.New(rand.NewPCG(1, 1)))
	address := startStore(t, gateway)
	cmd, stdout, stderr := command(t, "subscribe", "--address", address, "--since", "earliest")
	readSome(t, stdout)
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(t, cmd); code != exitOK || !strings.Contains(stderr.String(), "to go on: gateway subscribe --address "+address+" --cursor=c:") {
		t.Errorf("%d: %s", code, stderr.String())
	}
}

// A process that writes to a pipe that nobody reads ends with the second signal.
func TestSecondInterruptEndsABlockedProcess(t *testing.T) {
	gateway := &store{}
	for range 5000 { // far more than a pipe holds
		gateway.add(0, &eventv1.Event{Id: "0/0", Source: "s", Type: "t", Data: make([]byte, 100)})
	}
	cmd, stdout, stderr := command(t, "subscribe", "--address", startStore(t, gateway), "--since", "earliest")
	readSome(t, stdout)
	// Signals may merge, and the first one may come between two writes: either way it ends.
	stop := make(chan struct{})
	go func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = cmd.Process.Signal(syscall.SIGINT)
			case <-stop:
				return
			}
		}
	}()
	code := exitCode(t, cmd)
	close(stop)
	if code != 130 || !strings.Contains(stderr.String(), "second signal") {
		t.Errorf("%d: %s", code, stderr.String())
	}
}

// Without a word, and not by the signal that ends a process that does not care.
func TestClosedPipeEndsTheProcess(t *testing.T) {
	gateway := &store{}
	gateway.fill(3000, 1, rand.New(rand.NewPCG(1, 1)))
	address := startStore(t, gateway)
	for _, args := range [][]string{{"subscribe", "--since", "earliest"}, {"replay", "--from", "2026-01-02T15:00:00Z", "--to", "2026-01-02T16:00:00Z"}} {
		cmd, stdout, stderr := command(t, append(args, "--address", address)...)
		readSome(t, stdout)
		_ = stdout.Close()
		if code := exitCode(t, cmd); code != exitOK || stderr.String() != "" {
			t.Errorf("%v: %d: %s", args, code, stderr.String())
		}
	}
}
