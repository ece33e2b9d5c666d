package schema

import (
	"strings"
	"testing"

	"github.com/twmb/avro"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/event-gateway/event-gateway/stages"
)

// benchJSON is the data of a realistic order: the event around it has 450 bytes.
const (
	benchJSON = `{"id":"018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55","customer":{"id":4711,"email":"ada@example.org"},"total":1299.95,"currency":"EUR",` +
		`"lines":[{"sku":"A-100","qty":2,"price":499.99},{"sku":"B-7","qty":1,"price":299.97}],"paid":true}`
	benchSchema = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["id","customer","total","lines"],"properties":{
		"id":{"type":"string","format":"uuid"},
		"customer":{"type":"object","required":["id"],"properties":{"id":{"type":"integer","minimum":1},"email":{"type":"string","maxLength":200}}},
		"total":{"type":"number","minimum":0},"currency":{"enum":["EUR","SEK","USD"]},"paid":{"type":"boolean"},
		"lines":{"type":"array","minItems":1,"items":{"type":"object","required":["sku","qty"],"properties":{
			"sku":{"type":"string","pattern":"^[A-Z]-[0-9]+$"},"qty":{"type":"integer","minimum":1},"price":{"type":"number"}}}}}}`
	benchAvro = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},
		{"name":"customer","type":{"type":"record","name":"Customer","fields":[{"name":"id","type":"long"},{"name":"email","type":["null","string"]}]}},
		{"name":"total","type":"double"},{"name":"currency","type":{"type":"enum","name":"Currency","symbols":["EUR","SEK","USD"]}},
		{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"sku","type":"string"},{"name":"qty","type":"int"},{"name":"price","type":"double"}]}}},
		{"name":"paid","type":"boolean"}]}`
	benchProto = `syntax="proto3"; message Order { string id=1; Customer customer=2; double total=3; Currency currency=4; repeated Line lines=5; bool paid=6;
		message Customer { int64 id=1; string email=2; } message Line { string sku=1; int32 qty=2; double price=3; } enum Currency { EUR=0; SEK=1; USD=2; } }`
)

func benchAvroData(b *testing.B) []byte {
	b.Helper()
	line := func(sku string, qty int, price float64) map[string]any {
		return map[string]any{"sku": sku, "qty": qty, "price": price}
	}
	data, err := avro.MustParse(benchAvro).Encode(map[string]any{"id": "018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55",
		"customer": map[string]any{"id": 4711, "email": "ada@example.org"}, "total": 1299.95, "currency": "EUR",
		"lines": []any{line("A-100", 2, 499.99), line("B-7", 1, 299.97)}, "paid": true})
	if err != nil {
		b.Fatal(err)
	}
	return data
}

func benchProtoData() []byte {
	line := func(sku string, qty uint64) []byte {
		b := append(text(1, sku), number64(2, qty)...)
		return protowire.AppendFixed64(protowire.AppendTag(b, 3, protowire.Fixed64Type), 4647503709213818880)
	}
	b := text(1, "018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55")
	b = append(b, text(2, joined(number64(1, 4711), text(2, "ada@example.org")))...)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 3, protowire.Fixed64Type), 4653166222137745408)
	b = append(b, text(5, string(line("A-100", 2)))...)
	b = append(b, text(5, string(line("B-7", 1)))...)
	return append(b, number64(6, 1)...)
}

// BenchmarkCheck is an event whose schema is known: lookup alone (of a schema that allows everything is measured
// by a check that does nothing), by how the schema is named, and with each language's check.
func BenchmarkCheck(b *testing.B) {
	m := newMemory()
	m.add("json", JSON, benchSchema)
	m.add("avro", Avro, benchAvro)
	m.add("proto", Protobuf, benchProto)
	cfg := config()
	run := func(name, subject string, ev *stages.Event, more ...*stages.Event) {
		b.Run(name, func(b *testing.B) {
			cfg := cfg
			cfg.Subject = subject
			h := start(b, cfg, m)
			events := append([]*stages.Event{ev}, more...)
			for _, ev := range events {
				if h.settle(ev); ev.Schema == nil {
					b.Fatalf("%+v", ev.Verdict.Detail)
				}
				if strings.HasPrefix(name, "lookup") {
					a := *h.worker.found(ev).answer.Load()
					c, s := *a.compiled, *a.compiled.schema
					s.Check = func(*stages.Event) *stages.Detail { return nil }
					c.schema, a.compiled = &s, &c
					h.worker.found(ev).answer.Store(&a)
				}
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				if h.worker.Check(events[i]) || !events[i].Live() {
					b.Fatal("the event was not valid")
				}
				if i++; i == len(events) {
					i = 0
				}
			}
		})
	}
	order := func(data string) *stages.Event {
		ev := event(data)
		ev.Type.Value = []byte("json")
		return ev
	}
	run("lookup/topic", "json", order(benchJSON))
	run("lookup/type", "{type}", order(benchJSON))
	run("lookup/id", "json", naming("1", benchJSON))
	run("lookup/subject", "json", naming("json/1", benchJSON))
	run("lookup/two in turn", "json", naming("1", benchJSON), naming("json/1", benchJSON))
	run("JSON Schema", "json", order(benchJSON))
	run("Avro", "avro", event(string(benchAvroData(b))))
	run("Protobuf", "proto", event(string(benchProtoData())))
}

// found is the entry that the event was checked by.
func (w *Worker) found(ev *stages.Event) *entry {
	e, _ := w.entry(ev, ev.More && len(ev.DataSchema.Value) > 0)
	return e
}

// BenchmarkDecodeJSON is the share of a JSON Schema check that is reading JSON.
func BenchmarkDecodeJSON(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := decodeJSON([]byte(benchJSON)); err != nil {
			b.Fatal(err)
		}
	}
}
