package main

// The events that records are made of, as they lie in memory when the gateway has received them: the parts of one
// event side by side, and the next event behind it. One payload used again and again would be copied from a core's own
// cache, which no gateway's events are.

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
)

// eventMemory is the size of all events together: twice what the gateway has in flight, as a gateway has just copied its
// events in. Much more would charge franz-go for memory that no gateway waits for.
const eventMemory = 4 << 20

// What every event has in common, as `gateway publish --source bench/source --type bench.event.happened` sends it.
const (
	eventSource      = "bench/source"
	eventType        = "bench.event.happened"
	eventContentType = "text/plain"
	eventID          = "0123abcd-%012d"
	eventKey         = "key-%08d"
)

// event is views into one piece of memory.
type event struct {
	id, source, kind, data, contentType, key []byte
}

// memory is all events in one piece, each of the same length.
type memory struct {
	bytes  []byte
	length int // of one event
	ids    int
	size   int
	next   int
}

// newMemory fills at least total bytes with different events.
func newMemory(total, size, keys int) *memory {
	ids := len(fmt.Sprintf(eventID, 0))
	m := &memory{size: size, ids: ids, length: ids + len(eventSource) + len(eventType) + size + len(eventContentType)}
	if keys > 0 {
		m.length += len(fmt.Sprintf(eventKey, 0))
	}
	count := (total + m.length - 1) / m.length
	m.bytes = make([]byte, count*m.length)
	random := rand.New(rand.NewPCG(1, 2)) // the same bytes in every run
	var word [8]byte
	for i := range m.bytes {
		if i%8 == 0 {
			binary.LittleEndian.PutUint64(word[:], random.Uint64())
		}
		m.bytes[i] = 'a' + word[i%8]%26
	}
	for i := range count {
		e := m.take()
		copy(e.id, fmt.Sprintf(eventID, i))
		copy(e.source, eventSource)
		copy(e.kind, eventType)
		copy(e.contentType, eventContentType)
		if keys > 0 {
			copy(e.key, fmt.Sprintf(eventKey, i%keys))
		}
	}
	return m
}

// take is the next event; after the last comes the first.
func (m *memory) take() event {
	if m.next == len(m.bytes) {
		m.next = 0
	}
	rest := m.bytes[m.next : m.next+m.length : m.next+m.length]
	m.next += m.length
	cut := func(n int) []byte {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	return event{id: cut(m.ids), source: cut(len(eventSource)), kind: cut(len(eventType)), data: cut(m.size),
		contentType: cut(len(eventContentType)), key: rest}
}
