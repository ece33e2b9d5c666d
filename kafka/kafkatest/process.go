//go:build unix

package kafkatest

// One child process that this process owns: started in its own process group, signalled by its id, never
// outlived.

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// findJava says what to do when there is none.
func findJava() error {
	if _, err := exec.LookPath("java"); err != nil {
		return errors.New("java is not on the PATH: Kafka " + version + " and the schema registry need " +
			"Java 17 or newer (Debian: apt-get install openjdk-17-jre-headless)")
	}
	return nil
}

type process struct {
	cmd    *exec.Cmd
	log    string
	exited chan struct{} // closed when the process is gone and reaped
}

// startProcess starts the command with both outputs appended to the file log.
func startProcess(log, name string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }() // the child has its own copy
	p := &process{cmd: exec.Command(name, args...), log: log, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = childAttr()
	started := make(chan error)
	go p.run(started)
	return p, <-started
}

// run holds its thread as long as the child lives: the kernel sends the parent-death signal when the *thread*
// that started the child ends, and the Go runtime may end threads at any time.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.exited)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // how a broker ended is in its log
	}
}

func (p *process) alive() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) signal(sig syscall.Signal) error {
	if !p.alive() {
		return fmt.Errorf("process %d is not running", p.cmd.Process.Pid)
	}
	return p.cmd.Process.Signal(sig)
}

func (p *process) pause() error  { return p.signal(syscall.SIGSTOP) }
func (p *process) resume() error { return p.signal(syscall.SIGCONT) }

// kill ends the process at once, also a paused one, and returns when it is gone.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.waitExit(10 * time.Second)
}

// stop asks the process to end and gives it the time to do so.
func (p *process) stop(within time.Duration) error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := p.signal(syscall.SIGCONT); err != nil { // a paused process acts on no SIGTERM
		return nil // gone already
	}
	return p.waitExit(within)
}

func (p *process) waitExit(within time.Duration) error {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timer.C:
		return fmt.Errorf("process %d has not ended within %s", p.cmd.Process.Pid, within)
	}
}

// logTail returns the last lines of what the process wrote.
func (p *process) logTail(lines int) []byte {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return []byte(err.Error())
	}
	return lastLines(text, lines)
}

func lastLines(text []byte, n int) []byte {
	text = bytes.TrimRight(text, "\n")
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] == '\n' {
			if n--; n == 0 {
				return text[i+1:]
			}
		}
	}
	return text
}
