//go:build kafka

package main

// Nothing is freed before it is retired: events that were answered unknown
// while Kafka was frozen are stored later with their own bytes, however much
// other traffic went through the gateway's memory in between.

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// poisoned makes the test's gateways overwrite what they retire, which turns every late use into wrong bytes.
func poisoned(t *testing.T) {
	t.Helper()
	plain := binary
	binary = filepath.Join(t.TempDir(), "gateway-poison")
	t.Cleanup(func() { binary = plain })
	if out, err := exec.Command("go", "build", "-tags", "poison", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// thaw lets a paused broker go on: it finds in its sockets what was sent meanwhile.
func thaw(c *kafkatest.Cluster) { c.Resume(0) }

// replace kills a paused broker, with what is in its sockets, and starts it again: all must be sent once more.
func replace(c *kafkatest.Cluster) {
	c.Kill(0)
	c.Restart(0)
}

func TestKafkaNothingFreedBeforeRetired(t *testing.T) {
	c := ownKafka(t, kafkatest.Property("broker.session.timeout.ms", "2000"))
	// With short request timeouts, the client gives its connections up while the broker is frozen, and encodes
	// its batches again and again.
	short := []string{"KAFKA_READ_TIMEOUT=500ms", "KAFKA_WRITE_TIMEOUT=500ms"}
	late := int64(0)
	t.Run("thaw", func(t *testing.T) { late += checkUnknownBytes(t, c, thaw) })
	t.Run("thaw, encoded again", func(t *testing.T) { late += checkUnknownBytes(t, c, thaw, short...) })
	t.Run("replace", func(t *testing.T) { late += checkUnknownBytes(t, c, replace) })
	t.Run("poison", func(t *testing.T) {
		poisoned(t)
		t.Run("thaw", func(t *testing.T) { late += checkUnknownBytes(t, c, thaw, short...) })
		t.Run("replace", func(t *testing.T) { late += checkUnknownBytes(t, c, replace) })
	})
	if late < 100 {
		t.Errorf("%d late acknowledgements: too few events were stored after they were answered unknown", late)
	}
}

// send puts messages of all four kinds and many sizes through the gateway: bytes is roughly their sum.
func (l *ledger) send(name string, bytes int) {
	const size, mean = 2000, 2000 * (7 + 40) / 8
	part := bytes / mean / 4
	tr := traffic{name: name + "-stream", keys: 100, size: size, mixed: true, count: part}
	l.stream(tr)
	tr.batch, tr.count = 25, part/25+1
	tr.name = name + "-batchstream"
	l.batchStream(tr)
	// A batch each for many callers: one alone would wait for each answer.
	for i := range part/25 + 1 {
		tr.name, tr.count = fmt.Sprint(name, "-batch", i), 1
		l.unaryBatch(tr)
	}
	for i := range part / 8 {
		tr.name, tr.count = fmt.Sprint(name, "-unary", i), 8
		l.unary(tr, false)
	}
	l.senders.Wait()
}

func checkUnknownBytes(t *testing.T, c *kafkatest.Cluster, heal func(*kafkatest.Cluster), settings ...string) (late int64) {
	t.Helper()
	const partitions = 6
	p, topic := kafkaGateway(t, c, append([]string{fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", partitions), "DELIVERY_TIMEOUT=2s",
		"BREAKER_OPEN_AFTER=1900ms", "MAX_INFLIGHT_BYTES=256MiB", "CLIENT_MAX_INFLIGHT_BYTES=256MiB",
		"PARTITION_MAX_INFLIGHT_BYTES=64MiB", "BATCH_LINGER=50ms"}, settings...)...)
	l := newLedger(t, p) // the linger puts much into the few requests that are under way when Kafka freezes
	l.send("before", 1<<20)
	c.Pause(0)
	l.send("known", 12<<20)
	unknowns := l.count(unknown)
	if unknowns == 0 {
		t.Fatalf("nothing is unknown: %s", l.reasons())
	}
	// Refused at once now, so that its memory is used over and over.
	for i := range 3 {
		l.send(fmt.Sprint("meanwhile", i), 8<<20)
	}
	heal(c)
	p.eventually("ready again", func() bool { code, _ := p.get("/ready"); return code == 200 })
	for i, before := 0, l.count(acknowledged); l.count(acknowledged) < before+500; i++ {
		l.send(fmt.Sprint("after", i), 4<<20)
		if i == 40 {
			t.Fatalf("nothing is acknowledged again: %s", l.reasons())
		}
	}
	var a accounting
	p.eventually("everything is retired", func() bool { a, _ = p.scrape(); return a.bytes == 0 && a.inFlight == 0 })
	v := l.judge(t, readTopic(t, c, topic), partitions)
	t.Logf("%+v, %d late acknowledgements, %s", v, a.late, l.reasons())
	if !a.holds() || a.late > int64(v.storedUnknown) {
		t.Errorf("%+v, %+v", a, v)
	}
	return a.late
}
