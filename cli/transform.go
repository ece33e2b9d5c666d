package cli

// gateway transform: what the rules in the environment make of an event, without
// a gateway, a broker or a registry.

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/transform"
)

// DryRun is what gateway transform needs: the rules as the environment has them.
type DryRun struct {
	// Config is the stages' part, Rules the compiled rules.
	Config stages.Config
	Rules  *transform.Rules
	// Topics are those that rules may choose, the default first; DeadLetter is KAFKA_DLQ_TOPIC, which may be empty.
	Topics     []string
	DeadLetter string
	// RecordSize bounds the record of an event.
	RecordSize stages.RecordSizer
}

type transformCommand struct {
	Event  string `required:"" placeholder:"FILE" help:"File with one event as JSON, or - for stdin."`
	Client string `default:"localhost" placeholder:"NAME" help:"What rules see as client."`
	Repeat int    `default:"1" placeholder:"N" help:"Run the rules that often; the times are the shortest ones."`
	JSON   bool   `name:"json" help:"Print one JSON object instead of text."`
}

func (transformCommand) Help() string {
	return `Runs the rules of the environment (TRANSFORM_0_..., docs/transforms.md) on one event, and prints rule by rule what happened to it and how long it took, then what the gateway would answer. Nothing is sent, no Kafka is needed, and data is not held against a schema (ask a running gateway: schema.v1.SchemaService/ValidateEvent).

The event is the proto JSON of event.v1.Event, or has data_text (a string) or data_json (any JSON) instead of data (base64), as publish takes it.

Exit codes: 0 the event would be written or filtered; 1 it would be refused; 2 a setting or the event cannot be read.

Examples:
  TRANSFORM_0_JQ='.total |= . * 100' gateway transform --event event.json
  echo '{"type":"order.created","source":"/shop","data_json":{"total":10}}' | gateway transform --event - --repeat 1000`
}

// Run prints what the rules do.
func (c *transformCommand) Run(p *Program) error {
	dry, problems := p.DryRun()
	for _, problem := range problems {
		say(p.Stderr, "%v\n", problem)
	}
	if len(problems) > 0 {
		return exitWith(exitUsage)
	}
	if c.Repeat < 1 || c.Repeat > 1_000_000 {
		return fmt.Errorf("--repeat=%d: 1 to 1000000", c.Repeat)
	}
	frame, err := c.read(p.Stdin)
	if err != nil {
		return exitError{exitUsage, err.Error()}
	}
	t := newTrial(dry)
	var ev *stages.Event
	for range c.Repeat {
		t.begin()
		if ev, err = t.run.Run(context.Background(), frame, &stages.Client{Name: c.Client}); err != nil {
			return failed("%v", err)
		}
	}
	result := t.result(ev)
	if c.JSON {
		err = writeJSON(p.Stdout, &result, "")
	} else {
		result.print(p.Stdout)
	}
	if err != nil {
		return failed("printing the result: %v", err)
	}
	if result.Outcome == stages.Refused.String() {
		return exitWith(exitFailed)
	}
	return nil
}

// read is the event as a request.
func (c *transformCommand) read(stdin io.Reader) ([]byte, error) {
	var text []byte
	var err error
	if c.Event == "-" {
		text, err = io.ReadAll(io.LimitReader(stdin, maxLine))
	} else {
		text, err = os.ReadFile(c.Event)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the event: %w", err)
	}
	event, err := parseLine(text)
	if err != nil {
		return nil, fmt.Errorf("the event in %s: %w", c.Event, err)
	}
	event.Cursor = "" // as publish sends it
	return encode(event)
}

// trial is a dry run with its steps.
type trial struct {
	dry    *DryRun
	run    *stages.DryRun
	topics *stages.Topics
	// steps are those of the last run; least has the shortest time of each over all runs.
	steps []transform.Step
	least []time.Duration
}

func newTrial(dry *DryRun) *trial {
	t := &trial{dry: dry}
	names := dry.Topics
	if dry.DeadLetter != "" {
		names = append(names[:len(names):len(names)], dry.DeadLetter)
	}
	t.topics = stages.NewTopics(names...)
	for _, topic := range t.topics.All {
		topic.SetPartitions(1)
	}
	t.run = stages.NewDryRun(stages.DryRunParts{
		Config: dry.Config, Topics: t.topics, RecordSize: dry.RecordSize,
		Letters: stages.NewDeadLetters(dry.Config, t.topics.Named(dry.DeadLetter)),
		Rules: func(m stages.Memory) stages.Rules {
			w := dry.Rules.NewTrial(t.topics, m)
			w.Trace = t.note
			return w
		},
	})
	return t
}

