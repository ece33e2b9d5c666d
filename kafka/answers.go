package kafka

// What franz-go does not tell: the error codes of answers after which it sends
// a batch again. After most of them the batch may be stored (the leader appended
// it, then its replicas were late or it lost the leadership); when the next attempt
// is rejected for good, that proves nothing about the first. So connections to
// brokers are read along: only answers to produce requests, a few bytes for each
// partition, are looked at.

import (
	"context"
	"encoding/binary"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAnswer bounds what is kept of one answer; 100 bytes a partition are usual.
const maxAnswer = 1 << 20

// listening wraps dial so that doubt is called before franz-go reads an answer that leaves a batch in doubt.
func listening(dial dialFunc, doubt func()) dialFunc {
	return func(ctx context.Context, network, host string) (net.Conn, error) {
		conn, err := dial(ctx, network, host)
		if err != nil {
			return nil, err
		}
		return &answerConn{Conn: conn, doubt: doubt, asked: make(map[int32]int16)}, nil
	}
}

// answerConn is a connection to a broker. franz-go writes on one goroutine and reads on another.
type answerConn struct {
	net.Conn
	doubt func()

	mu sync.Mutex
	// asked has the versions of the produce requests without an answer, by correlation id; guarded by mu.
	asked map[int32]int16

	// The following belong to the reader: the answer that is under way.
	head    [8]byte // its size and correlation id
	have    int     // bytes of head
	left    int     // bytes of the body still to come
	keep    bool    // it answers a produce request
	version int16
	body    []byte
	answer  kmsg.ProduceResponse
}

// Write notes produce requests; franz-go writes each request at once.
func (c *answerConn) Write(p []byte) (int, error) {
	if len(p) >= frameHeader && binary.BigEndian.Uint16(p[4:]) == produceKey {
		c.mu.Lock()
		c.asked[int32(binary.BigEndian.Uint32(p[8:]))] = int16(binary.BigEndian.Uint16(p[6:]))
		c.mu.Unlock()
	}
	return c.Conn.Write(p)
}

// Read passes on what has come, after looking at it.
func (c *answerConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		if c.have < len(c.head) {
			took := copy(c.head[c.have:], b)
			c.have, b = c.have+took, b[took:]
			if c.have == len(c.head) {
				c.begin()
			}
			continue
		}
		took := min(c.left, len(b))
		if c.keep {
			c.body = append(c.body, b[:took]...)
		}
		c.left, b = c.left-took, b[took:]
		c.end()
	}
	return n, err
}

// begin knows whose answer begins.
func (c *answerConn) begin() {
	size, id := int(int32(binary.BigEndian.Uint32(c.head[:]))), int32(binary.BigEndian.Uint32(c.head[4:]))
	c.mu.Lock()
	c.version, c.keep = c.asked[id]
	delete(c.asked, id)
	c.mu.Unlock()
	c.left, c.body = max(size-4, 0), c.body[:0]
	c.keep = c.keep && c.left <= maxAnswer
	c.end()
}

// end looks at an answer that is complete.
func (c *answerConn) end() {
	if c.left > 0 {
		return
	}
	c.have = 0
	if c.keep && c.inDoubt() {
		c.doubt()
	}
}

// inDoubt reports whether any partition's answer leaves open what became of its batch. What cannot be read
// leaves everything open.
func (c *answerConn) inDoubt() bool {
	c.answer.Version = c.version
	body := c.body
	if c.answer.IsFlexible() {
		if len(body) == 0 || body[0] != 0 { // tagged fields of the header: none is defined
			return true
		}
		body = body[1:]
	}
	if c.answer.ReadFrom(body) != nil {
		return true
	}
	for i := range c.answer.Topics {
		for j := range c.answer.Topics[i].Partitions {
			if code := c.answer.Topics[i].Partitions[j].ErrorCode; code != 0 && classes[code] == doubtful {
				return true
			}
		}
	}
	return false
}
