//go:build kafka

package main

// Brokers that die and come back under load: what was acknowledged stays, in
// order, and the gateway goes on by itself.

import (
	"fmt"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// steady starts load on all four methods until stop is closed.
func (l *ledger) steady(stop <-chan struct{}) {
	for i := range 2 {
		tr := traffic{keys: 20, size: 200, mixed: true, bad: 19, stop: stop, every: time.Millisecond}
		tr.name = fmt.Sprint("stream", i)
		l.stream(tr)
		tr.name = fmt.Sprint("unary", i)
		l.unary(tr, false)
		tr.every, tr.batch = 10*time.Millisecond, 20
		tr.name = fmt.Sprint("batchstream", i)
		l.batchStream(tr)
		tr.name = fmt.Sprint("batch", i)
		l.unaryBatch(tr)
	}
}

// more waits until n further events are acknowledged.
func (l *ledger) more(n int, when string) {
	l.t.Helper()
	before := l.count(acknowledged)
	eventually(l.t, fmt.Sprintf("%d acknowledged %s", n, when), func() bool { return l.count(acknowledged) >= before+n })
}

// settle ends the load and judges it.
func (l *ledger) settle(t *testing.T, p *process, c *kafkatest.Cluster, topic string, partitions int, stop chan struct{}) {
	t.Helper()
	close(stop)
	l.senders.Wait()
	v := l.judge(t, readTopic(t, c, topic), partitions)
	t.Logf("%+v, %s", v, l.reasons())
	checkIdentity(t, p, int64(len(l.events)))
}

func TestKafkaRestart(t *testing.T) {
	c := ownKafka(t, kafkatest.Property("broker.session.timeout.ms", "2000"))
	const partitions = 3
	p, topic := kafkaGateway(t, c, fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", partitions), "BREAKER_OPEN_AFTER=2s")
	l, stop := newLedger(t, p), make(chan struct{})
	l.steady(stop)
	l.more(2000, "before the kill")
	c.Kill(0)
	c.Restart(0)
	l.more(2000, "after the restart")
	l.settle(t, p, c, topic, partitions, stop)
}

// TestKafkaRestartOfThree: with three replicas, two of which must have an event, one broker less is no matter.
func TestKafkaRestartOfThree(t *testing.T) {
	c := ownKafka(t, kafkatest.Brokers(3), kafkatest.Property("broker.session.timeout.ms", "2000"))
	const partitions = 6
	topic := c.Topic(partitions, "min.insync.replicas", "2")
	p := gatewayOn(t, c, topic)
	l, stop := newLedger(t, p), make(chan struct{})
	l.steady(stop)
	l.more(2000, "before the stop")
	c.Stop(0)
	l.more(2000, "with two of three brokers")
	c.Restart(0)
	c.Kill(1)
	l.more(2000, "after another was killed")
	l.settle(t, p, c, topic, partitions, stop)
}
