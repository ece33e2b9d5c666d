package cli

// gateway publish: the command line, and the run of a job on its streams.

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

type publishCommand struct {
	Type        string            `group:"event" placeholder:"TYPE" help:"What happened, for example order.created."`
	Source      string            `group:"event" placeholder:"URI" help:"Where it happened, for example /shop/checkout."`
	Subject     string            `group:"event" placeholder:"TEXT" help:"What it is about."`
	Key         string            `group:"event" placeholder:"KEY" help:"Partition key: events with the same key stay in order."`
	ID          string            `group:"event" name:"id" placeholder:"ID" help:"The event's id (default: the gateway assigns one)."`
	Data        string            `group:"event" placeholder:"TEXT" help:"The payload."`
	DataFile    string            `group:"event" placeholder:"FILE" help:"Take the payload from FILE."`
	ContentType string            `group:"event" placeholder:"TYPE" help:"Media type of the payload, for example application/json."`
	Metadata    map[string]string `group:"event" mapsep:"none" placeholder:"NAME=VALUE" help:"Further attribute; may be repeated."`

	Count    int64         `group:"load" placeholder:"N" help:"Generate N events."`
	Duration time.Duration `group:"load" placeholder:"TIME" help:"Generate events for TIME, for example 30s."`
	Keys     int           `group:"load" placeholder:"N" help:"Give generated events N different keys in turn (default: no key, or --key)."`
	Size     int           `group:"load" default:"256" placeholder:"BYTES" help:"Payload of a generated event (default ${default})."`

	Batch       int     `group:"sending" placeholder:"N" help:"Send up to N events in a message (default: one event a message)."`
	Rate        float64 `group:"sending" placeholder:"N" help:"Send N events a second, all streams together, on a fixed schedule (default: as fast as answers come)."`
	Streams     int     `group:"sending" default:"1" placeholder:"N" help:"Send on N streams at once (default ${default})."`
	Connections int     `group:"sending" placeholder:"N" help:"Spread the streams over N connections (default: one for every 100 streams)."`
	Unary       bool    `group:"sending" help:"Send by unary calls instead of streams: --streams is then the number of callers, each with one call in flight."`
	Window      int     `group:"sending" placeholder:"N" help:"Unanswered messages a stream may have (default 256; with --batch as many as hold 2,000 events, at least 4)."`
	Resend      bool    `group:"sending" help:"Send refused and unknown events again after the delay that the answer names, for up to --timeout. An event sent again comes after later ones of its key that were acknowledged meanwhile, and an unknown one may be stored twice."`

	Address  string        `group:"gateway" default:"localhost:50051" placeholder:"HOST:PORT" help:"The gateway (default ${default})."`
	Timeout  time.Duration `group:"gateway" default:"30s" placeholder:"TIME" help:"Give up when nothing is answered for TIME, or no connection is made; with --unary also the deadline of a call (default ${default})."`
	JSON     bool          `group:"gateway" name:"json" help:"Print the totals as one JSON object."`
	Progress bool          `group:"gateway" help:"Print a line of progress each second, also when stderr is no terminal."`
}

func (publishCommand) Help() string {
	return `Sends events through the streaming API, or by unary calls (--unary), and prints what became of them. What is sent is one of:

  - one event from flags, when --type is given and neither --count nor --duration
  - generated events, with --count or --duration; --type, --source, --key ... then apply to all of them
  - otherwise JSON lines from stdin, one event a line: the proto JSON of event.v1.Event, with one of "data" (base64), "data_text" (a string) or "data_json" (any JSON value). Events with the same partitionKey stay in order.

On a fixed schedule (--rate) latency counts from the time at which an event was due, so that waiting for a slow gateway is part of it: also when a full window, or a unary caller's one call in flight, keeps an event from being sent in time. How late the generator was by itself is printed beside it, when it is more than 1 ms, and always as late_ms with --json.

Exit codes: 0 every event was acknowledged (or filtered, or a duplicate); 1 not so, or stopped early; 2 wrong usage; 130 a second Ctrl-C. The first Ctrl-C stops sending, waits for the answers and prints the totals.

Examples:
  gateway publish --type order.created --source /shop --key 42 --data '{"total":10}' --content-type application/json
  echo '{"type":"order.paid","source":"/shop","partitionKey":"42","data_json":{"total":10}}' | gateway publish
  gateway publish --count 1000000 --batch 100 --streams 2 --keys 1000
  gateway publish --duration 30s --rate 5000 --json
  gateway publish --count 10000 --unary --streams 16`
}

