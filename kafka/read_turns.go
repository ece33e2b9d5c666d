package kafka

// Who may decide an event whose filter takes long: few at a time, so that those
// who write events always find a processor, however many filters there are.
// Whoever waits falls behind, and reads from Kafka later.

import (
	"container/list"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// turnShare is the part of the processors that filters may keep busy; one at least.
const turnShare = 4

// turns are for one event each. They go round by client, and by who came first within one. Safe for concurrent use.
type turns struct {
	most int

	mu    sync.Mutex
	taken int
	// lines are the clients that wait, the next to be served first: *turnLine.
	lines   list.List
	clients map[string]*turnLine

	// given counts turns, waited those that had to be waited for, and for how many nanoseconds.
	given, waited, waitedNanos atomic.Uint64
}

// turnLine is one client's; *turn. It is among the lines while somebody waits in it.
type turnLine struct {
	client  string
	at      *list.Element
	waiting list.List
}

// turn is one call's.
type turn struct {
	// ready has one entry when it has come.
	ready chan struct{}
	// line is where it waits, at its place there; nil when it does not.
	line *turnLine
	at   *list.Element
}

func newTurns(most int) *turns { return &turns{most: most, clients: map[string]*turnLine{}} }

// turnsAtOnce is how many there are at once.
func turnsAtOnce() int { return max(1, runtime.GOMAXPROCS(0)/turnShare) }

func newTurn() *turn { return &turn{ready: make(chan struct{}, 1)} }

// take waits for a turn of client; give gives it back. An error is the context's, and there is no turn.
func (s *turns) take(ctx context.Context, client string, t *turn) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !s.join(client, t) {
		s.given.Add(1)
		return nil
	}
	began := time.Now()
	var err error
	select {
	case <-t.ready:
	case <-ctx.Done():
		err = context.Cause(ctx)
		s.leave(t)
	}
	s.waited.Add(1)
	s.waitedNanos.Add(uint64(time.Since(began)))
	if err == nil {
		s.given.Add(1)
	}
	return err
}

// join takes a turn, or waits in the client's line.
func (s *turns) join(client string, t *turn) (waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken < s.most { // then nobody waits
		s.taken++
		return false
	}
	line := s.clients[client]
	if line == nil {
		line = &turnLine{client: client}
		s.clients[client] = line
		line.at = s.lines.PushBack(line)
	}
	t.line, t.at = line, line.waiting.PushBack(t)
	return true
}

// leave is for who no longer waits. A turn that has come all the same is the next one's.
func (s *turns) leave(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.line == nil {
		<-t.ready
		s.next()
		return
	}
	s.remove(t)
}

// remove takes t out of its line, and the line away when it is empty.
func (s *turns) remove(t *turn) {
	line := t.line
	line.waiting.Remove(t.at)
	t.line, t.at = nil, nil
	if line.waiting.Len() == 0 {
		s.lines.Remove(line.at)
		delete(s.clients, line.client)
	}
}

// give gives a turn back.
func (s *turns) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next()
}

// next hands a turn that has ended to whoever waits.
func (s *turns) next() {
	first := s.lines.Front()
	if first == nil {
		s.taken--
		return
	}
	line := first.Value.(*turnLine)
	s.lines.MoveToBack(first)
	t := line.waiting.Front().Value.(*turn)
	s.remove(t)
	t.ready <- struct{}{}
}
