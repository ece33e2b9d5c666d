package filter

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

func order() *eventv1.Event {
	return &eventv1.Event{
		Id: "018f2d1e", Source: "/shop/checkout", Type: "order.created", Subject: "order/4711",
		DataContentType: "application/json", DataSchema: "https://example.org/order.json", PartitionKey: "customer-42",
		Timestamp: timestamppb.New(time.Date(2026, 9, 18, 10, 11, 7, 0, time.UTC)),
		Metadata:  map[string]string{"tenant": "acme", "retries": "3"},
		Data:      []byte(`{"a":1}`),
	}
}

// decide is what match says in the end.
func decide(match stages.Match, ev *eventv1.Event) (bool, error) {
	wanted, err := match(ev)
	if costly, ok := errors.AsType[*stages.Costly](err); ok {
		return costly.Decide(ev)
	}
	return wanted, err
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		types, sources []string
		want           bool
	}{
		{nil, nil, true},
		{[]string{"order.created"}, nil, true},
		{[]string{"order.create"}, nil, false},
		{[]string{"order.created.x"}, nil, false},
		{[]string{"order.*"}, nil, true},
		{[]string{"order.created*"}, nil, true},
		{[]string{"order.created.*"}, nil, false},
		{[]string{"*"}, nil, true},
		{[]string{"a*", "b*", "order.c*", "order.z*", "z*"}, nil, true},
		{[]string{"order.", "o", "order.a*", "order.d*"}, nil, false},
		{[]string{"o*", "order.a*", "order.b*", "order.z*"}, nil, true}, // o covers those that lie nearer
		{[]string{"user.*", "order.created"}, []string{"/shop/checkout"}, true},
		{nil, []string{"/shop/checkout"}, true},
		{nil, []string{"/shop/*"}, false}, // sources are exact
		{[]string{"order.*"}, []string{"/shop"}, false},
	} {
		match, err := Compile(c.types, c.sources, "")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decide(match, order()); err != nil || got != c.want {
			t.Errorf("%q, %q: %v, %v", c.types, c.sources, got, err)
		}
	}
}

// What is looked up is what looking at each prefix gives.
func TestManyPrefixes(t *testing.T) {
	var entries []string
	for i := range MaxNames {
		entries = append(entries, fmt.Sprintf("%x*", i*i*7+1))
	}
	match, err := Compile(entries, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for i := range 5000 {
		name := fmt.Sprintf("%x", i*31)
		want := false
		for _, entry := range entries {
			want = want || strings.HasPrefix(name, strings.TrimSuffix(entry, "*"))
		}
		if got, _ := decide(match, &eventv1.Event{Type: name}); got != want {
			t.Errorf("%s: %v", name, got)
		}
		if want {
			found++
		}
	}
	if found == 0 || found == 5000 {
		t.Errorf("%d of 5000 begin with one: nothing was tried", found)
	}
}

func TestExpressions(t *testing.T) {
	for expression, want := range map[string]bool{
		`id == "018f2d1e" && source == "/shop/checkout" && type == "order.created" && subject == "order/4711"`: true,
		`data_content_type == "application/json" && data_schema.endsWith("order.json")`:                        true,
		`partition_key == "customer-42"`:                              true,
		`time > timestamp("2026-09-18T10:11:06Z")`:                    true,
		`time.getHours() == 11`:                                       false,
		`metadata["tenant"] == "acme"`:                                true,
		`metadata.tenant == "acme"`:                                   true,
		`metadata["absent"] == ""`:                                    true,
		`metadata.absent == ""`:                                       true,
		`metadata["absent"] != "x" && metadata["absent"] < "a"`:       true,
		`has(metadata.absent) || "absent" in metadata`:                false,
		`has(metadata.tenant) && "tenant" in metadata`:                true,
		`metadata[metadata["absent"] + "tenant"] == "acme"`:           true,
		`metadata.exists(k, k == "tenant" && metadata[k] != "")`:      true,
		`metadata.all(k, metadata[k] == "acme")`:                      false,
		`size(metadata) == 2`:                                         true,
		`metadata == {"tenant": "acme", "retries": "3"}`:              true,
		`int(metadata.retries) > 2`:                                   true,
		`"n" in metadata && int(metadata.n) > 2`:                      false,
		`subject.matches("^order/[0-9]+$")`:                           true,
		`matches(subject, "^user/")`:                                  false,
		`subject.matches("^" + type.split(".")[0] + "/")`:             true,
		`hash(partition_key) % 2 == hash("customer-42") % 2`:          true,
		`sha256(id).size() == 64`:                                     true,
		`subject.substring(6) in ["4711", "4712"]`:                    true,
		`type.split(".").exists(part, part == "created")`:             true,
		`[1, 2].all(a, [3].all(b, [a, b].exists(c, c == 3)))`:         true,
		`[{"a": "b"}].exists(m, m["a"] == "b")`:                       true,
		`true`:                                                        true,
		`!(type.startsWith("order.")) || subject.lowerAscii() == "x"`: false,
	} {
		match, err := Compile(nil, nil, expression)
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		for range 2 { // nothing of an event stays
			if got, err := decide(match, order()); err != nil || got != want {
				t.Errorf("%s: %v, %v", expression, got, err)
			}
		}
		if _, err := decide(match, &eventv1.Event{Metadata: map[string]string{"retries": "4"}}); err != nil && !strings.Contains(expression, "split") &&
			!strings.Contains(expression, "substring") {
			t.Errorf("%s of an event without attributes: %v", expression, err)
		}
	}
}

func many(n int, entry string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = entry
	}
	return all
}

