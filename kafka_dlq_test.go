//go:build kafka

package main

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// TestKafkaRedriveAfterMending: dead letters, and the position of redrives, in Apache Kafka.
func TestKafkaRedriveAfterMending(t *testing.T) {
	c := kafkatest.Shared(t)
	topic, dead := c.Topic(3), c.Topic(5)
	settings := []string{"KAFKA_BROKERS=" + strings.Join(c.Addrs(), ","), "KAFKA_TOPIC=" + topic, "KAFKA_DLQ_TOPIC=" + dead, "KAFKA_GROUP_ID=" + topic}
	redriveAfterMending(t, func(more ...string) *process {
		return startGateway(t, append(more, settings...)...).ready()
	}, environ(settings...), func() []*kgo.Record { return readTopic(t, c, topic) })
}
