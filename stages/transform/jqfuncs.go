package transform

// The guards that jq programs are rewritten to, and the functions that programs
// have beside jq's own.

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/bits"
	"slices"

	"github.com/itchyny/gojq"
)

// functions are what the program is compiled with.
func (r *jqRun) functions() []gojq.CompilerOption {
	m := &r.meter
	options := []gojq.CompilerOption{
		gojq.WithFunction("hash", 0, 0, ofText(func(s string) any { return hashText(s) })),
		gojq.WithFunction("sha256", 0, 0, ofText(func(s string) any { return sha256Text(s) })),
		gojq.WithFunction(guardPrefix+"_add", 2, 2, func(_ any, args []any) any { return r.add(args[0], args[1]) }),
		gojq.WithFunction(guardPrefix+"_subtract", 2, 2, func(_ any, args []any) any { return r.subtract(args[0], args[1]) }),
		gojq.WithFunction(guardPrefix+"_multiply", 2, 2, func(_ any, args []any) any { return r.multiply(args[0], args[1]) }),
		gojq.WithFunction(guardPrefix+"match", 3, 3, r.match),
		gojq.WithFunction(guardPrefix+"index", 0, 0, func(v any, _ []any) any {
			if err := r.askIndex(v); err != nil {
				return err
			}
			return v
		}),
		gojq.WithFunction(guardPrefix+"path", 0, 0, func(v any, _ []any) any {
			if err := r.askPath(v); err != nil {
				return err
			}
			return boundPath(v)
		}),
		gojq.WithFunction(guardPrefix+"far path", 0, 0, func(v any, _ []any) any {
			if err := firstError(r.askPath(v), askFar(m, v)); err != nil {
				return err
			}
			return boundPath(v)
		}),
	}
	for name, is := range comparisons {
		options = append(options, gojq.WithFunction(guardPrefix+name, 2, 2, func(_ any, args []any) any {
			order, err := r.compare(args[0], args[1])
			if err != nil {
				return err
			}
			return is(order)
		}))
	}
	for name, ask := range asks {
		options = append(options, gojq.WithFunction(guardPrefix+name, 0, 1, func(v any, args []any) any {
			if walks[name] && same(v, r.input) { // whose weight is known
				if err := firstError(m.take(r.inputBytes), m.work(r.inputValues)); err != nil {
					return err
				}
				return v
			}
			var argument any
			if len(args) > 0 {
				argument = args[0]
			}
			if err := ask(m, v, argument); err != nil {
				return err
			}
			return v
		}))
	}
	return options
}

// ofText is a function of a text.
func ofText(f func(string) any) func(any, []any) any {
	return func(v any, _ []any) any {
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("cannot be applied to: %s; a text is wanted", gojq.Preview(v))
		}
		return f(s)
	}
}

// native is what gojq makes of an operator.
func (r *jqRun) native(operator string, a, b any) any {
	code := r.natives[operator]
	if code == nil {
		query, err := gojq.Parse("$a " + operator + " $b")
		if err == nil {
			code, err = gojq.Compile(query, gojq.WithVariables([]string{"$a", "$b"}))
		}
		if err != nil {
			return fmt.Errorf("BUG: %s: %w", operator, err)
		}
		if r.natives == nil {
			r.natives = map[string]*gojq.Code{}
		}
		r.natives[operator] = code
	}
	v, _ := code.Run(nil, a, b).Next()
	return v
}

// What a value takes as an element or as a member, in bytes.
const (
	elementBytes = 16
	memberBytes  = 48
)

// floats are two numbers of which one at least is a float.
func floats(a, b any) (x, y float64, ok bool) {
	x, aFloat := a.(float64)
	y, bFloat := b.(float64)
	if !aFloat {
		n, ok := a.(int)
		if !ok || !bFloat {
			return 0, 0, false
		}
		x = float64(n)
	}
	if !bFloat {
		n, ok := b.(int)
		if !ok {
			return 0, 0, false
		}
		y = float64(n)
	}
	return x, y, true
}

// small: products of two such numbers fit.
func small(n int) bool { return -1<<31 < n && n < 1<<31 }

func (r *jqRun) add(a, b any) any {
	if x, y, ok := floats(a, b); ok {
		return x + y
	}
	switch a := a.(type) {
	case int:
		if b, ok := b.(int); ok {
			if sum := a + b; (sum > a) == (b > 0) {
				return sum
			}
		}
	case string:
		if b, ok := b.(string); ok {
			if err := r.meter.take(len(a) + len(b)); err != nil {
				return err
			}
			return a + b
		}
	case []any:
		if b, ok := b.([]any); ok {
			if err := r.meter.take(elementBytes * (len(a) + len(b))); err != nil {
				return err
			}
		}
	case map[string]any:
		if b, ok := b.(map[string]any); ok {
			if err := r.meter.take(memberBytes * (len(a) + len(b))); err != nil {
				return err
			}
		}
	}
	return r.native("+", a, b)
}

