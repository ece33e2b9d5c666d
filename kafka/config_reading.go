package kafka

// What operators set of reading back: subscriptions and replays.

import (
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// ReadingConfig is the part of the environment for SubscribeEvents and ReplayEvents.
type ReadingConfig struct {
	SubscribeBuffer     stages.Bytes  `env:"SUBSCRIBE_BUFFER_BYTES" envDefault:"32MiB" doc:"memory for the newest events, which all live subscribers share; who falls further behind is served from Kafka by a reader of its own until it has caught up"`
	SubscribeMaxReaders int           `env:"SUBSCRIBE_MAX_READERS" envDefault:"64" doc:"most subscribers, groups' members and replays that read from Kafka by themselves at once, a few MiB each, and up to 33 MiB for a replay of 16 partitions or more; more are refused with TOO_MANY_READERS. One client may have a quarter of them (at least 1), and an eighth is kept for live subscribers that fall behind. Live subscribers need none"`
	SubscribeHeartbeat  time.Duration `env:"SUBSCRIBE_HEARTBEAT" envDefault:"15s" doc:"how often a subscriber that asked for it hears the newest cursor while nothing matches"`
	ReplayMaxDuration   time.Duration `env:"REPLAY_MAX_DURATION" envDefault:"168h" doc:"longest range of one replay, and how far back it may begin"`
	ReplayBatchSize     int           `env:"REPLAY_BATCH_SIZE" envDefault:"1000" doc:"most events in one response of a replay"`
	ReplayRateLimit     int           `env:"REPLAY_RATE_LIMIT" envDefault:"1000" doc:"most events a second of one replay"`
}

// maxReplayDuration leaves room for what is added to it: the longest time.Duration are 292 years.
const maxReplayDuration = 876_000 * time.Hour

// Validate returns one error per problem: variable, value, what is allowed.
func (c *ReadingConfig) Validate() []error {
	var p problems
	check := func(ok bool, name string, value any, allowed string) {
		if !ok {
			p.add(name, value, allowed)
		}
	}
	check(c.SubscribeBuffer >= stages.MiB && c.SubscribeBuffer <= 16*stages.GiB, "SUBSCRIBE_BUFFER_BYTES", c.SubscribeBuffer, "1MiB to 16GiB")
	check(c.SubscribeMaxReaders >= 1 && c.SubscribeMaxReaders <= 10_000, "SUBSCRIBE_MAX_READERS", c.SubscribeMaxReaders, "1 to 10000")
	check(c.SubscribeHeartbeat >= 100*time.Millisecond && c.SubscribeHeartbeat <= time.Hour, "SUBSCRIBE_HEARTBEAT", c.SubscribeHeartbeat, "100ms to 1h")
	check(c.ReplayMaxDuration >= time.Second && c.ReplayMaxDuration <= maxReplayDuration, "REPLAY_MAX_DURATION", c.ReplayMaxDuration, "1s to 876000h, a hundred years")
	check(c.ReplayBatchSize >= 1 && c.ReplayBatchSize <= 100_000, "REPLAY_BATCH_SIZE", c.ReplayBatchSize, "1 to 100000")
	check(c.ReplayRateLimit >= 1, "REPLAY_RATE_LIMIT", c.ReplayRateLimit, "1 event a second and more")
	return p
}
