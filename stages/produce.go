package stages

// The produce stage: hands the events of a batch to the Producer, unless the
// breaker is open or somebody has answered them meanwhile.

// Produce is the stage.
type Produce struct {
	producer Producer
	breaker  *Breaker
	now      func() int64
	handed   []*Event
	left     []*Event
}

// NewProduce returns the stage. breaker may be nil.
func NewProduce(producer Producer, breaker *Breaker, now func() int64) *Produce {
	return &Produce{producer: producer, breaker: breaker, now: now}
}

// Process hands over what is still to be produced, in order, and returns the
// events that were not: refused before, refused here, or answered by a
// deadline. Those are still the caller's; the slice is valid until the next
// call. All others belong to the Producer and must not be touched.
func (p *Produce) Process(b *RecordBatch) (left []*Event) {
	p.handed, p.left = p.handed[:0], p.left[:0]
	asked, allowed := p.breaker == nil, true
	for _, ev := range b.Events {
		// Asked once, and only for an event that somebody still waits for: a half-open breaker's one trial
		// would be wasted on a batch whose events were all answered by their deadlines.
		if !asked && ev.Live() && ev.Msg.Queued(ev.Index) {
			asked, allowed = true, p.breaker.Allow(p.now())
		}
		switch f := ev.Msg.options.Flow; {
		case !ev.Live():
		case !allowed:
			ev.Refuse(AtProduce, BreakerOpen, nil)
		case f != nil && f.stops(ev.Msg.Position(ev.Index)):
			ev.Refuse(AtProduce, NotSent, &Detail{Message: "an earlier record of its partition is sent again first"})
		}
		ev.At = AtProduce
	}
	for rest := b.Events; len(rest) > 0; {
		rest = p.hand(rest)
	}
	if len(p.handed) > 0 {
		p.producer.Produce(b.Partition, p.handed)
	}
	return p.left
}

// hand hands over the first events that share a Group, and returns the others. The
// step decides the race with deadlines and cancellations: from then on those can
// only say "unknown".
func (p *Produce) hand(events []*Event) (rest []*Event) {
	var g Group
	m, n := events[0].Msg, 0
	for n < len(events) && events[n].Msg == m && (!events[n].Live() || g.Add(events[n].Index)) {
		n++
	}
	won := m.Hand(g)
	for _, ev := range events[:n] {
		if won.Has(ev.Index) {
			ev.Handed = true
			p.handed = append(p.handed, ev)
		} else {
			p.left = append(p.left, ev)
		}
	}
	return events[n:]
}

// Left is what the last Process did not hand over, also when the Producer panicked.
func (p *Produce) Left() []*Event { return p.left }
