package schema

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/event-gateway/event-gateway/stages"
)

// many joins n pieces, each made of its number.
func many(n int, separator string, piece func(i int) string) string {
	pieces := make([]string, n)
	for i := range pieces {
		pieces[i] = piece(i)
	}
	return strings.Join(pieces, separator)
}

// worstSchema is one that takes its compiler long.
type worstSchema struct {
	name       string
	language   Type
	definition string
}

// worst are the schemas that take compilers longest, at about the largest size that is let through.
func worst() []worstSchema {
	return []worstSchema{
		{"JSON/properties", JSON, `{"properties":{` + many(maxNodes/2-5, ",", func(i int) string { return fmt.Sprintf(`"p%d":{"type":"string"}`, i) }) + `}}`},
		{"JSON/booleans", JSON, `{"properties":{` + many(maxNodes-5, ",", func(i int) string { return fmt.Sprintf(`"p%d":true`, i) }) + `}}`},
		{"JSON/ids", JSON, `{"properties":{` + many(maxNodes/2-5, ",", func(i int) string { return fmt.Sprintf(`"p%d":{"$id":"x%d"}`, i, i) }) + `}}`},
		{"JSON/anchors", JSON, `{"$schema":"https://json-schema.org/draft/2020-12/schema","$defs":{` + many(maxNodes/2-5, ",", func(i int) string { return fmt.Sprintf(`"p%d":{"$dynamicAnchor":"x%d"}`, i, i) }) + `}}`},
		{"JSON/refs to nowhere known", JSON, `{"x":{` + many(maxNodes-3*maxOddRefs, ",", func(i int) string { return fmt.Sprintf(`"p%d":true`, i) }) +
			`},"allOf":[` + many(maxOddRefs-1, ",", func(i int) string { return fmt.Sprintf(`{"$ref":"#/x/p%d"}`, i) }) + `]}`},
		{"JSON/deep", JSON, strings.Repeat(`{"not":`, maxDepth-1) + `{}` + strings.Repeat(`}`, maxDepth-1)},
		{"JSON/patterns", JSON, `{"properties":{` + many(10, ",", func(i int) string { return fmt.Sprintf(`"p%d":{"pattern":"^[a-z]{%d}$"}`, i, 900+i) }) + `}}`},
		{"Avro/fields", Avro, `{"type":"record","name":"R","fields":[` + many(maxNodes/3-5, ",", func(i int) string { return fmt.Sprintf(`{"name":"f%d","type":"string"}`, i) }) + `]}`},
		{"Avro/unions", Avro, `[` + many(maxNodes/4-5, ",", func(i int) string { return fmt.Sprintf(`{"type":"fixed","name":"f%d","size":1}`, i) }) + `]`},
		{"Avro/records in each other", Avro, many(240, "", func(i int) string {
			return fmt.Sprintf(`{"type":"record","name":"r%d","fields":[{"name":"a","type":`, i)
		}) + `"int"` + strings.Repeat(`}]}`, 240)},
		{"Protobuf/fields", Protobuf, `syntax="proto3";message M{` + many(maxMarks-5, "", func(i int) string { return fmt.Sprintf("int32 f%d=%d;", i, 20_000+i) }) + `}`},
		{"Protobuf/messages", Protobuf, `syntax="proto3";` + many(maxMarks-5, "", func(i int) string { return fmt.Sprintf("message M%d{}", i) })},
		{"Protobuf/deep (refused)", Protobuf, `syntax="proto3";` + many(maxMarks/2, "", func(i int) string { return fmt.Sprintf("message M%d{", i) }) + strings.Repeat("}", maxMarks/2)},
	}
}

// skipUnderRace: these tests compile or check on one goroutine. `make test` runs them without the race detector.
func skipUnderRace(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine computes here: the race detector sees nothing and takes minutes")
	}
}

