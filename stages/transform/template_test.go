package transform

// Templates: what they see, what they print, and what they may take.

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// templateCases are templates and what they make of the sample; want begins with "! " for what an error has.
var templateCases = []struct{ template, want string }{
	{`plain`, `plain`},
	{``, ``},
	{`{{.id}} {{.source}} {{.type}} {{.subject}} {{.data_content_type}} {{.partition_key}} {{.gateway}} {{.client}}`,
		`018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55 /shop/checkout order.created order/4711 application/json customer-42 gateway-1 192.0.2.7`},
	{`{{.time}} {{.time.Format "2006"}} {{date "02 Jan 2006" .time}}`, `2026-09-18T10:11:07.123Z 2026 18 Sep 2026`},
	{`{{lt .time .now}}`, `true`},
	{`{{.metadata.tenant}} {{json .metadata}}`, `acme {"tenant":"acme","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}`},
	{`{{.data.order_id}}|{{.data.amount}}|{{.data.test}}|{{.data.note}}|{{.data.shipping.address}}`,
		`ord-20260918-004711|129.95|false|null|{"city":"Springfield","zip":"12345","country":"US"}`},
	{`{"id":{{json .data.order_id}},"items":{{json .data.items}},"by":{{.client | upper | json}},"note":{{json .data.note}}}`,
		`{"id":"ord-20260918-004711","items":[{"sku":"A-1001","name":"Coffee grinder","quantity":1,"price":89.95},` +
			`{"sku":"B-2002","name":"Beans \"dark\", 1 kg","quantity":2,"price":20.00}],"by":"192.0.2.7","note":null}`},
	{`{{range .data.items}}{{.sku}}={{.price}};{{end}}`, `A-1001=89.95;B-2002=20;`},
	{`{{range $i, $x := .data.items}}{{if $i}}, {{end}}{{$x.sku}}{{end}}`, `A-1001, B-2002`},
	{`{{range $k, $v := .data.shipping.address}}{{$k}}={{$v}};{{end}}`, `city=Springfield;country=US;zip=12345;`},
	{`{{range .data.nope}}x{{else}}none{{end}}{{range .data.note}}x{{else}}none{{end}}`, `nonenone`},
	{`{{range .data.items}}{{$.id}}{{break}}{{end}}`, `018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55`},
	{`{{with .data.customer}}{{.tier}}{{else}}none{{end}}{{with .data.nope}}x{{else}}none{{end}}`, `goldnone`},
	{`{{if .data.test}}test{{else if eq .data.currency "EUR" "USD"}}money{{else}}else{{end}}`, `money`},
	{`{{if and .data.amount (gt .data.amount 100) (not .data.note)}}yes{{end}}`, `yes`},
	{`{{if or .data.nope .data.note}}yes{{else}}no{{end}}`, `no`},
	{`{{if or .data.note .data.test}}yes{{else}}no{{end}}`, `no`},
	{`{{$n := len .data.items}}{{$n}} {{printf "%03d %.2f %s %q %v" $n .data.amount "a" .data.currency .data.customer.tier}}`, `2 002 129.95 a "EUR" gold`},
	{`{{printf "%.2f %d %v %s%%" 1 2.0 .data.amount .data.items}}`, `1.00 2 129.95 [{"sku":"A-1001","name":"Coffee grinder","quantity":1,"price":89.95},` +
		`{"sku":"B-2002","name":"Beans \"dark\", 1 kg","quantity":2,"price":20.00}]%`},
	{`{{printf "%d" 1 2}}`, `! the format has 1 verbs for 2 values`},
	{`{{printf "%[1]d" 1}}`, `! the format has %[`},
	{`{{printf "%*d" 1 2}}`, `! the format has %*`},
	{`{{printf "%"}}`, `! ends within a verb`},
	{`{{default "x" .data.nope}} {{default "x" .data.nope.deeper}} {{default "x" .data.note}} {{.data.nope | default "x"}} {{default 1 0}}`, `x x x x 0`},
	{`{{.data.nope}}`, `! 1:2: <.data.nope>: there is no such value`},
	{`{{json .data.nope}}`, `! there is no such value`},
	{`{{.data.nope | upper}}`, `! there is no such value`},
	{`{{upper .data.note}}`, `! value 1 is null; a string is wanted`},
	{`{{.data.note.x}}`, `! null has no x`},
	{`{{.data.order_id.x}}`, `! a string has no x`},
	{`{{.data.note | json}}`, `null`},
	{`{{lower "ÄB"}} {{upper "äb"}} {{trim " a "}} {{replace "a" "b" "aXa"}} {{join "," (split "." .type)}} {{hash "a"}}`, `äb ÄB a bXb order,created 584102524`},
	{`{{sha256 "abc"}}`, `ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad`},
	{`{{b64enc "abc"}} {{b64dec "YWJj"}}`, `YWJj abc`},
	{`{{b64dec "?"}}`, `! illegal base64`},
	{`{{regexReplace "(.)(.*)@" "$1***@" .data.customer.email}}`, `j***@example.org`},
	{`{{regexReplace .data.currency "x" "EURO"}}`, `xO`},
	{`{{html "<a>"}} {{js "'"}} {{urlquery "a b" "&"}} {{print 1 "a" true}} {{println 1 2}}`, "&lt;a&gt; \\' a+b%26 1atrue 1 2 \n"},
	{`{{index .data.items 1 "sku"}} {{index .data "a-b" | default "none"}} {{index .metadata "tenant"}} {{slice .type 0 5}} {{len .type}}`, `B-2002 none acme order 13`},
	{`{{index .data.items 2}}`, `! an array of 2 items has no item 2`},
	{`{{kind .data}} {{kind .data.amount}} {{kind .data.note}}`, `object number null`},
	{`{{eq .data.amount 129.95}} {{eq 1 1.0}} {{ne .data.nope "x"}} {{eq .data.nope .data.note}} {{lt 1 1.5}} {{ge "b" "a"}}`, `true true true true true true`},
	{`{{define "one"}}[{{.sku}}]{{end}}{{range .data.items}}{{template "one" .}}{{end}}`, `[A-1001][B-2002]`},
	{`{{define "t"}}{{.id}}{{end}}{{template "t" .}}`, `018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55`},
	{`{{block "b" .data}}{{.currency}}{{end}}`, `EUR`},
	{`{{range .data.amount}}x{{end}}`, `! range is over a number`},
	{`{{range 1000000000000}}{{end}}`, `! range is over a number`},
	{`{{range .id}}x{{end}}`, `! range is over a string`},
	{`{{ $x := .data.note }}{{ $x }}`, `! there is no such value`},
	{`{{- /* nothing */ -}} {{ "a" -}} b`, `ab`},
	{`{{json .data.customer.email}}{{json "<&>"}}{{json 1.0}}{{json .time}}`, `"jane.doe@example.org""<&>"1"2026-09-18T10:11:07.123Z"`},
	{`{{(index .data.items 0).sku}}`, `A-1001`},
	{`{{call .data.items}}`, `! there is nothing to call`},
	{`{{json .metadata}}{{len .}}`, `{"tenant":"acme","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}12`},
}

