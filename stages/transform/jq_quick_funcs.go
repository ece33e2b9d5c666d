package transform

// The functions that quick jq programs know. Where gojq's guards do
// the work themselves (jqfuncs.go), they do it here too.

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// function is a call, or a variable.
func (c *jqCompiler) function(f *gojq.Func) jqPart {
	name, args := f.Name, f.Args
	switch {
	case name[0] == '$' && len(args) == 0:
		return c.lookUp(name)
	case len(args) == 0:
		if known := jqFunctions[name]; known != nil {
			return jqPart{one: known}
		}
		return c.withoutArgument(name)
	case len(args) == 1:
		if known := jqFunctionsOf[name]; known != nil {
			return jqPart{one: called(c.one(args[0]), known)}
		}
		return c.withQuery(name, args[0])
	case name == "test" && len(args) == 2:
		if flags := args[1].Term; flags != nil && flags.Type == gojq.TermTypeString && flags.Str.Queries == nil && len(flags.SuffixList) == 0 {
			return jqPart{one: testJQ(c.one(args[0]), flags.Str.Str)}
		}
	}
	return c.unknown()
}

// bound reports whether the program has a variable of that name.
func (c *jqCompiler) bound(name string) bool {
	for _, b := range c.scope {
		if b.name == name {
			return true
		}
	}
	return false
}

// lookUp is a variable of the program, or an attribute of the event.
func (c *jqCompiler) lookUp(name string) jqPart {
	for i := len(c.scope) - 1; i >= 0; i-- {
		if b := c.scope[i]; b.name == name {
			return jqPart{one: func(r *jqRun, _ any) (any, error) { return r.slots[b.slot], nil }}
		}
	}
	for _, v := range jqVariables {
		if v.name != name {
			continue
		}
		slot, ok := c.shared[name]
		if !ok {
			if c.shared == nil {
				c.shared = map[string]int{}
			}
			slot = c.newSlot()
			c.shared[name] = slot
		}
		get := v.get
		return jqPart{one: func(r *jqRun, _ any) (any, error) {
			if r.slots[slot] == nil { // no attribute is null
				r.slots[slot] = get(r.env)
			}
			return r.slots[slot], nil
		}}
	}
	return c.unknown()
}

// withoutArgument are functions that are made of others.
func (c *jqCompiler) withoutArgument(name string) jqPart {
	switch name {
	case "empty":
		return jqPart{one: func(*jqRun, any) (any, error) { return nil, errNothing }}
	case "any", "all":
		return jqPart{one: quantifierJQ(identityJQ, name == "any")}
	}
	return c.unknown()
}

// withQuery are functions whose argument is a query, and not a value.
func (c *jqCompiler) withQuery(name string, q *gojq.Query) jqPart {
	switch name {
	case "map":
		return jqPart{one: arrayJQ(pipeJQ(jqPart{over: identityJQ}, c.query(q)))}
	case "map_values":
		return jqPart{one: changeJQ(chainJQ([]jqHop{{kind: hopEach}}, modifyJQ(c.one(q)), false))}
	case "select":
		holds := c.one(q)
		return jqPart{one: func(r *jqRun, in any) (any, error) {
			v, err := holds(r, in)
			if err == nil && !truthJQ(v) {
				err = errNothing
			}
			return in, err
		}}
	case "any", "all":
		return jqPart{one: quantifierJQ(c.one(q), name == "any")}
	case "del":
		return jqPart{one: c.delete(q)}
	case "test":
		return jqPart{one: testJQ(c.one(q), "")}
	}
	return c.unknown()
}

// called is a function of a value and an argument.
func called(argument jqStep, f func(r *jqRun, v, argument any) (any, error)) jqStep {
	return func(r *jqRun, in any) (any, error) {
		x, err := argument(r, in)
		if err != nil {
			return nil, err
		}
		return f(r, in, x)
	}
}

// errEnough ends a stream of which no more is needed.
var errEnough = errors.New("enough")

// quantifierJQ is any(f) and all(f), which end at the first element that decides.
func quantifierJQ(f jqStep, isAny bool) jqStep {
	return func(r *jqRun, in any) (any, error) {
		err := r.each(in, func(element any) error {
			v, err := f(r, element)
			if err == nil && truthJQ(v) == isAny {
				return errEnough
			}
			return unlessNothing(err)
		})
		if errors.Is(err, errEnough) {
			return isAny, nil
		}
		return !isAny, err
	}
}

