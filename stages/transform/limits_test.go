package transform

// Rules that run away end with a reason, within a time and a memory, and the
// worker goes on (docs/adr/0010).

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// hostile data for rules that look harmless: up to 900 KB, and up to the values that programs can have.
var (
	manyNumbers = "[" + strings.Repeat("1,", 40_000) + "1]"
	twoLists    = `{"a":[` + strings.Repeat("1,", 20_000) + `1],"b":[` + strings.Repeat("2,", 20_000) + "2]}"
	allOthers   = others(60_000)
	manySpaces  = `"` + strings.Repeat(" ", 450_000) + `"`
	manyRows    = `[[` + strings.Repeat("1,", 20_000) + `1]` + strings.Repeat(",[]", 20_000) + `]`
	longDigits  = `{"s":"` + strings.Repeat("7", 880_000) + `"}`
	longRow     = "[" + strings.Repeat(strings.Repeat("7", 999)+",", 880) + "1]"
	// jsonText has JSON in a text, and a pattern.
	jsonText = `{"s":"[` + strings.Repeat("1,", 200_000) + `1]","p":"(.{0,30}x){20}$"}`
	// shared and sharedJQ make 2^100 values, in few bytes.
	shared    = `reduce(1..100, [#acc, #acc], 1)`
	sharedJQ  = "reduce range(100) as $i (1; [., .])"
	longTexts = `{"s":"` + strings.Repeat("x", 225_000) + `","l":[` + strings.Repeat(`"",`, 75_000) + `""]}`
)

// manyNames is an object of 40,000 members.
var manyNames = func() string {
	b := []byte(`{"n":1`)
	for i := range 40_000 {
		b = append(strconv.AppendInt(append(b, `,"n`...), int64(i), 10), `":1`...)
	}
	return string(append(b, '}'))
}()

// others are n numbers, no two the same.
func others(n int) string {
	b := []byte("[0")
	for i := range n {
		b = strconv.AppendInt(append(b, ','), int64(i+1), 10)
	}
	return string(append(b, ']'))
}

