//go:build !linux || !(amd64 || arm64)

package discard

// Skipping what a connection sends: elsewhere by reading it.

import (
	"io"
	"net"
)

type skipper struct {
	conn    net.Conn
	scratch []byte
}

func newSkipper(c net.Conn) skipper { return skipper{conn: c, scratch: make([]byte, 64<<10)} }

func (s skipper) skip(n int) error {
	for n > 0 {
		got, err := io.ReadFull(s.conn, s.scratch[:min(n, len(s.scratch))])
		if err != nil {
			return err
		}
		n -= got
	}
	return nil
}
