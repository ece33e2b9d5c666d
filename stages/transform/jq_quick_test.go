package transform

// Both ways of running a jq program give the same, byte for byte.

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// jqWays is a program with both of its ways.
type jqWays struct {
	*jqProgram
	quick, slow *jqRun
}

// waysOf is nil when the text is no program.
func waysOf(source string, timeout time.Duration) *jqWays {
	made, err := jqEngine{}.compile(source, limits{output: 100_000, timeout: timeout})
	if err != nil {
		return nil
	}
	p := made.(*jqProgram)
	plain := *p
	plain.quick = nil
	return &jqWays{p, p.newRun().(*jqRun), plain.newRun().(*jqRun)}
}

// run runs the program, whose run r is.
func (w *jqWays) run(r *jqRun, data string, want *wanted) (string, error) {
	e := testEnv(data)
	e.want, e.present = want, time.Unix(1_790_000_000, 0).UTC()
	out, err := r.eval(context.Background(), e)
	if err != nil {
		return "", err
	}
	b, err := e.document.encode(nil, out.value, w.limits.output)
	return string(b), err
}

// mustAgree runs a program on data as the gateway does, and by gojq alone. Both see the members of data that the program
// wants, since those that it does not are none to the writer either.
func (w *jqWays) mustAgree(t interface{ Fatalf(string, ...any) }, data string) {
	got, problem := w.run(w.quick, data, w.want())
	want, reference := w.run(w.slow, data, w.want())
	switch {
	case (problem == nil) != (reference == nil), errors.Is(problem, errLimit) != errors.Is(reference, errLimit),
		problem != nil && problem.Error() != reference.Error():
		t.Fatalf("%s\nof %s fails with %v, and in gojq with %v", w.source, data, problem, reference)
	case problem == nil && got != want:
		t.Fatalf("%s\nof %s\ngives %s,\nand in gojq %s", w.source, data, got, want)
	}
}

// mustNotMiss runs it with what it wants of data, and with all of it.
func (w *jqWays) mustNotMiss(t interface{ Fatalf(string, ...any) }, data string) {
	got, problem := w.run(w.slow, data, w.want())
	want, reference := w.run(w.slow, data, nil)
	x, _ := suiteValue(got)
	y, _ := suiteValue(want)
	if (problem == nil) != (reference == nil) || !reflect.DeepEqual(x, y) {
		t.Fatalf("%s\nof %s in %s\ngives %s %v,\nand of all %s %v", w.source, w.want(), data, got, problem, want, reference)
	}
}

// needsGojq reports whether the quick way does not give a value for data.
func (w *jqWays) needsGojq(data string) bool {
	if w.jqProgram.quick == nil {
		return true
	}
	r, e := w.newRun().(*jqRun), testEnv(data)
	v, err := e.data()
	if err != nil {
		return true
	}
	r.meter.start(time.Minute, e)
	r.input, r.env, r.document = v, e, &e.document
	_, err, ok := r.runQuick(v)
	return !ok || err != nil
}

