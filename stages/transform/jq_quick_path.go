package transform

// Updates of quick jq programs: path = value, path |= f, path += value and the
// like, and del(path). The document is shared, so what lies along a path is
// copied, and just that: what a program has not touched is written as it came.

import (
	"errors"
	"maps"

	"github.com/itchyny/gojq"
)

// jqChange gives what v becomes, and whether a path led there: gojq copies all that lies along one, even where
// nothing is changed in the end.
type jqChange func(r *jqRun, v any) (changed any, touched bool, err error)

// gone is what a value becomes that is deleted.
type gone struct{}

// jqHop is one part of a path: a member, an element, all of them ([]), or a condition (select).
type jqHop struct {
	name    string
	element int
	kind    jqHopKind
	holds   jqStep
}

type jqHopKind int

const (
	hopMember jqHopKind = iota
	hopElement
	hopEach
	hopSelect
)

// path is a query as a path, or nil. The queries in it are compiled.
func (c *jqCompiler) path(q *gojq.Query) []jqHop {
	switch {
	case q == nil || len(q.FuncDefs) > 0:
		return nil
	case q.Term == nil:
		if q.Op != gojq.OpPipe || len(q.Patterns) > 0 {
			return nil
		}
		left, right := c.path(q.Left), c.path(q.Right)
		if left == nil || right == nil {
			return nil
		}
		return append(left, right...)
	}
	hops := []jqHop{}
	switch t := q.Term; {
	case t.Type == gojq.TermTypeIdentity:
	case t.Type == gojq.TermTypeIndex && constantIndex(t.Index) && !t.Index.IsSlice:
		hops = append(hops, hopOf(t.Index))
	case t.Type == gojq.TermTypeQuery:
		if hops = c.path(t.Query); hops == nil {
			return nil
		}
	case t.Type == gojq.TermTypeFunc && t.Func.Name == "select" && len(t.Func.Args) == 1:
		hops = append(hops, jqHop{kind: hopSelect, holds: c.one(t.Func.Args[0])})
	default:
		return nil
	}
	for _, s := range q.Term.SuffixList {
		switch {
		case s.Iter:
			hops = append(hops, jqHop{kind: hopEach})
		case s.Index != nil && constantIndex(s.Index) && !s.Index.IsSlice:
			hops = append(hops, hopOf(s.Index))
		default:
			return nil
		}
	}
	return hops
}

func hopOf(x *gojq.Index) jqHop {
	if name, ok := textOfIndex(x); ok {
		return jqHop{kind: hopMember, name: name}
	}
	n, _ := numberOf(x.Start)
	return jqHop{kind: hopElement, element: n}
}

// update is path op value.
func (c *jqCompiler) update(q *gojq.Query) jqStep {
	value, hops := c.one(q.Right), c.path(q.Left)
	if len(hops) == 0 {
		return c.unknown().one
	}
	if q.Op == gojq.OpModify {
		return changeJQ(chainJQ(hops, modifyJQ(value), false))
	}
	slot := c.newSlot()
	var leaf jqChange
	switch calculate := jqUpdates[q.Op]; {
	case q.Op == gojq.OpAssign:
		leaf = func(r *jqRun, _ any) (any, bool, error) { return r.slots[slot], true, nil }
	case calculate == nil:
		return c.unknown().one
	default:
		leaf = func(r *jqRun, v any) (any, bool, error) {
			v, err := calculate(r, v, r.slots[slot])
			return v, true, err
		}
	}
	change := changeJQ(chainJQ(hops, leaf, false))
	return func(r *jqRun, in any) (any, error) {
		v, err := value(r, in)
		if err != nil {
			return nil, err
		}
		r.slots[slot] = v
		return change(r, in)
	}
}

// modifyJQ makes values what f makes of them, or nothing.
func modifyJQ(f jqStep) jqChange {
	return func(r *jqRun, v any) (any, bool, error) {
		v, err := f(r, v)
		return v, true, err
	}
}

// changeJQ is a change as a step. Deleting all of the input is left to gojq.
func changeJQ(change jqChange) jqStep {
	return func(r *jqRun, in any) (any, error) {
		v, _, err := change(r, in)
		if err == nil && v == any(gone{}) || errors.Is(err, errNothing) {
			return nil, errGojq
		}
		return v, err
	}
}

// chainJQ follows the hops to the values that leaf changes.
func chainJQ(hops []jqHop, leaf jqChange, deleting bool) jqChange {
	next, plain := leaf, true
	for i := len(hops) - 1; i >= 0; i-- {
		// Within what is missing there is nothing to delete: but only names and numbers are known to find that.
		end := missingJQ(deleting && plain, deleting)
		switch hop := hops[i]; hop.kind {
		case hopMember:
			next = inMember(hop.name, next, end)
		case hopElement:
			next = inElement(hop.element, next, end)
		case hopEach:
			next, plain = inEach(next), false
		case hopSelect:
			next, plain = where(hop.holds, next), false
		}
	}
	return next
}

