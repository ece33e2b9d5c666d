package transform

// Both ways of running a template give the same.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// bothWays runs a template on data as the gateway does, and by text/template alone on all of data. It reports false when the text
// is no template.
func bothWays(t interface{ Fatalf(string, ...any) }, source, data string) (quick, ok bool) {
	l := limits{output: 10_000, timeout: 10 * time.Second}
	made, err := templateEngine{}.compile(source, l)
	if err != nil {
		return false, false
	}
	p := made.(*templateProgram)
	slow := *p
	slow.quick = nil
	run := func(p *templateProgram, want *wanted) (string, error) {
		e := testEnv(data)
		e.want, e.present = want, time.Unix(1_790_000_000, 0).UTC()
		out, err := p.newRun().eval(context.Background(), e)
		return string(out.text), err
	}
	got, problem := run(p, p.want())
	want, reference := run(&slow, nil)
	switch {
	case (problem == nil) != (reference == nil), errors.Is(problem, errLimit) != errors.Is(reference, errLimit):
		t.Fatalf("%s\nof %s fails with %v, and in text/template with %v", source, data, problem, reference)
	case problem == nil && got != want:
		t.Fatalf("%s\nof %s\ngives %s,\nand in text/template %s", source, data, got, want)
	}
	return p.quick != nil, true
}

func TestQuickTemplates(t *testing.T) {
	slow := 0
	for _, c := range templateCases {
		quick, ok := bothWays(t, c.template, sampleData)
		if !ok {
			t.Errorf("%s is refused", c.template)
		}
		if !quick {
			slow++
			t.Logf("text/template runs %s", c.template)
		}
	}
	if slow > 1 { // a method of .time
		t.Errorf("text/template runs %d templates", slow)
	}
	for _, source := range []string{
		`{{$x := 1}}{{range .data.items}}{{$x = .sku}}{{end}}{{$x}}`,
		`{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}`,
		`{{$x := 1}}{{range $x = .data.items}}{{$x.sku}}{{end}}{{kind $x}}`,
		`{{$x := 1}}{{range $x = .data.nope}}{{else}}{{default "none" $x}}{{end}}`,
		`{{$i := 1}}{{$x := 1}}{{range $i, $x = .data.shipping.address}}{{$i}}{{$x}}{{end}}{{$i}}{{$x}}`,
		`{{range $i, $x := .data.items}}{{if eq $i 0}}{{continue}}{{end}}{{$x.sku}}{{break}}{{end}}`,
		`{{range .data.items}}{{range $.data.items}}{{break}}{{end}}{{.sku}}{{end}}`,
		`{{with $x := .data.customer}}{{$x.tier}}{{.tier}}{{$.type}}{{end}}`,
		`{{with .data.note}}{{.}}{{else with .data.test}}{{.}}{{else}}{{.type}}{{end}}`,
		`{{if $x := .data.nope}}{{else}}{{default "d" $x}}{{end}}`,
		`{{define "t"}}{{.}}{{$.}}{{end}}{{template "t" .data.amount}}{{template "t" "x"}}{{template "t"}}`,
		`{{define "t"}}{{if .}}{{slice . 1 | print}}{{template "t" (slice . 1)}}{{end}}{{end}}{{template "t" .type}}`,
		`{{define "t"}}{{$x := 1}}{{$x}}{{end}}{{$x := 2}}{{template "t"}}{{$x}}`,
		`{{range .data.items}}{{template "t" .}}{{end}}{{define "t"}}{{range $k, $v := .}}{{$k}}{{end}}{{end}}`,
		`{{"a" | printf "%s%s" "b" | printf "%s%s" "c"}}`,
		`{{(printf "%s" "x") | print "y"}}`,
		`{{and}}`, `{{and 1 0 2}}`, `{{or 0 "" .data.nope "x"}}`, `{{or .data.nope .data.note}}`, `{{1 | and 2}}`, `{{0 | or 0}}`,
		`{{1}} {{1.5}} {{'a'}} {{0x10}} {{1e3}} {{true}} {{"x"}} {{printf "%d" 'a'}} {{1i}}`,
		`{{18446744073709551615}}`, `{{9223372036854775807}}`, `{{-1}} {{+1}} {{1_000}} {{0b11}} {{0x1p4}} {{0xe}}`,
		`{{eq .data.nope nil}}`, `{{json nil}}`, `{{nil}}`, `{{default nil nil}}`, `{{default 1 nil}}`,
		`{{index .data "note" | json}}`, `{{(index .data "note") | default "x"}}`, `{{(index .data "customer").tier}}`,
		`{{(index .data "note").x}}`, `{{(.data).amount}}`, `{{.data.items.x}}`, `{{.type.x}}`, `{{.metadata.x}}`, `{{.metadata.tenant.x}}`,
		`{{.time.Year}}`, `{{(.time.UTC).Year}}`, `{{with .time}}{{.Year}}{{end}}`, `{{.time.x}}`, `{{range $t := .}}{{end}}`,
		`{{range .metadata}}{{.}}{{end}}`, `{{range $k, $v := .metadata}}{{$k}}={{$v}}{{end}}`, `{{range $k, $v := .}}{{$k}}{{end}}`,
		`{{.data.order_id 1}}`, `{{1 | .data.order_id}}`, `{{"x" 1}}`, `{{upper}}`, `{{upper 1}}`, `{{upper "a" "b"}}`, `{{.data.items | len | printf "%d"}}`,
		`{{println}}`, `{{println 1 "a"}}`, `{{print .data.note}}`, `{{html .data.nope}}`, `{{len nil}}`, `{{not .data.nope}}`,
		`{{break}}`, `{{range .data.items}}{{if true}}{{with .sku}}{{break}}{{end}}{{end}}x{{end}}`,
		`{{$x := .data.items}}{{range $x}}{{range $x}}{{.sku}}{{end}}{{end}}`,
		`{{template "x" .}}{{define "x"}}{{end}}`, `{{define "only"}}x{{end}}`, `{{block "b" .}}{{.type}}{{end}}`,
	} {
		bothWays(t, source, sampleData)
	}
}

