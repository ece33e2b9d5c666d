package kafka

// One source partition: what was fetched of it and has no outcome yet, and its
// feeder, the goroutine that sends its records into the pipeline, one message
// after the other. It waits as long as the rate limit and admission want; when a
// record fails that is to be sent again, it waits for everything in flight and
// then sends again from there.

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// messageRecords and messageBytes bound one message. Up to 128 events a message is armed at once, see
	// pipeline/messages.go; with more, nothing was gained.
	messageRecords = 128
	messageBytes   = 256 << 10
	// standingWait is how long to wait when nothing passes before somebody has acted.
	standingWait = time.Second
)

// sourcePartition is one assignment of one partition.
type sourcePartition struct {
	s      *Source
	topic  string
	id     int32
	client *stages.Client
	submit func(*stages.Message)
	flow   *stages.Flow
	// ctx ends when nothing more is to be sent.
	ctx    context.Context
	cancel context.CancelFunc
	// wake wakes the feeder, quiet tells who waits that nothing is in flight; capacity 1.
	wake, quiet chan struct{}

	mu    sync.Mutex // guards the following; Source.mu comes first
	track tracker
	// flights are the messages in the pipeline, in the order sent. sending: one more is on its way there.
	flights []*flight
	sending bool
	// solo: the last one sent is to be in flight by itself.
	solo bool
	// advice is the longest retry delay among the failures.
	advice time.Duration
	// stopped is why the partition goes no further.
	stopped string
	// paused: Kafka is not asked for more of it.
	paused bool
	// gone: the partition is not ours any more, and nothing of it is committed.
	gone bool
	// expected is the offset that the group has committed; -1: none.
	expected int64
	// end is the offset behind the newest record that Kafka is known to have.
	end int64
}

// flight is a message in the pipeline; its owner there.
type flight struct {
	p        *sourcePartition
	m        *stages.Message
	position int64
	n        int
	// asLetter: the record was sent as a dead letter.
	asLetter bool
}

// Completed implements stages.Owner: a hand-off, since it runs in a promise of the Kafka client.
func (f *flight) Completed(*stages.Message) { f.p.s.completed(f) }