func (t *trial) begin() { t.steps = t.steps[:0] }

func (t *trial) note(s transform.Step) {
	if i := len(t.steps); i == len(t.least) {
		t.least = append(t.least, s.Took)
	} else {
		t.least[i] = min(t.least[i], s.Took)
	}
	t.steps = append(t.steps, s)
}

// trialResult is what is printed.
type trialResult struct {
	Rules   []trialStep `json:"rules"`
	Outcome string      `json:"outcome"`
	Topic   string      `json:"topic,omitempty"`
	Reason  string      `json:"reason,omitempty"`
	Stage   string      `json:"stage,omitempty"`
	Message string      `json:"message,omitempty"`
	Dead    bool        `json:"deadLettered,omitempty"`
	Event   *shownEvent `json:"event,omitempty"`
}

type trialStep struct {
	Rule    string            `json:"rule"`
	Result  string            `json:"result"`
	Nanos   int64             `json:"nanos"`
	Changes map[string]string `json:"changes,omitempty"`
	Problem string            `json:"problem,omitempty"`

	order []string
}

func (t *trial) result(ev *stages.Event) trialResult {
	var r trialResult
	for i, s := range t.steps {
		step := trialStep{Rule: s.Rule, Result: s.Result.String(), Nanos: t.least[i].Nanoseconds(), Problem: s.Problem}
		for _, change := range s.Changes {
			if step.Changes == nil {
				step.Changes = map[string]string{}
			}
			step.Changes[change.Name] = change.Value
			step.order = append(step.order, change.Name)
		}
		r.Rules = append(r.Rules, step)
	}
	v := ev.Verdict
	if r.Dead = ev.Dead; ev.Dead {
		v = ev.Letter.Verdict
	}
	r.Outcome = v.Outcome.String()
	switch v.Outcome {
	case stages.Pending:
		r.Outcome = stages.Acknowledged.String()
		r.Event = shownEventOf(ev.Proto())
		r.Topic = ev.Topic.Name
	case stages.Refused:
		r.Reason, r.Stage, r.Message = v.Reason.String(), v.Stage.String(), v.Reason.Text()
		if d := v.Detail; d != nil && d.Message != "" {
			if r.Message = d.Message; d.Field != "" {
				r.Message = d.Field + ": " + d.Message
			}
		}
		if ev.Dead {
			r.Topic = t.dry.DeadLetter
		}
	}
	return r
}

// shownValue bounds what a line shows of a value.
const shownValue = 200

func (r *trialResult) print(w io.Writer) {
	if len(r.Rules) == 0 {
		say(w, "no rules were run: none is set (TRANSFORM_0_...), or the event was refused before\n")
	}
	for _, s := range r.Rules {
		say(w, "%-14s%-12s%10s", s.Rule, s.Result, shortTime(s.Nanos))
		if s.Problem != "" {
			say(w, "  %s", oneLine(s.Problem))
		}
		say(w, "\n")
		for _, name := range s.order {
			say(w, "    %-20s %s\n", name, shorten(s.Changes[name]))
		}
	}
	switch {
	case r.Reason != "":
		say(w, "refused at %s: %s: %s\n", r.Stage, r.Reason, oneLine(r.Message))
		if r.Dead {
			say(w, "kept in the dead-letter topic %s\n", r.Topic)
		}
	case r.Topic != "":
		say(w, "goes to the topic %s\n", r.Topic)
		_ = writeJSON(w, r.Event, "  ") // whether anyone reads it does not matter: the exit code counts
	default:
		say(w, "%s: answered as a success, not written\n", r.Outcome)
	}
}

func shortTime(nanos int64) string {
	if nanos == 0 {
		return "-"
	}
	return time.Duration(nanos).String()
}

func shorten(s string) string {
	if s == "" {
		return `""`
	}
	s = oneLine(strings.ToValidUTF8(s, "\ufffd"))
	if len(s) > shownValue {
		return strings.ToValidUTF8(s[:shownValue], "") + fmt.Sprintf("... (%d bytes)", len(s))
	}
	return s
}
