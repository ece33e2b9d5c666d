package kafka

// The breaker's clock. Silence alone does not open the breaker: with little
// traffic, one partition whose leader is gone is silence, too. Only when brokers
// that are asked do not answer either, it opens.

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// pulseEvery is how often the breaker looks at the clock.
	pulseEvery = 250 * time.Millisecond
	// probeEvery is how often an open breaker asks brokers, and how long these have to answer.
	probeEvery = time.Second
	// maxProbed bounds the brokers that are asked at once: some, because any one may be the dead one.
	maxProbed = 8
)

// pulse is the breaker's goroutine. A probe holds it up for probeEvery at most.
func (p *Producer) pulse(ctx context.Context) {
	ticker := time.NewTicker(pulseEvery)
	defer ticker.Stop()
	breaker, probed := p.parts.Breaker, int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := p.parts.Now()
		open := breaker.State() == stages.BreakerIsOpen
		switch {
		case open && now-probed >= int64(probeEvery):
			probed = now
			if p.probe(ctx) {
				breaker.Probed(p.parts.Now())
			}
		case !open && breaker.Silent(now, p.InFlight() > 0):
			probed = now
			if p.probe(ctx) {
				breaker.Answered(p.parts.Now())
			} else if ctx.Err() == nil {
				breaker.Tick(p.parts.Now(), p.InFlight() > 0)
			}
		}
	}
}

// probe reports whether a broker answers. It asks for API versions, the cheapest
// request there is; the first answer ends it.
func (p *Producer) probe(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	brokers := p.client.DiscoveredBrokers()
	rand.Shuffle(len(brokers), func(i, j int) { brokers[i], brokers[j] = brokers[j], brokers[i] })
	brokers = brokers[:min(len(brokers), maxProbed)]
	answers := make(chan bool, 1+len(brokers))
	ask := func(to kmsg.Requestor) {
		_, err := p.apiVersions(ctx, to)
		answers <- err == nil
	}
	p.running.Go(func() { ask(p.client) }) // a seed, when no broker that is known by now is left
	// Without retries: a broker that does not answer at once is not the one that is looked for.
	for _, broker := range brokers {
		p.running.Go(func() { ask(broker) })
	}
	for range cap(answers) {
		if <-answers {
			return true
		}
	}
	return false
}
