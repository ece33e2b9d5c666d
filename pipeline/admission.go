package pipeline

// Admission: a budget of bytes, twice: the client's share first, then the
// gateway's whole. It stands before everything else and is what bounds memory.
// First come, first served among those that wait as long as it takes (streams)
// and among those that do not (calls); the two take turns (ADR 0017).

import (
	"container/list"
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// messageOverhead is what a message costs beside its frame and its events, in bytes.
const messageOverhead = 512

// charge is the memory that a message with n events pins.
func charge(frame []byte, n int) int64 {
	return int64(cap(frame)) + messageOverhead + int64(n)*stages.EventOverhead
}

// budget is a weighted semaphore. A request larger than the whole is charged as the whole.
type budget struct {
	limit int64
	used  atomic.Int64
	// waiting counts queued requests; written under mu, read without it by release.
	waiting atomic.Int32

	mu sync.Mutex // guards the following
	// queues are each first come, first served; whose turn it is, is granted first, so a large request does not starve.
	// They have *claim. Lists, because thousands may give up at once, and release waits for them.
	queues [2]list.List
	// lead is how many bytes the hasty were granted more than the patient, while both waited. Each turn goes to the
	// side that has had less, so it stays within the largest request to both sides.
	lead int64
}

// urgency tells the queues apart: behind streams that hold more than goes out in ADMISSION_TIMEOUT, a call would
// never get in.
type urgency int

const (
	hasty   urgency = iota // gives up after a time
	patient                // waits as long as it takes
)

// claim is one queued request.
type claim struct {
	n       int64
	kind    urgency
	place   *list.Element // nil when it waits no longer; guarded by mu
	granted chan struct{} // closed under mu when the bytes are taken
}

func (b *budget) clamp(n int64) int64 { return min(n, b.limit) }

// take takes n if they are there, without regard to the queue.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// try takes n if they are there and nobody waits.
func (b *budget) try(n int64) bool { return b.waiting.Load() == 0 && b.take(n) }

// enqueue takes n at once (nil) or queues a claim for them.
//
// The race with release: a releaser lowers used and then loads waiting; we
// raise waiting and then look at used. Sequentially consistent, so either the
// releaser sees us and grants, or we see what it gave back.
func (b *budget) enqueue(n int64, kind urgency) *claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.Add(1)
	if b.empty() && b.take(n) {
		b.waiting.Add(-1)
		return nil
	}
	c := &claim{n: n, kind: kind, granted: make(chan struct{})}
	c.place = b.queues[kind].PushBack(c)
	b.grant() // it may be this one's turn, and it may fit where the others did not
	return c
}

func (b *budget) empty() bool { return b.queues[hasty].Len()+b.queues[patient].Len() == 0 }

// front is the side's next claim, nil when nobody waits there.
func (b *budget) front(kind urgency) *claim {
	e := b.queues[kind].Front()
	if e == nil {
		return nil
	}
	return e.Value.(*claim)
}

// cancel withdraws a claim. False: it was granted meanwhile and the bytes are the caller's.
func (b *budget) cancel(c *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.place == nil {
		return false
	}
	held := b.turn() == c.kind && b.front(c.kind) == c
	b.leave(c)
	if held {
		b.makeUp(1 - c.kind)
	}
	b.grant() // a smaller one behind it may fit now
	return true
}

// makeUp grants a side what is there, after a claim of the other has held it up and given up. Else claims that never
// fit, because what they want is taken for long, would have one turn after the other and keep the side out. Called with
// mu held.
func (b *budget) makeUp(kind urgency) {
	for c := b.front(kind); c != nil && b.take(c.n); c = b.front(kind) {
		b.admit(c)
	}
}

// grant serves the queues, whose turn it is first, while there is room. Called with mu held.
func (b *budget) grant() {
	for !b.empty() {
		c := b.front(b.turn())
		if !b.take(c.n) {
			return
		}
		b.count(c)
		b.admit(c)
	}
}

