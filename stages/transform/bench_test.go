package transform

// What rules cost on a realistic event, each beside the naive way: encoding/json,
// the language, encoding/json.

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/expr-lang/expr"
	"github.com/itchyny/gojq"

	"github.com/event-gateway/event-gateway/stages"
)

func BenchmarkDocument(b *testing.B) {
	data := []byte(sampleData)
	b.Run("read/impl=gateway", func(b *testing.B) {
		var d document
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.read(data, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read/impl=plain-encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(data, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write-one-changed/impl=gateway", func(b *testing.B) {
		var d document
		v, _ := d.read(data, nil)
		changed := rebuildOuter(v.(map[string]any))
		changed["currency"] = "USD"
		var out []byte
		b.ReportAllocs()
		for b.Loop() {
			var err error
			if out, err = d.encode(out[:0], changed, 1000); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write-one-changed/impl=plain-encoding-json", func(b *testing.B) {
		var v any
		if err := json.Unmarshal(data, &v); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(v); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func rebuildOuter(m map[string]any) map[string]any {
	out := make(map[string]any, len(m))
	for name, v := range m {
		out[name] = v
	}
	return out
}

// BenchmarkRules are rules that look at attributes only.
func BenchmarkRules(b *testing.B) {
	for _, c := range []struct {
		name  string
		rules []RuleConfig
	}{
		{"no-rule-matches", []RuleConfig{{Match: `type == "payment.failed"`, Topic: "orders"}}},
		{"no-rule-of-4-matches", []RuleConfig{{Match: `type == "payment.failed"`, Topic: "orders"}, {Match: `source startsWith "/billing"`, Topic: "orders"},
			{Match: `metadata.tenant == "other"`, Topic: "orders"}, {Match: `type in ["a", "b", "c"] and subject != ""`, Topic: "orders"}}},
		{"match-filter-topic", []RuleConfig{{Match: `type startsWith "order." and metadata.tenant == "acme"`, Filter: `not (source contains "test")`, Topic: "orders"}}},
		{"match-filter-topic-on-the-machine", []RuleConfig{{Match: `type startsWith "order." and len(subject) > 5`, Filter: `not (source contains "test") and len(id) == 36`,
			Topic: `metadata.tenant == "acme" ? "orders" : "events"`}}},
		{"set-constants", []RuleConfig{{Match: `type startsWith "order."`, Set: `subject="order"; metadata.tenant="acme"`}}},
		{"set", []RuleConfig{{Match: `type startsWith "order."`, Set: `metadata.by=client; partition_key=metadata.tenant + id`}}},
		{"filter-on-data", []RuleConfig{{Filter: `data.amount > 100`}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			w, _ := newWorker(b, c.rules...)
			ev := newEvent(sampleData)
			pairs := append(make([]stages.Pair, 0, 8), ev.Metadata...)
			ev.Metadata = append(pairs[:0:8], ev.Metadata...)
			restore := len(c.rules[0].Set) > 0
			original := *ev
			w.memory = &scratch{}
			b.ReportAllocs()
			for b.Loop() {
				ev.Topic, ev.Verdict = nil, stages.Verdict{}
				if restore {
					*ev = original
					ev.Metadata = pairs[:2:8]
				}
				w.Apply(ev)
			}
		})
	}
}

// scratch is a Memory whose events do not last.
type scratch struct{ b [4096]byte }

func (*scratch) Begin() {}

func (s *scratch) Take(_ *stages.Event, n int) []byte { return s.b[:n] }

// What the languages make of the sample event: the same in all of them.
const (
	sampleExpr = `{"id": data.order_id, "customer": data.customer.id, "total": data.amount, "express": data.shipping.method == "express", "skus": map(data.items, .sku)}`
	sampleJQ   = `{id: .order_id, customer: .customer.id, total: .amount, express: (.shipping.method == "express"), skus: [.items[].sku]}`
)

// BenchmarkLanguages make new data of the event, each beside encoding/json, the language as it comes, encoding/json.
func BenchmarkLanguages(b *testing.B) {
	benchmarkRule(b, "expr/impl=gateway", RuleConfig{Expr: sampleExpr})
	program, err := expr.Compile(sampleExpr, expr.Env(map[string]any{"data": map[string]any{}}))
	if err != nil {
		b.Fatal(err)
	}
	benchmarkNaive(b, "expr/impl=plain-encoding-json", func(v any) (any, error) { return expr.Run(program, map[string]any{"data": v}) })

	for name, source := range map[string]string{"jq": sampleJQ, "jq-one-member": `.customer.email = "x"`} {
		benchmarkRule(b, name+"/impl=gateway", RuleConfig{JQ: source})
		query, err := gojq.Parse(source)
		if err != nil {
			b.Fatal(err)
		}
		code, err := gojq.Compile(query)
		if err != nil {
			b.Fatal(err)
		}
		benchmarkNaive(b, name+"/impl=plain-encoding-json", func(v any) (any, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			out, _ := code.RunWithContext(ctx, v).Next()
			err, _ := out.(error)
			return out, err
		})
	}
}

func benchmarkRule(b *testing.B, name string, rule RuleConfig) {
	b.Run(name, func(b *testing.B) {
		w, _ := newWorker(b, rule)
		w.memory = &scratch{}
		ev := newEvent(sampleData)
		data := ev.Data
		b.ReportAllocs()
		for b.Loop() {
			ev.Data = data
			w.Apply(ev)
		}
		if !ev.Open() {
			b.Fatalf("%v %+v", ev.Verdict, ev.Verdict.Detail)
		}
	})
}

func benchmarkNaive(b *testing.B, name string, run func(v any) (any, error)) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.Unmarshal([]byte(sampleData), &v); err != nil {
				b.Fatal(err)
			}
			out, err := run(v)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := json.Marshal(out); err != nil {
				b.Fatal(err)
			}
		}
	})
}
