package transform

// A template run without reflection: the same trees that text/template would run,
// as functions over values of JSON, ten times as fast (BenchmarkTemplate). What
// these values cannot tell, the methods of a time, is left to text/template:
// errSlow sends the event there. TestQuickTemplates and FuzzTemplate hold both
// ways equal.

import (
	"errors"
	"fmt"
	"strings"
	"text/template/parse"
)

// errSlow says that only text/template can run this.
var errSlow = errors.New("text/template has to run this")

// step is one node of a template, value one operand.
type (
	step  func(f *frame) error
	value func(f *frame) (operand, error)
)

// frame is a template that runs: what dot is, and the variables, of which the first is $.
type frame struct {
	r    *templateRun
	dot  operand
	vars []operand
}

// body is a template as steps.
type body struct {
	steps []step
	// vars is how many variables there are at most.
	vars int
}

// quickTemplate is a set of templates.
type quickTemplate struct {
	bodies map[string]*body
}

// How a loop's body may end.
var (
	errBreak    = errors.New("break")
	errContinue = errors.New("continue")
)

// run runs the template for the event that r shows.
func (q *quickTemplate) run(r *templateRun) error {
	return q.bodies[templateName].run(r, operand{r.dot, true})
}

func (b *body) run(r *templateRun, dot operand) error {
	first := len(r.vars)
	for range b.vars {
		r.vars = append(r.vars, operand{})
	}
	f := frame{r: r, dot: dot, vars: r.vars[first:len(r.vars):len(r.vars)]}
	f.vars[0] = dot
	err := runAll(&f, b.steps)
	clear(f.vars)
	r.vars = r.vars[:first]
	return err
}

func runAll(f *frame, steps []step) error {
	for _, s := range steps {
		if err := s(f); err != nil {
			return err
		}
	}
	return nil
}

// compileQuick gives nil when text/template has to run the template.
func (p *templateProgram) compileQuick() (q *quickTemplate) {
	q = &quickTemplate{bodies: map[string]*body{}}
	named := p.parsed.Templates()
	for _, t := range named {
		q.bodies[t.Name()] = &body{}
	}
	for _, t := range named {
		if t.Tree == nil {
			continue
		}
		c := quickCompiler{q: q, tree: t.Tree, scope: []string{"$"}, most: 1}
		b := q.bodies[t.Name()]
		b.steps = c.list(t.Root)
		b.vars = c.most
		if c.slow {
			return nil
		}
	}
	if q.bodies[templateName] == nil {
		q.bodies[templateName] = &body{vars: 1} // nothing but definitions
	}
	return q
}

// quickCompiler compiles one tree.
type quickCompiler struct {
	q    *quickTemplate
	tree *parse.Tree
	// scope are the variables at hand, most how many there are at most.
	scope []string
	most  int
	// slow: something is only for text/template.
	slow bool
}

func (c *quickCompiler) list(l *parse.ListNode) (steps []step) {
	if l == nil {
		return nil
	}
	for _, n := range l.Nodes {
		if s := c.node(n); s != nil {
			steps = append(steps, s)
		}
	}
	return steps
}

// scoped is list with its own variables.
func (c *quickCompiler) scoped(l *parse.ListNode) []step {
	depth := len(c.scope)
	steps := c.list(l)
	c.scope = c.scope[:depth]
	return steps
}

func (c *quickCompiler) node(n parse.Node) step {
	switch n := n.(type) {
	case *parse.TextNode:
		return textStep(n.Text)
	case *parse.CommentNode:
		return nil
	case *parse.ActionNode:
		return c.action(n)
	case *parse.IfNode:
		return c.branch(&n.BranchNode, false)
	case *parse.WithNode:
		return c.branch(&n.BranchNode, true)
	case *parse.RangeNode:
		return c.loop(n)
	case *parse.BreakNode:
		return func(*frame) error { return errBreak }
	case *parse.ContinueNode:
		return func(*frame) error { return errContinue }
	case *parse.TemplateNode:
		return c.call(n)
	}
	c.slow = true
	return nil
}

// textStep writes text, or does what a mark is for.
func textStep(text []byte) step {
	return func(f *frame) error {
		_, err := f.r.out.Write(text)
		return err
	}
}

// at makes errors say where they are.
func (c *quickCompiler) at(n parse.Node, err error) error {
	if errors.Is(err, errSlow) || errors.Is(err, errLimit) {
		return err
	}
	where, what := c.tree.ErrorContext(n)
	_, where, _ = strings.Cut(where, ":")
	what = strings.TrimSuffix(strings.TrimPrefix(what, "{{"), "}}")
	return fmt.Errorf("%s: <%s>: %w", where, inner.Replace(what), err)
}

// action prints, or sets variables.
func (c *quickCompiler) action(n *parse.ActionNode) step {
	if len(n.Pipe.Decl) > 0 {
		v := c.pipe(n.Pipe)
		return func(f *frame) error {
			if _, err := v(f); err != nil {
				return c.at(n, err)
			}
			return nil
		}
	}
	v, asJSON := c.printed(n.Pipe)
	return func(f *frame) error {
		r := f.r
		o, err := v(f)
		switch {
		case err != nil:
		case !asJSON:
			r.out.text, err = r.appendText(r.out.text, o)
		case !o.ok:
			err = errMissing
		default:
			r.out.text, err = r.appendJSON(r.out.text, o.v)
		}
		if err == nil {
			err = r.meter.step()
		}
		if err != nil {
			return c.at(n, err)
		}
		return r.out.fits()
	}
}

