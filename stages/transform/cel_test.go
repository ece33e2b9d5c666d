package transform

// CEL: what programs see, what becomes of values, and what they may take.

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCELSees(t *testing.T) {
	for _, c := range []struct{ program, want string }{
		{`[id, source, type, subject, data_content_type, partition_key, gateway, client]`,
			`["018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55","/shop/checkout","order.created","order/4711","application/json","customer-42","gateway-1","192.0.2.7"]`},
		{`time`, `"2026-09-18T10:11:07.123Z"`},
		{`time.getFullYear()`, `2026`},
		{`now > timestamp("2026-01-01T00:00:00Z")`, `true`},
		{`now == now`, `true`},
		{`duration("1.5s")`, `"1.5s"`},
		{`metadata`, `{"tenant":"acme","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`},
		{`metadata["tenant"] + metadata.tenant`, `"acmeacme"`},
		{`"x" in metadata`, `false`},
		{`data.shipping.address.city`, `"Springfield"`},
		{`data.items.map(i, i.sku)`, `["A-1001","B-2002"]`},
		{`data.items.filter(i, i.quantity > 1).size()`, `1`},
		{`data.items[0].price * 2.0`, `179.9`},
		{`has(data.nope) ? 1 : 2`, `2`},
		{`data.?nope.orValue("none")`, `"none"`},
		{`{"a": 1, ?"b": data.?nope, ?"c": data.?test}`, `{"a":1,"c":false}`},
		{`data.note`, `null`},
		{`data.note == null`, `true`},
		{`[]`, `[]`},
		{`{}`, `{}`},
		{`{1: "a", true: "b", 2u: "c"}`, `{"1":"a","2":"c","true":"b"}`},
		{`{"k": b"ab"}`, `{"k":"YWI="}`},
		{`18446744073709551615u`, `18446744073709551615`},
		{`data.items[0].name.lowerAscii().replace("coffee", "tea")`, `"tea grinder"`},
		{`base64.encode(bytes(client))`, `"MTkyLjAuMi43"`},
		{`sha256("abc")`, `"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"`},
		{`hash("abc") == hash("abc") && hash("abc") != hash("abd") && hash("abc") >= 0`, `true`},
		{`merge(data.shipping.address, {"zip": "", "x": [data.test]})`, `{"city":"Springfield","country":"US","x":[false],"zip":""}`},
		{`merge({"a": 1}, {"b": {"c": data.customer.tier}})`, `{"a":1,"b":{"c":"gold"}}`},
		{`merge(metadata, {"tenant": data.items})`, `{"tenant":[{"sku":"A-1001","name":"Coffee grinder","quantity":1,"price":89.95},` +
			`{"sku":"B-2002","name":"Beans \"dark\", 1 kg","quantity":2,"price":20.00}],"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`},
		{`omit(data.shipping.address, ["zip", "nope"])`, `{"city":"Springfield","country":"US"}`},
		{`data.shipping.address.transformMap(k, v, k == "zip" ? "***" : v)`, `{"city":"Springfield","country":"US","zip":"***"}`},
		{`data.shipping.address.map(k, k)`, `["city","country","zip"]`},
		{`cel.bind(x, data.amount, [x, x])`, `[129.95,129.95]`},
		{`[3, 1, 2].sort()`, `[1,2,3]`},
		{`"%s has %d".format([client, 2])`, `"192.0.2.7 has 2"`},
		{`math.greatest([1, 5, 3])`, `5`},
		{`sets.contains([1, 2], [2])`, `true`},
		{`data.items.map(i, i.tag == "x" || true)`, `[true,true]`},
	} {
		e := testEnv(sampleData)
		out, err := evalWith(t, celEngine{}, c.program, e, testLimits)
		if err != nil {
			t.Errorf("%s: %v", c.program, err)
		} else if got := asJSON(t, e, out.value); got != c.want || out.isText {
			t.Errorf("%s = %s, want %s", c.program, got, c.want)
		}
	}
}

