package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// readerGone reports whether the output is a pipe that nobody reads any more. A write would find out, too, but a
// quiet topic has none: `gateway subscribe | head -1` would wait for the second event.
func readerGone(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	poll := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0 && poll[0].Revents&unix.POLLERR != 0
}
