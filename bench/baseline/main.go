// Command baseline is the gateway that a competent Go programmer writes in a day: no stages, no rings, no
// limits.
//
// A stream's handler scans each message where it is, builds pooled records and calls franz-go's Produce once
// per event; a sender answers each message, in order, after the promises of all its records. It has the
// ingest methods of the real gateway's API, the same record format and the same producer options, so that a
// run against both says what the real gateway's machinery costs or saves. What it lacks: admission,
// deadlines, rate limits, metrics, outcomes finer than stored or not, a bound on memory.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/event-gateway/event-gateway/bench/client"
)

type config struct {
	brokers, topic, port, cpuProfile string
}

// maxBuffered is above what the windows of 16 streams of 100 events a message hold.
const maxBuffered = 1 << 17

func main() {
	var c config
	flag.StringVar(&c.brokers, "brokers", os.Getenv("KAFKA_BROKERS"), "host:port,... (KAFKA_BROKERS)")
	flag.StringVar(&c.topic, "topic", envOr("KAFKA_TOPIC", "events"), "an existing topic (KAFKA_TOPIC)")
	flag.StringVar(&c.port, "port", envOr("GRPC_PORT", "50051"), "gRPC port on loopback, 0 takes a free one (GRPC_PORT)")
	flag.StringVar(&c.cpuProfile, "cpuprofile", "", "write a CPU profile of the whole run to this file")
	flag.Parse()
	if err := run(c); err != nil {
		fmt.Fprintln(os.Stderr, "baseline:", err)
		os.Exit(1)
	}
}

func envOr(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// run serves until SIGINT or SIGTERM, then lets streams end and answers what they sent.
func run(c config) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if c.brokers == "" {
		return errors.New("no brokers: set KAFKA_BROKERS to host:port,host:port")
	}
	endProfile, err := startProfile(c.cpuProfile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, endProfile()) }()
	cl, err := client.NewProducer(strings.Split(c.brokers, ","), maxBuffered)
	if err != nil {
		return err
	}
	defer cl.Close()
	partitions, err := client.CountPartitions(ctx, cl, c.topic)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", c.port))
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	server := newServer(&ingest{client: cl, topic: c.topic, partitions: partitions})
	stopped := make(chan struct{})
	go func() { // ends with ctx, at the latest when run returns
		defer close(stopped)
		<-ctx.Done()
		timer := time.AfterFunc(5*time.Second, server.Stop) // streams whose clients do not end
		defer timer.Stop()
		server.GracefulStop()
	}()
	err = server.Serve(listener)
	stop()
	<-stopped
	return err
}

// startProfile writes a CPU profile to the named file, if one is named, until the returned function is called.
func startProfile(file string) (end func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