// quickJQ are programs that need no gojq for the sample event, by what they are about.
var quickJQ = map[string][]string{
	"paths": {`.`, `.customer.id`, `.["customer"]["id"]`, `."customer"."id"`, `.note.x.y`, `.note[0]`, `.items[0].sku`, `.items[-1].sku`, `.items[7]`,
		`.items[-7]`, `.items[1:]`, `.items[:-1]`, `.items[5:]`, `.order_id[:3]`, `.order_id[-4:]`, `.order_id[2:1]`, `.note[1:2]`, `.items[1:][0]`,
		`.customer["i" + "d"]`, `.customer."\("id")"`, `.items[.items[0].quantity].sku`, `.nope`, `.items | .[0] | .sku`, `(.customer).id`,
		`[.order_id.x?]`, `[.order_id.x?, .items[0].sku?]`, `.order_id.x? // "none"`, `[.amount[]?]`, `[.items[]?.sku]`, `[.items[].price?]`,
		`[(.order_id | .x)?]`, `[.items[], .amount | .sku?]`, `[try (.items[].sku, .order_id.x, 1)]`, `[.customer[]]`, `[.[]]`, `[.items[][]]`},
	"literals": {`1`, `1.50`, `-1`, `-.amount`, `-(2.0)`, `"a\nb"`, `null`, `true`, `false`, `[]`, `{}`, `[1,[2],{"a":3}]`, `{"a":{"b":[]}}`, `1e3`, `-0`, `-(0)`},
	"objects": {sampleJQ, `{skus: [.items[].sku], items}`, `{skus: (.items | map(.sku)), text: (.items | tostring)}`, `{order_id, customer}`, `{order_id, $type}`, `{"order_id"}`, `{"a b": 1}`, `{(.currency): .amount}`, `{"x\(.currency)": 1}`, `{a: 1, a: 2}`,
		`{a: {b: .customer}, c: .items}`, `{currency, order_id, shipping: .shipping.method}`, `{if: 1}.if`, `{$type, t: $type}`,
		`[{a: 1} | .a, .b]`, `{a: .items, items: .items[0]}`},
	"arrays": {`[.items[].sku]`, `[.items[] | {sku, n: .quantity}]`, `.items | map(.price)`, `map_values(.)`, `[.items[] | select(.price > 50) | .name]`,
		`[.items[] | select(.sku | startswith("B")) | .sku]`, `[.items[].quantity, .amount]`, `[.items[] | .sku, .name]`, `map(select(type == "string"))`, `[empty]`,
		`[.items[] | [.sku, (.name | length)]]`, `[.items[] | .[]]`, `[.items[] | if .price > 50 then .sku else empty end]`, `[.items[] | if .price > 50 then .[] else .sku end]`,
		`[.items[] as $i | .items[] | {a: $i.sku, b: .sku}]`, `[(.items[], .customer) | .sku // .id]`, `[(.items[] | .nope) // "none"]`, `[(.items[].price | select(. > 50)) // 0]`,
		`[1, 2 | . + 1]`, `[.items[] | try .sku.x]`},
	"operators": {`.amount > 100`, `.amount >= 129.95 and .currency == "EUR"`, `.test or .note`, `.test // "x"`, `.note // .test // 7`, `.test | not`, `.amount + 1`, `1 + 2`, `"a" + "b"`,
		`[1] + [2]`, `{"a": 1} + {"b": 2}`, `null + 1`, `3 - 1.5`, `2 * 3`, `6 / 4`, `6 / 3`, `7 % 4`, `-7 % 4`, `.amount / 2`, `"x" * 3`, `[1, 2, 1] - [1]`, `.items == .items`,
		`.customer < .items`, `.order_id != null`, `9223372036854775807 + 1 > 0`, `"a" < "b"`, `[.items[] | .price * .quantity] | add`, `.items == [] | not`, `(.note and empty) // 1`,
		`[empty and true]`, `[true and empty]`, `[1 + empty]`, `[empty == 1]`},
	"control": {`if .test then 1 else 2 end`, `if .amount > 1000 then "a" elif .amount > 100 then "b" else "c" end`, `if .test then 1 end`, `if .test then 1 elif .note then 2 end`,
		`.customer as $c | {id: $c.id, a: .amount}`, `.amount as $x | .customer | {id, $x}`, `1 as $type | $type`, `1 as $x | 2 as $x | $x`, `(1 as $x | 2 as $x | $x) as $y | $y + 1`,
		`reduce .items[] as $i (0; . + $i.price)`, `reduce .items[] as $i (.; {n: $i.sku})`, `reduce empty as $x (1; 2)`},
	"texts": {`"\(.order_id)/\(.amount) \(.test) \(.note) \(.items[0])"`, `"x\("y\(1 + 1)")"`, `.customer.email | split("@")`, `.customer.email | split("@")[0] + "@***"`, `[.items[].sku] | join(",")`,
		`[.items[].sku] | add`, `[] | add`, `[] | join("x")`, `"" | split("")`, `"aé" | split("")`, `.customer | tojson`, `.items | tostring`, `.order_id | tostring`, `.order_id | tojson`,
		`.amount | tostring`, `@json`, `"a" | @json`, `"a" | @text`, `.items[0].name | ascii_upcase`, `"É\(.currency)z" | ascii_downcase`, `.order_id | ltrimstr("ord-")`, `.order_id | rtrimstr("11")`,
		`.order_id | test("^ORD"; "i")`, `.order_id | test("^ord-[0-9]{8}-")`, `.order_id | endswith("x")`, `"007" | tonumber`, `.amount | tonumber`, `[.order_id, .items, .customer, .note, 3, -1.5, "é" | length?]`,
		`.customer | keys`, `[.order_id, .items, .customer, .note, .test, 1 | type]`, `[.order_id, .items, .customer, .note, 3, -1.5, "é" | length]`, `[.customer | has("id"), has("x") | not]`,
		`[[true, false] | any, all]`, `.items | has(1)`,
		`.items | any(.price > 50)`, `.items | all(.price > 50)`, `[.items[0], 1] | [.[] | values | type]`, `.order_id | sha256`, `.order_id | hash`, `.items | first.sku`,
		`.items | last | .sku`},
	"updates": {`.customer.email = "x"`, `.customer.email |= ascii_upcase`, `.a.b.c = 1`, `.note.x = 1`, `.items[0].price = 1`, `.items[-1].price |= . + 1`, `.items[].price |= . * 2`, `.items[].price += 1`,
		`.amount -= 29.95`, `.amount *= 2`, `.amount /= 2`, `.items[0].quantity %= 2`, `.note //= "none"`, `.currency //= "USD"`, `.items |= map(.sku)`, `.items |= map(select(.price > 50))`,
		`(.items[] | select(.sku == "A-1001") | .name) = "x"`, `(.items[] | select(.sku == "A-1001") | .name) |= ascii_upcase`, `(.customer | .email) = 1`, `.items[] |= empty`, `.customer[] |= empty`,
		`.items[] |= select(.price > 50)`, `.customer[] |= length`, `map_values(select(. != null))`, `map_values(tostring)`, `.customer.email = .order_id`, `.amount = .amount + 1 | .currency = "USD"`,
		`.customer as $c | .customer = $c.id`, `.customer = .customer`, `.items = .items`, `.items[0] = .items[1]`, `.customer.email = (.a.b = 1)`, `.shipping.address |= {city, zip}`,
		`.items[0:0] | map_values(1)`, `{} | map_values(1)`, `(.items[] | select(.nope)) = 1`, `.a = (.b = 1 | .c = 2)`},
	"deletions": {`del(.customer)`, `del(.customer.email)`, `del(.nope)`, `del(.nope.x)`, `del(.note.x)`, `del(.note.x.y)`, `del(.customer.nope)`, `del(.customer.nope.x)`, `del(.items[0])`, `del(.items[-1])`,
		`del(.items[9])`, `del(.items[-9])`, `del(.note[0])`, `del(.nope[0].x)`, `del(.items[].price)`, `del(.items[])`, `del(.customer[])`, `del(.items[] | select(.price > 50))`, `del(.items[] | select(.nope))`,
		`del(.customer, .items)`, `del(.customer.email, .customer.tier, .nope)`, `del(.customer, .customer.id)`, `del(.customer.id, .customer)`, `del(.items[0].sku)`, `del(.items[9].sku)`,
		`del(.customer | .email)`, `del(.customer, .note.x)`},
	"attributes": {`{$id, $source, $type, $subject, $data_content_type, $partition_key, $gateway, $client, $time, $now}`, `$metadata`, `$metadata.tenant`, `$metadata.nope`, `$metadata["tenant"]`,
		`{a: 1} as $metadata | $metadata.a`, `$metadata.tenant[:2]`, `.tenant = $metadata.tenant`, `[.items[] | {sku, $type}]`, `[.items[] | $metadata]`, `$metadata.tenant as $t | {$t}`, `[$metadata.tenant.x?]`},
}

