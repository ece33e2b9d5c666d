package transform

// How expr programs are bounded. expr itself counts the elements of the arrays
// that a program makes, and no more: it cannot be cancelled, texts grow without
// bound, and some functions take quadratic or exponential time. So programs are
// rewritten before they are compiled: each turn of a loop counts a step, and what
// can make much out of little asks the meter first.

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/vm/runtime"
)

// No program can spell these names.
const (
	meterName = " meter"
	stepName  = " step"
	addName   = " add"
	joinName  = " concat"
	// memberName is no guard: it finds members of data without reflection, 40 ns instead of 120.
	memberName = " member"
)

// stepFunc is the type of function that expr calls without allocating.
type stepFunc = func(...any) any

func (v *evaluator) step(...any) any {
	if err := v.meter.step(); err != nil {
		panic(err) // which ends the program: expr turns it into its error
	}
	return nil
}

// exprGuards rewrite programs.
var exprGuards = guards()

func guards() []expr.Option {
	options := []expr.Option{
		expr.Patch(guardLoops{}),
		expr.Patch(guardCalls{}),
		expr.Function(addName, guardedAdd, new(func(*meter, any, any) any)),
		expr.Function(joinName, guardedAdd, new(func(*meter, string, string) string)),
	}
	for name, g := range guarded {
		options = append(options, expr.Function(" "+name, g.call(name), g.types...))
	}
	return options
}

// guardLoops counts a step for each turn of all, map, filter, reduce and so on.
type guardLoops struct{}

// Visit implements ast.Visitor.
func (guardLoops) Visit(node *ast.Node) {
	predicate, ok := (*node).(*ast.PredicateNode)
	if !ok {
		return
	}
	if done, ok := predicate.Node.(*ast.SequenceNode); ok && isStep(done.Nodes[0]) {
		return
	}
	count := &ast.CallNode{Callee: &ast.IdentifierNode{Value: stepName}}
	body := &ast.SequenceNode{Nodes: []ast.Node{count, predicate.Node}}
	body.SetLocation(predicate.Node.Location())
	predicate.Node = body
}

func isStep(node ast.Node) bool {
	call, ok := node.(*ast.CallNode)
	if !ok {
		return false
	}
	name, ok := call.Callee.(*ast.IdentifierNode)
	return ok && name.Value == stepName
}

// guardCalls puts guards in the place of + for texts and of the functions in guarded.
type guardCalls struct{}

var (
	textType = reflect.TypeFor[string]()
	anyType  = reflect.TypeFor[any]()
)

// Visit implements ast.Visitor.
func (guardCalls) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		if name, ok := n.Property.(*ast.StringNode); ok && !n.Optional && n.Node.Type() == anyType {
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: memberName}, Arguments: []ast.Node{n.Node, name}})
		}
	case *ast.BinaryNode:
		if n.Operator != "+" {
			return
		}
		left, right := n.Left.Type(), n.Right.Type()
		switch {
		case left == textType && right == textType:
			patchCall(node, joinName, textType, n.Left, n.Right)
		case (left == textType || left == anyType) && (right == textType || right == anyType):
			patchCall(node, addName, anyType, n.Left, n.Right)
		}
	case *ast.BuiltinNode:
		if g, ok := guarded[n.Name]; ok {
			patchCall(node, " "+n.Name, g.out, n.Arguments...)
		}
	}
}

// patchCall puts a call of a guard in the place of node.
func patchCall(node *ast.Node, name string, out reflect.Type, arguments ...ast.Node) {
	call := &ast.CallNode{
		Callee:    &ast.IdentifierNode{Value: name},
		Arguments: append([]ast.Node{&ast.IdentifierNode{Value: meterName}}, arguments...),
	}
	if out != anyType {
		call.SetType(out)
	}
	ast.Patch(node, call)
}

// member is value.name.
func member(value, name any) any {
	if m, ok := value.(map[string]any); ok {
		return m[name.(string)]
	}
	return runtime.Fetch(value, name)
}

