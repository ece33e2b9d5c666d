package cli

// gateway subscribe: the command line, the request, and what is said at the
// end. The stream itself is in subscribe_run.go.

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

type subscribeCommand struct {
	Type   []string  `group:"which" placeholder:"TYPE" help:"Only events of this type; order.* means all that begin with order. May be repeated."`
	Source []string  `group:"which" sep:"none" placeholder:"URI" help:"Only events of this source. May be repeated."`
	Filter string    `group:"which" placeholder:"CEL" help:"Only events for which this is true, for example subject == \"42\"."`
	Since  startFlag `group:"which" placeholder:"TIME" help:"Begin with the events received then: a duration back from now (1h), a time (2026-01-02T15:04:05Z), to the second, or earliest (default: what comes from now on)."`
	Cursor string    `group:"which" placeholder:"CURSOR" help:"Begin right behind the event that had this cursor."`
	Group  string    `group:"which" placeholder:"NAME" help:"Share the events with all other subscribers of this group, and begin where the group is."`

	UntilIdle time.Duration `group:"end" placeholder:"TIME" help:"End when no event has come for TIME, for example 2s."`
	Limit     int64         `group:"end" placeholder:"N" help:"End after N events."`

	readingGateway
	JSON bool `group:"gateway" name:"json" help:"Print JSON lines, also on a terminal."`
	Text bool `group:"gateway" help:"Print readable lines, also in a pipe."`
}

func (subscribeCommand) Help() string {
	return `Prints events as they arrive: readable lines on a terminal, JSON lines in a pipe, in the form that publish reads. It does not end by itself, unless --until-idle or --limit says so.

A lost connection is opened again, for up to --timeout, and the stream goes on behind the last event: none is left out and none comes twice. (Of a group the gateway knows the position, and not this command: when a connection is lost, the events of the last moments may come twice or go to another member.) Ctrl-C ends it and prints the command that goes on.

--until-idle counts only while the gateway says that it is well. With a --filter that few events pass, TIME must be longer than the gateway takes to read from one such event to the next; to read a range of time to its end, use replay.

Exit codes: 0 ended by Ctrl-C, or --until-idle or --limit has come true, or nobody reads the output any more; 1 no gateway answered for --timeout, the output failed, or Ctrl-C before --until-idle or --limit came true; 2 wrong usage; 3 the gateway refuses the request; 4 Kafka no longer has the events from there on; 130 a second Ctrl-C.

Examples:
  gateway subscribe
  gateway subscribe --type 'order.*' --source /shop --since 1h
  gateway subscribe --filter 'subject == "42"' | jq -c .data_json
  gateway subscribe --since earliest --until-idle 2s > events.jsonl
  gateway subscribe --group billing`
}

// startFlag is where to begin: a time, or the oldest event.
type startFlag struct {
	sinceFlag
	earliest bool
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *startFlag) UnmarshalText(text []byte) error {
	if string(text) == "earliest" {
		*s = startFlag{earliest: true}
		return nil
	}
	if err := s.sinceFlag.UnmarshalText(text); err != nil {
		return fmt.Errorf("%w, nor earliest", err)
	}
	// The API has 0 for no time at all, and no gateway was there in 1970.
	s.earliest = s.Unix() <= 0
	return nil
}

// Validate is called by kong after parsing.
func (c *subscribeCommand) Validate() error {
	switch {
	case c.Cursor != "" && c.Since.given():
		return errors.New("--cursor and --since exclude each other: both say where to begin")
	case c.Cursor != "" && c.Group != "":
		return errors.New("--cursor and --group exclude each other: the group's position says where to begin")
	case c.UntilIdle < 0 || c.Limit < 0 || c.Timeout < 0:
		return errors.New("--until-idle, --limit and --timeout must be more than 0")
	case c.JSON && c.Text:
		return errors.New("--json and --text exclude each other")
	}
	return nil
}

func (s *startFlag) given() bool { return s.earliest || !s.IsZero() }

// request asks for what is behind cursor, or from the start on when there is none yet.
func (c *subscribeCommand) request(cursor string) *gatewayv1.SubscribeRequest {
	r := &gatewayv1.SubscribeRequest{EventTypes: c.Type, Sources: c.Source, Filter: c.Filter, GroupId: c.Group, Heartbeat: true}
	switch {
	case cursor != "" && c.Group == "": // of a group, Kafka has the position
		r.Cursor = cursor
	case c.Since.earliest:
		r.Start = gatewayv1.SubscribeRequest_START_EARLIEST
	case !c.Since.IsZero():
		r.StartTimestamp = c.Since.Unix()
	}
	return r
}

// Run prints until the end.
func (c *subscribeCommand) Run(p *Program) error {
	on := listenForInterrupts()
	defer on.close()
	return untilAbort(on.abort, func() error { return c.subscribe(on.stop, p) })
}

