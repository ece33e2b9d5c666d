package transform

// An event for the tests of engines, and the limits that they run with.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// order is a realistic event's data: 450 bytes.
const order = `{"order_id":"ord-7f3a9c21","customer":{"id":48213,"name":"Ada Lovelace","email":"ada@example.com","tier":"gold","address":{"city":"London","zip":"N1 9GU","country":"GB"}},"items":[{"sku":"BK-1042","title":"Notebook","quantity":3,"price":4.25},{"sku":"PN-0007","title":"Pen","quantity":12,"price":1.1},{"sku":"LP-9900","title":"Desk lamp","quantity":1,"price":39.9}],"total":65.85,"currency":"GBP","paid":true,"coupon":null,"note":"Leave it at the door"}`

var testLimits = limits{output: 1 << 20, timeout: 50 * time.Millisecond}

// testEnv shows an event with the given data.
func testEnv(tb testing.TB, data string) *env {
	tb.Helper()
	e := &env{
		id: "e-1", source: "/shop", typ: "order.created", subject: "orders/1", contentType: "application/json",
		partitionKey: "48213", gateway: "gw-1", client: "ada",
		event:    &stages.Event{HasTime: true, Seconds: 1_700_000_000, Nanos: 123_000_000},
		fakeMeta: map[string]string{"trace": "t-1"},
	}
	if data == "" {
		e.fakeErr = errors.New("data is not JSON")
		return e
	}
	d := json.NewDecoder(strings.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&e.fakeData); err != nil {
		tb.Fatal(err)
	}
	e.fakeData = exactNumbers(e.fakeData)
	return e
}

// exactNumbers makes of numbers what env.data makes of them.
func exactNumbers(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = exactNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exactNumbers(v[k])
		}
	case json.Number:
		if i, err := strconv.Atoi(string(v)); err == nil && v != "-0" {
			return i
		}
		if f, err := v.Float64(); err == nil && (strconv.FormatFloat(f, 'f', -1, 64) == string(v) || f == 0) {
			return f
		}
	}
	return v
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

// asJSON is a value in JSON: with its numbers as they are, and -0 as such.
func asJSON(tb testing.TB, v any) string {
	tb.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		tb.Fatalf("%#v: %v", v, err)
	}
	return strings.TrimSpace(b.String())
}

// same reports whether two maps or slices are one.
func same(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return x.Kind() == y.Kind() && x.Pointer() == y.Pointer() && x.Len() == y.Len()
}
