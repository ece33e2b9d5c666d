//go:build linux && (amd64 || arm64)

package discard

// Skipping what a connection sends: on Linux the kernel drops it without copying.

import (
	"fmt"
	"io"
	"net"
	"syscall"
)

// skipper drops bytes of one connection. recv(2) with MSG_TRUNC on a TCP socket takes data off the queue
// without copying it.
type skipper struct{ raw syscall.RawConn }

func newSkipper(c net.Conn) skipper {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return skipper{} // closed already: skip says so
	}
	return skipper{raw: raw}
}

func (s skipper) skip(n int) error {
	if s.raw == nil {
		return net.ErrClosed
	}
	for n > 0 {
		var got uintptr
		var errno syscall.Errno
		err := s.raw.Read(func(fd uintptr) bool {
			for errno = syscall.EINTR; errno == syscall.EINTR; {
				got, _, errno = syscall.Syscall6(syscall.SYS_RECVFROM, fd, 0, uintptr(n),
					syscall.MSG_TRUNC|syscall.MSG_DONTWAIT, 0, 0)
			}
			return errno != syscall.EAGAIN // false: wait until there is more
		})
		switch {
		case err != nil:
			return err
		case errno != 0:
			return fmt.Errorf("recv: %w", errno)
		case got == 0:
			return io.ErrUnexpectedEOF
		}
		n -= int(got)
	}
	return nil
}
