package transform

// The jq language is jq's: what gojq's own tests run gives the same through the
// guards. And what a program sees and may not do.

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/itchyny/gojq"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/stages"
)

// jqCase is a case of gojq's tests of its command, most of which are those of jq's manual and of jq's own tests.
type jqCase struct {
	Name  string   `yaml:"name"`
	Args  []string `yaml:"args"`
	Input string   `yaml:"input"`
	Error string   `yaml:"error"`
}

// jqCases reads them from where the module lies.
func jqCases(t *testing.T) (cases []jqCase) {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/itchyny/gojq").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "cli", "test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	return cases
}

// allOf are the values of a program's run, as text, and its error.
func allOf(iter gojq.Iter) (values []string) {
	for range 10_000 {
		v, ok := iter.Next()
		if !ok {
			return values
		}
		if err, ok := v.(error); ok {
			return append(values, "error: "+strings.ReplaceAll(err.Error(), guardPrefix, ""))
		}
		text, err := gojq.Marshal(v)
		if err != nil {
			text = []byte(err.Error())
		}
		values = append(values, string(text))
	}
	return append(values, "...")
}

// changing are functions that give something else each time.
var changing = []string{"now", "localtime", "strflocaltime", "builtins", "modulemeta", "$ENV", "env.", "env|", "input", "debug", "stderr", "mktime", "halt"}

// toldOtherwise are cases in which the guards end a program with words of their own.
var toldOtherwise = []string{"multiply strings error", "assignment operator array index limit error"}

func TestLanguageIsJQs(t *testing.T) {
	skipUnderRace(t)
	ran, wholes := 0, 0
	for _, c := range jqCases(t) {
		if len(c.Args) == 0 || len(c.Args) > 2 || len(c.Args) == 2 && c.Args[0] != "-c" && c.Args[0] != "-n" && c.Args[0] != "-r" {
			continue
		}
		if strings.Contains(c.Name, " against large ") { // these are about time
			continue
		}
		source := c.Args[len(c.Args)-1]
		if len(source) > maxSource || slices.ContainsFunc(changing, func(name string) bool { return strings.Contains(source, name) }) {
			continue
		}
		query, err := gojq.Parse(source)
		if err != nil {
			continue
		}
		code, err := gojq.Compile(query)
		if err != nil {
			if _, ours := (jqEngine{}).compile(source, limits{output: 1 << 20, timeout: time.Second}); ours == nil {
				t.Errorf("%s: compiles, but %v", c.Name, err)
			}
			continue
		}
		p, err := jqEngine{}.compile(source, limits{output: 1 << 20, timeout: 20 * time.Second})
		if err != nil {
			if !strings.Contains(err.Error(), "is larger than") {
				t.Errorf("%s: %v", c.Name, err)
			}
			continue
		}
		r := p.newRun().(*jqRun)
		for _, input := range inputsOf(c) {
			var plain any
			decoder := json.NewDecoder(strings.NewReader(input))
			decoder.UseNumber()
			if decoder.Decode(&plain) != nil {
				continue
			}
			var d document
			own, err := d.read([]byte(input), p.(*jqProgram).want())
			if err != nil {
				t.Fatalf("%s: %v", c.Name, err)
			}
			ran++
			r.meter.start(20*time.Second, &env{})
			want, got := allOf(code.Run(plain)), allOf(r.code.RunWithContext(polled{&r.meter}, own))
			if p.(*jqProgram).want().whole {
				wholes++
			}
			if !slices.EqualFunc(got, want, alike) && !slices.Contains(toldOtherwise, c.Name) {
				t.Errorf("%s: %s of %s gives\n%q, want\n%q", c.Name, source, input, got, want)
			}
		}
	}
	if ran < 700 || ran-wholes < 50 {
		t.Errorf("only %d cases ran, %d of them with less than all of the input", ran, ran-wholes)
	}
}

// alike: the same text, or the same value. Numbers of the input have lost their zeros on the way to the program; they
// are put back when its result is written.
func alike(a, b string) bool {
	var x, y any
	return a == b || json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}

// inputsOf are the values of a case's input.
func inputsOf(c jqCase) (inputs []string) {
	if slices.Contains(c.Args, "-n") {
		return []string{"null"}
	}
	decoder := json.NewDecoder(strings.NewReader(c.Input))
	for {
		var raw json.RawMessage
		if err := decoder.Decode(&raw); errors.Is(err, io.EOF) || err != nil {
			return inputs
		}
		inputs = append(inputs, string(raw))
	}
}

func TestJQSees(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{JQ: `{a: [$id, $source, $type, $subject, $data_content_type, $partition_key, $gateway, $client, $time], m: $metadata,
		n: ($now > $time), s: ("x" | sha256[:4]), h: ("x" | hash | type), o: .order_id, e: env, f: $ENV} | . as $type | $type`})
	ev := newEvent(sampleData)
	w.Apply(ev)
	const want = `{"a":["018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55","/shop/checkout","order.created","order/4711","application/json","customer-42",` +
		`"gateway-1","192.0.2.7","2026-09-18T10:11:07.123Z"],"e":{},"f":{},"h":"number",` +
		`"m":{"tenant":"acme","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},"n":true,"o":"ord-20260918-004711","s":"2d71"}`
	if string(ev.Data) != want {
		t.Errorf("got  %s (%+v)\nwant %s", ev.Data, ev.Verdict.Detail, want)
	}
}

