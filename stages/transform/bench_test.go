package transform

// What rules cost on a realistic event, each beside the naive way: encoding/json,
// the language, encoding/json.

import (
	"encoding/json"
	"testing"
)

func BenchmarkDocument(b *testing.B) {
	data := []byte(sampleData)
	b.Run("read", func(b *testing.B) {
		var d document
		b.ReportAllocs()
		for b.Loop() {
			if _, err := d.read(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read/naive", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v any
			if err := json.Unmarshal(data, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("write one changed", func(b *testing.B) {
		var d document
		v, _ := d.read(data)
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
	b.Run("write one changed/naive", func(b *testing.B) {
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
