package pipeline

// The retirer: takes what comes out of the graph, answers what was handed to
// Kafka with Kafka's verdict, and gives everything back. It has no goroutine of
// its own: whoever reports does the work, one at a time (ADR 0009).

import (
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/ring"
	"github.com/event-gateway/event-gateway/stages"
)

type retirer struct {
	p *Pipeline

	// mu guards the following. Nearly all reports come from one goroutine, that of the Kafka client's promises;
	// produce workers report what they did not hand over. Nothing under it waits for anything.
	mu     sync.Mutex
	counts *outcomeCounts
	// latency is receipt to acknowledgement, an entry an event.
	latency histogram
	// homes are the free rings of the decode workers.
	homes []home
	// echoes are sendings whose wait for the first one has ended (dedupe.go).
	echoes []echo

	// run collects neighbours of one message, which are settled and dropped at once.
	run struct {
		msg     *stages.Message
		acked   int
		settled int
		retired int
		// part and cost are the bytes to take off the partition that the last events were of.
		part *stages.Partition
		cost int64
	}
}

// home is the way back of one decode worker's events. The ring holds all of them, so a push always fits.
type home struct {
	free   *ring.Producer[*stages.Event]
	waiter *ring.Waiter
	staged []*stages.Event
}

// Report is what a Producer calls for its events, once for each, after setting
// ev.Ack: best for all of one message in one call. It never waits for Kafka or for
// a client, and may be called from any goroutine. The slice stays the caller's.
func (p *Pipeline) Report(events []*stages.Event) {
	p.retirer.mu.Lock()
	defer p.retirer.mu.Unlock()
	p.retirer.retire(events, p.now())
	p.retirer.answerEchoes()
}

// Acknowledged is Report for events of one quiet message that Kafka has. What it takes is the caller's again when it
// returns.
func (p *Pipeline) Acknowledged(a *stages.AcknowledgedRun) {
	r := p.retirer
	r.mu.Lock()
	defer r.mu.Unlock()
	now := p.now()
	r.rememberRun(a, now)
	run := &r.run
	run.msg, run.retired = a.Msg, len(a.Events)
	for _, g := range a.Groups {
		r.acknowledge(nil, g)
	}
	run.part, run.cost = a.Partition, a.Cost
	h := &r.homes[a.Events[0].Home] // a message has one decode worker
	r.endRun(now)
	h.giveBack(a.Events)
	r.answerEchoes()
}

// retire answers and gives back events that nobody else holds any more, at now (Pipeline.now). Called with mu held.
func (r *retirer) retire(burst []*stages.Event, now int64) {
	r.remember(burst, now)
	for len(burst) > 0 {
		if burst[0].Msg != r.run.msg {
			r.endRun(now)
			r.run.msg = burst[0].Msg
		}
		n := r.answer(burst)
		r.takeBack(burst[:n])
		r.run.retired += n
		burst = burst[n:]
	}
	r.endRun(now)
	r.giveBack()
}

// giveBack sends the staged events home.
func (r *retirer) giveBack() {
	for i := range r.homes {
		if h := &r.homes[i]; len(h.staged) > 0 {
			h.giveBack(h.staged)
			h.staged = h.staged[:0]
		}
	}
}

// giveBack sends events home, as they are: decode resets them when it uses them again, or when it is idle.
func (h *home) giveBack(events []*stages.Event) {
	if h.free.Push(events) != len(events) {
		panic("BUG: a free ring is full: an event was retired twice")
	}
	h.waiter.Wake()
}

// answer gives handed events the Producer's verdicts, unless a deadline has
// answered them with unknown: the first ones of the run's message, those whose
// acknowledgements are one Group. It says how many those are.
func (r *retirer) answer(burst []*stages.Event) (n int) {
	m := r.run.msg
	var acked stages.Group
	for ; n < len(burst) && burst[n].Msg == m; n++ {
		ev := burst[n]
		switch {
		case !ev.Handed:
		case ev.Dead && ev.Ack.Verdict.Outcome == stages.Acknowledged:
			r.buried(ev)
		case ev.Ack.Verdict.Outcome != stages.Acknowledged:
			r.fail(ev)
		case !acked.Add(ev.Index):
			r.acknowledge(burst[:n], acked)
			return n
		}
	}
	r.acknowledge(burst[:n], acked)
	return n
}

// acknowledge answers those of the events that are in acked.
func (r *retirer) acknowledge(events []*stages.Event, acked stages.Group) {
	m := r.run.msg
	won := m.WinAcknowledged(acked)
	if late := acked.Len() - won.Len(); late > 0 {
		bump(&r.p.lateAcks, uint64(late))
	}
	r.run.acked += won.Len()
	r.run.settled += won.Len()
	if m.Quiet() {
		return
	}
	for _, ev := range events {
		if !won.Has(ev.Index) {
			continue
		}
		res := m.Write(ev.Index)
		res.Outcome, res.Stage, res.Topic = stages.Acknowledged, stages.AtProduce, ev.Topic
		res.Partition, res.Offset = ev.Ack.Partition, ev.Ack.Offset
	}
}

// buried answers an event whose dead letter Kafka has: with the refusal that made it one.
func (r *retirer) buried(ev *stages.Event) {
	m, i, letter := ev.Msg, ev.Index, ev.Letter
	if !m.WinHanded(i) {
		bump(&r.p.lateAcks, 1)
		return
	}
	m.SetVerdict(i, letter.Verdict)
	res := m.Write(i)
	res.DeadLettered, res.Topic, res.Offset = true, letter.Topic, -1
	r.counts.add(m.Origin, &letter.Verdict, 1)
	r.counts.deadLettered[m.Origin].Add(1)
	r.run.settled++
}

// fail answers an event that the Producer refused or knows nothing of.
func (r *retirer) fail(ev *stages.Event) {
	m, i := ev.Msg, ev.Index
	if !m.WinHanded(i) {
		return
	}
	m.SetVerdict(i, ev.Ack.Verdict)
	res := m.Write(i)
	res.Topic, res.Partition, res.Offset = ev.Topic, ev.Partition.ID, -1
	r.counts.add(m.Origin, &ev.Ack.Verdict, 1)
	r.run.settled++
}

// takeBack notes the bytes that the events took of their partitions, and stages the way home.
func (r *retirer) takeBack(events []*stages.Event) {
	for _, ev := range events {
		if ev.Cost != 0 {
			if ev.Partition != r.run.part {
				r.takeOff()
				r.run.part = ev.Partition
			}
			r.run.cost += int64(ev.Cost)
		}
		h := &r.homes[ev.Home]
		h.staged = append(h.staged, ev)
	}
}

// takeOff takes the bytes of the last events off their partition.
func (r *retirer) takeOff() {
	if r.run.cost != 0 {
		r.run.part.AddInflight(-r.run.cost)
		r.run.cost = 0
	}
}

// endRun settles and drops the events of one message that came in a row.
func (r *retirer) endRun(now int64) {
	run := &r.run
	if run.msg == nil {
		return
	}
	r.takeOff() // before drop: at rest, when no message is held, no bytes are in flight
	if run.acked > 0 {
		r.counts.outcomes[run.msg.Origin][stages.Acknowledged].Add(uint64(run.acked))
		r.latency.observe(time.Duration(now)-run.msg.Received.Sub(r.p.epoch), uint64(run.acked))
	}
	if run.settled > 0 {
		run.msg.Settle(run.settled)
	}
	r.p.drop(run.msg, run.retired)
	run.msg, run.acked, run.settled, run.retired = nil, 0, 0, 0
}