// What a program moves is the value that was in the event.
func TestCELMoves(t *testing.T) {
	const data = `{"o":{"a":[1]},"l":[{"b":2}],"m":-0,"big":9007199254740993,"u":18446744073709551615,"x":1e400,
		"long":0.12345678901234567890123,"huge":123456789012345678901234567890}`
	e := testEnv(data)
	value, err := e.data()
	if err != nil {
		t.Fatal(err)
	}
	in := value.(map[string]any)
	eval := func(program string) any {
		t.Helper()
		out, err := evalWith(t, celEngine{}, program, e, testLimits)
		if err != nil {
			t.Fatalf("%s: %v", program, err)
		}
		return out.value
	}
	if !oneAndTheSame(eval(`data`), in) || !oneAndTheSame(eval(`true ? data : {}`), in) || !oneAndTheSame(eval(`cel.bind(d, data, d)`), in) {
		t.Fatal("data is another value")
	}
	wrapped := eval(`{"o": data.o, "l": data.l, "first": data.l[0], "all": data.l.map(i, i), "some": data.l.filter(i, true)}`).(map[string]any)
	first := in["l"].([]any)[0]
	if !oneAndTheSame(wrapped["o"], in["o"]) || !oneAndTheSame(wrapped["l"], in["l"]) || !oneAndTheSame(wrapped["first"], first) ||
		!oneAndTheSame(wrapped["all"].([]any)[0], first) || !oneAndTheSame(wrapped["some"].([]any)[0], first) {
		t.Fatal("a moved value is another one")
	}
	merged := eval(`merge(data, {"extra": data.l})`).(map[string]any)
	if !oneAndTheSame(merged["o"], in["o"]) || !oneAndTheSame(merged["extra"], in["l"]) || oneAndTheSame(merged, in) || len(in) != 8 {
		t.Fatal("merge copies what it need not, or writes into the event")
	}
	if !oneAndTheSame(eval(`omit(data, ["x"])`).(map[string]any)["o"], in["o"]) || len(in) != 8 {
		t.Fatal("omit copies what it need not, or writes into the event")
	}
	for _, name := range []string{"big", "u", "x", "long", "huge"} {
		for _, program := range []string{"data." + name, "[data." + name + "][0]", "[[1],[2]].map(x, data." + name + ")[1]",
			"data.?" + name + ".orValue(0)", "merge({}, {'v': data." + name + "}).v"} {
			if got, want := asJSON(t, e, eval(program)), asJSON(t, e, in[name]); got != want {
				t.Errorf("%s = %s, want %s", program, got, want)
			}
		}
	}
	if zero, ok := eval(`data.m`).(float64); !ok || !math.Signbit(zero) {
		t.Error("-0 is not -0 any more")
	}
}

// A number that no double is counts as the nearest one, and equals only itself.
func TestCELCountsWithExactNumbers(t *testing.T) {
	e := testEnv(`{"long":0.12345678901234567890123,"also":0.12345678901234567890124,"huge":1e400,"u":18446744073709551615}`)
	for program, want := range map[string]string{
		`data.long < 0.2 && data.long > 0.1`:            `true`,
		`data.long + 1.0 < 1.2`:                         `true`,
		`data.long == data.also`:                        `false`,
		`data.long == data.long`:                        `true`,
		`data.huge > 1e300 && data.huge > 5`:            `true`,
		`string(data.long)`:                             `"0.12345678901234567890123"`,
		`int(data.long)`:                                `0`,
		`-data.long < 0.0`:                              `true`,
		`data.u == 18446744073709551615u`:               `true`,
		`[1.0, 2.0].exists(x, x > data.long)`:           `true`,
		`(true ? data.long : data.also) * 2.0 < 0.25`:   `true`,
		`[data.long].map(x, x * 10.0).exists(x, x > 1)`: `true`,
	} {
		out, err := evalWith(t, celEngine{}, program, e, testLimits)
		if err != nil {
			t.Errorf("%s: %v", program, err)
		} else if got := asJSON(t, e, out.value); got != want {
			t.Errorf("%s = %s, want %s", program, got, want)
		}
	}
}

func TestCELGivesText(t *testing.T) {
	out, err := evalWith(t, celEngine{}, `bytes("plain")`, testEnv(sampleData), testLimits)
	if err != nil || !out.isText || string(out.text) != "plain" {
		t.Fatalf("%+v, %v", out, err)
	}
}

