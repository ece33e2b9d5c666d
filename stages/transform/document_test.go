package transform

// Data as programs see it, and what is written of it: nothing that a program
// leaves alone may change.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestBoxes(t *testing.T) {
	s, n, f, a := "x", 1, 1.5, []any{1}
	for _, c := range []struct{ boxed, want any }{
		{stringBox.at(&s), "x"}, {intBox.at(&n), 1}, {floatBox.at(&f), 1.5}, {arrayBox.at(&a), []any{1}},
	} {
		if !reflect.DeepEqual(c.boxed, c.want) || fmt.Sprintf("%T", c.boxed) != fmt.Sprintf("%T", c.want) {
			t.Errorf("the box of %v has %v", c.want, c.boxed)
		}
	}
	boxed := stringBox.at(&s)
	if s = "y"; boxed != "y" {
		t.Error("a box is a copy")
	}
	if m := map[string]any{}; mapAt(m) == nil || mapAt(m) == mapAt(map[string]any{}) {
		t.Error("two maps are the same one")
	}
}

func TestNumbersLoseNothing(t *testing.T) {
	for _, c := range []struct {
		text string
		want any
	}{
		{"0", 0}, {"-1", -1}, {"9007199254740993", 9007199254740993}, {"999999999999999999", 999999999999999999},
		{"9223372036854775807", math.MaxInt}, {"-9223372036854775808", math.MinInt},
		{"9223372036854775808", json.Number("9223372036854775808")},
		{"-0", math.Copysign(0, -1)}, {"0.0", 0.0}, {"1.10", 1.1}, {"129.95", 129.95}, {"1e3", 1000.0}, {"1E+3", 1000.0},
		{"0.1", 0.1}, {"5e-324", 5e-324}, {"1.7976931348623157e308", math.MaxFloat64}, {"0.30000000000000004", 0.30000000000000004},
		{"1e400", json.Number("1e400")}, {"1e-400", json.Number("1e-400")}, {"0e999999999999999999999", 0.0},
		{"4e-324", json.Number("4e-324")}, {"0.1234567890123456789012", json.Number("0.1234567890123456789012")},
		{"100000000000000000000000", 1e23}, {"100000000000000000000001", json.Number("100000000000000000000001")},
		{"1.0000000000000000000", 1.0}, {"9007199254740993.0", json.Number("9007199254740993.0")},
	} {
		var d document
		got, err := d.read([]byte(c.text), nil)
		if err != nil || !reflect.DeepEqual(got, c.want) || fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s is %T %v (%v), want %T %v", c.text, got, got, err, c.want, c.want)
		}
	}
}

// A program that changes one member leaves all others as they were received.
func TestOtherMembersSurvive(t *testing.T) {
	const data = ` {"z": 1.10, "big":9007199254740993,"huge" : 1e400,"minus":-0, "long":0.1234567890123456789012,` +
		`"twice":1,"a":{"b" : [1.0, 2 ,{"c":"\u00e9\/"}],"b2":"\ud800"},"twice":2,"text":"x","list":[1.50, {"k": 1e2},3]} `
	for _, c := range []struct {
		name   string
		change func(m map[string]any)
		want   func(data string) string
	}{
		{"nothing", func(map[string]any) {}, func(s string) string { return s }},
		{"a text", func(m map[string]any) { m["text"] = "y" }, swap(`"text":"x"`, `"text":"y"`)},
		{"a new member", func(m map[string]any) { m["new"] = 1 }, swap(`3]}`, `3],"new":1}`)},
		{"one is gone", func(m map[string]any) { delete(m, "big") }, swap(`"big":9007199254740993,`, ``)},
		{"the first is gone", func(m map[string]any) { delete(m, "z") }, swap(`"z": 1.10, `, ``)},
		{"a doubled one", func(m map[string]any) { m["twice"] = 3 },
			func(s string) string { return swap(`"twice":1,`, ``)(swap(`"twice":2`, `"twice":3`)(s)) }},
		{"a doubled one is gone", func(m map[string]any) { delete(m, "twice") },
			func(s string) string { return swap(`"twice":1,`, ``)(swap(`"twice":2,`, ``)(s)) }},
		{"deep down", func(m map[string]any) {
			a := maps.Clone(m["a"].(map[string]any))
			b := slices.Clone(a["b"].([]any))
			b[1], a["b"], m["a"] = "two", b, a
		}, swap(`"a":{"b" : [1.0, 2 ,{"c":"\u00e9\/"}],`, `"a":{"b":[1.0,"two",{"c":"\u00e9\/"}],`)},
		{"moved", func(m map[string]any) { m["moved"] = m["a"].(map[string]any)["b"]; delete(m, "a") },
			func(s string) string {
				return swap(`"a":{"b" : [1.0, 2 ,{"c":"\u00e9\/"}],"b2":"\ud800"},`, ``)(swap(`3]}`, `3],"moved":[1.0, 2 ,{"c":"\u00e9\/"}]}`)(s))
			}},
		{"a shorter list", func(m map[string]any) { m["list"] = m["list"].([]any)[:2] }, swap(`[1.50, {"k": 1e2},3]`, `[1.50,{"k": 1e2}]`)},
		{"a longer list", func(m map[string]any) { m["list"] = append(m["list"].([]any), 4) }, swap(`[1.50, {"k": 1e2},3]`, `[1.50,{"k": 1e2},3,4]`)},
		{"another type", func(m map[string]any) { m["z"] = []any{} }, swap(`"z": 1.10`, `"z":[]`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d document
			v, err := d.read([]byte(data), nil)
			if err != nil {
				t.Fatal(err)
			}
			changed := maps.Clone(v.(map[string]any))
			c.change(changed)
			got, err := d.encode(nil, changed, len(data)+100)
			if err != nil {
				t.Fatal(err)
			}
			want := c.want(strings.TrimSpace(data))
			if c.name != "nothing" {
				want = tight(want)
			}
			if c.name == "nothing" { // a clone has to be written anew; the value itself is copied
				got, err = d.encode(nil, v, len(data))
			}
			if err != nil || string(got) != want {
				t.Errorf("wrote\n%s (%v), want\n%s", got, err, want)
			}
		})
	}
}

