package cli

// How one letter is sent: by a unary call, the next one of its key only when
// it is settled. A stream could not hold the later ones of a key back that are
// already on their way when the gateway refuses an earlier one for now.
//
//	acknowledged, filtered, duplicate                       settled
//	refused for what it is (and a new dead letter, mostly)  settled
//	refused for now (the answer has a retry delay)          sent again when the delay is over, until --timeout
//	refused for another cause, unknown, no answer           not settled
//	after what is not settled, the later ones of its key    held back

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/event-gateway/event-gateway/kafka"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// redriver is one caller. It belongs to its goroutine, but for the counts.
type redriver struct {
	*caller
	run   *redrive
	queue chan kafka.Letter
	// held are the keys with a letter that is not settled.
	held map[string]bool

	heldBack, notSent, buried atomic.Int64
}

// queuedLetters is how far the reader may be ahead of a caller; letters may be as large as a message.
const queuedLetters = 4

func newRedriver(r *redrive, s *stream) *redriver {
	return &redriver{caller: newCaller(s), run: r, queue: make(chan kafka.Letter, queuedLetters), held: map[string]bool{}}
}

// work sends letters until there are no more.
func (d *redriver) work(ctx context.Context) {
	for l := range d.queue {
		key := l.Event.PartitionKey
		switch {
		case d.stop.Err() != nil || ctx.Err() != nil:
			d.notSent.Add(1)
		case d.held[key]:
			d.heldBack.Add(1)
		case !d.send(ctx, &l) && key != "":
			d.held[key] = true
		}
	}
}

// redriveFrame is the request that sends a letter's bytes again. An event that was sent without an id keeps the one
// that its client was told: with a new one at each redrive, nobody could tell that two are the same event.
func redriveFrame(l *kafka.Letter) []byte {
	raw := l.Encoded()
	if l.Event.Id == "" && l.ID != "" {
		raw = protowire.AppendString(protowire.AppendTag(slices.Clip(raw), 1, protowire.BytesType), l.ID)
	}
	frame := protowire.AppendTag(make([]byte, 0, len(raw)+8), 1, protowire.BytesType)
	return protowire.AppendBytes(frame, raw)
}

// send sends the letter and books what became of it; false: it is not settled.
func (d *redriver) send(ctx context.Context, l *kafka.Letter) (settled bool) {
	p := pending{events: 1, buffer: mem.SliceBuffer(redriveFrame(l))}
	f := d.deliver(ctx, p)
	at := letterAt{l.Partition, l.Offset}
	switch {
	case !f.sent:
		d.notSent.Add(1)
		return false
	case d.tally.succeed(f.outcome):
	case f.forGood:
		d.tally.fail(f.verdict)
		again := "refused again"
		if f.buried {
			d.buried.Add(1)
			again = "refused again, and a new dead letter"
		}
		d.run.name("%v is %s: %s: %s", at, again, cell(string(f.reason), 40), cell(f.message, 200))
	default:
		d.tally.fail(f.verdict)
		d.run.name("%v is not settled: %s", at, f.explain())
		return false
	}
	d.run.settled.settle(at)
	return true
}

// fate is what became of a letter.
type fate struct {
	verdict
	// sent: it was, at least once. forGood: the gateway has refused it for what it is. buried: and has it as a new
	// dead letter.
	sent, forGood, buried bool
	message               string
}

func (f *fate) explain() string {
	if f.outcome == gatewayv1.Outcome_OUTCOME_UNSPECIFIED {
		return "no answer came, it may be stored"
	}
	return cell(string(f.reason), 40) + ": " + cell(f.message, 200)
}

// deliver calls until there is an answer that is worth booking, or none is to be had.
func (d *redriver) deliver(ctx context.Context, p pending) (f fate) {
	for first := d.now(); ; {
		if !d.admitted(ctx) {
			return f
		}
		err := d.call(ctx, p)
		if err == nil {
			d.note(&f, fate{verdict: d.answer.verdict})
			d.answeredAt(d.pace.free)
			return f
		}
		if d.peer.Addr == nil { // it never left
			d.silent = true
			d.failure(err)
			if !d.pause(ctx, err) {
				return f
			}
			continue
		}
		result, byGateway := resultOf(err)
		d.note(&f, fateOf(result, byGateway, err))
		if !byGateway {
			d.silent = true
			d.failure(err)
			d.pause(ctx, err)
			return f
		}
		d.answeredAt(d.pace.free)
		forNow := f.outcome == gatewayv1.Outcome_OUTCOME_REFUSED && f.retry > 0
		if !forNow || d.now()+int64(f.retry) > first+int64(d.timeout) || !d.wait(ctx, f.retry) {
			return f
		}
	}
}

// fateOf is what the status of a call says of its event. Refusals that are not about the event (the topic, the
// gateway's or the caller's rights) leave it as it is.
func fateOf(result *gatewayv1.IngestEventResponse, byGateway bool, err error) fate {
	f := fate{message: result.GetErrorMessage(), verdict: verdict{outcome: result.GetOutcome(),
		reason: []byte(result.GetReason()), retry: result.GetRetryDelay().AsDuration()}}
	if byGateway && f.outcome == gatewayv1.Outcome_OUTCOME_REFUSED {
		f.buried = isBuried(err)
		f.forGood = f.buried || f.retry == 0 && codes.Code(result.GetCode()) == codes.InvalidArgument
	}
	return f
}

// note books a sending, and keeps what came of it.
func (d *redriver) note(f *fate, last fate) {
	if f.sent {
		d.tally.resent.Add(1)
	} else {
		d.tally.sent.Add(1)
	}
	*f = last
	f.sent = true
}

