package cli

// Counting answers, and what --resend does with those that are not a success:
// an event that may be sent again goes to the end of its stream's queue and is
// sent again when its delay is over, until --timeout has passed since it was
// first sent. Its final outcome is the one that counts. Sending again changes
// the order of a key: the event then stands behind those of its key that were
// acknowledged in the meantime.

import (
	"time"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// count books one answer.
func (s *stream) count(p pending, now int64) {
	a := &s.answer
	from := p.due
	if from == 0 {
		from = s.sentAt[p.slot].Load()
	}
	if s.single {
		if s.tally.succeed(a.verdict.outcome) {
			s.tally.record(now-from, 1)
			return
		}
		s.failed(a.verdict, p, nil)
		return
	}
	acknowledged := a.succeeded - a.filtered - a.duplicates
	s.tally.acknowledged.Add(int64(acknowledged))
	s.tally.filtered.Add(int64(a.filtered))
	s.tally.duplicate.Add(int64(a.duplicates))
	s.tally.record(now-from, int64(a.succeeded))
	var events [][]byte
	for _, v := range a.failures {
		if s.resend && events == nil {
			events = split(p.buffer.ReadOnlyData())
		}
		var event []byte
		if v.index >= 0 && v.index < len(events) {
			event = events[v.index]
		}
		s.failed(v, p, event)
	}
	// A gateway that leaves an event out of its answer has broken its contract: no answer, not success.
	if missing := p.events - a.succeeded - len(a.failures); missing > 0 {
		s.tally.noAnswer.Add(int64(missing))
	}
}

// failed books or queues an event that was refused, is unknown or (the zero verdict) got no answer.
func (s *stream) failed(v verdict, p pending, event []byte) {
	if !s.resend {
		s.tally.fail(v)
		return
	}
	if event == nil {
		event = p.buffer.ReadOnlyData()
	}
	helps := v.retry > 0 || v.outcome == gatewayv1.Outcome_OUTCOME_UNKNOWN ||
		v.outcome == gatewayv1.Outcome_OUTCOME_UNSPECIFIED
	due := s.now() + int64(v.retry)
	if !helps || due > p.first+int64(s.timeout) {
		s.tally.fail(v)
		return
	}
	v.reason = append([]byte(nil), v.reason...)
	item := retry{due: due, first: p.first, event: append([]byte(nil), event...), last: v}
	s.mu.Lock()
	s.again = append(s.again, item)
	s.mu.Unlock()
}

// failedAll is failed for each event of a message.
func (s *stream) failedAll(v verdict, p pending) {
	if !s.resend {
		for range p.events {
			s.tally.fail(v)
		}
		return
	}
	for _, event := range split(p.buffer.ReadOnlyData()) {
		s.failed(v, p, event)
	}
}

// buildAgain takes the events that are due, at most a message of them.
func (s *stream) buildAgain() (pending, bool) {
	if !s.resend {
		return pending{}, false
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.scratch = s.scratch[:0]
	p := pending{first: now, again: true}
	kept := s.again[:0]
	for _, item := range s.again {
		if item.due > now || p.events == s.batch {
			kept = append(kept, item)
			continue
		}
		p.events++
		p.first = min(p.first, item.first)
		s.scratch = append(s.scratch, item.event...)
	}
	clear(s.again[len(kept):])
	s.again = kept
	if p.events == 0 {
		return p, false
	}
	s.tally.resent.Add(int64(p.events))
	p.buffer = s.keep(s.scratch)
	return p, true
}

// nextAgain says how long until the next event is due, and whether anything can still come.
func (s *stream) nextAgain() (wait time.Duration, left bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.again) == 0 {
		// The receiver may be booking the message it has just taken from the window; it wakes us after
		// that, and a look at the tally tells whether it has done so.
		return time.Second, s.resend && s.tally.open() > 0
	}
	wait = time.Hour
	now := s.now()
	for _, item := range s.again {
		wait = min(wait, time.Duration(item.due-now))
	}
	return max(wait, 0), true
}

// abandonAgain books what is no longer sent again by its last outcome.
func (s *stream) abandonAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range s.again {
		s.tally.fail(item.last)
	}
	s.again = nil
}