// swap replaces a part that must be there.
func swap(old, with string) func(string) string {
	return func(s string) string {
		if strings.Count(s, old) != 1 {
			panic("BUG: " + old + " is not there once")
		}
		return strings.Replace(s, old, with, 1)
	}
}

// tight takes the space between the members of the outer object away: members are copied with what lies between
// their name and value.
func tight(s string) string {
	return strings.ReplaceAll(s, `, "`, `,"`)
}

func TestWhatProgramsMake(t *testing.T) {
	type named []string
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, "null"}, {true, "true"}, {1, "1"}, {1.0, "1"}, {1.5, "1.5"}, {1e21, "1e+21"}, {1e-7, "1e-7"}, {math.NaN(), "null"},
		{math.Inf(-1), "-1.7976931348623157e+308"}, {json.Number("1e400"), "1e400"}, {math.Copysign(0, -1), "-0"},
		{new(big.Int).Lsh(big.NewInt(1), 70), "1180591620717411303424"}, {"a\x00\"\u2028\xff", "\"a\\u0000\\\"\u2028\ufffd\""},
		{[]any{}, "[]"}, {[]any(nil), "[]"}, {map[string]any{"b": 1, "a": nil}, `{"a":null,"b":1}`}, {[]string{"x"}, `["x"]`},
		{[]int{1, 2}, "[1,2]"}, {map[any][]any{true: {1}}, `{"true":[1]}`}, {named{"y"}, `["y"]`}, {[2]any{"k", uint8(7)}, `["k",7]`},
	} {
		var d document
		got, err := d.encode(nil, c.value, 100)
		if err != nil || string(got) != c.want {
			t.Errorf("%#v is written as %s (%v), want %s", c.value, got, err, c.want)
		}
	}
	for _, v := range []any{json.Number("1x"), json.Number(`"a"`), make(chan int), struct{}{}} {
		var d document
		if got, err := d.encode(nil, v, 100); err == nil && string(got) != `"a"` {
			t.Errorf("%#v is written as %s", v, got)
		}
	}
}

// What is too long or too deep is refused before it takes memory.
func TestOutputIsBounded(t *testing.T) {
	wide := any("0123456789")
	deep := any(1)
	for range 60 {
		wide = []any{wide, wide}
	}
	for range 2 * maxDepth {
		deep = map[string]any{"a": deep}
	}
	huge := new(big.Int).Lsh(big.NewInt(1), 1<<20)
	for name, v := range map[string]any{"wide": wide, "deep": deep, "huge": huge, "text": strings.Repeat("x", 2000)} {
		var d document
		out, err := d.encode(nil, v, 1000)
		if !errors.Is(err, errLimit) || len(out) > 1100 {
			t.Errorf("%s: wrote %d bytes (%v)", name, len(out), err)
		}
	}
	var d document
	for _, exact := range []string{`"` + strings.Repeat("x", 98) + `"`, "[" + strings.Repeat("1,", 49) + "1]"} {
		v, _ := d.read([]byte(exact), nil)
		if _, err := d.encode(nil, v, len(exact)); err != nil {
			t.Errorf("what just fits: %v", err)
		}
		if _, err := d.encode(nil, v, len(exact)-1); !errors.Is(err, errLimit) {
			t.Errorf("one byte too long: %v", err)
		}
	}
}

