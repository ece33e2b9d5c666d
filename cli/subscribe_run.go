package cli

// A subscription, over as many streams as it takes. The flow:
//
//	stream -> receiver -> arrivals (a channel: the bound) -> printing -> the newest cursor
//	   ^                                                                    |
//	   +----- when a stream has ended: everything that arrived is printed, -+
//	          then the next one begins behind the newest cursor
//
// So a cursor counts when its event was given to the output, and never before: nothing is left out, nothing is
// printed twice.

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// How a subscription ends that does not fail.
var (
	errIdle        = errors.New("idle")
	errLimit       = errors.New("enough")
	errNobodyReads = errors.New("nobody reads the output")
)

// outputError is an error of the output, not of the gateway.
type outputError struct{ error }

func (e outputError) Unwrap() error { return e.error }

// refusedError is an ending for good.
type refusedError struct{ ending }

func (e refusedError) Error() string { return e.String() }

const (
	// arrivalRoom is how many events may have arrived and wait for the output: enough to receive while a buffer
	// of events is written, and little memory also for large ones. gRPC's windows come on top.
	arrivalRoom = 64
	// readerPoll is how often it is looked whether somebody still reads the output.
	readerPoll = 500 * time.Millisecond
)

// subscription belongs to one goroutine.
type subscription struct {
	command *subscribeCommand
	gateway gatewayv1.EventGatewayClient
	health  healthpb.HealthClient
	output  io.Writer
	events  eventPrinter
	again   resumption

	// cursor is the newest one of a printed event or a heartbeat; shown is that of the last flush.
	cursor, shown string
	printed       int64
	// overdue: no event has come for --until-idle, and it is not known yet whether the gateway is there: a heartbeat
	// would show it.
	overdue bool
	// unwell: it was said that the gateway is not ready.
	unwell bool
}

func newSubscription(c *subscribeCommand, conn *grpc.ClientConn, p *Program) *subscription {
	return &subscription{command: c, gateway: gatewayv1.NewEventGatewayClient(conn), health: healthpb.NewHealthClient(conn),
		output: p.Stdout, events: newEventPrinter(p.Stdout, c.JSON, c.Text), cursor: c.Cursor, shown: c.Cursor,
		again: newResumption(&c.readingGateway, p.Stderr)}
}

// arrival is one thing that a stream brings.
type arrival struct {
	// begun: the gateway has taken the request.
	begun bool
	event *eventv1.Event
	// err is the end of the stream.
	err error
}

// run prints until something ends it; it always returns an error, which says what.
func (s *subscription) run(stop context.Context) error {
	for {
		err := s.session(stop)
		if flushed := s.flush(); flushed != nil {
			return flushed
		}
		if stop.Err() != nil {
			return stop.Err()
		}
		var output outputError
		var refused refusedError
		if errors.As(err, &output) || errors.As(err, &refused) || errors.Is(err, errIdle) || errors.Is(err, errLimit) ||
			errors.Is(err, errNobodyReads) {
			return err
		}
		e := endingOf(err)
		if e.forGood() {
			return refusedError{e}
		}
		if err := s.again.pause(stop, e, s.intention()); err != nil {
			return err
		}
	}
}

// intention is what happens after a stream is lost.
func (s *subscription) intention() string {
	c := s.command
	switch {
	case c.Group != "":
		return "trying again; the group's position says where it goes on"
	case s.cursor != "":
		return "trying again, to go on behind the last event"
	case c.Since.given():
		return "trying again from the start"
	}
	return "trying again; there is no cursor yet, so what arrives until then is not seen"
}

