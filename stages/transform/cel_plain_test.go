package transform

// What cel_literals.go and cel_values.go do their own way gives what cel-go gives.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"pgregory.net/rapid"
)

// plainCEL is cel-go as it comes, with the same libraries.
func plainCEL(t *testing.T) *cel.Env {
	language, err := cel.NewEnv(celOptions()...)
	if err != nil {
		t.Fatal(err)
	}
	return language
}

// asPlainCEL runs a program as the gateway does, and by cel-go alone on all of data. It reports false when the text is no program.
func asPlainCEL(t interface{ Fatalf(string, ...any) }, plain *cel.Env, source, data string) bool {
	l := limits{output: 100_000, timeout: 10 * time.Second}
	tree, issues := plain.Compile(source)
	made, err := celEngine{}.compile(source, l)
	refusal := issues.Err()
	var reference cel.Program
	if refusal == nil {
		reference, refusal = plain.Program(tree, cel.EvalOptions(cel.OptOptimize))
	}
	if (err == nil) != (refusal == nil) {
		t.Fatalf("%s: %v, in cel-go %v", source, err, refusal)
	}
	if err != nil {
		return false
	}
	e := testEnv(data)
	read, err := e.data()
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	encoded := func(v any) string {
		b, err := new(document).encode(nil, v, l.output)
		if err != nil {
			t.Fatalf("%s of %s: %v", source, data, err)
		}
		return string(b)
	}
	some := testEnv(data)
	some.want = made.(*celProgram).want()
	out, problem := made.newRun().eval(context.Background(), some)
	got := ""
	if problem == nil {
		got = encoded(out.value)
	}
	value, _, failure := reference.Eval(map[string]any{"data": read, "type": e.typ, "client": e.client, "metadata": e.metadata()})
	want := ""
	if failure == nil {
		w := celWriter{room: l.output, meter: unhurried(l)}
		native, err := w.native(value)
		if failure = err; err == nil {
			want = encoded(native)
		}
	}
	switch {
	case errors.Is(problem, errLimit), errors.Is(failure, errLimit):
	case (problem == nil) != (failure == nil):
		t.Fatalf("%s\nof %s fails with %v, in cel-go with %v", source, data, problem, failure)
	case got != want:
		t.Fatalf("%s\nof %s\ngives %s,\nin cel-go %s", source, data, got, want)
	}
	return true
}

func TestPlainCEL(t *testing.T) {
	skipUnderRace(t)
	plain := plainCEL(t)
	for _, source := range []string{
		celShape,
		`{"a": data, "b": {"c": data.items, "d": [data.amount, {"e": data.note}]}}`,
		`{"a": 1, "a": 2}`, `{"a": {}}.a`, `{"a": [1]}.a[0]`, `{"a": 1}["a"]`, `{"a": 1}.b`, `{"a": data.nope}`, `[data.nope]`,
		`{"a": 1} == {"a": dyn(1.0)}`, `{"a": [1, "x"]} == {"a": [1, "x"]}`, `[1, 2] == [1, 2]`, `[1] + [2] == [1, 2]`, `data == data`, `data.items == data.items`,
		`data.items != [{"sku": 1}]`, `{"sku": "A-1001"} in data.items`, `"a" in {"a": 1}`, `dyn(1) in {"a": 1}`, `data.items[0] in data.items`, `"x" in ["x", data.type]`,
		`data.items.map(i, i)`, `data.items.map(i, [i.sku])`, `data.items.map(i, {"s": i.sku, "n": i.quantity})`, `data.items.map(i, i.quantity > 1, i.sku)`,
		`data.items.map(i, data.items.map(j, i.sku + j.sku))`, `data.items.filter(i, data.items.filter(j, i == j).size() == 1)`,
		`data.items.map(i, i.nope)`, `data.items.filter(i, i.nope)`, `data.items.filter(i, false)`, `[].map(i, i)`, `data.items.map(i, i.sku).map(s, s + "!")`,
		`data.items.map(i, i.sku) + data.items.map(i, i.name)`, `(data.items + data.items).map(i, i.price)`, `data.items.map(i, i.sku).size()`,
		`data.items.map(i, i.sku)[1]`, `data.items.exists(i, i.sku == "B-2002")`, `data.items.all(i, i.price > 20.0)`, `data.items.exists_one(i, i.quantity == 2)`,
		`data.items.transformList(n, i, n > 0, i.sku)`, `data.items.transformMap(n, i, i.sku)`, `data.items.transformMapEntry(n, i, {i.sku: n})`,
		`data.shipping.transformMap(k, v, k != "address", v)`, `data.shipping.address.exists(k, k == "zip")`, `data.shipping.address.all(k, v, k != v)`,
		`size(data)`, `size({"a": 1, "b": 2})`, `size([1, 2])`, `data.?items[?0].?sku`, `data.?items[?9].?sku.orValue("none")`, `[?data.?note, ?data.?nope]`,
		`{?"a": data.?note, "b": 1}`, `optional.ofNonZeroValue([])`, `optional.ofNonZeroValue(data.items).orValue([])`, `type({"a": 1}) == map && type([1]) == list`,
		`dyn([1, "a"])[1]`, `{"k": data.test ? data.items : data.shipping}`, `[data.test ? 1 : dyn("x"), has(data.note), has(data.nope)]`,
		`cel.bind(m, {"a": [1]}, [m, m.a, m.a[0], m])`, `cel.bind(l, data.items.map(i, i.sku), [l, l + l, l.size()])`,
		`data.items.map(i, i.sku).sort()`, `data.items.sortBy(i, i.price)`, `["b", "a"].sort().join(",")`, `data.items.map(i, i.sku).join("/")`,
		`[[1, [2]], [3]].flatten()`, `[1, 1, 2].distinct()`, `data.items.slice(0, 1)`, `data.items.map(i, i.sku).slice(1, 2)`, `sets.equivalent([1, 2], [2, 1])`,
		`sets.contains(data.items, [data.items[0]])`, `"%s %s".format([[1, "a"], {"a": 1}])`, `math.greatest([1, 2.5])`, `data.items.map(i, i.quantity).exists(q, q == 2)`,
		`metadata.tenant`, `{"m": metadata}`, `[metadata["tenant"]]`, `"tenant" in metadata`, `metadata.map(k, k).size()`, `string(data.amount)`, `int("12") + 1`,
		`[1, 2, 3].map(x, x * 2).filter(x, x > 2)`, `["a"].map(x, [x, x])[0][1]`, `{"a": 1}.map(k, k)`, `{"a": [], "b": {}}`, `[[], {}]`,
		`"x".contains("x") && data.items[0].name.matches("C.*")`, `data.items[0].name.matches(data.items[0].sku)`, `"a,b".split(",").map(s, {"v": s})`,
	} {
		if !asPlainCEL(t, plain, source, sampleData) {
			t.Errorf("%s is no program", source)
		}
	}
}

