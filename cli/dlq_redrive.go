package cli

// gateway dlq redrive: the command line, which letters it sends, and the run.
// How one letter is sent is in redrive.go. The flow:
//
//	topic -> choose -> a queue for each caller, by partition key -> callers -> settled offsets -> the group's position

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/event-gateway/event-gateway/kafka"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

type dlqRedriveCommand struct {
	Letters []letterAt `arg:"" optional:"" name:"PARTITION/OFFSET" help:"The letters to send (default: all that no redrive has settled yet)."`
	letterFilter
	Limit     int64 `group:"letters" placeholder:"N" help:"Send only the first N of them."`
	FromStart bool  `group:"letters" help:"Begin again at the oldest letter, and not where the last redrive ended."`

	DryRun  bool    `group:"sending" help:"Print what would be sent, and send nothing."`
	Rate    float64 `group:"sending" placeholder:"N" help:"Send at most N events a second (default: as fast as answers come)."`
	Callers int     `group:"sending" default:"8" placeholder:"N" help:"Events on their way at once; those of one key go one after the other (default ${default})."`

	Address  string        `group:"gateway" default:"localhost:50051" placeholder:"HOST:PORT" help:"The gateway (default ${default})."`
	Timeout  time.Duration `group:"gateway" default:"30s" placeholder:"TIME" help:"Deadline of a call, and how long an event is sent again that the gateway refuses for now; give up when nothing is answered for TIME (default ${default})."`
	JSON     bool          `group:"gateway" name:"json" help:"Print the totals as one JSON object; with --dry-run the letters as JSON lines."`
	Progress bool          `group:"gateway" help:"Print a line of progress each second, also when stderr is no terminal."`

	letterPlace
}

func (dlqRedriveCommand) Help() string {
	return `Sends the events again, byte by byte as they were sent first, through the gateway's API: they pass every stage anew. Say first what has changed, a rule or a schema: an event that is refused again is a new letter at the end of the topic. Letters that are no event are skipped and named; they can never pass.

Without letters or filters it goes on where the last redrive ended. That position is committed for the consumer group KAFKA_GROUP_ID.dlq as answers come, so a redrive that was interrupted sends nothing again that was answered. It ends where the topic ended when it began. With letters or filters it sends what is chosen, and leaves the position alone.

Events with the same key stay in order: each is sent when the one before it is settled, that is acknowledged or refused for good. One that the gateway refuses for now (rate limit, overload, Kafka away) is sent again when the answer says so. One whose outcome stays unknown is not settled: it may be stored. The later ones of its key are held back, and the next redrive begins with it.

Exit codes: 0 every event was acknowledged (or filtered, or a duplicate); 1 not so, or stopped early; 2 wrong usage; 130 a second Ctrl-C. The first Ctrl-C stops sending, waits for the answers and prints the totals.

Examples:
  gateway dlq redrive --dry-run
  gateway dlq redrive
  gateway dlq redrive --reason SCHEMA_VIOLATION --type 'order.*' --since 24h --rate 100
  gateway dlq redrive 0/12 2/7
  gateway dlq redrive --from-start --limit 10`
}

// Validate is called by kong after parsing.
func (c *dlqRedriveCommand) Validate() error {
	switch {
	case len(c.Letters) > 0 && !c.empty():
		return errors.New("PARTITION/OFFSET and filters exclude each other")
	case c.FromStart && !c.continues():
		return errors.New("--from-start is for a redrive of everything; with letters or filters none begins elsewhere than at the start")
	case c.Limit < 0:
		return fmt.Errorf("--limit=%d: more than 0", c.Limit)
	case c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0):
		return fmt.Errorf("--rate=%v: more than 0", c.Rate)
	case c.Callers < 1 || c.Callers > 1000:
		return fmt.Errorf("--callers=%d: 1 to 1000", c.Callers)
	case c.Timeout < minTimeout:
		return fmt.Errorf("--timeout=%v: %v or more", c.Timeout, minTimeout)
	}
	return nil
}

// continues: the redrive goes on where the last one ended, and moves the position.
func (c *dlqRedriveCommand) continues() bool { return len(c.Letters) == 0 && c.empty() }

// Run sends, waits and reports.
func (c *dlqRedriveCommand) Run(p *Program) error {
	on := listenForInterrupts()
	defer on.close()
	return c.redrive(on.abort, on.stop, p)
}

// kafkaTimeout bounds the wait for each of Kafka's answers.
const kafkaTimeout = 10 * time.Second

