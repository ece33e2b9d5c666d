package transport

// A listener that bounds the number of connections. One over the bound is
// closed at once, so that the client tries another gateway, instead of waiting
// in the backlog where it looks like a network fault.

import (
	"net"
	"sync"
	"sync/atomic"
)

// limitListener refuses connections over a bound.
type limitListener struct {
	net.Listener
	max     int64
	open    atomic.Int64
	refused atomic.Int64
}

// Accept returns the next connection within the bound.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) > l.max {
			l.open.Add(-1)
			l.refused.Add(1)
			_ = c.Close()
			continue
		}
		return &limitConn{Conn: c, listener: l}, nil
	}
}

// limitConn gives its place back when it is closed.
type limitConn struct {
	net.Conn
	listener *limitListener
	once     sync.Once
}

// Close closes the connection; only the first call counts.
func (c *limitConn) Close() error {
	c.once.Do(func() { c.listener.open.Add(-1) })
	return c.Conn.Close()
}
