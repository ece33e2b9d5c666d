//go:build !unix

package cli

import (
	"time"

	"golang.org/x/term"
)

func terminal(fd uintptr) bool { return term.IsTerminal(int(fd)) }

// CPUTime is not known here.
func CPUTime() time.Duration { return 0 }
