package kafka

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// TestFailuresAreLogged: through the real producer, one line at once and the rest as a number.
func TestFailuresAreLogged(t *testing.T) {
	r := newRig(t, nil).ready()
	r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Count: -1})
	p := r.partition(1)
	r.produce(p, "first")
	r.want("first", stages.Refused, stages.RecordRejected)
	const line = "produce failed class INVALID_RECORD topic events partition 1 outcome refused reason RECORD_REJECTED error INVALID_RECORD"
	r.eventually("the failure is logged", func() bool { return r.log.has(line) })
	for i := range 20 {
		r.produce(p, fmt.Sprint(i))
		r.want(fmt.Sprint(i), stages.Refused, stages.RecordRejected)
	}
	if n := strings.Count(r.log.String(), "produce failed"); n != 1 {
		t.Errorf("%d lines:\n%s", n, r.log)
	}
	r.producer.Close()
	if n := strings.Count(r.log.String(), "produce failed"); n != 2 || !r.log.has("repeated 19\n") {
		t.Errorf("%d lines, want a second one with the 19 others:\n%s", n, r.log)
	}
}

// blockedLog is a log whose reader has gone to sleep.
type blockedLog struct {
	testLog
	entered, leave chan struct{}
}

func (l *blockedLog) Log(_ Level, msg string, _ ...any) {
	if msg == "produce failed" {
		l.entered <- struct{}{}
		<-l.leave
	}
}

// TestBlockedLogHoldsUpNoAnswer: promises do not write themselves.
func TestBlockedLogHoldsUpNoAnswer(t *testing.T) {
	log := &blockedLog{entered: make(chan struct{}, 10), leave: make(chan struct{})}
	r := newRig(t, func(_ *Config, p *Parts) { p.Log = log }).ready()
	r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Count: 1})
	r.produce(r.partition(0), "refused")
	r.want("refused", stages.Refused, stages.RecordRejected)
	<-log.entered
	r.produce(r.partition(0), "stored")
	r.want("stored", stages.Acknowledged, stages.NoReason)
	close(log.leave)
}

func TestFailuresDue(t *testing.T) {
	start := time.Now()
	f := newFailures()
	check := func(after time.Duration, wantWait time.Duration, want ...string) {
		t.Helper()
		lines, wait := f.due(start.Add(after), false)
		var got []string
		for _, one := range lines {
			got = append(got, fmt.Sprint(one.class, " ", one.repeated))
		}
		if wait != wantWait || strings.Join(got, ",") != strings.Join(want, ",") {
			t.Errorf("after %v: %q, next in %v; want %q, %v", after, got, wait, want, wantWait)
		}
	}
	note := func(class string, n int) {
		for range n {
			f.note(failure{class: class})
		}
	}
	check(0, 0)
	note("A", 3)
	check(0, 0, "A 2")
	check(time.Second, 0)
	note("A", 5)
	check(time.Second, repeatEvery-time.Second)
	note("B", 1)
	check(2*time.Second, repeatEvery-2*time.Second, "B 0")
	check(repeatEvery, 0, "A 4")
	check(2*repeatEvery, 0)
}

func TestClassOf(t *testing.T) {
	for want, err := range map[string]error{
		"NOT_LEADER_FOR_PARTITION": fmt.Errorf("%w: %w", kgo.ErrRecordTimeout, kerr.NotLeaderForPartition),
		"RECORD_TIMEOUT":           kgo.ErrRecordTimeout,
		"RECORD_RETRIES":           kgo.ErrRecordRetries,
		"BUFFER_FULL":              kgo.ErrMaxBuffered,
		"CLIENT_CLOSED":            kgo.ErrClientClosed,
		"CONNECTION":               &net.OpError{Op: "dial", Err: io.EOF},
		"OTHER":                    errors.New("something else"),
	} {
		if got := classOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}
