package transform

// How expr programs are bounded. expr itself counts the elements of the arrays
// that a program makes, and no more: it cannot be cancelled, texts grow without
// bound, and some functions take quadratic or exponential time. So programs are
// rewritten before they are compiled: each turn of a loop counts a step, and what
// can make much out of little asks the meter first.

import (
	"fmt"
	"reflect"
	"regexp"

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
	equalName  = " equal"
	inName     = " in"
	keyName    = " key"
	matchName  = " matches"
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
		expr.Function(equalName, guardedEqual, new(func(*meter, any, any) bool)),
		expr.Function(inName, guardedIn, new(func(*meter, any, any) bool)),
		expr.Function(matchName, guardedMatch, new(func(*meter, any, any) bool)),
		expr.Function(keyName, passed(askKey), new(func(*meter, any) any)),
	}
	for name, ask := range passing {
		options = append(options, expr.Function(" of "+name, passed(ask), new(func(*meter, any) any)))
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
	textType  = reflect.TypeFor[string]()
	anyType   = reflect.TypeFor[any]()
	truthType = reflect.TypeFor[bool]()
)

// Visit implements ast.Visitor.
func (guardCalls) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		guardKey(&n.Property)
		if name, ok := n.Property.(*ast.StringNode); ok && !n.Optional && n.Node.Type() == anyType {
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: memberName}, Arguments: []ast.Node{n.Node, name}})
		}
	case *ast.SliceNode:
		guardKey(&n.From)
		guardKey(&n.To)
	case *ast.BinaryNode:
		guardOperator(node, n)
	case *ast.BuiltinNode:
		if g, ok := guarded[n.Name]; ok {
			patchCall(node, " "+n.Name, g.out, n.Arguments...)
		}
		if _, ok := passing[n.Name]; ok && !counted(n) {
			patchCall(&n.Arguments[0], " of "+n.Name, anyType, n.Arguments[0])
		}
	case *ast.CallNode:
		if name, ok := n.Callee.(*ast.IdentifierNode); ok && (name.Value == "hash" || name.Value == "sha256") {
			patchCall(&n.Arguments[0], " of text", textType, n.Arguments[0])
		}
	}
}

// counted reports whether the array that a function goes through has been made by a loop just now: its turns were counted.
// What expr's optimizer knows is left to it.
func counted(n *ast.BuiltinNode) bool {
	if n.Name != "sum" {
		return false
	}
	switch list := n.Arguments[0].(type) {
	case *ast.ArrayNode:
		return true
	case *ast.BinaryNode:
		return list.Operator == ".."
	case *ast.BuiltinNode:
		return list.Name == "map" || list.Name == "filter"
	}
	return len(n.Arguments) > 1
}

// guardOperator puts guards in the place of what walks through its operands.
func guardOperator(node *ast.Node, n *ast.BinaryNode) {
	left, right := n.Left.Type(), n.Right.Type()
	switch n.Operator {
	case "+":
		switch {
		case left == textType && right == textType:
			patchCall(node, joinName, textType, n.Left, n.Right)
		case (left == textType || left == anyType) && (right == textType || right == anyType):
			patchCall(node, addName, anyType, n.Left, n.Right)
		}
	case "==", "!=":
		if !mayNest(left) || !mayNest(right) {
			return
		}
		operator := n.Operator
		patchCall(node, equalName, truthType, n.Left, n.Right)
		if operator == "!=" {
			ast.Patch(node, &ast.UnaryNode{Operator: "not", Node: *node})
		}
	case "in":
		if _, ok := n.Right.(*ast.ArrayNode); !ok && mayNest(right) && right.Kind() != reflect.Map || ok && mayNest(left) && !literals(n.Right) {
			patchCall(node, inName, truthType, n.Left, n.Right)
		}
	case "matches":
		if source, ok := n.Right.(*ast.StringNode); ok {
			if p, err := compilePattern(source.Value); err == nil {
				patchCall(node, matchName, truthType, n.Left, &ast.ConstantNode{Value: p})
			}
			return
		}
		patchCall(node, matchName, truthType, n.Left, n.Right)
	}
}

// mayNest reports whether values of a type may have elements or members.
func mayNest(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface, reflect.Slice, reflect.Array, reflect.Map:
		return true
	}
	return false
}

// literals reports whether an array has nothing but scalars that are written there.
func literals(array ast.Node) bool {
	for _, element := range array.(*ast.ArrayNode).Nodes {
		switch element.(type) {
		case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NilNode:
		default:
			return false
		}
	}
	return true
}