// A rule that changes one member leaves the rest of the text alone.
func TestJQKeepsTheText(t *testing.T) {
	for _, c := range []struct{ program, data, want string }{
		{".", ` {"b" : 1.10,"a":-0} `, `{"b" : 1.10,"a":-0}`},
		{`.customer.email = "x"`, sampleData, swap(`"jane.doe@example.org"`, `"x"`)(sampleData)},
		{`del(.customer.email)`, sampleData, swap(`"email":"jane.doe@example.org",`, ``)(sampleData)},
		{`.items[1].price += 1`, sampleData, swap(`20.00`, `21`)(sampleData)},
		{`.items |= map(select(.price > 50))`, sampleData, swap(`,{"sku":"B-2002","name":"Beans \"dark\", 1 kg","quantity":2,"price":20.00}`, ``)(sampleData)},
		{`.a = 1`, `{"z":1e400,"z":2,"y":9007199254740993,"x":0.1234567890123456789012,"w":[1.0]}`,
			`{"z":1e400,"z":2,"y":9007199254740993,"x":0.1234567890123456789012,"w":[1.0],"a":1}`},
		{`{new: .w, old: .y}`, `{"y":9007199254740993,"w":[1.0]}`, `{"new":[1.0],"old":9007199254740993}`},
		{`.y + 1`, `{"y":9007199254740993}`, `9007199254740994`},
		{`.y * 10`, `{"y":9007199254740993000}`, `90071992547409930000`},
		{`del(.w[0])`, `{"w":[ ],"y":1.0}`, `{"w":[ ],"y":1.0}`},
		{`del(.w[0], .x)`, `{"w":[ ],"y":1.0}`, `{"w":[ ],"y":1.0}`},
	} {
		w, _ := newWorker(t, RuleConfig{JQ: c.program})
		ev := newEvent(c.data)
		w.Apply(ev)
		if string(ev.Data) != c.want {
			t.Errorf("%s: got\n%s (%+v), want\n%s", c.program, ev.Data, ev.Verdict.Detail, c.want)
		}
	}
}

func TestJQFails(t *testing.T) {
	for program, want := range map[string]string{
		"empty":                   "JQ: the program gives no value",
		".items[]":                "JQ: the program gives more than one value",
		"1, error(\"x\")":         "JQ: error: x",
		".order_id | .x":          "JQ: expected an object but got: string (\"ord-20260918-004711\")",
		"error":                   "JQ: error: {",
		"halt":                    "JQ: halt error: null",
		"[.items, 1] | join(1)":   "JQ: ",
		"\"x\" | test(\"(\")":     "JQ: invalid regular expression \"(\"",
		"1 | test(\"x\")":         "JQ: match(\"x\"; null) cannot be applied to: number (1)",
		"{} | sha256":             "JQ: cannot be applied to: {}; a text is wanted",
		"$metadata | .x.y.z[1:2]": "",
	} {
		w, _ := newWorker(t, RuleConfig{JQ: program})
		ev := newEvent(sampleData)
		w.Apply(ev)
		if want == "" {
			if !ev.Open() || string(ev.Data) != "null" {
				t.Errorf("%s: %s %+v", program, ev.Data, ev.Verdict.Detail)
			}
			continue
		}
		mustEnd(t, ev, Reject, stages.TransformFailed, want)
	}
}

func TestJQProblems(t *testing.T) {
	for program, want := range map[string]string{
		".a |":                        "unexpected EOF, 1:5",
		"{a: 1,\n b: }":               "unexpected token \"}\", 2:5",
		"\"x":                         "unterminated string literal, 1:3",
		"nosuch":                      "function not defined: nosuch/0",
		"$x":                          "variable not defined: $x",
		"input":                       "input(s)/0 is not allowed",
		"debug":                       "function not defined: debug/0",
		"import \"a\" as a; .":        "import and include are not allowed",
		"include \"a\"; .":            "import and include are not allowed",
		"get_search_list":             "function not defined: get_search_list/0",
		"\"a\" | _match(.)":           "function not defined: _match/1",
		"label $out | break $nothing": "label not defined: $nothing",
	} {
		_, err := jqEngine{}.compile(program, limits{})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", program, err, want)
		}
	}
}

// gojq writes to constant objects of a program in del, so workers must not share one compiled program.
func TestConstantsAreNotShared(t *testing.T) {
	p, err := jqEngine{}.compile(`{"a": {"b": 1}, "c": {"d": [1]}} | del(.x)`, limits{output: 1000, timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			r := p.newRun()
			e := &env{event: newEvent("{}")}
			for range 2000 {
				if _, err := r.eval(t.Context(), e); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
}

// Our own matching gives what gojq's gives.
func TestMatchIsGojqs(t *testing.T) {
	expressions := []string{"a", "a*", "", "b?", "(a)(b)?", "(?<x>a)|(?<y>b)", "^a", "a$", `\b`, ".", "[^a]", "é*", "(", "(a*)*", "aa"}
	query, err := gojq.Parse("[match($re; $flags)], [test($re; $flags)]")
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gojq.Compile(query, gojq.WithVariables([]string{"$re", "$flags"}))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "é", "\n", " ", "\U0001f600", "\xff"}), 0, 8).Draw(t, "text"), "")
		expression := rapid.SampledFrom(expressions).Draw(t, "expression")
		flags := rapid.SampledFrom([]any{nil, "g", "gi", "i", "m", "gm", "x"}).Draw(t, "flags")
		r := &jqRun{}
		r.meter.start(time.Minute, &env{})
		var got []string
		for _, testing := range []bool{false, true} {
			v := r.match(text, []any{expression, flags, testing})
			if err, ok := v.(error); ok {
				got = append(got, "error: "+err.Error())
				break
			}
			b, _ := gojq.Marshal(v)
			if testing {
				b = []byte("[" + string(b) + "]")
			}
			got = append(got, string(b))
		}
		if want := allOf(plain.Run(text, expression, flags)); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q of %q with %v gives\n%q, want\n%q", expression, text, flags, got, want)
		}
	})
}
