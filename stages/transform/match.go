package transform

// Conditions over attributes, and texts of them, without expr's machine. An event that no rule is for
// should cost next to nothing, so the common shapes (comparisons with constants,
// in, startsWith, endsWith, contains, matches, joined by and, or, not) become
// functions that look at the event's bytes. Everything else runs on the machine;
// TestQuickMatchesAreExprs holds both equal.

import (
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/parser"

	"github.com/event-gateway/event-gateway/stages"
)

// test says yes or no to an event.
type test func(ev *stages.Event) bool

// text is a text of an event, valid as long as the event's views.
type text func(ev *stages.Event) string

// condition is MATCH or FILTER: quick, or a program.
type condition struct {
	quick   test
	program *exprProgram
}

// compileCondition compiles source, which must give a truth value. gateway is the instance's name.
func compileCondition(source, gateway string) (*condition, error) {
	p, err := compileExpr(source, expr.AsBool())
	if err != nil {
		return nil, err
	}
	c := &condition{program: p}
	if tree, err := parser.Parse(source); err == nil {
		q := quick{gateway}
		c.quick, _ = q.test(tree.Node)
	}
	return c, nil
}

// compileText compiles what gives a text: SET and TOPIC.
func compileText(source, gateway string) (*exprProgram, error) {
	p, err := compileExpr(source)
	if err != nil {
		return nil, err
	}
	if tree, err := parser.Parse(source); err == nil {
		q := quick{gateway}
		if get, constant, ok := q.text(tree.Node); ok {
			p.quick = fixed(get, constant)
		}
	}
	return p, nil
}

// quick makes functions of expressions. Its methods return false for what it does not know.
type quick struct{ gateway string }

func (q quick) test(node ast.Node) (test, bool) {
	switch n := node.(type) {
	case *ast.BoolNode:
		return func(*stages.Event) bool { return n.Value }, true
	case *ast.UnaryNode:
		if n.Operator != "not" && n.Operator != "!" {
			return nil, false
		}
		inner, ok := q.test(n.Node)
		return func(ev *stages.Event) bool { return !inner(ev) }, ok
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&", "or", "||":
			return q.both(n)
		case "in":
			return q.in(n)
		case "matches":
			return q.matches(n)
		}
		return q.compare(n)
	}
	return nil, false
}

func (q quick) both(n *ast.BinaryNode) (test, bool) {
	left, ok := q.test(n.Left)
	right, also := q.test(n.Right)
	if !ok || !also {
		return nil, false
	}
	if n.Operator == "and" || n.Operator == "&&" {
		return func(ev *stages.Event) bool { return left(ev) && right(ev) }, true
	}
	return func(ev *stages.Event) bool { return left(ev) || right(ev) }, true
}

func (q quick) compare(n *ast.BinaryNode) (test, bool) {
	left, leftConstant, ok := q.text(n.Left)
	right, rightConstant, also := q.text(n.Right)
	if !ok || !also {
		return nil, false
	}
	if left == nil && (n.Operator == "==" || n.Operator == "!=") {
		left, leftConstant, right, rightConstant = right, rightConstant, left, leftConstant
	}
	left, constant := fixed(left, leftConstant), right == nil
	if constant {
		return compareConstant(n.Operator, left, rightConstant)
	}
	switch n.Operator {
	case "==":
		return func(ev *stages.Event) bool { return left(ev) == right(ev) }, true
	case "!=":
		return func(ev *stages.Event) bool { return left(ev) != right(ev) }, true
	case "startsWith":
		return func(ev *stages.Event) bool { return strings.HasPrefix(left(ev), right(ev)) }, true
	case "endsWith":
		return func(ev *stages.Event) bool { return strings.HasSuffix(left(ev), right(ev)) }, true
	case "contains":
		return func(ev *stages.Event) bool { return strings.Contains(left(ev), right(ev)) }, true
	}
	return nil, false
}

func compareConstant(operator string, left text, constant string) (test, bool) {
	switch operator {
	case "==":
		return func(ev *stages.Event) bool { return left(ev) == constant }, true
	case "!=":
		return func(ev *stages.Event) bool { return left(ev) != constant }, true
	case "startsWith":
		return func(ev *stages.Event) bool { return strings.HasPrefix(left(ev), constant) }, true
	case "endsWith":
		return func(ev *stages.Event) bool { return strings.HasSuffix(left(ev), constant) }, true
	case "contains":
		return func(ev *stages.Event) bool { return strings.Contains(left(ev), constant) }, true
	}
	return nil, false
}