// TestWorstSchemas: what is let through to the compilers does not keep them for long. The bound is ten times what
// the worst takes here.
func TestWorstSchemas(t *testing.T) {
	skipUnderRace(t)
	for _, c := range worst() {
		began := time.Now()
		_, err := tryCompile(t, c.language, c.definition, newMemory())
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: %d bytes took %v", c.name, len(c.definition), took)
		}
		if err != nil && !strings.Contains(c.name, "(refused)") {
			t.Errorf("%s was refused: %v", c.name, err)
		}
	}
}

// TestRefusedSchemas is H73, and what else a registry may have that is no schema to the gateway: each is
// SCHEMA_INVALID, says why, and is not compiled again for every event.
func TestRefusedSchemas(t *testing.T) {
	deepProto := "message M{" // 30 levels are what the compiler takes
	for _, c := range []struct {
		name       string
		language   Type
		definition string
		message    string
	}{
		{"10^5 fields", JSON, `{"properties":{` + many(100_000, ",", func(i int) string { return fmt.Sprintf(`"p%d":1`, i) }) + `}}`, "values"},
		{"10^4 fields", JSON, `{"properties":{` + many(10_000, ",", func(i int) string { return fmt.Sprintf(`"p%d":{}`, i) }) + `}}`, "JSON values"},
		{"5*10^4 fields of Avro", Avro, `{"type":"record","name":"R","fields":[` + many(50_000, ",", func(i int) string { return fmt.Sprintf(`{"name":"f%d","type":"int"}`, i) }) + `]}`, "JSON values"},
		{"10^5 fields of Protobuf", Protobuf, `syntax="proto3";message M{` + many(100_000, "", func(i int) string { return fmt.Sprintf("int32 f%d=%d;", i, 20_000+i) }) + `}`, "declarations"},
		{"deep", JSON, strings.Repeat(`{"not":`, 100_000) + `{}` + strings.Repeat(`}`, 100_000), "deeper"},
		{"deep Avro", Avro, strings.Repeat(`{"type":"array","items":`, 50_000) + `"int"` + strings.Repeat(`}`, 50_000), "JSON values"},
		{"larger than everything", JSON, `{"description":"` + strings.Repeat("x", maxBundleBytes) + `"}`, "bytes"},
		{"less deep Avro", Avro, strings.Repeat(`{"type":"array","items":`, 2000) + `"int"` + strings.Repeat(`}`, 2000), "valid Avro"},
		{"deep Protobuf", Protobuf, `syntax="proto3";` + strings.Repeat(deepProto, 9000) + strings.Repeat("}", 9000), "nesting"},
		{"deep Protobuf behind comments", Protobuf, `syntax="proto3";` + strings.Repeat(deepProto+"//}\n", 9000) + strings.Repeat("}", 9000), "nesting"},
		{"deep option", Protobuf, `syntax="proto3"; option (x) = ` + strings.Repeat("{a:", 9000) + "1" + strings.Repeat("}", 9000) + ";", "valid Protobuf"},
		{"references to everywhere", JSON, `{"x":{` + many(maxNodes/3, ",", func(i int) string { return fmt.Sprintf(`"p%d":true`, i) }) +
			`},"allOf":[` + many(maxNodes/3-5, ",", func(i int) string { return fmt.Sprintf(`{"$ref":"#/x/p%d"}`, i) }) + `]}`, "refers to more than"},
		{"large pattern", JSON, `{"pattern":"(aaaaaaaaaaaaaaaaaaaa){900}"}`, "states"},
		{"many patterns", JSON, `{"patternProperties":{` + many(200, ",", func(i int) string { return fmt.Sprintf(`"^a{%d}$":true`, 500+i) }) + `}}`, "states"},
		{"a pattern that is none", JSON, `{"pattern":"("}`, "regex"},
		{"number", JSON, `{"multipleOf":1e-999999}`, "exponent"},
		{"a reference to itself only", JSON, `{"allOf":[{"$ref":"#/definitions/a"}],"definitions":{"a":{"type":7}}}`, "valid JSON Schema"},
		{"not JSON", JSON, `{`, "not JSON"},
		{"not Avro", Avro, `{"type":"nothing"}`, "valid Avro"},
		{"empty Avro", Avro, ``, "valid Avro"},
		{"not Protobuf", Protobuf, `message`, "valid Protobuf"},
		{"empty Protobuf", Protobuf, ``, "no message"},
		{"Protobuf without a message", Protobuf, `syntax="proto3"; enum E { A = 0; }`, "no message"},
		{"Protobuf's import", Protobuf, `syntax="proto3"; import "/etc/passwd"; message M {}`, "not among the references"},
		{"language", Type(9), `{}`, "language"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if len(c.definition) > 50_000 { // the goroutines do with a long one what they do with a short one
				skipUnderRace(t)
			}
			m := newMemory()
			m.add("events-value", c.language, c.definition)
			cfg := config()
			cfg.Timeout = time.Minute // a busy machine takes a second for the largest, and eight with the race detector
			h := begin(t, cfg, m)
			d := mustRefuse(t, h.settle(event(good)), stages.SchemaInvalid)
			if !strings.Contains(d.Message, c.message) || !strings.Contains(d.Message, "events-value") || len(d.Message) > 2*maxMessage {
				t.Errorf("message %q, want it short and with %q", d.Message, c.message)
			}
			for range 10 {
				mustRefuse(t, h.settle(event(good)), stages.SchemaInvalid)
			}
			if n := m.asked(); n != 1 {
				t.Errorf("the registry was asked %d times", n)
			}
		})
	}
}

