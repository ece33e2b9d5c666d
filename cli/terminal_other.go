//go:build !unix

package cli

import (
	"time"

	"golang.org/x/term"
)

func terminal(fd uintptr) bool { return term.IsTerminal(int(fd)) }

// cpuTime is not known here.
func cpuTime() time.Duration { return 0 }