// runaways are rules that would take all there is, by the variable that they are a value of.
var runaways = []struct {
	language, name, program, data string
}{
	{"JQ", "endless array", "[range(1e12)]", "1"},
	{"JQ", "endless recursion", "def f: f; f", "1"},
	{"JQ", "deep recursion", "def f: 1 + f; f", "1"},
	{"JQ", "repeat", "last(repeat(.))", "1"},
	{"JQ", "repeat in an array", "[repeat(1)]", "1"},
	{"JQ", "last", "last(range(1e12))", "1"},
	{"JQ", "caught", "def f: try f catch f; try [range(1e12)] catch 1", "1"},
	{"JQ", "until", "until(false; . + 1)", "1"},
	{"JQ", "doubled text", `reduce range(100) as $i ("x"; . + .)`, "1"},
	{"JQ", "doubled text by +=", `reduce range(100) as $i ("x"; . += .)`, "1"},
	{"JQ", "doubled text by interpolation", `reduce range(100) as $i ("x"; "\(.)\(.)")`, "1"},
	{"JQ", "doubled text by join", `reduce range(100) as $i ("x"; [., .] | join(""))`, "1"},
	{"JQ", "doubled text by add", `reduce range(100) as $i ("x"; [., .] | add)`, "1"},
	{"JQ", "doubled text by add(f)", `reduce range(100) as $i ("x"; add(., .))`, "1"},
	{"JQ", "doubled text by gsub", `reduce range(100) as $i ("x"; gsub("x"; "xx"))`, "1"},
	{"JQ", "doubled text by @json", `reduce range(100) as $i ("x"; @json)`, "1"},
	{"JQ", "doubled array", `reduce range(100) as $i ([1]; . + .)`, "1"},
	{"JQ", "doubled object", `[reduce range(1e9) as $i ({}; . + {"k\($i)": .})]`, "1"},
	{"JQ", "repeated text", `"x" * 1e9`, "1"},
	{"JQ", "repeated text, from the left", `1e9 * "x"`, "1"},
	{"JQ", "repeated text by *=", `.a = "x" | .a *= 1000000000`, "{}"},
	{"JQ", "far index", `[range(1e5) as $i | null | .[1000000] = $i]`, "1"},
	{"JQ", "far index, given to a function", `def f(p): p = 1; [range(1e5) as $i | null | f(.[1000000])]`, "1"},
	{"JQ", "far index from data", `. as $n | [range(1e5) as $i | null | .[$n] = $i]`, "1000000"},
	{"JQ", "not so far index", `[range(1e5) as $i | null | .[65535] = $i]`, "1"},
	{"JQ", "far path", `[range(1e5) as $i | null | setpath(["a", 1000000]; $i)]`, "1"},
	{"JQ", "far path, had and set", `[range(1e5) as $i | null | getpath(["a", 1000000]) |= $i]`, "1"},
	{"JQ", "far path, nth", `[range(1e5) as $i | null | nth(1000000) = $i]`, "1"},
	{"JQ", "far path, picked", `[range(1e5) as $i | null | pick(.[1000000])]`, "1"},
	{"JQ", "far path in a stream", `[range(1e5) as $i | fromstream([["a", 1000000], 1], [["a", 1000000]])]`, "1"},
	{"JQ", "squared number", `reduce range(100) as $i (9007199254740993000001; . * .)`, "1"},
	{"JQ", "shared values as text", `reduce range(100) as $i (1; [., .]) | tojson`, "1"},
	{"JQ", "shared values flattened", `reduce range(100) as $i (1; [., .]) | flatten`, "1"},
	{"JQ", "shared values compared", `reduce range(100) as $i (1; [., .]) | . == (.[0] | [., .])`, "1"},
	{"JQ", "shared values as the result", `reduce range(100) as $i (1; [., .])`, "1"},
	{"JQ", "shared values in an error", `reduce range(100) as $i (1; [., .]) | error`, "1"},
	{"JQ", "shared values deleted from", `reduce range(100) as $i ({"a": 1}; {a: ., b: .}) | del(.c)`, "1"},
	{"JQ", "deep values", `reduce range(1e9) as $i (1; [.])`, "1"},
	{"JQ", "difference of arrays", ".a - .b", twoLists},
	{"JQ", "difference of arrays by -=", ".b as $b | .a -= $b", twoLists},
	{"JQ", "contains", ".b as $b | .a | contains($b)", twoLists},
	{"JQ", "inside", ".b as $b | .a | inside($b)", twoLists},
	{"JQ", "indices", ". as $x | indices($x[:100000])", manyNumbers},
	{"JQ", "index of a text", `index(.[1:200000] + "x")`, manySpaces},
	{"JQ", "gsub", `gsub(" "; "")`, manySpaces},
	{"JQ", "gsub that looks to the end at each place", `gsub("(a*b)?"; "x")`, `"` + strings.Repeat("a", 200_000) + `"`},
	{"JQ", "matches", `[match(" "; "g")] | length`, manySpaces},
	{"JQ", "transposed", "transpose | length", manyRows},
	{"JQ", "shared values as keys", "[1,2] | sort_by(" + sharedJQ + ")", "1"},
	{"JQ", "shared values as keys of min_by", "[1,2] | min_by(" + sharedJQ + ")", "1"},
	{"JQ", "shared values as keys of max_by", "[1,2] | max_by(" + sharedJQ + ")", "1"},
	{"JQ", "shared values as keys of group_by", "[1,2] | group_by(" + sharedJQ + ")", "1"},
	{"JQ", "shared values as keys of unique_by", "[1,2] | unique_by(" + sharedJQ + ")", "1"},
	{"JQ", "shared values as an index", "(" + sharedJQ + ") as $s | [$s] | .[[$s]]", "1"},
	{"JQ", "shared values as a part of a path", "(" + sharedJQ + ") as $s | [$s, 1] | getpath([[$s]])", "1"},
	{"JQ", "shared values as paths", "(" + sharedJQ + ") as $s | [1] | delpaths([$s, $s])", "1"},
	{"JQ", "shared values, searched for", "(" + sharedJQ + ") as $s | " + sharedJQ + " | IN($s)", "1"},
	{"JQ", "shared values, searched for in others", "(" + sharedJQ + ") as $s | IN($s; " + sharedJQ + ")", "1"},
	{"JQ", "shared values, searched for by halves", "(" + sharedJQ + ") as $s | [" + sharedJQ + "] | bsearch($s)", "1"},
	{"JQ", "a long index", ". as $d | .[($d[:20000] + [2])]", manyNumbers},
	{"JQ", "a long index into what is made", "[range(100000) | 1] | .[.[:100] + [2]]", "1"},
	{"JQ", "flattened again and again", ". as $d | [range(1e5) | $d | flatten | length]", manyNumbers},
	{"JQ", "sliced again and again", ". as $d | [range(1e5) | $d[1:2]]", manySpaces},
	{"JQ", "pattern", `.s | test("(.{0,30}x){20}$")`, jsonText},
	{"JQ", "pattern of data", `.p as $p | .s | test($p)`, jsonText},
	{"JQ", "pairs of all elements", `. as $d | [.[] | $d[] | {a: .}]`, manyNumbers},
	{"JQ", "doubled text, once for each element", `reduce .[] as $i ("x"; "\(.)\(.)")`, manyNumbers},
	{"JQ", "many values", ".ok = 1", "[" + strings.Repeat("[],", 299_000) + "1]"},
	{"EXPR", "many values", "data", "[" + strings.Repeat("[],", 299_000) + "1]"},
	{"FILTER", "many values", "data.s == 1", "[" + strings.Repeat("[],", 299_000) + "1]"},
	{"JQ", "a number of a text", ".s | tonumber", longDigits},
	{"JQ", "JSON of a text", ".s | fromjson", longDigits},
	{"JQ", "sorted numbers", "sort", longRow},
	{"JQ", "unique numbers", "unique", longRow},
	{"JQ", "joined", ". as $x | .l | join($x.s) | length", longTexts},

	{"EXPR", "endless range", "1..1000000000", "1"},
	{"EXPR", "nested counts", "count(1..900, count(1..900, count(1..900, # > 0) > 0) > 0)", "1"},
	{"EXPR", "10 million items", "all(1..3000, any(1..3000, # < 0) == false)", "1"},
	{"EXPR", "arrays in arrays", "map(1..900000, map(1..1000, #))", "1"},
	{"EXPR", "repeated text", `repeat("x", 1000000000)`, "1"},
	{"EXPR", "repeated long text", `repeat(data, 1000000)`, manySpaces},
	{"EXPR", "growing text", `reduce(1..900000, #acc + "xxxxxxxxxx", "")`, "1"},
	{"EXPR", "doubled text", `reduce(1..100, #acc + #acc, "x")`, "1"},
	{"EXPR", "doubled text by let", doubling(60), "1"},
	{"EXPR", "doubled text by join", `reduce(1..100, join([#acc, #acc]), "x")`, "1"},
	{"EXPR", "doubled text by replace", `reduce(1..100, replace(#acc, "x", "xx"), "x")`, "1"},
	{"EXPR", "doubled text by repeat", `reduce(1..100, repeat(#acc, 2), "x")`, "1"},
	{"EXPR", "doubled array", `reduce(1..100, concat(#acc, #acc), [1])`, "1"},
	{"EXPR", "shared values as text", `string(reduce(1..100, [#acc, #acc], 1))`, "1"},
	{"EXPR", "shared values as JSON", `toJSON(reduce(1..100, [#acc, #acc], 1))`, "1"},
	{"EXPR", "shared values flattened", `flatten(reduce(1..100, [#acc, #acc], [1]))`, "1"},
	{"EXPR", "shared values' maximum", `max(reduce(1..100, [#acc, #acc], [1]))`, "1"},
	{"EXPR", "shared values as the result", `reduce(1..100, [#acc, #acc], 1)`, "1"},
	{"EXPR", "deep values", `reduce(1..900000, [#acc], 1)`, "1"},
	{"EXPR", "unique numbers", `uniq(data)`, allOthers},
	{"EXPR", "pairs", `all(data.a, {let mine = #; all(data.b, # != mine)})`, twoLists},
	{"EXPR", "shared values' equality", shared + " == " + shared, "1"},
	{"EXPR", "shared values' difference", shared + " != " + shared, "1"},
	{"EXPR", "shared values in an array", shared + " in [" + shared + "]", "1"},
	{"EXPR", "shared values in an array that is computed", "let s = " + shared + "; any([[s]], " + shared + " in #)", "1"},
	{"EXPR", "shared values, unique", "uniq([" + shared + ", " + shared + "])", "1"},
	{"EXPR", "shared values in groups as text", `string(groupBy([` + shared + `], "x"))`, "1"},
	{"EXPR", "shared values in pairs as text", `string(toPairs({a: ` + shared + `}))`, "1"},
	{"EXPR", "parsed again and again", "map(1..200, fromJSON(data.s))", jsonText},
	{"EXPR", "split again and again", `map(1..200, split(data.s, ""))`, jsonText},
	{"EXPR", "summed again and again", "map(1..900000, sum(data))", manyNumbers},
	{"EXPR", "searched again and again", "map(1..900000, 2 in data)", manyNumbers},
	{"EXPR", "compared again and again", "let d = [data]; map(1..900000, d[0] == data)", manyNumbers},
	{"EXPR", "sorted again and again", "map(1..200, sort(data))", manyNumbers},
	{"EXPR", "sorted by again and again", "map(1..200, sortBy(data, 1))", manyNumbers},
	{"EXPR", "upper again and again", "map(1..200000, len(upper(data.s)))", jsonText},
	{"EXPR", "trimmed again and again", `map(1..200000, trim(data.s, "1,äö"))`, jsonText},
	{"EXPR", "hashed again and again", "map(1..200000, sha256(data.s))", jsonText},
	{"EXPR", "encoded again and again", "map(1..200000, toBase64(data.s))", jsonText},
	{"EXPR", "pairs again and again", "let m = fromPairs(map(1..1000, [string(#), #])); map(1..200000, toPairs(m))", "1"},
	{"EXPR", "pattern", `data.s matches "(.{0,30}x){20}$"`, jsonText},
	{"EXPR", "pattern of data", `data.s matches data.p`, jsonText},
	{"EXPR", "pattern that grows", `data.p matches join(map(1..500, "((a{30}){30})"))`, jsonText},
	{"EXPR", "joined", `join(data.l, data.s)`, longTexts},
	{"EXPR", "replaced", `replace(data.s, "x", data.s)`, longTexts},
	{"FILTER", "growing text", `reduce(1..900000, #acc + "xxxxxxxxxx", "") == ""`, "1"},
	{"SET", "growing text", `subject=reduce(1..900000, #acc + "xxxxxxxxxx", "")`, "1"},
}

