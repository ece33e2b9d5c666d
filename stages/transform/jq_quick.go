package transform

// A jq program run without gojq's machine: the same syntax tree as functions over
// the values of the document, for the programs that give an event another shape.
// It never fails on its own account: what it does not know, and what would be an
// error, is left to gojq, which then runs the whole program from its start. Both
// ways have the same guards, and TestQuickJQ and FuzzJQQuick hold them equal.

import (
	"errors"

	"github.com/itchyny/gojq"
)

type (
	// jqStep gives one value of in, or an error: one of those below, or the meter's.
	jqStep func(r *jqRun, in any) (any, error)
	// jqStream gives any number of values of in to yield, and the error of yield as it is.
	jqStream func(r *jqRun, in any, yield func(v any) error) error
)

// How a step ends without a value.
var (
	errNothing = errors.New("no value")
	// errFails is an error that the program may catch. What it says is left to gojq.
	errFails = errors.New("an error that gojq describes")
	errGojq  = errors.New("gojq has to run this")
)

// jqPart is a compiled query: one is set, or over, or many.
type jqPart struct {
	one jqStep
	// over are objects and arrays whose elements body, which may be nil, makes values of: .[] | body.
	over, body jqStep
	many       jqStream
	// identity: one is ".".
	identity bool
}

// runQuick runs the program. It reports false when gojq has to.
func (r *jqRun) runQuick(in any) (v any, err error, ok bool) { //nolint:revive // ok says whether the others count
	v, err = r.program.quick(r, in)
	if r.meter.spent != nil {
		return nil, r.meter.spent, true
	}
	return v, nil, err == nil
}

// compileQuickJQ gives nil when gojq has to run the program.
func compileQuickJQ(q *gojq.Query) (run jqStep, slots int) {
	if q.Meta != nil || len(q.Imports) > 0 {
		return nil, 0
	}
	c := jqCompiler{}
	run = c.one(q)
	if c.slow {
		return nil, 0
	}
	return run, c.slots
}

// jqCompiler compiles one program.
type jqCompiler struct {
	// scope are the variables that the program binds, by their place in a run's slots.
	scope []jqBinding
	// slots is how many values a run keeps.
	slots int
	// shared are the slots of the event's attributes.
	shared map[string]int
	// slow: something is only for gojq.
	slow bool
}

type jqBinding struct {
	name string
	slot int
}

// newSlot is a place for a value. A program cannot call itself here, so each query has at most one at a time.
func (c *jqCompiler) newSlot() int {
	c.slots++
	return c.slots - 1
}

// unknown leaves the program to gojq.
func (c *jqCompiler) unknown() jqPart {
	c.slow = true
	return jqPart{one: func(*jqRun, any) (any, error) { return nil, errGojq }}
}

// one is a query that has at most one value.
func (c *jqCompiler) one(q *gojq.Query) jqStep {
	p := c.query(q)
	if p.one == nil {
		return c.unknown().one
	}
	return p.one
}

func (c *jqCompiler) query(q *gojq.Query) jqPart {
	switch {
	case q == nil || len(q.FuncDefs) > 0: // which may have the names of functions that are known here
		return c.unknown()
	case q.Term != nil:
		return c.term(q.Term)
	}
	switch q.Op {
	case gojq.OpPipe:
		if len(q.Patterns) > 0 {
			return c.bind(q)
		}
		return pipeJQ(c.query(q.Left), c.query(q.Right))
	case gojq.OpComma:
		left, right := c.query(q.Left).stream(), c.query(q.Right).stream()
		return jqPart{many: func(r *jqRun, in any, yield func(any) error) error {
			if err := left(r, in, yield); err != nil {
				return err
			}
			return right(r, in, yield)
		}}
	case gojq.OpAlt:
		return c.alternative(q)
	case gojq.OpAnd, gojq.OpOr:
		return jqPart{one: logicJQ(c.one(q.Left), c.one(q.Right), q.Op == gojq.OpOr)}
	case gojq.OpAssign, gojq.OpModify, gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv, gojq.OpUpdateMod, gojq.OpUpdateAlt:
		return jqPart{one: c.update(q)}
	}
	calculate := jqOperators[q.Op]
	if calculate == nil {
		return c.unknown()
	}
	left, right := c.one(q.Left), c.one(q.Right)
	return jqPart{one: func(r *jqRun, in any) (any, error) {
		b, err := right(r, in) // as gojq does: the right one first
		if err != nil {
			return nil, err
		}
		a, err := left(r, in)
		if err != nil {
			return nil, err
		}
		return calculate(r, a, b)
	}}
}

