package stages

// Memory that a message owns beside its Frame: what rules have written for its
// events. It is given back with the message, like the Frame.

import "sync/atomic"

// Chunk is a piece of memory in a message's list. Whoever made it puts it to use again.
type Chunk struct {
	// Bytes is the whole piece.
	Bytes []byte
	next  *Chunk
}

// owned is a list to which several transform workers push at a time: the events of a message have many shards.
type owned struct{ head atomic.Pointer[Chunk] }

// Own gives c to the message.
func (m *Message) Own(c *Chunk) {
	for {
		c.next = m.owned.head.Load()
		if m.owned.head.CompareAndSwap(c.next, c) {
			return
		}
	}
}

// Disown takes the message's chunks off it and visits them. Only for whoever recycles the message.
func (m *Message) Disown(visit func(*Chunk)) {
	c := m.owned.head.Load()
	if c == nil {
		return
	}
	m.owned.head.Store(nil)
	for c != nil {
		next := c.next
		c.next = nil
		visit(c)
		c = next
	}
}
