package main

// One run of the live latency: the runner publishes at a fixed rate and subscribes, and times each event's answer and
// its arrival. Answers and arrivals that are missing at the end make it no result.

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// liveWarmUp is how many events are sent before those that count.
const liveWarmUp = 50

// liveRun is the events of a run, by number. Each of the slices belongs to one goroutine until all have ended.
type liveRun struct {
	publisher, subscriber   *grpc.ClientConn
	data                    []byte
	sent, acknowledged, got []time.Time
}

func (b *bench) live(ctx context.Context, s scene, st *stage) (f figures, err error) {
	n := liveWarmUp + int(s.load.rate*s.load.took.Seconds())
	r := &liveRun{data: make([]byte, s.load.size), sent: make([]time.Time, n), acknowledged: make([]time.Time, n), got: make([]time.Time, n)}
	if err := r.connect(st.servers[0].grpc); err != nil {
		return f, err
	}
	defer r.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := gatewayv1.NewEventGatewayClient(r.subscriber).SubscribeEvents(ctx, &gatewayv1.SubscribeRequest{})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		return f, fmt.Errorf("subscribing: %w", err)
	}
	var running sync.WaitGroup
	var receiving error
	running.Go(func() {
		if receiving = r.receive(stream); receiving != nil {
			cancel()
		}
	})
	publish := r.publishStream
	if s.load.unary {
		publish = r.publishCalls
	}
	began := time.Now()
	err = publish(ctx, time.Duration(float64(time.Second)/s.load.rate))
	if err != nil {
		cancel() // the subscriber waits for events that do not come
	}
	running.Wait()
	if receiving != nil {
		return f, fmt.Errorf("receiving: %w", receiving)
	}
	if err != nil {
		return f, fmt.Errorf("publishing: %w", err)
	}
	f = figures{Events: int64(n - liveWarmUp), Rate: float64(n) / time.Since(began).Seconds()}
	f.P50, f.P99 = r.since(r.got)
	f.Ack50, f.Ack99 = r.since(r.acknowledged)
	return f, nil
}

// connect opens a connection each for publisher and subscriber.
func (r *liveRun) connect(address string) (err error) {
	plain := grpc.WithTransportCredentials(insecure.NewCredentials())
	if r.publisher, err = grpc.NewClient(address, plain); err == nil {
		r.subscriber, err = grpc.NewClient(address, plain)
	}
	return err
}

func (r *liveRun) close() {
	_ = r.publisher.Close()
	_ = r.subscriber.Close()
}

// receive notes when events come, each once.
func (r *liveRun) receive(stream grpc.ServerStreamingClient[eventv1.Event]) error {
	for range r.got {
		ev, err := stream.Recv()
		if err != nil {
			return err
		}
		i, err := strconv.Atoi(ev.Id)
		if err != nil || i < 0 || i >= len(r.got) || !r.got[i].IsZero() {
			return fmt.Errorf("event %q came, which was not sent or came before", ev.Id)
		}
		r.got[i] = time.Now()
	}
	return nil
}

func (r *liveRun) request(i int) *gatewayv1.IngestEventRequest {
	return &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Id: strconv.Itoa(i), Source: "bench/source", Type: "bench.event.happened",
		PartitionKey: "key-" + strconv.Itoa(i%1000), Data: r.data}}
}

// schedule calls send for each event when it is due.
func (r *liveRun) schedule(ctx context.Context, every time.Duration, send func(i int) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for i := range r.sent {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		r.sent[i] = time.Now()
		if err := send(i); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
	}
	return nil
}

func (r *liveRun) publishCalls(ctx context.Context, every time.Duration) error {
	client := gatewayv1.NewEventGatewayClient(r.publisher)
	return r.schedule(ctx, every, func(i int) error {
		_, err := client.IngestEvent(ctx, r.request(i))
		r.acknowledged[i] = time.Now()
		return err
	})
}

func (r *liveRun) publishStream(ctx context.Context, every time.Duration) error {
	stream, err := gatewayv1.NewEventGatewayClient(r.publisher).IngestEventStream(ctx)
	if err != nil {
		return err
	}
	answers := make(chan error, 1)
	go func() {
		for i := range r.acknowledged {
			a, err := stream.Recv()
			if err == nil && a.Outcome != gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED {
				err = fmt.Errorf("event %d: %v", i, a)
			}
			if err != nil {
				answers <- err
				return
			}
			r.acknowledged[i] = time.Now()
		}
		answers <- nil
	}()
	if err := r.schedule(ctx, every, func(i int) error { return stream.Send(r.request(i)) }); err != nil {
		return err // the stream ends with ctx, and with it who waits for answers
	}
	return <-answers
}

// since are percentiles, in milliseconds, from when events were sent until then.
func (r *liveRun) since(then []time.Time) (p50, p99 float64) {
	var ms []float64
	for i := liveWarmUp; i < len(then); i++ {
		ms = append(ms, then[i].Sub(r.sent[i]).Seconds()*1000)
	}
	slices.Sort(ms)
	return ms[len(ms)/2], ms[len(ms)*99/100]
}