// anyTemplate draws templates, most of which make sense.
func anyTemplate(t *rapid.T) string {
	names := []string{"a", "b", "c"}
	var operand func(depth int) string
	path := func() string {
		start := rapid.SampledFrom([]string{".data", ".data", "$.data", ".", "$x", ".data.a", ".metadata", ".type", ".time"}).Draw(t, "start")
		for range rapid.IntRange(0, 2).Draw(t, "length") {
			if start == "." {
				break
			}
			start += "." + rapid.SampledFrom(names).Draw(t, "name")
		}
		return start
	}
	function := func() string {
		return rapid.SampledFrom([]string{"json", "upper", "lower", "len", "kind", "not", "print", "default 1", `default "d"`, "eq 1", `eq "x"`, "ne 1",
			"lt 1", "ge 2", "index", "and 1", "or 0", `printf "%v"`, `printf "%d"`, `replace "a" "b"`, `split ","`, `join "-"`, "html", "sha256", "slice", "hash",
			`date "2006"`, `regexReplace "a*" "<$0>"`}).Draw(t, "function")
	}
	call := func(depth int) string { return function() + " " + operand(depth-1) }
	operand = func(depth int) string {
		switch k := rapid.IntRange(0, 9).Draw(t, "operand"); {
		case k < 6 || depth <= 0:
			return path()
		case k < 8:
			return rapid.SampledFrom([]string{`"a,b"`, "1", "0", "true", "2.5", "nil", `""`}).Draw(t, "constant")
		default:
			return "(" + call(depth) + ")"
		}
	}
	pipe := func() string {
		s := operand(2)
		if rapid.Bool().Draw(t, "call") {
			s = call(2)
		}
		for range rapid.IntRange(0, 2).Draw(t, "more") {
			s += " | " + function()
		}
		return s
	}
	var list func(depth int) string
	node := func(depth int) string {
		switch k := rapid.IntRange(0, 11).Draw(t, "node"); {
		case k < 4 || depth <= 0:
			return "{{" + pipe() + "}}"
		case k < 5:
			return "text"
		case k < 6:
			return "{{$x = " + pipe() + "}}"
		case k < 7:
			return "{{$x := " + pipe() + "}}"
		case k < 8:
			return "{{if " + pipe() + "}}" + list(depth-1) + "{{else}}" + list(depth-1) + "{{end}}"
		case k < 9:
			return "{{with " + pipe() + "}}" + list(depth-1) + "{{else}}" + list(depth-1) + "{{end}}"
		case k < 10:
			vars := rapid.SampledFrom([]string{"", "$x := ", "$i, $x := ", "$x = "}).Draw(t, "variables")
			exit := rapid.SampledFrom([]string{"", "", "{{break}}", "{{continue}}"}).Draw(t, "exit")
			return "{{range " + vars + pipe() + "}}" + list(depth-1) + exit + list(0) + "{{else}}" + list(depth-1) + "{{end}}"
		default:
			return `{{template "t" ` + pipe() + `}}`
		}
	}
	list = func(depth int) string {
		var b strings.Builder
		for range rapid.IntRange(0, 2).Draw(t, "nodes") {
			b.WriteString(node(depth))
		}
		return b.String()
	}
	return `{{define "t"}}{{$x := 1}}` + list(1) + "{{end}}{{$x := 1}}" + list(3)
}

// anyJSON draws data with the names that templates ask for.
func anyJSON(t *rapid.T, depth int) string {
	if depth == 0 || rapid.IntRange(0, 2).Draw(t, "scalar") == 0 {
		return rapid.SampledFrom([]string{`"x"`, `"a,b"`, `""`, "1", "0", "-0", "2.5", "1e400", "123456789012345678901234567890", "true", "false", "null",
			`"\u00e9\n"`}).Draw(t, "value")
	}
	var parts []string
	if rapid.Bool().Draw(t, "list") {
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			parts = append(parts, anyJSON(t, depth-1))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	for _, name := range []string{"a", "b", "c"} {
		if rapid.Bool().Draw(t, "there") {
			parts = append(parts, `"`+name+`":`+anyJSON(t, depth-1))
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestAnyTemplate(t *testing.T) {
	compiled := 0
	rapid.Check(t, func(t *rapid.T) {
		if _, ok := bothWays(t, anyTemplate(t), anyJSON(t, 3)); ok {
			compiled++
		}
	})
	if compiled < 20 {
		t.Errorf("only %d templates were templates", compiled)
	}
}

// FuzzTemplate looks for templates, or data, that only one of the two ways can run.
func FuzzTemplate(f *testing.F) {
	for _, c := range templateCases {
		f.Add(c.template, sampleData)
	}
	f.Add(templateShape, `{"items":[{"sku":1e400},null,{}],"amount":-0}`)
	f.Fuzz(func(t *testing.T, source, data string) {
		bothWays(t, source, data)
	})
}