// missingJQ is what becomes of a value that lacks the next part of the path; nil: it gets one.
func missingJQ(known, deleting bool) jqChange {
	switch {
	case known:
		return func(_ *jqRun, v any) (any, bool, error) { return v, true, nil }
	case deleting:
		return func(*jqRun, any) (any, bool, error) { return nil, false, errGojq }
	}
	return nil
}

// inMember is .name.
func inMember(name string, next, missing jqChange) jqChange {
	return func(r *jqRun, v any) (any, bool, error) {
		in, isObject := v.(map[string]any)
		if !isObject && v != nil {
			return nil, false, errFails
		}
		old, ok := in[name]
		if !ok && missing != nil {
			return missing(r, v)
		}
		changed, touched, err := next(r, old)
		if err != nil || !touched {
			return v, false, unlessDeleted(err)
		}
		made, err := r.copyObject(in, 1)
		if err != nil {
			return nil, false, err
		}
		if made[name] = changed; changed == any(gone{}) {
			delete(made, name)
		}
		return made, true, nil
	}
}

// unlessDeleted: |= empty deletes, which gojq does otherwise than here, except for elements.
func unlessDeleted(err error) error {
	if errors.Is(err, errNothing) {
		return errGojq
	}
	return err
}

// copyObject is a copy with room for more members.
func (r *jqRun) copyObject(in map[string]any, more int) (map[string]any, error) {
	made, err := r.newObject(len(in) + more)
	if err == nil {
		maps.Copy(made, in)
	}
	return made, err
}

// copyArray is a copy of the first n elements, with room for all.
func (r *jqRun) copyArray(in []any, n int) ([]any, error) {
	if err := r.meter.take(elementBytes * len(in)); err != nil {
		return nil, err
	}
	made := r.document.values.take(len(in))
	copy(made, in[:n])
	return made, nil
}

// inElement is .[n]. An array that would grow is left to gojq.
func inElement(n int, next, missing jqChange) jqChange {
	return func(r *jqRun, v any) (any, bool, error) {
		in, isArray := v.([]any)
		if !isArray && v != nil {
			return nil, false, errGojq
		}
		i := n
		if i < 0 {
			i += len(in)
		}
		if i < 0 || i >= len(in) {
			if missing == nil {
				return nil, false, errGojq
			}
			return missing(r, v)
		}
		changed, touched, err := next(r, in[i])
		if err != nil || !touched {
			return v, false, unlessDeleted(err)
		}
		made, err := r.copyArray(in, len(in))
		if err != nil {
			return nil, false, err
		}
		if made[i] = changed; changed == any(gone{}) {
			made = append(made[:i], made[i+1:]...)
		}
		return r.array(made), true, nil
	}
}

// inEach is [].
func inEach(next jqChange) jqChange {
	return func(r *jqRun, v any) (any, bool, error) {
		switch v := v.(type) {
		case []any:
			return r.changeElements(v, next)
		case map[string]any:
			return r.changeMembers(v, next)
		}
		return nil, false, errFails
	}
}

// changed is next of an element; what it makes nothing of is gone.
func (r *jqRun) changed(element any, next jqChange) (v any, touched, isGone bool, err error) {
	if err := r.meter.step(); err != nil {
		return nil, false, false, err
	}
	v, touched, err = next(r, element)
	switch {
	case errors.Is(err, errNothing):
		return nil, true, true, nil
	case err == nil && !touched:
		v = element
	}
	return v, touched, v == any(gone{}), err
}

func (r *jqRun) changeElements(in []any, next jqChange) (any, bool, error) {
	var made []any
	n := 0
	for i, element := range in {
		v, touched, isGone, err := r.changed(element, next)
		if err != nil {
			return nil, false, err
		}
		if touched && made == nil {
			if made, err = r.copyArray(in, i); err != nil {
				return nil, false, err
			}
			n = i
		}
		if made != nil && !isGone {
			made[n] = v
			n++
		}
	}
	if made == nil {
		return r.array(in), false, nil
	}
	return r.array(made[:n:n]), true, nil
}

func (r *jqRun) changeMembers(in map[string]any, next jqChange) (any, bool, error) {
	names, err := r.sortedNames(in) // a limit may come before an error, or after
	if err != nil {
		return nil, false, err
	}
	var made map[string]any
	for _, name := range names {
		v, touched, isGone, err := r.changed(in[name], next)
		if err != nil {
			return nil, false, err
		}
		if touched && made == nil {
			if made, err = r.copyObject(in, 0); err != nil {
				return nil, false, err
			}
		}
		switch {
		case isGone:
			delete(made, name)
		case touched:
			made[name] = v
		}
	}
	if made == nil {
		return in, false, nil
	}
	return made, true, nil
}

// where is select(holds).
func where(holds jqStep, next jqChange) jqChange {
	return func(r *jqRun, v any) (any, bool, error) {
		ok, err := holds(r, v)
		if err != nil || !truthJQ(ok) {
			return v, false, unlessNothing(err)
		}
		return next(r, v)
	}
}