func TestTemplates(t *testing.T) {
	for _, c := range templateCases {
		out, err := evalWith(t, templateEngine{}, c.template, testEnv(sampleData), testLimits)
		wanted, fails := strings.CutPrefix(c.want, "! ")
		switch {
		case fails && (err == nil || !strings.Contains(err.Error(), wanted) || errors.Is(err, errLimit)):
			t.Errorf("%s: %v (%s), want %s", c.template, err, out.text, wanted)
		case !fails && err != nil:
			t.Errorf("%s: %v", c.template, err)
		case !fails && (string(out.text) != c.want || !out.isText):
			t.Errorf("%s\ngives %s\nwant  %s", c.template, out.text, c.want)
		}
	}
}

func TestTemplateRefuses(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{`{{.data`, `1: unclosed action`},
		{"\n{{nope 1}}", `2: function "nope" not defined`},
		{`{{.typ}}`, `1:2: <.typ>: events have no typ, only`},
		{`{{$.typ}}`, `events have no typ`},
		{`{{regexReplace "(" "" .id}}`, `1:2: <regexReplace "(" "" .id>: error parsing regexp`},
		{`{{template "nope"}}`, `1:11: <{{template "nope"}}>: there is no template "nope"`},
		{`{{_print 1}}`, `function "_print" not defined`},
		{strings.Repeat("{{.id}}", maxSource), `bytes`},
		{strings.Repeat("{{if 1}}", 500) + strings.Repeat("{{end}}", 500), `bytes`},
	} {
		_, err := templateEngine{}.compile(c.template, testLimits)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), templateName) {
			t.Errorf("%.40s: %v, want %s", c.template, err, c.want)
		}
	}
}