func (c *dlqRedriveCommand) redrive(abort, stop context.Context, p *Program) error {
	letters, err := c.open(stop, p, min(c.Timeout, kafkaTimeout))
	if err != nil {
		return err
	}
	defer letters.Close()
	r := &redrive{command: c, program: p, letters: letters}
	if err := r.plan(stop); err != nil {
		return err
	}
	if c.DryRun {
		return r.rehearse(stop)
	}
	stop, giveUp := context.WithCancel(stop)
	defer giveUp()
	conn, err := grpc.NewClient(c.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), grpc.WithUserAgent("gateway-dlq/"+p.Version))
	if err != nil {
		return fmt.Errorf("--address=%s: %w", c.Address, err)
	}
	defer func() { _ = conn.Close() }()
	r.start(stop, giveUp, conn)
	r.run(abort)
	if abort.Err() != nil {
		return exitError{130, "stopped by a second signal; events that were being sent may be stored"}
	}
	return r.report()
}

// redrive is one run of the command.
type redrive struct {
	command *dlqRedriveCommand
	program *Program
	letters *kafka.Letters
	spans   []kafka.Span
	settled *settledLetters
	job     *job
	callers []*redriver
	limiter *rate.Limiter // nil: no limit
	seed    maphash.Seed
	turn    int

	// Written by the goroutine that reads.

	chosen, skipped int64
	// stopped: reading ended before everything was read, because the run is to stop.
	stopped bool
	// failure is why reading ended early.
	failure error

	mu     sync.Mutex // guards what follows
	named  int
	broken error
	// commitFailure is why the last commit failed; nil after one that did not.
	commitFailure error
}

// plan finds out where to begin.
func (r *redrive) plan(ctx context.Context) error {
	c := r.command
	spans, err := c.spans(ctx, r.letters)
	if err != nil {
		return err
	}
	r.spans, r.settled = spans, newSettledLetters()
	for _, at := range c.Letters {
		if err := checkAt(r.letters, at); err != nil {
			return err
		}
	}
	if !c.continues() {
		return nil
	}
	return r.goOn(ctx)
}

// goOn sets the spans and what is settled by what the redrive before has committed.
func (r *redrive) goOn(ctx context.Context) (err error) {
	c := r.command
	positions := map[int32]kafka.Position{}
	if !c.FromStart {
		if positions, err = r.letters.Positions(ctx); err != nil {
			return failed("%v", err)
		}
	}
	if len(positions) == 0 && !c.FromStart {
		say(r.program.Stderr, "gateway: no redrive has committed a position: beginning at the oldest letter\n")
	}
	r.spans = slices.Clone(r.spans)
	for i := range r.spans {
		span := &r.spans[i]
		old, known := positions[span.Partition]
		if known && old.Next > span.End {
			say(r.program.Stderr, "gateway: the position %d/%d is behind the end of the topic, which must have been made anew: beginning at its oldest letter\n",
				span.Partition, old.Next)
			known = false
		}
		if known {
			span.Start = max(span.Start, old.Next)
		} else {
			old = kafka.Position{}
		}
		r.settled.begin(*span, old)
	}
	return nil
}

// errEnough ends the reading: --limit is reached.
var errEnough = errors.New("enough")

// read calls send for every letter that is to be sent, in the order of the topic.
func (r *redrive) read(ctx context.Context, send func(kafka.Letter) error) error {
	each := func(l kafka.Letter, problem error) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return r.choose(l, problem, send)
	}
	if len(r.command.Letters) == 0 {
		err := r.letters.Read(ctx, r.spans, each)
		if err == nil {
			r.settled.end(r.spans)
		}
		return err
	}
	places := slices.Clone(r.command.Letters)
	slices.SortFunc(places, func(a, b letterAt) int {
		if a.partition != b.partition {
			return int(a.partition) - int(b.partition)
		}
		return int(min(max(a.offset-b.offset, -1), 1))
	})
	for _, at := range slices.Compact(places) {
		if err := readAt(ctx, r.letters, at, each); err != nil {
			return err
		}
	}
	return nil
}

// choose decides about one record.
func (r *redrive) choose(l kafka.Letter, problem error, send func(kafka.Letter) error) error {
	c := r.command
	at := letterAt{l.Partition, l.Offset}
	if c.continues() && r.settled.has(at) || !c.matches(&l, problem != nil) {
		return nil
	}
	if c.Limit > 0 && r.chosen >= c.Limit {
		return errEnough
	}
	r.settled.open(at)
	switch {
	case problem != nil:
		r.skipped++
		r.name("%v is skipped: it is no dead letter", at)
	case l.Event == nil:
		r.skipped++
		r.name("%v is skipped: it is no event, and can never pass (%s: %s)", at, cell(l.Reason, 40), cell(l.Message, 120))
	default:
		r.chosen++
		return send(l)
	}
	r.settled.settle(at)
	return nil
}

// maxNamed is how many letters are named on stderr.
const maxNamed = 20

// name tells about one letter, as long as there are not too many.
func (r *redrive) name(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.named++; r.named <= maxNamed {
		say(r.program.Stderr, "gateway: "+format+"\n", args...)
	}
	if r.named == maxNamed+1 {
		say(r.program.Stderr, "gateway: more letters follow that are not named\n")
	}
}

