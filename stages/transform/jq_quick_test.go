package transform

// Both ways of running a jq program give the same, byte for byte.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"


)

// bothJQ runs a program on data as the gateway does, and by gojq alone on all of data. It tells whether the program has a
// quick way at all, and whether that was gone to its end; ok is false when the text is no program.
func bothJQ(t interface{ Fatalf(string, ...any) }, source, data string) (quick, whole, ok bool) {
	l := limits{output: 100_000, timeout: 10 * time.Second}
	made, err := jqEngine{}.compile(source, l)
	if err != nil {
		return false, false, false
	}
	p := made.(*jqProgram)
	slow := *p
	slow.quick = nil
	run := func(p *jqProgram, want *wanted) (string, error) {
		e := testEnv(data)
		e.want, e.present = want, time.Unix(1_790_000_000, 0).UTC()
		out, err := p.newRun().eval(context.Background(), e)
		if err != nil {
			return "", err
		}
		b, err := e.document.encode(nil, out.value, l.output)
		return string(b), err
	}
	got, problem := run(p, p.want())
	want, reference := run(&slow, nil)
	switch {
	case (problem == nil) != (reference == nil), errors.Is(problem, errLimit) != errors.Is(reference, errLimit),
		problem != nil && problem.Error() != reference.Error() && p.want().whole:
		t.Fatalf("%s\nof %s fails with %v, and in gojq with %v", source, data, problem, reference)
	case problem == nil && got != want:
		t.Fatalf("%s\nof %s\ngives %s,\nand in gojq %s", source, data, got, want)
	}
	return p.quick != nil, p.quick != nil && problem == nil && runsQuick(p, data), true
}

// runsQuick reports whether a program needs no gojq for data.
func runsQuick(p *jqProgram, data string) bool {
	r := p.newRun().(*jqRun)
	e := testEnv(data)
	v, err := e.data()
	if err != nil {
		return false
	}
	r.meter.start(time.Minute, e)
	r.input, r.env, r.document = v, e, &e.document
	_, err, ok := r.runQuick(v)
	return ok && err == nil
}