func (r *jqRun) subtract(a, b any) any {
	if x, y, ok := floats(a, b); ok {
		return x - y
	}
	switch a := a.(type) {
	case int:
		if b, ok := b.(int); ok {
			if difference := a - b; (difference < a) == (b > 0) {
				return difference
			}
		}
	case []any:
		if b, ok := b.([]any); ok { // each with each
			if err := askSquareOf(&r.meter, a, b); err != nil {
				return err
			}
		}
	}
	return r.native("-", a, b)
}

func (r *jqRun) multiply(a, b any) any {
	if x, y, ok := floats(a, b); ok {
		return x * y
	}
	switch x := a.(type) {
	case int:
		if y, ok := b.(int); ok && small(x) && small(y) {
			return x * y
		}
	case *big.Int:
		if y, ok := b.(*big.Int); ok {
			words := (x.BitLen()/64 + 1) * (y.BitLen()/64 + 1)
			if err := r.meter.work(words); err != nil {
				return err
			}
			if err := r.meter.take((x.BitLen() + y.BitLen()) / 8); err != nil {
				return err
			}
		}
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			if err := firstError(r.meter.weigh(x, memberBytes), r.meter.weigh(y, memberBytes)); err != nil {
				return err
			}
		}
	}
	if err := firstError(r.askRepeat(a, b), r.askRepeat(b, a)); err != nil {
		return err
	}
	return r.native("*", a, b)
}

// askRepeat is for text * times.
func (r *jqRun) askRepeat(text, times any) error {
	s, ok := text.(string)
	n, also := gojq.ToInt(times)
	if !ok || !also || n <= 0 {
		return nil
	}
	high, bytes := bits.Mul64(uint64(len(s)), uint64(n))
	if high > 0 || bytes > maxMemory {
		bytes = maxMemory + 1
	}
	return r.meter.take(int(bytes))
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

var comparisons = map[string]func(order int) bool{
	"_equal": func(o int) bool { return o == 0 }, "_notequal": func(o int) bool { return o != 0 },
	"_greater": func(o int) bool { return o > 0 }, "_greatereq": func(o int) bool { return o >= 0 },
	"_less": func(o int) bool { return o < 0 }, "_lesseq": func(o int) bool { return o <= 0 },
}

// compare walks through objects and arrays before gojq does, which cannot be stopped.
func (r *jqRun) compare(a, b any) (int, error) {
	if nests(a) && nests(b) {
		if err := firstError(r.meter.weigh(a, 0), r.meter.weigh(b, 0)); err != nil {
			return 0, err
		}
	}
	return gojq.Compare(a, b), nil
}

func nests(v any) bool {
	switch v.(type) {
	case []any, map[string]any:
		return true
	}
	return false
}

// asks are what is asked before a function of gojq is called: v is its input, argument its argument.
var asks = map[string]func(m *meter, v, argument any) error{
	"tojson":    askText,
	"walk":      func(m *meter, v, _ any) error { return m.weigh(v, elementBytes) },
	"add":       askAdd,
	"join":      askJoinJQ,
	"explode":   func(m *meter, v, _ any) error { s, _ := v.(string); return m.take(24 * len(s)) }, // a number for each rune
	"fromjson":  askParse,
	"square":    askSquareOf,
	"search":    askSearch,
	"transpose": askTranspose,
	"sort":      askSort,
	"both": func(m *meter, v, argument any) error {
		return firstError(m.weigh(v, elementBytes), m.weigh(argument, elementBytes))
	},
	"keys":        func(m *meter, _, keys any) error { return m.weigh(keys, elementBytes) },
	"sorted keys": func(m *meter, _, keys any) error { return askSort(m, keys, nil) },
	"bsearch":     askBsearch,
}

// walks are those that ask no more than how large the input is.
var walks = map[string]bool{"walk": true, "tojson": true}

func askText(m *meter, v, _ any) error {
	switch v := v.(type) {
	case string:
		return m.take(len(v))
	case []any, map[string]any:
		return m.weigh(v, elementBytes)
	case *big.Int:
		words := v.BitLen() / 64
		return m.work(words * words)
	}
	return nil
}

// askParse is for texts that are read as JSON. What a number of n digits takes grows with the square of n.
func askParse(m *meter, v, _ any) error {
	s, _ := v.(string)
	if err := m.take(24 * len(s)); err != nil {
		return err
	}
	digits := 0
	for i := range len(s) {
		if s[i]-'0' <= 9 {
			digits++
			continue
		}
		if err := m.work(digits * digits / 100); err != nil {
			return err
		}
		digits = 0
	}
	return m.work(digits * digits / 100)
}

// askAdd is for add, which puts all elements together.
func askAdd(m *meter, v, _ any) error {
	n := 0
	switch v := v.(type) {
	case []any:
		for _, element := range v {
			n += sizeOf(element)
		}
	case map[string]any:
		for _, value := range v {
			n += sizeOf(value)
		}
	}
	return m.take(n)
}

func sizeOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []any:
		return elementBytes * len(v)
	case map[string]any:
		return memberBytes * len(v)
	}
	return elementBytes
}