// session prints what one stream brings, and returns why it ended.
func (s *subscription) session(stop context.Context) error {
	ctx, cancel := context.WithCancel(stop)
	arrivals := make(chan arrival, arrivalRoom)
	var receiver sync.WaitGroup
	request := s.command.request(s.cursor)
	receiver.Go(func() { s.receive(ctx, request, arrivals) })
	defer receiver.Wait()
	defer cancel()

	idle := time.NewTimer(time.Hour)
	idle.Stop()
	defer idle.Stop()
	reads := false // the stream has brought something
	poll := time.NewTicker(readerPoll)
	defer poll.Stop()
	for {
		select {
		case a := <-arrivals:
			if err := s.take(a); err != nil {
				return err
			}
			// The time that printing takes does not count as idle, nor does that before the gateway reads: it has taken the
			// request, and may wait for a reader. Its first heartbeat comes then.
			if c := s.command; c.UntilIdle > 0 && !a.begun && (!reads || !isHeartbeat(a.event)) {
				reads = true
				idle.Reset(c.UntilIdle)
			}
			if len(arrivals) == 0 {
				if err := s.flush(); err != nil {
					return err
				}
			}
		case <-idle.C:
			if err := s.rest(ctx); err != nil && len(arrivals) == 0 {
				return err
			}
			idle.Reset(s.command.UntilIdle)
		case <-poll.C:
			if readerGone(s.output) {
				return errNobodyReads
			}
		case <-stop.Done():
			return stop.Err()
		}
	}
}

// receive opens a stream and hands over what it brings, until its end or that of ctx.
func (s *subscription) receive(ctx context.Context, request *gatewayv1.SubscribeRequest, arrivals chan<- arrival) {
	hand := func(a arrival) bool {
		select {
		case arrivals <- a:
			return true
		case <-ctx.Done():
			return false
		}
	}
	stream, err := s.gateway.SubscribeEvents(ctx, request)
	if err == nil {
		// The headers come when the gateway knows where it begins. Without them there is an error, which Recv has, too.
		if header, headerErr := stream.Header(); headerErr == nil && header != nil && !hand(arrival{begun: true}) {
			return
		}
	}
	for err == nil {
		var event *eventv1.Event
		if event, err = stream.Recv(); err == nil && !hand(arrival{event: event}) {
			return
		}
	}
	hand(arrival{err: err})
}

// isHeartbeat: every event has a source and a type.
func isHeartbeat(event *eventv1.Event) bool { return event.GetSource() == "" && event.GetType() == "" }

// noCursor is a gateway that breaks its contract. Going on from an older cursor would print events twice.
var noCursor = ending{code: codes.DataLoss, reason: "NO_CURSOR", message: "the gateway sent an event without a cursor, so nothing can go on behind it"}

// take prints an event, and notes its cursor.
func (s *subscription) take(a arrival) error {
	switch {
	case a.err != nil:
		return a.err
	case a.begun:
		s.overdue = false
		s.again.begun()
		return nil
	}
	s.again.alive()
	if !isHeartbeat(a.event) {
		s.overdue = false
		if err := s.events.print(a.event); err != nil {
			return outputError{err}
		}
		s.printed++
	}
	if a.event.Cursor != "" {
		s.cursor = a.event.Cursor
	} else if s.command.Group == "" && !isHeartbeat(a.event) {
		return refusedError{noCursor}
	}
	switch {
	case s.command.Limit > 0 && s.printed >= s.command.Limit:
		return errLimit
	case s.overdue:
		return errIdle // by a heartbeat
	}
	return nil
}

// flush gives the output what was printed.
func (s *subscription) flush() error {
	if err := s.events.flush(); err != nil {
		return outputError{err}
	}
	s.shown = s.cursor
	return nil
}

// rest is called when no event has come for long enough. errIdle: the gateway is there, and well. nil: it has said that
// it is not, or nothing at all; then the connection is dead, which gRPC finds out, or a heartbeat will come.
func (s *subscription) rest(ctx context.Context) error {
	well, err := ready(ctx, s.health)
	s.overdue = err != nil
	switch {
	case err != nil:
		return nil
	case well:
		return errIdle
	case !s.unwell:
		s.unwell = true
		say(s.again.stderr, "gateway: %s: it says that it is not ready, so this is not taken for idle; waiting until it is\n", s.command.Address)
	}
	return nil
}