// quickJQ are programs that need no gojq for the sample event, by what they are about.
var quickJQ = map[string][]string{
	"paths": {`.`, `.customer.id`, `.["customer"]["id"]`, `."customer"."id"`, `.note.x.y`, `.note[0]`, `.items[0].sku`, `.items[-1].sku`, `.items[7]`,
		`.items[-7]`, `.items[1:]`, `.items[:-1]`, `.items[5:]`, `.order_id[:3]`, `.order_id[-4:]`, `.order_id[2:1]`, `.note[1:2]`, `.items[1:][0]`,
		`.customer["i" + "d"]`, `.customer."\("id")"`, `.items[.items[0].quantity].sku`, `.nope`, `.items | .[0] | .sku`, `(.customer).id`,
		`[.order_id.x?]`, `[.order_id.x?, .items[0].sku?]`, `.order_id.x? // "none"`, `[.amount[]?]`, `[.items[]?.sku]`, `[.items[].price?]`,
		`[(.order_id | .x)?]`, `[.items[], .amount | .sku?]`, `[try (.items[].sku, .order_id.x, 1)]`, `[.customer[]]`, `[.[]]`, `[.items[][]]`},
	"literals": {`1`, `1.50`, `-1`, `-.amount`, `-(2.0)`, `"a\nb"`, `null`, `true`, `false`, `[]`, `{}`, `[1,[2],{"a":3}]`, `{"a":{"b":[]}}`, `1e3`, `-0`, `-(0)`},
	"objects": {sampleJQ, `{order_id, customer}`, `{order_id, $type}`, `{"order_id"}`, `{"a b": 1}`, `{(.currency): .amount}`, `{"x\(.currency)": 1}`, `{a: 1, a: 2}`,
		`{a: {b: .customer}, c: .items}`, `[{a: .items[]}]`, `{currency, order_id, shipping: .shipping.method}`, `{if: 1}.if`, `{$type, t: $type}`,
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
		`reduce .items[] as $i (0; . + $i.price)`, `reduce .items[].sku as $s ({}; .[$s | ascii_downcase] //= 1)`, `reduce .items[] as $i (.; {n: $i.sku})`, `reduce empty as $x (1; 2)`},
	"texts": {`"\(.order_id)/\(.amount) \(.test) \(.note) \(.items[0])"`, `"x\("y\(1 + 1)")"`, `.customer.email | split("@")`, `.customer.email | split("@")[0] + "@***"`, `[.items[].sku] | join(",")`,
		`[.items[].sku] | add`, `[] | add`, `[] | join("x")`, `"" | split("")`, `"aé" | split("")`, `.customer | tojson`, `.items | tostring`, `.order_id | tostring`, `.order_id | tojson`,
		`.amount | tostring`, `@json`, `"a" | @json`, `"a" | @text`, `.items[0].name | ascii_upcase`, `"É\(.currency)z" | ascii_downcase`, `.order_id | ltrimstr("ord-")`, `.order_id | rtrimstr("11")`,
		`.order_id | test("^ORD"; "i")`, `.order_id | test("^ord-[0-9]{8}-")`, `.order_id | endswith("x")`, `"007" | tonumber`, `.amount | tonumber`, `[.order_id, .items, .customer, .note, -1, -1.5, "é" | length?]`,
		`.customer | keys`, `[.order_id, .items, .customer, .note, .test, 1 | type]`, `.customer | has("id"), has("x") | not | not`, `.items | has(1)`, `any(.items[]; .price > 1) // 1`,
		`.items | any(.price > 50)`, `.items | all(.price > 50)`, `[true, false] | any, all | not`, `[.items[0], 1] | [.[] | values | type]`, `.order_id | sha256`, `.order_id | hash`, `.items | first.sku`,
		`.items | last | .sku`},
	"updates": {`.customer.email = "x"`, `.customer.email |= ascii_upcase`, `.a.b.c = 1`, `.note.x = 1`, `.items[0].price = 1`, `.items[-1].price |= . + 1`, `.items[].price |= . * 2`, `.items[].price += 1`,
		`.amount -= 29.95`, `.amount *= 2`, `.amount /= 2`, `.items[0].quantity %= 2`, `.note //= "none"`, `.currency //= "USD"`, `.items |= map(.sku)`, `.items |= map(select(.price > 50))`,
		`(.items[] | select(.sku == "A-1001") | .name) = "x"`, `(.items[] | select(.sku == "A-1001") | .name) |= ascii_upcase`, `(.customer | .email) = 1`, `.items[] |= empty`, `.customer[] |= empty`,
		`.items[] |= select(.price > 50)`, `.customer[] |= length`, `map_values(select(. != null))`, `map_values(tostring)`, `.customer.email = .order_id`, `.amount = .amount + 1 | .currency = "USD"`,
		`.customer as $c | .customer = $c.id`, `.customer = .customer`, `.items = .items`, `.items[0] = .items[1]`, `.customer.email = (.a.b = 1)`, `.shipping.address |= {city, zip}`, `.items[5:][] |= 1`,
		`.items[0:0] | map_values(1)`, `{} | map_values(1)`, `(.items[] | select(.nope)) = 1`, `.a = (.b = 1 | .c = 2)`},
	"deletions": {`del(.customer)`, `del(.customer.email)`, `del(.nope)`, `del(.nope.x)`, `del(.note.x)`, `del(.note.x.y)`, `del(.customer.nope)`, `del(.customer.nope.x)`, `del(.items[0])`, `del(.items[-1])`,
		`del(.items[9])`, `del(.items[-9])`, `del(.note[0])`, `del(.nope[0].x)`, `del(.items[].price)`, `del(.items[])`, `del(.customer[])`, `del(.items[] | select(.price > 50))`, `del(.items[] | select(.nope))`,
		`del(.customer, .items)`, `del(.customer.email, .customer.tier, .nope)`, `del(.customer, .customer.id)`, `del(.customer.id, .customer)`, `del(.items[0].sku)`, `del(.items[9].sku)`,
		`del(.customer | .email)`, `del(.customer, .note.x)`, `del(.items[0:0][])`},
	"attributes": {`{$id, $source, $type, $subject, $data_content_type, $partition_key, $gateway, $client, $time, $now}`, `$metadata`, `$metadata.tenant`, `$metadata.nope`, `$metadata["tenant"]`,
		`{a: 1} as $metadata | $metadata.a`, `$metadata.tenant[:2]`, `.tenant = $metadata.tenant`, `[.items[] | {sku, $type}]`, `[.items[] | $metadata]`, `$metadata.tenant as $t | {$t}`, `[$metadata.tenant.x?]`},
}

func TestQuickJQ(t *testing.T) {
	for about, programs := range quickJQ {
		for _, source := range programs {
			quick, whole, ok := bothJQ(t, source, sampleData)
			if want := !strings.HasPrefix(about, "not "); !ok || whole != want {
				t.Errorf("%s: %s: is a program: %v, known: %v, without gojq: %v", about, source, ok, quick, whole)
			}
		}
	}
}
