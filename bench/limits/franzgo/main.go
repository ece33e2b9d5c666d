// Command franzgo measures what franz-go alone makes of this machine: records like those that the gateway writes for
// generated events, from one goroutine to a broker. What the gateway costs beside it is the gateway's own.
//
// It prints one line of JSON when everything is acknowledged, and exits with 1 when anything was not.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/bench/client"
)

type config struct {
	brokers, topic  string
	count, inflight int
	size, keys      int
	memory          int // bytes of different events
	// duration ends a run before count is reached; 0 does not.
	duration time.Duration
	// warmUp is how long records are produced before anything is measured.
	warmUp time.Duration
	// burn is the CPU, in nanoseconds a record, that a second goroutine burns before the record is produced.
	burn                  int
	partitionsFromCluster bool
}

func main() {
	c := config{memory: eventMemory}
	flag.StringVar(&c.brokers, "brokers", "", "host:port,...")
	flag.StringVar(&c.topic, "topic", "events", "an existing topic")
	flag.IntVar(&c.count, "count", 3_000_000, "records to produce")
	flag.IntVar(&c.size, "size", 370, "bytes of a record's value")
	flag.IntVar(&c.keys, "keys", 1000, "different keys, in turn; 0 = none")
	flag.IntVar(&c.inflight, "inflight", 4000, "most records that are not acknowledged; the default is what the gateway has in flight with "+
		"batches of 100 on 2 streams")
	flag.DurationVar(&c.duration, "duration", 0, "produce for so long, whatever -count says")
	flag.DurationVar(&c.warmUp, "warmup", 0, "produce for so long before anything is measured")
	flag.IntVar(&c.burn, "burn", 0, "nanoseconds of CPU a record that another goroutine burns first, as a generator would")
	flag.BoolVar(&c.partitionsFromCluster, "partitions-from-metadata", true,
		"choose partitions here, as the gateway does, by the count that the cluster tells; false: leave the choice to franz-go")
	flag.Parse()
	if c.duration > 0 {
		c.count = math.MaxInt
	}
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "franzgo:", err)
		os.Exit(1)
	}
}

func run(c config) error {
	if c.brokers == "" {
		return errors.New("no brokers: -brokers host:port,host:port")
	}
	f, err := produce(c)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return err
	}
	if f.Failed > 0 {
		return fmt.Errorf("%d of %d records failed, the last with: %s", f.Failed, f.Failed+f.Acknowledged, f.Error)
	}
	return nil
}

// produce connects, and feeds records until all are answered.
func produce(c config) (figures, error) {
	if c.count < 1 || c.size < 0 || c.keys < 0 || c.inflight < groupSize || c.burn < 0 || c.duration < 0 || c.warmUp < 0 {
		return figures{}, fmt.Errorf("-count must be more than 0, -inflight at least %d, -size, -keys, -burn and -duration at least 0", groupSize)
	}
	cl, err := newClient(c)
	if err != nil {
		return figures{}, err
	}
	defer cl.Close()
	partitions, err := client.CountPartitions(context.Background(), cl, c.topic)
	if err != nil {
		return figures{}, err
	}
	before := 0
	if c.warmUp > 0 {
		warm := c
		warm.count, warm.duration, warm.burn = math.MaxInt, c.warmUp, 0
		f := newFeeder(warm, cl, partitions).run()
		if f.Failed > 0 {
			return f, nil
		}
		before = f.Acknowledged
	}
	f := newFeeder(c, cl, partitions).run()
	f.Sent = before + f.Acknowledged + f.Failed
	return f, nil
}

func newClient(c config) (*kgo.Client, error) {
	var more []kgo.Opt
	if !c.partitionsFromCluster {
		more = append(more, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	}
	return client.NewProducer(strings.Split(c.brokers, ","), max(2*c.inflight, 1024), more...)
}