// guardKey is for an index, a name or a bound that is computed.
func guardKey(node *ast.Node) {
	if *node != nil && mayNest((*node).Type()) {
		patchCall(node, keyName, anyType, *node)
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

func guardedEqual(params ...any) (any, error) {
	if err := askEqual(params[0].(*meter), params[1], params[2]); err != nil {
		return nil, err
	}
	return runtime.Equal(params[1], params[2]), nil
}

func guardedIn(params ...any) (any, error) {
	if err := askIn(params[0].(*meter), params[1], params[2]); err != nil {
		return nil, err
	}
	return runtime.In(params[1], params[2]), nil
}

// sizedPattern is a regular expression that is compiled, with its states.
type sizedPattern struct {
	*regexp.Regexp
	states int
}

func compilePattern(source string) (*sizedPattern, error) {
	states, err := patternSteps(source)
	if err != nil {
		return nil, err
	}
	r, err := regexp.Compile(source)
	return &sizedPattern{r, states}, err
}

// guardedMatch is matches; a pattern that is constant comes compiled.
func guardedMatch(params ...any) (any, error) {
	if runtime.IsNil(params[1]) || runtime.IsNil(params[2]) {
		return false, nil
	}
	m := params[0].(*meter)
	text, ok := params[1].(string)
	if !ok {
		return nil, fmt.Errorf("matches: a value of the type %T; a text is wanted", params[1])
	}
	p, ok := params[2].(*sizedPattern)
	if !ok {
		source, ok := params[2].(string)
		if !ok {
			return nil, fmt.Errorf("matches: the pattern is a value of the type %T; a text is wanted", params[2])
		}
		states, err := patternSteps(source)
		if err != nil {
			return nil, err
		}
		if err := m.work(compileSteps(states)); err != nil {
			return nil, err
		}
		if p, err = compilePattern(source); err != nil {
			return nil, err
		}
	}
	if err := m.work(matchSteps(p.states, len(text))); err != nil {
		return nil, err
	}
	return p.MatchString(text), nil
}

// passed is a function that gives its operand once it has asked.
func passed(ask func(m *meter, args []any) error) func(params ...any) (any, error) {
	return func(params ...any) (any, error) {
		if err := ask(params[0].(*meter), params[1:]); err != nil {
			return nil, err
		}
		return params[1], nil
	}
}

// passing are asked about the first operand of what cannot be called by its name: functions with a predicate, and our own.
var passing = map[string]func(m *meter, args []any) error{
	"sum": askSum, "sortBy": askSortedBy, "groupBy": askSortedBy, "text": askLine,
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
	"join":       {kinds(new(func(*meter, any) string), new(func(*meter, any, string) string)), textType, askJoin},
	"toJSON":     {kinds(new(func(*meter, any) string)), textType, askIndented},
	"string":     {kinds(new(func(*meter, any) string)), textType, askWalk},
	"uniq":       {kinds(new(func(*meter, any) []any)), reflect.TypeFor[[]any](), askUnique},
	"flatten":    {kinds(new(func(*meter, any) []any)), reflect.TypeFor[[]any](), askWalk},
	"min":        {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
	"max":        {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
	"mean":       {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
	"median":     {kinds(new(func(*meter, ...any) any)), anyType, askWalk},
	"sort":       {kinds(new(func(*meter, any) []any), new(func(*meter, any, string) []any)), reflect.TypeFor[[]any](), askSorted},
	"split":      {splitKinds, reflect.TypeFor[[]string](), askSplit},
	"splitAfter": {splitKinds, reflect.TypeFor[[]string](), askSplit},
	"fromJSON":   {kinds(new(func(*meter, string) any)), anyType, askFromJSON},
	"upper":      {lineKinds, textType, askLine}, "lower": {lineKinds, textType, askLine},
	"toBase64": {lineKinds, textType, askLine}, "fromBase64": {lineKinds, textType, askLine},
	"trim": {trimKinds, textType, askTrim},
	"keys": {pairKinds, reflect.TypeFor[[]any](), askPairs}, "values": {pairKinds, reflect.TypeFor[[]any](), askPairs},
	"toPairs":   {pairKinds, reflect.TypeFor[[]any](), askPairs},
	"fromPairs": {kinds(new(func(*meter, any) map[string]any)), reflect.TypeFor[map[string]any](), askWhole},
	"get":       {kinds(new(func(*meter, any, any) any)), anyType, askGet},
}

func kinds(types ...any) []any { return types }

var (
	lineKinds  = kinds(new(func(*meter, string) string))
	trimKinds  = kinds(new(func(*meter, string) string), new(func(*meter, string, string) string))
	splitKinds = kinds(new(func(*meter, string, string) []string), new(func(*meter, string, string, int) []string))
	pairKinds  = kinds(new(func(*meter, any) []any))
)

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
