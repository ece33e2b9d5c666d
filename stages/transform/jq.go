package transform

// JQ: new data by a program of jq, run by gojq. A worker compiles its own copy:
// gojq shares constant objects between the runs of one compiled program and
// writes to them in del (TestConstantsAreNotShared), and its guards ask the
// worker's own meter.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/itchyny/gojq"
)

type jqEngine struct{}

// compile implements engine.
func (jqEngine) compile(source string, l limits) (program, error) {
	p := &jqProgram{source: source, limits: l}
	query, err := gojq.Parse(source)
	if err != nil {
		return nil, p.problem(err)
	}
	p.wants = wantsJQ(query)
	p.quick, p.slots = compileQuickJQ(query)
	r := &jqRun{program: p}
	if err := r.compile(); err != nil {
		return nil, err
	}
	return p, nil
}

type jqProgram struct {
	source string
	limits limits
	wants  *wanted
	// quick runs the program with slots values of its own; nil when only gojq can.
	quick jqStep
	slots int
}

// want says which members of data have to be there.
func (p *jqProgram) want() *wanted { return p.wants }

// newRun implements program.
func (p *jqProgram) newRun() run {
	r := &jqRun{program: p}
	r.failed = r.compile()
	return r
}

// jqVariable is an attribute as jq programs see it: $type.
type jqVariable struct {
	name string
	get  func(e *env) any
}

// jqVariables are all of them. Times are texts, as jq has none of its own.
var jqVariables = []jqVariable{
	{"$id", func(e *env) any { return stringBox.at(&e.id) }}, {"$source", func(e *env) any { return stringBox.at(&e.source) }},
	{"$type", func(e *env) any { return stringBox.at(&e.typ) }}, {"$subject", func(e *env) any { return stringBox.at(&e.subject) }},
	{"$data_content_type", func(e *env) any { return stringBox.at(&e.contentType) }},
	{"$partition_key", func(e *env) any { return stringBox.at(&e.partitionKey) }},
	{"$gateway", func(e *env) any { return stringBox.at(&e.gateway) }}, {"$client", func(e *env) any { return stringBox.at(&e.client) }},
	{"$time", func(e *env) any { return e.time().Format(time.RFC3339Nano) }},
	{"$now", func(e *env) any { return e.now().Format(time.RFC3339Nano) }},
	{"$metadata", func(e *env) any {
		m := make(map[string]any, len(e.metadata()))
		for name, value := range e.metadata() {
			m[name] = value
		}
		return m
	}},
}

// jqRun is a program on one worker.
type jqRun struct {
	program *jqProgram
	failed  error
	code    *gojq.Code
	meter   meter
	// used are the variables that the program has, and values theirs for the event.
	used   []jqVariable
	values []any
	// input is the event's data.
	input any
	// inputValues and inputBytes are what walking through it takes.
	inputValues, inputBytes int
	// patterns are the regular expressions that the program has used.
	patterns patterns
	// natives are gojq's own operators, for what the guards do not do themselves.
	natives map[string]*gojq.Code
	quickMemory
}

// quickMemory is what the quick way needs of an event, and room for what it works on.
type quickMemory struct {
	env      *env
	document *document
	// slots are variables, pending the elements of arrays and texts the parts of texts that are being made.
	slots, pending []any
	texts          []string
}

func (r *jqRun) compile() error {
	query, err := gojq.Parse(r.program.source)
	if err != nil {
		return r.program.problem(err)
	}
	guarded, err := guardJQ(query)
	if err != nil {
		return err
	}
	var names []string
	for _, v := range jqVariables {
		if slices.Contains(guarded.variables, v.name) {
			r.used, names = append(r.used, v), append(names, v.name)
		}
	}
	r.values, r.slots = make([]any, len(names)), make([]any, r.program.slots)
	r.code, err = gojq.Compile(query, append(r.functions(), gojq.WithVariables(names))...)
	if err != nil {
		return r.program.problem(err)
	}
	return nil
}

// problem is gojq's error with its position, where it has one.
func (p *jqProgram) problem(err error) error {
	var parse *gojq.ParseError
	if errors.As(err, &parse) {
		before := p.source[:min(max(parse.Offset-len(parse.Token), 0), len(p.source))]
		return fmt.Errorf("%w, %s", err, position([]rune(p.source), len([]rune(before))))
	}
	return errors.New(strings.ReplaceAll(err.Error(), guardPrefix, ""))
}

// eval implements run. The program asks the run's own meter, so ctx is not needed.
func (r *jqRun) eval(_ context.Context, e *env) (out output, err error) {
	if r.failed != nil {
		return output{}, r.failed
	}
	data, err := e.data()
	if err != nil {
		return output{}, err
	}
	r.meter.start(r.program.limits.timeout, e)
	r.input, r.env, r.document = data, e, &e.document
	r.inputValues = len(e.document.nodes)
	r.inputBytes = elementBytes*r.inputValues + len(e.document.data)
	defer func() {
		r.forget()
		if p := recover(); p != nil { // a bug of gojq is one event's, not the gateway's
			err = fmt.Errorf("jq failed: %v", p)
		}
	}()
	if r.program.quick != nil {
		if v, err, ok := r.runQuick(data); ok {
			return output{value: v}, err
		}
		r.meter.again()
	}
	return r.runGojq(e, data)
}

// forget lets go of the event.
func (r *jqRun) forget() {
	clear(r.values)
	clear(r.slots)
	clear(r.pending)
	clear(r.texts)
	r.pending, r.texts = r.pending[:0], r.texts[:0]
	if cap(r.pending) > maxSlab {
		r.pending = nil
	}
	if cap(r.texts) > maxSlab {
		r.texts = nil
	}
	r.input, r.env, r.document = nil, nil, nil
}

// runGojq runs the program from its start.
func (r *jqRun) runGojq(e *env, data any) (output, error) {
	for i, v := range r.used {
		r.values[i] = v.get(e)
	}
	results := r.code.RunWithContext(polled{&r.meter}, data, r.values...)
	value, ok := results.Next()
	if !ok {
		return output{}, errors.New("the program gives no value; FILTER is for dropping events")
	}
	if err, ok := value.(error); ok {
		return output{}, r.explain(err)
	}
	if second, more := results.Next(); more {
		if err, ok := second.(error); ok {
			return output{}, r.explain(err)
		}
		return output{}, errors.New("the program gives more than one value; [...] makes one of them")
	}
	return output{value: value}, nil
}

// explain is the error that a program ended with.
func (r *jqRun) explain(err error) error {
	if r.meter.spent != nil {
		return r.meter.spent
	}
	// The text of error(value) has all of the value.
	if v, ok := err.(gojq.ValueError); ok && r.meter.weigh(v.Value(), 16) != nil { //nolint:errorlint // gojq does not wrap
		return r.meter.spent
	}
	return errors.New(strings.ReplaceAll(err.Error(), guardPrefix, ""))
}

// polled is a context that counts how often it is asked: gojq looks at Done before each instruction.
type polled struct{ meter *meter }

// over is the channel of a context that has ended.
var over = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done implements context.Context, as Err, Deadline and Value do. While the program may go on it is a channel that
// never is ready; gojq asks again each time.
func (p polled) Done() <-chan struct{} {
	if p.meter.step() != nil {
		return over
	}
	return nil
}

// Err is why the program has to end.
func (p polled) Err() error { return p.meter.spent }

// Deadline is the meter's business.
func (p polled) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value is none.
func (p polled) Value(any) any { return nil }
