package transform

// Members that no program looks at are left out, and nobody notices.

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/itchyny/gojq"
)

func (w *wanted) String() string {
	if w == nil || w.whole {
		return "*"
	}
	s := strings.TrimPrefix(fmt.Sprint(w.members), "map")
	if w.elements != nil {
		s += "[]" + w.elements.String()
	}
	return s
}

func TestWanted(t *testing.T) {
	for source, want := range map[string]string{
		"type":                                  "[]",
		"data":                                  "*",
		"data.a":                                "[a:*]",
		"data.a.b + data.a.c":                   "[a:[b:* c:*]]",
		"data.a.b + string(data.a)":             "[a:*]",
		`data["a"].b[0].c`:                      "[a:[b:*]]",
		"data[type]":                            "*",
		"data?.a?.b ?? data.c":                  "[a:[b:*] c:*]",
		"map(data.items, .sku)":                 "[items:*]",
		"filter(data.a, # in data.b)":           "[a:* b:*]",
		"let d = data; d.a":                     "*",
		"$env.data.a":                           "*",
		"data == nil":                           "*",
		"len(data) > 1 or data.x":               "*",
		"data.a.b.c == 1 ? data.a.b.d : data.a": "[a:*]",
	} {
		p, err := compileExpr(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		if got := p.wants.String(); got != want {
			t.Errorf("%s wants %s, want %s", source, got, want)
		}
	}
}

func TestWantedByJQ(t *testing.T) {
	for source, want := range map[string]string{
		".": "*", "1": "[]", ".a": "[a:*]", ".a.b, .c": "[a:[b:*] c:*]", ".a | .b": "[a:[b:*]]", "{a, b: .c.d, $id, \"e\"}": "[a:* c:[d:*] e:*]",
		"{(.a): 1}": "[a:*]", `{"x\(.a)": 1}`: "*", `"x\(.a.b)"`: "[a:[b:*]]", "[.items[].sku]": "[items:[][][sku:*]]", "[.[]]": "[][]*", ".a[].b[].c": "[a:[][][b:[][][c:*]]]",
		".a[].b, .a": "[a:*]", ".a | map(.b)": "[a:[][][b:*]]", "(.a | map(select(.b).c)), .d": "[a:[][][b:* c:*] d:*]", ".a[].b, .a.c": "[a:[c:*][][b:*]]", "1[].a": "[]", "map(1)": "[][][]", ".a[]?.b": "[a:[][][b:*]]",
		".a[] as $x | 1": "[a:[][]*]", ".a[0].b": "[a:*]",
		".a[.b]": "[a:* b:*]", ".a[1:]": "[a:*]", `.["a"].b`: "[a:[b:*]]", ".[$id]": "*", ".a = 1": "*", "del(.a)": "*", ".a as $x | .b + $x": "[a:* b:*]",
		". as [$x] | .b": "*", "if .a then .b else .c end": "[a:* b:* c:*]", "if .a then .b end": "*", ".a // .b": "[a:* b:*]", "select(.a == 1) | .b": "[a:* b:*]",
		"select(.a == 1)": "*", ".a | length": "[a:*]", "length": "*", "def f: .a; f": "*", "try .a.b catch .c": "[a:[b:*]]", ".a?.b?": "[a:[b:*]]", "-.a": "[a:*]",
		"reduce .a[] as $x (0; . + 1)": "*", "@base64": "*", "@base64 \"\\(.a)\"": "*", ".. | .a": "*", ".a |= 1": "*", "$__loc__": "[]", "(.a | .b)[.c]": "[a:[b:*] c:*]", "1[.a]": "[a:*]",
		"empty": "*", ".a and .b": "[a:* b:*]", ".a.b.c as $x | $x": "[a:[b:[c:*]]]",
	} {
		query, err := gojq.Parse(source)
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if got := wantsJQ(query).String(); got != want {
			t.Errorf("%s wants %s, want %s", source, got, want)
		}
	}
}

// Programs give the same, and fail alike, whether the rest of the data is there or not.
func TestLeftOutIsNotMissed(t *testing.T) {
	for _, source := range []string{sampleExpr, "data.shipping.address.city", "data.items[1].name", `data["items"]`, "data.nosuch", "data.nosuch.x",
		"data.order_id.x", "data.customer", `{"customer": data.customer.id, "note": data.note, "test": true}`, "data?.shipping?.address?.zip", "data.amount + 1",
		"map(data.items, .price * data.amount)", "data.twice"} {
		for _, data := range []string{sampleData, "[1]", "1", "null", `{"order_id":{"x":1},"shipping":[],"twice":1,"items":[0,{"name":1}],"twice":{"a":2},"amount":1e400}`} {
			var results []string
			for _, rules := range [][]RuleConfig{{{Expr: source}}, {{Expr: source}, {Match: `type == "never"`, JQ: "."}}} {
				w, _ := newWorker(t, rules...)
				if whole := w.env.want.whole; whole != (len(rules) == 2) {
					t.Fatalf("%s: wanted is %v", source, w.env.want)
				}
				ev := newEvent(data)
				w.Apply(ev)
				results = append(results, fmt.Sprint(ev.Verdict.Reason, ev.Verdict.Detail, string(sorted(shown(ev))["data"])))
			}
			if !reflect.DeepEqual(results[0], results[1]) && !strings.Contains(results[0], "TRANSFORM_FAILED") {
				t.Errorf("%s of %s: %q", source, data, results)
			}
		}
	}
}

// What is left out has to be JSON all the same.
func TestLeftOutIsChecked(t *testing.T) {
	for _, data := range []string{`{"a":1,"b":}`, `{"a":1,"b":[1,]}`, `{"a":1,"b":{"c" 1}}`, `{"a":1,"b":"`, `{"a":1,b:1}`, `{"a":1,"b":01}`} {
		w, _ := newWorker(t, RuleConfig{Filter: "data.a == 1"})
		ev := newEvent(data)
		if w.Apply(ev); ev.Open() {
			t.Errorf("%s passes", data)
		}
	}
}
