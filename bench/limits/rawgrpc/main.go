// Command rawgrpc measures what grpc-go alone makes of this machine: a server with the gateway's ingest methods that
// receives messages, looks at none and says that every event was acknowledged. gateway publish drives it.
//
// It prints its address and serves until SIGTERM or SIGINT.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "where to listen; port 0 takes a free one")
	batch := flag.Int("batch", 100, "events that the answer to a batch says were acknowledged: publish with the same --batch, and a --count that is a multiple of it")
	tuned := flag.Bool("tuned", false, "use the flow-control windows and buffers of the gateway's server instead of grpc-go's defaults")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *addr, *batch, *tuned, func(a net.Addr) { fmt.Println(a) })
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "rawgrpc:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends; listening hears the address.
func run(ctx context.Context, addr string, batch int, tuned bool, listening func(net.Addr)) error {
	server, err := newServer(batch, tuned)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	listening(listener.Addr())
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	if err := server.Serve(listener); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}
