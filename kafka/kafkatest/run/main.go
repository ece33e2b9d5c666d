//go:build unix

// Command run starts Apache Kafka on this machine for a person: "go run ./kafka/kafkatest/run --brokers 1"
// prints the brokers' addresses and stops them on Ctrl-C. Its data is thrown away.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

func main() {
	brokers := flag.Int("brokers", 1, "number of brokers, 1 or 3")
	flag.Parse()
	if err := run(*brokers); err != nil {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

func run(brokers int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "kafka-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	return kafkatest.Serve(ctx, dir, os.Stdout, kafkatest.Brokers(brokers))
}