// doubling is a program of n variables, each twice the one before.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString(`let a0 = data + "xxxxxxxxxx"; `)
	for i := range n {
		fmt.Fprintf(&b, "let a%d = a%d + a%d; ", i+1, i, i)
	}
	fmt.Fprintf(&b, "a%d", n)
	return b.String()
}

// ruleOf is a rule with one variable set.
func ruleOf(language, program string) RuleConfig {
	switch language {
	case "JQ":
		return RuleConfig{JQ: program}
	case "FILTER":
		return RuleConfig{Filter: program}
	case "SET":
		return RuleConfig{Set: program}
	}
	return RuleConfig{Expr: program}
}

func TestRunaways(t *testing.T) {
	skipUnderRace(t)
	const timeout = 50 * time.Millisecond
	for _, c := range runaways {
		t.Run(c.language+" "+c.name, func(t *testing.T) {
			if c.name == "doubled text by let" {
				c.data = `"x"`
			}
			rule := ruleOf(c.language, c.program)
			rule.Match = `type == "hostile"`
			r, problems := Compile(Config{Rules: []RuleConfig{rule, {Match: `type == "order.created"`, JQ: ".ok = true", Expr: ""}}, Timeout: timeout},
				Options{Topics: someTopics, MaxEventBytes: 900_000})
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			w := r.NewWorker(stages.NewTopics(someTopics...), &heap{})
			ev := newEvent(c.data)
			ev.Type.Value = []byte("hostile")
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			started := time.Now()
			w.Apply(ev)
			took := time.Since(started)
			runtime.ReadMemStats(&after)
			mustEnd(t, ev, Reject, stages.TransformLimit, c.language)
			// On a busy machine reading alone may take all the time.
			message := ev.Verdict.Detail.Message
			unread := strings.Contains(message, "that programs can have")
			if strings.Contains(message, "reading data") {
				unread = c.name == "many values"
			}
			if unread != (c.name == "many values") {
				t.Errorf("ended with %s", ev.Verdict.Detail.Message)
			}
			// All that is made counts here, garbage too. On a busy machine 390 ms and 110 MiB were the most; an idle one
			// fills 404 MiB in 50 ms where only time bounds it (an index below farIndex).
			made := (after.TotalAlloc - before.TotalAlloc) >> 20
			t.Logf("%v, %d MiB: %s", took, made, ev.Verdict.Detail.Message)
			if made > 1500 || took > 20*time.Second {
				t.Errorf("%d MiB were made in %v", made, took)
			}
			if next := newEvent("{}"); !w.Apply(next) || string(next.Data) != `{"ok":true}` {
				t.Errorf("the next event is %v: %s", next.Verdict, next.Data)
			}
		})
	}
}