func (s *Source) newPartition(topic string, id int32) *sourcePartition {
	p := &sourcePartition{s: s, topic: topic, id: id, client: s.clients[topic], submit: s.parts.Pipeline.Entry(),
		flow: stages.NewFlow(s.cfg.OnRefused == RefusedStops), wake: make(chan struct{}, 1), quiet: make(chan struct{}, 1),
		track: newTracker(), expected: -1, end: -1}
	p.ctx, p.cancel = context.WithCancel(s.ctx)
	return p
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// feed is the feeder's goroutine.
func (p *sourcePartition) feed() {
	for {
		position, records, refusal := p.next()
		if records == nil {
			return
		}
		p.send(position, records, refusal)
	}
}

// next waits for records to send; nil: the partition has ended.
func (p *sourcePartition) next() (position int64, records []stages.Record, refusal *stages.Verdict) {
	for {
		wait, advice := true, time.Duration(0)
		p.mu.Lock()
		switch {
		case p.ctx.Err() != nil:
			p.mu.Unlock()
			return 0, nil, nil
		case p.stopped != "":
		case p.track.failures > 0 || p.flow.Broken():
			if len(p.flights) == 0 {
				wait, advice = false, p.advice
			}
		case len(p.flights) > 0 && (p.solo || p.track.alone()):
		default:
			if position, records, refusal = p.track.take(min(messageRecords, p.s.parts.MaxBatchEvents), messageBytes); records != nil {
				p.sending, p.solo = true, p.track.at(position).alone
				p.mu.Unlock()
				return position, records, refusal
			}
		}
		p.mu.Unlock()
		if !wait {
			p.again(advice)
			continue
		}
		select {
		case <-p.wake:
		case <-p.ctx.Done():
		}
	}
}

// again sends what has failed again, after the wait that its answers advise. Nothing is in flight.
func (p *sourcePartition) again(advice time.Duration) {
	if advice > 0 {
		if pause(p.ctx, retryWait(advice)); p.ctx.Err() != nil {
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	p.s.metrics.again.Add(uint64(p.track.rewind()))
	p.advice = 0
	p.flow.Mend()
}

// send takes records through the rate limit and admission into the pipeline. What the rate limit or the end of ctx
// leaves over waits again.
func (p *sourcePartition) send(position int64, records []stages.Record, refusal *stages.Verdict) {
	n := len(records)
	var err error
	if refusal == nil { // its first sending has paid
		n, err = p.s.parts.Pipeline.Pace(p.ctx, p.client, n)
	}
	if err != nil {
		n = 0
	}
	p.giveBack(position+int64(n), len(records)-n)
	if n == 0 {
		p.sent(nil)
		return
	}
	// Never a retry of the same slice: the message keeps it.
	m := p.s.parts.Pipeline.ReceiveRecords(p.client, slices.Clip(records[:n]), stages.RecordOptions{
		Origin: stages.FromSource, Flow: p.flow, Position: position, Letters: p.s.letters(), Refusal: refusal,
	})
	f := &flight{p: p, m: m, position: position, n: n, asLetter: refusal != nil}
	m.Owner = f
	if v := p.s.parts.Pipeline.Admit(p.ctx, m, -1); v != nil {
		p.s.parts.Pipeline.Reject(m, *v)
		p.giveBack(position, n)
		p.sent(nil)
		if p.ctx.Err() == nil { // the drain: nothing is admitted any more
			p.cancel()
		}
		return
	}
	m.Deadline = time.Now().Add(p.s.parts.DeliveryTimeout) // the wait for admission has no bound
	p.sent(f)
	p.submit(m)
}

// giveBack lets records wait again that were not sent.
func (p *sourcePartition) giveBack(position int64, n int) {
	if n == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return
	}
	for i := range int64(n) {
		item := p.track.at(position + i)
		if item.state = waits; item.refusal != nil {
			item.state = waitsAsLetter
		}
	}
	p.track.next = min(p.track.next, position)
}

// sent ends what next began; f is in the pipeline from now on, unless it is nil.
func (p *sourcePartition) sent(f *flight) {
	p.mu.Lock()
	p.sending = false
	if f != nil {
		p.flights = append(p.flights, f)
	}
	p.settledSome()
	p.mu.Unlock()
	if f != nil {
		p.s.departed()
	}
}

// settledSome wakes who waits for the partition. Called with mu held.
func (p *sourcePartition) settledSome() {
	signal(p.wake)
	if len(p.flights) == 0 && !p.sending {
		signal(p.quiet)
	}
}

// settle takes the outcomes of a message over. Called by the settler.
func (p *sourcePartition) settle(f *flight) {
	p.mu.Lock()
	for i := range f.n {
		if !p.gone {
			p.outcome(f, i)
		}
	}
	p.flights = slices.DeleteFunc(p.flights, func(other *flight) bool { return other == f })
	p.progress()
	if p.paused && p.stopped == "" && !p.gone && p.track.bytes < p.s.share()/2 {
		p.paused = false
		p.s.client.ResumeFetchPartitions(map[string][]int32{p.topic: {p.id}})
	}
	p.settledSome()
	p.mu.Unlock()
	p.s.flying.Add(-1)
	p.s.parts.Pipeline.Release(f.m)
}

// progress lets what has its outcome be committed. Called with mu held.
func (p *sourcePartition) progress() {
	if offset, epoch, moved := p.track.advance(); moved && !p.gone {
		p.s.mark(p.topic, p.id, offset, epoch)
	}
}

// outcome notes what became of record i of a message. Called with mu held.
func (p *sourcePartition) outcome(f *flight, i int) {
	position, r := f.position+int64(i), &f.m.Results[i]
	switch f.m.Outcome(i) {
	case stages.Acknowledged, stages.Filtered, stages.Duplicate:
		p.track.set(position, written)
	case stages.Unknown:
		p.fail(position, r)
	default:
		switch {
		case r.DeadLettered:
			p.s.metrics.refused[RefusedToDeadLetter].Add(1)
			p.track.set(position, handled)
		case r.RetryAfterMillis > 0, r.Reason.Standing(r.Stage):
			p.fail(position, r)
		default:
			p.refused(position, r, f.asLetter)
		}
	}
}

// fail notes a record that is to be sent again.
func (p *sourcePartition) fail(position int64, r *stages.Result) {
	p.track.set(position, failed)
	if r.Reason == stages.BatchRejected { // by its batch, which would be the same once more
		p.track.at(position).alone = true
	}
	p.flow.Break(position)          // it is broken already, but for an outcome that only the deadline has given
	if r.Reason != stages.NotSent { // those only follow another one
		p.s.failing(p, r)
	}
	p.advice = max(p.advice, time.Duration(r.RetryAfterMillis)*time.Millisecond)
	if r.Reason.Standing(r.Stage) { // comes without advice
		p.advice = max(p.advice, standingWait)
	}
}

// refused deals with a record that no resend can help.
func (p *sourcePartition) refused(position int64, r *stages.Result, asLetter bool) {
	record := &p.track.at(position).record
	switch {
	case p.s.cfg.OnRefused == RefusedIsSkipped:
		p.s.metrics.refused[RefusedIsSkipped].Add(1)
		p.s.skipped.say("source", "a source record was refused and is skipped", placeOf(record, r)...)
		p.track.set(position, handled)
	case p.s.cfg.OnRefused == RefusedToDeadLetter && !asLetter:
		p.track.bury(position, &stages.Verdict{Outcome: stages.Refused, Reason: r.Reason, Stage: r.Stage, Detail: r.Detail})
	default:
		p.track.set(position, failed)
		p.stop(record, r, asLetter)
	}
}

// stop ends the partition's way in front of a record.
func (p *sourcePartition) stop(record *stages.Record, r *stages.Result, asLetter bool) {
	if p.stopped != "" {
		return
	}
	why := "a source partition stops: a record was refused (KAFKA_SOURCE_ON_REFUSED=stop); mend the cause and restart the gateway"
	if asLetter {
		why = "a source partition stops: a refused record cannot be kept in KAFKA_DLQ_TOPIC; mend the cause and restart the gateway"
	}
	p.stopped = "source partition " + placeText(record) + " is stopped: " + messageOf(r)
	p.s.metrics.refused[RefusedStops].Add(1)
	p.pause()
	p.s.parts.Log.Log(LevelError, why, placeOf(record, r)...)
}

// pause asks Kafka for no more. Called with mu held.
func (p *sourcePartition) pause() {
	if !p.paused {
		p.paused = true
		p.s.client.PauseFetchPartitions(map[string][]int32{p.topic: {p.id}})
	}
}

// awaitQuiet waits until nothing is in flight; false: ctx was faster.
func (p *sourcePartition) awaitQuiet(ctx context.Context) bool {
	for {
		p.mu.Lock()
		quiet := len(p.flights) == 0 && !p.sending
		p.mu.Unlock()
		if quiet {
			signal(p.quiet) // for whoever waits beside us
			return true
		}
		select {
		case <-p.quiet:
		case <-ctx.Done():
			return false
		}
	}
}

// leave makes the partition somebody else's: what comes now is not committed any more.
func (p *sourcePartition) leave() {
	p.cancel()
	p.mu.Lock()
	p.gone = true
	p.track.items = nil // later outcomes must not look at them
	p.mu.Unlock()
}