// printed is the value that an action prints, and whether as JSON.
func (c *quickCompiler) printed(p *parse.PipeNode) (v value, asJSON bool) {
	last := p.Cmds[len(p.Cmds)-1]
	if len(last.Args) == 2 { // _print value
		return c.operand(last.Args[1]), false
	}
	cmds := p.Cmds[:len(p.Cmds)-1]
	call := cmds[len(cmds)-1]
	if f, ok := call.Args[0].(*parse.IdentifierNode); ok && f.Ident == "json" {
		switch {
		case len(cmds) == 1 && len(call.Args) == 2:
			return c.operand(call.Args[1]), true
		case len(cmds) > 1 && len(call.Args) == 1:
			return c.commands(cmds[:len(cmds)-1]), true
		}
	}
	return c.commands(cmds), false
}

// pipe is a pipeline, with the variables that it sets.
func (c *quickCompiler) pipe(p *parse.PipeNode) value {
	v := c.commands(p.Cmds)
	if len(p.Decl) == 0 {
		return v
	}
	var slots []int
	for _, d := range p.Decl {
		slots = append(slots, c.variable(d.Ident[0], !p.IsAssign))
	}
	return func(f *frame) (operand, error) {
		o, err := v(f)
		for _, slot := range slots {
			f.vars[slot] = o
		}
		return o, err
	}
}

// variable is the place of a variable.
func (c *quickCompiler) variable(name string, isNew bool) int {
	if isNew {
		c.scope = append(c.scope, name)
		c.most = max(c.most, len(c.scope))
		return len(c.scope) - 1
	}
	for i := len(c.scope) - 1; i >= 0; i-- {
		if c.scope[i] == name {
			return i
		}
	}
	c.slow = true
	return 0
}

// commands is a pipeline's value. What is null between commands is as good as missing.
func (c *quickCompiler) commands(cmds []*parse.CommandNode) value {
	var v value
	for _, cmd := range cmds {
		v = c.command(cmd, v)
	}
	return v
}

func (c *quickCompiler) command(cmd *parse.CommandNode, final value) value {
	if f, ok := cmd.Args[0].(*parse.IdentifierNode); ok {
		return c.function(f.Ident, cmd.Args[1:], final)
	}
	if _, isNil := cmd.Args[0].(*parse.NilNode); isNil || len(cmd.Args) > 1 || final != nil {
		c.slow = true // the call of a method, or an error
		return nil
	}
	v := c.operand(cmd.Args[0])
	return func(f *frame) (operand, error) {
		o, err := v(f)
		o.ok = o.ok && o.v != nil
		return o, err
	}
}

// function is a call. final is what comes through the pipeline, as the last argument.
func (c *quickCompiler) function(name string, args []parse.Node, final value) value {
	values := make([]value, 0, len(args)+1)
	for _, arg := range args {
		values = append(values, c.operand(arg))
	}
	if final != nil {
		values = append(values, final)
	}
	switch name {
	case "and", "or":
		return c.shortCircuit(name == "or", values)
	case eachName:
		return func(f *frame) (operand, error) {
			o, err := values[0](f)
			if err == nil {
				err = checkEach(o)
			}
			return o, err
		}
	}
	called, ok := templateCalls[name]
	if !ok {
		c.slow = true
		return nil
	}
	return func(f *frame) (operand, error) {
		r := f.r
		first := len(r.args)
		for _, v := range values {
			o, err := v(f)
			if err != nil {
				return operand{}, err
			}
			r.args = append(r.args, o)
		}
		v, err := called.apply(r, r.args[first:len(r.args):len(r.args)])
		r.args = r.args[:first]
		return operand{v, v != nil}, err
	}
}

// shortCircuit is and, and or.
func (c *quickCompiler) shortCircuit(or bool, values []value) value {
	if len(values) == 0 {
		c.slow = true
		return nil
	}
	return func(f *frame) (o operand, err error) {
		for _, v := range values {
			if o, err = v(f); err != nil || truth(o) == or {
				break
			}
		}
		o.ok = o.ok && o.v != nil
		return o, err
	}
}

