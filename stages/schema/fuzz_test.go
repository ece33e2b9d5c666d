package schema

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/twmb/avro"

	"github.com/event-gateway/event-gateway/stages"
)

// sound holds what every answer to an event must be.
func sound(t *testing.T, d *stages.Detail) {
	t.Helper()
	if d == nil {
		return
	}
	if len(d.Violations) > stages.MaxViolations || d.Message == "" || len(d.Field) > maxFieldBytes+10 {
		t.Fatalf("detail %+v", d)
	}
	for _, v := range d.Violations {
		if !utf8.ValidString(v.Field) || !utf8.ValidString(v.Message) || len(v.Message) > maxMessage+10 || v.Message == "" {
			t.Fatalf("violation %+v", v)
		}
	}
}

func FuzzJSON(f *testing.F) {
	c := compileText(f, JSON, `{"type":"object","required":["id"],"properties":{"id":{"type":"integer","maximum":9007199254740993},
		"code":{"type":"string","pattern":"^[A-Z]{3}$"},"lines":{"type":"array","uniqueItems":true,"items":{"$ref":"#"}},
		"to":{"oneOf":[{"type":"null"},{"type":"string","format":"email"}]}}}`, newMemory())
	for _, s := range []string{`{"id":1}`, `{"id":1e400,"lines":[{"id":1},{"id":1}]}`, `{"id":"x"}`, `{"id":1,"id":-0,"to":"a@b"}`, `[`, ``, "\"\xff\"",
		`{"code":"\ud800"}`, `{"id":00}`, `{"id":1}{}`, `{"id":--1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := checked(c, event(string(data)))
		sound(t, d)
		if !json.Valid(data) && d == nil {
			t.Fatalf("%q is no JSON, and matches", data)
		}
	})
}

func FuzzAvro(f *testing.F) {
	c := compileText(f, Avro, avroOrder, newMemory())
	good := avroData(f)
	f.Add(good, false)
	f.Add(good[:len(good)-2], false)
	f.Add([]byte(`{"id":4711,"note":{"string":"x"},"to":{"zip":"1","state":"NEW"},"lines":[1]}`), true)
	f.Add([]byte(`{"id":4711`), true)
	f.Fuzz(func(t *testing.T, data []byte, asJSON bool) {
		ev := event(string(data))
		if asJSON {
			ev = typed("application/json", string(data))
		}
		d := checked(c, ev)
		sound(t, d)
		if asJSON && !json.Valid(data) && d == nil {
			t.Fatalf("%q is no JSON, and matches", data)
		}
	})
}

// FuzzAvroBinary holds the walk over binary data against the library: what one takes, the other takes, but for what
// the library lets pass (text that is not UTF-8, booleans that are neither, sizes of blocks) and its own bounds.
func FuzzAvroBinary(f *testing.F) {
	schemas := []string{avroOrder, everything, benchAvro, `["null","string","long"]`, `{"type":"map","values":{"type":"array","items":"boolean"}}`,
		`{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]},{"name":"z","type":{"type":"array","items":"null"}}]}`}
	type pair struct {
		ours    *compiled
		library *avro.Schema
	}
	var pairs []pair
	for _, s := range schemas {
		pairs = append(pairs, pair{compileText(f, Avro, s, newMemory()), avro.MustParse(s)})
	}
	f.Add(uint8(0), avroData(f))
	f.Add(uint8(1), []byte("\x01\x02\x02aaaabbbbbbbb\x02s\x02yxxx\x02\x02\x02kzzz\x00\x04\x00\x04fff\x00\x02"))
	f.Add(uint8(3), []byte("\x02\x04ab"))
	f.Add(uint8(4), []byte("\x01\x0a\x02k\x04\x00\x01\x00\x00"))
	f.Add(uint8(5), []byte("\x02\x02\x00\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, which uint8, data []byte) {
		p := pairs[int(which)%len(pairs)]
		d := checked(p.ours, event(string(data)))
		sound(t, d)
		var v any
		rest, err := p.library.Decode(data, &v)
		takes := err == nil && len(rest) == 0
		switch {
		case d == nil && !takes && (err == nil || !strings.Contains(err.Error(), "limit") && !strings.Contains(err.Error(), "out of range")):
			t.Fatalf("%q: the walk takes it, the library says %v, %d bytes left", data, err, len(rest))
		case d != nil && takes && !stricter(d.Message):
			t.Fatalf("%q: the library takes it, the walk says %s: %s", data, d.Field, d.Message)
		}
	})
}

func stricter(message string) bool {
	for _, s := range []string{"UTF-8", "a boolean is 0 or 1", "has a block", "more than 2000000 values"} {
		if strings.Contains(message, s) {
			return true
		}
	}
	return false
}

func FuzzProtobuf(f *testing.F) {
	c := protobufOrder(f)
	f.Add([]byte(joined(number64(1, 4711), text(2, "x"), text(4, joined(text(1, "sku"))))), "")
	f.Add([]byte(nest(20)), "application/protobuf; messageType=shop.v1.Other")
	f.Add([]byte(`{"id":"1","at":"2026-01-01T00:00:00Z"}`), "application/json")
	f.Add([]byte("\x0b\x0c\xff"), "; ;messageType")
	f.Fuzz(func(t *testing.T, data []byte, contentType string) {
		sound(t, checked(c, typed(contentType, string(data))))
	})
}
