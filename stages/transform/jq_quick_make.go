package transform

// Objects, arrays and indices of quick jq programs. What is made lies in the
// document's memory, which is used again for the next event, and is counted first.

import (
	"strconv"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// jqMember is a member of an object that is made: of a constant name, or of one that key gives.
type jqMember struct {
	name       string
	key, value jqStep
}

func (c *jqCompiler) object(o *gojq.Object) jqStep {
	members := make([]jqMember, len(o.KeyVals))
	for i, kv := range o.KeyVals {
		members[i] = c.member(kv)
	}
	return func(r *jqRun, in any) (any, error) {
		m, err := r.newObject(len(members))
		if err != nil {
			return nil, err
		}
		for i := range members {
			name := members[i].name
			if key := members[i].key; key != nil {
				k, err := key(r, in)
				if err != nil {
					return nil, err
				}
				text, ok := k.(string)
				if !ok {
					return nil, errFails
				}
				name = text
			}
			if m[name], err = members[i].value(r, in); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
}

func (c *jqCompiler) member(kv *gojq.ObjectKeyVal) (m jqMember) {
	switch {
	case kv.Key != "" && kv.Key[0] == '$': // {$x}
		m.name, m.value = kv.Key[1:], c.function(&gojq.Func{Name: kv.Key}).one
		c.slow = c.slow || kv.Val != nil
		return m
	case kv.Key != "":
		m.name = kv.Key
	case kv.KeyString != nil && kv.KeyString.Queries == nil:
		m.name = kv.KeyString.Str
	case kv.KeyString != nil:
		m.key = c.text(kv.KeyString)
	default:
		m.key = c.one(kv.KeyQuery)
	}
	switch {
	case kv.Val != nil:
		m.value = c.one(kv.Val)
	case m.key == nil: // {x}
		m.value = memberJQ(m.name)
	default:
		m.value = c.unknown().one
	}
	return m
}

// leastMembers is the room of the smallest map with a member.
const leastMembers = 8

// newObject is an object with room for n members.
func (r *jqRun) newObject(n int) (map[string]any, error) {
	if err := r.meter.take(memberBytes * max(n, leastMembers)); err != nil {
		return nil, err
	}
	return r.document.newMap(), nil
}

// array is an array of all values of q.
func (c *jqCompiler) array(q *gojq.Query) jqStep {
	if q == nil {
		return func(r *jqRun, _ any) (any, error) { return r.newArray(0), nil }
	}
	return arrayJQ(c.query(q))
}

func arrayJQ(p jqPart) jqStep {
	if p.over != nil {
		return arrayOfEach(p)
	}
	stream := p.stream()
	return func(r *jqRun, in any) (any, error) {
		first := len(r.pending)
		err := stream(r, in, func(v any) error { return r.keep(v) })
		return r.kept(first, err)
	}
}

// arrayOfEach is arrayJQ for the elements of one array, without a call between.
func arrayOfEach(p jqPart) jqStep {
	over, body := p.over, p.body
	if body == nil {
		body = identityJQ
	}
	return func(r *jqRun, in any) (any, error) {
		first := len(r.pending)
		v, err := over(r, in)
		if err != nil {
			return r.kept(first, unlessNothing(err))
		}
		elements, ok := v.([]any)
		if !ok {
			err = r.each(v, func(element any) error { return r.keepOf(body, element) })
			return r.kept(first, err)
		}
		for _, element := range elements {
			if err = r.meter.step(); err == nil {
				err = r.keepOf(body, element)
			}
			if err != nil {
				break
			}
		}
		return r.kept(first, err)
	}
}

// keepOf keeps what body gives, if that is anything.
func (r *jqRun) keepOf(body jqStep, in any) error {
	v, err := body(r, in)
	if err != nil {
		return unlessNothing(err)
	}
	return r.keep(v)
}

// keep is for an element of the array that is being made.
func (r *jqRun) keep(v any) error {
	if err := r.meter.take(elementBytes); err != nil {
		return err
	}
	r.pending = append(r.pending, v)
	return nil
}

// kept is the array of what has been kept since first.
func (r *jqRun) kept(first int, err error) (any, error) {
	elements := r.pending[first:]
	r.pending = r.pending[:first]
	var made any
	if err == nil {
		made = r.newArray(len(elements), elements...)
	}
	clear(elements)
	return made, err
}

// newArray is an array of n elements, of which the first are given.
func (r *jqRun) newArray(n int, elements ...any) any {
	made := r.document.values.take(n)
	copy(made, elements)
	return r.array(made)
}

// array is elements in the event's memory.
func (r *jqRun) array(elements []any) any { return arrayBox.at(r.document.arrays.put(elements)) }

// constantIndex reports whether x is a name, a number or a range that the program has.
func constantIndex(x *gojq.Index) bool {
	switch {
	case x.IsSlice:
		_, start := numberOf(x.Start)
		_, end := numberOf(x.End)
		return (start || x.Start == nil) && (end || x.End == nil)
	case x.Name != "":
		return true
	}
	_, isText := textOfIndex(x)
	_, isNumber := numberOf(x.Start)
	return isText || isNumber
}

// textOfIndex is the name in ."name" or .["name"].
func textOfIndex(x *gojq.Index) (string, bool) {
	text := x.Str
	if x.Start != nil && !x.IsSlice && x.Start.Term != nil && x.Start.Term.Type == gojq.TermTypeString && len(x.Start.Term.SuffixList) == 0 && len(x.Start.FuncDefs) == 0 {
		text = x.Start.Term.Str
	}
	if x.Name != "" || text == nil || text.Queries != nil {
		return x.Name, x.Name != ""
	}
	return text.Str, true
}

// numberOf is a query that is a whole number.
func numberOf(q *gojq.Query) (int, bool) {
	if q == nil || q.Term == nil || len(q.Term.SuffixList) > 0 || len(q.FuncDefs) > 0 {
		return 0, false
	}
	t, sign := q.Term, 1
	if t.Type == gojq.TermTypeUnary && t.Unary.Op == gojq.OpSub && len(t.Unary.Term.SuffixList) == 0 {
		t, sign = t.Unary.Term, -1
	}
	n, err := strconv.Atoi(t.Number)
	return sign * n, t.Type == gojq.TermTypeNumber && err == nil
}

// index is a constant index.
func (c *jqCompiler) index(x *gojq.Index) jqStep {
	if name, ok := textOfIndex(x); ok {
		return memberJQ(name)
	}
	if x.IsSlice {
		start, _ := numberOf(x.Start)
		end, bounded := numberOf(x.End)
		return sliceJQ(start, end, bounded)
	}
	n, _ := numberOf(x.Start)
	return func(_ *jqRun, in any) (any, error) { return elementOf(in, n) }
}

// memberJQ is .name.
func memberJQ(name string) jqStep {
	return func(_ *jqRun, in any) (any, error) { return memberOf(in, name) }
}

func memberOf(in any, name string) (any, error) {
	switch in := in.(type) {
	case map[string]any:
		return in[name], nil
	case nil:
		return nil, nil
	}
	return nil, errFails
}

// elementOf is .[n]; a negative n counts from the end.
func elementOf(in any, n int) (any, error) {
	switch in := in.(type) {
	case []any:
		if n < 0 {
			n += len(in)
		}
		if n < 0 || n >= len(in) {
			return nil, nil
		}
		return in[n], nil
	case nil:
		return nil, nil
	case string:
		return nil, errGojq // its characters
	}
	return nil, errFails
}

// indexBy is base[x], where x looks at what base looks at.
func (c *jqCompiler) indexBy(base jqStep, x *gojq.Index) jqStep {
	var by jqStep
	switch {
	case x.IsSlice:
		return c.unknown().one
	case x.Str != nil:
		by = c.text(x.Str)
	default:
		by = c.one(x.Start)
	}
	return func(r *jqRun, in any) (any, error) {
		i, err := by(r, in)
		if err != nil {
			return nil, err
		}
		v, err := base(r, in)
		if err != nil {
			return nil, err
		}
		switch i := i.(type) {
		case string:
			return memberOf(v, i)
		case int:
			return elementOf(v, i)
		}
		return nil, errGojq
	}
}

// sliceJQ is .[start:end], or up to the end.
func sliceJQ(start, end int, bounded bool) jqStep {
	bounds := func(n int) (int, int) {
		to := n
		if bounded {
			to = bound(end, 0, n)
		}
		from := bound(start, 0, n)
		return from, max(from, to)
	}
	return func(r *jqRun, in any) (any, error) {
		switch in := in.(type) {
		case nil:
			return nil, nil
		case []any:
			from, to := bounds(len(in))
			return r.array(in[from:to:to]), nil
		case string:
			if err := r.meter.work(len(in) / 8); err != nil {
				return nil, err
			}
			if !isASCII(in) {
				return nil, errGojq
			}
			from, to := bounds(len(in))
			return r.string(in[from:to]), nil
		}
		return nil, errFails
	}
}

// bound is a bound of a range of n elements, where negative ones count from the end.
func bound(i, least, n int) int {
	if i < 0 {
		i += n
	}
	return max(least, min(i, n))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// metadataJQ is $metadata.name, without the map of all.
func metadataJQ(name string) jqStep {
	return func(r *jqRun, _ any) (any, error) {
		if v, ok := r.env.metadata()[name]; ok {
			return r.string(v), nil
		}
		return nil, nil
	}
}