// otherJQ are programs, or parts of them, that are for gojq, or fail, or give no value or several.
var otherJQ = []string{`.items[]`, `empty`, `.items[].sku | ascii_downcase`, `.order_id.x`, `error`, `error("x")`, `.amount | keys`, `.items | keys`, `[.[] | length?]`, `.test | length`, `{(.amount): 1}`,
	`def f: 1; f`, `def length: 7; .items | length`, `def map(f): 8; map(1)`, `[def select(f): 1; .items[] | select(false)]`, `any(.items[]; .price > 1)`, `.. | numbers`, `[..]`, `[{a: .items[]}]`,
	`reduce .items[].sku as $s ({}; .[$s | ascii_downcase] //= 1)`, `reduce .items[] as $i (0; empty)`, `reduce .items[] as $i (0; error)`, `.items[5:][] |= 1`, `del(.items[0:0][])`, `.items[2] = 1`,
	`.items[70000] = 1`, `.items[-5] = 1`, `.note[0] = 1`, `.amount.x = 1`, `.amount[] = 1`, `.order_id[0] = 1`, `.a |= empty`, `.customer.email |= empty`, `.a.b |= empty`, `.items[0] |= empty`,
	`(.items[] | .sku) |= empty`, `.customer.email |= (1, 2)`, `.customer.email = (1, 2)`, `. = 1`, `. |= 1`, `(.) |= length`, `del(.)`, `del(select(true))`, `del(.items[0], .items[1])`, `del(.items[0:1])`,
	`del(.order_id.x)`, `del(.order_id, .order_id.x)`, `del(.order_id.x, .order_id)`, `del(.nope[])`, `del(.nope | select(true))`, `del(.note | select(true) | .x)`, `del(.items[] | .nope[])`, `del(empty)`,
	`del(.a, empty)`, `.items | del(.[0])`, `(.a, .b) = 1`, `(.a, .b) |= 1`, `.a as [$x] | $x`, `.customer as {$id} | $id`, `.items as [$x] ?// $x | $x`, `try error("x") catch .`, `(error("x"))?`,
	`[error("x")?]`, `[.items[] | (.sku, .sku.x, .name)?]`, `[(.items[] | .sku, .sku.x)?]`, `[try (.items[] | .sku, .sku.x)]`, `[.[]?.x?]`, `.order_id?.x`, `.[.currency]?`, `[.[.amount]?]`, `.a??`, `.a?.b?`,
	`[.order_id?.x?]`, `[.order_id.x??]`, `-"x"`, `-.order_id`, `-9223372036854775808`, `9223372036854775808`, `-(-9223372036854775807 - 1)`, `-9223372036854775807 - 1 | length`, `-9223372036854775807 - 1 | -. `, `1 / 0`, `1 % 0`, `1.5 / 0`,
	`5 / -1`, `5 % -1`, `5.5 % 2`, `[] / []`, `"a,b" / ","`, `{} * {}`, `{"a": {"b": 1}} * {"a": {"c": 2}}`, `{} - {}`, `"x" * 0`, `"x" - "y"`, `1 + "x"`, `[] + null`, `.items[1.7]`, `.items[1e0]`, `.items["x"]`,
	`.customer[0]`, `.order_id[0]`, `.order_id[1.5:]`, `.items[1.5:]`, `.items[.amount]`, `.items[null]`, `.items[.items]`, `"é"[0:1]`, `"aéb"[1:]`, `.customer[1:]`, `.amount[1:]`, `.items[.items[0].quantity:]`,
	`"x" | tonumber`, `"1.5" | tonumber`, `"-1" | tonumber`, `" 1" | tonumber`, `"" | tonumber`, `"12345678901234567890" | tonumber`, `[] | tonumber`, `null | tonumber`, `1 | test("x")`, `"x" | test("(")`,
	`"x" | test(1)`, `"x" | test(["X", "i"])`, `"x" | test("x"; "q")`, `"x" | test("X"; null)`, `[1, "a"] | add`, `["a", 1] | add`, `[null, 1] | add`, `[[1], [2]] | add`, `{"a": 1} | add`, `1 | add`,
	`[1] | join(",")`, `["a", null] | join(",")`, `["a"] | join(1)`, `[] | join(1)`, `"x" | join(",")`, `[1] | has(0.5)`, `{} | has(0)`, `null | has("x")`, `"x" | has(0)`, `"x" | startswith(1)`, `1 | startswith("x")`,
	`1 | ltrimstr("x")`, `"x" | ltrimstr(1)`, `1 | ascii_downcase`, `"x" | split(1)`, `"x" | split("x"; null)`, `1 | sha256`, `1 | hash`, `1 | map(.)`, `null | map(.)`, `null | map_values(.)`, `1 | any`, `null | all`,
	`{"a": false} | any`, `[1, error] | any`, `[1, null] | any(if . then . else error end)`, `[1, null] | all(if . then . else error end)`, `$ENV`, `env`, `$__loc__`, `{$__loc__}`, `{"a\(1)"}`, `{@base64 "x": 1}`, `{"x": 1, (null): 2}`,
	`@base64 "x\(.amount)"`, `@base64`, `@json "x\(.items)"`, `"\(empty)"`, `["\(empty)"]`, `["\(1, 2)"]`, `["\(error)\(empty)"]`, `["\(empty)\(error)"]`, `[error + empty]`, `[empty + error]`, `[.amount.x + empty]`, `[empty + .amount.x]`, `[empty == .amount.x]`, `[{a: empty, b: .amount.x}]`, `[{(.amount.x): empty}]`,
	`["\\(.amount.x)\\(empty)"]`, `["\\(empty)\\(.amount.x)"]`, `[.[empty].amount.x]`, `[.amount.x[empty]]`, `[(.order_id, .items)? | .x]`, `[(.items[] | .)? | .sku.x]`, `[try .items[] | .sku.x]`, `[{a: empty, b: error}]`,
	`[{a: error, b: empty}]`, `[{(empty): error}]`, `[(error // 1)?]`, `[(.items[] // error)]`, `[if empty then error else 1 end]`, `[if (true, false) then 1 else 2 end]`, `[.items[] | select(true, true)]`, `[limit(1; .items[])]`,
	`first(.items[])`, `input`, `.[] as $x | $x`, `[.[] as $x | $x]`, `[(1, 2) as $x | $x + 1]`, `[(1, 2) as $x | (3, 4) as $y | [$x, $y]]`, `. as $d | [.items[] | $d.currency]`, `. as [] | 1`, `"\(1;2)"`, `label $out | 1`,
	`module {}; .`, `$type | . as $type | $type`, `[$type, ("x" as $type | $type), $type]`, `$metadata.x.y`, `$metadata[0]`, `($metadata | .tenant) = 1`, `$metadata.tenant = 1`, `$metadata | .tenant = 1`, `[$metadata[]]`,
	`walk(.)`, `to_entries`, `with_entries(.)`, `splits("x")`, `ltrimstr("x"; "y")`, `nosuch`, `map(.; .)`, `length(.)`, `[recurse]`, `tostring | fromjson`, `limit(0; 1)`, `.a.b.c.d.e.f`, `.a["b"].c`, `."a"."b"`, `."a"["b"]`,
}