// in: a text in an array of constants, or a name in metadata.
func (q quick) in(n *ast.BinaryNode) (test, bool) {
	left, constant, ok := q.text(n.Left)
	if !ok {
		return nil, false
	}
	left = fixed(left, constant)
	switch list := n.Right.(type) {
	case *ast.ArrayNode:
		var values []string
		for _, element := range list.Nodes {
			s, ok := element.(*ast.StringNode)
			if !ok {
				return nil, false
			}
			values = append(values, s.Value)
		}
		if len(values) > 8 {
			set := make(map[string]struct{}, len(values))
			for _, v := range values {
				set[v] = struct{}{}
			}
			return func(ev *stages.Event) bool { _, ok := set[left(ev)]; return ok }, true
		}
		return func(ev *stages.Event) bool { return slices.Contains(values, left(ev)) }, true
	case *ast.IdentifierNode:
		if list.Value == "metadata" {
			return func(ev *stages.Event) bool { _, ok := entry(ev, left(ev)); return ok }, true
		}
	}
	return nil, false
}

func (q quick) matches(n *ast.BinaryNode) (test, bool) {
	left, constant, ok := q.text(n.Left)
	pattern, also := n.Right.(*ast.StringNode)
	if !ok || !also {
		return nil, false
	}
	r, err := regexp.Compile(pattern.Value)
	if err != nil {
		return nil, false
	}
	left = fixed(left, constant)
	return func(ev *stages.Event) bool { return r.MatchString(left(ev)) }, true
}

// text is an attribute or a constant; the function is nil for a constant.
func (q quick) text(node ast.Node) (get text, constant string, ok bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return nil, n.Value, true
	case *ast.IdentifierNode:
		if n.Value == "gateway" {
			return nil, q.gateway, true
		}
		get, ok = attributes[n.Value]
		return get, "", ok
	case *ast.ChainNode:
		return q.text(n.Node)
	case *ast.ConditionalNode:
		get, ok = q.choice(n)
		return get, "", ok
	case *ast.MemberNode:
		base, ok := n.Node.(*ast.IdentifierNode)
		name, also := n.Property.(*ast.StringNode)
		if !ok || !also || base.Value != "metadata" {
			return nil, "", false
		}
		return func(ev *stages.Event) string { v, _ := entry(ev, name.Value); return v }, "", true
	}
	return nil, "", false
}

// choice is condition ? text : text.
func (q quick) choice(n *ast.ConditionalNode) (text, bool) {
	condition, ok := q.test(n.Cond)
	yes, yesConstant, also := q.text(n.Exp1)
	no, noConstant, too := q.text(n.Exp2)
	if !ok || !also || !too {
		return nil, false
	}
	yes, no = fixed(yes, yesConstant), fixed(no, noConstant)
	return func(ev *stages.Event) string {
		if condition(ev) {
			return yes(ev)
		}
		return no(ev)
	}, true
}

// fixed is get, or what gives the constant.
func fixed(get text, constant string) text {
	if get == nil {
		return func(*stages.Event) string { return constant }
	}
	return get
}

var attributes = map[string]text{
	"id":            func(ev *stages.Event) string { return textOf(ev.ID.Value) },
	"source":        func(ev *stages.Event) string { return textOf(ev.Source.Value) },
	"type":          func(ev *stages.Event) string { return textOf(ev.Type.Value) },
	"partition_key": func(ev *stages.Event) string { return textOf(ev.PartitionKey.Value) },
	"subject":       subjectOf, "data_content_type": contentTypeOf, "client": clientOf,
}

func subjectOf(ev *stages.Event) string {
	if !ev.More { // its cache line stays where it is
		return ""
	}
	return textOf(ev.Subject.Value)
}

func contentTypeOf(ev *stages.Event) string {
	if !ev.More {
		return ""
	}
	return textOf(ev.DataContentType.Value)
}

func clientOf(ev *stages.Event) string {
	if ev.Msg.Client == nil {
		return ""
	}
	return ev.Msg.Client.Name
}

// entry is the value of a metadata name, the last one if it is there twice.
func entry(ev *stages.Event, name string) (string, bool) {
	for i := len(ev.Metadata) - 1; i >= 0; i-- {
		if string(ev.Metadata[i].Name) == name {
			return textOf(ev.Metadata[i].Value), true
		}
	}
	return "", false
}
