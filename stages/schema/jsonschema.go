package schema

// JSON Schema, by santhosh-tekuri/jsonschema. Nothing is ever loaded but the
// references that the registry has.

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/event-gateway/event-gateway/stages"
)

// rootURL is where a schema without a $id is. Relative references are resolved against it.
const rootURL = "schema://registry/schema"

// maxNodes bounds the JSON values in a schema with its references: the library's compiler takes quadratic time
// (0.8 s for the worst schema of this size, measured by TestWorstSchemas). maxOddRefs bounds the places that
// $ref leads to where the compiler does not look for schemas: it copies what it knows of the document for each.
const (
	maxNodes   = 10_000
	maxOddRefs = 300
)

// compileJSON makes a checker, and says how many states its patterns have. Schemas that do not say which draft they are of are draft 7, as for the other
// clients of such registries.
func compileJSON(b *bundle) (check checker, states int, err error) {
	compile := func(p *patterns) (*jsonschema.Schema, error) { // with the texts, which are small beside what they become
		docs, err := decodeDocuments(b)
		if err != nil {
			return nil, err
		}
		compiler := jsonschema.NewCompiler()
		compiler.DefaultDraft(jsonschema.Draft7)
		compiler.UseLoader(docs)
		compiler.UseRegexpEngine(p.compile)
		s, err := compiler.Compile(rootURL)
		if err != nil {
			return nil, fmt.Errorf("it is not a valid JSON Schema: %w", err)
		}
		return s, nil
	}
	p := newPatterns()
	s, err := compile(p)
	if err != nil {
		return nil, 0, err
	}
	c := &jsonChecker{schema: s, visits: visits(s), states: p.states, counting: counting{compile: compile}}
	return func(ev *stages.Event) *stages.Detail { return c.check(ev.Data) }, p.states, nil
}

// jsonChecker holds data against a JSON Schema.
type jsonChecker struct {
	schema *jsonschema.Schema
	// visits is how often one value is visited at most, and states are those of all patterns.
	visits   float64
	states   int
	counting counting
}

func (c *jsonChecker) check(data []byte) *stages.Detail {
	v, values, err := decodeJSON(data)
	if err != nil {
		return violated(dataField, err.Error())
	}
	if cost := c.visits*float64(values) + float64(c.states*len(data)/statesPerVisit); cost <= maxVisits {
		err = c.schema.Validate(v)
	} else {
		err = c.counting.validate(v)
	}
	if err == nil {
		return nil
	}
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return violated(dataField, err.Error())
	}
	return jsonViolations(invalid)
}

// documents are the texts by the URLs that they may be referred to by. It is the compiler's only loader.
type documents map[string]any

// Load implements jsonschema.URLLoader.
func (d documents) Load(url string) (any, error) {
	if doc, ok := d[url]; ok {
		return doc, nil
	}
	return nil, errors.New("it is not among the references that the registry has for the schema; nothing else is loaded")
}

// decodeDocuments reads all texts, and gives each the URLs under which its importers look for it.
func decodeDocuments(b *bundle) (documents, error) {
	nodes, odd := 0, map[string]bool{}
	read := func(t Text) (any, error) {
		doc, _, err := decodeJSON([]byte(t.Definition))
		if err != nil {
			return nil, fmt.Errorf("its text %w", err)
		}
		if nodes += countNodes(doc); nodes > maxNodes {
			return nil, fmt.Errorf("it has more than %d JSON values with its references", maxNodes)
		}
		if noteOddRefs(doc, odd); len(odd) > maxOddRefs {
			return nil, fmt.Errorf("it refers to more than %d places that are not definitions", maxOddRefs)
		}
		return doc, nil
	}
	l := linker{docs: documents{}, decoded: map[place]any{}, texts: map[place]Text{}}
	for _, r := range b.references {
		at := place{r.text.Subject, r.text.Version}
		if _, ok := l.decoded[at]; ok {
			continue
		}
		doc, err := read(r.text)
		if err != nil {
			return nil, err
		}
		l.decoded[at], l.texts[at] = doc, r.text
	}
	root, err := read(b.root)
	if err != nil {
		return nil, err
	}
	l.docs[rootURL] = root
	l.link(baseOf(rootURL, root), b.root.References)
	return l.docs, nil
}

// linker follows the references from text to text, with the base URL that names are relative to.
type linker struct {
	docs    documents
	decoded map[place]any
	texts   map[place]Text
}

func (l *linker) link(base string, references []Reference) {
	for _, r := range references {
		at := place{r.Subject, r.Version}
		address := join(base, r.Name)
		if _, known := l.docs[address]; known || len(l.docs) > 2*maxReferences {
			continue
		}
		doc := l.decoded[at]
		l.docs[address] = doc
		own := baseOf(address, doc)
		if _, known := l.docs[own]; !known {
			l.docs[own] = doc
		}
		l.link(own, l.texts[at].References)
	}
}

// baseOf is the URL that a document gives itself, else the one that it is at.
func baseOf(address string, doc any) string {
	object, _ := doc.(map[string]any)
	for _, key := range []string{"$id", "id"} {
		if id, ok := object[key].(string); ok && id != "" {
			return join(address, id)
		}
	}
	return address
}

// join resolves a reference, without its fragment; what is not a URL stays as it is.
func join(base, reference string) string {
	b, err := url.Parse(base)
	if err != nil {
		return reference
	}
	r, err := url.Parse(reference)
	if err != nil {
		return reference
	}
	u := b.ResolveReference(r)
	u.Fragment, u.RawFragment = "", ""
	return u.String()
}

// countNodes counts all values of a document. Its depth is bounded by decodeJSON.
func countNodes(v any) int {
	n := 1
	switch v := v.(type) {
	case map[string]any:
		for _, member := range v {
			n += countNodes(member)
		}
	case []any:
		for _, item := range v {
			n += countNodes(item)
		}
	}
	return n
}

// noteOddRefs adds the references to other places than definitions.
func noteOddRefs(v any, odd map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for key, member := range v {
			if ref, ok := member.(string); ok && strings.HasSuffix(key, "ref") || strings.HasSuffix(key, "Ref") {
				if name, plain := strings.CutPrefix(ref, "#/definitions/"); !plain || strings.Contains(name, "/") {
					odd[ref] = true
				}
			}
			noteOddRefs(member, odd)
		}
	case []any:
		for _, item := range v {
			noteOddRefs(item, odd)
		}
	}
}
