//go:build faults || kafka

package rig

// The load: unary callers, streams and batch streams side by side, at a fixed
// rate, each with a connection of its own that it dials again when it breaks.
// Every answer goes into the ledger; what ended without one, is unknown or may be
// tried again is sent again with the same id, if the scenario asks for that.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/event-gateway/event-gateway/faults/ledger"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// Load says what to send. The zero value of a field means its default.
type Load struct {
	// Name tells the producers of several loads on one ledger apart.
	Name string
	// Address is the gateway's, or a proxy's before it.
	Address string
	// Unary, Streams and Batches are how many clients of each kind there are; -1 = none (8, 4, 2).
	Unary, Streams, Batches int
	// Rate is events a second, all together (5000): a twentieth by unary calls, a third by streams, the rest in
	// batches. Shares of kinds that are not there go to batches, then streams, then unary calls.
	Rate int
	// Keys a producer has (200), Size bytes of data an event (200), BatchSize events a batch (20).
	Keys, Size, BatchSize int
	// KeysOf gives the n-th producer its keys, instead of Keys.
	KeysOf func(n int) []string
	// Window is how many messages of a stream may be unanswered (256).
	Window int
	// BadEvery-th event has no source and must be refused; 0 = none.
	BadEvery int
	// Most is how many events may be begun until Allow says otherwise; 0 = no limit.
	Most int
	// Types is how many event types there are, load.0 and so on by the event's number; 0 = one, load.
	Types int
	// Ahead dates every event that far into the future.
	Ahead time.Duration
	// Resend sends what is unknown, unanswered or refused for now again, with the same id.
	Resend bool
	// Deadline of a unary call (40 s). Of about CancelEvery unary calls, or 50 times as many messages of a stream,
	// one is followed by the client's going away, up to 20 ms later; 0 = none.
	Deadline    time.Duration
	CancelEvery int
	// Dial gives the n-th client further options for its connection; nil = none.
	Dial func(n int) []grpc.DialOption
}

func (c Load) withDefaults() Load {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
		*v = max(*v, 0)
	}
	set(&c.Unary, 8)
	set(&c.Streams, 4)
	set(&c.Batches, 2)
	set(&c.Rate, 5000)
	set(&c.Keys, 200)
	set(&c.Size, 200)
	set(&c.BatchSize, 20)
	set(&c.Window, 256)
	if c.Deadline == 0 {
		c.Deadline = 40 * time.Second
	}
	return c
}

// Running is a load that was started.
type Running struct {
	Began time.Time

	t       testing.TB
	conf    Load
	ledger  *ledger.Ledger
	clients []*client
	work    sync.WaitGroup
	ctx     context.Context // ends calls at last
	cut     context.CancelFunc
	stop    chan struct{} // closed: nothing new is sent
	once    sync.Once
	paused  atomic.Bool
	// allowed is how many events may be begun, begun how many were; 0 = as many as there is time for.
	allowed, started atomic.Int64
	// wave is raised by Fresh; what is sent afterwards carries it.
	wave atomic.Int64
}

// client is one producer: its connection and what it has to send again.
type client struct {
	run      *Running
	producer *ledger.Producer
	conn     *grpc.ClientConn
	api      gatewayv1.EventGatewayClient
	limit    *rate.Limiter
	random   *rand.Rand // of the sending goroutine
	acked    atomic.Int64
	sent     int

	mu    sync.Mutex // guards the following
	again []retry
}

type retry struct {
	seq int
	due time.Time
}

// StartLoad starts it; it is stopped with the test at the latest.
func StartLoad(t testing.TB, l *ledger.Ledger, conf Load) *Running {
	t.Helper()
	conf = conf.withDefaults()
	r := &Running{Began: time.Now(), t: t, conf: conf, ledger: l, stop: make(chan struct{})}
	r.Allow(conf.Most)
	r.ctx, r.cut = context.WithCancel(context.Background())
	shares := conf.shares()
	names := [ledger.Methods]string{"unary", "stream", "batch"}
	for m, n := range [ledger.Methods]int{conf.Unary, conf.Streams, conf.Batches} {
		for i := range n {
			r.add(ledger.Method(m), fmt.Sprintf("%s%s%d", conf.Name, names[m], i), float64(shares[m])/float64(n))
		}
	}
	for _, c := range r.clients {
		r.work.Go(c.live)
	}
	t.Cleanup(func() { r.Stop(0) })
	return r
}

// shares divides the rate.
func (c Load) shares() (shares [ledger.Methods]int) {
	unary, streams := c.Rate/20, c.Rate/3
	if c.Unary > 0 {
		shares[ledger.Unary] = unary
	}
	if c.Streams > 0 {
		shares[ledger.Stream] = streams
	}
	rest := c.Rate - shares[ledger.Unary] - shares[ledger.Stream]
	switch {
	case c.Batches > 0:
		shares[ledger.Batch] = rest
	case c.Streams > 0:
		shares[ledger.Stream] += rest
	default:
		shares[ledger.Unary] += rest
	}
	return shares
}

