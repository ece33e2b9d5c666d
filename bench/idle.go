package main

// The idle gateway: what a process that nobody sends to takes of a processor, watched for a minute beside the packages'
// benchmarks. It is a process of its own and its own CPU time is what counts, so the company does no harm.

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// idleFor is the least time for which an idle gateway is watched.
const idleFor = time.Minute

// idleGateway is a gateway that has worked and now waits.
type idleGateway struct {
	stage *stage
	since time.Time
	cpu   time.Duration // until since
}

func (b *bench) watchIdle(ctx context.Context) (*idleGateway, error) {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	st, err := b.set(ctx, scene{server: gateway, broker: discarding, partitions: 3, load: b.usual()})
	if err == nil {
		_, err = b.generate(ctx, b.usual(), st.servers)
	}
	if err != nil {
		return nil, errors.Join(err, st.clear())
	}
	return &idleGateway{st, time.Now(), st.cpu()}, nil
}

func (g *idleGateway) end() { _ = g.stage.clear() }

// judgeIdle waits until the minute is over.
func (b *bench) judgeIdle(ctx context.Context, r *report, g *idleGateway) error {
	if left := idleFor - time.Since(g.since); left > 0 {
		say("watching an idle gateway for %v more", left.Round(time.Second))
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	took := time.Since(g.since)
	share := float64(g.stage.cpu()-g.cpu) / float64(took) * 100
	r.addf("\n## Idle\n\nA gateway that has worked and then got nothing for %v took %.2f %% of one processor.\n", took.Round(time.Second), share)
	r.goal(fmt.Sprintf("idle gateway over %v", took.Round(time.Second)), "less than 0.5 % of one core", fmt.Sprintf("%.2f %%", share), share < 0.5)
	return nil
}
