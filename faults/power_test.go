//go:build faults

package faults

// Power loss, without pulling a plug: what is not synced is lost then, so the
// order of the gateway's system calls says whether anything acknowledged would be.

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/event-gateway/event-gateway/faults/rig"
)

// syncBeforeAnswer watches the gateway with strace while one caller sends one event after the other: whenever an
// answer leaves, no byte of the log may be written and not synced.
func syncBeforeAnswer(x *run) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		x.Skip("strace is not installed: the order of fsync and answer is not checked")
	}
	trace := filepath.Join(x.dir, "strace.out")
	cmd := exec.Command(strace, "-f", "-yy", "-x", "-s", "9", "-e", "trace=write,writev,pwrite64,fsync,fdatasync,sendto,sendmsg",
		"-o", trace, "-p", strconv.Itoa(x.gateway.Pid()))
	if err := cmd.Start(); err != nil {
		x.Fatal(err)
	}
	calls := func() int { raw, _ := os.ReadFile(trace); return strings.Count(string(raw), "sync(") }
	if !rig.Within(20*time.Second, func() bool { return calls() > x.times(100, 2000) }) {
		x.Errorf("%d syncs in 20 s", calls())
	}
	_ = cmd.Process.Signal(syscall.SIGINT)
	_ = cmd.Wait() // by the signal
	answers, early := readTrace(x, trace, x.gateway.GRPC)
	x.say("%d answers, %d of them before their event was synced", answers, len(early))
	if answers*4 < calls() || len(early) > 0 { // an event is two syncs: log and index
		x.Errorf("P1: %d answers, of which left while the log was not synced: %d, the first %q", answers, len(early), early[:min(1, len(early))])
	}
}

// systemCall is the beginning of a call, or the end of one that strace had to interrupt. fd has its path or its address.
var systemCall = regexp.MustCompile(`^(\d+) +(?:(\w+)\(\d+<(TCP:\[[^\]]*\]|[^>]*)>(?:, "([^"]*)")?|<\.\.\. (\w+) resumed>)(.*)$`)

// readTrace counts the answers (writes to the gRPC port that begin with a HEADERS frame), and those that left too early.
func readTrace(x *run, trace, grpc string) (answers int, early []string) {
	file, err := os.Open(trace)
	if err != nil {
		x.Fatal(err)
	}
	defer file.Close()
	dirty := map[string]bool{}     // files of the log with bytes that are not synced
	syncing := map[string]string{} // by thread, the file of a sync that has not returned
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		m := systemCall.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		thread, call, fd, data, resumed, rest := m[1], m[2], m[3], m[4], m[5], m[6]
		done := !strings.HasSuffix(rest, "<unfinished ...>")
		switch {
		case strings.HasSuffix(call, "sync") && done:
			if strings.HasSuffix(rest, "= 0") {
				delete(dirty, fd)
			}
		case strings.HasSuffix(call, "sync"):
			syncing[thread] = fd
		case strings.HasSuffix(resumed, "sync") && strings.HasSuffix(rest, "= 0"):
			delete(dirty, syncing[thread])
		case strings.HasSuffix(fd, ".dat"):
			dirty[fd] = true
		case strings.Contains(fd, grpc+"->") && strings.HasPrefix(data, `\x`) && len(data) >= 16 && data[12:16] == `\x01`:
			if answers++; len(dirty) > 0 {
				early = append(early, lines.Text())
			}
		}
	}
	return answers, early
}