func TestInvalid(t *testing.T) {
	for _, c := range []struct {
		types, sources []string
		expression     string
		field, want    string
	}{
		{types: many(101, "a"), field: "event_types", want: "101 entries; 100"},
		{types: []string{"a", ""}, field: "event_types[1]", want: "empty"},
		{types: []string{"order.*.created"}, field: "event_types[0]", want: `"order.*.created": a * can only be its end`},
		{types: []string{"*.created"}, field: "event_types[0]", want: "its end"},
		{types: []string{"a", "a**"}, field: "event_types[1]", want: "its end"},
		{types: []string{strings.Repeat("a", 1025)}, field: "event_types[0]", want: "1025 bytes; 1024"},
		{sources: many(101, "a"), field: "sources", want: "101 entries"},
		{sources: []string{""}, field: "sources[0]", want: "empty"},
		{sources: []string{strings.Repeat("a", 1025)}, field: "sources[0]", want: "1025 bytes"},
		{expression: `subject ==`, want: "1:11: Syntax error"},
		{expression: `event.subject == "1"`, want: "1:1: undeclared reference to 'event'"},
		{expression: `data.a == 1`, want: "undeclared reference to 'data'"},
		{expression: "true &&\n now > time", want: "2:2: undeclared reference to 'now'"},
		{expression: `subject`, want: "type string; true or false"},
		{expression: `subject == 1`, want: "1:9: found no matching overload"},
		{expression: `subject.matches("((")`, want: "1:16: error parsing regexp"},
		{expression: `subject.matches("(a{100}){10}")`, want: "1:16: limit: a pattern of"},
		{expression: `subject.matches("` + strings.Repeat("a", 1001) + `")`, want: "1:16: limit: a pattern of 1001"},
		{expression: `{subject: 1} == {}`, want: "1:1: the names of an object's fields have to be constants"},
		{expression: `google.protobuf.Struct{} == google.protobuf.Struct{}`, want: "messages cannot be made"},
		{expression: `[{"a": "b"}].exists(metadata, metadata["a"] == "b")`, want: "cannot have the name metadata"},
		{expression: `[1].all(a, [1].all(b, [1].all(c, [1].all(d, true))))`, want: "nest more than 3 deep"},
		{expression: `optional.of(1).optMap(x, x).hasValue()`, want: "undeclared reference"},
		{expression: `"%d".format([1]) == "1"`, want: "undeclared reference to 'format'"},
		{expression: strings.Repeat("(", 101) + "true" + strings.Repeat(")", 101), want: "recursion"},
		{expression: strings.Repeat("true && ", 513), want: "4104 bytes; 4096"},
		{expression: "type == '\n\x1b[31m" + strings.Repeat("x", 3000), want: "Syntax error"},
	} {
		if c.field == "" {
			c.field = "filter"
		}
		_, err := Compile(c.types, c.sources, c.expression)
		refusal := asRefusal(t, c.expression, err)
		if refusal == nil {
			continue
		}
		if refusal.Reason != stages.InvalidFilter || refusal.Detail.Field != c.field || !strings.Contains(refusal.Detail.Message, c.want) {
			t.Errorf("%.60s: %v %q, want %q: %s", c.expression, refusal.Reason, refusal.Detail.Field, err, c.want)
		}
		if message := refusal.Detail.Message; len(message) > 400 || strings.ContainsAny(message, "\n\x1b") {
			t.Errorf("%.60s: the message is unwieldy: %q", c.expression, message)
		}
	}
}