// testJQ is test(expression; flags).
func testJQ(expression jqStep, flags string) jqStep {
	return called(expression, func(r *jqRun, v, expression any) (any, error) {
		if _, ok := expression.(string); !ok {
			return nil, errGojq
		}
		return r.outcome(r.match(v, []any{expression, flags, true}))
	})
}

// outcome is what one of gojq's functions has given, or a guard.
func (r *jqRun) outcome(v any) (any, error) {
	if _, failed := v.(error); !failed {
		return v, nil
	}
	if r.meter.spent != nil {
		return nil, r.meter.spent
	}
	return nil, errFails
}

// jqFunctions are those without an argument.
var jqFunctions = map[string]jqStep{
	"not":      func(_ *jqRun, in any) (any, error) { return !truthJQ(in), nil },
	"type":     func(_ *jqRun, in any) (any, error) { return gojq.TypeOf(in), nil },
	"length":   lengthJQ,
	"keys":     keysJQ,
	"add":      sumJQ,
	"tonumber": numberJQ,
	"first":    func(_ *jqRun, in any) (any, error) { return elementOf(in, 0) },
	"last":     func(_ *jqRun, in any) (any, error) { return elementOf(in, -1) },
	"values": func(_ *jqRun, in any) (any, error) {
		if in == nil {
			return nil, errNothing
		}
		return in, nil
	},
	"tostring": func(r *jqRun, in any) (any, error) {
		if _, ok := in.(string); ok {
			return in, nil
		}
		s, err := r.textOf(in)
		return r.string(s), err
	},
	"tojson": func(r *jqRun, in any) (any, error) {
		if err := askText(&r.meter, in, nil); err != nil {
			return nil, err
		}
		b, err := gojq.Marshal(in)
		return r.string(string(b)), err
	},
	"ascii_downcase": mapText(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		return c
	}),
	"ascii_upcase": mapText(func(c rune) rune {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		return c
	}),
	"sha256": func(_ *jqRun, in any) (any, error) {
		if s, ok := in.(string); ok {
			return sha256Text(s), nil
		}
		return nil, errFails
	},
	"hash": func(r *jqRun, in any) (any, error) {
		if s, ok := in.(string); ok {
			return r.int(hashText(s)), nil
		}
		return nil, errFails
	},
}

func mapText(f func(rune) rune) jqStep {
	return func(r *jqRun, in any) (any, error) {
		s, ok := in.(string)
		if !ok {
			return nil, errFails
		}
		if err := r.meter.take(len(s)); err != nil {
			return nil, err
		}
		return r.string(strings.Map(f, s)), nil
	}
}

func lengthJQ(r *jqRun, in any) (any, error) {
	switch v := in.(type) {
	case nil:
		return 0, nil
	case int:
		if v >= 0 {
			return v, nil
		}
	case float64:
		return math.Abs(v), nil
	case string:
		if err := r.meter.work(len(v) / 8); err != nil {
			return nil, err
		}
		return r.int(utf8.RuneCountInString(v)), nil
	case []any:
		return r.int(len(v)), nil
	case map[string]any:
		return r.int(len(v)), nil
	case bool:
		return nil, errFails
	}
	return nil, errGojq
}

func keysJQ(r *jqRun, in any) (any, error) {
	m, ok := in.(map[string]any)
	if !ok {
		return nil, errGojq
	}
	names, err := r.sortedNames(m)
	if err != nil {
		return nil, err
	}
	made := r.document.values.take(len(names))
	for i, name := range names {
		made[i] = r.string(name)
	}
	return r.array(made), nil
}

// sumJQ is add of an array of numbers, or of texts.
func sumJQ(r *jqRun, in any) (any, error) {
	elements, ok := in.([]any)
	if !ok {
		return nil, errGojq
	}
	var sum any
	for i, v := range elements {
		if err := r.meter.step(); err != nil {
			return nil, err
		}
		switch v.(type) {
		case int, float64:
		case string:
			if i == 0 {
				return joinJQ(r, in, "")
			}
			return nil, errGojq
		default:
			return nil, errGojq
		}
		if sum == nil {
			sum = v
			continue
		}
		var err error
		if sum, err = addJQ(r, sum, v); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// numberJQ is tonumber for numbers and simple texts of them.
func numberJQ(_ *jqRun, in any) (any, error) {
	switch v := in.(type) {
	case int, float64:
		return v, nil
	case string:
		if v == "" || strings.Trim(v, "0123456789") != "" || len(v) > maxIntDigits {
			return nil, errGojq
		}
		n, err := strconv.Atoi(v)
		if err != nil {
			return nil, fmt.Errorf("BUG: %w", err)
		}
		return n, nil
	}
	return nil, errGojq
}