// What gives one value after the other is not awaited to its end.
func TestRepeatIsCutShort(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{JQ: "repeat(.)"})
	ev := newEvent("1")
	w.Apply(ev)
	mustEnd(t, ev, Reject, stages.TransformFailed, "JQ: the program gives more than one value")
}

// What is no key ends the program, and does not come into the text of its error.
func TestNoKeys(t *testing.T) {
	for _, program := range []string{
		"data.missing[" + shared + "]", "data.n[" + shared + ":1]", "get(data.missing, " + shared + ")",
	} {
		w, _ := newWorker(t, RuleConfig{Expr: program})
		ev := newEvent(`{"n":1}`)
		w.Apply(ev)
		mustEnd(t, ev, Reject, stages.TransformFailed, "EXPR: a value of the type []interface {} is neither")
	}
}

// Guards leave alone what programs give.
func TestGuardsChangeNothing(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{Expr: `{
		a: [data.l == data.m, data.l != data.m, data.l == [1, 2], 1 in data.l, 3 in data.l, "b" in data.o, [1] in [[1], [2]], "x" not in ["x"]],
		b: [data.s matches "^a+b$", data.s matches data.p, data.none matches "a", sum(data.l), sum(data.l, # * 2), sum(1..3)],
		c: sortBy(data.r, .k), d: groupBy(data.r, string(.k)), e: [sort(data.l, "desc"), split(data.s, ""), splitAfter(data.s, "a", 2)],
		f: [upper(data.s), lower("A"), trim(" a "), trim("xax", "x"), toBase64("a"), fromBase64("YQ=="), fromJSON("[1]")],
		g: [keys(data.o), values(data.o), toPairs(data.o), fromPairs([["a", 1]]), get(data.o, "b"), get(data.l, 7), data.l[data.i], data.s[data.i:]],
		h: [sha256(data.s) == sha256("aab"), hash(data.s) == hash("aab")]
	}`})
	ev := newEvent(`{"l":[1,2],"m":[2,1],"o":{"b":5},"s":"aab","p":"b$","r":[{"k":2},{"k":1}],"i":1}`)
	w.Apply(ev)
	const want = `{"a":[false,true,true,true,false,true,true,false],"b":[true,true,false,3,6,6],"c":[{"k":1},{"k":2}],` +
		`"d":{"1":[{"k":1}],"2":[{"k":2}]},"e":[[2,1],["a","a","b"],["a","ab"]],"f":["AAB","a","a","a","YQ==","a",[1]],` +
		`"g":[["b"],[5],[["b",5]],{"a":1},5,null,2,"ab"],"h":[true,true]}`
	if !ev.Open() || string(ev.Data) != want {
		t.Errorf("%v: made\n%s, want\n%s", ev.Verdict, ev.Data, want)
	}
}
