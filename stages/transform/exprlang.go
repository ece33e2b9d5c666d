package transform

// The expr language as rules use it: for MATCH, FILTER, SET and TOPIC, and for
// EXPR. Programs are compiled once against the types of the environment, so that
// slips are found at start; a worker runs them all on one machine, in variables
// that show the event without a copy.

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/types"
	"github.com/expr-lang/expr/vm"
)

// uses says which parts of an event a program looks at, of those that cost something.
type uses uint8

const (
	usesMetadata uses = 1 << iota
	usesData
	usesTime
	usesNow
)

var usesOf = map[string]uses{"metadata": usesMetadata, "data": usesData, "time": usesTime, "now": usesNow}

// exprTypes is the environment. Names that no program can spell are for guards.
var exprTypes = types.Map{
	"id": types.String, "source": types.String, "type": types.String, "subject": types.String,
	"data_content_type": types.String, "partition_key": types.String, "gateway": types.String, "client": types.String,
	"metadata": types.TypeOf(map[string]string{}), "data": types.Any,
	"time": types.TypeOf(time.Time{}), "now": types.TypeOf(time.Time{}),
	meterName: types.TypeOf(&meter{}), stepName: types.TypeOf(stepFunc(nil)), memberName: types.TypeOf(member),
}

// exprFunctions are what programs have beside expr's own functions.
var exprFunctions = []expr.Option{
	expr.Function("hash", func(params ...any) (any, error) { return hashText(params[0].(string)), nil }, hashText),
	expr.Function("sha256", func(params ...any) (any, error) { return sha256Text(params[0].(string)), nil }, sha256Text),
	expr.Function("kind", func(params ...any) (any, error) { return kindOf(params[0]), nil }, kindOf),
}

// exprProgram is a compiled expr program. Safe for concurrent use.
type exprProgram struct {
	program *vm.Program
	uses    uses
	// wants is what it looks at of data.
	wants *wanted
	// quick gives the text that the program gives, without the machine; nil for most programs.
	quick text
}

// compileExpr compiles source. want says which type it must give, as far as that can be known before it runs.
func compileExpr(source string, want ...expr.Option) (*exprProgram, error) {
	options := append([]expr.Option{expr.Env(exprTypes)}, exprFunctions...)
	// Once as it is, so that what is wrong is told in the words of who wrote it.
	checked, err := expr.Compile(source, append(slices.Clone(options), want...)...)
	if err != nil {
		return nil, exprProblem(err)
	}
	node := checked.Node()
	p := &exprProgram{wants: wants(node)}
	ast.Walk(&node, &p.uses)
	p.program, err = expr.Compile(source, append(options, exprGuards...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot be guarded: %w", exprProblem(err))
	}
	return p, nil
}

// Visit implements ast.Visitor: it notes what is used.
func (u *uses) Visit(node *ast.Node) {
	if name, ok := (*node).(*ast.IdentifierNode); ok {
		*u |= usesOf[name.Value]
		if name.Value == "$env" {
			*u = usesMetadata | usesData | usesTime | usesNow
		}
	}
}

// exprProblem is expr's error on one line: what, and line:column.
func exprProblem(err error) error {
	var f *file.Error
	if !errors.As(err, &f) {
		return err
	}
	message, _, _ := strings.Cut(f.Message, "\n")
	if f.Line == 0 {
		return errors.New(message)
	}
	return fmt.Errorf("%s, %d:%d", message, f.Line, f.Column+1)
}

// evaluator runs expr programs for one worker.
type evaluator struct {
	timeout time.Duration
	meter   meter
	machine vm.VM
	env     *env
	// vars show env, and times what it makes on request.
	vars      map[string]any
	time, now time.Time
}

// maxExprValues is expr's own memory budget: elements of arrays and objects that a program makes for one event, of some
// 16 bytes each.
const maxExprValues = 1e6

var timeBox = boxesOf[time.Time]()

// bind makes the variables show e.
func (v *evaluator) bind(e *env) {
	v.env = e
	v.machine.MemoryBudget = maxExprValues
	if e.pairs == nil {
		e.pairs = map[string]string{}
	}
	v.vars = map[string]any{
		"id": stringBox.at(&e.id), "source": stringBox.at(&e.source), "type": stringBox.at(&e.typ),
		"subject": stringBox.at(&e.subject), "data_content_type": stringBox.at(&e.contentType),
		"partition_key": stringBox.at(&e.partitionKey), "gateway": stringBox.at(&e.gateway), "client": stringBox.at(&e.client),
		"metadata": e.pairs, "data": nil, "time": timeBox.at(&v.time), "now": timeBox.at(&v.now),
		meterName: &v.meter, stepName: stepFunc(v.step), memberName: member,
	}
}

// run runs p for the event that e shows. What it returns is valid until the next run.
func (v *evaluator) run(p *exprProgram, e *env) (any, error) {
	if v.env != e {
		v.bind(e)
	}
	e.attributes()
	if p.uses != 0 {
		if err := v.prepare(p.uses); err != nil {
			return nil, err
		}
	}
	v.meter.start(v.timeout, e)
	out, err := v.machine.Run(p.program, v.vars)
	if err != nil {
		return nil, v.explain(err)
	}
	return out, nil
}

// prepare makes what only some programs look at.
func (v *evaluator) prepare(u uses) error {
	if u&usesMetadata != 0 {
		v.env.metadata()
	}
	if u&usesTime != 0 {
		v.time = v.env.time()
	}
	if u&usesNow != 0 {
		v.now = v.env.now()
	}
	if u&usesData != 0 {
		data, err := v.env.data()
		if err != nil {
			return err
		}
		v.vars["data"] = data
	}
	return nil
}

// explain says why a program failed.
func (v *evaluator) explain(err error) error {
	if v.meter.spent != nil {
		return v.meter.spent
	}
	if strings.Contains(err.Error(), "memory budget exceeded") {
		return fmt.Errorf("%w: the program makes more than %d values for one event", errLimit, int(maxExprValues))
	}
	return exprProblem(err)
}

// forget lets go of the last event.
func (v *evaluator) forget() {
	if v.vars != nil {
		v.vars["data"] = nil
	}
	clear(v.machine.Stack[:cap(v.machine.Stack)])
	clear(v.machine.Variables)
}

// constantText is the text that a program gives whatever the event, if it is that simple.
func constantText(p *exprProgram) (string, bool) {
	s, ok := p.program.Node().(*ast.StringNode)
	if !ok {
		return "", false
	}
	return s.Value, true
}

// wantText is what SET and TOPIC make of a program's result.
func wantText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case nil:
		return "", errors.New("gives nil; a text is wanted")
	case bool, int, float64:
		return fmt.Sprint(v), nil
	case json.Number: // one that neither an int nor a float64 is
		return v.String(), nil
	}
	if r := reflect.ValueOf(v); r.CanInt() || r.CanUint() || r.CanFloat() {
		return fmt.Sprint(v), nil
	}
	return "", fmt.Errorf("gives a value of the type %T; a text, a number or a truth value is wanted", v)
}
