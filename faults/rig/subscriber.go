//go:build faults || kafka

package rig

// Subscribers: they keep what they receive and the newest cursor, and call
// again with it when their call ends and may be made again, as a good client
// does. What else ended a call is in Ends.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/event-gateway/event-gateway/faults/ledger"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// Subscription says what to subscribe to.
type Subscription struct {
	Name string
	// Addresses are gateways; every call goes to the next one.
	Addresses []string
	// Request has the first call's start; later ones have the newest cursor instead, or the group's.
	Request *gatewayv1.SubscribeRequest
	// Wants is what its filter wants, for the judge; nil = all.
	Wants func(p *ledger.Producer, seq int) bool
	// Partition is where a key belongs.
	Partition func(key string) int32
	// Bounds are the first offsets and the ends of the topic, past the gateway.
	Bounds func() (starts, ends map[int32]int64, err error)
	// Opening is where the first call begins, when the start does not say it: that of a cursor of somebody else's.
	Opening *ledger.Opening
	// Skip goes on with skip_cursor when the gateway offers one.
	Skip bool
	// Insist calls again with the same cursor when something cannot be read, in the hope that it will be or is gone.
	Insist bool
	// Window is the flow-control window in bytes; 0 = what grpc-go finds best.
	Window int32
}

// End is how a call ended.
type End struct {
	At   time.Time
	Code codes.Code
	// Reason and Metadata are those of the ErrorInfo; empty = the end did not come from the gateway.
	Reason   string
	Metadata map[string]string
	Text     string
	// Cursor is the newest that had come.
	Cursor string
}

// Subscriber is a subscription that was started.
type Subscriber struct {
	*ledger.Received

	t     testing.TB
	conf  Subscription
	conns []*grpc.ClientConn
	ctx   context.Context
	cut   context.CancelFunc
	done  chan struct{}
	begun chan struct{} // closed when the first call has begun

	mu     sync.Mutex // guards the following
	held   chan struct{}
	cursor string
	ends   []End
	newest time.Time
	// gone: the gateway has said that what lies between the last event and the cursor is not there any more.
	gone bool
}

// Subscribe starts a subscriber and waits until its first call has begun; it ends with the test at the latest.
func Subscribe(t testing.TB, l *ledger.Ledger, conf Subscription) *Subscriber {
	t.Helper()
	s := StartSubscriber(t, l, conf)
	return s.Begun()
}

// Begun waits until the first call has begun.
func (s *Subscriber) Begun() *Subscriber {
	s.t.Helper()
	select {
	case <-s.begun:
		return s
	case <-s.done:
	case <-time.After(Patience):
	}
	s.t.Fatalf("subscriber %s: the call does not begin: %+v", s.conf.Name, s.Ends())
	return nil
}

// StartSubscriber is Subscribe without the wait.
func StartSubscriber(t testing.TB, l *ledger.Ledger, conf Subscription) *Subscriber {
	t.Helper()
	s := &Subscriber{Received: l.Subscriber(conf.Name, conf.Partition), t: t, conf: conf, done: make(chan struct{}), begun: make(chan struct{})}
	s.Wants = conf.Wants
	s.ctx, s.cut = context.WithCancel(context.Background())
	for _, address := range conf.Addresses {
		options := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: 2 * time.Second,
				Backoff: backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.5, MaxDelay: 500 * time.Millisecond}})}
		if conf.Window > 0 {
			options = append(options, grpc.WithStaticStreamWindowSize(conf.Window), grpc.WithStaticConnWindowSize(conf.Window))
		}
		conn, err := grpc.NewClient(address, options...)
		if err != nil {
			t.Fatal(err)
		}
		s.conns = append(s.conns, conn)
	}
	go s.live()
	t.Cleanup(s.Stop)
	return s
}

// Stop ends it and waits.
func (s *Subscriber) Stop() {
	s.Release()
	s.cut()
	<-s.done
	for _, conn := range s.conns {
		_ = conn.Close() // nothing is left to fail
	}
}

// Hold lets it stop reading; Release lets it go on.
func (s *Subscriber) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(chan struct{})
	}
}

// Release ends a Hold.
func (s *Subscriber) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// Ends are the calls that have ended, oldest first.
func (s *Subscriber) Ends() []End {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ends)
}

// EndedBy counts the calls that ended with a reason; "" = those that the gateway did not end.
func (s *Subscriber) EndedBy(reason string) (n int) { return s.EndedSince(time.Time{}, reason) }

// EndedSince is how many calls ended with the reason after since.
func (s *Subscriber) EndedSince(since time.Time, reason string) (n int) {
	for _, e := range s.Ends() {
		if e.At.After(since) && e.Reason == reason {
			n++
		}
	}
	return n
}

// Ended tells whether it has given up.
func (s *Subscriber) Ended() bool {
	select {
	case <-s.done:
		return true
	default:
		return false
	}
}

// Place is the newest cursor and, for each partition, how many events had come by then.
func (s *Subscriber) Place() (cursor string, passed map[int32]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, s.Counts()
}

// Newest is when the last event came.
func (s *Subscriber) Newest() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.newest
}

// live calls again and again, until it is stopped or a call ends in a way that no call gets over.
func (s *Subscriber) live() {
	defer close(s.done)
	for n := 0; s.ctx.Err() == nil; n++ {
		end := s.call(s.conns[n%len(s.conns)])
		if s.ctx.Err() != nil || !s.again(end) {
			return
		}
		pause(s.ctx, 50*time.Millisecond)
	}
}

// After waits for an end of a call that came later than that.
func (s *Subscriber) After(since time.Time, reason string, within time.Duration) (end End, ok bool) {
	ok = Within(within, func() bool {
		for _, e := range s.Ends() {
			if e.At.After(since) && e.Reason == reason {
				end = e
				return true
			}
		}
		return false
	})
	return end, ok
}

// again notes the end of a call and says whether there will be another one.
func (s *Subscriber) again(err error) bool {
	e := End{At: time.Now(), Code: status.Code(err), Text: status.Convert(err).Message()}
	why, retry := info(err)
	if why != nil {
		e.Reason, e.Metadata = why.Reason, why.Metadata
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Cursor = s.cursor
	s.ends = append(s.ends, e)
	// A place that is gone, and one that cannot be read: the status says where it goes on.
	if next := e.Metadata["earliest_cursor"]; next != "" {
		s.cursor, s.gone = next, true
		return true
	}
	if next := e.Metadata["skip_cursor"]; next != "" && s.conf.Skip {
		s.cursor = next
		return true
	}
	return why == nil && e.Code == codes.Unavailable || retry || s.conf.Insist && e.Reason == "RECORD_UNREADABLE"
}

// call is one call.
func (s *Subscriber) call(conn *grpc.ClientConn) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	request, opening, err := s.opening()
	if err != nil {
		return err
	}
	stream, err := gatewayv1.NewEventGatewayClient(conn).SubscribeEvents(ctx, request)
	if err != nil {
		return err
	}
	header, err := stream.Header()
	if err != nil {
		return err
	}
	if header != nil { // else the call was refused
		if err := s.begins(opening); err != nil {
			return err
		}
	}
	for {
		ev, err := stream.Recv()
		if err != nil {
			return err
		}
		s.came(ev)
	}
}

// came notes an event, or a cursor without one, and waits while the subscriber is held.
func (s *Subscriber) came(ev *eventv1.Event) {
	s.mu.Lock()
	held := s.held
	if ev.Id != "" {
		s.Add(ev.Id, ev.PartitionKey, ev.Data)
		s.newest = time.Now()
	}
	if ev.Cursor != "" {
		s.cursor = ev.Cursor
	}
	s.mu.Unlock()
	if held == nil {
		return
	}
	select {
	case <-held:
	case <-s.ctx.Done():
	}
}

// opening is the next call's request, and where it has to begin.
func (s *Subscriber) opening() (*gatewayv1.SubscribeRequest, ledger.Opening, error) {
	request := proto.CloneOf(s.conf.Request)
	if request.GroupId != "" {
		return request, ledger.Opening{}, nil // the judge looks at the group as a whole
	}
	s.mu.Lock()
	cursor, gone := s.cursor, s.gone
	s.mu.Unlock()
	starts, ends, err := s.bounds()
	switch {
	case err != nil:
		return nil, ledger.Opening{}, err
	case cursor != "":
		request.Cursor, request.Start, request.StartTimestamp = cursor, gatewayv1.SubscribeRequest_START_UNSPECIFIED, 0
		if gone {
			return request, ledger.Opening{Resumes: true, To: starts}, nil
		}
		return request, ledger.Opening{Resumes: true}, nil
	case s.conf.Opening != nil:
		return request, *s.conf.Opening, nil
	case request.StartTimestamp > 0:
		return request, ledger.Opening{Since: 1000 * request.StartTimestamp}, nil
	case request.Start == gatewayv1.SubscribeRequest_START_EARLIEST:
		return request, ledger.Opening{From: starts, To: starts}, nil
	}
	return request, ledger.Opening{From: ends}, nil
}

// begins notes that a call has begun.
func (s *Subscriber) begins(o ledger.Opening) error {
	if o.From != nil && o.To == nil { // at the end, as it was while the call began
		_, ends, err := s.bounds()
		if err != nil {
			return err
		}
		o.To = ends
	}
	s.Begin(o)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = false
	select {
	case <-s.begun:
	default:
		close(s.begun)
	}
	return nil
}

// bounds asks Kafka; without an answer, the call is as good as broken.
func (s *Subscriber) bounds() (starts, ends map[int32]int64, err error) {
	if s.conf.Bounds == nil {
		return nil, nil, nil
	}
	if starts, ends, err = s.conf.Bounds(); err != nil {
		return nil, nil, status.Error(codes.Unavailable, fmt.Sprintf("asking Kafka for the topic's bounds: %v", err))
	}
	return starts, ends, nil
}