// Validate is called by kong after parsing.
func (c *publishCommand) Validate() error {
	switch {
	case c.Count < 0 || c.Count >= int64(math.Pow10(idDigits)):
		return fmt.Errorf("--count=%d: 1 to 999,999,999,999", c.Count)
	case c.Count > 0 && c.Duration > 0:
		return errors.New("--count and --duration exclude each other")
	case c.Duration < 0 || c.Timeout <= 0:
		return errors.New("--duration and --timeout must be more than 0")
	case c.Data != "" && c.DataFile != "":
		return errors.New("--data and --data-file exclude each other")
	case c.generated() && (c.Data != "" || c.DataFile != "" || c.ID != ""):
		return errors.New("--data, --data-file and --id are for one event, not for generated ones")
	case !c.generated() && c.Keys != 0:
		return errors.New("--keys needs --count or --duration")
	case c.Keys != 0 && c.Key != "":
		return errors.New("--key and --keys exclude each other")
	case c.Keys < 0 || c.Keys >= int(math.Pow10(keyDigits)):
		return fmt.Errorf("--keys=%d: 1 to 99,999,999", c.Keys)
	case c.Size < 0 || c.Size > 16<<20:
		return fmt.Errorf("--size=%d: 0 to 16777216", c.Size)
	case c.Rate < 0 || math.IsNaN(c.Rate) || math.IsInf(c.Rate, 0):
		return fmt.Errorf("--rate=%v: more than 0", c.Rate)
	case c.Streams < 1 || c.Streams > 10000:
		return fmt.Errorf("--streams=%d: 1 to 10000", c.Streams)
	case c.Batch < 0 || c.Window < 0 || c.Connections < 0:
		return errors.New("--batch, --window and --connections must be more than 0")
	case c.Unary && c.Window != 0:
		return errors.New("--window is how many unanswered messages a stream may have; with --unary each caller has one call in flight: set the number of callers with --streams")
	case (c.Type == "") != (c.Source == "") && !c.generated():
		return errors.New("an event needs both --type and --source")
	case !c.generated() && c.Type == "" && (c.Data != "" || c.DataFile != "" || c.ID != "" || c.Key != ""):
		return errors.New("an event from flags needs --type and --source")
	}
	return nil
}

func (c *publishCommand) generated() bool { return c.Count > 0 || c.Duration > 0 }

// Run sends, waits and reports.
func (c *publishCommand) Run(p *Program) error {
	if !c.generated() && c.Type == "" && isTerminal(p.Stdin) {
		return errors.New("nothing to send: name --type and --source, or --count, or give JSON lines on stdin")
	}
	on := listenForInterrupts()
	defer on.close()
	if c.Duration > 0 {
		timer := time.AfterFunc(c.Duration, on.stopNow)
		defer timer.Stop()
	}
	return c.publish(on.abort, on.stop, p)
}

func (c *publishCommand) publish(abort, stop context.Context, p *Program) error {
	stop, giveUp := context.WithCancel(stop)
	defer giveUp()
	r, err := c.prepare(stop, p)
	if err != nil {
		return err
	}
	defer r.close()
	r.job.giveUp = giveUp
	finished := make(chan struct{})
	var group, printer sync.WaitGroup
	if live := isTerminal(p.Stderr); live || c.Progress {
		printer.Go(func() { progress(p.Stderr, live, c.Count, r.streams, finished) })
	}
	cpu := CPUTime()
	for _, s := range r.streams {
		group.Go(func() {
			if c.Unary {
				newCaller(s).run(abort)
			} else {
				s.run(abort)
			}
		})
	}
	group.Wait()
	took, cpu := time.Since(r.job.begin), CPUTime()-cpu
	close(finished)
	printer.Wait()
	if abort.Err() != nil {
		return exitError{130, "stopped by a second signal; events in flight may be stored"}
	}
	return c.report(p, r, took, cpu)
}