// oddJSON are data of all kinds, with spaces and numbers that have to be kept.
var oddJSON = []string{
	sampleData, `null`, `1`, `"x"`, `[]`, `{}`, ` {"customer" : { } , "items" : [ ] , "note" : [ 1 ] } `, `{"items":[[],{},null,1.50,"x",1e400],"customer":[1],"note":{"x":{"y":1,"z":2}},"amount":-0}`,
	`{"items":null,"customer":null,"note":{"x":null},"amount":9007199254740993000000,"order_id":""}`, `{"items":{"a":{"sku":"A-1001","price":60},"b":{"sku":2,"price":"60"}},"customer":{"email":1.10,"email":2.0,"id":1e400},"amount":-9223372036854775808}`,
	`[ {"sku" : "é\ud800", "price": 1.0 } , {"price":60,"price":1} , [ 1 , 2 ] ]`, `{"order_id":"ord-\u00e9","currency":"É","items":[{"sku":"A","price":60.0,"quantity":9223372036854775807},{"sku":"A","name":null}],"test":true,"customer":{"email":"a@b@c"}}`,
	`[1,2.50,-3]`, `["a","b"]`, `[true,null]`, `{"a":{"b":null},"customer":{"id":{"x" : 1}}}`, `{"amount":` + strings.Repeat("7", maxNumber+1) + `,"items":[` + strings.Repeat("7", maxNumber+1) + `]}`,
}

