package schema

import (
	"encoding/binary"
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
		"huge array":     {"\xce\x49\x00\x0a12345\x00" + string(binary.AppendVarint(nil, 1<<40)), "data/lines", ""},
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
