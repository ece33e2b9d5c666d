package transform

// CEL (cel-go): a program is one expression. What bounds it is in cel_guards.go,
// what values become of JSON and back in cel_values.go.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
)

// celCost is the most that one evaluation may cost in CEL's own units: about one a step, a tenth a byte of a string
// that is read or made. It bounds strings to some 10 MB whatever the clock says; 10^6 units take 60 to 200 ms.
const celCost = 1_000_000

// celDepth bounds how deep a program's text may nest (the parser recurses, and so does the evaluation).
const celDepth = 100

type celEngine struct{}

// celProgram is shared by the workers: cel-go's programs are.
type celProgram struct {
	program cel.Program
	// info leads from the parts of the program to their places in its text.
	info   *ast.SourceInfo
	output int
	// loops: only comprehensions look at the clock, and arming that costs 200 ns.
	loops bool
}

func (celEngine) compile(source string, l limits) (program, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the program has %d bytes; %d are the most", len(source), maxSource)
	}
	language, err := celLanguage(l)
	if err != nil {
		return nil, err
	}
	checked, issues := language.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, celIssues(issues)
	}
	tree := checked.NativeRep()
	options := []cel.ProgramOption{
		cel.CostLimit(celCost), celCosts(),
		cel.InterruptCheckFrequency(1), // a look is a few ns, and one round may work on megabytes
		cel.EvalOptions(cel.OptOptimize),
	}
	for _, decorate := range celDecorators(language, tree, l) {
		options = append(options, cel.CustomDecoratorV2(decorate))
	}
	planned, err := language.Program(checked, options...)
	if err != nil {
		return nil, err
	}
	return &celProgram{program: planned, info: tree.SourceInfo(), output: l.output, loops: celLoops(tree)}, nil
}

// celIssues are the compiler's complaints in one line.
func celIssues(issues *cel.Issues) error {
	var all []string
	for _, e := range issues.Errors() {
		if len(all) == 5 {
			all = append(all, "...")
			break
		}
		all = append(all, fmt.Sprintf("%d:%d: %s", e.Location.Line(), e.Location.Column()+1, e.Message))
	}
	return errors.New(strings.Join(all, "; "))
}

// celLoops reports whether anything in the program repeats.
func celLoops(tree *ast.AST) bool {
	return len(ast.MatchDescendants(ast.NavigateAST(tree), ast.KindMatcher(ast.ComprehensionKind))) > 0
}

func (p *celProgram) newRun() run {
	return &celRun{celProgram: p}
}

// celRun is also what the program resolves names with.
type celRun struct {
	*celProgram
	env   *env
	alarm alarm
}

func (r *celRun) eval(ctx context.Context, e *env) (output, error) {
	r.env = e
	frame, err := interpreter.NewExecutionFrame(r)
	if err != nil {
		return output{}, err
	}
	defer frame.Close()
	if r.loops {
		r.alarm.done = ctx.Done()
		if err := frame.SetContext(&r.alarm, 1); err != nil {
			return output{}, err
		}
	}
	value, _, err := r.program.Eval(frame)
	if err != nil {
		return output{}, r.explain(err)
	}
	if raw, ok := value.(types.Bytes); ok {
		return output{text: raw, isText: true}, nil
	}
	w := celWriter{room: r.output, done: ctx.Done()}
	native, err := w.native(value)
	if err != nil {
		return output{}, err
	}
	return output{value: native}, nil
}

// explain says where an evaluation failed, and marks what was a limit.
func (r *celRun) explain(err error) error {
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.Is(err, interpreter.InterruptError{}):
		return fmt.Errorf("%w: the program took too long", errLimit)
	case errors.As(err, &cancelled):
		return fmt.Errorf("%w: the program took more than %d steps", errLimit, celCost)
	}
	var failed *types.Err
	if errors.As(err, &failed) && failed != types.NoSuchOverloadErr() {
		if at := r.info.GetStartLocation(failed.NodeID()); at.Line() > 0 {
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
	case "id":
		return e.id, true
	case "source":
		return e.source, true
	case "type":
		return e.typ, true
	case "subject":
		return e.subject, true
	case "data_content_type":
		return e.contentType, true
	case "partition_key":
		return e.partitionKey, true
	case "gateway":
		return e.gateway, true
	case "client":
		return e.client, true
	case "time":
		return e.time(), true
	case "now":
		return e.now(), true
	case "metadata":
		return e.metadata(), true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (r *celRun) Parent() interpreter.Activation { return nil }

// alarm is a context of which only the end matters. cel-go derives a context of its own for each evaluation, which
// for a foreign one takes a goroutine, or an AfterFunc; this one has no use for either.
type alarm struct{ done <-chan struct{} }

func (*alarm) Deadline() (time.Time, bool)         { return time.Time{}, false }
func (a *alarm) Done() <-chan struct{}             { return a.done }
func (*alarm) Err() error                          { return nil }
func (*alarm) Value(any) any                       { return nil }
func (*alarm) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }
