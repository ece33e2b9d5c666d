package transport

// The bounded table of clients. A client is its host for now: the peer's
// address without the port. Whoever cannot have a place of its own, because
// the table is full of clients in use, shares one account with the others
// like it: memory stays bounded whatever addresses connect.

import (
	"sync"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	maxClients = 50_000
	// evictTries bounds the search for an idle client to evict, since it happens in a call's way.
	evictTries = 64
	// otherClient is the name of the shared account.
	otherClient = "other"
)

// clientTable finds the account of a client. Safe for concurrent use.
type clientTable struct {
	create func(name string) *stages.Client
	max    int

	mu     sync.Mutex
	byName map[string]*clientEntry
	// clock is a ring over all entries for second-chance eviction: a client used since the hand's last round
	// is passed over once, an idle one that was not is evicted. Near enough to LRU, at no cost per use.
	clock []*clientEntry
	hand  int
	other *stages.Client
}

type clientEntry struct {
	client *stages.Client
	used   bool
}

func newClientTable(limit int, create func(name string) *stages.Client) *clientTable {
	return &clientTable{create: create, max: limit, byName: make(map[string]*clientEntry), other: create(otherClient)}
}

// hold returns the client of that name, in use; unhold it when the call ends.
func (t *clientTable) hold(name string) *stages.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byName[name]
	if e == nil {
		e = t.add(name)
	}
	c := t.other
	if e != nil {
		e.used = true
		c = e.client
	}
	c.Hold() // under the lock, so that nobody evicts it in between
	return c
}

// add makes a place for a new client; nil when there is none.
func (t *clientTable) add(name string) *clientEntry {
	if len(t.clock) < t.max {
		e := &clientEntry{client: t.create(name)}
		t.byName[name] = e
		t.clock = append(t.clock, e)
		return e
	}
	for range evictTries {
		e := t.clock[t.hand]
		place := t.hand
		t.hand = (t.hand + 1) % len(t.clock)
		switch {
		case !e.client.Idle():
		case e.used:
			e.used = false
		default:
			delete(t.byName, e.client.Name)
			e = &clientEntry{client: t.create(name)}
			t.byName[name] = e
			t.clock[place] = e
			return e
		}
	}
	return nil
}

// count is the number of clients in the table.
func (t *clientTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.clock)
}
