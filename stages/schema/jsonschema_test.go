package schema

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

// compileText compiles a schema whose references are those of the memory.
func compileText(t testing.TB, language Type, definition string, m *memory, references ...Reference) *compiled {
	t.Helper()
	c, err := tryCompile(t, language, definition, m, references...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryCompile(t testing.TB, language Type, definition string, m *memory, references ...Reference) (*compiled, error) {
	t.Helper()
	root := Text{Subject: "events-value", Version: 1, ID: 1, Type: language, Definition: definition, References: references}
	b, err := gather(t.Context(), m, root)
	if err != nil {
		return nil, err
	}
	return compile(b, false)
}

// checked holds data against a schema and returns what is wrong with it.
func checked(c *compiled, ev *stages.Event) *stages.Detail {
	c.check(ev)
	return ev.Verdict.Detail
}

func TestJSONSchemaViolations(t *testing.T) {
	c := compileText(t, JSON, `{"type":"object","required":["id","lines"],"additionalProperties":false,"properties":{
		"id":{"type":"integer","minimum":1},
		"state":{"enum":["new","paid"]},
		"code":{"type":"string","pattern":"^[A-Z]{3}$","maxLength":3},
		"when":{"type":"string","format":"date-time"},
		"lines":{"type":"array","minItems":1,"items":{"type":"object","required":["sku"],"properties":{"price/net":{"type":"number","multipleOf":0.01}}}},
		"to":{"anyOf":[{"type":"null"},{"type":"object"}]}}}`, newMemory())
	for _, good := range []string{
		`{"id":1,"lines":[{"sku":"a"}]}`,
		` {"id": 9007199254740993, "lines":[{"sku":"a","price/net":0.07}], "to":null} `,
		`{"id":"x","id":2,"lines":[{"sku":1}]}`, // of members of one name, the last counts
		`{"id":1.0e3,"lines":[{"sku":"a"}],"state":"new","code":"ABC","when":"2026-01-01T00:00:00Z"}`,
	} {
		if d := checked(c, event(good)); d != nil {
			t.Errorf("%s: %+v", good, d)
		}
	}
	for _, bad := range []struct {
		data string
		want []stages.Violation
	}{
		{`{"lines":[{"sku":"a"}]}`, []stages.Violation{{Field: "data", Message: `lacks "id"`}}},
		{`{"id":0.5,"lines":[]}`, []stages.Violation{
			{Field: "data/id", Message: "is of type number; integer was expected"},
			{Field: "data/lines", Message: "has 0 items; at least 1 were expected"}}},
		{`{"id":0,"lines":[{"sku":"a"},{"price/net":0.001}]}`, []stages.Violation{
			{Field: "data/id", Message: "is 0; at least 1 was expected"},
			{Field: "data/lines/1", Message: `lacks "sku"`},
			{Field: "data/lines/1/price~1net", Message: "is 0.001; a multiple of 0.01 was expected"}}},
		{`{"id":1,"lines":[{"sku":"a"}],"state":"old","code":"abcd","when":"today","extra":1}`, []stages.Violation{
			{Field: "data", Message: `has "extra", which the schema does not have`},
			{Field: "data/code", Message: `has 4 characters; at most 3 were expected`},
			{Field: "data/code", Message: `is "abcd", which does not match the pattern "^[A-Z]{3}$"`},
			{Field: "data/state", Message: `is "old"; one of "new", "paid" was expected`},
			{Field: "data/when", Message: `is "today", which is not a valid date-time`}}},
		{`{"id":1,"lines":[{"sku":"a"}],"to":7}`, []stages.Violation{
			{Field: "data/to", Message: "is of type number; null was expected"},
			{Field: "data/to", Message: "is of type number; object was expected"},
			{Field: "data/to", Message: "matches none of the alternatives (anyOf)"}}},
		{`[]`, []stages.Violation{{Field: "data", Message: "is of type array; object was expected"}}},
		{``, []stages.Violation{{Field: "data", Message: "is empty; JSON was expected"}}},
		{`{"id":1`, []stages.Violation{{Field: "data", Message: "is not JSON: it ends in the middle, after 7 bytes"}}},
		{`{"id":1,"code":"\ud800"}`, []stages.Violation{{Field: "data", Message: "is not JSON: invalid surrogate pair `\\ud800\"}` in string, at byte 16"}}},
		{`{"id":1}}`, []stages.Violation{{Field: "data", Message: "is not JSON: something follows the value at byte 8"}}},
		{`{"id":'1'}`, []stages.Violation{{Field: "data", Message: `is not JSON: invalid character '\'' at start of value, at byte 6`}}},
		{"\"\xff\"", []stages.Violation{{Field: "data", Message: "is not JSON: invalid UTF-8, at byte 1"}}},
	} {
		d := checked(c, event(bad.data))
		if d == nil {
			t.Errorf("%s matches", bad.data)
			continue
		}
		if !reflect.DeepEqual(d.Violations, bad.want) {
			t.Errorf("%s: %+v\nwant %+v", bad.data, d.Violations, bad.want)
		}
		if d.Field != bad.want[0].Field || d.Message != bad.want[0].Message {
			t.Errorf("%s: detail %s %s is not the first violation", bad.data, d.Field, d.Message)
		}
	}
}

// TestViolationsAreBounded: at most MaxViolations, each short, valid UTF-8, and the same every time.
func TestViolationsAreBounded(t *testing.T) {
	skipUnderRace(t)
	c := compileText(t, JSON, `{"additionalProperties":{"type":"integer"}}`, newMemory())
	var b strings.Builder
	for i := range 100 {
		fmt.Fprintf(&b, `,"%02d%s":"%s"`, i, strings.Repeat("\u00e4", 400), strings.Repeat("\u00e4", 4000))
	}
	data := "{" + b.String()[1:] + "}"
	first := checked(c, event(data))
	for range 20 {
		d := checked(c, event(data))
		if !reflect.DeepEqual(d, first) {
			t.Fatal("the same data gets another answer")
		}
	}
	if len(first.Violations) != stages.MaxViolations {
		t.Fatalf("%d violations", len(first.Violations))
	}
	for _, v := range first.Violations {
		if len(v.Field) > maxFieldBytes+10 || len(v.Message) > maxMessage+10 || strings.ToValidUTF8(v.Field+v.Message, "") != v.Field+v.Message {
			t.Fatalf("violation %+v", v)
		}
	}
}

// TestJSONSchemaReferences: names are relative to what refers to them, as $ref is, whatever $id a text gives
// itself; an import of an import needs no word in the first.
func TestJSONSchemaReferences(t *testing.T) {
	m := newMemory()
	m.add("country", JSON, `{"type":"string","minLength":2}`)
	m.add("address", JSON, `{"$id":"https://schemas.example.org/parts/address.json","properties":{"country":{"$ref":"country.json"}}}`,
		Reference{"country.json", "country", 1})
	m.add("customer", JSON, `{"properties":{"address":{"$ref":"https://schemas.example.org/parts/address.json"}}}`,
		Reference{"https://schemas.example.org/parts/address.json", "address", 1})
	for _, root := range []string{
		`{"$id":"https://schemas.example.org/order.json","properties":{"to":{"$ref":"customer.json"},"from":{"$ref":"parts/address.json"}}}`,
		`{"properties":{"to":{"$ref":"customer.json"},"from":{"$ref":"parts/address.json"}}}`,
	} {
		c := compileText(t, JSON, root, m, Reference{"customer.json", "customer", 1}, Reference{"parts/address.json", "address", 1})
		if d := checked(c, event(`{"to":{"address":{"country":"se"}},"from":{"country":"se"}}`)); d != nil {
			t.Errorf("%+v", d)
		}
		for data, field := range map[string]string{
			`{"to":{"address":{"country":"s"}}}`: "data/to/address/country",
			`{"from":{"country":"s"}}`:           "data/from/country",
		} {
			if d := checked(c, event(data)); d == nil || d.Field != field {
				t.Errorf("%s: %+v, want a violation of %s", data, d, field)
			}
		}
	}
}

// TestReferencesOfATextWithItsOwnID: what a text imports is relative to the $id that it gives itself, not to the
// name that it was imported by.
func TestReferencesOfATextWithItsOwnID(t *testing.T) {
	m := newMemory()
	m.add("country", JSON, `{"type":"string","minLength":2}`)
	m.add("address", JSON, `{"$id":"https://schemas.example.org/parts/address.json","properties":{"country":{"$ref":"country.json"}}}`,
		Reference{"country.json", "country", 1})
	c := compileText(t, JSON, `{"properties":{"from":{"$ref":"elsewhere.json"}}}`, m, Reference{"elsewhere.json", "address", 1})
	if d := checked(c, event(`{"from":{"country":"s"}}`)); d == nil || d.Field != "data/from/country" {
		t.Errorf("%+v", d)
	}
}

// TestNothingElseIsLoaded: no file, no URL, no other subject of the registry.
func TestNothingElseIsLoaded(t *testing.T) {
	m := newMemory()
	m.add("other", JSON, `{}`)
	for _, ref := range []string{"file:///etc/passwd", "http://127.0.0.1:1/x", "https://example.org/x.json", "other", "/etc/passwd", "../other"} {
		for _, definition := range []string{`{"$ref":"` + ref + `"}`, `{"$schema":"` + ref + `","type":"string"}`} {
			if _, err := tryCompile(t, JSON, definition, m); err == nil {
				t.Errorf("%s was compiled", definition)
			}
		}
	}
	if n := m.asked(); n != 0 {
		t.Fatalf("the registry was asked %d times", n)
	}
}

// TestDefaultDraft: without $schema it is draft 7, where items may be an array and formats are held to.
func TestDefaultDraft(t *testing.T) {
	c := compileText(t, JSON, `{"items":[{"type":"string","format":"uuid"}],"additionalItems":false}`, newMemory())
	if d := checked(c, event(`["x"]`)); d == nil || d.Field != "data/0" {
		t.Errorf("%+v", d)
	}
	c = compileText(t, JSON, `{"$schema":"https://json-schema.org/draft/2020-12/schema","prefixItems":[{"type":"string"}],"items":false}`, newMemory())
	if d := checked(c, event(`["x",1]`)); d == nil || d.Field != "data/1" {
		t.Errorf("%+v", d)
	}
}