// rehearse prints what would be sent.
func (r *redrive) rehearse(ctx context.Context) error {
	p := r.program
	out := rowPrinter(p.Stdout, r.command.JSON || !isTerminal(p.Stdout))
	err := r.read(ctx, func(l kafka.Letter) error { return out.print(rowOf(&l, nil)) })
	if flushed := out.flush(); err == nil || errors.Is(err, errEnough) {
		err = flushed
	}
	if err != nil {
		return failed("%v", err)
	}
	say(p.Stderr, "%s events would be sent to %s, %s letters skipped\n", grouped(r.chosen), r.command.Address, grouped(r.skipped))
	return nil
}

// start makes the callers.
func (r *redrive) start(stop context.Context, giveUp func(), conn *grpc.ClientConn) {
	c := r.command
	r.seed = maphash.MakeSeed()
	if c.Rate > 0 {
		r.limiter = rate.NewLimiter(rate.Limit(c.Rate), 1)
	}
	r.job = &job{method: gatewayv1.EventGateway_IngestEvent_FullMethodName, batch: 1, single: true, window: 1,
		timeout: c.Timeout, begin: time.Now(), stop: stop, giveUp: giveUp, failure: r.failed}
	for range c.Callers {
		r.callers = append(r.callers, newRedriver(r, newStream(r.job, conn, nil)))
	}
}

// failed hears why a call broke.
func (r *redrive) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.broken == nil {
		say(r.program.Stderr, "gateway: %s: %s\n", r.command.Address, describe(err))
	}
	r.broken = err
}

// run reads and sends until everything is answered, or until it must give up.
func (r *redrive) run(abort context.Context) {
	p := r.program
	finished := make(chan struct{})
	var group, beside sync.WaitGroup
	if live := isTerminal(p.Stderr); live || r.command.Progress {
		beside.Go(func() { progress(p.Stderr, live, 0, r.streams(), finished) })
	}
	if r.command.continues() {
		beside.Go(func() { r.commitPeriodically(finished) })
	}
	for _, caller := range r.callers {
		group.Go(func() { caller.work(abort) })
	}
	err := r.read(r.job.stop, r.deal)
	switch {
	case err == nil || errors.Is(err, errEnough):
	case r.job.stop.Err() != nil:
		r.stopped = true
	default:
		r.failure = err
	}
	for _, caller := range r.callers {
		close(caller.queue)
	}
	group.Wait()
	close(finished)
	beside.Wait()
	if r.command.continues() {
		last := context.Background()
		if abort.Err() != nil { // nobody waits any more for a Kafka that is away
			var cancel func()
			last, cancel = context.WithTimeout(last, lastCommit)
			defer cancel()
		}
		r.commit(last)
	}
}

func (r *redrive) streams() []*stream {
	streams := make([]*stream, len(r.callers))
	for i, caller := range r.callers {
		streams[i] = caller.stream
	}
	return streams
}

// deal gives a letter to the caller of its key; those without go round.
func (r *redrive) deal(l kafka.Letter) error {
	r.turn++
	i := r.turn % len(r.callers)
	if key := l.Event.PartitionKey; key != "" {
		i = int(maphash.String(r.seed, key) % uint64(len(r.callers)))
	}
	select {
	case r.callers[i].queue <- l:
		return nil
	case <-r.job.stop.Done():
		return r.job.stop.Err()
	}
}

// lastCommit bounds the last commit after a second signal.
const lastCommit = time.Second

// commitPeriod is how often the position is committed: what a redrive that is killed sends again.
const commitPeriod = time.Second

func (r *redrive) commitPeriodically(finished <-chan struct{}) {
	ticker := time.NewTicker(commitPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-finished:
			return
		case <-ticker.C:
			r.commit(context.Background())
		}
	}
}

// commit stores what has changed of the position.
func (r *redrive) commit(ctx context.Context) {
	positions := r.settled.changed()
	if len(positions) == 0 {
		return
	}
	err := r.letters.Commit(ctx, positions)
	if err != nil {
		r.settled.touch(positions)
	}
	r.mu.Lock()
	r.commitFailure = err
	r.mu.Unlock()
}

// report prints what the run came to.
func (r *redrive) report() error {
	t := r.totals()
	p := r.program
	var err error
	if r.command.JSON {
		err = json.NewEncoder(p.Stdout).Encode(t)
	} else {
		err = t.writeText(p.Stdout)
	}
	switch {
	case err != nil:
		return failed("printing the totals: %v", err)
	case r.failure != nil:
		return failed("%s", strings.TrimSpace(r.failure.Error()))
	case r.commitFailure != nil:
		return failed("%v; the next redrive begins where the last commit was, and may send letters again that were acknowledged now", r.commitFailure)
	case !t.good() || r.job.stop.Err() != nil:
		return exitWith(exitFailed)
	}
	return nil
}
