package transform

// A worker applies the rules to one event after the other.

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// Worker applies rules; it implements stages.Rules. Used by one goroutine at a time.
type Worker struct {
	// Trace is told what each rule did, while the event still has it; nil in the gateway.
	Trace func(Step)

	rules  []workerRule
	topics map[string]*stages.Topic
	memory stages.Memory
	limits limits

	env       env
	evaluator evaluator
	deadline  deadline
	// shown: env shows the event that is worked on. busy: Apply is at work, or has ended by a panic.
	shown, busy bool
	// out has new data, and pairs new metadata, until they are the event's.
	out   []byte
	pairs []stages.Pair
}

// workerRule is a rule with the memory of one worker.
type workerRule struct {
	*rule
	run run
	// to is the topic of a route that is constant.
	to     *stages.Topic
	values []string
	counts *counts
}

// What becomes of an event that a rule cannot be applied to, beside errLimit and mere failure.
var (
	errNotAllowed = errors.New("the topic is not one of KAFKA_TOPICS_ALLOWED")
	errNoMemory   = errors.New("the memory for what rules write is taken")
)

// Apply implements stages.Rules.
func (w *Worker) Apply(ev *stages.Event) (changed bool) {
	if w.busy {
		w.renew()
	}
	w.busy = true
	for i := range w.rules {
		r := &w.rules[i]
		if r.match != nil && r.match.quick != nil && !r.match.quick(ev) {
			if w.Trace != nil {
				w.Trace(Step{Rule: r.name, Result: Unmatched})
			}
			continue
		}
		if w.step(r, ev) == Changed {
			changed = true
		}
		if !ev.Open() {
			break
		}
	}
	if w.shown {
		w.env.forget()
		w.evaluator.forget()
		for i := range w.rules {
			if r, ok := w.rules[i].run.(*exprRun); ok {
				r.evaluator.forget()
			}
		}
		w.shown = false
	}
	w.busy = false
	return changed
}

// renew forgets everything about the last event, at which something panicked: the graph has refused that one and goes
// on with this worker, and neither its data nor half of a program's state may show in the next event.
func (w *Worker) renew() {
	w.env = env{gateway: w.env.gateway, want: w.env.want}
	w.evaluator, w.shown = evaluator{timeout: w.limits.timeout}, false
	w.deadline.stop()
	w.deadline = deadline{}
	w.out, w.pairs = nil, nil
	for i := range w.rules {
		if r := &w.rules[i]; r.data != nil {
			r.run = r.data.newRun()
		}
	}
}

// step applies one rule, and keeps the books.
func (w *Worker) step(r *workerRule, ev *stages.Event) Result {
	sample := r.counts.sample(r.timed || w.Trace != nil)
	if sample > 0 {
		w.env.started = clock()
	}
	result, err := w.apply(r, ev)
	if err != nil {
		result = w.fail(r, ev, err)
	}
	if sample > 0 {
		took := clock() - w.env.started
		r.counts.busy(took * time.Duration(sample))
		w.env.started = 0
		if w.Trace != nil {
			w.trace(r, ev, result, took, err)
		}
	}
	r.counts.add(result)
	clear(r.values) // they may be views of the event
	return result
}

// apply runs a rule on the event. Up to its end nothing of the event changes, so that a failure leaves it as it was.
func (w *Worker) apply(r *workerRule, ev *stages.Event) (Result, error) {
	if r.match.slow() {
		if ok, err := w.holds(r.match, ev); !ok || err != nil {
			return Unmatched, inPart("MATCH", err)
		}
	}
	if r.filter != nil {
		ok, err := w.holds(r.filter, ev)
		if err != nil {
			return Failed, inPart("FILTER", err)
		}
		if !ok {
			ev.Filter(stages.AtTransform)
			return Filtered, nil
		}
	}
	c := change{topic: r.to}
	if r.run != nil {
		if err := w.newData(r, ev, &c); err != nil {
			return Failed, inPart(r.language, err)
		}
	}
	for i := range r.set {
		if a := &r.set[i]; !a.fixed {
			v, err := w.text(a.program, ev)
			if err != nil {
				return Failed, inPart("SET "+a.name, err)
			}
			r.values[i] = v
		}
	}
	if r.route != nil && c.topic == nil {
		name, err := w.text(r.route.program, ev)
		if err == nil {
			if c.topic = w.topics[name]; c.topic == nil {
				err = fmt.Errorf("%w: %s", errNotAllowed, oneLine(name))
			}
		}
		if err != nil {
			return Failed, inPart("TOPIC", err)
		}
	}
	return w.commit(r, ev, &c)
}

