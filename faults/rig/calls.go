//go:build faults || kafka

package rig

// What single calls took and how they ended: a latency is measured around the
// call, and every status is held against the rules of the API.

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Call is one unary call.
type Call struct {
	Began time.Time
	Took  time.Duration
	Code  codes.Code
	// Reason is the gateway's; empty = acknowledged, or the status did not come from the gateway.
	Reason string
	// Retry: the status has RetryInfo. Text is the status message.
	Retry bool
	Text  string
}

// Calls collects the unary calls of a load. The zero value is ready.
type Calls struct {
	mu  sync.Mutex
	all []Call
}

// Dial is for Load.Dial: it notes the calls of every client.
func (c *Calls) Dial(int) []grpc.DialOption {
	return []grpc.DialOption{grpc.WithUnaryInterceptor(c.note)}
}

func (c *Calls) note(ctx context.Context, method string, request, response any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	began := time.Now()
	err := invoke(ctx, method, request, response, conn, options...)
	one := Call{Began: began, Took: time.Since(began), Code: status.Code(err)}
	if err != nil {
		why, retry := info(err)
		if one.Retry, one.Text = retry, status.Convert(err).Message(); why != nil {
			one.Reason = why.Reason
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, one)
	return err
}

// Between are the calls that began in that time.
func (c *Calls) Between(from, to time.Time) (some []Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range c.all {
		if !one.Began.Before(from) && one.Began.Before(to) {
			some = append(some, one)
		}
	}
	return some
}

// All are all of them.
func (c *Calls) All() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.all)
}

// Latency is the q-quantile of what acknowledged calls took; 0 = there were none.
func Latency(calls []Call, q float64) time.Duration {
	var took []time.Duration
	for _, one := range calls {
		if one.Code == codes.OK {
			took = append(took, one.Took)
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[min(int(q*float64(len(took))), len(took)-1)]
}

// From lets a client come from a loopback address of its own: to the gateway, a host is a client.
// net and n stand for 127.net.x.y.
func From(network byte, n int) grpc.DialOption {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, network, byte(n/250), byte(n%250+1))}}
	return grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("from %v: %w", dialer.LocalAddr, err)
		}
		return conn, nil
	})
}
