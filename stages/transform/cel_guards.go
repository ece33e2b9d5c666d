package transform

// What keeps CEL programs within bounds beyond cel-go's own limits. Its cost is
// charged after a call has done its work, and work that a call repeats for each
// pair of items, or for each byte, is done before anybody looks. So the calls of
// which small arguments make much work are weighed first.

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// The bounds of one call, each about 20 ms of work at most, beyond which nobody looks at the clock.
const (
	// celItems bounds lists that are put together, and what is looked through in one call.
	celItems = 500_000
	// celPairs bounds the comparisons of each item with each.
	celPairs = 2_000_000
	// celMatch bounds bytes of text times steps of a pattern.
	celMatch = 10_000_000
	// celPattern bounds a pattern in steps, and in bytes.
	celPattern = 1000
)

// celGuard reports why a call with these arguments is too much work; nil when it is not.
type celGuard func(args []ref.Val) error

// celGuards are the calls to look at. text is the most bytes of a string.
func celGuards(text int) map[string]celGuard {
	made := func(what string, n int) error {
		if n > text {
			return fmt.Errorf("%w: %s would make a string of %d bytes", errLimit, what, n)
		}
		return nil
	}
	return map[string]celGuard{
		operators.Add: func(args []ref.Val) error {
			if err := few("a list", size(args[0])+size(args[1])); err != nil {
				return err
			}
			return made("+", length(args[0])+length(args[1]))
		},
		"lists.range": func(args []ref.Val) error {
			n, _ := args[0].(types.Int)
			return few("a list", int(n))
		},
		operators.Equals:        seen("a comparison"),
		operators.NotEquals:     seen("a comparison"),
		operators.In:            seen("a search"),
		"flatten":               seen("flatten"),
		"sort":                  seen("sort"),
		"@sortByAssociatedKeys": seen("sort"),
		"distinct":              paired("distinct"),
		"sets.contains":         paired("sets.contains"),
		"sets.equivalent":       paired("sets.equivalent"),
		"sets.intersects":       paired("sets.intersects"),
		"replace": func(args []ref.Val) error {
			s, old, with := str(args[0]), str(args[1]), str(args[2])
			if len(with) <= len(old) {
				return nil
			}
			return made("replace", len(s)+multiply(strings.Count(s, old), len(with)-len(old)))
		},
		"join": func(args []ref.Val) error {
			w := weigh(args[0], celItems)
			if len(args) > 1 {
				w.bytes += multiply(size(args[0]), len(str(args[1])))
			}
			return made("join", w.bytes)
		},
		"format": func(args []ref.Val) error {
			w := weigh(args[1], celItems)
			if err := few("format", w.items); err != nil {
				return err
			}
			return made("format", len(str(args[0]))+w.bytes)
		},
		"matches": matched,
		"split": func(args []ref.Val) error {
			const header = 32 // bytes of a string and of what points to it
			return made("split", multiply(header, 1+strings.Count(str(args[0]), str(args[1])))/8)
		},
	}
}

// few bounds the items of what is made.
func few(what string, items int) error {
	if items > celItems {
		return fmt.Errorf("%w: %s of %d items; %d are the most", errLimit, what, items, celItems)
	}
	return nil
}

// seen bounds the items that are looked at.
func seen(what string) celGuard {
	return func(args []ref.Val) error {
		for _, arg := range args {
			if weigh(arg, celItems).work() > celItems {
				return fmt.Errorf("%w: %s of more than %d items", errLimit, what, celItems)
			}
		}
		return nil
	}
}

// paired bounds the comparisons of each item of the first list with each of the last.
func paired(what string) celGuard {
	return func(args []ref.Val) error {
		last := args[len(args)-1]
		if multiply(size(args[0]), weigh(last, celPairs).work()) > celPairs {
			return fmt.Errorf("%w: %s of lists of %d and %d items", errLimit, what, size(args[0]), size(last))
		}
		return nil
	}
}

