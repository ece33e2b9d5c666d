package transform

// What the tests of runaway programs share.

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"
)

// skipUnderRace: these tests run one program after the other on one goroutine. `make test` runs them without the race
// detector.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine computes here: the race detector sees nothing and takes minutes")
	}
}

// mustRunAway runs a program that takes too much, and looks at how it ends: by the limit that want names, if it
// names one, or by whichever comes first.
func mustRunAway(t *testing.T, e engine, source string, on *env, want string) {
	t.Helper()
	l := testLimits
	if want != "" && !strings.Contains(strings.ToLower(want), "time") {
		// Else a busy machine's clock may come before the limit that this is about, or hide that it is gone.
		l.timeout = time.Minute
	}
	p, err := e.compile(source, l)
	if err != nil {
		t.Fatal(err)
	}
	r := p.newRun()
	if _, err := on.data(); err != nil { // reading it is not the program's
		t.Fatal(err)
	}
	peak, took, err := measured(t, l.timeout, func(ctx context.Context) error {
		_, err := r.eval(ctx, on)
		return err
	})
	if !errors.Is(err, errLimit) || !strings.Contains(err.Error(), want) {
		t.Errorf("ended with %v, want a limit: %s", err, want)
	}
	if took > 20*time.Second || peak > 400<<20 {
		t.Errorf("took %v and %d MB", took, peak>>20)
	}
	t.Logf("%v, %d MB: %.150s", took, peak>>20, err)
}

// measured runs f under a timeout, and says how much the heap grew at most, as seen every millisecond.
func measured(tb testing.TB, timeout time.Duration, f func(ctx context.Context) error) (peak uint64, took time.Duration, err error) {
	tb.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapAlloc
	stop, done := make(chan struct{}), make(chan uint64)
	go func() { // ends with f
		var most uint64
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				done <- most
				return
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if m.HeapAlloc > before {
				most = max(most, m.HeapAlloc-before)
			}
		}
	}()
	var ctx deadline
	start := time.Now()
	ctx.start(clock() + timeout)
	err = f(&ctx)
	took = time.Since(start)
	ctx.stop()
	close(stop)
	if err != nil && strings.Contains(err.Error(), "TRANSFORM_TIMEOUT") && took < timeout*9/10 {
		tb.Errorf("after %v: %v", took, err)
	}
	return <-done, took, err
}
