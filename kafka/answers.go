package kafka

// What franz-go does not tell: the error codes of answers after which it sends
// a batch again. After most of them the batch may be stored (the leader appended
// it, then its replicas were late or it lost the leadership); when the next attempt
// is rejected for good, that proves nothing about the first. And operators are to
// know why nothing is stored (error_answers.go). So connections to brokers are
// read along: only answers to produce requests, a few bytes for each partition,
// are looked at.

import (
	"context"
	"encoding/binary"
	"net"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxAnswer bounds what is kept of one answer; 100 bytes a partition are usual.
const maxAnswer = 1 << 20

// listening wraps dial so that heard is called before franz-go reads an answer to a produce request.
func listening(dial dialFunc, heard func(produceAnswers)) dialFunc {
	return func(ctx context.Context, network, host string) (net.Conn, error) {
		conn, err := dial(ctx, network, host)
		if err != nil {
			return nil, err
		}
		return &answerConn{Conn: conn, heard: heard, asked: make(map[int32]int16)}, nil
	}
}

// produceAnswers is what one produce request was answered with.
type produceAnswers struct {
	// doubt: some batch may or may not be stored. stored: some batch is.
	doubt, stored bool
	errors        []answerError
}

// answerConn is a connection to a broker. franz-go writes on one goroutine and reads on another.
type answerConn struct {
	net.Conn
	heard func(produceAnswers)

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
	if c.keep {
		c.heard(c.read())
	}
}

// read reads the answer. What cannot be read leaves everything open.
func (c *answerConn) read() (a produceAnswers) {
	c.answer.Version = c.version
	body := c.body
	if c.answer.IsFlexible() {
		if len(body) == 0 || body[0] != 0 { // tagged fields of the header: none is defined
			return produceAnswers{doubt: true}
		}
		body = body[1:]
	}
	if c.answer.ReadFrom(body) != nil {
		return produceAnswers{doubt: true}
	}
	for i := range c.answer.Topics {
		t := &c.answer.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			a.stored = a.stored || p.ErrorCode == 0 || p.ErrorCode == kerr.DuplicateSequenceNumber.Code // is there already
			if p.ErrorCode == 0 {
				continue
			}
			a.doubt = a.doubt || classes[p.ErrorCode] == doubtful
			a.errors = append(a.errors, answerError{topic: t.Topic, partition: p.Partition, code: p.ErrorCode})
		}
	}
	return a
}