// matched bounds patterns that are not in the program's text (those are compiled once), and what they run over.
func matched(args []ref.Val) error {
	text, pattern := str(args[0]), str(args[1])
	steps := len(pattern)
	if steps <= celPattern {
		n, err := types.RegexProgramSize(pattern)
		if err != nil {
			return err
		}
		steps = n
	}
	if steps > celPattern || multiply(steps, len(text)) > celMatch {
		return fmt.Errorf("%w: a pattern of %d steps over %d bytes", errLimit, steps, len(text))
	}
	return nil
}

// str is a string argument; empty for anything else, which the call itself refuses.
func str(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

// length is the bytes of a string or of bytes.
func length(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}
	return 0
}

// size is the number of a list's or an object's items; 0 for anything else.
func size(v ref.Val) int {
	switch v := v.(type) {
	case traits.Lister:
		return int(v.Size().(types.Int))
	case traits.Mapper:
		return int(v.Size().(types.Int))
	}
	return 0
}

// multiply gives what no guard lets pass rather than overflow.
func multiply(a, b int) int {
	const most = 1 << 62
	if a != 0 && b > most/a {
		return most
	}
	return a * b
}

// load is how much a value holds: values, and bytes of text.
type load struct{ items, bytes int }

// work is what looking at all of it takes, in items: text is compared some 100 bytes at a time.
func (l load) work() int { return l.items + l.bytes/100 }

// weigh stops counting above most items. Values that programs build may hold the same list many times over, so that
// what takes little memory weighs much.
func weigh(v ref.Val, most int) load {
	var l load
	l.add(v, most)
	return l
}

func (l *load) add(v ref.Val, most int) {
	l.items++
	switch v := v.(type) {
	case types.String, types.Bytes:
		l.bytes += length(v)
	case traits.Lister:
		for i, n := types.Int(0), v.Size().(types.Int); i < n && l.items <= most; i++ {
			l.add(v.Get(i), most)
		}
	case traits.Mapper:
		for it := v.Iterator(); l.items <= most && it.HasNext() == types.True; {
			k := it.Next()
			l.add(k, most)
			l.add(v.Get(k), most)
		}
	}
}

// celDecorators put the guards around calls, give calls doubles for exact numbers, and look at the clock in each round
// of a comprehension.
func celDecorators(language *cel.Env, tree *ast.AST, l limits, clock *celClock) []interpreter.InterpretableDecoratorV2 {
	guards := celGuards(4 * l.output)
	rounds := map[int64]bool{} // conditions of comprehensions
	for _, e := range ast.MatchDescendants(ast.NavigateAST(tree), ast.KindMatcher(ast.ComprehensionKind)) {
		rounds[e.AsComprehension().LoopCondition().ID()] = true
	}
	loose := map[int64]bool{} // arguments that may be an exact number
	heavy := map[int64]bool{} // calls whose arguments may be heavy
	for _, e := range ast.MatchDescendants(ast.NavigateAST(tree), ast.KindMatcher(ast.CallKind)) {
		call := e.AsCall()
		args := call.Args()
		if call.IsMemberFunction() {
			args = append([]ast.Expr{call.Target()}, args...)
		}
		for _, arg := range args {
			if celCounts(call.FunctionName()) && celMayBe(tree.GetType(arg.ID()), types.DoubleKind) && celVaries(arg) {
				loose[arg.ID()] = true
			}
		}
		heavy[e.ID()] = guards[call.FunctionName()] != nil && celHeavy(tree, call.FunctionName(), args)
	}
	literals := newCELLiterals(tree, language.CELTypeAdapter().(*celAdapter))
	return []interpreter.InterpretableDecoratorV2{
		literals.decorate,
		func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
			if call, ok := i.(interpreter.InterpretableCall); ok && heavy[call.ID()] {
				return celGuarded(language, call, guards[call.Function()], clock)
			}
			return i, nil
		},
		func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
			if rounds[i.ID()] {
				return celRound{i, clock}, nil
			}
			if _, ok := i.(interpreter.InterpretableConst); !ok && loose[i.ID()] {
				return celDouble{i}, nil
			}
			return i, nil
		},
	}
}

// celCounts reports whether a function counts with its arguments, rather than move them.
func celCounts(function string) bool {
	switch function {
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, operators.Modulo, operators.Negate,
		operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, "int", "uint", "double":
		return true
	}
	return strings.HasPrefix(function, "math.")
}

