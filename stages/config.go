package stages

// What operators set of the stages, and the table of topics.

import "time"

// Config is the stages' part of the environment.
type Config struct {
	MaxEventBytes  Bytes `env:"MAX_EVENT_BYTES" envDefault:"900000" doc:"largest encoded event; at most the topic's max.message.bytes"`
	MaxBatchEvents int   `env:"MAX_BATCH_EVENTS" envDefault:"10000" doc:"most events in one batch message"`

	RateLimitEnabled bool    `env:"RATE_LIMIT_ENABLED" envDefault:"true" doc:"limit the events a second of each client"`
	RateLimitRPS     float64 `env:"RATE_LIMIT_RPS" envDefault:"1000" doc:"events a second and client"`
	RateLimitBurst   int     `env:"RATE_LIMIT_BURST" envDefault:"100" doc:"events that a client may send at once"`

	BatchMaxEvents int           `env:"BATCH_MAX_EVENTS" envDefault:"1024" doc:"most events handed to the producer at once"`
	BatchMaxBytes  Bytes         `env:"BATCH_MAX_BYTES" envDefault:"900000" doc:"most bytes handed to the producer at once"`
	BatchLinger    time.Duration `env:"BATCH_LINGER" envDefault:"0s" doc:"how long a batch that is not full waits for more events; 0 = not at all: batches grow by themselves under load"`

	DeadLetterStages []string `env:"DLQ_ON" envDefault:"decode,validate,transform" doc:"stages whose refusals are kept in KAFKA_DLQ_TOPIC, if that is set: decode (what is no event), validate (what breaks the API's rules or its schema), transform (rules with ON_ERROR=dead_letter)"`

	BreakerOpenAfter time.Duration `env:"BREAKER_OPEN_AFTER" envDefault:"5s" doc:"silence of all brokers, with records in flight, after which new events are refused at once"`
}

// Topics are the topics that the gateway may write to. Read-only after start.
type Topics struct {
	// Default is KAFKA_TOPIC.
	Default *Topic
	// All has every topic by Index, Default first.
	All []*Topic
}

// NewTopics returns the table of names; the first is the default.
func NewTopics(names ...string) *Topics {
	t := &Topics{}
	for i, name := range names {
		t.All = append(t.All, NewTopic(name, i))
	}
	t.Default = t.All[0]
	return t
}

// Named is the topic of that name, or nil when it is not allowed.
func (t *Topics) Named(name string) *Topic {
	for _, topic := range t.All {
		if topic.Name == name {
			return topic
		}
	}
	return nil
}