// operand is a value as an argument.
func (c *quickCompiler) operand(n parse.Node) value {
	switch n := n.(type) {
	case *parse.DotNode:
		return func(f *frame) (operand, error) { return f.dot, nil }
	case *parse.FieldNode:
		names := n.Ident
		return func(f *frame) (operand, error) { return fieldOf(f.dot, names) }
	case *parse.VariableNode:
		slot, names := c.variable(n.Ident[0], false), n.Ident[1:]
		return func(f *frame) (operand, error) { return fieldOf(f.vars[slot], names) }
	case *parse.ChainNode:
		v, names := c.operand(n.Node), n.Field
		return func(f *frame) (operand, error) {
			o, err := v(f)
			if err != nil {
				return o, err
			}
			return fieldOf(o, names)
		}
	case *parse.PipeNode:
		return c.pipe(n)
	case *parse.IdentifierNode:
		return c.function(n.Ident, nil, nil)
	case *parse.NilNode:
		return func(*frame) (operand, error) { return operand{}, nil }
	case *parse.StringNode:
		return constant(n.Text)
	case *parse.BoolNode:
		return constant(n.True)
	case *parse.NumberNode:
		switch {
		case n.IsFloat && strings.ContainsAny(n.Text, ".eEpP") && !strings.HasPrefix(n.Text, "0x") && n.Text[0] != '\'':
			return constant(n.Float64)
		case n.IsInt:
			return constant(int(n.Int64))
		}
	}
	c.slow = true
	return nil
}

func constant(v any) value {
	o := operand{v, true}
	return func(*frame) (operand, error) { return o, nil }
}

// fieldOf is a value within objects. Nothing is within what is missing, and an error within null.
func fieldOf(o operand, names []string) (operand, error) {
	for _, name := range names {
		if !o.ok {
			return operand{}, nil
		}
		switch in := o.v.(type) {
		case map[string]any:
			v, ok := in[name]
			o = operand{v, ok}
		case map[string]string:
			v, ok := in[name]
			o = operand{nil, false}
			if ok {
				o = operand{v, true}
			}
		case string, bool, int, float64, []any, nil:
			return operand{}, fmt.Errorf("%s has no %s", a(in), name)
		default:
			return operand{}, errSlow
		}
	}
	return o, nil
}

// branch is if, or with.
func (c *quickCompiler) branch(n *parse.BranchNode, with bool) step {
	depth := len(c.scope)
	v := c.pipe(n.Pipe)
	then := c.scoped(n.List)
	otherwise := c.scoped(n.ElseList)
	c.scope = c.scope[:depth]
	return func(f *frame) error {
		o, err := v(f)
		switch {
		case err != nil:
			return c.at(n, err)
		case !truth(o):
			return runAll(f, otherwise)
		case !with:
			return runAll(f, then)
		}
		outer := f.dot
		f.dot = o
		err = runAll(f, then)
		f.dot = outer
		return err
	}
}

// quickLoop is a range.
type quickLoop struct {
	items     value
	body      []step
	otherwise []step
	// index and item are the places of variables; -1: there are none.
	index, item int
	at          func(error) error
}

func (c *quickCompiler) loop(n *parse.RangeNode) step {
	depth := len(c.scope)
	l := quickLoop{items: c.pipe(n.Pipe), index: -1, item: -1, at: func(err error) error { return c.at(n, err) }}
	place := func(i int) int { return c.variable(n.Pipe.Decl[i].Ident[0], false) }
	switch len(n.Pipe.Decl) {
	case 1:
		l.item = place(0)
	case 2:
		l.index, l.item = place(0), place(1)
	}
	l.body = c.scoped(n.List)
	l.otherwise = c.scoped(n.ElseList)
	c.scope = c.scope[:depth]
	return l.run
}

func (l *quickLoop) run(f *frame) error {
	o, err := l.items(f)
	if err != nil {
		return l.at(err)
	}
	outer := f.dot
	defer func() { f.dot = outer }()
	switch items := o.v.(type) {
	case []any:
		for i, item := range items {
			if l.index >= 0 {
				f.vars[l.index] = operand{i, true}
			}
			if done, err := l.round(f, operand{item, true}); done {
				return err
			}
		}
		if len(items) > 0 {
			return nil
		}
	case map[string]any:
		for _, name := range sortedNames(items) {
			if done, err := l.member(f, name, items[name]); done {
				return err
			}
		}
		if len(items) > 0 {
			return nil
		}
	case map[string]string:
		for _, name := range sortedNames(items) {
			if done, err := l.member(f, name, items[name]); done {
				return err
			}
		}
		if len(items) > 0 {
			return nil
		}
	}
	return runAll(f, l.otherwise)
}

func (l *quickLoop) member(f *frame, name string, v any) (done bool, err error) {
	if l.index >= 0 {
		f.vars[l.index] = operand{name, true}
	}
	return l.round(f, operand{v, true})
}

func (l *quickLoop) round(f *frame, item operand) (done bool, err error) {
	if l.item >= 0 {
		f.vars[l.item] = item
	}
	f.dot = item
	err = runAll(f, l.body)
	switch {
	case err == nil, errors.Is(err, errContinue):
		return false, nil
	case errors.Is(err, errBreak):
		return true, nil
	}
	return true, err
}

// call is a template that is called.
func (c *quickCompiler) call(n *parse.TemplateNode) step {
	called := c.q.bodies[n.Name]
	if called == nil {
		c.slow = true
		return nil
	}
	v := func(*frame) (operand, error) { return operand{}, nil }
	if n.Pipe != nil {
		v = c.pipe(n.Pipe)
	}
	return func(f *frame) error {
		o, err := v(f)
		if err != nil {
			return c.at(n, err)
		}
		return called.run(f.r, o)
	}
}