// untilAbort runs f, and does not wait for it any longer after a second signal: it may be writing to a pipe that
// nobody reads, which nothing can interrupt.
func untilAbort(abort context.Context, f func() error) error {
	signal.Ignore(syscall.SIGPIPE) // so that a write says so, and what is open is closed
	ended := make(chan error, 1)
	go func() { ended <- f() }()
	select {
	case err := <-ended:
		return err
	case <-abort.Done():
		return exitError{130, "stopped by a second signal; what was printed last is not known"}
	}
}

func (c *subscribeCommand) subscribe(stop context.Context, p *Program) error {
	conn, err := c.dial("subscribe", p)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	s := newSubscription(c, conn, p)
	return c.report(p, s, s.run(stop))
}

// report says how it ended, and how to go on.
func (c *subscribeCommand) report(p *Program, s *subscription, err error) error {
	code := exitFailed
	var why string
	var output outputError
	var refused refusedError
	switch {
	case errors.Is(err, syscall.EPIPE), errors.Is(err, errNobodyReads):
		return nil // whoever read it has had enough
	case errors.Is(err, errIdle):
		code, why = exitOK, fmt.Sprintf("no event for %v", c.UntilIdle)
	case errors.Is(err, errLimit):
		code, why = exitOK, "--limit is reached"
	case errors.Is(err, context.Canceled):
		if why = "stopped"; c.UntilIdle == 0 && c.Limit == 0 {
			code = exitOK
		}
	case errors.As(err, &output):
		why = fmt.Sprintf("printing events: %v", output.error)
	case errors.As(err, &refused):
		return c.refused(p, s, refused.ending)
	default:
		why = err.Error()
	}
	say(p.Stderr, "gateway: %s; %s printed; %s\n", why, countEvents(s.printed), c.goOn(s.shown))
	return exitWith(code)
}

// refused says what to do about an ending for good.
func (c *subscribeCommand) refused(p *Program, s *subscription, e ending) error {
	say(p.Stderr, "gateway: %s: %s\n", c.Address, e.String())
	next := e.advice()
	switch {
	case e.code == codes.OutOfRange && c.Group != "":
		next = "the group has a new place; to go on: " + shellLine(c.words("")...)
	case e.code == codes.OutOfRange && e.metadata[earliestCursor] != "":
		next = "to go on with the oldest events that Kafka has: " + shellLine(c.words(e.metadata[earliestCursor])...)
	case e.code == codes.OutOfRange:
		next = "begin with what Kafka still has: --since earliest"
	case e.reason == "INVALID_CURSOR":
		next = "a cursor goes with the topic and the gateway that it came from; begin with --since instead"
	case e.reason == "GROUP_UNUSABLE":
		next = "take another --group, or tell the gateway's operator"
	}
	say(p.Stderr, "gateway: %s\n", next)
	if s.printed > 0 || s.shown != c.Cursor {
		say(p.Stderr, "gateway: %s printed; %s\n", countEvents(s.printed), c.goOn(s.shown))
	}
	return exitWith(e.exitCode())
}

// goOn says how to go on behind a cursor.
func (c *subscribeCommand) goOn(cursor string) string {
	switch {
	case c.Group != "":
		return "the group goes on with: " + shellLine(c.words("")...)
	case cursor == "":
		return "there was no cursor yet to go on from"
	}
	return "to go on: " + shellLine(c.words(cursor)...)
}

// words are the command with all its flags, beginning at a cursor, or as it was when there is none: a group that has not begun
// yet, or that Kafka has forgotten, begins where the start says.
func (c *subscribeCommand) words(cursor string) []string {
	words := []string{"gateway", "subscribe"}
	add := func(flag, value string) { words = append(words, flagWords(flag, value)...) }
	if c.Address != defaultAddress {
		add("--address", c.Address)
	}
	for _, t := range c.Type {
		add("--type", t)
	}
	for _, source := range c.Source {
		add("--source", source)
	}
	if c.Filter != "" {
		add("--filter", c.Filter)
	}
	if c.Group != "" {
		add("--group", c.Group)
	}
	if c.UntilIdle > 0 {
		add("--until-idle", c.UntilIdle.String())
	}
	if c.Limit > 0 {
		add("--limit", strconv.FormatInt(c.Limit, 10))
	}
	switch {
	case c.JSON:
		words = append(words, "--json")
	case c.Text:
		words = append(words, "--text")
	}
	switch {
	case cursor != "":
		words = append(words, "--cursor="+cursor) // in one word, as each event's may begin with a dash
	case c.Since.earliest:
		add("--since", "earliest")
	case c.Since.given():
		add("--since", stamp(c.Since.Time))
	}
	return words
}
