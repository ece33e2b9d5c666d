package main

// Hostile bodies: gRPC's own framing of messages and compression.

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"

	"golang.org/x/net/http2"
)

// bodies calls a method with a body.
func body(method string, b []byte, edit ...string) func(*rawClient) string {
	return func(c *rawClient) string { return c.call(fields(method, edit...), b) }
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// gzipped is n zero bytes behind a prefix, compressed, as a message.
func gzipped(prefix []byte, n int) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = w.Write(prefix)
	_, _ = w.Write(make([]byte, n))
	_ = w.Close()
	return append(frameHeader(1, b.Len()), b.Bytes()...)
}

// nothing is a body that ends without a message.
var nothing []byte

const usesGzip = "grpc-encoding: gzip"

var hostileBodies = newHostileTable("TestHostileBodies", nil, []hostileRow{
	{"H25a", "no message, end of stream", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryMethod, nothing)},
	{"H25b", "no message, END_STREAM on HEADERS", "INVALID_ARGUMENT MALFORMED_EVENT", func(c *rawClient) string {
		return c.answer(c.begin(fields(unaryMethod), true))
	}},
	{"H25c", "two messages in a unary call", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryMethod, join(goodFrame(), goodFrame()))},
	{"H25d", "a stream without messages", "OK", body(streamMethod, nothing)},
	{"H26a", "length prefix of 4 GB, unary", "INVALID_ARGUMENT MESSAGE_TOO_LARGE", inCall(unaryMethod, announce(1<<32-1))},
	{"H26b", "length prefix of 4 GB on a stream", "INVALID_ARGUMENT MESSAGE_TOO_LARGE", func(c *rawClient) string {
		id := c.begin(fields(streamMethod), false)
		c.send(id, frameHeader(0, 1<<32-1), false)
		return c.messages(id, 1)
	}},
	{"H26c", "length prefix of 20 MiB in 40 streams, 64 KB of body each", "OK", announced},
	{"H27a", "length prefix of 60 KB, the call ends early", "INVALID_ARGUMENT MALFORMED_EVENT",
		body(unaryMethod, join(frameHeader(0, 60<<10), make([]byte, 100)))},
	{"H27b", "the same on a stream, after a good message", "OK; INVALID_ARGUMENT MALFORMED_EVENT",
		body(streamMethod, join(goodFrame(), frameHeader(0, 60<<10), make([]byte, 100)))},
	{"H27c", "3 bytes of a length prefix, then the end", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryMethod, []byte{0, 0, 0})},
	{"H28a", "a message above GRPC_MAX_MESSAGE_BYTES", "INVALID_ARGUMENT MESSAGE_TOO_LARGE",
		body(unaryMethod, join(frameHeader(0, 20<<20+1), make([]byte, 20<<20+1)))},
	{"H28b", "the same on a stream, then a good event", "INVALID_ARGUMENT MESSAGE_TOO_LARGE; OK",
		body(streamMethod, join(frameHeader(0, 20<<20+1), make([]byte, 20<<20+1), goodFrame()))},
	{"H29a", "flag compressed, no grpc-encoding", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryMethod, gzipped(goodFrame()[5:], 0))},
	{"H29b", "flag 7", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryMethod, join([]byte{7}, goodFrame()[1:]))},
	{"H29c", "flag 7 on a stream, then a good event", "INVALID_ARGUMENT MALFORMED_EVENT; OK",
		body(streamMethod, join([]byte{7}, goodFrame()[1:], goodFrame()))},
	{"H29d", "gzip garbage", "INVALID_ARGUMENT MALFORMED_EVENT", body(unaryMethod, join(frameHeader(1, 9), []byte("not gzip!")), usesGzip)},
	{"H29e", "gzip with a cut tail on a stream, then a good event", "INVALID_ARGUMENT MALFORMED_EVENT; OK",
		body(streamMethod, join(cutGzip(), goodFrame()), usesGzip)},
	{"H29f", "a good event, compressed with gzip", "OK", body(unaryMethod, gzipped(goodFrame()[5:], 0), usesGzip)},
	{"H30", "`grpc-encoding: unknown`", `UNIMPLEMENTED (grpc: Decompressor is not installed for grpc-encoding "unknown")`, body(unaryMethod, goodFrame(), "grpc-encoding: unknown")},
	{"H31a", "gzip bomb, 50 MB in 50 KB", "INVALID_ARGUMENT MESSAGE_TOO_LARGE", body(unaryMethod, gzipped(nil, 50_000_000), usesGzip)},
	{"H31b", "the same three times on a stream, then a good event",
		"INVALID_ARGUMENT MESSAGE_TOO_LARGE; INVALID_ARGUMENT MESSAGE_TOO_LARGE; INVALID_ARGUMENT MESSAGE_TOO_LARGE; OK",
		body(streamMethod, join(gzipped(nil, 50_000_000), gzipped(nil, 50_000_000), gzipped(nil, 50_000_000), goodFrame()), usesGzip)},
	{"X20", "100,000 empty DATA frames before a good message", "OK", func(c *rawClient) string {
		id := c.begin(fields(unaryMethod), false)
		for range 100_000 {
			c.write(func() error { return c.framer.WriteData(id, false, nil) })
		}
		c.send(id, goodFrame(), true)
		return c.answer(id)
	}},
	{"X21", "a good event in DATA frames of one byte", "OK", func(c *rawClient) string {
		id := c.begin(fields(unaryMethod), false)
		for _, b := range goodFrame() {
			c.send(id, []byte{b}, false)
		}
		c.send(id, nil, true)
		return c.answer(id)
	}},
	{"X22", "200,000 frames of one byte in each of 4 messages at once", "4 open", dribble},
	{"X23", "a stream of good events, each padded with 255 bytes: 20,000 of them", "OK", padded},
})

