package transform

// CEL (cel-go): a program is one expression. What bounds it is in cel_guards.go,
// cel_rates.go and cel_patterns.go, what values are in cel_values.go, and what
// becomes of them in cel_writer.go.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// celCost is the most that one evaluation may cost in CEL's own units: about one a step, 13 for an item of a list that
// map makes, a tenth a byte of text that is read. What this bounds is memory; the meter is there for time: 10^7 units
// take half a second at least.
const celCost = 10_000_000

// celDepth bounds how deep a program's text may nest (the parser recurses, and so does the evaluation).
const celDepth = 100

type celEngine struct{}

// celProgram is what the workers share. Each plans the program for itself, so that its parts can have memory.
type celProgram struct {
	language *cel.Env
	checked  *cel.Ast
	limits   limits
	wants    *wanted
}

func (p *celProgram) want() *wanted { return p.wants }

func (celEngine) compile(source string, l limits) (program, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the program has %d bytes; %d are the most", len(source), maxSource)
	}
	language, err := celLanguage()
	if err != nil {
		return nil, err
	}
	checked, issues := language.Compile(source)
	if issues.Err() != nil {
		return nil, celIssues(issues)
	}
	p := &celProgram{language: language, checked: checked, limits: l, wants: wantsCEL(checked.NativeRep())}
	if err := new(celRun).plan(p); err != nil {
		return nil, err
	}
	return p, nil
}

// celIssues are the compiler's complaints in one line.
func celIssues(issues *cel.Issues) error {
	var all []string
	for _, e := range issues.Errors() {
		if len(all) == 5 {
			all = append(all, "...")
			break
		}
		if e.Location.Line() < 1 { // it is about the text as a whole
			all = append(all, e.Message)
			continue
		}
		all = append(all, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
	}
	return errors.New(strings.Join(all, "; "))
}

func (p *celProgram) newRun() run {
	r := new(celRun)
	if err := r.plan(p); err != nil {
		return failedRun{err} // compile has planned the same
	}
	return r
}

// failedRun says what came in the way of a run.
type failedRun struct{ err error }

func (f failedRun) eval(context.Context, *env) (output, error) { return output{}, f.err }

// celRun is also what the program resolves names with.
type celRun struct {
	machine celMachine
	limits  limits
	// env is that of the event at hand.
	env *env
}

func (r *celRun) plan(p *celProgram) error {
	r.limits = p.limits
	return r.machine.plan(p.language, p.checked, p.limits, celCost)
}

// eval implements run. The program asks the run's own meter, so the context is not needed.
func (r *celRun) eval(_ context.Context, e *env) (output, error) {
	r.env = e
	r.machine.meter.start(r.limits.timeout, e)
	value, err := r.machine.run(r)
	if err != nil {
		return output{}, err
	}
	if raw, ok := value.(types.Bytes); ok {
		return output{text: raw, isText: true}, nil
	}
	w := celWriter{room: r.limits.output, meter: &r.machine.meter}
	native, err := w.native(value)
	if err != nil {
		return output{}, err
	}
	return output{value: native}, nil
}

// celMachine evaluates one program, for one goroutine.
type celMachine struct {
	program cel.Program
	// info leads from the parts of the program to their places in its text.
	info *ast.SourceInfo
	// most is what an evaluation may cost.
	most uint64
	// within is what this evaluation may cost, if not most; from the second evaluation on.
	within *uint64
	// used counts the cost of an evaluation; unused is what it begins with.
	used, unused *cost.Tracker
	// meter tells when the time is up; whoever runs the machine starts it.
	meter meter
}

// plan makes the machine ready. more decorate the program before what keeps it within its bounds.
func (m *celMachine) plan(language *cel.Env, checked *cel.Ast, l limits, most uint64, more ...interpreter.InterpretableDecoratorV2) error {
	tree := checked.NativeRep()
	options := []cel.ProgramOption{cel.CostLimit(most), celCosts(), cel.EvalOptions(cel.OptOptimize)}
	for _, decorate := range append(more, celDecorators(language, tree, l, &m.meter)...) {
		options = append(options, cel.CustomDecoratorV2(decorate))
	}
	var err error
	m.program, err = language.Program(checked, options...)
	m.info, m.most = tree.SourceInfo(), most
	return err
}

// run evaluates the program, with the names of its variables from names.
func (m *celMachine) run(names interpreter.Activation) (ref.Val, error) {
	frame, err := interpreter.NewExecutionFrame(names)
	if err != nil {
		return nil, err
	}
	defer frame.Close()
	if m.used != nil {
		*m.used = *m.unused // cel-go would allocate one
		if m.within != nil {
			m.used.Limit = m.within
		}
		frame.SetCostTracker(m.used)
	}
	value, _, err := m.program.Eval(frame)
	if used := frame.CostTracker(); m.used == nil && used != nil {
		m.used = used
		m.unused, _ = used.Clone() // never fails
	}
	if err == nil {
		err = m.meter.spent // || and all go on behind an error, and may do without what was refused
	}
	if err != nil {
		return nil, m.explain(err)
	}
	return value, nil
}

// cost is what the last evaluation has cost.
func (m *celMachine) cost() uint64 {
	if m.used == nil {
		return 0
	}
	return m.used.ActualCost()
}

// explain says where an evaluation failed, and marks what was a limit.
func (m *celMachine) explain(err error) error {
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.Is(err, interpreter.InterruptError{}):
		return m.meter.spent
	case errors.As(err, &cancelled) && m.meter.spent != nil: // cel-go counts what was refused as if it had been done
		return m.meter.spent
	case errors.As(err, &cancelled):
		return fmt.Errorf("%w: the program takes more than %d steps", errLimit, m.most)
	}
	var failed *types.Err
	if errors.As(err, &failed) && failed != types.NoSuchOverloadErr() {
		if at := m.info.GetStartLocation(failed.NodeID()); at.Line() > 0 {
			return fmt.Errorf("%d:%d: %w", at.Line(), at.Column()+1, err)
		}
	}
	return err
}

func init() {
	// cel-go has one error value for all values of a wrong type, and writes the place into it that met it first. Set
	// it once, before there are workers, so that they only read it.
	types.LabelErrNode(-1, types.NoSuchOverloadErr())
}

// ResolveName implements interpreter.Activation.
func (r *celRun) ResolveName(name string) (any, bool) {
	e := r.env
	switch name {
	case "data":
		data, err := e.data()
		if err != nil {
			return types.WrapErr(err), true
		}
		return data, true
	case "time":
		return e.time(), true
	case "now":
		return e.now(), true
	case "metadata":
		return e.metadata(), true
	}
	if text := e.text(name); text != nil {
		return stringBox.at(text), true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (r *celRun) Parent() interpreter.Activation { return nil }