// inPart says which variable's program an error comes from.
func inPart(variable string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", variable, err)
}

// show makes env that of the event, before a program runs.
func (w *Worker) show(ev *stages.Event) {
	if !w.shown {
		w.env.show(ev)
		w.shown = true
	}
}

func (w *Worker) holds(c *condition, ev *stages.Event) (bool, error) {
	if c.quick != nil {
		return c.quick(ev), nil
	}
	w.show(ev)
	v, err := w.evaluator.run(c.program, &w.env)
	if err != nil {
		return false, err
	}
	ok, isBool := v.(bool)
	if !isBool {
		return false, fmt.Errorf("gives a value of the type %T; true or false is wanted", v)
	}
	return ok, nil
}

func (w *Worker) text(p *exprProgram, ev *stages.Event) (string, error) {
	if p.quick != nil {
		return p.quick(ev), nil
	}
	w.show(ev)
	v, err := w.evaluator.run(p, &w.env)
	if err != nil {
		return "", err
	}
	return wantText(v)
}

// newData runs the rule's program and writes what it makes to w.out.
func (w *Worker) newData(r *workerRule, ev *stages.Event, c *change) error {
	w.show(ev)
	w.env.attributes()
	w.deadline.start(w.env.started + w.limits.timeout)
	made, err := r.run.eval(&w.deadline, &w.env)
	w.deadline.stop()
	if err != nil {
		return err
	}
	if cap(w.out) > maxKeptText {
		w.out = nil
	}
	if made.isText {
		if len(made.text) > w.limits.output {
			return fmt.Errorf("%w: the new data has %d bytes; %d are allowed (MAX_EVENT_BYTES)", errLimit, len(made.text), w.limits.output)
		}
		w.out = append(w.out[:0], made.text...)
	} else if w.out, err = w.env.document.encode(w.out[:0], made.value, w.limits.output); err != nil {
		return err
	}
	c.newData = !bytes.Equal(w.out, ev.Data)
	return nil
}

// fail does with the event what the rule's ON_ERROR says.
func (w *Worker) fail(r *workerRule, ev *stages.Event, err error) Result {
	if errors.Is(err, errNoMemory) {
		// Sending it again helps, so it is no dead letter; nor may it pass as it is for want of memory.
		ev.RefuseFor(stages.AtTransform, stages.Overloaded, stages.Overloaded.Retry())
		return Overloaded
	}
	clear(w.pairs)
	reason, result := stages.TransformFailed, Failed
	switch {
	case errors.Is(err, errLimit):
		reason, result = stages.TransformLimit, Limited
	case errors.Is(err, errNotAllowed):
		reason, result = stages.TopicNotAllowed, Misrouted
	}
	switch r.onError {
	case Pass:
	case Drop:
		ev.Filter(stages.AtTransform)
	default:
		ev.Refuse(stages.AtTransform, reason, &stages.Detail{Rule: r.name, Message: message(err)})
		if r.onError == DeadLetter {
			ev.Bury()
		}
	}
	return result
}

// message is what clients are told of an error: at most 300 bytes of text on one line, a copy, since errors may show
// the event's own bytes.
func message(err error) string {
	const longest = 300
	text := strings.ToValidUTF8(err.Error(), "\ufffd")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.Clone(text))
}
