package pipeline

// What operators set of the pipeline: defaults that depend on the machine, and checks.

import (
	"fmt"
	"time"

	"github.com/event-gateway/event-gateway/pipeline/recent"
	"github.com/event-gateway/event-gateway/stages"
)

// The largest values that make sense; above them a typing mistake is likelier than a wish.
const (
	maxWorkers      = 256
	maxRingCapacity = 1 << 20
)

// stageWorkers lists the worker counts with their variables, in the order of the graph.
func (c *Config) stageWorkers() []struct {
	name string
	n    *int
} {
	return []struct {
		name string
		n    *int
	}{
		{"STAGE_DECODE_WORKERS", &c.DecodeWorkers}, {"STAGE_VALIDATE_WORKERS", &c.ValidateWorkers},
		{"STAGE_RATELIMIT_WORKERS", &c.RateLimitWorkers}, {"STAGE_TRANSFORM_WORKERS", &c.TransformWorkers},
		{"STAGE_BATCH_WORKERS", &c.BatchWorkers}, {"STAGE_PRODUCE_WORKERS", &c.ProduceWorkers},
	}
}

// withDefaults fills in what is 0. The stages without rules cost about the
// same; one worker each for every four processors leaves the rest to gRPC and
// the Kafka client, which take most of the CPU.
func (c Config) withDefaults(procs int) Config {
	for _, w := range c.stageWorkers() {
		if *w.n == 0 {
			*w.n = max(1, procs/4)
		}
	}
	if c.ClientMaxInflight == 0 {
		c.ClientMaxInflight = max(c.MaxInflight/8, 1)
	}
	c.partitionMaxGiven = c.PartitionMaxInflight != 0
	if !c.partitionMaxGiven {
		c.PartitionMaxInflight = max(c.MaxInflight/4, 1)
	}
	return c
}

// Validate lists what is wrong, one line a problem.
func (c Config) Validate() (problems []error) {
	bad := func(name string, value any, allowed string) {
		problems = append(problems, fmt.Errorf("%s=%v: %s", name, value, allowed))
	}
	for _, w := range c.stageWorkers() {
		if *w.n < 0 || *w.n > maxWorkers {
			bad(w.name, *w.n, fmt.Sprintf("0 (from GOMAXPROCS) to %d workers are allowed", maxWorkers))
		}
	}
	if c.RingCapacity < 1 || c.RingCapacity > maxRingCapacity {
		bad("RING_CAPACITY", c.RingCapacity, fmt.Sprintf("1 to %d events are allowed", maxRingCapacity))
	}
	if c.MaxInflight < stages.MiB || c.MaxInflight > 64*stages.GiB {
		bad("MAX_INFLIGHT_BYTES", c.MaxInflight, "1MiB to 64GiB are allowed")
	}
	if c.ClientMaxInflight < 0 || c.ClientMaxInflight > c.MaxInflight {
		bad("CLIENT_MAX_INFLIGHT_BYTES", c.ClientMaxInflight, fmt.Sprintf("0 (an eighth of MAX_INFLIGHT_BYTES) to MAX_INFLIGHT_BYTES=%s are allowed", c.MaxInflight))
	}
	if c.PartitionMaxInflight < 0 || c.PartitionMaxInflight > c.MaxInflight {
		bad("PARTITION_MAX_INFLIGHT_BYTES", c.PartitionMaxInflight, fmt.Sprintf("0 (a quarter of MAX_INFLIGHT_BYTES; more with fewer than 8 partitions) to MAX_INFLIGHT_BYTES=%s are allowed", c.MaxInflight))
	}
	if c.AdmissionTimeout < 0 {
		bad("ADMISSION_TIMEOUT", c.AdmissionTimeout, "0s or longer is allowed")
	}
	if c.DeliveryTimeout <= 0 {
		bad("DELIVERY_TIMEOUT", c.DeliveryTimeout, "longer than 0s is needed")
	}
	if c.AdmissionTimeout >= c.DeliveryTimeout && c.DeliveryTimeout > 0 {
		bad("ADMISSION_TIMEOUT", c.AdmissionTimeout, fmt.Sprintf("less than DELIVERY_TIMEOUT=%s is allowed", c.DeliveryTimeout))
	}
	return append(problems, c.validateMemory()...)
}

// Bounds of what is remembered.
const (
	maxEventStore   = 1 << 26
	maxDedupeWindow = 7 * 24 * time.Hour
	minDedupeEvents = 1 << 10
	maxDedupeEvents = 1 << 28
)

// validateMemory checks what is remembered of acknowledged events.
func (c *Config) validateMemory() (problems []error) {
	bad := func(name string, value any, allowed string) {
		problems = append(problems, fmt.Errorf("%s=%v: %s", name, value, allowed))
	}
	if c.EventStoreCapacity < 0 || c.EventStoreCapacity > maxEventStore {
		bad("EVENT_STORE_CAPACITY", c.EventStoreCapacity, fmt.Sprintf("0 (none) to %d events are allowed", maxEventStore))
	}
	if c.EventStoreCapacity > 0 && (c.EventStoreBytes < recent.MinBytes || c.EventStoreBytes > recent.MaxBytes) {
		bad("EVENT_STORE_BYTES", c.EventStoreBytes, fmt.Sprintf("%s to %s are allowed", stages.Bytes(recent.MinBytes), stages.Bytes(recent.MaxBytes)))
	}
	if c.DedupeWindow < 0 || c.DedupeWindow > maxDedupeWindow {
		bad("DEDUPE_WINDOW", c.DedupeWindow, fmt.Sprintf("0s (off) to %s are allowed", maxDedupeWindow))
	}
	if c.DedupeMaxEvents < 0 || c.DedupeMaxEvents > maxDedupeEvents || c.DedupeWindow > 0 && c.DedupeMaxEvents < minDedupeEvents {
		bad("DEDUPE_MAX_EVENTS", c.DedupeMaxEvents, fmt.Sprintf("%d to %d ids are allowed", minDedupeEvents, maxDedupeEvents))
	}
	return problems
}
