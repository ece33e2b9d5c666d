// Command run is the discarding broker as a process of its own: it prints its address, and when it is told to
// end (SIGINT, SIGTERM) one JSON line with the records received, in total and by partition.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/event-gateway/event-gateway/bench/discard"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen; port 0 takes a free one")
	topic := flag.String("topic", "events", "the topic that exists")
	partitions := flag.Int("partitions", 3, "its partitions")
	flag.Parse()
	if err := run(*addr, *topic, *partitions); err != nil {
		fmt.Fprintln(os.Stderr, "discard:", err)
		os.Exit(1)
	}
}

func run(addr, topic string, partitions int) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b, err := discard.Start(addr, topic, partitions)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(os.Stdout, b.Addr()); err != nil {
		return err
	}
	<-ctx.Done()
	if err := b.Close(); err != nil {
		return err
	}
	total := int64(0)
	for _, n := range b.Received() {
		total += n
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"received": total, "partitions": b.Received()})
}