// announce sends a length prefix and nothing more.
func announce(n int) func(*rawClient, uint32) {
	return func(c *rawClient, id uint32) { c.send(id, frameHeader(0, n), false) }
}

// announced leaves 40 messages of 20 MiB unfinished and then looks whether another call on the connection works.
func announced(c *rawClient) string {
	for range 40 {
		id := c.begin(fields(batchStreamMethod), false)
		c.send(id, join(frameHeader(0, 20<<20), make([]byte, 64<<10)), false)
	}
	return c.call(fields(unaryMethod), goodFrame())
}

func cutGzip() []byte {
	whole := gzipped(goodFrame()[5:], 1000)
	return join(frameHeader(1, len(whole)-5-8), whole[5:len(whole)-8])
}

// dribble fills windows with frames of one byte, which cost more memory than what is in them.
func dribble(c *rawClient) string {
	var ids []uint32
	for range 4 {
		id := c.begin(fields(unaryMethod), false)
		ids = append(ids, id)
		c.send(id, frameHeader(0, 260_000), false)
	}
	frame := make([]byte, 0, 10*1000)
	for range 200 {
		for _, id := range ids {
			frame = frame[:0]
			for range 1000 {
				frame = append(frame, 0, 0, 1, byte(http2.FrameData), 0, 0, 0, 0, byte(id), 0)
			}
			c.raw(frame)
		}
	}
	open := 0
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range ids {
		if !c.answers[id].ended {
			open++
		}
	}
	return fmt.Sprintf("%d open", open)
}

// padded sends events with as much padding as HTTP/2 allows and reads the answers.
func padded(c *rawClient) string {
	id := c.begin(fields(streamMethod), false)
	frame := goodFrame()
	for i := range 20_000 {
		for n := len(frame) + 256; n > 0; {
			n -= c.room(id, n)
		}
		c.write(func() error { return c.framer.WriteDataPadded(id, i == 19_999, frame, make([]byte, 255)) })
	}
	c.mu.Lock()
	a := c.answers[id]
	c.wait("the end", func() bool { return a.ended })
	c.mu.Unlock()
	if n := len(a.frames()); n != 20_000 {
		return "answers are missing"
	}
	a.body = nil
	return a.text()
}

func TestHostileBodies(t *testing.T) { hostileBodies.run(t) }