func TestCELRefuses(t *testing.T) {
	for _, c := range []struct{ program, want string }{
		{`data.`, `1:6: Syntax error`},
		{`data.a +`, `Syntax error`},
		{`nope`, `1:1: undeclared reference to 'nope'`},
		{"1 +\n nope", `2:2: undeclared reference to 'nope'`},
		{`id + 1`, `1:4: found no matching overload for '_+_'`},
		{`yaml.parse(id)`, `undeclared reference to 'yaml.parse'`},
		{`json.parse(id)`, `undeclared reference to 'json.parse'`},
		{`json.encode(data)`, `undeclared reference to 'json.encode'`},
		{strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000), `recursion`},
		{strings.Repeat("1+", maxSource), `bytes`},
	} {
		_, err := celEngine{}.compile(c.program, testLimits)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40s: %v, want %s", c.program, err, c.want)
		} else if len(err.Error()) > 500 || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40s: the message is unwieldy: %q", c.program, err)
		}
	}
}

// What a program fails with says where.
func TestCELFails(t *testing.T) {
	for _, c := range []struct{ program, want string }{
		{`data.nope`, `1:5: no such key: nope`},
		{`{"a": data.items[7]}`, `index out of bounds: 7`},
		{`1 / (size(id) - 36)`, `division by zero`},
		{`data.amount * 2`, `no such overload`},
		{`1.0 / 0.0`, `+Inf, which JSON cannot have`},
		{`[double("NaN")]`, `NaN, which JSON cannot have`},
		{`type(1)`, `which JSON cannot have`},
		{`data.?nope`, `optional without a value`},
	} {
		_, err := evalWith(t, celEngine{}, c.program, testEnv(sampleData), testLimits)
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, errLimit) {
			t.Errorf("%s: %v, want %s", c.program, err, c.want)
		}
	}
	e := testEnv("")
	if _, err := evalWith(t, celEngine{}, `data.a`, e, testLimits); err == nil || !strings.Contains(err.Error(), "data is empty") {
		t.Errorf("data that is not JSON: %v", err)
	}
	if out, err := evalWith(t, celEngine{}, `id`, e, testLimits); err != nil || out.value != e.id {
		t.Errorf("a program that does not look at data: %v, %v", out, err)
	}
}

// H71 and its kin: each ends with a limit, soon, and with little memory, and the next event is served.
func TestCELLimits(t *testing.T) {
	skipUnderRace(t)
	many := `{"n":[` + numbered(60_000) + `""],"text":"` + strings.Repeat("aaaaaaaaaa", 40_000) +
		`","objects":[` + strings.Repeat(`{"a":[1,2]},`, 9_000) + `{}],"pattern":"(a{30}){30}"}`
	tenMillion := `lists.range(4000).map(x, lists.range(4000).map(y, x * y))`
	for name, program := range map[string]string{
		"comprehension over 10 million items":  tenMillion,
		"the same, nothing kept":               `lists.range(4000).all(x, lists.range(4000).all(y, x + y >= 0))`,
		"three deep over a thousand":           `lists.range(1000).all(x, lists.range(1000).all(y, lists.range(1000).all(z, true)))`,
		"filter that only looks at attributes": `data.n.filter(x, data.n.filter(y, data.n == null).size() > 0)`,
		"range":                                `lists.range(1000000000)`,
		"range that overflows":                 `lists.range(9223372036854775807)`,
		"doubled string":                       nested("x", `"0123456789"`, "x + x", 40),
		"doubled string of the event":          nested("x", `data.text`, "x + x", 60),
		"doubled bytes":                        nested("x", `b"0123456789"`, "x + x", 40),
		"doubled list":                         nested("x", `[1, 2]`, "x + x", 60),
		"doubled list, sized":                  nested("x", `[1, 2]`, "x + x", 70) + ".size()",
		"nested list":                          nested("x", `[1, 2]`, "[x, x]", 60),
		"nested list, compared":                nested("x", `[1, 2]`, "[x, x]", 60) + " == " + nested("x", `[1, 2]`, "[x, x]", 60),
		"nested list, searched":                nested("x", `[1, 2]`, "[x, x]", 60) + " in [" + nested("x", `[1, 2]`, "[x, x]", 60) + "]",
		"nested object":                        nested("x", `{"a": 1}`, `{"a": x, "b": x}`, 60),
		"nested list, flattened":               nested("x", `[1, 2]`, "[x, x]", 60) + ".flatten(100)",
		"nested list, formatted":               `"%s".format([` + nested("x", `[1, 2]`, "[x, x]", 60) + `])`,
		"nested list, merged":                  `merge({}, {"a": ` + nested("x", `[1, 2]`, "[x, x]", 60) + `})`,
		"distinct":                             `lists.range(100000).distinct()`,
		"distinct of data":                     `data.n.distinct()`,
		"sets":                                 `sets.equivalent(data.n, lists.range(100000))`,
		"sets of objects":                      `sets.intersects(data.objects, data.n)`,
		"replace nothing by much":              `data.text.replace("", data.text)`,
		"replace":                              `data.text.replace("a", data.text)`,
		"join":                                 `data.n.join(data.text)`,
		"split again and again":                `lists.range(100000).map(x, data.text.split(""))`,
		"upper again and again":                `lists.range(100000).map(x, data.text.upperAscii())`,
		"a pattern over itself":                `data.text.matches(data.text)`,
		"a pattern that grows":                 `data.text.matches(data.pattern)`,
		"merge again and again":                `lists.range(100000).map(x, merge(data, {"x": x}))`,
		"the event again and again":            `lists.range(500000).map(x, x)`,
		"two variables":                        `data.n.transformMap(i, v, data.n.transformMap(j, w, i + j))`,
		"a constant pattern":                   `data.text.matches("(.{0,30}x){20}$")`,
		"constant patterns":                    strings.Repeat(`data.text.matches("[a-z ]+c$") || `, 40) + "false",
		"sort":                                 `data.n.sort()`,
		"a search, letter by letter":           `data.text.indexOf("` + strings.Repeat("a", 200) + `b")`,
		"a search, backwards":                  `data.text.lastIndexOf("a` + strings.Repeat("b", 200) + `")`,
		"lists, each with each":                `lists.range(1500).hasExactly(lists.range(1500))`,
		"quotes, one after the other":          strings.Repeat(`strings.quote(data.text).size() + `, 60) + "1",
		"letters, one after the other":         `data.text` + strings.Repeat(`.reverse()`, 60) + `.size()`,
		"a caught refusal":                     `data.n.sort().size() > 5 || true ? b"x" : b"y"`,
	} {
		t.Run(name, func(t *testing.T) {
			e := testEnv(many)
			mustRunAway(t, celEngine{}, program, e, celReasons[name])
			if out, err := evalWith(t, celEngine{}, `data.n.size()`, e, testLimits); err != nil || out.value != 60_001 {
				t.Errorf("the next one: %v, %v", out, err)
			}
		})
	}
	fields := numbered(90_000)
	for want, c := range map[string][2]string{
		"a comprehension would take more than the time": {`data.exists(name, true)`, `{` + strings.ReplaceAll(fields, `",`, `":1,`) + `"":1}`},
	} {
		t.Run(want, func(t *testing.T) { mustRunAway(t, celEngine{}, c[0], testEnv(c[1]), want) })
	}
}