// count keeps the lead, for a claim that has its turn. A side that has memory to itself pays with it what it is owed, and
// no more: the other need not be there at the time, as calls seldom are that come now and then.
func (b *budget) count(c *claim) {
	lead := b.lead + [2]int64{hasty: c.n, patient: -c.n}[c.kind]
	if b.front(1-c.kind) == nil {
		lead = max(min(b.lead, 0), min(lead, max(b.lead, 0)))
	}
	b.lead = lead
}

// admit ends a claim whose bytes are taken.
func (b *budget) admit(c *claim) {
	b.leave(c)
	close(c.granted)
}

// leave takes a claim out of its queue.
func (b *budget) leave(c *claim) {
	b.queues[c.kind].Remove(c.place)
	c.place = nil
	b.waiting.Add(-1)
}

// turn is the side to serve next; one of them waits.
func (b *budget) turn() urgency {
	switch {
	case b.front(hasty) == nil:
		return patient
	case b.front(patient) == nil, b.lead <= 0:
		return hasty
	default:
		return patient
	}
}

// release gives n back.
func (b *budget) release(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() > 0 {
		b.mu.Lock()
		b.grant()
		b.mu.Unlock()
	}
}

// NewClient returns a client with its own share of the in-flight memory.
func (p *Pipeline) NewClient(name string) *stages.Client {
	return &stages.Client{Name: name, Share: &budget{limit: p.clientMaxInflight}}
}

// Admit waits for its turn until the client's share and the gateway's budget
// have room for m. wait < 0 waits as long as ctx and the drain
// allow (streams: HTTP/2 flow control does the rest), otherwise at most wait.
// nil = admitted. Otherwise the verdict for Refuse: OVERLOADED,
// CLIENT_OVERLOADED, DRAINING, or NOT_SENT when ctx ended.
func (p *Pipeline) Admit(ctx context.Context, m *stages.Message, wait time.Duration) *stages.Verdict {
	select {
	case <-p.draining:
		return &stages.Verdict{Outcome: stages.Refused, Reason: stages.Draining}
	default:
	}
	share := m.Client.Share.(*budget)
	var limit admissionWait
	defer limit.stop()
	if v := p.acquire(ctx, share, m.Charge, stages.ClientOverloaded, wait, &limit); v != nil {
		return v
	}
	if v := p.acquire(ctx, &p.inflight, m.Charge, stages.Overloaded, wait, &limit); v != nil {
		share.release(share.clamp(m.Charge))
		return v
	}
	m.Admitted = true
	if limit.waited {
		m.Entered = time.Now()
	}
	p.messages.arm(m)
	return nil
}

// admissionWait is one timer for both budgets, started only when there is something to wait for.
type admissionWait struct {
	timer  *time.Timer
	waited bool
}

func (a *admissionWait) start(wait time.Duration) <-chan time.Time {
	if wait < 0 {
		return nil
	}
	if a.timer == nil {
		a.timer = time.NewTimer(wait)
	}
	return a.timer.C
}

func (a *admissionWait) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

func (p *Pipeline) acquire(ctx context.Context, b *budget, n int64, full stages.Reason, wait time.Duration, limit *admissionWait) *stages.Verdict {
	n = b.clamp(n)
	if b.try(n) {
		return nil
	}
	kind := hasty
	if wait < 0 {
		kind = patient
	}
	c := b.enqueue(n, kind)
	if c == nil {
		return nil
	}
	limit.waited = true
	start := time.Now()
	defer func() { p.admissionWaits.Add(1); p.admissionWaitNanos.Add(int64(time.Since(start))) }()
	reason := full
	select {
	case <-c.granted:
		return nil
	case <-ctx.Done():
		reason = stages.NotSent
	case <-p.draining:
		reason = stages.Draining
	case <-limit.start(wait):
	}
	if !b.cancel(c) {
		return nil // granted at the last moment
	}
	return &stages.Verdict{Outcome: stages.Refused, Reason: reason}
}