// stream is a part as any number of values.
func (p jqPart) stream() jqStream {
	switch {
	case p.many != nil:
		return p.many
	case p.one != nil:
		one := p.one
		return func(r *jqRun, in any, yield func(any) error) error {
			v, err := one(r, in)
			if err != nil {
				return unlessNothing(err)
			}
			return yield(v)
		}
	}
	over, body := p.over, p.body
	return func(r *jqRun, in any, yield func(any) error) error {
		v, err := over(r, in)
		if err != nil {
			return unlessNothing(err)
		}
		return r.each(v, func(element any) error {
			if body != nil {
				if element, err = body(r, element); err != nil {
					return unlessNothing(err)
				}
			}
			return yield(element)
		})
	}
}

func unlessNothing(err error) error {
	if errors.Is(err, errNothing) {
		return nil
	}
	return err
}

// each is .[]: f gets the elements of v.
func (r *jqRun) each(v any, f func(any) error) error {
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			if err := r.meter.step(); err != nil {
				return err
			}
			if err := f(element); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		names, err := r.sortedNames(v)
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := r.meter.step(); err != nil {
				return err
			}
			if err := f(v[name]); err != nil {
				return err
			}
		}
		return nil
	}
	return errFails
}

// sortedNames asks for them first.
func (r *jqRun) sortedNames(v map[string]any) ([]string, error) {
	if err := firstError(r.meter.take(elementBytes*len(v)), r.meter.work(10*len(v))); err != nil {
		return nil, err
	}
	return sortedNames(v), nil
}

// pipeJQ is a | b.
func pipeJQ(a, b jqPart) jqPart {
	switch {
	case a.identity:
		return b
	case b.identity:
		return a
	case a.one != nil && b.one != nil:
		return jqPart{one: afterJQ(a.one, b.one)}
	case a.one != nil && b.over != nil:
		return jqPart{over: afterJQ(a.one, b.over), body: b.body}
	case a.over != nil && b.one != nil:
		return jqPart{over: a.over, body: afterJQ(a.body, b.one)}
	}
	left, right := a.stream(), b.stream()
	return jqPart{many: func(r *jqRun, in any, yield func(any) error) error {
		return left(r, in, func(v any) error { return right(r, v, yield) })
	}}
}

// afterJQ is b of what a gives; a may be nil.
func afterJQ(a, b jqStep) jqStep {
	if a == nil {
		return b
	}
	return func(r *jqRun, in any) (any, error) {
		v, err := a(r, in)
		if err != nil {
			return nil, err
		}
		return b(r, v)
	}
}

// bind is left as $name | right.
func (c *jqCompiler) bind(q *gojq.Query) jqPart {
	left := c.query(q.Left)
	slot, unbind := c.variable(q.Patterns)
	right := c.query(q.Right)
	unbind()
	if left.one == nil || right.one == nil {
		first, then := left.stream(), right.stream()
		return jqPart{many: func(r *jqRun, in any, yield func(any) error) error {
			return first(r, in, func(v any) error {
				r.slots[slot] = v
				return then(r, in, yield)
			})
		}}
	}
	value, then := left.one, right.one
	return jqPart{one: func(r *jqRun, in any) (any, error) {
		v, err := value(r, in)
		if err != nil {
			return nil, err
		}
		r.slots[slot] = v
		return then(r, in)
	}}
}

// variable is the slot of a new variable, which goes with unbind. Patterns other than $name are left to gojq.
func (c *jqCompiler) variable(patterns []*gojq.Pattern) (slot int, unbind func()) {
	if len(patterns) != 1 || patterns[0].Name == "" {
		c.slow = true
		return 0, func() {}
	}
	depth := len(c.scope)
	slot = c.newSlot()
	c.scope = append(c.scope, jqBinding{patterns[0].Name, slot})
	return slot, func() { c.scope = c.scope[:depth] }
}

// truthJQ: null and false are not.
func truthJQ(v any) bool { return v != nil && v != false }

// alternative is left // right: the values of left that are true, or right if there are none.
func (c *jqCompiler) alternative(q *gojq.Query) jqPart {
	left, right := c.query(q.Left), c.query(q.Right)
	if left.one != nil && right.one != nil {
		a, b := left.one, right.one
		return jqPart{one: func(r *jqRun, in any) (any, error) {
			v, err := a(r, in)
			if err == nil && truthJQ(v) {
				return v, nil
			}
			if err = unlessNothing(err); err != nil {
				return nil, err
			}
			return b(r, in)
		}}
	}
	a, b := left.stream(), right.stream()
	return jqPart{many: func(r *jqRun, in any, yield func(any) error) error {
		found := false
		err := a(r, in, func(v any) error {
			if !truthJQ(v) {
				return nil
			}
			found = true
			return yield(v)
		})
		if err != nil || found {
			return err
		}
		return b(r, in, yield)
	}}
}

// logicJQ is and, and or.
func logicJQ(a, b jqStep, or bool) jqStep {
	return func(r *jqRun, in any) (any, error) {
		v, err := a(r, in)
		if err != nil {
			return nil, err
		}
		if truthJQ(v) == or {
			return or, nil
		}
		if v, err = b(r, in); err != nil {
			return nil, err
		}
		return truthJQ(v), nil
	}
}
