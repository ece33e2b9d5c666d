package kafka

// Who may read from Kafka by a reader of its own: SUBSCRIBE_MAX_READERS in sum,
// so that memory is bounded; a part of them for one client, so that it cannot
// keep the others out; and some only for live subscribers that have fallen
// behind, which would be cut off otherwise while others read the past.

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// slotShare is the part of all readers that one client may have, slotReserve the part that is kept for live
	// subscribers.
	slotShare   = 4
	slotReserve = 8
)

// readerFor says whose reader it is.
type readerFor struct {
	// client is its name.
	client string
	// live: for a subscriber that was live, and has fallen behind.
	live bool
}

// readerSlots counts the readers in use. Safe for concurrent use. Who waits is not served in order.
type readerSlots struct {
	most, share, reserve int

	mu      sync.Mutex
	used    int
	clients map[string]int
	// freed is closed, and replaced, with each slot that is given back.
	freed chan struct{}
}

func newReaderSlots(most int) *readerSlots {
	return &readerSlots{most: most, share: max(1, most/slotShare), reserve: most / slotReserve,
		clients: map[string]int{}, freed: make(chan struct{})}
}

// take takes a slot, and waits for one as long as patience.
func (s *readerSlots) take(ctx context.Context, who readerFor, patience time.Duration) error {
	over := time.NewTimer(patience)
	defer over.Stop()
	for {
		refused, freed := s.try(who)
		if refused == nil {
			return nil
		}
		select {
		case <-freed:
		case <-over.C:
			return refused
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// try takes a slot, or says which bound is in the way, and what is closed when that may have changed.
func (s *readerSlots) try(who readerFor) (*stages.Refusal, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.clients[who.client]; {
	case n >= s.share:
		return refuse(stages.TooManyReaders, fmt.Sprintf(
			"client %s has %d readers at the moment, and one client may have %d, a quarter of SUBSCRIBE_MAX_READERS; end one, or start at the end", who.client, n, s.share)), s.freed
	case s.used >= s.most:
		return refuse(stages.TooManyReaders, fmt.Sprintf(
			"%d readers read from Kafka at the moment (SUBSCRIBE_MAX_READERS); try again, or start at the end", s.used)), s.freed
	case !who.live && s.used >= s.most-s.reserve:
		return refuse(stages.TooManyReaders, fmt.Sprintf(
			"%d readers read from Kafka at the moment, and the last %d of SUBSCRIBE_MAX_READERS are kept for live subscribers that fall behind; try again, or start at the end", s.used, s.reserve)), s.freed
	}
	s.used++
	s.clients[who.client]++
	return nil, nil
}

// give gives a slot back.
func (s *readerSlots) give(who readerFor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if s.clients[who.client]--; s.clients[who.client] == 0 {
		delete(s.clients, who.client)
	}
	close(s.freed)
	s.freed = make(chan struct{})
}

// inUse is how many there are in use.
func (s *readerSlots) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used
}
