// Command fanout measures what it costs to give every event of a topic to each of many readers: live subscribers of
// the gateway, or franz-go consumers, one for each reader. The embedded broker, the gateway's reading side with its gRPC
// server, the readers and the writer are all in this process, so its CPU time is all that a delivered event takes, the
// reader's side and a share of the writing included, and a gateway is not compared with what somebody else's process does
// for the consumers.
//
// It prints one line of JSON, and exits with 1 when a reader did not get exactly what was written.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"syscall"
	"time"
)

type config struct {
	readers int
	// consumers: franz-go consumers instead of subscribers.
	consumers bool
	span      time.Duration
	profile   string
}

func main() {
	var c config
	flag.IntVar(&c.readers, "readers", 1, "how many readers get every event")
	flag.BoolVar(&c.consumers, "consumers", false, "one franz-go consumer for each reader, without a gateway, instead of its subscribers")
	flag.DurationVar(&c.span, "span", time.Second, "how long events are written; what is under way then is delivered and counted too")
	flag.StringVar(&c.profile, "cpuprofile", "", "file for a CPU profile of the measured time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	f, err := measure(ctx, c)
	stop()
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fanout:", err)
		os.Exit(1)
	}
}

// figures are the result.
type figures struct {
	Written   int64   `json:"written"`
	Delivered int64   `json:"delivered"`
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"delivered_per_second"`
	CPUNanos  float64 `json:"cpu_ns_per_delivered"`
}

func measure(ctx context.Context, c config) (f figures, err error) {
	if c.readers < 1 || c.span <= 0 {
		return f, fmt.Errorf("-readers=%d -span=%v: both more than 0", c.readers, c.span)
	}
	dir, err := os.MkdirTemp("", "event-gateway-fanout-")
	if err != nil {
		return f, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	t, err := openTopic(ctx, dir)
	if err != nil {
		return f, err
	}
	defer t.close()
	r := newRound(c.readers)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.failed = cancel
	open := t.subscribe
	if c.consumers {
		open = t.consume
	}
	end, err := open(ctx, c.readers, r)
	if err != nil {
		return f, err
	}
	defer end()
	if err := r.write(ctx, t, func(chunks int) bool { return chunks < warmChunks }); err != nil { // connections, buffers, the hub
		return f, fmt.Errorf("warming up: %w", err)
	}
	if c.profile != "" {
		file, err := os.Create(c.profile)
		if err != nil {
			return f, err
		}
		defer file.Close()
		if err := pprof.StartCPUProfile(file); err != nil {
			return f, err
		}
		defer pprof.StopCPUProfile()
	}
	before, cpu, began := r.written.Load(), cpuTime(), time.Now()
	if err := r.write(ctx, t, func(int) bool { return time.Since(began) < c.span }); err != nil {
		return f, err
	}
	f.Seconds = time.Since(began).Seconds()
	f.Written = r.written.Load() - before
	f.Delivered = f.Written * int64(c.readers)
	f.Rate, f.CPUNanos = float64(f.Delivered)/f.Seconds, float64(cpuTime()-cpu)/float64(f.Delivered)
	return f, r.exact()
}

// cpuTime is the processor time of this process so far, by the system and by itself.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
