package ledger

// What can be asked while the run goes on: numbers of answers, and when there
// was service.

import (
	"maps"
	"slices"
	"time"
)

// Counts are sendings by what became of them.
type Counts struct {
	Sent, Acknowledged, Refused, Unknown, NoAnswer, Resent int
}

// Count adds up all producers of the methods; none named = all.
func (l *Ledger) Count(methods ...Method) (c Counts) {
	for _, p := range l.Producers() {
		if len(methods) > 0 && !slices.Contains(methods, p.Method) {
			continue
		}
		n := p.Count()
		c.Sent += n.Sent
		c.Acknowledged += n.Acknowledged
		c.Refused += n.Refused
		c.Unknown += n.Unknown
		c.NoAnswer += n.NoAnswer
		c.Resent += n.Resent
	}
	return c
}

// Count is the producer's part.
func (p *Producer) Count() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Counts{Sent: int(p.order), Acknowledged: p.counts[Acknowledged], Refused: p.counts[Refused],
		Unknown: p.counts[Unknown], NoAnswer: p.counts[NoAnswer], Resent: p.resent}
}

// Reasons counts the answers that were no acknowledgement by their reason.
func (l *Ledger) Reasons() map[string]int {
	sum := map[string]int{}
	for _, p := range l.Producers() {
		p.mu.Lock()
		reasons := maps.Clone(p.reasons)
		p.mu.Unlock()
		for reason, n := range reasons {
			sum[reason] += n
		}
	}
	return sum
}

// slot is the resolution of the timeline.
const slot = 50 * time.Millisecond

// timeline has the slots in which something was acknowledged.
type timeline struct {
	first, last time.Time
	slots       map[int64]struct{}
}

func (t *timeline) tick(now time.Time) {
	if t.slots == nil {
		t.slots, t.first = map[int64]struct{}{}, now
	}
	t.last = now
	t.slots[now.UnixNano()/int64(slot)] = struct{}{}
}

// WithoutService is the longest time between begin and end in which no producer of the methods had an
// acknowledgement; none named = all.
func (l *Ledger) WithoutService(begin, end time.Time, methods ...Method) time.Duration {
	all := map[int64]struct{}{}
	for _, p := range l.Producers() {
		if len(methods) > 0 && !slices.Contains(methods, p.Method) {
			continue
		}
		p.mu.Lock()
		maps.Copy(all, p.service.slots)
		p.mu.Unlock()
	}
	longest, last := int64(0), begin.UnixNano()/int64(slot)
	stop := end.UnixNano() / int64(slot)
	for _, at := range slices.Sorted(maps.Keys(all)) {
		if at < last || at > stop {
			continue
		}
		longest, last = max(longest, at-last-1), at
	}
	return time.Duration(max(longest, stop-last-1, 0)) * slot
}
