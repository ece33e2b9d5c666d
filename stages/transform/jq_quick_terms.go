package transform

// The terms of jq programs as steps: what names a value, and what makes one.

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/itchyny/gojq"
)

// term is a term with its suffixes. A ? belongs to the suffix before it alone, or to the term if there is none.
func (c *jqCompiler) term(t *gojq.Term) jqPart {
	rest := t.SuffixList
	p, rest := c.head(t, rest)
	for len(rest) > 0 {
		s := rest[0]
		rest = rest[1:]
		caught := len(rest) > 0 && rest[0].Optional
		var next jqPart
		switch {
		case s.Optional:
			p = tryJQ(p)
			continue
		case s.Iter:
			next = jqPart{over: identityJQ}
			if caught {
				next.over = listsJQ
			}
		case constantIndex(s.Index):
			next = jqPart{one: c.index(s.Index)}
			if caught {
				next = tryJQ(next)
			}
		case caught || p.one == nil:
			return c.unknown()
		default: // what is in the brackets sees the term's own input
			p = jqPart{one: c.indexBy(p.one, s.Index)}
			continue
		}
		if caught {
			rest = rest[1:]
		}
		p = pipeJQ(p, next)
	}
	return p
}

// listsJQ gives nothing of what has no elements.
func listsJQ(_ *jqRun, in any) (any, error) {
	if !nests(in) {
		return nil, errNothing
	}
	return in, nil
}

// head is a term without its suffixes, except for one that it may take.
func (c *jqCompiler) head(t *gojq.Term, rest []*gojq.Suffix) (jqPart, []*gojq.Suffix) {
	switch t.Type {
	case gojq.TermTypeIndex:
		if constantIndex(t.Index) {
			return jqPart{one: c.index(t.Index)}, rest
		}
		return jqPart{one: c.indexBy(identityJQ, t.Index)}, rest
	case gojq.TermTypeFunc:
		if t.Func.Name == "$metadata" && len(rest) > 0 && rest[0].Index != nil && rest[0].Index.Name != "" && !c.bound("$metadata") {
			return jqPart{one: metadataJQ(rest[0].Index.Name)}, rest[1:]
		}
		return c.function(t.Func), rest
	}
	return c.plain(t), rest
}

func identityJQ(_ *jqRun, in any) (any, error) { return in, nil }

func constantJQ(v any) jqPart {
	return jqPart{one: func(*jqRun, any) (any, error) { return v, nil }}
}

// plain is a term that is no path and no call.
func (c *jqCompiler) plain(t *gojq.Term) jqPart {
	switch t.Type {
	case gojq.TermTypeIdentity:
		return jqPart{one: identityJQ, identity: true}
	case gojq.TermTypeNull:
		return constantJQ(nil)
	case gojq.TermTypeTrue, gojq.TermTypeFalse:
		return constantJQ(t.Type == gojq.TermTypeTrue)
	case gojq.TermTypeNumber:
		if v := literalJQ(t.Number); v != nil {
			return constantJQ(v)
		}
	case gojq.TermTypeUnary:
		return c.unary(t.Unary)
	case gojq.TermTypeString:
		return jqPart{one: c.text(t.Str)}
	case gojq.TermTypeFormat:
		if t.Str == nil && (t.Format == "@json" || t.Format == "@text") {
			return jqPart{one: jqFunctions[map[string]string{"@json": "tojson", "@text": "tostring"}[t.Format]]}
		}
	case gojq.TermTypeArray:
		return jqPart{one: c.array(t.Array.Query)}
	case gojq.TermTypeObject:
		return jqPart{one: c.object(t.Object)}
	case gojq.TermTypeIf:
		return c.condition(t.If.Cond, t.If.Then, t.If.Elif, t.If.Else)
	case gojq.TermTypeTry:
		if t.Try.Catch == nil {
			return tryJQ(c.query(t.Try.Body))
		}
	case gojq.TermTypeReduce:
		return jqPart{one: c.reduce(t.Reduce)}
	case gojq.TermTypeQuery:
		return c.query(t.Query)
	}
	return c.unknown()
}

// literalJQ is a number of the program as gojq reads it, or nil.
func literalJQ(text string) any {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil && strings.ContainsAny(text, ".eE") {
		return f
	}
	return nil
}