// TestReferencesAreBounded: circles between subjects, missing ones, too many and too large ones.
func TestReferencesAreBounded(t *testing.T) {
	m := newMemory()
	reference := func(subject string) Reference { return Reference{Name: subject, Subject: subject, Version: 1} }
	for _, language := range []Type{JSON, Avro, Protobuf} {
		s := language.String()
		m.add(s+"-a", language, "{}", reference(s+"-b"))
		m.add(s+"-b", language, "{}", reference(s+"-c"))
		m.add(s+"-c", language, "{}", reference(s+"-a"))
		m.add(s+"-self", language, "{}", reference(s+"-self"))
	}
	m.add("dangling", JSON, "{}", reference("nothing"))
	m.add("odd", JSON, "{}", Reference{"x", "..", 1})
	var wide []Reference
	for i := range maxReferences + 1 {
		m.add(fmt.Sprintf("wide-%d", i), JSON, "{}")
		wide = append(wide, reference(fmt.Sprintf("wide-%d", i)))
	}
	m.add("wide", JSON, "{}", wide...)
	large := `{"description":"` + strings.Repeat("x", 900_000) + `"}`
	m.add("large-1", JSON, large)
	m.add("large-2", JSON, large)
	m.add("large", JSON, large, reference("large-1"), reference("large-2"))
	for i := range 200 { // each refers to the next twice
		next := Reference{"one", fmt.Sprintf("chain-%d", i+1), 1}
		m.add(fmt.Sprintf("chain-%d", i), JSON, "{}", next, Reference{"two", next.Subject, 1})
	}
	h := start(t, config(), m)
	for subject, message := range map[string]string{
		"JSON-a": "circle", "AVRO-a": "circle", "PROTOBUF-a": "circle", "JSON-self": "circle",
		"dangling": "does not have it", "odd": `".."`, "wide": "more than 100 references", "large": "bytes", "chain-0": "more than 100 references",
	} {
		before := m.asked()
		d := mustRefuse(t, h.settle(naming(subject+"/1", good)), stages.SchemaInvalid)
		if !strings.Contains(d.Message, message) {
			t.Errorf("%s: message %q, want %q in it", subject, d.Message, message)
		}
		if n := m.asked() - before; n > maxReferences+2 {
			t.Errorf("%s: the registry was asked %d times", subject, n)
		}
	}
}

// TestReferenceWhileAway: that a reference could not be fetched says nothing about the schema.
func TestReferenceWhileAway(t *testing.T) {
	m := newMemory()
	m.add("a", JSON, "{}", Reference{"b", "b", 1})
	r := &failing{memory: m, subject: "b"}
	h := start(t, config(), r)
	mustRefuse(t, h.settle(naming("a/1", good)), stages.SchemaUnavailable)
}