func TestTemplateLimits(t *testing.T) {
	skipUnderRace(t)
	long := strings.Repeat("aaaaaaaaaa", 40_000)
	many := `{"n":[` + numbered(60_000) + `""],"text":"` + long + `","few":"` + strings.Repeat("b", 1000) + `","number":1000000000000}`
	doubled := `{{$x := .data.text}}` + strings.Repeat(`{{$x = print $x $x}}`, 60) + `x`
	for name, source := range map[string]string{
		"itself":                         `{{define "x"}}{{template "x" .}}{{end}}{{template "x" .}}`,
		"itself twice":                   `{{define "x"}}{{template "x" .}}{{template "x" .}}{{end}}{{template "x" .}}`,
		"each other":                     `{{define "x"}}{{template "y" .}}{{end}}{{define "y"}}a{{template "x" .}}{{end}}{{template "x" .}}`,
		"templates that call many":       chain(60),
		"loops that write nothing":       `{{range .data.n}}{{range $.data.n}}{{range $.data.n}}{{end}}{{end}}{{end}}`,
		"loops with variables":           `{{range $i, $x := .data.n}}{{range $j, $y := $.data.n}}{{$z := $j}}{{end}}{{end}}`,
		"loops that write":               `{{range .data.n}}{{range $.data.n}}aaaaaaaaaa{{end}}{{end}}`,
		"loops that count":               `{{range .data.n}}{{range $.data.n}}{{if eq (len $.data.n) 5}}x{{end}}{{end}}{{end}}`,
		"output":                         `{{.data.text}}{{.data.text}}{{.data.text}}`,
		"output as JSON":                 `{{json .data}}{{json .data}}`,
		"widths":                         strings.Repeat(`{{$x := printf "%1000000d%1000000d%1000000d" 1 1 1}}`, 60),
		"a width":                        `{{printf "%10000000000d" 1}}`,
		"precision":                      strings.Repeat(`{{$x := printf "%.1000000f%.1000000f" 1.5 1.5}}`, 60),
		"doubled string":                 doubled,
		"doubled with html":              strings.ReplaceAll(doubled, "print", "html"),
		"doubled with printf":            strings.ReplaceAll(doubled, "print $x $x", `printf "%s%s" $x $x`),
		"JSON of JSON of JSON":           `{{$x := "\\"}}` + strings.Repeat(`{{$x = json $x}}`, 60),
		"replace nothing by much":        `{{replace "" .data.text .data.text}}`,
		"join":                           `{{join .data.text .data.n}}`,
		"split again and again":          `{{range .data.n}}{{$x := split "" $.data.text}}{{end}}`,
		"upper again and again":          `{{range .data.n}}{{$x := upper $.data.text}}{{end}}`,
		"a pattern over much":            `{{regexReplace (slice .data.text 0 900) "" .data.text}}`,
		"matches of nothing":             `{{regexReplace "" "x" .data.text}}`,
		"a match that becomes much":      `{{regexReplace "a" .data.text .data.text}}`,
		"a pattern of many steps":        `{{regexReplace "a{100}" .data.text .data.text}}`,
		"few matches that become much":   `{{regexReplace "b" .data.text .data.few}}`,
		"a pattern again and again":      `{{range .data.n}}{{$x := regexReplace "a+b" "" $.data.text}}{{end}}`,
		"a pattern of the event's data":  `{{range .data.n}}{{$x := regexReplace (printf "%s(a{20}){20}" .) "" $.id}}{{end}}`,
		"JSON of all of it in variables": `{{range .data.n}}{{$x := json $.data.n}}{{end}}`,
		"matches that look to the end":   `{{$x := regexReplace "(a*b)?" "" .data.text}}`,
		"the same, with groups":          `{{$x := regexReplace "(a*b)?" "$1" .data.text}}`,
		"split":                          `{{$x := split "" (print .data.text .data.text .data.text)}}`,
		"a layout":                       `{{range .data.n}}{{$x := date $.data.text $.time}}{{end}}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := testEnv(many)
			mustRunAway(t, templateEngine{}, source, e, templateReasons[name])
			if out, err := evalWith(t, templateEngine{}, `{{len .data.n}}`, e, testLimits); err != nil || string(out.text) != "60001" {
				t.Errorf("the next one: %s, %v", out.text, err)
			}
		})
	}
}

// templateReasons are what ends some of them: without it, another limit would, later.
var templateReasons = map[string]string{
	"itself":                       "nest deeper than 100 levels",
	"itself twice":                 "nest deeper than 100 levels",
	"each other":                   "nest deeper than 100 levels",
	"output":                       "more than the 1048576 bytes",
	"a width":                      "a width or a precision of more than 1000",
	"JSON of JSON of JSON":         "JSON of a string of",
	"replace nothing by much":      "more than 64 MiB",
	"join":                         "more than 64 MiB",
	"a pattern of many steps":      "more than the time for an event",
	"matches that look to the end": "TRANSFORM_TIMEOUT",
	"the same, with groups":        "TRANSFORM_TIMEOUT",
	"split":                        "one call would take more than the time",
	"matches of nothing":           "more than 100000 matches",
}

// Only templates that call each other nest; one after the other, any number goes.
func TestTemplatesOneAfterTheOther(t *testing.T) {
	const source = `{{define "t"}}{{.}}{{end}}{{range .data}}{{template "t" .}}{{end}}`
	for _, quick := range []bool{true, false} {
		made, err := templateEngine{}.compile(source, testLimits)
		if err != nil {
			t.Fatal(err)
		}
		p := made.(*templateProgram)
		if !quick {
			p.quick = nil
		}
		out, err := p.newRun().eval(context.Background(), testEnv("["+strings.Repeat("1,", 999)+"1]"))
		if err != nil || len(out.text) != 1000 {
			t.Errorf("quick is %t: %v, %d bytes", quick, err, len(out.text))
		}
	}
}

// chain is templates of which each calls the next twice.
func chain(n int) string {
	var b strings.Builder
	name := func(i int) string { return string(rune('A'+i/26)) + string(rune('a'+i%26)) }
	for i := range n {
		b.WriteString(`{{define "` + name(i) + `"}}{{template "` + name(i+1) + `"}}{{template "` + name(i+1) + `"}}{{end}}`)
	}
	return b.String() + `{{define "` + name(n) + `"}}{{end}}{{template "` + name(0) + `"}}`
}

func TestWantedByTemplates(t *testing.T) {
	for source, want := range map[string]string{
		"x": "[]", "{{.type}}": "[]", "{{.data}}": "*", "{{.data.a}}": "[a:*]", "{{.data.a.b}}{{$.data.a.c}}": "[a:[b:* c:*]]",
		"{{range .data.items}}{{.sku}}{{$.data.b}}{{end}}": "[b:* items:*]", "{{with .data}}{{.a}}{{end}}": "*", "{{json .}}": "*", "{{range .data.a}}{{.}}{{end}}": "*",
		`{{index .data "a"}}`: "*", "{{$x := .data.a}}{{$x.b}}": "[a:*]", `{{(index .data.a 0).b}}`: "[a:*]", `{{define "t"}}{{.data.b}}{{end}}{{template "t" $}}`: "*",
		"{{if .data.a}}{{else if eq .data.b 1}}{{end}}": "[a:* b:*]", "{{upper (.data.a | default .data.b.c)}}": "[a:* b:[c:*]]",
	} {
		p, err := templateEngine{}.compile(source, testLimits)
		if err != nil {
			t.Errorf("%s: %v", source, err)
		} else if got := p.(*templateProgram).want().String(); got != want {
			t.Errorf("%s wants %s, want %s", source, got, want)
		}
	}
}
