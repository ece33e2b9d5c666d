package transform

// An event for the tests of engines, and the limits that they run with.

import (
	"context"
	"reflect"
	"testing"
	"time"
)

var testLimits = limits{output: 1 << 20, timeout: 50 * time.Millisecond}

// testEnv shows an event with the given data.
func testEnv(data string) *env {
	e := &env{gateway: "gateway-1"}
	e.show(newEvent(data))
	e.attributes()
	return e
}

// evalWith compiles a program and runs it once.
func evalWith(tb testing.TB, e engine, source string, shown *env, l limits) (output, error) {
	tb.Helper()
	p, err := e.compile(source, l)
	if err != nil {
		tb.Fatalf("%s: %v", source, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	return p.newRun().eval(ctx, shown)
}

// unhurried is a meter that has just begun.
func unhurried(l limits) *meter {
	m := new(meter)
	m.start(l.timeout, &env{})
	return m
}

// asJSON is what is written of a value.
func asJSON(tb testing.TB, shown *env, v any) string {
	tb.Helper()
	b, err := shown.document.encode(nil, v, 1<<20)
	if err != nil {
		tb.Fatalf("%#v: %v", v, err)
	}
	return string(b)
}

// oneAndTheSame reports whether two maps or slices are one.
func oneAndTheSame(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return x.Kind() == y.Kind() && x.Pointer() == y.Pointer() && x.Len() == y.Len()
}

// benchEval is a program alone, on data that has been read.
func benchEval(b *testing.B, e engine, source string) {
	p, err := e.compile(source, testLimits)
	if err != nil {
		b.Fatal(err)
	}
	shown, r, ctx := testEnv(sampleData), p.newRun(), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.eval(ctx, shown); err != nil {
			b.Fatal(err)
		}
	}
}

// benchRule is a rule as the gateway applies it: with reading the data, and writing what is new.
func benchRule(b *testing.B, rule RuleConfig) {
	w, memory := newWorker(b, rule)
	ev := newEvent(sampleData)
	data := ev.Data
	b.ReportAllocs()
	for b.Loop() {
		ev.Data = data
		if !w.Apply(ev) || !ev.Open() {
			b.Fatal(ev.Verdict.Detail)
		}
		memory.taken = 0
	}
}