func asRefusal(t *testing.T, expression string, err error) *stages.Refusal {
	t.Helper()
	var refusal *stages.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("%.60s: %v, which is no refusal", expression, err)
		return nil
	}
	return refusal
}

// What fails on an event, or takes too much for it, is the client's affair, and says on which event.
func TestFailsOnEvent(t *testing.T) {
	ten := `[0,1,2,3,4,5,6,7,8,9]`
	hundred := `(` + ten + ` + ` + ten + ` + ` + ten + ` + ` + ten + ` + ` + ten + ` + ` + ten + ` + ` + ten + ` + ` + ten + ` + ` + ten + ` + ` + ten + `)`
	long := order()
	long.Subject = strings.Repeat("a", 100_000)
	for _, c := range []struct{ name, expression, want string }{
		{"a number that is none", `int(subject) > 3`, "type conversion"},
		{"an absent number", `int(metadata.absent) > 3`, "type conversion"},
		{"division", `1 / size(metadata.absent) == 1`, "division by zero"},
		{"loops", hundred + `.all(a, ` + hundred + `.all(b, ` + hundred + `.all(c, a + b + c >= 0)))`, "limit: the program takes more than 20000 steps"},
		{"loops behind errors", hundred + `.exists(a, ` + hundred + `.exists(b, ` + hundred + `.exists(c, a / 0 == 1)))`, "limit"},
		{"doubled text", `[subject].map(a, a + a).map(a, a + a).map(a, a + a).map(a, a + a).all(a, a != "")`, "limit"},
		{"replace", `subject.replace("", subject) == ""`, "limit"},
		{"split", `subject.split("").size() == 1`, "limit"},
		{"split again and again", hundred + `.all(a, subject.split("").size() > 1)`, "limit"},
		{"a heavy pattern", `subject.substring(0, 20000).matches(".{900}x")`, "limit: matches"},
		{"time zones again and again", hundred + `.all(a, ` + ten + `.all(b, time.getHours("Europe/Berlin") >= 0))`, "limit: the program takes more than 500000 steps"},
		{"time zones of an unknown type", hundred + `.all(a, ` + ten + `.all(b, dyn(time).getHours("Europe/Berlin") >= 0))`, "limit: the program takes more than 500000 steps"},
		{"a light pattern again and again", hundred + `.exists(a, subject.substring(0, 300).matches("(b|c){60}$"))`, "limit"},
		{"the event's pattern", `"a".matches(subject)`, "limit: a pattern"},
		{"patterns that are made", hundred + `.exists(a, "x".matches("(a{30}){20}" + string(a)))`, "limit"},
		{"a wrong pattern", `"a".matches("(" + subject)`, "limit"},
	} {
		match, err := Compile(nil, nil, c.expression)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		peak, took := measured(func() { _, err = decide(match, long) })
		refusal := asRefusal(t, c.name, err)
		if refusal == nil {
			continue
		}
		if refusal.Reason != stages.FilterLimit || refusal.Detail.Field != "filter" ||
			!strings.Contains(refusal.Detail.Message, c.want) || !strings.Contains(refusal.Detail.Message, long.Id) {
			t.Errorf("%s: %v %v, want %s", c.name, refusal.Reason, err, c.want)
		}
		if strings.Contains(refusal.Detail.Message, "ms for") {
			t.Errorf("%s: it was time that ended it, and not a count: %v", c.name, err)
		}
		if took > 2*time.Second || peak > 64<<20 {
			t.Errorf("%s: took %v and %d MiB", c.name, took, peak>>20)
		}
		t.Logf("%s: %v, %d KiB: %v", c.name, took, peak>>10, err)
		if _, err := decide(match, long); err == nil {
			t.Errorf("%s: the same event passes the second time", c.name)
		}
	}
}

// measured is what f allocates and how long it takes.
func measured(f func()) (bytes uint64, took time.Duration) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	started := time.Now()
	f()
	took = time.Since(started)
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, took
}

