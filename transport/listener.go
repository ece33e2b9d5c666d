package transport

// A listener that bounds the number of connections, in sum and from one
// address. One over a bound is closed at once, so that the client tries another
// gateway, instead of waiting in the backlog where it looks like a network
// fault; and one address alone cannot shut everybody else out.

import (
	"net"
	"sync"
	"sync/atomic"
)

// limitListener refuses connections over its bounds.
type limitListener struct {
	net.Listener
	max, maxEach int64
	open         atomic.Int64
	refused      atomic.Int64

	mu   sync.Mutex
	each map[string]int64 // open connections by address, none of them 0
}

func newLimitListener(l net.Listener, total, each int) *limitListener {
	return &limitListener{Listener: l, max: int64(total), maxEach: int64(each), each: make(map[string]int64)}
}

// Accept returns the next connection within the bounds.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host := hostOf(c.RemoteAddr())
		if !l.enter(host) {
			l.refused.Add(1)
			_ = c.Close()
			continue
		}
		return &limitConn{Conn: c, listener: l, host: host}, nil
	}
}

func (l *limitListener) enter(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.Load() >= l.max || l.each[host] >= l.maxEach {
		return false
	}
	l.open.Add(1)
	l.each[host]++
	return true
}

func (l *limitListener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.Add(-1)
	if l.each[host]--; l.each[host] == 0 {
		delete(l.each, host)
	}
}

// hostOf is an address without its port.
func hostOf(a net.Addr) string {
	host, _, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return host
}

// limitConn gives its place back when it is closed.
type limitConn struct {
	net.Conn
	listener *limitListener
	host     string
	once     sync.Once
}

// Close closes the connection; only the first call counts.
func (c *limitConn) Close() error {
	c.once.Do(func() { c.listener.leave(c.host) })
	return c.Conn.Close()
}