func TestQuickJQ(t *testing.T) {
	skipUnderRace(t)
	for _, programs := range quickJQ {
		for _, source := range programs {
			w := waysOf(source, 10*time.Second)
			if w == nil || w.needsGojq(sampleData) {
				t.Errorf("%s: needs gojq, or is no program", source)
				continue
			}
			w.mustNotMiss(t, sampleData)
			for _, data := range oddJSON {
				w.mustAgree(t, data)
			}
		}
	}
	// gojq begins with a fresh meter: here what had been counted before would be a limit.
	waysOf("1 as $x | (. | . | (tostring).a)[[. | .a, [.]]]", 10*time.Second).mustAgree(t, `{"a" : ["x",{"c" : 123456789012345678901234567890}],"b" : "x","c" : "x"}`)
	for _, source := range otherJQ {
		if w := waysOf(source, 10*time.Second); w != nil {
			for _, data := range oddJSON {
				w.mustAgree(t, data)
			}
		}
	}
}

// anyJQ draws programs, most of which are quick and make sense. It draws queries with many values within arrays.
type anyJQ struct{ t *rapid.T }

func (g anyJQ) of(label string, choices ...string) string {
	return rapid.SampledFrom(choices).Draw(g.t, label)
}

func (g anyJQ) name() string { return g.of("name", "a", "b", "c") }

