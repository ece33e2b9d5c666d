package kafka

// What operators set of Kafka as a source.

import (
	"fmt"
	"slices"
	"strings"
)

// OnRefused is what becomes of a source record that the gateway refuses for good.
type OnRefused string

// The values of KAFKA_SOURCE_ON_REFUSED.
const (
	RefusedToDeadLetter OnRefused = "dead_letter"
	RefusedIsSkipped    OnRefused = "skip"
	RefusedStops        OnRefused = "stop"
)

// SourceConfig is the part of the environment for KAFKA_SOURCE_TOPICS.
type SourceConfig struct {
	Topics    []string  `env:"KAFKA_SOURCE_TOPICS" doc:"topics whose records enter the pipeline like events of clients, comma-separated, read by the consumer group KAFKA_GROUP_ID; each is a client of its own for RATE_LIMIT_RPS, which slows it down"`
	OnRefused OnRefused `env:"KAFKA_SOURCE_ON_REFUSED" envDefault:"dead_letter" doc:"what becomes of a source record that is refused for good: dead_letter (kept in KAFKA_DLQ_TOPIC with its key and headers), skip (only counted and logged) or stop (its partition stops in front of it)"`
}

// Enabled reports whether there are source topics.
func (c *SourceConfig) Enabled() bool { return len(c.Topics) > 0 }

// Validate returns one error per problem: variable, value, what is allowed.
func (c *SourceConfig) Validate() []error {
	var p problems
	list := strings.Join(c.Topics, ",")
	for _, name := range c.Topics {
		if !validTopic(name) {
			p.add("KAFKA_SOURCE_TOPICS", list, fmt.Sprintf("%q: a topic's name is ", name)+topicRule)
		}
	}
	if len(c.Topics) > maxTopics {
		p.add("KAFKA_SOURCE_TOPICS", fmt.Sprintf("%d topics", len(c.Topics)), fmt.Sprintf("at most %d", maxTopics))
	}
	if !slices.Contains([]OnRefused{RefusedToDeadLetter, RefusedIsSkipped, RefusedStops}, c.OnRefused) {
		p.add("KAFKA_SOURCE_ON_REFUSED", c.OnRefused, "dead_letter, skip or stop")
	}
	return p
}

// Conflicts are what is wrong with the source beside the rest of the Kafka side: one line a problem.
func (c *SourceConfig) Conflicts(k *Config) []error {
	if !c.Enabled() {
		return nil
	}
	var p problems
	list := strings.Join(c.Topics, ",")
	for _, name := range c.Topics {
		if slices.Contains(k.Topics(), name) {
			p.add("KAFKA_SOURCE_TOPICS", list, fmt.Sprintf("%s is a topic that the gateway writes to (KAFKA_TOPIC, KAFKA_TOPICS_ALLOWED, KAFKA_DLQ_TOPIC): its records would go round for ever", name))
		}
	}
	if c.OnRefused == RefusedToDeadLetter && k.DLQTopic == "" {
		p.add("KAFKA_SOURCE_ON_REFUSED", c.OnRefused, "refused records need a topic to be kept in: set KAFKA_DLQ_TOPIC, or choose skip or stop")
	}
	return p
}
