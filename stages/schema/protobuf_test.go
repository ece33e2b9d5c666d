package schema

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

const protoOrder = `syntax = "proto3";
package shop.v1;
import "google/protobuf/timestamp.proto";
import "shop/address.proto";
message Order {
  int64 id = 1;
  string note = 2;
  Address to = 3;
  repeated Line lines = 4;
  google.protobuf.Timestamp at = 5;
  map<string, int32> counts = 6;
  message Line { string sku = 1; Order nested = 2; }
}
message Other { string name = 1; message Inner { int32 n = 1; } message Second { int32 n = 1; } }`

const protoAddress = `syntax = "proto3"; package shop.v1; message Address { string zip = 1; }`

func protobufOrder(t testing.TB) *compiled {
	m := newMemory()
	m.add("address", Protobuf, protoAddress)
	return compileText(t, Protobuf, protoOrder, m, Reference{"shop/address.proto", "address", 1})
}

// joined is encoded fields, one behind the other.
func joined(fields ...[]byte) string { return string(bytes.Join(fields, nil)) }

func number64(field protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, field, protowire.VarintType), v)
}

func text(field protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, field, protowire.BytesType), v)
}

func TestProtobuf(t *testing.T) {
	c := protobufOrder(t)
	for _, good := range []string{
		"",
		joined(number64(1, 4711), text(2, "x"), text(3, joined(text(1, "12345"))), text(4, joined(text(1, "sku")))),
		joined(number64(99, 1)), // a field of a later version
	} {
		if d := checked(c, event(good)); d != nil {
			t.Errorf("%q: %+v", good, d)
		}
	}
	for name, bad := range map[string]struct{ data, field string }{
		"JSON":            {`{"id":1}`, "data"},
		"cut":             {joined(text(2, "x"))[:2], "data/note"},
		"cut within":      {joined(text(3, joined(text(1, "12345"))[:4])), "data/to/zip"},
		"not UTF-8":       {joined(text(2, "\xff")), "data/note"},
		"UTF-8 within":    {joined(text(4, joined(text(1, "sku"))), text(4, joined(text(1, "\xff")))), "data/lines/1/sku"},
		"map's key":       {joined(text(6, joined(text(1, "\xff")))), "data/counts"},
		"field number 0":  {"\x00\x00", "data"},
		"unknown group":   {"\x0b", "data"},
		"varint too long": {"\x08" + strings.Repeat("\xff", 11), "data/id"},
		"too deep":        {nest(60), "data"},
	} {
		d := checked(c, event(bad.data))
		if d == nil || !strings.HasPrefix(d.Field, bad.field) || len(d.Message) < 5 {
			t.Errorf("%s: %+v, want a violation of %s", name, d, bad.field)
		}
	}
}

// nest is an Order in a Line in an Order, levels times.
func nest(levels int) string {
	data := ""
	for range levels {
		data = joined(text(4, joined(text(2, data))))
	}
	return data
}

func TestProtobufJSON(t *testing.T) {
	c := protobufOrder(t)
	good := `{"id":"9007199254740993","to":{"zip":"1"},"lines":[{"sku":"a"}],"at":"2026-01-01T00:00:00Z","counts":{"a":1}}`
	if d := checked(c, typed("application/json", good)); d != nil {
		t.Fatalf("%+v", d)
	}
	for _, bad := range []string{`{"id":"x"}`, `{"unknown":1}`, `{"lines":[{"sku":1}]}`, `{"at":"today"}`, `[]`, `{`, ``} {
		if d := checked(c, typed("application/vnd.shop+json", bad)); d == nil || d.Field != "data" || !strings.Contains(d.Message, "shop.v1.Order") {
			t.Errorf("%s: %+v", bad, d)
		}
	}
}

