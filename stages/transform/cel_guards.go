package transform

// What keeps CEL programs within bounds beyond cel-go's own limits. Its cost is
// charged after a call has done its work, and work that a call repeats for each
// pair of items, or for each byte, is done before anybody looks. So the calls of
// which small arguments make much work are weighed first.

import (
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/functions"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// celItems bounds lists that are put together, and what is looked through in one call: some 20 ms, beyond which nobody
// looks at the clock.
const celItems = 500_000

// What calls take for an item, in steps of the meter (10 ns). BenchmarkCELWeights holds them against the clock.
const (
	celOrder   = 16 // a comparison of sort
	celPair    = 4  // a comparison of sets
	celLook    = 6  // an item that is compared to one value
	celBoth    = 10 // an item that is weighed, and compared to another
	celFlat    = 12 // an item that flatten moves
	celPiece   = 4  // a piece that split finds
	celSwap    = 2  // a text that replace finds
	celPrinted = 25 // an item that join and format write
)

// celGuard reports why a call with these arguments is too much work; nil when it is not.
type celGuard func(m *meter, args []ref.Val) error

// celGuards are the calls to look at. text is the most bytes of a string.
func celGuards(text int) map[string]celGuard {
	made := func(what string, n int) error {
		if n > text {
			return fmt.Errorf("%w: %s would make a string of %d bytes", errLimit, what, n)
		}
		return nil
	}
	guards := map[string]celGuard{
		operators.Add: func(_ *meter, args []ref.Val) error {
			return firstError(few("a list", size(args[0])+size(args[1])), made("+", length(args[0])+length(args[1])))
		},
		"lists.range": func(m *meter, args []ref.Val) error {
			n, _ := args[0].(types.Int)
			return firstError(few("a list", int(n)), m.work(int(n)/4))
		},
		operators.Equals:    seen("a comparison", celBoth),
		operators.NotEquals: seen("a comparison", celBoth),
		operators.In: func(m *meter, args []ref.Val) error {
			if _, names := args[1].(traits.Mapper); names {
				return nil // it looks for one name
			}
			if size(args[0]) == 0 {
				return m.workOn("a search", celLook*size(args[1]))
			}
			return seen("a search", celBoth)(m, args)
		},
		"flatten":               seen("flatten", celFlat),
		"sort":                  ordering,
		"@sortByAssociatedKeys": ordering,
		"matches":               nil, // celMatches
		"replace": func(m *meter, args []ref.Val) error {
			s, old, with := str(args[0]), str(args[1]), str(args[2])
			times := strings.Count(s, old)
			if err := made("replace", len(s)+multiply(times, max(0, len(with)-len(old)))); err != nil {
				return err
			}
			return m.workOn("replace", len(s)+celSwap*times)
		},
		"join": func(m *meter, args []ref.Val) error {
			w := weigh(args[0], celItems)
			if len(args) > 1 {
				w.bytes += multiply(size(args[0]), len(str(args[1])))
			}
			return firstError(few("join", w.items), made("join", w.bytes), m.workOn("join", celPrinted*w.items+w.bytes/16))
		},
		"format": func(m *meter, args []ref.Val) error {
			w := weigh(args[1], celItems)
			n := len(str(args[0])) + w.bytes
			return firstError(few("format", w.items), made("format", n), m.workOn("format", celPrinted*w.items+n/4))
		},
		"split": func(m *meter, args []ref.Val) error {
			const header = 32 // bytes of a string and of what points to it
			s := str(args[0])
			parts := 1 + strings.Count(s, str(args[1]))
			return firstError(made("split", multiply(header, parts)/8), m.workOn("split", len(s)/8+celPiece*parts))
		},
		"indexOf":     found("indexOf"),
		"lastIndexOf": found("lastIndexOf"),
	}
	for _, name := range strings.Fields("distinct sets.contains sets.equivalent sets.intersects hasAll hasAny hasOnly hasExactly") {
		guards[name] = paired(name)
	}
	return guards
}

// few bounds the items of what is made.
func few(what string, items int) error {
	if items > celItems {
		return fmt.Errorf("%w: %s of %d items; %d are the most", errLimit, what, items, celItems)
	}
	return nil
}

// seen is for calls that look at each item, for that many steps.
func seen(what string, each int) celGuard {
	return func(m *meter, args []ref.Val) error {
		for _, arg := range args {
			n := weigh(arg, celItems).work()
			if n > celItems {
				return fmt.Errorf("%w: %s of more than %d items", errLimit, what, celItems)
			}
			if err := m.workOn(what, each*n); err != nil {
				return err
			}
		}
		return nil
	}
}

// ordering is for sort and sortBy: the last argument is what is compared.
func ordering(m *meter, args []ref.Val) error {
	keys := args[len(args)-1]
	if err := m.workOn("sort", celOrder*size(keys)*bits.Len(uint(size(keys)))); err != nil {
		return err
	}
	return seen("sort", celLook)(m, args) // texts may have much in common
}

// paired is for calls that compare each item of the first list with each of the last, deeply.
func paired(what string) celGuard {
	return func(m *meter, args []ref.Val) error {
		each := multiply(celPair, weigh(args[len(args)-1], celItems).work())
		if len(args) == 1 {
			each /= 2 // with those before it
		}
		return m.workOn(what, multiply(size(args[0]), each))
	}
}

// found is for calls that look for a text where it may begin, letter by letter.
func found(what string) celGuard {
	return func(m *meter, args []ref.Val) error {
		s, sought := str(args[0]), str(args[1])
		starts := 0
		if sought != "" {
			_, first := utf8.DecodeRuneInString(sought)
			starts = strings.Count(s, sought[:first])
		}
		return m.workOn(what, 2*len(s)+multiply(starts, len(sought))/8)
	}
}

// str is a string argument; empty for anything else, which the call itself refuses.
func str(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

// length is the bytes of a string or of bytes.
func length(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v)
	case types.Bytes:
		return len(v)
	}
	return 0
}