// anyCEL draws programs, most of which make sense.
func anyCEL(t *rapid.T, depth int) string {
	sub := func() string { return anyCEL(t, depth-1) }
	one := func(all ...string) string { return rapid.SampledFrom(all).Draw(t, "choice") }
	if depth <= 0 || rapid.IntRange(0, 3).Draw(t, "leaf") == 0 {
		return one("data", "data.a", "data.b", "data.a.b", "data.c[0]", "data.?a", "data.?b.?c", "data[0]", "x", "1", "2.5", "true", "null", `"x"`, `"a"`, "[]", "{}", "has(data.a)")
	}
	switch one("object", "list", "map", "filter", "exists", "op", "op", "cond", "bind", "call", "select", "two") {
	case "object":
		return one(`{"a": `+sub()+`, "b": `+sub()+`}`, `{"a": `+sub()+`}`, `{`+sub()+`: 1}`, `{?"a": `+sub()+`, "c": 2}`)
	case "list":
		return one(`[`+sub()+`]`, `[`+sub()+`, `+sub()+`]`, `[?`+sub()+`]`)
	case "map":
		return "dyn(" + sub() + ").map(x, " + sub() + ")"
	case "filter":
		return "dyn(" + sub() + ").filter(x, " + sub() + ")"
	case "exists":
		return "dyn(" + sub() + ")." + one("exists", "all", "exists_one") + "(x, " + sub() + ")"
	case "cond":
		return "(dyn(" + sub() + ") ? dyn(" + sub() + ") : dyn(" + sub() + "))"
	case "bind":
		return "cel.bind(x, " + sub() + ", " + sub() + ")"
	case "call":
		return one("size", "string", "type", "dyn", "int") + "(dyn(" + sub() + "))"
	case "select":
		return "dyn(" + sub() + ")" + one(".a", "[0]", `["b"]`, ".?a", "[?0]", ".?a.orValue(1)")
	case "two":
		return "dyn(" + sub() + ")." + one("transformList", "transformMap") + "(k, x, " + sub() + ")"
	}
	return "(dyn(" + sub() + ") " + one("+", "==", "!=", "<", "in", "&&", "||", "*") + " dyn(" + sub() + "))"
}

func TestAnyCEL(t *testing.T) {
	skipUnderRace(t)
	plain := plainCEL(t)
	compiled := 0
	rapid.Check(t, func(t *rapid.T) {
		data := anyJSON(t, 3)
		if strings.ContainsAny(data, "e") && strings.Contains(data, "1e400") || strings.Contains(data, "123456789012345678901234567890") {
			return // which cel-go has no value for
		}
		source := "cel.bind(x, data, " + anyCEL(t, 3) + ")"
		if asPlainCEL(t, plain, source, data) {
			compiled++
		}
	})
	if compiled < 20 {
		t.Errorf("only %d programs were programs", compiled)
	}
}
