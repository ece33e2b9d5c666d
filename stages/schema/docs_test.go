package schema

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

// TestDocumentedExamples: the examples of docs/schemas.md are what they say.
func TestDocumentedExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/schemas.md")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, block := range regexp.MustCompile("(?s)```(?:json|proto) (\\S+)\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		files[block[1]] = block[2]
	}
	for _, c := range []struct {
		language     Type
		schema, data string
	}{{JSON, "order.json", "data.json"}, {Avro, "order.avsc", "data.avro.json"}, {Protobuf, "order.proto", "data.proto.json"}} {
		if files[c.schema] == "" || files[c.data] == "" {
			t.Fatalf("docs/schemas.md has no %s or no %s", c.schema, c.data)
		}
		if d := checked(compileText(t, c.language, files[c.schema], newMemory()), typed("application/json", files[c.data])); d != nil {
			t.Errorf("%s: %+v", c.schema, d)
		}
	}
	d := checked(compileText(t, JSON, files["order.json"], newMemory()), event(`{"id": 0, "lines": [{}]}`))
	if d == nil || len(d.Violations) != 2 {
		t.Fatalf("%+v", d)
	}
	for _, v := range d.Violations {
		if said := "`" + v.Field + "` *" + v.Message + "*"; !strings.Contains(strings.ReplaceAll(string(page), "\n", " "), said) {
			t.Errorf("docs/schemas.md does not say %s", said)
		}
	}
	for _, reason := range []stages.Reason{stages.SchemaViolation, stages.SchemaNotFound, stages.SchemaInvalid, stages.SchemaUnavailable} {
		if !strings.Contains(string(page), "`"+reason.String()+"`") {
			t.Errorf("docs/schemas.md lacks %s", reason)
		}
	}
}
