//go:build faults

package faults

// What failed in a cell, kept to be said once more at the end of all: go test
// prints it where it happened, hundreds of lines above.

import (
	"fmt"
	"sync"
)

// mostFailures of a cell are kept; a broken promise often shows in every event.
const mostFailures = 5

type failures struct {
	mu   sync.Mutex // cells fail from several goroutines
	some []string
	n    int
}

func (f *failures) add(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; len(f.some) < mostFailures {
		f.some = append(f.some, text)
	}
}

// lines are whole ones.
func (f *failures) lines(cell string) (lines []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, text := range f.some {
		lines = append(lines, fmt.Sprintf("FAILED %s: %.500s\n", cell, text))
	}
	if more := f.n - len(f.some); more > 0 {
		lines = append(lines, fmt.Sprintf("FAILED %s: and %d more\n", cell, more))
	}
	return lines
}

// The run's own ways to fail, for itself and for whom it passes to as a testing.TB.

func (x *run) Error(args ...any) {
	x.Helper()
	x.failures.add(fmt.Sprint(args...))
	x.T.Error(args...)
}

func (x *run) Errorf(format string, args ...any) {
	x.Helper()
	x.failures.add(fmt.Sprintf(format, args...))
	x.T.Errorf(format, args...)
}

func (x *run) Fatal(args ...any) {
	x.Helper()
	x.failures.add(fmt.Sprint(args...))
	x.T.Fatal(args...)
}

func (x *run) Fatalf(format string, args ...any) {
	x.Helper()
	x.failures.add(fmt.Sprintf(format, args...))
	x.T.Fatalf(format, args...)
}
