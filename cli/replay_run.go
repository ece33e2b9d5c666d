package cli

// A replay, over as many streams as it takes. Each response has events and the
// time up to which everything is done with them, so a stream that breaks off is
// followed by one from that time on. The gateway reads the partitions side by
// side, and one may be far ahead of that time: what it has brought comes again,
// and replay_printed.go leaves it out.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

const (
	// pageRoom is how many responses may have arrived and wait for the output. They may have REPLAY_BATCH_SIZE events each.
	pageRoom = 1
	// replaySilence is for how long a stream may bring nothing. The gateway tells of progress once a second.
	replaySilence = 30 * time.Second
)

// counts are a replay's totals. A stream that broke off has republished, filtered or refused some events that it had not counted as
// matched yet: they come at the end of a page.
type counts struct{ read, matched, republished, filtered, refused int64 }

func (c counts) plus(d counts) counts {
	return counts{c.read + d.read, c.matched + d.matched, c.republished + d.republished, c.filtered + d.filtered, c.refused + d.refused}
}

// replayRun belongs to one goroutine.
type replayRun struct {
	command *replayCommand
	gateway gatewayv1.EventGatewayClient
	output  io.Writer
	events  eventPrinter
	bar     *replayBar
	again   resumption

	// position is the time up to which everything is done; begun: a gateway has taken the request once.
	position time.Time
	begun    bool
	seen     *printedEvents
	// before are the counts of the streams that have ended, now those of this one.
	before, now counts
	// lastRefusal is what the gateway says of the latest refused event.
	lastRefusal string
	// printed are events, doubles those that had been printed before a stream broke off.
	printed, doubles int64
	breaks           int
	began            time.Time
}

func newReplayRun(c *replayCommand, conn *grpc.ClientConn, p *Program) *replayRun {
	to := c.To.Time
	if to.IsZero() {
		to = time.Now()
	}
	return &replayRun{command: c, gateway: gatewayv1.NewEventGatewayClient(conn), output: p.Stdout, events: newEventPrinter(p.Stdout, true, false),
		bar:   newReplayBar(p.Stderr, isTerminal(p.Stderr) && !c.Progress, isTerminal(p.Stdout), c.From.Time, to, c.Republish != ""),
		again: newResumption(&c.readingGateway, p.Stderr), position: c.From.Time, seen: newPrintedEvents(printedWindow), began: time.Now()}
}

func (r *replayRun) total() counts { return r.before.plus(r.now) }

// page is one thing that a stream brings; err is its end.
type page struct {
	begun    bool
	response *gatewayv1.ReplayResponse
	err      error
}

// errDone is the end of a replay that is complete.
var errDone = errors.New("done")

// run replays to the end of the range; an error says what came before that.
func (r *replayRun) run(stop context.Context) error {
	for {
		err := r.session(stop)
		if flushed := r.events.flush(); flushed != nil {
			return outputError{flushed}
		}
		var output outputError
		switch {
		case errors.Is(err, errDone):
			return nil
		case stop.Err() != nil:
			return stop.Err()
		case errors.As(err, &output), errors.Is(err, errNobodyReads):
			return err
		}
		e := endingOf(err)
		switch {
		case e.forGood():
			return refusedError{e}
		case !r.command.To.IsZero() && !r.position.Before(r.command.To.Time):
			return nil // only the word that it is done is missing
		}
		r.bar.clear()
		if err := r.again.pause(stop, e, r.intention()); err != nil {
			return err
		}
		r.seen.again()
	}
}

func (r *replayRun) intention() string {
	if !r.begun {
		return "trying again"
	}
	text := "trying again, to go on from " + stamp(r.position)
	switch {
	case r.command.Republish != "":
		text += "; events after that may be in " + printable(r.command.Republish) + " twice"
	case r.seen.forgot:
		text += "; some of the events after that will be printed again"
	}
	return text
}

// session takes what one stream brings, and returns why it ended.
func (r *replayRun) session(stop context.Context) error {
	ctx, cancel := context.WithCancel(stop)
	pages := make(chan page, pageRoom)
	request := r.command.request(r.position)
	var receiver sync.WaitGroup
	receiver.Go(func() { r.receive(ctx, request, pages) })
	defer receiver.Wait()
	defer cancel()

	ticker := time.NewTicker(r.bar.period())
	defer ticker.Stop()
	silence := time.NewTimer(replaySilence)
	defer silence.Stop()
	poll := time.NewTicker(readerPoll)
	defer poll.Stop()
	for {
		select {
		case p := <-pages:
			if err := r.take(p); err != nil {
				return err
			}
			silence.Reset(replaySilence)
		case <-ticker.C:
			if r.begun {
				r.bar.show(r)
			}
		case <-silence.C:
			if len(pages) == 0 {
				return status.Errorf(codes.Unavailable, "the gateway has told of no progress for %v", replaySilence)
			}
		case <-poll.C:
			if r.command.Republish == "" && readerGone(r.output) { // else nothing is printed there
				return errNobodyReads
			}
		case <-stop.Done():
			return stop.Err()
		}
	}
}

// receive opens a stream and hands over what it brings, until its end or that of ctx.
func (r *replayRun) receive(ctx context.Context, request *gatewayv1.ReplayRequest, pages chan<- page) {
	hand := func(p page) bool {
		select {
		case pages <- p:
			return true
		case <-ctx.Done():
			return false
		}
	}
	stream, err := r.gateway.ReplayEvents(ctx, request)
	if err == nil {
		if header, headerErr := stream.Header(); headerErr == nil && header != nil && !hand(page{begun: true}) {
			return
		}
	}
	for err == nil {
		var response *gatewayv1.ReplayResponse
		if response, err = stream.Recv(); err == nil && !hand(page{response: response}) {
			return
		}
	}
	hand(page{err: err})
}

// take prints the events of a response, and notes how far the replay has come with them.
func (r *replayRun) take(p page) error {
	switch {
	case p.err != nil:
		return p.err
	case p.begun:
		if r.begun {
			r.before, r.now = r.total(), counts{}
			r.breaks++
		}
		r.begun = true
		r.bar.clear()
		r.again.begun()
		return nil
	}
	r.again.alive()
	if len(p.response.Events) > 0 {
		r.bar.beforeOutput()
	}
	for _, event := range p.response.Events {
		fresh, err := r.seen.add(event)
		switch {
		case err != nil:
			return outputError{fmt.Errorf("%s of %s: %w", printable(event.Id), printable(event.Source), err)}
		case !fresh:
			r.doubles++
			continue
		}
		if err := r.events.print(event); err != nil {
			return outputError{err}
		}
		r.printed++
	}
	if err := r.events.flush(); err != nil {
		return outputError{err}
	}
	progress := p.response.Progress
	if progress == nil {
		return nil
	}
	r.now = counts{progress.Read, progress.Matched, progress.Republished, progress.Filtered, progress.Refused}
	if progress.LastRefusal != "" {
		r.lastRefusal = progress.LastRefusal
	}
	if at := progress.Position; at != nil && at.AsTime().After(r.position) {
		r.position = at.AsTime()
	}
	if progress.Done {
		return errDone
	}
	return nil
}