// size is the number of a list's or an object's items; 0 for anything else.
func size(v ref.Val) int {
	switch v := v.(type) {
	case traits.Lister:
		return int(v.Size().(types.Int))
	case traits.Mapper:
		return int(v.Size().(types.Int))
	}
	return 0
}

// multiply gives what no guard lets pass rather than overflow.
func multiply(a, b int) int {
	const most = 1 << 62
	if a != 0 && b > most/a {
		return most
	}
	return a * b
}

// load is how much a value holds: values, and bytes of text.
type load struct{ items, bytes int }

// work is what looking at all of it takes, in items: text is compared some 100 bytes at a time.
func (l load) work() int { return l.items + l.bytes/100 }

// weigh stops counting above most items. Values that programs build may hold the same list many times over, so that
// what takes little memory weighs much.
func weigh(v ref.Val, most int) load {
	var l load
	l.add(v, most)
	return l
}

func (l *load) add(v ref.Val, most int) {
	l.items++
	switch v := v.(type) {
	case types.String, types.Bytes:
		l.bytes += length(v)
	case traits.Lister:
		for i, n := types.Int(0), v.Size().(types.Int); i < n && l.items <= most; i++ {
			l.add(v.Get(i), most)
		}
	case traits.Mapper:
		for it := v.Iterator(); l.items <= most && it.HasNext() == types.True; {
			k := it.Next()
			l.add(k, most)
			l.add(v.Get(k), most)
		}
	}
}

// celGuarded is the call behind its guard.
func celGuarded(language *cel.Env, call interpreter.InterpretableCall, g celGuard, m *meter) (interpreter.InterpretableV2, error) {
	body, err := celBody(language, call)
	if err != nil {
		return nil, err
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		if m.step() != nil {
			return types.WrapErr(interpreter.InterruptError{})
		}
		if err := g(m, args); err != nil {
			return types.WrapErr(err)
		}
		return body(args...)
	}), nil
}

// celBody is what a call does.
func celBody(language *cel.Env, call interpreter.InterpretableCall) (functions.FunctionOp, error) {
	switch call.Function() {
	case operators.Equals:
		return func(args ...ref.Val) ref.Val { return types.Equal(args[0], args[1]) }, nil
	case operators.NotEquals:
		return func(args ...ref.Val) ref.Val { return types.Bool(types.Equal(args[0], args[1]) != types.True) }, nil
	}
	bindings, err := language.Functions()[call.Function()].Bindings()
	if err != nil {
		return nil, err
	}
	var found *functions.Overload
	for _, b := range bindings {
		if b.Operator == call.OverloadID() || found == nil && b.Operator == call.Function() {
			found = b
		}
	}
	switch {
	case found == nil:
		return nil, fmt.Errorf("the function %s has no body", call.Function())
	case found.Function != nil:
		return found.Function, nil
	case found.Binary != nil:
		return func(args ...ref.Val) ref.Val { return found.Binary(args[0], args[1]) }, nil
	case found.Unary != nil:
		return func(args ...ref.Val) ref.Val { return found.Unary(args[0]) }, nil
	}
	return nil, fmt.Errorf("the function %s has no body", call.Function())
}

// celDouble is an argument of a call that counts.
type celDouble struct{ interpreter.InterpretableV2 }

// Exec implements interpreter.InterpretableV2.
func (d celDouble) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := d.InterpretableV2.Exec(frame)
	if x, ok := v.(exact); ok {
		return x.Double
	}
	return v
}

// Eval implements interpreter.Interpretable.
func (d celDouble) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, d.Exec)
}

// celRound is the condition of a comprehension.
type celRound struct {
	interpreter.InterpretableV2
	meter *meter
}

// Exec implements interpreter.InterpretableV2.
func (r celRound) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	if r.meter.step() != nil {
		return types.WrapErr(interpreter.InterruptError{})
	}
	return r.InterpretableV2.Exec(frame)
}

// Eval implements interpreter.Interpretable.
func (r celRound) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, r.Exec)
}