func (c *jqCompiler) unary(u *gojq.Unary) jqPart {
	v := c.term(u.Term)
	if u.Op != gojq.OpSub || v.one == nil {
		return c.unknown()
	}
	return jqPart{one: afterJQ(v.one, func(r *jqRun, v any) (any, error) {
		switch v := v.(type) {
		case int:
			if v == math.MinInt {
				return nil, errGojq
			}
			return r.int(-v), nil
		case float64:
			return -v, nil
		}
		return nil, errGojq
	})}
}

// int is n in the event's memory.
func (r *jqRun) int(n int) any { return intBox.at(r.document.ints.put(n)) }

// string is s in the event's memory.
func (r *jqRun) string(s string) any { return stringBox.at(r.document.strings.put(s)) }

// tryJQ gives nothing where p fails.
func tryJQ(p jqPart) jqPart {
	if one := p.one; one != nil {
		return jqPart{one: func(r *jqRun, in any) (any, error) {
			v, err := one(r, in)
			if errors.Is(err, errFails) {
				err = errNothing
			}
			return v, err
		}}
	}
	stream := p.stream()
	return jqPart{many: func(r *jqRun, in any, yield func(any) error) error {
		var after error // which is not p's
		err := stream(r, in, func(v any) error {
			after = yield(v)
			return after
		})
		if after == nil && errors.Is(err, errFails) {
			return nil
		}
		return err
	}}
}

// text is a text with values in it.
func (c *jqCompiler) text(s *gojq.String) jqStep {
	if s.Queries == nil {
		return constantJQ(s.Str).one
	}
	parts := make([]jqStep, len(s.Queries))
	for i, q := range s.Queries {
		parts[i] = c.one(q)
	}
	return func(r *jqRun, in any) (any, error) {
		first := len(r.texts)
		for range parts {
			r.texts = append(r.texts, "")
		}
		size := 0
		for i := len(parts) - 1; i >= 0; i-- { // as gojq does: the last one first
			v, err := parts[i](r, in)
			if err == nil {
				r.texts[first+i], err = r.textOf(v)
			}
			if size += len(r.texts[first+i]); err == nil {
				err = r.meter.take(size) // as if each part were added to the others
			}
			if err != nil {
				r.texts = r.texts[:first]
				return nil, err
			}
		}
		joined := r.string(strings.Join(r.texts[first:], ""))
		clear(r.texts[first:])
		r.texts = r.texts[:first]
		return joined, nil
	}
}

// textOf is tostring.
func (r *jqRun) textOf(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	}
	if err := askText(&r.meter, v, nil); err != nil {
		return "", err
	}
	b, err := gojq.Marshal(v)
	if err != nil {
		return "", errGojq
	}
	return string(b), nil
}

// condition is if, of which elif is another.
func (c *jqCompiler) condition(cond, then *gojq.Query, elif []*gojq.IfElif, otherwise *gojq.Query) jqPart {
	holds, yes := c.one(cond), c.query(then)
	no := jqPart{one: identityJQ}
	switch {
	case len(elif) > 0:
		no = c.condition(elif[0].Cond, elif[0].Then, elif[1:], otherwise)
	case otherwise != nil:
		no = c.query(otherwise)
	}
	if yes.one != nil && no.one != nil {
		a, b := yes.one, no.one
		return jqPart{one: func(r *jqRun, in any) (any, error) {
			v, err := holds(r, in)
			switch {
			case err != nil:
				return nil, err
			case truthJQ(v):
				return a(r, in)
			}
			return b(r, in)
		}}
	}
	a, b := yes.stream(), no.stream()
	return jqPart{many: func(r *jqRun, in any, yield func(any) error) error {
		v, err := holds(r, in)
		switch {
		case err != nil:
			return unlessNothing(err)
		case truthJQ(v):
			return a(r, in, yield)
		}
		return b(r, in, yield)
	}}
}

func (c *jqCompiler) reduce(t *gojq.Reduce) jqStep {
	start, values := c.one(t.Start), c.query(t.Query).stream()
	slot, unbind := c.variable(t.Patterns)
	update := c.one(t.Update)
	unbind()
	return func(r *jqRun, in any) (any, error) {
		sum, err := start(r, in)
		if err != nil {
			return nil, err
		}
		err = values(r, in, func(v any) (err error) {
			r.slots[slot] = v
			sum, err = update(r, sum)
			if errors.Is(err, errNothing) {
				return errGojq
			}
			return err
		})
		return sum, err
	}
}
