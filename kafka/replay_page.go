package kafka

// Pages of a replay: events that match are handed on together, at the rate that
// was asked for, and the caller hears of the progress once a second.

import (
	"context"
	"time"

	"golang.org/x/time/rate"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// pageBytes bounds the encoded events of a page: gRPC clients take 4 MiB by default. A larger event travels alone.
	pageBytes = 3 << 20
	// pageEvery is how often the caller hears of the progress at least.
	pageEvery = time.Second
)

// pager belongs to its replay's goroutine.
type pager struct {
	ask      *stages.Replay
	most     int
	position func() time.Time
	limit    *rate.Limiter
	metrics  *readMetrics

	events   []*stages.Delivery
	bytes    int
	progress stages.ReplayProgress
	// counted is what the metrics have of progress.
	counted stages.ReplayProgress
	// handed is when the caller heard last.
	handed time.Time
}

func newPager(ask *stages.Replay, most int, position func() time.Time, metrics *readMetrics) *pager {
	// A tenth of a second at once, so that a fast replay does not wait for every single event.
	limit := rate.NewLimiter(rate.Limit(ask.PerSecond), max(1, ask.PerSecond/10))
	return &pager{ask: ask, most: most, position: position, limit: limit, metrics: metrics, handed: time.Now()}
}

// add puts an event that matches into the page, when its time has come.
func (p *pager) add(ctx context.Context, d *stages.Delivery) error {
	if len(p.events) > 0 && p.bytes+len(d.Frame) > pageBytes {
		if err := p.flush(); err != nil {
			return err
		}
	}
	if err := p.wait(ctx, p.limit.Reserve().Delay()); err != nil {
		return err
	}
	p.progress.Matched++
	p.events, p.bytes = append(p.events, d), p.bytes+len(d.Frame)
	if len(p.events) >= p.most {
		return p.flush()
	}
	return p.due()
}

// wait for a time, with the caller heard of the progress.
func (p *pager) wait(ctx context.Context, rest time.Duration) error {
	for rest > 0 {
		if err := p.due(); err != nil {
			return err
		}
		step := min(rest, p.patience())
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		rest -= step
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// patience is how long it is until the caller has to hear something.
func (p *pager) patience() time.Duration {
	return max(pageEvery-time.Since(p.handed), time.Millisecond)
}

// due hands over what there is when the caller has not heard anything for long.
func (p *pager) due() error {
	if time.Since(p.handed) < pageEvery {
		return nil
	}
	return p.flush()
}

// flush hands over what there is.
func (p *pager) flush() error {
	if at := p.position(); at.After(p.progress.Position) {
		p.progress.Position = at
	}
	p.metrics.replayRead.Add(uint64(p.progress.Read - p.counted.Read))
	p.metrics.replayMatched.Add(uint64(p.progress.Matched - p.counted.Matched))
	p.counted = p.progress
	err := p.ask.Page(p.events, p.progress)
	clear(p.events)
	p.events, p.bytes, p.handed = p.events[:0], 0, time.Now()
	return err
}

// finish hands over the last page.
func (p *pager) finish(until time.Time) error {
	p.progress.Position, p.progress.Done = until, true
	return p.flush()
}
