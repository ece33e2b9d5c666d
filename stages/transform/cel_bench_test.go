package transform

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"

	"cel.dev/cel-go/cel"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// celShape is what an operator may make of an order: some of it, in other words.
const celShape = `{"id": data.order_id, "customer": data.customer.id, "city": data.shipping.address.city,
	"amount": data.amount, "test": data.test, "big": data.amount > 50.0, "skus": data.items.map(i, i.sku), "by": client}`

func BenchmarkCEL(b *testing.B) {
	ctx := context.Background()
	b.Run("eval", func(b *testing.B) { benchEval(b, celEngine{}, celShape) })
	b.Run("impl=gateway", func(b *testing.B) { benchRule(b, RuleConfig{CEL: celShape}) })
	b.Run("impl=plain-encoding-json", func(b *testing.B) {
		language, err := cel.NewEnv(cel.Variable("data", cel.DynType), cel.Variable("client", cel.StringType))
		if err != nil {
			b.Fatal(err)
		}
		tree, issues := language.Compile(celShape)
		if issues.Err() != nil {
			b.Fatal(issues.Err())
		}
		p, err := language.Program(tree, cel.InterruptCheckFrequency(100))
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			var data any
			if err := json.Unmarshal([]byte(sampleData), &data); err != nil {
				b.Fatal(err)
			}
			v, _, err := p.ContextEval(ctx, map[string]any{"data": data, "client": "ada"})
			if err != nil {
				b.Fatal(err)
			}
			out, err := v.ConvertToNative(reflect.TypeFor[*structpb.Value]())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := protojson.Marshal(out.(*structpb.Value)); err != nil {
				b.Fatal(err)
			}
		}
	})
}
