package pipeline

// Messages from receipt to release: what handlers do with the pipeline. See
// api.go for the walk.

import (
	"runtime"
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// messagePool keeps messages by the number of results they have room for, so
// that a unary call does not carry the 700 KiB of a batch of 10,000.
type messagePool struct {
	classes [len(resultClasses)]sync.Pool
	// bare are messages without results.
	bare sync.Pool
}

// resultClasses are the sizes of the pools; more results are not kept.
var resultClasses = [...]int{4, 128, 1024}

// smallMessage is the most events for which a message has its results from the start. A client can leave thousands
// of messages waiting for admission, 20 KB each on the wire: their results would take thirty times as much.
const smallMessage = 128

// class is the pool for n results, len(resultClasses) when there is none.
func class(n int) int {
	for i, size := range resultClasses {
		if n <= size {
			return i
		}
	}
	return len(resultClasses)
}

// get returns a message of n events; above smallMessage it has no results until arm.
func (mp *messagePool) get(n int) *stages.Message {
	if n > smallMessage {
		m, ok := mp.bare.Get().(*stages.Message)
		if !ok {
			m = stages.NewMessage(0)
		}
		m.Count = n
		return m
	}
	i := class(n)
	m, ok := mp.classes[i].Get().(*stages.Message)
	if !ok {
		m = stages.NewMessage(resultClasses[i])
	}
	m.Arm(n)
	return m
}

// arm gives m its results, if it has none yet.
func (mp *messagePool) arm(m *stages.Message) {
	if len(m.Results) == m.Count {
		return
	}
	if i := class(m.Count); i < len(resultClasses) {
		if donor, ok := mp.classes[i].Get().(*stages.Message); ok {
			m.Take(donor)
			mp.bare.Put(donor)
		} else {
			m.Take(stages.NewMessage(resultClasses[i]))
		}
	}
	m.Arm(m.Count)
}

// put takes m back, with its results if they fit a class.
func (mp *messagePool) put(m *stages.Message) {
	for i, size := range resultClasses {
		if cap(m.Results) == size {
			mp.classes[i].Put(m)
			return
		}
	}
	m.Take(stages.NewMessage(0))
	mp.bare.Put(m)
}

// Receive takes a message from the pool and counts its events as accepted. n is
// the number of events from stages.Scan (1 for Single and Malformed). Received
// is set to now, Deadline to now + DELIVERY_TIMEOUT; the caller may shorten it.
func (p *Pipeline) Receive(client *stages.Client, frame []byte, buffer stages.Freer, kind stages.Kind, n int) *stages.Message {
	m := p.messages.get(n)
	m.Frame, m.Buffer, m.Kind, m.Client = frame, buffer, kind, client
	m.Charge = charge(frame, n)
	m.Received = time.Now()
	m.Entered = m.Received
	m.Deadline = m.Received.Add(p.deliveryTimeout)
	p.live.Add(1)
	p.accepted[m.Origin].Add(uint64(n))
	return m
}

// Lane picks the entrance for a new stream or unary call, in turn.
func (p *Pipeline) Lane() Lane { return Lane(p.nextLane.Add(1) % uint64(len(p.decoders))) }

// Submit puts an admitted message into a lane. It never waits: a lane holds
// more than can be admitted.
func (p *Pipeline) Submit(lane Lane, m *stages.Message) {
	d := p.decoders[lane]
	for !d.lane.TryPush(m) {
		// Only a claim that is not taken yet by the consumer can make a lane look full, and only for a moment.
		runtime.Gosched()
	}
	d.waiter.Wake()
}

// Refuse answers every event of a message that was not submitted. Completed is not called.
func (p *Pipeline) Refuse(m *stages.Message, v stages.Verdict) {
	p.messages.arm(m)
	m.Owner = nil
	for i := range m.Results {
		if m.WinQueued(i) {
			m.SetVerdict(i, v)
		}
	}
	n := m.Events()
	p.callers.add(m.Origin, &v, n)
	m.Settle(n)
	m.Drop(n) // never submitted: no event of it exists; the owner's reference stays
}

// Reject is Refuse and Release for a message whose owner needs no answer an event.
func (p *Pipeline) Reject(m *stages.Message, v stages.Verdict) {
	p.callers.add(m.Origin, &v, m.Events())
	p.recycle(m)
}

// Expire ends the wait for a submitted m: what is still queued is refused
// (reason: NotSent, or Draining in a drain), what was handed to Kafka is
// answered unknown. m is answered when it returns.
func (p *Pipeline) Expire(m *stages.Message, reason stages.Reason) {
	refused, unknown := p.sweep(m, reason, true)
	if n := refused + unknown; n > 0 {
		m.Settle(n)
	}
	for !m.Answered() {
		// Somebody won an event just before us and is between winning and settling it: a few instructions.
		runtime.Gosched()
	}
}

// sweep answers events from outside the graph, without settling them.
func (p *Pipeline) sweep(m *stages.Message, reason stages.Reason, handedToo bool) (refused, unknown int) {
	notSent := stages.Verdict{Outcome: stages.Refused, Reason: reason, Stage: stages.AtProduce}
	inDoubt := stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown, Stage: stages.AtProduce}
	if f := m.Flow(); f != nil && !m.Answered() {
		f.Break(m.Position(0)) // first: between winning an event and saying so, a later one could be handed over
	}
	for i := range m.Results {
		switch {
		case m.WinQueued(i):
			m.SetBlindVerdict(i, notSent)
			refused++
		case handedToo && m.WinHanded(i):
			m.SetVerdict(i, inDoubt)
			unknown++
		}
	}
	if refused > 0 {
		p.callers.add(m.Origin, &notSent, refused)
	}
	if unknown > 0 {
		p.callers.add(m.Origin, &inDoubt, unknown)
	}
	return refused, unknown
}

// Abandon ends the owner's interest in a submitted m because the caller is
// gone: what is queued is refused, what is handed is counted as what becomes of
// it, unknown at the deadline. It takes the owner's reference; m must not be
// touched after it. Completed may still be called, once, during or after it.
func (p *Pipeline) Abandon(m *stages.Message) {
	if refused, _ := p.sweep(m, stages.NotSent, false); refused > 0 {
		m.Settle(refused)
	}
	if m.Answered() {
		p.Release(m)
		return
	}
	p.janitor.adopt(m)
}

// Release gives the owner's reference back; m, its Frame and its Results must
// not be touched after it.
func (p *Pipeline) Release(m *stages.Message) { p.drop(m, 1) }

// drop gives n references back and recycles the message with the last one.
func (p *Pipeline) drop(m *stages.Message, n int) {
	if m.Drop(n) {
		p.recycle(m)
	}
}

// recycle gives back all that m holds; nobody refers to it any more.
func (p *Pipeline) recycle(m *stages.Message) {
	if poison {
		for i := range m.Frame {
			m.Frame[i] = poisonByte
		}
	}
	if m.Buffer != nil {
		m.Buffer.Free()
	}
	m.Disown(p.unwrite)
	client, taken, admitted := m.Client, m.Charge, m.Admitted
	m.Reset()
	p.messages.put(m)
	if admitted {
		p.inflight.release(p.inflight.clamp(taken))
		share := client.Share.(*budget)
		share.release(share.clamp(taken))
	}
	p.live.Add(-1)
}
