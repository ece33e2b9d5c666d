//go:build kafka

package main

// The scenarios of e2e_source_test.go against Apache Kafka.

import (
	"testing"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

func TestKafkaSourceKilled(t *testing.T) {
	sourceKilled(t, newSourceRig(t, kafkatest.Shared(t).Addrs(), 3), 3)
}

func TestKafkaSourceRebalance(t *testing.T) {
	sourceRebalance(t, newSourceRig(t, kafkatest.Shared(t).Addrs(), 4), 4)
}

func TestKafkaSourceRefused(t *testing.T) {
	sourceRefused(t, func(t *testing.T) *sourceRig { return newSourceRig(t, kafkatest.Shared(t).Addrs(), 1) })
}

func TestKafkaSourcePaced(t *testing.T) {
	sourcePaced(t, newSourceRig(t, kafkatest.Shared(t).Addrs(), 1))
}

func TestKafkaSourceLater(t *testing.T) {
	sourceLater(t, newSourceRig(t, kafkatest.Shared(t).Addrs(), 1))
}
