//go:build unix

package cli

// What only the operating system knows: terminals and processor time.

import (
	"syscall"
	"time"

	"golang.org/x/term"
)

func terminal(fd uintptr) bool { return term.IsTerminal(int(fd)) }

// CPUTime is the processor time that this process has used, user and system.
func CPUTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
