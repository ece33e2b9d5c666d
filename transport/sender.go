package transport

// The sender of a stream: answers in request order, as many as are ready.

import (
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// sender is the state of a stream's sender goroutine.
type sender struct {
	*ingestStream
	burst [sendBurst]*stages.Message
	// have messages of burst are the first ones of the window; done of them are answered.
	have, done int
	answer     answer
	// packer is nil if answers go out one by one.
	packer *packer
	tick   *time.Timer
	// armed: tick will fire.
	armed bool
	// idleTicks counts ticks without work.
	idleTicks int
	// cut: the drain's time is over, so every message is overdue.
	cut bool
}

// send runs until the stream has ended or has been idle for a while.
func (st *ingestStream) send() {
	s := &sender{ingestStream: st, tick: time.NewTimer(sweepTick), armed: true}
	defer s.tick.Stop()
	if !st.batch { // the answers of batches are few
		s.packer, _ = newPacker(st.wire)
	}
	watch := newSendWatch(&st.writes, st.server.config.SendTimeout, st.cutSlow)
	defer watch.stop()
	for {
		if end := st.end.Load(); end >= clientGone {
			s.abandon()
			return
		}
		s.flush()
		for s.cut && s.expire() {
			s.flush()
		}
		if st.end.Load() != streamOpen {
			if s.complete() {
				return
			}
			if st.end.Load() >= clientGone {
				continue
			}
		}
		if !s.sleep() && s.retire() {
			return
		}
	}
}

// flush sends what is ready at the front of the window.
func (s *sender) flush() {
	for {
		s.have = s.window.advance(s.done, s.burst[:])
		s.signalRoom()
		s.done = 0
		ready := 0
		for ready < s.have && s.burst[ready].Answered() {
			ready++
		}
		for s.done < ready {
			if !s.sendSome(s.burst[s.done:ready]) {
				return
			}
		}
		if s.done == 0 {
			return
		}
	}
}

// sendSome sends the answers of the first messages, or of one. False: the client is gone.
func (s *sender) sendSome(messages []*stages.Message) bool {
	if s.packer == nil || len(messages) == 1 {
		s.done++
		return s.sendOne(messages[0])
	}
	b, n := encodePacked(messages)
	s.done += n
	for _, m := range messages[:n] {
		s.server.pipeline.Release(m)
	}
	s.writes.Add(1)
	err := s.writePacked(b)
	s.writes.Add(1)
	if err != nil {
		s.finish(clientGone)
	}
	return err == nil
}

// writePacked is write for answers with their headers.
func (s *sender) writePacked(b *[]byte) error {
	if s.out == nil {
		return s.packer.send(b, &buffers)
	}
	if err := s.out.send(s.ss.Context(), b); err != nil {
		s.out.Put(b)
		return err
	}
	err := s.packer.send(b, s.out)
	s.out.handed(s.ss.Context())
	return err
}

// sendOne sends the answer of m and lets go of it. False: the client is gone.
func (s *sender) sendOne(m *stages.Message) bool {
	if s.batch {
		s.answer.bytes = encodeBatch(m)
	} else {
		s.answer.bytes = encodeSingle(m)
	}
	s.server.pipeline.Release(m)
	s.writes.Add(1)
	err := s.write()
	s.writes.Add(1)
	if err != nil {
		s.finish(clientGone)
	}
	return err == nil
}

// write sends the answer, when the client has taken enough of those before.
func (s *sender) write() error {
	if s.out == nil {
		return s.ss.SendMsg(&s.answer)
	}
	s.answer.pool = s.out
	if err := s.out.send(s.ss.Context(), s.answer.bytes); err != nil {
		s.out.Put(s.answer.bytes)
		return err
	}
	err := s.ss.SendMsg(&s.answer)
	s.out.handed(s.ss.Context())
	return err
}

func (s *sender) signalRoom() {
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// sleep waits for a wake-up or a tick. False: the window has been empty for the whole linger.
func (s *sender) sleep() bool {
	if !s.armed {
		s.arm()
	}
	cutoff := s.server.pipeline.Cutoff()
	if s.cut {
		cutoff = nil
	}
	select {
	case <-s.wake:
		s.idleTicks = 0
		return true
	case <-cutoff:
		s.cut = true
		return true
	case <-s.tick.C:
		s.armed = false
	}
	if s.have == 0 {
		s.idleTicks++
		return s.idleTicks < senderLinger
	}
	for s.expire() {
		s.flush()
	}
	return true
}

// arm sets the next tick: earlier than usual when the oldest message is overdue before that.
func (s *sender) arm() {
	s.armed = true
	next := sweepTick
	if s.have > 0 {
		next = max(min(next, time.Until(s.burst[0].Deadline)), time.Millisecond)
	}
	s.tick.Reset(next)
}

// expire answers the overdue messages at the front of the window, and reports whether there may be more. Deadlines
// rise along the window, so nothing behind a message in time is overdue.
//
// A flush that the client's end cut short leaves messages in burst that are released, so that they may be another
// call's by now: those before done. They, and a stream without a client, are abandon's.
func (s *sender) expire() bool {
	if s.end.Load() >= clientGone {
		return false
	}
	now, reason := time.Now(), stages.NotSent
	if s.cut {
		reason = stages.Draining
	}
	for _, m := range s.burst[s.done:s.have] {
		if !s.cut && now.Before(m.Deadline) {
			return false
		}
		if !m.Answered() {
			s.server.pipeline.Expire(m, reason)
		}
	}
	return s.have > 0
}

// retire ends an idle sender. False: there is work again, and this sender is still the one.
//
// Who pushes or completes pokes: it leaves a token in wake, and then looks at sending. This one clears sending
// and then looks at wake. So at least one of them sees the other; who wins the swap runs.
func (s *sender) retire() bool {
	s.window.idle()
	s.sending.Store(false)
	select {
	case <-s.wake:
		return !s.sending.CompareAndSwap(false, true)
	default:
		return true
	}
}

// complete ends the stream in order if everything is answered: then nothing is pushed any more.
//
// A message that the receiver submits has its answer before the status, which says that every message was
// answered. Sender: end is set, load taking, seal if the window is empty. Receiver: store taking, load end, submit
// and push only if the stream is open, clear taking, load end. All but the window (which has a lock) are sequentially
// consistent atomics. If the sender loads false, the receiver's store of true comes later in their one order, and
// then its load of end finds the stream ended; or the receiver has cleared it, and then its push came before the
// seal, which finds the message. If the sender loads true, the receiver's last load of end comes later and finds
// it set, so it wakes the sender.
func (s *sender) complete() bool {
	if s.have > 0 || s.taking.Load() || !s.window.seal() {
		return false
	}
	s.close()
	return true
}

// abandon lets go of everything that nobody will read the answer of.
func (s *sender) abandon() {
	for {
		s.have = s.window.advance(s.done, s.burst[:])
		s.done = s.have
		if s.have == 0 && s.window.seal() {
			break
		}
		for _, m := range s.burst[:s.have] {
			if m.Owner == nil { // refused, never submitted
				s.server.pipeline.Release(m)
			} else {
				s.server.pipeline.Abandon(m)
			}
		}
	}
	s.close()
}

// close writes the stream's status, which also ends the receiver's read, and wakes the handler. The sending flag
// stays, so no other sender ever starts.
func (s *sender) close() {
	s.final = s.status()
	if s.final != nil {
		_ = s.wire.WriteStatus(s.final)
	}
	s.signalRoom()
	close(s.finished)
}

// cutSlow ends a stream whose client does not read its answers.
func (st *ingestStream) cutSlow() {
	st.server.metrics.slowClients.Inc()
	st.finish(slow)
	// Ends the blocked SendMsg and the receiver's read.
	_ = st.wire.WriteStatus(reasonStatus(stages.SlowClient, ""))
}