func (g anyJQ) path(depth int) string {
	p := g.of("start", ".", "."+g.name(), "."+g.name(), `.["`+g.name()+`"]`)
	for range rapid.IntRange(0, 2).Draw(g.t, "length") {
		p += g.of("hop", "."+g.name(), "."+g.name(), "[]", "[0]", "[-1]", "[1]", `["`+g.name()+`"]`)
	}
	p = strings.ReplaceAll(p, "..", ".")
	if depth > 0 && rapid.IntRange(0, 3).Draw(g.t, "select") == 0 {
		p = "(" + p + " | select(" + g.one(depth-1) + ")" + g.of("tail", "", "", "."+g.name()) + ")"
	}
	return p
}

// one is a query that often has one value.
func (g anyJQ) one(depth int) string {
	if depth <= 0 {
		return g.of("leaf", ".", "."+g.name(), "."+g.name()+"?", "."+g.name()+"?", "."+g.name()+"?."+g.name()+"?", ".["+g.of("index", "0", "-1", "1:", ":1")+"]?", "$x", "$type", "$metadata.tenant", `"x"`,
			g.of("literal", "1", "-2.5", "null", "false", "[]", "{}"), "not", "type", "tostring", "tojson", "empty",
			g.of("function", "length", "keys", "add", "tonumber", "any", "all", "ascii_upcase", "first", "values", "error")+g.of("caught", "?", "?", ""))
	}
	sub := func() string { return g.one(depth - 1) }
	switch rapid.IntRange(0, 19).Draw(g.t, "one") {
	case 0, 1:
		return sub() + " | " + sub()
	case 2:
		return "{" + g.name() + ": (" + sub() + "), " + g.of("member", g.name(), "$type", `"`+g.name()+`"`, "("+sub()+"): 1", `"\(`+sub()+`)": 2`) + "}"
	case 3, 4:
		return "[" + g.many(depth-1) + "]"
	case 5:
		return "map(" + g.many(depth-1) + ")"
	case 6:
		return "(" + sub() + ")" + g.of("operator", " + ", " - ", " * ", " / ", " % ", " == ", " != ", " < ", " >= ", " and ", " or ", " // ", " // ") + "(" + sub() + ")" + g.of("then", "", " | length?")
	case 7:
		return "if " + sub() + " then " + sub() + g.of("else", " end", " else "+sub()+" end", " elif "+sub()+" then 1 end")
	case 8:
		return `"a\(` + sub() + `)b\(` + sub() + `)"`
	case 9:
		return g.of("try", "(", "try (") + sub() + ")" + g.of("caught", "", "?")
	case 10:
		return "(" + sub() + " as $x | " + sub() + ")"
	case 11:
		return "(reduce (" + g.many(depth-1) + ") as $x (" + sub() + "; " + sub() + "))"
	case 12:
		return "select(" + sub() + ")"
	case 13:
		return g.of("call", "any", "all", "map_values", "has", "startswith", "split", "join", "ltrimstr", "test") + "(" + sub() + ")"
	case 14, 15, 16:
		return "(" + g.path(depth-1) + g.of("update", " = ", " |= ", " += ", " -= ", " *= ", " /= ", " //= ") + "(" + sub() + "))"
	case 17, 18:
		return "del(" + g.path(depth-1) + g.of("also", "", "", ", ."+g.name(), ", ."+g.name()+"."+g.name()) + ")"
	}
	return "(" + sub() + ")" + g.of("suffix", "."+g.name(), "?", "."+g.name()+"?", "[0]", "["+sub()+"]", "?", "."+g.name()+"?", "[1:]", "[]?")
}

