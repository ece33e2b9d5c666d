package transform

// Lists, objects and comprehensions of CEL programs, made of Go values where
// cel-go would convert each value and back: BenchmarkCEL/eval takes half the time.

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// celLiterals replaces the literals of a program whose parts are all known.
type celLiterals struct {
	adapter *celAdapter
	// lists and objects are the literals by their id; appends the steps that add one item to a growing list.
	lists, appends map[int64]bool
	objects        map[int64][]string
}

func newCELLiterals(tree *ast.AST, adapter *celAdapter) *celLiterals {
	c := &celLiterals{
		adapter: adapter,
		lists:   map[int64]bool{}, appends: map[int64]bool{}, objects: map[int64][]string{},
	}
	root := ast.NavigateAST(tree)
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.ListKind)) {
		if l := e.AsList(); len(l.OptionalIndices()) == 0 && celVaries(e) {
			c.lists[e.ID()] = true
		}
	}
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.MapKind)) {
		if names := celNamesOf(e.AsMap()); names != nil && celVaries(e) {
			c.objects[e.ID()] = names
		}
	}
	for _, e := range ast.MatchDescendants(root, ast.KindMatcher(ast.ComprehensionKind)) {
		c.addStep(e.AsComprehension())
	}
	return c
}

// celNamesOf are the names of an object's fields, if they are all constant and different.
func celNamesOf(m ast.MapExpr) []string {
	var names []string
	seen := map[string]bool{}
	for _, entry := range m.Entries() {
		field := entry.AsMapEntry()
		if field.IsOptional() || field.Key().Kind() != ast.LiteralKind {
			return nil
		}
		name, ok := field.Key().AsLiteral().(types.String)
		if !ok || seen[string(name)] {
			return nil
		}
		seen[string(name)] = true
		names = append(names, string(name))
	}
	return names
}

// addStep finds the @result + [item] of map and filter.
func (c *celLiterals) addStep(fold ast.ComprehensionExpr) {
	step := fold.LoopStep()
	if step.Kind() == ast.CallKind && step.AsCall().FunctionName() == operators.Conditional {
		step = step.AsCall().Args()[1]
	}
	if step.Kind() != ast.CallKind || step.AsCall().FunctionName() != operators.Add {
		return
	}
	args := step.AsCall().Args()
	if args[0].Kind() == ast.IdentKind && args[0].AsIdent() == fold.AccuVar() &&
		args[1].Kind() == ast.ListKind && args[1].AsList().Size() == 1 && c.lists[args[1].ID()] {
		c.appends[step.ID()] = true
	}
}

// decorate is the decorator.
func (c *celLiterals) decorate(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	id := i.ID()
	switch node := i.(type) {
	case interpreter.InterpretableConstructor:
		vals := node.InitVals()
		if c.lists[id] && node.Type() == types.ListType {
			return &celListNode{celParts{id: id, parts: celPartsOf(vals), adapter: c.adapter}}, nil
		}
		if names := c.objects[id]; names != nil && node.Type() == types.MapType && len(vals) == 2*len(names) {
			values := make([]interpreter.InterpretableV2, len(names))
			for n := range names {
				values[n] = vals[2*n+1]
			}
			return &celObjectNode{celParts{id: id, parts: celPartsOf(values), adapter: c.adapter}, names}, nil
		}
	case interpreter.InterpretableCall:
		if c.appends[id] {
			if list, ok := node.Args()[1].(*celListNode); ok {
				return &celAppendNode{InterpretableCall: node, result: node.Args()[0], item: list}, nil
			}
		}
	}
	return i, nil
}

// celPart is one value of a literal.
type celPart struct {
	node interpreter.InterpretableV2
	// attr is node, if it is one: its Go value can be had.
	attr interpreter.InterpretableAttribute
}

func celPartsOf(nodes []interpreter.InterpretableV2) []celPart {
	parts := make([]celPart, len(nodes))
	for i, node := range nodes {
		parts[i].node = node
		parts[i].attr, _ = node.(interpreter.InterpretableAttribute)
	}
	return parts
}

// value is the part's value, and whether it is an error.
func (p *celPart) value(frame *interpreter.ExecutionFrame) (any, *types.Err) {
	if p.attr == nil {
		v := p.node.Exec(frame)
		err, _ := v.(*types.Err)
		return v, err
	}
	v, err := p.attr.Resolve(frame)
	if err != nil {
		return nil, types.LabelErrNode(p.attr.ID(), types.WrapErr(err)).(*types.Err)
	}
	if costs := frame.CostTracker(); costs != nil {
		costs.EvalAttribute(p.attr.ID(), false, nil)
	}
	failed, _ := v.(*types.Err)
	return v, failed
}

// celParts is what the nodes of lists and objects have in common.
type celParts struct {
	id      int64
	parts   []celPart
	adapter *celAdapter
}

// ID implements interpreter.Interpretable.
func (n *celParts) ID() int64 { return n.id }

// celListNode makes a list.
type celListNode struct{ celParts }

// Exec implements interpreter.InterpretableV2.
func (n *celListNode) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	list := &celList{adapter: n.adapter, items: make([]any, 0, len(n.parts))}
	for i := range n.parts {
		v, err := n.parts[i].value(frame)
		if err != nil {
			return err
		}
		list.put(v)
	}
	if costs := frame.CostTracker(); costs != nil {
		costs.CreateList(n.id, nil)
	}
	return list
}

// Eval implements interpreter.Interpretable.
func (n *celListNode) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, n.Exec)
}

// celObjectNode makes an object.
type celObjectNode struct {
	celParts
	names []string
}

// Exec implements interpreter.InterpretableV2.
func (n *celObjectNode) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	object := &celObject{adapter: n.adapter, names: n.names, vals: make([]any, len(n.parts))}
	for i := range n.parts {
		v, err := n.parts[i].value(frame)
		if err != nil {
			return err
		}
		object.vals[i] = object.count(n.names[i], v)
	}
	if costs := frame.CostTracker(); costs != nil {
		costs.CreateMap(n.id, nil)
	}
	return object
}

// Eval implements interpreter.Interpretable.
func (n *celObjectNode) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, n.Exec)
}

// celAppendNode adds an item to the list that a comprehension makes.
type celAppendNode struct {
	interpreter.InterpretableCall
	result interpreter.InterpretableV2
	item   *celListNode
}

// Exec implements interpreter.InterpretableV2.
func (n *celAppendNode) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	result := n.result.Exec(frame)
	list, _ := result.(*celList)
	if list == nil || !list.growing {
		// The comprehension's first item: cel-go gives an empty list that nobody else has, if it has found that
		// nobody can.
		if empty, ok := result.(traits.MutableLister); !ok || empty.Size() != types.IntZero {
			return n.InterpretableCall.Exec(frame)
		}
		list = &celList{adapter: n.item.adapter, growing: true}
	}
	v, err := n.item.parts[0].value(frame)
	if err != nil {
		return err
	}
	if costs := frame.CostTracker(); costs != nil {
		costs.CreateList(n.item.id, nil)
	}
	list.put(v)
	return list
}

// Eval implements interpreter.Interpretable.
func (n *celAppendNode) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, n.Exec)
}