func TestWhatIsNotJSON(t *testing.T) {
	for data, part := range map[string]string{
		"":                                  "empty",
		"{":                                 "at byte 1",
		`{"a":1} x`:                         "at byte 8",
		`{"a" 1}`:                           "at byte 5",
		"[1,]":                              "at byte 2",
		"nul":                               "at byte",
		"01":                                "at byte 1",
		"\"\x01\"":                          "at byte 1",
		"\x00":                              "at byte 0",
		strings.Repeat("[", 1<<20):          "deeper than the 1000 levels",
		strings.Repeat(`{"a":`, maxDepth+2): "deeper than the 1000 levels",
	} {
		var d document
		if _, err := d.read([]byte(data), nil); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%.20q: %v, want %q", data, err, part)
		}
		if _, err := d.read([]byte(`{"a":[1]}`), nil); err != nil {
			t.Errorf("after %.20q: %v", data, err)
		}
	}
	var d document
	if _, err := d.read([]byte(strings.Repeat("[", maxDepth)+strings.Repeat("]", maxDepth)), nil); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
}

// Documents are read again and again in the same memory.
func TestDocumentsAllocateNothing(t *testing.T) {
	var d document
	data, out := []byte(sampleData), make([]byte, 0, 1000)
	round := func() {
		v, err := d.read(data, nil)
		if err != nil {
			t.Fatal(err)
		}
		if out, err = d.encode(out[:0], v, 1000); err != nil {
			t.Fatal(err)
		}
	}
	round()
	if n := testing.AllocsPerRun(100, round); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// FuzzDocument holds reading and writing against encoding/json.
func FuzzDocument(f *testing.F) {
	for _, seed := range []string{sampleData, `[1.10,-0,1e400,9007199254740993]`, `{"a":1,"a":{"b":2},"a":1}`, "\"\xff\\ud800\\u00e9\"",
		` [ ] `, `{"":{"":[[],{}]}}`, `0.1234567890123456789012`, "nul", "[1,]", `{"a":[1,[2,{"a":3}],"4"],"b":null}`} {
		f.Add([]byte(seed))
	}
	var d document
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := d.read(data, nil)
		var want any
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		if !json.Valid(data) || decoder.Decode(&want) != nil {
			if err == nil {
				t.Fatalf("read %q, which encoding/json does not", data)
			}
			return
		}
		if err != nil {
			if strings.Contains(err.Error(), "levels") {
				return
			}
			t.Fatalf("%q: %v", data, err)
		}
		mustEqual(t, got, want)
		out, err := d.encode(nil, got, len(data))
		if trimmed := bytes.Trim(data, " \t\r\n"); err != nil || !bytes.Equal(out, trimmed) {
			t.Fatalf("%q is written as %q (%v)", data, out, err)
		}
		for _, rebuilt := range []any{rebuild(got, false), rebuild(got, true)} {
			out, err := d.encode(nil, rebuilt, 8*len(data)+100)
			if err != nil {
				t.Fatalf("%q rebuilt: %v", data, err)
			}
			var back any
			decoder := json.NewDecoder(bytes.NewReader(out))
			decoder.UseNumber()
			if err := decoder.Decode(&back); err != nil {
				t.Fatalf("%q is written as %q: %v", data, out, err)
			}
			mustEqual(t, rebuilt, back)
		}
	})
}

// rebuild copies all objects and arrays; with shift, every one gets an element before the others.
func rebuild(v any, shift bool) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for name, value := range v {
			m[name] = rebuild(value, shift)
		}
		if shift {
			m["a"] = len(v)
		}
		return m
	case []any:
		s := make([]any, 0, len(v)+1)
		if shift {
			s = append(s, "first")
		}
		for _, value := range v {
			s = append(s, rebuild(value, shift))
		}
		return s
	}
	return v
}

// mustEqual compares a value with what encoding/json made, whose numbers are text.
func mustEqual(t *testing.T, got, want any) {
	t.Helper()
	switch want := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || len(g) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for name := range want {
			mustEqual(t, g[name], want[name])
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(want) {
			t.Fatalf("%v, want %v", got, want)
		}
		for i := range want {
			mustEqual(t, g[i], want[i])
		}
	case json.Number:
		mustBeNumber(t, got, want)
	default:
		if got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

func mustBeNumber(t *testing.T, got any, want json.Number) {
	t.Helper()
	text := fmt.Sprint(got)
	if n, ok := got.(json.Number); ok && n == want {
		return
	}
	if f, ok := got.(float64); ok && f == 0 && math.Signbit(f) != strings.HasPrefix(string(want), "-") {
		t.Fatalf("%v, want %s", got, want)
	}
	gotDigits, gotExponent := decimal(text)
	digits, exponent := decimal(string(want))
	if gotDigits != digits || exponent != gotExponent && digits != "" || strings.HasPrefix(text, "-") != strings.HasPrefix(string(want), "-") {
		t.Fatalf("%s, want %s", text, want)
	}
}
