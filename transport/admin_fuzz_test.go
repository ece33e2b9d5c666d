package transport

// Whatever bytes come to the HTTP server: no panic, a known status, and the next request is served.

import (
	"bytes"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// playedConn is a connection on which everything that the client says is there already.
type playedConn struct {
	in     *bytes.Reader
	mu     sync.Mutex
	out    bytes.Buffer
	closed chan struct{}
	once   sync.Once
}

func (c *playedConn) Read(p []byte) (int, error) { return c.in.Read(p) }

func (c *playedConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

func (c *playedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

func (*playedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (*playedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (*playedConn) SetDeadline(time.Time) error      { return nil }
func (*playedConn) SetReadDeadline(time.Time) error  { return nil }
func (*playedConn) SetWriteDeadline(time.Time) error { return nil }

// playedListener hands out connections that the test makes.
type playedListener struct {
	conns  chan *playedConn
	closed chan struct{}
}

func (l *playedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *playedListener) Close() error { close(l.closed); return nil }
func (*playedListener) Addr() net.Addr { return &net.TCPAddr{} }

// say sends bytes on a new connection and returns everything that came back.
func (l *playedListener) say(t *testing.T, b []byte) string {
	t.Helper()
	c := &playedConn{in: bytes.NewReader(b), closed: make(chan struct{})}
	l.conns <- c
	select {
	case <-c.closed:
	case <-time.After(patience):
		t.Fatal("the connection is not closed")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.String()
}

// adminStatuses are all that the server may answer with; those from 400 on without 404, 405 and 503 are net/http's.
const adminStatuses = "200 301 307 400 404 405 408 413 414 417 431 501 503 505"

func FuzzAdmin(f *testing.F) {
	for _, seed := range []string{
		"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD /ready HTTP/1.0\r\n\r\n", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "GET //health/../ready?x=%zz HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET http://other/metrics HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"GET /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "GET /%2e%2e/health HTTP/1.1\r\nHost: a b\r\n\r\n",
		"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
		"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00", "\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", "GET /x HTTP/1.1\r\nA: " + strings.Repeat("a", 20<<10),
	} {
		f.Add([]byte(seed))
	}
	cfg := testSetup().config
	a, err := NewAdmin(cfg, AdminParts{
		Ready:   func() (reasons, warnings []string) { return []string{"starting"}, []string{"warning"} },
		Metrics: []func(io.Writer){func(w io.Writer) { _, _ = io.WriteString(w, "one 1\n") }},
	})
	if err != nil {
		f.Fatal(err)
	}
	_ = a.listener.Close()
	var panics strings.Builder
	a.server.ErrorLog = log.New(&panics, "", 0)
	l := &playedListener{make(chan *playedConn), make(chan struct{})}
	served := make(chan struct{})
	go func() { defer close(served); _ = a.server.Serve(l) }()
	f.Cleanup(func() { _ = a.server.Close(); <-served })
	f.Fuzz(func(t *testing.T, b []byte) {
		answer := l.say(t, b)
		if version, rest, _ := strings.Cut(answer, " "); answer != "" &&
			(!strings.HasPrefix(version, "HTTP/1.") || len(rest) < 3 || !strings.Contains(adminStatuses, rest[:3])) {
			t.Errorf("answered %.200q", answer)
		}
		if good := l.say(t, []byte("GET /health HTTP/1.0\r\n\r\n")); !strings.HasPrefix(good, "HTTP/1.0 200") {
			t.Errorf("then /health answers %.200q", good)
		}
		if strings.Contains(panics.String(), "panic") {
			t.Error(panics.String())
		}
	})
}