// many is a query that may have many values.
func (g anyJQ) many(depth int) string {
	switch rapid.IntRange(0, 6).Draw(g.t, "many") {
	case 0, 1:
		return g.of("each", ".[]", ".[]?", "."+g.name()+"[]", "."+g.name()+"[]?") + " | " + g.one(depth)
	case 2:
		return g.one(depth) + ", " + g.one(depth)
	case 3:
		if depth > 0 {
			return "(" + g.many(depth-1) + ") | " + g.many(depth-1)
		}
	case 4:
		if depth > 0 {
			return "(" + g.many(depth-1) + ")" + g.of("more", "?", " // 1", " as $x | [$x, .]")
		}
	case 5:
		return "if " + g.one(depth) + " then .[] else " + g.one(depth) + " end"
	}
	return g.one(depth)
}

func TestAnyJQ(t *testing.T) {
	skipUnderRace(t)
	compiled, quick := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		w := waysOf("1 as $x | "+anyJQ{t}.one(3), 10*time.Second)
		if w == nil {
			return
		}
		compiled++
		for range 4 {
			data := strings.ReplaceAll(fmt.Sprintf(`{"a":%s,"b":%s,"c":%s}`, anyJSON(t, 2), anyJSON(t, 2), anyJSON(t, 1)), ":", " : ")
			w.mustAgree(t, data)
			w.mustNotMiss(t, data)
			if !w.needsGojq(data) {
				quick++
			}
		}
	})
	if compiled < 90 || quick < 40 {
		t.Errorf("only %d programs were programs, and %d of them quick", compiled, quick)
	}
	t.Logf("%d programs, %d of %d runs without gojq", compiled, quick, 4*compiled)
}

// FuzzJQQuick looks for programs, or data, that only one of the two ways can run.
func FuzzJQQuick(f *testing.F) {
	for _, programs := range quickJQ {
		for _, source := range programs {
			f.Add(source, sampleData)
		}
	}
	for i, source := range otherJQ {
		f.Add(source, oddJSON[i%len(oddJSON)])
	}
	f.Fuzz(func(t *testing.T, source, data string) {
		if strings.Contains(source, "now") || len(source) > 300 || len(data) > 10_000 { // the clock moves on, and time is short
			return
		}
		w := waysOf(source, 200*time.Millisecond)
		if w == nil || w.jqProgram.quick == nil {
			return
		}
		for _, r := range []*jqRun{w.quick, w.slow} { // one takes longer than the other, and counts more
			if _, err := w.run(r, data, w.want()); errors.Is(err, errLimit) {
				return
			}
		}
		w.mustAgree(t, data)
	})
}