// admitted waits for the turn that --rate gives; false: it is time to stop.
func (d *redriver) admitted(ctx context.Context) bool {
	if d.run.limiter != nil && d.run.limiter.Wait(d.stop) != nil {
		return false
	}
	return d.stop.Err() == nil && ctx.Err() == nil
}

func (d *redriver) wait(ctx context.Context, delay time.Duration) bool {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.stop.Done():
	case <-ctx.Done():
	}
	return false
}

// isBuried reports whether the status of a call says that its event is a new dead letter.
func isBuried(err error) bool {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == errorDomain {
			return info.GetMetadata()["dead_lettered"] == "true"
		}
	}
	return false
}

// redriveTotals is what a redrive came to; its JSON form is the output of --json.
type redriveTotals struct {
	Sent         int64 `json:"sent"`
	Acknowledged int64 `json:"acknowledged"`
	Filtered     int64 `json:"filtered"`
	Duplicate    int64 `json:"duplicate"`
	// Refused counts what was refused again, for good or for longer than --timeout; DeadLettered the part of it that
	// is in the topic again, as new letters.
	Refused      int64 `json:"refused"`
	DeadLettered int64 `json:"dead_lettered"`
	Unknown      int64 `json:"unknown"`
	// NoAnswer counts events whose call broke before the answer: they may be stored.
	NoAnswer int64 `json:"no_answer"`
	// HeldBack counts events that were not sent because an earlier one of their key is not settled.
	HeldBack int64 `json:"held_back"`
	NotSent  int64 `json:"not_sent"`
	// StoppedEarly: there were further letters, which are not in NotSent.
	StoppedEarly bool `json:"stopped_early,omitempty"`
	// Skipped counts records that are no events.
	Skipped int64 `json:"skipped"`
	Resent  int64 `json:"resent"`

	RefusedReasons map[string]int64 `json:"refused_reasons,omitempty"`
	UnknownReasons map[string]int64 `json:"unknown_reasons,omitempty"`
	// Error is the last reason for which a call broke.
	Error string `json:"error,omitempty"`
	// Next is where the next redrive goes on, by partition; absent when letters were chosen.
	Next    []string `json:"next,omitempty"`
	Seconds float64  `json:"seconds"`
}

func (r *redrive) totals() *redriveTotals {
	streams := r.streams()
	all := sum(streams)
	all.finish(streams, time.Since(r.job.begin), 0)
	t := &redriveTotals{Sent: all.Sent, Acknowledged: all.Acknowledged, Filtered: all.Filtered, Duplicate: all.Duplicate,
		Refused: all.Refused, Unknown: all.Unknown, NoAnswer: all.NoAnswer, Skipped: r.skipped, Resent: all.Resent, StoppedEarly: r.stopped,
		RefusedReasons: all.RefusedReasons, UnknownReasons: all.UnknownReasons, Seconds: all.Seconds}
	for _, d := range r.callers {
		t.DeadLettered += d.buried.Load()
		t.HeldBack += d.heldBack.Load()
		t.NotSent += d.notSent.Load()
	}
	if r.broken != nil {
		t.Error = describe(r.broken)
	}
	if r.command.continues() && r.commitFailure == nil {
		positions := r.settled.positions()
		for _, partition := range slices.Sorted(maps.Keys(positions)) {
			t.Next = append(t.Next, letterAt{partition, positions[partition].Next}.String())
		}
	}
	return t
}

// good reports whether every letter there was to send succeeded.
func (t *redriveTotals) good() bool {
	return t.Acknowledged+t.Filtered+t.Duplicate == t.Sent && t.NotSent == 0 && t.HeldBack == 0 && t.Skipped == 0 && !t.StoppedEarly
}

// writeText prints the totals for people.
func (t *redriveTotals) writeText(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, n int64, always bool, note string) {
		if n != 0 || always {
			say(tab, "%s\t%15s\t%s\n", name, grouped(n), note)
		}
	}
	line("sent", t.Sent, true, fmt.Sprintf("in %.2f s", t.Seconds))
	line("acknowledged", t.Acknowledged, true, "")
	line("filtered", t.Filtered, false, "")
	line("duplicate", t.Duplicate, false, "")
	note := ""
	if t.DeadLettered > 0 {
		note = grouped(t.DeadLettered) + " of them are new letters at the end of the topic"
	}
	line("refused again", t.Refused, true, note)
	reasons(tab, t.RefusedReasons)
	line("unknown", t.Unknown, true, "")
	reasons(tab, t.UnknownReasons)
	line("no answer", t.NoAnswer, false, "may be stored: "+t.Error)
	line("held back", t.HeldBack, false, "an earlier event of their key is not settled")
	line("not sent", t.NotSent, false, t.Error)
	line("sent again", t.Resent, false, "after a refusal for now")
	line("skipped", t.Skipped, false, "no events")
	if err := tab.Flush(); err != nil {
		return err
	}
	if t.StoppedEarly {
		say(w, "stopped early\n")
	}
	if len(t.Next) > 0 {
		say(w, "the next redrive goes on at %s\n", joinSome(t.Next))
	}
	return nil
}

// joinSome lists the first few of many.
func joinSome(list []string) string {
	const most = 12
	text := ""
	for i, s := range list {
		if i == most {
			return text + fmt.Sprintf(" and %d more", len(list)-most)
		}
		if i > 0 {
			text += ", "
		}
		text += s
	}
	return text
}