// The clock ends comprehensions in comprehensions, long before their cost does: all and exists go on behind an error.
func TestCELKeepsTime(t *testing.T) {
	for _, program := range []string{
		`data.all(x, data.all(y, data.all(z, z == 1)))`,
		`data.exists(x, data.exists(y, data.exists(z, z == 2)))`,
		`data.all(x, data.exists(y, data.all(z, data.exists(w, w == 1 && false) || z == 1)))`,
	} {
		_, err := evalWith(t, celEngine{}, program, testEnv("["+strings.Repeat("1,", 999)+"1]"), testLimits)
		if !errors.Is(err, errLimit) || !strings.Contains(err.Error(), "TRANSFORM_TIMEOUT") {
			t.Errorf("%s: %v", program, err)
		}
	}
}

// Guards leave the program that everybody writes as it is: one that hides the list of map from celAppendNode doubles this.
func TestCELAllocates(t *testing.T) {
	skipUnderRace(t)
	p, err := celEngine{}.compile(celShape, testLimits)
	if err != nil {
		t.Fatal(err)
	}
	e, r := testEnv(sampleData), p.newRun()
	n := testing.AllocsPerRun(100, func() {
		if _, err := r.eval(t.Context(), e); err != nil && !errors.Is(err, errLimit) { // on a busy machine
			t.Fatal(err)
		}
	})
	if n > 16 {
		t.Errorf("%v allocations; 14 are usual", n)
	}
}

