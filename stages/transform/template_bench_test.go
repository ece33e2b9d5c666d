package transform

import (
	"bytes"
	"encoding/json"
	"testing"
	"text/template"
)

// templateShape is celShape as a template.
const templateShape = `{"id":{{json .data.order_id}},"customer":{{json .data.customer.id}},"city":{{json .data.shipping.address.city}},` +
	`"amount":{{.data.amount}},"test":{{.data.test}},"big":{{gt .data.amount 50.0}},` +
	`"skus":[{{range $i, $x := .data.items}}{{if $i}},{{end}}{{json $x.sku}}{{end}}],"by":{{json .client}}}`

func BenchmarkTemplate(b *testing.B) {
	b.Run("eval", func(b *testing.B) { benchEval(b, templateEngine{}, templateShape) })
	b.Run("impl=gateway", func(b *testing.B) { benchRule(b, RuleConfig{Template: templateShape}) })
	b.Run("impl=plain-encoding-json", func(b *testing.B) {
		parsed, err := template.New("").Funcs(template.FuncMap{"json": func(v any) (string, error) {
			b, err := json.Marshal(v)
			return string(b), err
		}}).Parse(templateShape)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			var data any
			if err := json.Unmarshal([]byte(sampleData), &data); err != nil {
				b.Fatal(err)
			}
			var out bytes.Buffer
			if err := parsed.Execute(&out, map[string]any{"data": data, "client": "192.0.2.7"}); err != nil {
				b.Fatal(err)
			}
			if !json.Valid(out.Bytes()) {
				b.Fatal("no JSON")
			}
		}
	})
}