func (r *Running) add(m ledger.Method, name string, perSecond float64) {
	options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
			Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond}})}
	if r.conf.Dial != nil {
		options = append(options, r.conf.Dial(len(r.clients))...)
	}
	conn, err := grpc.NewClient(r.conf.Address, options...)
	if err != nil {
		r.t.Fatal(err)
	}
	c := &client{run: r, conn: conn, api: gatewayv1.NewEventGatewayClient(conn),
		limit:  rate.NewLimiter(rate.Limit(perSecond), max(int(perSecond/20), r.conf.BatchSize)),
		random: rand.New(rand.NewPCG(r.ledger.Seed, uint64(len(r.clients)+1)))}
	if r.conf.KeysOf != nil {
		c.producer = r.ledger.ProducerWithKeys(name, m, r.conf.KeysOf(len(r.clients)), r.conf.Size)
	} else {
		c.producer = r.ledger.Producer(name, m, r.conf.Keys, r.conf.Size)
	}
	r.clients = append(r.clients, c)
}

// close gives the connection up; what could fail then is nobody's concern.
func (c *client) close() { _ = c.conn.Close() }

// Fresh waits until every producer has an acknowledgement of an event that it sent after the call: service is
// back for everybody. It names those that have none.
func (r *Running) Fresh(within time.Duration) error {
	wave := r.wave.Add(1)
	if Within(within, func() bool { return len(r.behind(wave)) == 0 }) {
		return nil
	}
	return fmt.Errorf("after %v no fresh event of %v is acknowledged", within, r.behind(wave))
}

func (r *Running) behind(wave int64) (names []string) {
	for _, c := range r.clients {
		if c.acked.Load() < wave {
			names = append(names, c.producer.Name)
		}
	}
	return names
}

// Count is what became of this load's own sendings.
func (r *Running) Count() (sum ledger.Counts) {
	for _, c := range r.clients {
		n := c.producer.Count()
		sum.Sent += n.Sent
		sum.Acknowledged += n.Acknowledged
		sum.Refused += n.Refused
		sum.Unknown += n.Unknown
		sum.NoAnswer += n.NoAnswer
		sum.Resent += n.Resent
	}
	return sum
}

// Acknowledged counts the acknowledgements of the n-th producer.
func (r *Running) Acknowledged(n int) int { return r.clients[n].producer.Count().Acknowledged }

// Send makes one unary call with data of that size, outside the rate, and notes it like the others.
func (r *Running) Send(name string, size int) (p *ledger.Producer) {
	r.t.Helper()
	r.add(ledger.Unary, name, 1)
	c := r.clients[len(r.clients)-1]
	r.clients = r.clients[:len(r.clients)-1] // it is no part of Fresh
	defer c.close()
	ev := c.producer.NextSize(size)
	c.call(&ev)
	return c.producer
}

// Allow lets the load begin n events in all, and no more until it is called again. Load.Most is the first limit.
func (r *Running) Allow(n int) { r.allowed.Store(int64(n)) }

// mayStart takes one of the events that may be begun.
func (r *Running) mayStart() bool {
	limit := r.allowed.Load()
	if limit == 0 || r.started.Add(1) <= limit {
		return true
	}
	r.started.Add(-1)
	return false
}

// Pause holds new events back; Resume lets them go on. What is in flight is answered meanwhile.
func (r *Running) Pause() { r.paused.Store(true) }

// Resume ends a pause.
func (r *Running) Resume() { r.paused.Store(false) }

// Stop sends nothing new, sends again what has to be, waits for all answers, and then ends what is left: that
// is without an answer. It closes all connections.
func (r *Running) Stop(within time.Duration) {
	r.once.Do(func() {
		r.Resume()
		close(r.stop)
		late := time.AfterFunc(within, r.cut)
		r.work.Wait()
		late.Stop()
		r.cut()
		for _, c := range r.clients {
			c.close()
		}
	})
}

func (r *Running) stopping() bool {
	select {
	case <-r.stop:
		return true
	default:
		return false
	}
}

// live is the producer's sending goroutine.
func (c *client) live() {
	switch c.producer.Method {
	case ledger.Unary:
		c.unary()
	case ledger.Stream:
		reconnect(c, c.stream)
	default:
		reconnect(c, c.batches)
	}
}