// celReasons are what ends some of them: without it, another limit would, later. What a guard has refused may cost too
// much on top.
var celReasons = map[string]string{
	"range":                        "a list of 1000000000 items",
	"doubled string":               "+ would make a string",
	"doubled string of the event":  "+ would make a string",
	"doubled bytes":                "+ would make a string",
	"doubled list":                 "a list of 524288 items",
	"doubled list, sized":          "a list of 524288 items",
	"nested list":                  "the result is too large",
	"nested object":                "the result is too large",
	"nested list, merged":          "the result is too large",
	"nested list, compared":        "a comparison of more than 500000 items",
	"nested list, searched":        "a search of more than 500000 items",
	"nested list, flattened":       "flatten of more than 500000 items",
	"nested list, formatted":       "format of 500001 items",
	"replace":                      "replace would make",
	"join":                         "join would make",
	"a pattern that grows":         "matches would take more than the time",
	"a constant pattern":           "matches would take more than the time",
	"constant patterns":            "TRANSFORM_TIMEOUT",
	"sort":                         "sort would take more than the time",
	"a search, letter by letter":   "indexOf would take more than the time",
	"a search, backwards":          "lastIndexOf would take more than the time",
	"lists, each with each":        "hasExactly would take more than the time",
	"quotes, one after the other":  "TRANSFORM_TIMEOUT",
	"letters, one after the other": "TRANSFORM_TIMEOUT",
	"a caught refusal":             "sort would take more than the time",
}

// celQuick are the functions of which a call takes as long for much as for little, or no longer than looking at its bytes.
const celQuick = `_||_ _&&_ !_ _?_:_ @not_strictly_false _<_ _<=_ _>_ _>=_ _-_ -_ _*_ _/_ _%_ _[_] _[?_] _?._
	type dyn cel.@block cel.@mapInsert first last startsWith endsWith
	optional.of optional.ofNonZeroValue optional.none hasValue value or orValue
	getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds
	math.abs math.ceil math.floor math.round math.trunc math.sign math.sqrt math.isNaN math.isInf math.isFinite
	math.bitAnd math.bitOr math.bitXor math.bitNot math.bitShiftLeft math.bitShiftRight`

// What a program can call is weighed: a new version of cel-go may bring more.
func TestCELFunctionsAreWeighed(t *testing.T) {
	language, err := celLanguage()
	if err != nil {
		t.Fatal(err)
	}
	guards, quick := celGuards(1), strings.Fields(celQuick)
	for name, f := range language.Functions() {
		_, guarded := guards[name]
		_, rated := celRates[name]
		if !guarded && !rated && !f.IsDeclarationDisabled() && !slices.Contains(quick, name) {
			t.Errorf("nothing bounds %s", name)
		}
	}
}

// numbered are n different strings for an array.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"%07d",`, i)
	}
	return b.String()
}

// However long the timeout, the cost is bounded, and memory with it.
func TestCELCost(t *testing.T) {
	skipUnderRace(t)
	l := limits{output: 1 << 20, timeout: time.Minute}
	_, err := evalWith(t, celEngine{}, `lists.range(4000).map(x, lists.range(4000).map(y, x * y))`, testEnv("1"), l)
	if !errors.Is(err, errLimit) || !strings.Contains(err.Error(), "more than 10000000 steps") {
		t.Error(err)
	}
}

// nested builds a value by a step that takes the last one, over and over: as much as fits into a program's text.
func nested(name, start, step string, times int) string {
	s := start
	for range times {
		s = "cel.bind(" + name + ", " + s + ", " + step + ")"
	}
	return s
}

func TestWantedByCEL(t *testing.T) {
	for source, want := range map[string]string{
		"type": "[]", "data": "*", "data.a": "[a:*]", "[data.a.b, data.a.c]": "[a:[b:* c:*]]", "data.a == 1 || data.a.b == 1": "[a:*]",
		`data["a"].b[0].c`: "[a:[b:*]]", "data[type]": "*", "data.?a.?b.orValue(data.c)": "[a:[b:*] c:*]", "has(data.a.b)": "[a:[b:*]]",
		"data.items.map(i, i.sku)": "[items:*]", "data.a.filter(x, x in data.b)": "[a:* b:*]", "cel.bind(d, data, d.a)": "*", "size(data)": "*",
		`"a" in data`: "*", "merge(data.a, {'x': data.b.c})": "[a:* b:[c:*]]", "data.map(k, k)": "*", "data.b.map(data, data.a)": "[a:* b:*]",
		"(true ? data.a : data.b).c": "[a:* b:*]", "data[0]": "*", `data[?"a"].b`: "[a:[b:*]]",
	} {
		p, err := celEngine{}.compile(source, testLimits)
		if err != nil {
			t.Errorf("%s: %v", source, err)
		} else if got := p.(*celProgram).want().String(); got != want {
			t.Errorf("%s wants %s, want %s", source, got, want)
		}
	}
}
