package transform

// What compile does to the trees of a template, so that text/template's own run
// is bounded: nothing stops a template from outside, so it is made to ask.
// Texts that are only marks are put where something may repeat, and every loop
// goes over a list or an object: a number of the event's data would be a loop of
// as many rounds.

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// The marks, which templateOutput knows by their place in memory.
var (
	markRound  = []byte{0}
	markCall   = []byte{0}
	markReturn = []byte{0}
)

// The functions that only compile writes into trees.
const (
	printName = "_print"
	eachName  = "_each"
)

// templateInner are these functions.
func templateInner(r *templateRun) template.FuncMap {
	return template.FuncMap{
		printName: func(v reflect.Value) (string, error) { return r.text(operandOf(v)) },
		eachName: func(v reflect.Value) (any, error) {
			o := operandOf(v)
			return o.v, checkEach(o)
		},
	}
}

// checkEach says whether range may go over a value.
func checkEach(o operand) error {
	switch o.v.(type) {
	case nil, []any, map[string]any, map[string]string:
		return nil
	}
	return fmt.Errorf("range is over %s; arrays and objects have items", a(o.v))
}

// prepare rewrites the trees and finds what the template asks for.
func (p *templateProgram) prepare() error {
	t := treeWriter{program: p}
	for _, named := range p.parsed.Templates() {
		if named.Tree == nil || named.Root == nil {
			continue
		}
		t.tree, t.root = named.Tree, named.Name() == templateName
		t.list(named.Root)
		if len(named.Root.Nodes) > 0 && !t.root {
			named.Root.Nodes = slices.Concat(t.mark(markCall), named.Root.Nodes, t.mark(markReturn))
		}
	}
	if t.err != nil {
		return t.err
	}
	slices.Sort(p.names)
	p.names = slices.Compact(p.names)
	p.quick = p.compileQuick()
	return nil
}

// treeWriter rewrites one tree after the other.
type treeWriter struct {
	program *templateProgram
	tree    *parse.Tree
	// root: dot is the event, where the walk is.
	root bool
	err  error
}

func (t *treeWriter) mark(m []byte) []parse.Node {
	return []parse.Node{&parse.TextNode{NodeType: parse.NodeText, Text: m}}
}

func (t *treeWriter) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		t.node(n)
	}
}

func (t *treeWriter) node(n parse.Node) {
	switch n := n.(type) {
	case *parse.ActionNode:
		t.pipe(n.Pipe)
		if len(n.Pipe.Decl) == 0 {
			t.wrap(n.Pipe, printName)
		}
	case *parse.IfNode:
		t.pipe(n.Pipe)
		t.list(n.List)
		t.list(n.ElseList)
	case *parse.WithNode:
		t.pipe(n.Pipe)
		t.within(n.List)
		t.list(n.ElseList)
	case *parse.RangeNode:
		t.pipe(n.Pipe)
		t.wrap(n.Pipe, eachName)
		t.within(n.List)
		n.List.Nodes = append(t.mark(markRound), n.List.Nodes...)
		t.list(n.ElseList)
	case *parse.TemplateNode:
		if called := t.program.parsed.Lookup(n.Name); (called == nil || called.Tree == nil) && t.err == nil {
			where, what := t.tree.ErrorContext(n)
			t.err = templateProblem(fmt.Errorf("template: %s: <%s>: there is no template %q", where, what, n.Name))
		}
		if n.Pipe != nil {
			t.pipe(n.Pipe)
		}
	}
}

// within is list where dot is something else.
func (t *treeWriter) within(l *parse.ListNode) {
	root := t.root
	t.root = false
	t.list(l)
	t.root = root
}

// pipe joins the first command, if it is a mere value, with the function that gets it: text/template gives functions
// null for what is missing, and nothing at all for null, unless it is an argument.
func (t *treeWriter) pipe(p *parse.PipeNode) {
	for _, c := range p.Cmds {
		for _, arg := range c.Args {
			t.argument(arg)
		}
		t.pattern(c)
	}
	for len(p.Cmds) > 1 && len(p.Cmds[0].Args) == 1 && isValue(p.Cmds[0].Args[0]) && isCall(p.Cmds[1]) {
		p.Cmds[1].Args = append(p.Cmds[1].Args, p.Cmds[0].Args[0])
		p.Cmds = p.Cmds[1:]
		t.pattern(p.Cmds[0])
	}
}

// wrap makes a function of ours have the pipeline's value.
func (t *treeWriter) wrap(p *parse.PipeNode, name string) {
	f := parse.NewIdentifier(name).SetPos(p.Pos).SetTree(t.tree)
	call := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: p.Pos, Args: []parse.Node{f}}
	if len(p.Cmds) == 1 && len(p.Cmds[0].Args) == 1 && isValue(p.Cmds[0].Args[0]) {
		call.Args = append(call.Args, p.Cmds[0].Args[0])
		p.Cmds = []*parse.CommandNode{call}
		return
	}
	p.Cmds = append(p.Cmds, call)
}

// isValue: it can be an argument as it is.
func isValue(n parse.Node) bool {
	switch n.(type) {
	case *parse.FieldNode, *parse.VariableNode, *parse.DotNode, *parse.StringNode, *parse.NumberNode, *parse.BoolNode:
		return true
	}
	return false
}

func isCall(c *parse.CommandNode) bool {
	_, ok := c.Args[0].(*parse.IdentifierNode)
	return ok
}

// argument notes what the template asks of the event.
func (t *treeWriter) argument(n parse.Node) {
	switch n := n.(type) {
	case *parse.FieldNode:
		t.name(n.Ident, n)
	case *parse.VariableNode:
		switch {
		case n.Ident[0] != "$":
		case len(n.Ident) > 1:
			t.name(n.Ident[1:], n)
		default:
			t.everything()
		}
	case *parse.DotNode:
		t.everything()
	case *parse.PipeNode:
		t.pipe(n)
	case *parse.ChainNode:
		t.argument(n.Node)
	}
}

// name notes a name, which in a called template or in a loop may be one of something else.
func (t *treeWriter) name(path []string, at parse.Node) {
	name := path[0]
	if name == "data" {
		t.program.wants.path(path[1:])
	}
	if slices.Contains(eventNames, name) {
		t.program.names = append(t.program.names, name)
	} else if t.root && t.err == nil {
		where, what := t.tree.ErrorContext(at)
		t.err = templateProblem(fmt.Errorf("template: %s: <%s>: events have no %s, only %s", where, what, name, strings.Join(eventNames, " ")))
	}
}

// pattern compiles a constant pattern of regexReplace.
func (t *treeWriter) pattern(c *parse.CommandNode) {
	f, ok := c.Args[0].(*parse.IdentifierNode)
	if !ok || f.Ident != "regexReplace" || len(c.Args) < 2 || t.err != nil {
		return
	}
	text, ok := c.Args[1].(*parse.StringNode)
	if !ok || t.program.patterns[text.Text] != nil {
		return
	}
	compiled, err := compilePattern(text.Text)
	if err != nil {
		where, what := t.tree.ErrorContext(c)
		t.err = templateProblem(fmt.Errorf("template: %s: <%s>: %w", where, what, err))
		return
	}
	t.program.patterns[text.Text] = compiled
}

// everything: the template does something with all of the event, or with something else that is dot at that place.
func (t *treeWriter) everything() {
	t.program.names = append(t.program.names, eventNames...)
	t.program.wants.whole = true
}

var eventNames = append([]string{"data", "metadata", "time", "now"}, attributeNames...)