// publishRun is a prepared run.
type publishRun struct {
	job     *job
	streams []*stream
	conns   []*grpc.ClientConn
	single  *eventv1.Event
	answer  *gatewayv1.IngestEventResponse
	reading chan error // the line reader's end
	invalid atomic.Int64
	broken  atomic.Pointer[error]
}

func (r *publishRun) close() {
	for _, conn := range r.conns {
		_ = conn.Close()
	}
}

func (c *publishCommand) prepare(stop context.Context, p *Program) (*publishRun, error) {
	r := &publishRun{}
	sources, err := c.sources(stop, p, r)
	if err != nil {
		return nil, err
	}
	r.job = c.job(stop, r)
	r.job.failure = func(err error) {
		if r.broken.Swap(&err) == nil {
			say(p.Stderr, "gateway: %s: %s\n", c.Address, describe(err))
		}
	}
	connections := c.Connections
	if connections == 0 {
		connections = (len(sources) + 99) / 100
	}
	for range min(connections, len(sources)) {
		conn, err := grpc.NewClient(c.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDisableRetry(), // a retry buffer would hold on to every message
			grpc.WithUserAgent("gateway-publish/"+p.Version))
		if err != nil {
			return nil, fmt.Errorf("--address=%s: %w", c.Address, err)
		}
		r.conns = append(r.conns, conn)
	}
	for i, source := range sources {
		s := newStream(r.job, r.conns[i%len(r.conns)], source)
		if c.generated() { // else nobody knows how many events a message will have
			s.pace.ahead = s.pace.interval * float64(r.job.batch) * float64(len(sources)-1-i) / float64(len(sources))
		}
		r.streams = append(r.streams, s)
	}
	return r, nil
}

func (c *publishCommand) job(stop context.Context, r *publishRun) *job {
	j := &job{method: c.method(), batch: c.Batch, single: c.Batch == 0,
		window: c.Window, timeout: c.Timeout, resend: c.Resend, begin: time.Now(), stop: stop}
	if j.single {
		j.batch = 1
	}
	if c.Window == 0 {
		j.window = 256
		if c.Batch > 1 {
			j.window = min(max(2000/c.Batch, 4), 256)
		}
	}
	if c.Rate > 0 {
		j.interval = 1e9 / c.Rate * float64(c.Streams)
	}
	if r.single != nil {
		j.answered = func(raw []byte) { r.answer = c.decodeAnswer(raw) }
	}
	return j
}

func (c *publishCommand) method() string {
	switch {
	case c.Unary && c.Batch == 0:
		return gatewayv1.EventGateway_IngestEvent_FullMethodName
	case c.Unary:
		return gatewayv1.EventGateway_IngestEventBatch_FullMethodName
	case c.Batch == 0:
		return gatewayv1.EventGateway_IngestEventStream_FullMethodName
	}
	return gatewayv1.EventGateway_IngestEventBatchStream_FullMethodName
}

// decodeAnswer reads the answer of a single event in full.
func (c *publishCommand) decodeAnswer(raw []byte) *gatewayv1.IngestEventResponse {
	answer := &gatewayv1.IngestEventResponse{}
	if c.Batch == 0 {
		_ = proto.Unmarshal(raw, answer) // scanned already
		return answer
	}
	return nil // the answer of a batch does not tell the position
}

// sources makes one source a stream.
func (c *publishCommand) sources(stop context.Context, p *Program, r *publishRun) ([]source, error) {
	switch {
	case c.generated():
		return c.generators(), nil
	case c.Type != "":
		event, err := c.event()
		if err != nil {
			return nil, err
		}
		encoded, err := encode(event)
		if err != nil {
			return nil, fmt.Errorf("the event cannot be encoded: %w", err)
		}
		r.single = event
		one := make(queue, 1)
		one <- encoded
		close(one)
		return []source{one}, nil
	default:
		reader := newLineReader(p.Stdin, c.Streams, c.Batch, func(line int, err error) {
			if r.invalid.Add(1) <= 10 {
				say(p.Stderr, "gateway: line %d is not sent: %v\n", line, err)
			}
		})
		r.reading = make(chan error, 1)
		// A read from stdin cannot be interrupted: after Ctrl-C the process ends while it still waits.
		go func() { r.reading <- reader.run(stop) }()
		sources := make([]source, len(reader.queues))
		for i, q := range reader.queues {
			sources[i] = q
		}
		return sources, nil
	}
}

