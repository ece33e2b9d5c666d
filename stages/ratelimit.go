package stages

// The ratelimit stage: charges each client's bucket, once a burst and client.

import "time"

// RateLimit is the stage.
type RateLimit struct {
	limit   Limit
	enabled bool
	now     func() int64
}

// NewRateLimit returns the stage. now is a monotonic clock in nanoseconds that all workers share.
func NewRateLimit(cfg Config, now func() int64) *RateLimit {
	return &RateLimit{limit: NewLimit(cfg.RateLimitRPS, cfg.RateLimitBurst), enabled: cfg.RateLimitEnabled, now: now}
}

// Process implements Stage. Events that were refused before are not charged.
// When the bucket has room for only some of a client's events, the first ones
// get it.
func (r *RateLimit) Process(burst []*Event) {
	if !r.enabled {
		for _, ev := range burst {
			ev.At = AtRateLimit
		}
		return
	}
	now := r.now()
	for len(burst) > 0 {
		client := burst[0].Msg.Client
		n, live := 0, 0
		for n < len(burst) && burst[n].Msg.Client == client {
			if burst[n].Live() {
				live++
			}
			n++
		}
		r.charge(burst[:n], live, client, now)
		burst = burst[n:]
	}
}

func (r *RateLimit) charge(events []*Event, live int, client *Client, now int64) {
	allowed := live
	var retry time.Duration
	if live > 0 && events[0].Msg.Kind != Records { // who feeds records waits before they enter
		allowed, retry = client.Limit.Take(r.limit, now, live)
	}
	for _, ev := range events {
		if ev.Live() {
			if allowed == 0 {
				ev.RefuseFor(AtRateLimit, RateLimited, retry)
			} else {
				allowed--
			}
		}
		ev.At = AtRateLimit
	}
}