// next waits for its turn and takes up to n events: what has to be sent again first. None = the end.
func (c *client) next(ctx context.Context, n int) (events []ledger.Event) {
	for {
		if c.run.ctx.Err() != nil || ctx.Err() != nil {
			return nil
		}
		if c.limit.WaitN(ctx, n) != nil {
			return nil
		}
		now := time.Now()
		c.mu.Lock()
		for len(events) < n && len(c.again) > 0 && c.again[0].due.Before(now) {
			events = append(events, c.producer.Again(c.again[0].seq))
			c.again = c.again[1:]
		}
		waiting := len(c.again)
		c.mu.Unlock()
		stopping := c.run.stopping()
		// With much to send again, new events wait: else an outage would pile up more than it can repeat.
		for len(events) < n && !stopping && waiting < 2000 && !c.run.paused.Load() && c.run.mayStart() {
			c.sent++
			events = append(events, c.producer.Next(c.run.conf.BadEvery > 0 && c.sent%c.run.conf.BadEvery == 0))
		}
		if len(events) > 0 {
			return events
		}
		if stopping && waiting == 0 {
			return nil
		}
		pause(ctx, 5*time.Millisecond)
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (c *client) request(ev *ledger.Event) *eventv1.Event {
	to := &eventv1.Event{Id: ev.ID, Source: "/faults/" + ev.ID, Type: "load", PartitionKey: ev.Key, Data: ev.Data}
	if ev.Bad {
		to.Source = ""
	}
	if n := c.run.conf.Types; n > 0 {
		to.Type = fmt.Sprint("load.", ev.Seq%n)
	}
	if c.run.conf.Ahead > 0 {
		to.Timestamp = timestamppb.New(time.Now().Add(c.run.conf.Ahead))
	}
	return to
}

// goes tells whether the client is to go away after this message.
func (c *client) goes() bool {
	every := c.run.conf.CancelEvery
	if c.producer.Method != ledger.Unary {
		every *= 50
	}
	return every > 0 && c.random.IntN(every) == 0
}

func (c *client) unary() {
	for {
		events := c.next(c.run.ctx, 1)
		if events == nil {
			return
		}
		c.call(&events[0])
	}
}

func (c *client) call(ev *ledger.Event) {
	ctx, cancel := context.WithTimeout(c.run.ctx, c.run.conf.Deadline)
	defer cancel()
	if c.goes() {
		defer time.AfterFunc(time.Duration(c.random.IntN(20_000))*time.Microsecond, cancel).Stop()
	}
	wave := c.run.wave.Load()
	response, err := c.api.IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: c.request(ev)})
	if err != nil {
		c.failed(ev.Sending, err)
		return
	}
	c.answered(ev, response, wave)
}

// reconnect runs streams one after the other until nothing is left to send.
func reconnect(c *client, stream func() (more bool)) {
	for stream() && c.run.ctx.Err() == nil {
		c.producer.NewStream()
		pause(c.run.ctx, 50*time.Millisecond)
	}
}

func (c *client) stream() (more bool) {
	ctx, cancel := context.WithCancel(c.run.ctx)
	defer cancel()
	call, err := c.api.IngestEventStream(ctx)
	if err != nil {
		return true
	}
	return exchange(ctx, c, cancel, 1, func(events []ledger.Event) error {
		return call.Send(&gatewayv1.IngestEventRequest{Event: c.request(&events[0])})
	}, call.CloseSend, call.Recv, func(sent message, r *gatewayv1.IngestEventResponse) {
		c.answered(&sent.events[0], r, sent.wave)
	})
}

func (c *client) batches() (more bool) {
	ctx, cancel := context.WithCancel(c.run.ctx)
	defer cancel()
	call, err := c.api.IngestEventBatchStream(ctx)
	if err != nil {
		return true
	}
	return exchange(ctx, c, cancel, c.run.conf.BatchSize, func(events []ledger.Event) error {
		batch := &gatewayv1.IngestEventBatchRequest{WantResults: true}
		for i := range events {
			batch.Events = append(batch.Events, c.request(&events[i]))
		}
		return call.Send(batch)
	}, call.CloseSend, call.Recv, c.answeredBatch)
}

// message is what waits for an answer.
type message struct {
	events []ledger.Event
	wave   int64
}

// exchange runs both directions of one stream. more = the client has something to send over another one.
func exchange[Answer any](ctx context.Context, c *client, cancel func(), n int, send func([]ledger.Event) error,
	done func() error, receive func() (Answer, error), note func(message, Answer),
) (more bool) {
	waiting, room := make(chan message, c.run.conf.Window), make(chan struct{}, c.run.conf.Window)
	sendContext, ended := context.WithCancel(ctx)
	var sender sync.WaitGroup
	sender.Go(func() {
		defer close(waiting)
		for {
			select {
			case room <- struct{}{}:
			case <-sendContext.Done():
				return
			}
			wave := c.run.wave.Load()
			events := c.next(sendContext, n)
			if events == nil {
				_ = done()
				return
			}
			err := send(events)
			waiting <- message{events, wave} // never waits: room has been taken
			if err != nil {
				return
			}
			if c.goes() {
				time.AfterFunc(time.Duration(c.random.IntN(20_000))*time.Microsecond, cancel)
			}
		}
	})
	var err error
	for {
		var answer Answer
		if answer, err = receive(); err != nil {
			break
		}
		sent, ok := <-waiting
		if !ok {
			c.complain(-1, "an answer to nothing on a stream")
			break
		}
		note(sent, answer)
		<-room
	}
	ended()
	sender.Wait()
	for sent := range waiting {
		for _, ev := range sent.events {
			c.cutOff(ev.Sending, err)
		}
	}
	return !c.finished()
}

// finished: nothing new is to be sent, and nothing again.
func (c *client) finished() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.run.stopping() && len(c.again) == 0
}

// Name makes a producer's name of a prefix and a number.
func Name(prefix string, n int) string { return fmt.Sprint(prefix, n) }