func (c *publishCommand) generators() []source {
	var run [4]byte
	_, _ = rand.Read(run[:]) // never fails
	fields := eventFields{eventType: c.Type, source: c.Source, subject: c.Subject, key: c.Key,
		contentType: c.ContentType, run: hex.EncodeToString(run[:]), metadata: c.Metadata}
	if fields.eventType == "" {
		fields.eventType = "load.generated"
	}
	if fields.source == "" {
		fields.source = "/gateway/publish"
	}
	if fields.contentType == "" {
		fields.contentType = "text/plain"
	}
	end := c.Count
	if c.Duration > 0 {
		end = math.MaxInt64
	}
	shared := newTemplate(fields, c.Keys, c.Size)
	sources := make([]source, c.Streams)
	for i := range sources {
		sources[i] = &generator{template: shared, number: int64(i), step: int64(c.Streams), end: end}
	}
	return sources
}

// event is the one event that the flags describe.
func (c *publishCommand) event() (*eventv1.Event, error) {
	data := []byte(c.Data)
	if c.DataFile != "" {
		read, err := os.ReadFile(c.DataFile)
		if err != nil {
			return nil, fmt.Errorf("--data-file: %w", err)
		}
		data = read
	}
	return &eventv1.Event{Id: c.ID, Source: c.Source, Type: c.Type, Subject: c.Subject, Data: data,
		DataContentType: c.ContentType, Metadata: c.Metadata, PartitionKey: c.Key}, nil
}

// report prints what the run came to.
func (c *publishCommand) report(p *Program, r *publishRun, took, cpu time.Duration) error {
	t := sum(r.streams)
	t.finish(r.streams, took, cpu)
	t.InvalidLines = r.invalid.Load()
	if c.Count > 0 {
		t.NotSent = c.Count - t.Sent
	}
	if err := r.broken.Load(); err != nil {
		t.Error = describe(*err)
	}
	var err error
	switch {
	case c.JSON:
		err = t.writeJSON(p.Stdout)
	case r.single != nil && r.answer != nil:
		err = writeAnswer(p.Stdout, r.answer)
	default:
		err = t.writeText(p.Stdout)
	}
	if err != nil {
		return failed("printing the totals: %v", err)
	}
	stoppedEarly := r.single != nil && t.Sent == 0
	if r.reading != nil {
		// All streams have ended: stopped, or because the reader is done, and then it says so at once.
		if r.job.stop.Err() != nil {
			stoppedEarly = true
		} else if err := <-r.reading; err != nil {
			return failed("%v", err)
		}
	}
	if !t.good() || stoppedEarly {
		return exitWith(exitFailed)
	}
	return nil
}

// writeAnswer prints the answer for a single event.
func writeAnswer(w io.Writer, a *gatewayv1.IngestEventResponse) error {
	var err error
	switch a.Outcome {
	case gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED:
		_, err = fmt.Fprintf(w, "acknowledged: %s is in %s, partition %d, offset %d\n", a.EventId, a.Topic, a.Partition, a.Offset)
	case gatewayv1.Outcome_OUTCOME_DUPLICATE:
		_, err = fmt.Fprintf(w, "duplicate: %s was already in %s, partition %d, offset %d\n", a.EventId, a.Topic, a.Partition, a.Offset)
	case gatewayv1.Outcome_OUTCOME_FILTERED:
		_, err = fmt.Fprintf(w, "filtered: a rule of the gateway dropped %s\n", a.EventId)
	default:
		outcome := "refused"
		if a.Outcome == gatewayv1.Outcome_OUTCOME_UNKNOWN {
			outcome = "unknown"
		}
		_, err = fmt.Fprintf(w, "%s at %s: %s: %s\n", outcome, a.Stage, a.Reason, a.ErrorMessage)
		if a.RetryDelay != nil && err == nil {
			_, err = fmt.Fprintf(w, "may be sent again in %v\n", a.RetryDelay.AsDuration())
		}
	}
	return err
}