func askJoinJQ(m *meter, v, separator any) error {
	if s, ok := separator.(string); ok {
		n := 0
		switch v := v.(type) {
		case []any:
			n = len(v)
		case map[string]any:
			n = len(v)
		}
		if err := m.take(n * len(s)); err != nil {
			return err
		}
	}
	return askAdd(m, v, nil)
}

// askSquareOf is for what compares each of a with each of b.
func askSquareOf(m *meter, a, b any) error {
	if !nests(a) || !nests(b) {
		return nil
	}
	before := m.steps
	if err := firstError(m.weigh(a, 1), m.weigh(b, 1)); err != nil {
		return err
	}
	all := int(m.steps - before)
	return m.work(lengthOf(a) * lengthOf(b) * max(1, all/(lengthOf(a)+lengthOf(b)+1)))
}

func lengthOf(v any) int {
	switch v := v.(type) {
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	case string:
		return len(v)
	}
	return 0
}

// askSearch is for index and the like, which compare at each position.
func askSearch(m *meter, v, argument any) error {
	if s, ok := v.(string); ok {
		what, _ := argument.(string)
		if err := m.take(24 * (len(s) + len(what))); err != nil { // both become arrays of numbers
			return err
		}
	} else if err := askSquareOf(m, v, argument); err != nil {
		return err
	}
	return m.work(lengthOf(v) * lengthOf(argument))
}

func askTranspose(m *meter, v, _ any) error {
	rows, ok := v.([]any)
	if !ok {
		return nil
	}
	longest := 0
	for _, row := range rows {
		longest = max(longest, lengthOf(row))
	}
	return m.take(elementBytes * longest * len(rows))
}

func askSort(m *meter, v, _ any) error {
	n, before := lengthOf(v), m.steps
	if err := m.weigh(v, elementBytes); err != nil {
		return err
	}
	return m.work(2 * int(m.steps-before) * bits.Len(uint(n)))
}

func askBsearch(m *meter, v, what any) error {
	before := m.steps
	if err := m.weigh(what, 0); err != nil {
		return err
	}
	return m.work(bits.Len(uint(lengthOf(v))) * int(m.steps-before))
}

// askIndex is for .[array], which compares the array at each place of one that is not known here. But each element of that
// one is of the data, took a step, or was counted by its bytes.
func (r *jqRun) askIndex(v any) error {
	what, ok := v.([]any)
	if !ok {
		return nil
	}
	m := &r.meter
	places, before := r.inputValues+int(m.steps)+m.bytes/elementBytes, m.steps
	if err := m.weigh(what, 0); err != nil {
		return err
	}
	return m.work(multiply(places, int(m.steps-before)))
}

// askPath is askIndex for the parts of a path.
func (r *jqRun) askPath(v any) error {
	parts, _ := v.([]any)
	for _, part := range parts {
		if err := r.askIndex(part); err != nil {
			return err
		}
	}
	return nil
}

// askFar is for a path that may be set, or an index of one: an array is made up to it.
func askFar(m *meter, v any) error {
	switch v := v.(type) {
	case int, float64, json.Number, *big.Int:
		if n, _ := gojq.ToInt(v); n >= farIndex && n <= maxIndex {
			return m.take(elementBytes * n)
		}
	case []any:
		for _, part := range v {
			if part == nil || nests(part) {
				continue
			}
			if err := askFar(m, part); err != nil {
				return err
			}
		}
	}
	return nil
}

// tooLarge is the least index for which gojq makes no array: setting it is an error, and reading it gives null.
const tooLarge = 1 << 29

// boundPath is a path, or a part of one, with tooLarge in the place of indices above maxIndex.
func boundPath(v any) any {
	switch v := v.(type) {
	case int, float64, json.Number, *big.Int:
		if n, _ := gojq.ToInt(v); n > maxIndex {
			return tooLarge
		}
	case []any:
		var bounded []any
		for i, part := range v {
			if part != nil && !nests(part) && boundPath(part) == any(tooLarge) {
				if bounded == nil {
					bounded = slices.Clone(v)
				}
				bounded[i] = tooLarge
			}
		}
		if bounded != nil {
			return bounded
		}
	}
	return v
}
