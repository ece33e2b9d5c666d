package transform

// Where in a CEL program something is put around its parts: guards, weights,
// steps of the meter, doubles for exact numbers.

import (
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
)

// celDecorators put the guards around calls, give calls doubles for exact numbers, and ask the meter in each round of a
// comprehension.
func celDecorators(language *cel.Env, tree *ast.AST, l limits, m *meter) []interpreter.InterpretableDecoratorV2 {
	guards := celGuards(4 * l.output)
	places := celPlacesOf(tree, guards)
	literals := newCELLiterals(tree, language.CELTypeAdapter().(*celAdapter))
	return []interpreter.InterpretableDecoratorV2{
		literals.decorate,
		func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
			call, ok := i.(interpreter.InterpretableCall)
			switch {
			case !ok || !places.heavy[call.ID()]:
				return i, nil
			case call.Function() == "matches":
				return celMatches(call, m)
			}
			return celGuarded(language, call, guards[call.Function()], m)
		},
		func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
			id := i.ID()
			if places.rounds[id] {
				return celRound{i, m}, nil
			}
			if _, ok := i.(interpreter.InterpretableConst); ok {
				return i, nil
			}
			if places.loose[id] {
				i = celDouble{i}
			}
			if r, ok := places.long[id]; ok {
				i = celLong{i, m, r}
			}
			return i, nil
		},
	}
}

// celPlaces are the parts of a program that need something, by their id.
type celPlaces struct {
	// rounds are conditions of comprehensions; loose are arguments that may be an exact number; heavy are calls whose
	// arguments may be heavy; long are arguments of calls that go through them once.
	rounds, loose, heavy map[int64]bool
	long                 map[int64]celRate
}

func celPlacesOf(tree *ast.AST, guards map[string]celGuard) celPlaces {
	p := celPlaces{rounds: map[int64]bool{}, loose: map[int64]bool{}, heavy: map[int64]bool{}, long: map[int64]celRate{}}
	root := ast.NavigateAST(tree)
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.ComprehensionKind)) {
		fold := e.AsComprehension()
		p.rounds[fold.LoopCondition().ID()] = true
		if over := fold.IterRange(); celMayBe(tree.GetType(over.ID()), types.MapKind) && celVaries(over) {
			p.long[over.ID()] = celKeys
		}
	}
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.CallKind)) {
		call := e.AsCall()
		name, args := call.FunctionName(), call.Args()
		if call.IsMemberFunction() {
			args = append([]ast.Expr{call.Target()}, args...)
		}
		rate, isLong := celRates[name]
		isLong = isLong && !celAppends(name, args)
		for _, arg := range args {
			if !celVaries(arg) {
				continue
			}
			t := tree.GetType(arg.ID())
			if celCounts(name) && celMayBe(t, types.DoubleKind) {
				p.loose[arg.ID()] = true
			}
			if isLong && celMayBe(t, types.StringKind, types.BytesKind, types.ListKind, types.MapKind) {
				p.long[arg.ID()] = rate
			}
		}
		if _, guarded := guards[name]; guarded {
			p.heavy[e.ID()] = celHeavy(tree, name, args)
		}
	}
	return p
}

// celAppends reports whether a call adds items that are written there to a list, as each round of map and filter does:
// celAppendNode has to find them, and the loop's cost bounds it.
func celAppends(function string, args []ast.Expr) bool {
	return function == operators.Add && args[1].Kind() == ast.ListKind
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
		return may(args[1], types.ListKind) && args[1].Kind() != ast.ListKind || may(args[0], types.ListKind, types.MapKind)
	}
	return true
}