// failing is a registry that is away for one subject.
type failing struct {
	*memory
	subject string
}

func (f *failing) Version(ctx context.Context, subject string, version int) (Text, error) {
	if subject == f.subject {
		return Text{}, errAway
	}
	return f.memory.Version(ctx, subject, version)
}

// TestHostileData: data that costs validators out of proportion is refused, or done with; without its bounds,
// this test does not end.
func TestHostileData(t *testing.T) {
	skipUnderRace(t)
	const size = 900_000 // MAX_EVENT_BYTES
	twice := func(i int) string {
		return fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/definitions/d%d"},{"$ref":"#/definitions/d%d"}]}`, i, i+1, i+1)
	}
	for _, c := range []struct{ name, schema, data, message string }{
		{"recursion through two alternatives", `{"anyOf":[{"type":"null"},{"properties":{"a":{"$ref":"#"}}},{"properties":{"a":{"$ref":"#"}}}],"type":"object"}`,
			strings.Repeat(`{"a":`, 99) + `1` + strings.Repeat("}", 99), "steps"},
		{"two recursions", `{"properties":{"a":{"$ref":"#"},"b":{"$ref":"#/definitions/b"}},"not":{"properties":{"a":{"$ref":"#"}}},"definitions":{"b":{"properties":{"b":{"$ref":"#/definitions/b"}}}}}`,
			strings.Repeat(`{"a":`, 99) + `1` + strings.Repeat("}", 99), "failed"},
		{"definitions that use each other twice", `{"$ref":"#/definitions/d0","definitions":{` + many(40, ",", twice) + `,"d40":{"type":"integer"}}}`, `1`, "steps"},
		{"the same in 2020-12", `{"$schema":"https://json-schema.org/draft/2020-12/schema","$ref":"#/definitions/d0","definitions":{` + many(40, ",", twice) + `,"d40":{"type":"integer"}}}`, `1`, "steps"},
		{"recursion", `{"properties":{"a":{"$ref":"#"}},"additionalProperties":false}`, strings.Repeat(`{"a":`, 99) + `1` + strings.Repeat("}", 99), ""},
		{"a tree", `{"type":["object","integer"],"properties":{"a":{"$ref":"#"},"b":{"$ref":"#"}}}`, tree(12), ""},
		{"deep", `{}`, strings.Repeat("[", size), "deeper"},
		{"many values", `{}`, "[" + many(size/2, ",", func(int) string { return "1" }) + "]", "more than 100000 values"},
		{"many violations", `{"items":{"type":"string"}}`, "[" + many(99_000, ",", func(int) string { return "1" }) + "]", "string was expected"},
		{"large exponents", `{"items":{"type":"integer","minimum":0}}`, "[" + many(90_000, ",", func(int) string { return "1e999999" }) + "]", "exponent"},
		{"largest exponents", `{"items":{"type":"integer","minimum":0}}`, "[" + many(90_000, ",", func(int) string { return "1e400" }) + "]", ""},
		{"long number", `{"type":"integer"}`, strings.Repeat("9", size), "longer than"},
		{"alike for the hash", `{"uniqueItems":true}`, alike(size), "more than 100000 values"},
		{"backslashes", `{}`, `"` + strings.Repeat(`\\`, size/2) + `"`, ""},
		{"(a+)+$", `{"pattern":"(a+)+$"}`, `"` + strings.Repeat("a", size) + `!"`, "does not match the pattern"},
		{"a pattern of many states", `{"pattern":"(.{0,30}a){30}$"}`, `"` + strings.Repeat("a", size) + `!"`, "steps"},
		{"a pattern of many states for short names", `{"patternProperties":{"(.{0,30}a){30}$":{}}}`, `{"aaaa":1}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := checked(compileText(t, JSON, c.schema, newMemory()), event(c.data))
			switch {
			case c.message == "" && d != nil:
				t.Errorf("%+v", d)
			case c.message != "" && (d == nil || !strings.Contains(d.Message, c.message)):
				t.Errorf("%+v, want %q", d, c.message)
			}
		})
	}
}

// tree is a balanced tree of objects.
func tree(levels int) string {
	if levels == 0 {
		return "1"
	}
	return `{"a":` + tree(levels-1) + `,"b":` + tree(levels-1) + `}`
}

// alike is an array of different arrays of strings that are the same bytes, one behind the other.
func alike(size int) string {
	var b strings.Builder
	for n := 0; b.Len() < size && n < 1<<14; n++ {
		b.WriteString(`,["a`)
		for bit := range 14 {
			if n>>bit&1 == 1 {
				b.WriteString(`\u0004a`)
			} else {
				b.WriteString(`","a`)
			}
		}
		b.WriteString(`"]`)
	}
	return "[" + b.String()[1:] + "]"
}

// TestCounting: a schema that is checked step by step gives the same answers.
func TestCounting(t *testing.T) {
	c := compileText(t, JSON, `{"definitions":{"e":{"oneOf":[{"type":"integer"},
		{"type":"object","required":["neg"],"properties":{"neg":{"$ref":"#/definitions/e"}}},
		{"type":"object","required":["l","r"],"properties":{"l":{"$ref":"#/definitions/e"},"r":{"$ref":"#/definitions/e"},"at":{"type":"string","format":"date"}}}]}},
		"$ref":"#/definitions/e"}`, newMemory())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if d := checked(c, event(`{"l":{"neg":1},"r":{"l":1,"r":2,"at":"2026-01-01"}}`)); d != nil {
					t.Errorf("%+v", d)
				}
				if d := checked(c, event(`{"l":{"neg":1},"r":{"l":1,"r":2,"at":"today"}}`)); d == nil || !strings.Contains(fmt.Sprint(d.Violations), "date") {
					t.Errorf("%+v", d)
				}
			}
		})
	}
	all.Wait()
}