func guardedAdd(params ...any) (any, error) {
	a, ok := params[1].(string)
	b, also := params[2].(string)
	if !ok || !also {
		return runtime.Add(params[1], params[2]), nil
	}
	if err := params[0].(*meter).take(len(a) + len(b)); err != nil {
		return nil, err
	}
	return a + b, nil
}

// guard is how a function of expr is bounded.
type guard struct {
	types []any
	out   reflect.Type
	// ask counts what a call is about to take.
	ask func(m *meter, args []any) error
}

// guarded are the functions that can take or make much more than they are given.
var guarded = map[string]guard{
	"repeat": {kinds(new(func(*meter, string, int) string)), textType, askRepeat},
	"replace": {kinds(new(func(*meter, string, string, string) string), new(func(*meter, string, string, string, int) string)),
		textType, askReplace},
	"join":    {kinds(new(func(*meter, any) string), new(func(*meter, any, string) string)), textType, askJoin},
	"toJSON":  {kinds(new(func(*meter, any) string)), textType, askIndented},
	"string":  {kinds(new(func(*meter, any) string)), textType, askWalk},
	"uniq":    {kinds(new(func(*meter, any) []any)), reflect.TypeFor[[]any](), askSquare},
	"flatten": {kinds(new(func(*meter, any) []any)), reflect.TypeFor[[]any](), askWalk},
	"min":     {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
	"max":     {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
	"mean":    {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
	"median":  {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
}

func kinds(types ...any) []any { return types }

// call is the function behind its guard.
func (g guard) call(name string) func(params ...any) (any, error) {
	original := builtin.Builtins[builtin.Index[name]]
	return func(params ...any) (any, error) {
		args := params[1:]
		if err := g.ask(params[0].(*meter), args); err != nil {
			return nil, err
		}
		switch {
		case original.Func != nil:
			return original.Func(args...)
		case original.Safe != nil:
			out, _, err := original.Safe(args...)
			return out, err
		}
		return original.Fast(args[0]), nil
	}
}

func askRepeat(m *meter, args []any) error {
	s, times := args[0].(string), runtime.ToInt(args[1])
	if times <= 0 || len(s) == 0 {
		return nil
	}
	if times > maxMemory/len(s) {
		return m.take(maxMemory + 1)
	}
	return m.take(len(s) * times)
}

func askReplace(m *meter, args []any) error {
	s, old, with := args[0].(string), args[1].(string), args[2].(string)
	if len(with) <= len(old) {
		return m.take(len(s))
	}
	times := strings.Count(s, old)
	if len(args) == 4 {
		if most := runtime.ToInt(args[3]); most >= 0 {
			times = min(times, most)
		}
	}
	return m.take(len(s) + times*(len(with)-len(old))) // at most 2^20 times 2^20 and some
}

func askJoin(m *meter, args []any) error {
	glue := 0
	if len(args) == 2 {
		s, ok := args[1].(string)
		if !ok {
			return fmt.Errorf("join: the separator is a %T, not a text", args[1])
		}
		glue = len(s)
	}
	switch list := args[0].(type) {
	case []any:
		for _, v := range list {
			s, ok := v.(string)
			if !ok {
				return fmt.Errorf("join: an element is a %T, not a text", v)
			}
			if err := m.take(len(s) + glue + 32); err != nil { // expr makes a list of strings first
				return err
			}
		}
	case []string:
		for _, s := range list {
			if err := m.take(len(s) + glue); err != nil {
				return err
			}
		}
	}
	return nil
}

// askWalk is for functions that walk through all of their arguments and make some bytes of each value.
func askWalk(m *meter, args []any) error {
	for _, arg := range args {
		if err := m.weigh(arg, 32); err != nil {
			return err
		}
	}
	return nil
}

// askIndented: toJSON indents; a value takes at most 2 bytes for each level above it.
func askIndented(m *meter, args []any) error { return m.weigh(args[0], 64) }

// askSquare is for uniq, which compares each element with all others.
func askSquare(m *meter, args []any) error {
	v := reflect.ValueOf(args[0])
	if v.Kind() != reflect.Slice && v.Kind() != reflect.Array {
		return nil
	}
	n := v.Len()
	if err := m.work(n * n / 2); err != nil {
		return err
	}
	return m.take(32 * n)
}