// TestProtobufMessageType: data_content_type may name another message than the file's first.
func TestProtobufMessageType(t *testing.T) {
	c := protobufOrder(t)
	data := joined(text(1, "a name"))
	for named, good := range map[string]bool{
		"application/protobuf":                                             false, // Order's field 1 is a number: an unknown field
		"application/protobuf; messageType=shop.v1.Other":                  true,
		`application/x-protobuf;messageType=".shop.v1.Other"`:              true,
		"application/protobuf; messagetype=shop.v1.Order.Line; charset=x":  true,
		"application/protobuf; messageType=shop.v1.Nothing":                false,
		"application/protobuf; messageType=shop.v1.Order.CountsEntry":      false,
		"application/protobuf; messageType=shop.v1.Address":                false, // imported, not of this schema
		"application/protobuf; messageType=shop.v1.Other; messageType=two": true,  // no media type: ignored
	} {
		ev := typed(named, data)
		d := checked(c, ev)
		if !good && d != nil && d.Field != "data_content_type" {
			t.Errorf("%s: %+v", named, d)
		}
		if good && d != nil {
			t.Errorf("%s: %+v", named, d)
		}
		if strings.Contains(named, "shop.v1.") && !good && d == nil {
			t.Errorf("%s: accepted", named)
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		id    int
		index []int
		want  string
	}{
		{1, nil, "\x00\x00\x00\x00\x01"},
		{1<<31 - 1, nil, "\x00\x7f\xff\xff\xff"},
		{258, []int{0}, "\x00\x00\x00\x01\x02\x00"},
		{258, []int{1}, "\x00\x00\x00\x01\x02\x02\x02"},
		{258, []int{0, 1}, "\x00\x00\x00\x01\x02\x04\x00\x02"},
		{258, []int{1, 0}, "\x00\x00\x00\x01\x02\x04\x02\x00"},
	} {
		if got := string(prefix(c.id, c.index)); got != c.want {
			t.Errorf("%d %v: % x, want % x", c.id, c.index, got, c.want)
		}
	}
}

// TestFramed: what the wire format adds to each language's checks.
func TestFramed(t *testing.T) {
	m := newMemory()
	m.add("address", Protobuf, protoAddress)
	cfg := config()
	cfg.WireFormat, cfg.Subject = Confluent, "{type}"
	m.add("json", JSON, orders)
	m.add("avro", Avro, `"string"`)
	m.add("proto", Protobuf, protoOrder, Reference{"shop/address.proto", "address", 1})
	h := start(t, cfg, m)
	check := func(subject, contentType, data string) string {
		ev := typed(contentType, data)
		ev.Type.Value = []byte(subject)
		h.settle(ev)
		if !ev.Live() {
			return ev.Verdict.Detail.Field + ": " + ev.Verdict.Detail.Message
		}
		return fmt.Sprintf("% x", ev.Schema.Prefix)
	}
	id := func(subject string) string { return fmt.Sprintf("00 00 00 00 %02x", m.subjects[subject][0].ID) }
	for _, c := range []struct{ subject, contentType, data, want string }{
		{"json", "application/json", good, id("json")},
		{"avro", "avro/binary", "\x02x", id("avro")},
		{"proto", "application/protobuf", "", id("proto") + " 00"},
		{"proto", "application/protobuf; messageType=shop.v1.Other", "", id("proto") + " 02 02"},
		{"proto", "application/protobuf; messageType=shop.v1.Other.Second", "", id("proto") + " 04 02 02"},
	} {
		if got := check(c.subject, c.contentType, c.data); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.subject, c.contentType, got, c.want)
		}
	}
	for _, subject := range []string{"avro", "proto"} {
		if got := check(subject, "application/json", `{}`); !strings.HasPrefix(got, "data_content_type: says JSON") {
			t.Errorf("%s as JSON: %s", subject, got)
		}
	}
	// Consumers could not read a record without a schema.
	if got := check("nothing", "", good); !strings.Contains(got, "does not have") {
		t.Errorf("without a schema: %s", got)
	}
}