// celVaries reports whether an argument has anything of the event: what is constant, cel-go computes at start.
func celVaries(e ast.Expr) bool {
	varies := false
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) { varies = varies || e.Kind() == ast.IdentKind }))
	return varies
}

// celMayBe reports whether a value of the checked type may be of a kind when the program runs.
func celMayBe(t *types.Type, kinds ...types.Kind) bool {
	for _, kind := range kinds {
		if t.Kind() == kind {
			return true
		}
	}
	switch t.Kind() {
	case types.DynKind, types.AnyKind, types.TypeParamKind, types.OpaqueKind:
		return true
	}
	return false
}

// celHeavy reports whether a call's guard has anything to look at: operators have scalars mostly.
func celHeavy(tree *ast.AST, function string, args []ast.Expr) bool {
	may := func(e ast.Expr, kinds ...types.Kind) bool { return celMayBe(tree.GetType(e.ID()), kinds...) }
	switch function {
	case operators.Add: // what a literal adds in a loop, the loop's cost bounds
		return may(args[0], types.ListKind, types.StringKind, types.BytesKind) &&
			may(args[1], types.ListKind, types.StringKind, types.BytesKind) &&
			args[1].Kind() != ast.ListKind && args[1].Kind() != ast.LiteralKind
	case operators.Equals, operators.NotEquals:
		return may(args[0], types.ListKind, types.MapKind) && may(args[1], types.ListKind, types.MapKind)
	case operators.In:
		return may(args[0], types.ListKind, types.MapKind)
	}
	return true
}

// celGuarded is the call behind its guard.
func celGuarded(language *cel.Env, call interpreter.InterpretableCall, g celGuard, clock *celClock) (
	interpreter.InterpretableV2, error) {
	body, err := celBody(language, call)
	if err != nil {
		return nil, err
	}
	ask := clock.look // these take their time
	switch call.Function() {
	case operators.Add, operators.Equals, operators.NotEquals, operators.In:
		ask = clock.over
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		if ask() {
			return types.WrapErr(interpreter.InterruptError{})
		}
		if err := g(args); err != nil {
			return types.WrapErr(err)
		}
		return body(args...)
	}), nil
}

// celBody is what a call does.
func celBody(language *cel.Env, call interpreter.InterpretableCall) (functions.FunctionOp, error) {
	switch call.Function() {
	case operators.Equals:
		return func(args ...ref.Val) ref.Val { return types.Equal(args[0], args[1]) }, nil
	case operators.NotEquals:
		return func(args ...ref.Val) ref.Val { return types.Bool(types.Equal(args[0], args[1]) != types.True) }, nil
	}
	bindings, err := language.Functions()[call.Function()].Bindings()
	if err != nil {
		return nil, err
	}
	var found *functions.Overload
	for _, b := range bindings {
		if b.Operator == call.OverloadID() || found == nil && b.Operator == call.Function() {
			found = b
		}
	}
	switch {
	case found == nil:
		return nil, fmt.Errorf("the function %s has no body", call.Function())
	case found.Function != nil:
		return found.Function, nil
	case found.Binary != nil:
		return func(args ...ref.Val) ref.Val { return found.Binary(args[0], args[1]) }, nil
	case found.Unary != nil:
		return func(args ...ref.Val) ref.Val { return found.Unary(args[0]) }, nil
	}
	return nil, fmt.Errorf("the function %s has no body", call.Function())
}

// celDouble is an argument of a call that counts.
type celDouble struct{ interpreter.InterpretableV2 }

// Exec implements interpreter.InterpretableV2.
func (d celDouble) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := d.InterpretableV2.Exec(frame)
	if x, ok := v.(exact); ok {
		return x.Double
	}
	return v
}

// Eval implements interpreter.Interpretable.
func (d celDouble) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, d.Exec)
}

// celRound is the condition of a comprehension.
type celRound struct {
	interpreter.InterpretableV2
	clock *celClock
}

// Exec implements interpreter.InterpretableV2.
func (r celRound) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	if r.clock.over() {
		return types.WrapErr(interpreter.InterruptError{})
	}
	return r.InterpretableV2.Exec(frame)
}

// Eval implements interpreter.Interpretable.
func (r celRound) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, r.Exec)
}
