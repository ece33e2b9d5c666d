package transform

// What the guards of expr programs ask for: work in proportion to what a function
// is given, and memory in proportion to what it makes.

import (
	"fmt"
	"math/bits"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/vm/runtime"
)

func askRepeat(m *meter, args []any) error {
	s, times := args[0].(string), runtime.ToInt(args[1])
	if times <= 0 || len(s) == 0 {
		return nil
	}
	if times > maxMemory/len(s) {
		return m.take(maxMemory + 1)
	}
	return m.take(len(s) * times)
}

func askReplace(m *meter, args []any) error {
	s, old, with := args[0].(string), args[1].(string), args[2].(string)
	if len(with) <= len(old) {
		return m.take(len(s))
	}
	times := strings.Count(s, old)
	if len(args) == 4 {
		if most := runtime.ToInt(args[3]); most >= 0 {
			times = min(times, most)
		}
	}
	return m.take(len(s) + times*(len(with)-len(old))) // at most 2^20 times 2^20 and some
}

func askJoin(m *meter, args []any) error {
	glue := 0
	if len(args) == 2 {
		s, ok := args[1].(string)
		if !ok {
			return fmt.Errorf("join: the separator is a %T, not a text", args[1])
		}
		glue = len(s)
	}
	switch list := args[0].(type) {
	case []any:
		for _, v := range list {
			s, ok := v.(string)
			if !ok {
				return fmt.Errorf("join: an element is a %T, not a text", v)
			}
			if err := m.take(len(s) + glue + 32); err != nil { // expr makes a list of strings first
				return err
			}
		}
	case []string:
		for _, s := range list {
			if err := m.take(len(s) + glue); err != nil {
				return err
			}
		}
	}
	return nil
}

// askWalk is for functions that walk through all of their arguments and make some bytes of each value.
func askWalk(m *meter, args []any) error {
	for _, arg := range args {
		if err := m.weigh(arg, 32); err != nil {
			return err
		}
	}
	return nil
}

// askIndented: toJSON indents; a value takes at most 2 bytes for each level above it.
func askIndented(m *meter, args []any) error { return m.weigh(args[0], 64) }

// askUnique is for uniq, which compares each element with all others.
func askUnique(m *meter, args []any) error {
	before := m.steps
	if err := m.weigh(args[0], 32); err != nil {
		return err
	}
	return m.work(multiply(elementsOf(args[0]), int(m.steps-before)) / 2)
}

// elementsOf is the number of elements or members of a value.
func elementsOf(v any) int {
	switch v := v.(type) {
	case []any:
		return len(v)
	case map[string]any:
		return len(v)
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return r.Len()
	}
	return 0
}

// askLine is for functions that go through a text once and make at most twice as much.
func askLine(m *meter, args []any) error {
	s, _ := args[0].(string)
	return firstError(m.take(2*len(s)), m.work(len(s)/4))
}

// askTrim: characters beyond ASCII are looked for one by one.
func askTrim(m *meter, args []any) error {
	s, _ := args[0].(string)
	each := 1
	if len(args) == 2 {
		if cut, _ := args[1].(string); len(cut) != utf8.RuneCountInString(cut) {
			each = len(cut)
		}
	}
	return m.work(multiply(len(s), each) / 4)
}

// askSplit: a part is a header of 16 bytes, and 30 ns.
func askSplit(m *meter, args []any) error {
	s, separator := args[0].(string), args[1].(string)
	parts := strings.Count(s, separator) + 1
	if len(args) == 3 {
		if most := runtime.ToInt(args[2]); most >= 0 {
			parts = min(parts, most)
		}
	}
	return firstError(m.take(16*parts), m.work(3*parts+len(s)/8))
}

// askFromJSON: a value takes some 200 ns and 64 bytes, an object more.
func askFromJSON(m *meter, args []any) error {
	s := args[0].(string)
	objects := strings.Count(s, "{")
	values := 1 + strings.Count(s, ",") + strings.Count(s, "[") + objects
	return firstError(m.take(64*values+300*objects+len(s)), m.work(20*values+len(s)/2))
}

// askPairs is for functions that make an element or a member of 48 bytes of each one.
func askPairs(m *meter, args []any) error {
	n := elementsOf(args[0])
	return firstError(m.take(48*n), m.work(10*n))
}

// askWhole is for fromPairs, which prints all of what it does not know.
func askWhole(m *meter, args []any) error { return m.weigh(args[0], memberBytes) }

// askKey refuses what is no key: expr would print all of it.
func askKey(_ *meter, args []any) error {
	for _, key := range args {
		if composite(key) {
			return fmt.Errorf("a value of the type %T is neither an index nor a name", key)
		}
	}
	return nil
}

func askGet(m *meter, args []any) error { return askKey(m, args[1:]) }

// askSorted: a comparison takes some 40 ns.
func askSorted(m *meter, args []any) error {
	if err := m.weigh(args[0], elementBytes); err != nil {
		return err
	}
	return askOrder(m, elementsOf(args[0]))
}

func askOrder(m *meter, n int) error { return m.work(4 * n * bits.Len(uint(n))) }

// askSortedBy is for sortBy and groupBy: elements go to a new place, with a key each.
func askSortedBy(m *meter, args []any) error {
	n := elementsOf(args[0])
	return firstError(m.take(2*elementBytes*n), askOrder(m, n))
}

// askSum: an element takes some 60 ns.
func askSum(m *meter, args []any) error { return m.work(6 * elementsOf(args[0])) }

// composite reports whether v has elements or members.
func composite(v any) bool {
	switch v.(type) {
	case nil, bool, string, int, float64:
		return false
	case []any, map[string]any:
		return true
	}
	switch reflect.TypeOf(v).Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		return true
	}
	return false
}

// askEqual walks through both values, if both have any.
func askEqual(m *meter, a, b any) error {
	if !composite(a) || !composite(b) {
		return nil
	}
	return firstError(m.weigh(a, 0), m.weigh(b, 0))
}

// askIn: each element is compared.
func askIn(m *meter, needle, list any) error {
	n := elementsOf(list)
	if err := m.work(3 * n); err != nil || !composite(needle) {
		return err
	}
	before := m.steps
	if err := m.weigh(needle, 0); err != nil {
		return err
	}
	return firstError(m.work(multiply(n, int(m.steps-before))), m.weigh(list, 0))
}
