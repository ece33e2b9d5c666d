package transform

// Which members of data a jq program looks at. A program is followed from its
// input along paths, pipes and constructions; what else it does with a value wants
// all of that value.

import "github.com/itchyny/gojq"

// place is a part of the input that a query gives; nil is a value that the program has made.
type place = *wanted

// wantsJQ is what a program wants of its input. It is asked before guardJQ rewrites the program.
func wantsJQ(q *gojq.Query) *wanted {
	root := nothing()
	all(followQuery(q, root))
	return root
}

// all wants everything of the places.
func all(places []place) {
	for _, p := range places {
		if p != nil {
			p.whole = true
		}
	}
}

// made is what follow gives for values that the program makes of in, all of which it may look at.
func made(in place) []place {
	all([]place{in})
	return nil
}

// followQuery is where the values of q come from when its input is in.
func followQuery(q *gojq.Query, in place) (out []place) {
	switch {
	case q == nil || in == nil:
		return nil
	case len(q.FuncDefs) > 0:
		return made(in)
	case q.Term != nil:
		return followTerm(q.Term, in)
	}
	switch q.Op {
	case gojq.OpPipe:
		left := followQuery(q.Left, in)
		if len(q.Patterns) == 0 {
			for _, p := range left {
				out = append(out, followQuery(q.Right, p)...)
			}
			return out
		}
		all(left)
		for _, p := range q.Patterns {
			if p.Name == "" { // its names may be queries
				return made(in)
			}
		}
		return followQuery(q.Right, in)
	case gojq.OpComma, gojq.OpAlt:
		return append(followQuery(q.Left, in), followQuery(q.Right, in)...)
	case gojq.OpAssign, gojq.OpModify, gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul, gojq.OpUpdateDiv,
		gojq.OpUpdateMod, gojq.OpUpdateAlt:
		return made(in)
	}
	all(followQuery(q.Left, in))
	all(followQuery(q.Right, in))
	return nil
}

func followTerm(t *gojq.Term, in place) []place {
	out := followHead(t, in)
	for _, s := range t.SuffixList {
		if s.Index != nil { // what is in the brackets looks at the term's own input
			followBrackets(s.Index, in)
		}
		var next []place
		for _, p := range out {
			switch {
			case s.Index != nil:
				next = append(next, followIndex(s.Index, p)...)
			case s.Iter && p != nil:
				next = append(next, p.each())
			case s.Iter:
			default:
				next = append(next, p)
			}
		}
		out = next
	}
	return out
}

// followHead is a term without its suffixes.
func followHead(t *gojq.Term, in place) []place {
	switch t.Type {
	case gojq.TermTypeIdentity:
		return []place{in}
	case gojq.TermTypeIndex:
		followBrackets(t.Index, in)
		return followIndex(t.Index, in)
	case gojq.TermTypeQuery:
		return followQuery(t.Query, in)
	case gojq.TermTypeNull, gojq.TermTypeTrue, gojq.TermTypeFalse, gojq.TermTypeNumber:
		return nil
	case gojq.TermTypeUnary:
		all(followTerm(t.Unary.Term, in))
		return nil
	case gojq.TermTypeArray:
		all(followQuery(t.Array.Query, in))
		return nil
	case gojq.TermTypeObject:
		for _, kv := range t.Object.KeyVals {
			followMember(kv, in)
		}
		return nil
	case gojq.TermTypeIf:
		return followIf(t.If, in)
	case gojq.TermTypeTry:
		return followQuery(t.Try.Body, in) // catch sees a message
	case gojq.TermTypeString:
		for _, part := range t.Str.Queries {
			all(followQuery(part, in))
		}
		return nil
	case gojq.TermTypeFunc:
		switch {
		case t.Func.Name[0] == '$':
			return nil // all of what a variable was bound to is wanted
		case t.Func.Name == "select" && len(t.Func.Args) == 1:
			all(followQuery(t.Func.Args[0], in))
			return []place{in}
		case t.Func.Name == "map" && len(t.Func.Args) == 1:
			all(followQuery(t.Func.Args[0], in.each()))
			return nil
		}
	}
	return made(in)
}

// followIndex is .name or .["name"] of in, or wants all of it.
func followIndex(x *gojq.Index, in place) []place {
	name, text := x.Name, x.Str
	if x.Start != nil && !x.IsSlice && x.Start.Term != nil && x.Start.Term.Type == gojq.TermTypeString && len(x.Start.Term.SuffixList) == 0 {
		text = x.Start.Term.Str
	}
	if text != nil && text.Queries == nil {
		return []place{in.add(text.Str)}
	}
	if name == "" {
		return made(in)
	}
	return []place{in.add(name)}
}

func followBrackets(x *gojq.Index, in place) {
	all(followQuery(x.Start, in))
	all(followQuery(x.End, in))
	if x.Str != nil {
		for _, part := range x.Str.Queries {
			all(followQuery(part, in))
		}
	}
}

// followMember is one of an object that is made.
func followMember(kv *gojq.ObjectKeyVal, in place) {
	switch {
	case kv.KeyString != nil && kv.KeyString.Queries != nil:
		made(in)
	case kv.KeyQuery != nil:
		all(followQuery(kv.KeyQuery, in))
	}
	switch {
	case kv.Val != nil:
		all(followQuery(kv.Val, in))
	case kv.KeyString != nil:
		all([]place{in.add(kv.KeyString.Str)})
	case kv.Key != "" && kv.Key[0] != '$':
		all([]place{in.add(kv.Key)})
	case kv.KeyQuery != nil:
		made(in)
	}
}

func followIf(t *gojq.If, in place) []place {
	all(followQuery(t.Cond, in))
	out := followQuery(t.Then, in)
	for _, elif := range t.Elif {
		all(followQuery(elif.Cond, in))
		out = append(out, followQuery(elif.Then, in)...)
	}
	if t.Else == nil {
		return append(out, in)
	}
	return append(out, followQuery(t.Else, in)...)
}