// hostile are expressions that would keep a compiler busy.
func hostile() map[string]string {
	repeat := func(before, each, after string, most int) string {
		n := (most - len(before) - len(after)) / len(each)
		return before + strings.Repeat(each, n) + after
	}
	const all = 4096
	chain := "[{'a':1}]"
	for len(chain) < all-40 {
		chain += ".map(x,{x:x})"
	}
	lists := "[1]"
	for len(lists) < all-40 {
		lists += ".map(x,[x,x])"
	}
	objects := "[{'a':1}]"
	for len(objects) < all-40 {
		objects += ".map(x,{'a':x,'b':x})"
	}
	return map[string]string{
		// Not so long that the parser gives up: without checkConditionShape, the first takes minutes.
		"types that double quietly":   "[{'a':1}]" + strings.Repeat(".map(x,{x:x})", 16) + ".size()==1",
		"lists that double quietly":   "[[1]]" + strings.Repeat(".map(x,[x,x])", 16) + ".size()==1",
		"lists of lists":              "[[1]]" + strings.Repeat(".map(x,[[x],x])", 16) + "==[]",
		"objects that double quietly": "[{'a':1}]" + strings.Repeat(".map(x,{'a':x,'b':[x]})", 16) + "==[]",
		"choices of types":            "[[1]]" + strings.Repeat(".map(x,true?[x]:[[x]])", 12) + "==[]",
		"types that double":           chain + ".size()==1",
		"lists that double":           lists + ".size()==1",
		"objects that double":         objects + ".size()==1",
		"nested loops":                repeat("", "[1].all(a,", "true"+strings.Repeat(")", 200), all),
		"parentheses":                 repeat("", "(", "", all),
		"brackets":                    repeat("", "[", "", all),
		"braces":                      repeat("", "{1:", "", all),
		"questions":                   repeat("", "true?", "", all),
		"negations":                   repeat("", "!", "true", all),
		"minus":                       repeat("", "-", "1==1", all),
		"members":                     repeat("metadata", ".a", "==''", all),
		"indices":                     repeat("metadata", "[''", "", all),
		"or":                          repeat("true", "||true", "", all),
		"ternaries":                   repeat("", "true?true:", "true", all),
		"garbage":                     repeat("", "@#$%^&*", "", all),
		"unclosed texts":              repeat("", "'\"", "", all),
		"numbers":                     repeat("[", "1,", "1].size()==1", all),
		"a long number":               repeat("", "9", "==1", all),
		"commas":                      repeat("f(", ",", ")", all),
		"has":                         repeat("", "has(", "a.b)", all),
		"patterns":                    repeat("subject.matches('", "(a{1000})", "')", all),
		"many patterns":               repeat("true", "&&id.matches('(a{30}){30}')", "", all),
		"exists of exists":            repeat("[1]", ".map(x,x)", ".exists(x,x==1)", all),
		"comparisons":                 repeat("1", "<1", "", all),
		"nested patterns":             repeat("subject.matches('", "(", strings.Repeat(")*", 1990)+"')", all),
		"comments":                    repeat("true", "//\n", "", all),
		"dots":                        repeat("", ".", "a", all),
		"identifiers and newline":     repeat("", "a\n", "", all),
	}
}

// Whatever 4 KB can be, somebody else waits at most a moment.
func TestHostileExpressions(t *testing.T) {
	for name, expression := range hostile() {
		if len(expression) > 4096 {
			expression = expression[:4096]
		}
		var match stages.Match
		var err error
		bytes, took := measured(func() { match, err = Compile(nil, nil, expression) })
		if took > 2*time.Second || bytes > 128<<20 {
			t.Errorf("%s: %v and %d MiB", name, took, bytes>>20)
		}
		t.Logf("%s: %v, %d KiB: %.100v", name, took, bytes>>10, err)
		if err != nil {
			if refusal := asRefusal(t, name, err); refusal != nil && refusal.Reason != stages.InvalidFilter {
				t.Errorf("%s: %v", name, refusal.Reason)
			}
			continue
		}
		bytes, took = measured(func() { _, err = decide(match, order()) })
		if took > 2*time.Second || bytes > 64<<20 {
			t.Errorf("%s, of an event: %v and %d MiB, %v", name, took, bytes>>20, err)
		}
	}
}

func BenchmarkFilter(b *testing.B) {
	ev := order()
	for _, c := range []struct {
		name           string
		types, sources []string
		expression     string
	}{
		{"all", nil, nil, ""},
		{"types", []string{"user.*", "payment.*", "order.*"}, nil, ""},
		{"equals", nil, nil, `subject == "order/4712"`},
		{"metadata", nil, nil, `metadata["tenant"] == "acme"`},
		{"three", nil, nil, `metadata["tenant"] == "acme" && type.startsWith("order.") && !(subject in ["a","b"])`},
		{"matches", nil, nil, `subject.matches("^order/[0-9]+$")`},
		{"exists", nil, nil, `metadata.exists(k, k == "absent")`},
	} {
		match, err := Compile(c.types, c.sources, c.expression)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decide(match, ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
