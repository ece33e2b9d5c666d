package cli

// gateway replay: the command line, the request, and what is said at the end.
// The replay itself is in replay_run.go.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

type replayCommand struct {
	From   sinceFlag `group:"which" required:"" placeholder:"TIME" help:"The first time of receipt: a duration back from now (2h) or a time (2026-01-02T15:04:05Z)."`
	To     sinceFlag `group:"which" placeholder:"TIME" help:"The end, exclusive (default: now)."`
	Type   []string  `group:"which" placeholder:"TYPE" help:"Only events of this type; order.* means all that begin with order. May be repeated."`
	Filter string    `group:"which" placeholder:"CEL" help:"Only events for which this is true, for example subject == \"42\"."`

	Rate           int    `group:"where" placeholder:"N" help:"At most N events a second (default: as many as the gateway allows, REPLAY_RATE_LIMIT)."`
	Republish      string `group:"where" placeholder:"TOPIC" help:"Send the events through the gateway again, into TOPIC, instead of printing them."`
	AllowSameTopic bool   `group:"where" help:"Allow TOPIC to be the topic that is read, which doubles its events."`

	readingGateway
	Progress bool `group:"gateway" help:"Print a line of progress every 10 s, also when stderr is a terminal."`
}

func (replayCommand) Help() string {
	return `Reads the events again that the gateway received in a range of time, and prints them as JSON lines, in the form that publish reads. With --republish they go through the rules of the gateway again and into another topic, for example after a rule was mended, and nothing is printed but progress.

A replay that breaks off goes on from the time up to which everything was done. Of the events after that time some have been printed before: they come again, and are left out when all of the event is the same as one of the last million that were printed. So no event is left out; and none comes twice, unless more than that lie between. With --republish, events after that time may be in TOPIC twice, with the same id.

Ctrl-C ends it, and prints the command that goes on. Exit codes: 0 the range was read to its end; 1 not so; 2 wrong usage; 3 the gateway refuses the request; 4 Kafka no longer has all events of the range; 130 a second Ctrl-C.

Examples:
  gateway replay --from 2h > events.jsonl
  gateway replay --from 2026-01-02T15:00:00Z --to 2026-01-02T16:00:00Z --type 'order.*'
  gateway replay --from 24h --filter 'source == "/shop"' --republish orders-fixed --rate 500`
}

// Validate is called by kong after parsing.
func (c *replayCommand) Validate() error {
	switch {
	case c.From.Unix() < 0 || !c.To.IsZero() && !c.From.Before(c.To.Time):
		return fmt.Errorf("--from=%s must be before --to, and not before 1970", c.From.UTC().Format(time.RFC3339Nano))
	case c.From.After(time.Now().Add(time.Hour)): // a clock may be wrong, but not by that much
		return fmt.Errorf("--from=%s has not been yet", c.From.UTC().Format(time.RFC3339Nano))
	case c.Rate < 0 || c.Rate > math.MaxInt32:
		return fmt.Errorf("--rate=%d: 1 to %d", c.Rate, math.MaxInt32)
	case c.AllowSameTopic && c.Republish == "":
		return errors.New("--allow-same-topic is for --republish")
	case c.Timeout < 0:
		return errors.New("--timeout must be more than 0")
	}
	return nil
}

// request asks for the range from a time on.
func (c *replayCommand) request(from time.Time) *gatewayv1.ReplayRequest {
	r := &gatewayv1.ReplayRequest{Start: timestamppb.New(from), EventTypes: c.Type, Filter: c.Filter,
		MaxEventsPerSecond: int32(c.Rate), RepublishTopic: c.Republish, AllowSameTopic: c.AllowSameTopic}
	if !c.To.IsZero() {
		r.End = timestamppb.New(c.To.Time)
	}
	return r
}

// Run replays and reports.
func (c *replayCommand) Run(p *Program) error {
	on := listenForInterrupts()
	defer on.close()
	return untilAbort(on.abort, func() error { return c.replay(on.stop, p) })
}

func (c *replayCommand) replay(stop context.Context, p *Program) error {
	conn, err := c.dial("replay", p)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	r := newReplayRun(c, conn, p)
	return c.report(p, r, r.run(stop))
}

// report says how it ended, and how to go on.
func (c *replayCommand) report(p *Program, r *replayRun, err error) error {
	r.bar.clear()
	var output outputError
	var refused refusedError
	code, why := exitFailed, ""
	switch {
	case err == nil:
		say(p.Stderr, "%s\n", r.totals("done"))
		if t := r.total(); t.filtered+t.refused > 0 {
			say(p.Stderr, "gateway: %s\n", c.missing(t, r.lastRefusal))
			return exitWith(exitFailed)
		}
		return nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, errNobodyReads):
		return nil // whoever read it has had enough
	case errors.Is(err, context.Canceled):
		why = "stopped"
	case errors.As(err, &output):
		why = fmt.Sprintf("printing events: %v", output.error)
	case errors.As(err, &refused):
		code, why = refused.exitCode(), fmt.Sprintf("%s: %s", c.Address, refused.String())
	default:
		why = err.Error()
	}
	say(p.Stderr, "gateway: %s\n", why)
	if code != exitFailed {
		say(p.Stderr, "gateway: %s\n", c.nextStep(&refused.ending))
	}
	if r.begun {
		say(p.Stderr, "%s\n", r.totals("so far"))
	}
	if r.begun && code == exitFailed {
		say(p.Stderr, "gateway: everything before %s is done; to go on: %s\n", stamp(r.position), shellLine(c.words(r.position)...))
	}
	return exitWith(code)
}

// missing says which events are not in the topic.
func (c *replayCommand) missing(t counts, lastRefusal string) string {
	line := fmt.Sprintf("%s are not in %s: rules have filtered %s, and %s were refused", countEvents(t.filtered+t.refused), c.Republish, grouped(t.filtered), grouped(t.refused))
	if lastRefusal != "" {
		line += ", the last one " + printable(lastRefusal)
	}
	return line
}

// nextStep is what to do after an ending for good.
func (c *replayCommand) nextStep(e *ending) string {
	switch {
	case e.code == codes.OutOfRange:
		return "begin later, with what Kafka still has: a later --from"
	case e.reason == "TOPIC_NOT_ALLOWED":
		return "take another --republish, or ask the gateway's operator to add it to KAFKA_TOPICS_ALLOWED"
	}
	return e.advice()
}

// stamp is a time of receipt in full.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// words are the command with all its flags, beginning at a time.
func (c *replayCommand) words(from time.Time) []string {
	words := []string{"gateway", "replay"}
	add := func(flag, value string) { words = append(words, flagWords(flag, value)...) }
	if c.Address != defaultAddress {
		add("--address", c.Address)
	}
	add("--from", stamp(from))
	if !c.To.IsZero() {
		add("--to", stamp(c.To.Time))
	}
	for _, t := range c.Type {
		add("--type", t)
	}
	if c.Filter != "" {
		add("--filter", c.Filter)
	}
	if c.Rate > 0 {
		add("--rate", strconv.Itoa(c.Rate))
	}
	if c.Republish != "" {
		add("--republish", c.Republish)
	}
	if c.AllowSameTopic {
		words = append(words, "--allow-same-topic")
	}
	return words
}
