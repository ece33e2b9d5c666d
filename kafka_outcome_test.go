//go:build kafka

package main

// One outcome for each event against an Apache Kafka that freezes in the
// middle, with callers that leave and a drain at the end.

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// ownKafka starts brokers that the test may pause and kill.
func ownKafka(t *testing.T, opts ...kafkatest.Option) *kafkatest.Cluster {
	t.Helper()
	if os.Getenv(kafkatest.EnvBrokers) != "" {
		t.Skipf("%s names a cluster that is not ours to pause or kill", kafkatest.EnvBrokers)
	}
	return kafkatest.Start(t, opts...)
}

func TestKafkaOneOutcome(t *testing.T) {
	c := ownKafka(t)
	const partitions = 4
	const deliver = 2 * time.Second
	p, topic := kafkaGateway(t, c, append(shape(2, 1, 1, 2, 1, 2), fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", partitions),
		fmt.Sprint("DELIVERY_TIMEOUT=", deliver), "BREAKER_OPEN_AFTER=1s", "SHUTDOWN_TIMEOUT=15s",
		"CLIENT_MAX_INFLIGHT_BYTES=64MiB")...) // all callers are one client here: unknown events hold its share until Kafka thaws
	l := newLedger(t, p)
	stopScrapes := watchIdentity(t, p)
	stop := make(chan struct{})
	for i := range 3 {
		tr := traffic{name: fmt.Sprint("unary", i), keys: 50, size: 300, bad: 11, every: 2 * time.Millisecond, stop: stop}
		l.unary(tr, false)
		tr.name = fmt.Sprint("leaving", i)
		l.unary(tr, true)
		tr.name, tr.mixed = fmt.Sprint("stream", i), true
		l.stream(tr)
		tr.name, tr.batch, tr.every = fmt.Sprint("batch", i), 20, 10*time.Millisecond
		l.unaryBatch(tr)
		tr.name = fmt.Sprint("batchstream", i)
		l.batchStream(tr)
	}
	eventually(t, "2,000 acknowledged", func() bool { return l.count(acknowledged) > 2000 })
	c.Pause(0)
	paused := time.Now()
	eventually(t, "unknown outcomes, and the breaker open", func() bool {
		return l.count(unknown) > 100 && strings.Contains(l.reasons(), "BREAKER_OPEN") && time.Since(paused) > deliver+time.Second
	})
	c.Resume(0)
	healed := l.count(acknowledged)
	eventually(t, "2,000 acknowledged after the pause", func() bool { return l.count(acknowledged) > healed+2000 })
	l.ending.Store(true)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	close(stop)
	l.senders.Wait()
	scrapes, last := stopScrapes()
	if scrapes < 20 {
		t.Errorf("%d scrapes", scrapes)
	}
	v := l.judge(t, readTopic(t, c, topic), partitions)
	t.Logf("%+v, %s, %d scrapes, the last: %+v", v, l.reasons(), scrapes, last)
	l.checkTotals(t, p.line("gateway stopped"), last, v)
}

// checkTotals holds the gateway's own totals against the ledger. A call that the drain ended before its message
// had arrived is told DRAINING here without being an event there. Only events whose caller left may be counted
// by the gateway without having an answer here.
func (l *ledger) checkTotals(t *testing.T, end map[string]any, last accounting, v verdict) {
	t.Helper()
	left, answered := 0, 0
	for _, s := range l.events {
		if s.left {
			left++
		}
		if s.answered {
			answered++
		}
	}
	number := func(name string) int { return int(end[name].(float64)) }
	between := func(what string, n, least, most int) {
		t.Helper()
		if n < least || n > most {
			t.Errorf("%s: %d, want %d to %d: %v", what, n, least, most, end)
		}
	}
	unread := l.why["DRAINING"]
	between("accepted", number("accepted"), answered-unread, answered+left)
	between("acknowledged", number("acknowledged"), l.counts[acknowledged], l.counts[acknowledged]+v.storedLeft)
	between("refused", number("refused"), l.counts[refused]-unread, l.counts[refused]+left)
	between("unknown", number("unknown"), l.counts[unknown], l.counts[unknown]+left)
	sum := number("acknowledged") + number("filtered") + number("duplicate") + number("refused") + number("unknown")
	between("sum of outcomes", sum, number("accepted"), number("accepted"))
	// All that is stored was acknowledged, in time or late, unless its answer was lost with a connection.
	between("late acknowledgements", int(last.late), 1, v.storedUnknown+v.storedLeft)
	between("stored", v.stored, number("acknowledged"), number("acknowledged")+v.storedUnknown+v.storedLeft)
	if l.counts[unknown] == 0 || v.storedUnknown == 0 || left == 0 {
		t.Errorf("nothing was unknown, or stored all the same, or left: %+v", v)
	}
}

// TestKafkaDrainWithoutKafka: a drain while Kafka is frozen ends in its time. What was handed to Kafka is
// answered unknown, the rest is refused, and every caller hears it.
func TestKafkaDrainWithoutKafka(t *testing.T) {
	c := ownKafka(t)
	const partitions = 3
	p, topic := kafkaGateway(t, c, fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", partitions), "SHUTDOWN_TIMEOUT=4s", "SHUTDOWN_GRACE=500ms")
	l, stop := newLedger(t, p), make(chan struct{})
	l.steady(stop)
	l.more(1000, "before the pause")
	c.Pause(0)
	p.eventually("events in flight", func() bool { a, _ := p.scrape(); return a.inFlight > 300 })
	l.ending.Store(true)
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code, took := p.exit(), time.Since(began); code != 3 || took > 7*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}
	close(stop)
	l.senders.Wait()
	c.Resume(0)
	end := p.line("gateway stopped")
	v := l.judge(t, readTopic(t, c, topic), partitions)
	t.Logf("%+v, %s, %v", v, l.reasons(), end)
	all := l.count(acknowledged) + l.count(refused) + l.count(unknown)
	unread := l.why["DRAINING"] // calls that were ended before their message had arrived are among these
	for outcome, heard := range map[string][2]int{
		"acknowledged": {l.count(acknowledged), l.count(acknowledged)},
		"unknown":      {l.count(unknown), l.count(unknown)},
		"refused":      {l.count(refused) - unread, l.count(refused)},
		"accepted":     {all - unread, all},
	} {
		if n := int(end[outcome].(float64)); n < heard[0] || n > heard[1] {
			t.Errorf("%s: callers heard of %d to %d, the gateway counts %d", outcome, heard[0], heard[1], n)
		}
	}
	if l.count(unknown) == 0 {
		t.Error("nothing is unknown")
	}
}
