//go:build kafka

package main

// Order, positions and partitions against Apache Kafka, for several shapes of the pipeline.

import (
	"fmt"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// shape is the number of workers of each stage as settings.
func shape(workers ...int) (settings []string) {
	for i, stage := range []string{"DECODE", "VALIDATE", "RATELIMIT", "TRANSFORM", "BATCH", "PRODUCE"} {
		settings = append(settings, fmt.Sprintf("STAGE_%s_WORKERS=%d", stage, workers[i%len(workers)]))
	}
	return settings
}

func TestKafkaOrder(t *testing.T) {
	c := kafkatest.Shared(t)
	for _, settings := range [][]string{
		shape(1),
		shape(2),
		shape(3, 2, 1, 3, 2, 2),
		append(shape(5, 3, 2, 1, 5, 3), "RING_CAPACITY=4", "BATCH_MAX_EVENTS=7", "GOMAXPROCS=4"),
	} {
		t.Run(strings.Join(settings, " "), func(t *testing.T) {
			const partitions = 5
			p, topic := kafkaGateway(t, c, append(settings, fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", partitions))...)
			l := newLedger(t, p)
			for i := range 3 {
				l.stream(traffic{name: fmt.Sprint("stream", i), keys: 11, size: 100, bad: 13, count: 3000})
				l.batchStream(traffic{name: fmt.Sprint("batches", i), keys: 11, size: 100, mixed: true, bad: 17, batch: 60, count: 100})
			}
			l.senders.Wait()
			events := 3 * (3000 + 60*100)
			v := l.judge(t, readTopic(t, c, topic), partitions)
			bad := 3 * ((3000-6+12)/13 + (6000-8+16)/17)
			if l.count(acknowledged) != events-bad || l.count(refused) != bad || v.stored != events-bad || l.why["INVALID_EVENT"] != bad {
				t.Errorf("%d events of which %d are bad: %+v, %s", events, bad, v, l.reasons())
			}
			checkIdentity(t, p, int64(events))
		})
	}
}
