package transport

// What the compiled filters of calls that read back may take: a stream keeps its
// filter for as long as it lives, and live subscribers need no reader.

import (
	"fmt"
	"sync"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// filterGrowth is what a filter takes, in bytes for each byte of its source: 250 of 3,646 bytes, all of short macros,
	// took 220 MiB, which is 253.
	filterGrowth = 256
	// filterFree is how many bytes of source do not count: no more than a stream takes anyway.
	filterFree = 64
	// filterRoom is for all filters together, filterShare the part of it that one client may have.
	filterRoom  = 64 << 20
	filterShare = 4
)

// filterLimit counts the filters in use. Safe for concurrent use; the zero value is ready.
type filterLimit struct {
	mu      sync.Mutex
	used    int64
	clients map[string]int64
}

// take counts a filter, before it is compiled, until give.
func (l *filterLimit) take(client, source string) (give func(), refused error) {
	n := filterGrowth * int64(max(len(source)-filterFree, 0))
	if n == 0 {
		return func() {}, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.clients[client]+n > filterRoom/filterShare {
		return nil, filtersFull(stages.ClientOverloaded, fmt.Sprintf("the filters of the calls of client %s take %d KiB, this one would take %d, and %d are allowed; end some, or use shorter ones",
			client, l.clients[client]>>10, n>>10, filterRoom/filterShare>>10))
	}
	if l.used+n > filterRoom {
		return nil, filtersFull(stages.Overloaded, fmt.Sprintf("the filters of all calls take %d KiB, this one would take %d, and %d are allowed; try again, or use a shorter one",
			l.used>>10, n>>10, filterRoom>>10))
	}
	if l.clients == nil {
		l.clients = map[string]int64{}
	}
	l.used += n
	l.clients[client] += n
	return func() { l.give(client, n) }, nil
}

func filtersFull(reason stages.Reason, message string) error {
	return &stages.Refusal{Reason: reason, Detail: &stages.Detail{Field: "filter", Message: message}}
}

func (l *filterLimit) give(client string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used -= n
	if l.clients[client] -= n; l.clients[client] == 0 {
		delete(l.clients, client)
	}
}