// TestCompilersMayFail: what is wrong with a compiler is the schema's fault to everybody else.
func TestCompilersMayFail(t *testing.T) {
	if c, err := compile(nil, false); err == nil || c != nil {
		t.Fatalf("%v %v", c, err)
	}
}

// TestVisits: what counts as expensive.
func TestVisits(t *testing.T) {
	for _, c := range []struct {
		schema string
		want   float64
	}{
		{`{}`, 1},
		{`{"properties":{"a":{},"b":{},"c":{}},"additionalProperties":{}}`, 2},
		{`{"anyOf":[{},{}]}`, 3},
		{`{"oneOf":[{"properties":{"a":{}}},{"properties":{"a":{}}}]}`, 5},
		{`{"properties":{"left":{"$ref":"#"},"right":{"$ref":"#"}}}`, 3},
		{`{"anyOf":[{"type":"null"},{"properties":{"next":{"$ref":"#"}}}]}`, 4},
		{`{"anyOf":[{"properties":{"l":{"$ref":"#"}}},{"properties":{"l":{"$ref":"#"}}}]}`, math.Inf(1)},
		{`{"properties":{"a":{"$ref":"#"},"b":{"$ref":"#/definitions/b"}},"definitions":{"b":{"properties":{"b":{"$ref":"#/definitions/b"}}}}}`, math.Inf(1)},
		{`{"patternProperties":{"a":{"$ref":"#"},"b":{"$ref":"#"}}}`, math.Inf(1)},
		{`{"properties":{"a":{"$ref":"#"}},"items":{"$ref":"#"}}`, math.Inf(1)}, // never both, but that is not looked at
	} {
		docs, err := decodeDocuments(&bundle{root: Text{Definition: c.schema}})
		if err != nil {
			t.Fatal(err)
		}
		compiler := jsonschema.NewCompiler()
		compiler.DefaultDraft(jsonschema.Draft7)
		compiler.UseLoader(docs)
		if got := visits(compiler.MustCompile(rootURL)); got != c.want {
			t.Errorf("%s: %v visits, want %v", c.schema, got, c.want)
		}
	}
}
