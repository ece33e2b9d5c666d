package cli

// Ctrl-C in two steps, for commands that send: the first one stops the sending,
// the second one everything.

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// interrupts is what SIGINT and SIGTERM end. Call close when nothing is left to interrupt.
type interrupts struct {
	// stop ends with the first signal, or with stopNow; abort with the second one.
	stop, abort context.Context
	stopNow     func()
	close       func()
}

func listenForInterrupts() interrupts {
	stop, stopNow := context.WithCancel(context.Background())
	abort, abortNow := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for _, act := range []func(){stopNow, abortNow} {
			select {
			case <-signals:
				act()
			case <-abort.Done():
				return
			}
		}
	}()
	return interrupts{stop: stop, abort: abort, stopNow: stopNow, close: func() {
		signal.Stop(signals)
		stopNow()
		abortNow()
	}}
}
