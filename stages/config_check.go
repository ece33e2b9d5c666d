package stages

// What is allowed in the stages' part of the environment.

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Validate lists what is wrong, one line a problem: variable, value, what is allowed.
func (c Config) Validate() (problems []error) {
	check := func(ok bool, name string, value any, allowed string) {
		if !ok {
			problems = append(problems, fmt.Errorf("%s=%v: %s", name, value, allowed))
		}
	}
	check(c.MaxEventBytes >= KiB && c.MaxEventBytes <= GiB, "MAX_EVENT_BYTES", c.MaxEventBytes, "1KiB to 1GiB")
	check(c.MaxBatchEvents >= 1 && c.MaxBatchEvents <= 1e6, "MAX_BATCH_EVENTS", c.MaxBatchEvents, "1 to 1000000")
	check(c.RateLimitRPS > 0 && !math.IsInf(c.RateLimitRPS, 0), "RATE_LIMIT_RPS", c.RateLimitRPS,
		"more than 0; RATE_LIMIT_ENABLED=false switches the limit off")
	check(c.RateLimitBurst >= 1, "RATE_LIMIT_BURST", c.RateLimitBurst, "1 or more")
	check(c.BatchMaxEvents >= 1 && c.BatchMaxEvents <= 1e6, "BATCH_MAX_EVENTS", c.BatchMaxEvents, "1 to 1000000")
	check(c.BatchMaxBytes >= KiB && c.BatchMaxBytes <= GiB, "BATCH_MAX_BYTES", c.BatchMaxBytes, "1KiB to 1GiB")
	check(c.BatchLinger >= 0 && c.BatchLinger <= 10*time.Second, "BATCH_LINGER", c.BatchLinger, "0s to 10s")
	for _, name := range c.DeadLetterStages {
		_, ok := letterStages[name]
		check(ok, "DLQ_ON", strings.Join(c.DeadLetterStages, ","), "decode, validate and transform, or some of them, with commas")
	}
	check(c.BreakerOpenAfter >= 100*time.Millisecond, "BREAKER_OPEN_AFTER", c.BreakerOpenAfter, "100ms or more")
	return problems
}
