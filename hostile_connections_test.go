package main

// Hostile connections: no HTTP/2 at all, or clients that take nothing of what they are sent.

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"

	"golang.org/x/net/http2"
)

// fresh sends bytes on a connection without greeting and says how it ends.
func fresh(b []byte) func(*rawClient) string {
	return func(c *rawClient) string {
		f := dialRaw(c.t, c.conn.RemoteAddr().String())
		go f.read()
		f.raw(b)
		return f.ended()
	}
}

// tlsHello is what a TLS client says first.
func tlsHello() []byte {
	here, there := net.Pipe()
	go func() { _ = tls.Client(here, &tls.Config{InsecureSkipVerify: true}).Handshake() }()
	b := make([]byte, 4096)
	n, _ := there.Read(b)
	_ = there.Close()
	return b[:n]
}

var hostileConnections = newHostileTable("TestHostileConnections", []string{"SEND_TIMEOUT=1s"}, []hostileRow{
	{"H18a", "TLS hello on the plain port", "closed", fresh(tlsHello())},
	{"H18b", "`GET / HTTP/1.1`", "closed", fresh([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))},
	{"H18c", "4 KB of random bytes", "closed", fresh(bytes.Repeat([]byte{0x5a, 0x00, 0xff, 0x17}, 1024))},
	{"H18d", "HTTP/2 preface, then no SETTINGS but a PING", "closed", fresh(append([]byte(http2.ClientPreface), 0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8))},
	{"X30", "batches of 10,000 on and on, whose answers of 2 MB each are not let in", "closed", unreadAnswers},
})

// unreadAnswers leaves the window for answers shut.
func unreadAnswers(c *rawClient) string {
	rawFrame(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0)(c)
	for range 2000 {
		id := c.begin(fields(unaryBatchMethod), false)
		if !c.send(id, batchOf(10_000, 2<<3, 1), true) {
			break
		}
	}
	return c.ended()
}

func TestHostileConnections(t *testing.T) { hostileConnections.run(t) }
