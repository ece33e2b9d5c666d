package transform

// Which members of data programs look at. Where all of a worker's programs name
// the members that they want, only those are made values, and the others cost no
// more than a look at their syntax.

import "github.com/expr-lang/expr/ast"

// wanted is what is wanted of a value. nil is all of it.
type wanted struct {
	// whole: the value is used other than for its members.
	whole   bool
	members map[string]*wanted
	// elements is what is wanted of each element of an array, or of each member; nil: all of an array, and of an object
	// no more than members.
	elements *wanted
}

// member is what is wanted of a member, and whether it is wanted at all.
func (w *wanted) member(name string) (*wanted, bool) {
	if w == nil || w.whole {
		return nil, true
	}
	m, ok := w.members[name]
	if w.elements != nil {
		if !ok {
			return w.elements, true
		}
		return nil, true
	}
	return m, ok
}

// element is what is wanted of each element, if the value is an array. One of whose members something is wanted as well
// is not looked at, but may be shown.
func (w *wanted) element() *wanted {
	if w == nil || w.whole || len(w.members) > 0 {
		return nil
	}
	return w.elements
}

// each is wanted of the elements.
func (w *wanted) each() *wanted {
	if w.elements == nil {
		w.elements = nothing()
	}
	return w.elements
}

func (w *wanted) add(name string) *wanted {
	if w.members == nil {
		w.members = map[string]*wanted{}
	}
	m := w.members[name]
	if m == nil {
		m = &wanted{}
		w.members[name] = m
	}
	return m
}

// path is all of a member of a member.
func (w *wanted) path(names []string) {
	for _, name := range names {
		w = w.add(name)
	}
	w.whole = true
}

// both is what is wanted by one or the other.
func (w *wanted) both(other *wanted) *wanted {
	if w == nil || other == nil {
		return nil
	}
	sum := &wanted{whole: w.whole || other.whole}
	for _, one := range []*wanted{w, other} {
		if one.elements != nil && sum.elements != nil {
			sum.elements = sum.elements.both(one.elements)
		} else if one.elements != nil {
			sum.elements = one.elements
		}
		for name, m := range one.members {
			if before, ok := sum.members[name]; ok {
				m = before.both(m)
			}
			sum.add(name)
			sum.members[name] = m
		}
	}
	return sum
}

// nothing wants no member of data.
func nothing() *wanted { return &wanted{} }

// wants is what a program of expr wants of data.
func wants(node ast.Node) *wanted {
	f := finder{root: nothing(), found: map[ast.Node]*wanted{}}
	ast.Walk(&node, f)
	for _, w := range f.found {
		w.whole = true
	}
	return f.root
}

// finder visits the nodes of a program, each after those within it.
type finder struct {
	root *wanted
	// found are the parts of data that nodes stand for, as long as nobody has asked for a member of theirs.
	found map[ast.Node]*wanted
}

// Visit implements ast.Visitor.
func (f finder) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case "data":
			f.found[n] = f.root
		case "$env":
			f.root.whole = true
		}
	case *ast.MemberNode:
		of, ok := f.found[n.Node]
		name, also := n.Property.(*ast.StringNode)
		if ok && also {
			delete(f.found, n.Node)
			f.found[n] = of.add(name.Value)
		}
	}
}
