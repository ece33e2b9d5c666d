package schema

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/twmb/avro"
)

const avroOrder = `{"type":"record","name":"Order","namespace":"org.example","fields":[
	{"name":"id","type":"long"},
	{"name":"note","type":["null","string"],"default":null},
	{"name":"to","type":{"type":"record","name":"Address","fields":[{"name":"zip","type":"string"},{"name":"state","type":{"type":"enum","name":"State","symbols":["NEW","PAID"]}}]}},
	{"name":"lines","type":{"type":"array","items":"int"}}]}`

// avroData is an order in Avro's binary encoding.
func avroData(t testing.TB) []byte {
	t.Helper()
	b, err := avro.MustParse(avroOrder).Encode(map[string]any{"id": int64(4711), "note": "x",
		"to": map[string]any{"zip": "12345", "state": "PAID"}, "lines": []any{1, 2, 3}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAvro(t *testing.T) {
	c := compileText(t, Avro, avroOrder, newMemory())
	data := string(avroData(t))
	if d := checked(c, event(data)); d != nil {
		t.Fatalf("%+v", d)
	}
	if d := checked(c, typed("avro/binary", data)); d != nil {
		t.Fatalf("%+v", d)
	}
	for name, c2 := range map[string]struct{ data, field, message string }{
		"empty":          {"", "data/id", "ends in the middle"},
		"cut":            {data[:len(data)-1], "data/lines", "ends in the middle"},
		"longer":         {data + "x", "data", "longer than its schema says"},
		"union's branch": {"\xce\x49\x06", "data/note", "union"},
		"enum's symbol":  {"\xce\x49\x00\x0212345"[:3] + "\x0a12345\x08\x00", "data/to/state", "enum"},
		"JSON":           {`{"id":4711}`, "data/note", ""},
		"huge string":    {"\xce\x49\x00\xfe\xff\xff\xff\x0f", "data/to/zip", ""},
		"huge array":     {"\xce\x49\x00\x0a12345\x00" + string(binary.AppendVarint(nil, 1<<40)), "data/lines/0", "ends in the middle"},
	} {
		d := checked(c, event(c2.data))
		if d == nil || d.Field != c2.field || !strings.Contains(d.Message, c2.message) {
			t.Errorf("%s: %+v, want %s: %s", name, d, c2.field, c2.message)
		}
	}
}

func TestAvroJSON(t *testing.T) {
	c := compileText(t, Avro, avroOrder, newMemory())
	for _, good := range []string{
		`{"id":4711,"note":null,"to":{"zip":"12345","state":"NEW"},"lines":[1]}`,
		` {"id":4711,"note":{"string":"x"},"to":{"zip":"12345","state":"NEW"},"lines":[]} `,
		`{"id":4711,"note":{"string":"\\\"` + strings.Repeat("[", 2*maxDepth) + `\\"},"to":{"zip":"1e9999","state":"NEW"},"lines":[]}`,
	} {
		if d := checked(c, typed("application/json; charset=utf-8", good)); d != nil {
			t.Errorf("%s: %+v", good, d)
		}
	}
	for bad, field := range map[string]string{
		`{"id":"x","note":null,"to":{"zip":"12345","state":"NEW"},"lines":[1]}`:  "data/id",
		`{"id":1,"note":null,"to":{"zip":"12345","state":"OLD"},"lines":[1]}`:    "data/to/state",
		`{"id":1,"note":null,"to":{"zip":"12345","state":"NEW"},"lines":[1.5]}`:  "data/lines",
		`{"id":1,"note":null,"to":{"zip":"12345","state":"NEW"}}`:                "data",
		`{"id":1,"note":null,"to":{"zip":"12345","state":"NEW"},"lines":[]} {}`:  "data",
		`{"id":1,"note":null,"to":{"zip":"12345","state":"NEW"},"lines":[]`:      "data",
		`{"id":1e401,"note":null,"to":{"zip":"12345","state":"NEW"},"lines":[]}`: "data",
		strings.Repeat("[", maxDepth+1):                                          "data",
		`[` + strings.Repeat("1,", maxValues) + `1]`:                             "data",
		`nonsense`: "data",
		``:         "data",
	} {
		if d := checked(c, typed("application/json", bad)); d == nil || d.Field != field {
			t.Errorf("%.100s: %+v, want a violation of %s", bad, d, field)
		}
	}
}

// TestAvroReferences: a type that another subject defines, used twice and by a third.
func TestAvroReferences(t *testing.T) {
	m := newMemory()
	m.add("zip", Avro, `{"type":"fixed","name":"Zip","namespace":"org.example","size":5}`)
	m.add("address", Avro, `{"type":"record","name":"Address","namespace":"org.example","fields":[{"name":"zip","type":"Zip"}]}`,
		Reference{"org.example.Zip", "zip", 1})
	c := compileText(t, Avro, `{"type":"record","name":"Order","namespace":"org.example","fields":[{"name":"to","type":"Address"},{"name":"zip","type":"Zip"}]}`,
		m, Reference{"org.example.Address", "address", 1}, Reference{"org.example.Zip", "zip", 1})
	if d := checked(c, event("1234512345")); d != nil {
		t.Fatalf("%+v", d)
	}
	if d := checked(c, event("1234512")); d == nil || d.Field != "data/zip" {
		t.Fatalf("%+v", d)
	}
}

// everything is a schema of all kinds of types, and one that is recursive.
const everything = `{"type":"record","name":"E","namespace":"x","fields":[
	{"name":"a","type":"null"},{"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},
	{"name":"f","type":"float"},{"name":"d","type":"double"},{"name":"s","type":"string"},{"name":"y","type":"bytes"},
	{"name":"x","type":{"type":"fixed","name":"F","size":3}},{"name":"e","type":{"type":"enum","name":"G","symbols":["A","B"]}},
	{"name":"m","type":{"type":"map","values":"F"}},{"name":"n","type":{"type":"array","items":["null","E","x.F"]}},
	{"name":"t","type":{"type":"long","logicalType":"timestamp-millis"}}]}`

// TestAvroData: violations of binary data, by kind of type, and where they are.
func TestAvroData(t *testing.T) {
	skipUnderRace(t)
	array := func(items string) string { return `{"type":"array","items":` + items + `}` }
	for _, c := range []struct{ schema, data, field, message string }{
		{`"boolean"`, "\x02", "data", "is 2; a boolean is 0 or 1, at byte 0"},
		{`"boolean"`, "", "data", "ends in the middle of a boolean, at byte 0"},
		{`"int"`, "\xff\xff\xff\xff\x0f", "", ""},
		{`"int"`, "\x80\x80\x80\x80\x10", "data", "has a number of more than 32 bits, at byte 4"},
		{`"int"`, "\x80\x80\x80\x80\x80\x00", "data", "has a number of more than 32 bits, at byte 4"},
		{`"long"`, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "", ""},
		{`"long"`, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "data", "has a number of more than 64 bits, at byte 9"},
		{`"float"`, "abc", "data", "ends in the middle of a float, at byte 3"},
		{`"double"`, "12345678", "", ""},
		{`"string"`, "\x02\xff", "data", "is not valid UTF-8, at byte 1"},
		{`"bytes"`, "\x02\xff", "", ""},
		{`"bytes"`, "\x01", "data", "says that its bytes has -1 bytes, of which 0 are there, at byte 1"},
		{`["null","int"]`, "\x04", "data", "has the union's branch 2; 0 to 1 were expected, at byte 1"},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, "\x04", "data", `has the symbol 2 of enum "E"; 0 to 1 were expected, at byte 1`},
		{`["null","int"]`, "\x01", "data", "has the union's branch -1; 0 to 1 were expected, at byte 1"},
		{`{"type":"enum","name":"E","symbols":["A","B"]}`, "\x01", "data", `has the symbol -1 of enum "E"; 0 to 1 were expected, at byte 1`},
		{array(`"null"`), "\x01\x01\x00", "data", "has a block of -1 items in -1 bytes, with 1 left, at byte 2"},
		{array(`"null"`), string(binary.AppendVarint(nil, math.MinInt64)) + "\x00", "data", "has a block of -9223372036854775808 items in 0 bytes, with 0 left, at byte 11"},
		{`{"type":"fixed","name":"F","size":2}`, "a", "data", `ends in the middle of a fixed "F", at byte 1`},
		{array(`"int"`), "\x03\x04\x02\x02\x00", "", ""},
		{array(`"int"`), "\x03\x02\x02\x02\x00", "data", "has a block that says it ends at byte 3, not here, at byte 4"},
		{array(`"int"`), "\x03\x14\x02\x02\x00", "data", "has a block of -2 items in 10 bytes, with 3 left, at byte 2"},
		{array(array(`"boolean"`)), "\x04\x00\x02\x03\x00\x00", "data/1/0", "is 3; a boolean is 0 or 1, at byte 3"},
		{`{"type":"map","values":"boolean"}`, "\x02\x06a/~\x05\x00", "data/a~1~0", "is 5; a boolean is 0 or 1, at byte 5"},
		{array(`"null"`), string(binary.AppendVarint(nil, 1<<40)), "data/1999999", "has more than 2000000 values"},
		{array(`{"type":"record","name":"R","fields":[{"name":"z","type":"boolean"},` + many(1000, ",", func(i int) string {
			return fmt.Sprintf(`{"name":"f%d","type":"null"}`, i)
		}) + `]}`), string(binary.AppendVarint(nil, 900_000)) + strings.Repeat("\x01", 900_000), "data/1996/f5", "has more than 2000000 values"},
		{`{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}`, strings.Repeat("\x02", 499) + "\x00", "", ""},
		{`{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}`, strings.Repeat("\x02", 501) + "\x00", "data/next", "is nested deeper than 1000 levels"},
		{array(`{"type":"record","name":"R","fields":[{"name":"z","type":"boolean"}]}`),
			string(binary.AppendVarint(nil, 900_000)) + strings.Repeat("\x01", 900_000) + "\x00", "", ""},
	} {
		d := checked(compileText(t, Avro, c.schema, newMemory()), event(c.data))
		switch {
		case c.message == "" && d != nil:
			t.Errorf("%.60s, %.20q: %+v", c.schema, c.data, d)
		case c.message != "" && (d == nil || !strings.HasPrefix(d.Field, c.field) || d.Message != c.message):
			t.Errorf("%.60s, %.20q: %+v, want %s: %s", c.schema, c.data, d, c.field, c.message)
		}
	}
}

// TestAvroDefaults: data that leaves fields out is filled by the library, within bounds.
func TestAvroDefaults(t *testing.T) {
	c := compileText(t, Avro, `{"type":"array","items":{"type":"record","name":"R","fields":[`+many(1000, ",", func(i int) string {
		return fmt.Sprintf(`{"name":"f%d","type":["null","int"],"default":null}`, i)
	})+`]}}`, newMemory())
	if d := checked(c, typed("application/json", `[{},{"f1":{"int":1}}]`)); d != nil {
		t.Errorf("%+v", d)
	}
	data := "[" + many(40_000, ",", func(int) string { return "{}" }) + "]"
	if d := checked(c, typed("application/json", data)); d == nil || !strings.Contains(d.Message, "defaults") {
		t.Errorf("%+v", d)
	}
}
