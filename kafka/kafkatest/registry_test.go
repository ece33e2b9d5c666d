//go:build kafka

package kafkatest

// The registry harness against itself, and what this registry answers to a client of Confluent's: the three
// kinds of schemas, references, compatibility, and the wording of its errors.

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
)

func registryClient(t *testing.T, r *Registry) *sr.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	cl, err := sr.NewClient(sr.URLs(r.URL), sr.HTTPClient(&http.Client{Transport: transport, Timeout: deadline}))
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

const (
	avroOrder = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}`
	// A reader with this schema finds no amount in older data, and has no default for it.
	avroOrderAmount = `{"type":"record","name":"Order","fields":[` +
		`{"name":"id","type":"string"},{"name":"amount","type":"int"}]}`
	avroGone     = `{"type":"record","name":"Gone","fields":[]}`
	avroShipment = `{"type":"record","name":"Shipment","fields":[{"name":"order","type":"Order"}]}`

	jsonAddress = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",` +
		`"properties":{"city":{"type":"string"}},"required":["city"]}`
	jsonOrder = `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",` +
		`"properties":{"to":{"$ref":"address.json"}}}`

	protoAddress = "syntax = \"proto3\";\npackage shop;\nmessage Address { string city = 1; }\n"
	protoOrder   = "syntax = \"proto3\";\npackage shop;\nimport \"address.proto\";\n" +
		"message Order { string id = 1; Address to = 2; }\n"
)

// register registers a schema whose text and references are to come back by id, by version and as latest.
func register(t *testing.T, cl *sr.Client, subject string, s sr.Schema) sr.SubjectSchema {
	t.Helper()
	id, err := cl.RegisterSchema(t.Context(), subject, s, -1, -1)
	if err != nil {
		t.Fatalf("register %s: %v", subject, err)
	}
	byID, err := cl.SchemaByID(t.Context(), id)
	if err != nil {
		t.Fatalf("read id %d: %v", id, err)
	}
	wantSchema(t, byID, s)
	latest, err := cl.SchemaByVersion(t.Context(), subject, -1)
	if err != nil {
		t.Fatalf("read the latest of %s: %v", subject, err)
	}
	wantSchema(t, latest.Schema, s)
	named, err := cl.SchemaByVersion(t.Context(), subject, latest.Version)
	if err != nil {
		t.Fatalf("read %s version %d: %v", subject, latest.Version, err)
	}
	if !reflect.DeepEqual(named, latest) || latest.ID != id || latest.Subject != subject {
		t.Fatalf("registered %s as id %d; latest is %+v, the version it names %+v", subject, id, latest, named)
	}
	return latest
}

func wantSchema(t *testing.T, got, want sr.Schema) {
	t.Helper()
	if got.Schema != want.Schema || got.Type != want.Type || !slices.Equal(got.References, want.References) {
		t.Fatalf("read back\n%+v, want\n%+v", got, want)
	}
}

func TestKafkaRegistry(t *testing.T) {
	r := StartRegistry(t, Shared(t).Addrs()...)
	cl := registryClient(t, r)

	t.Run("kinds and references", func(t *testing.T) { testKinds(t, cl) })
	t.Run("compatibility", func(t *testing.T) { testCompatibility(t, cl) })
	t.Run("errors", func(t *testing.T) { testErrors(t, cl) })
	t.Run("what it has not", func(t *testing.T) { testGaps(t, cl) })

	// Its ids are in Kafka: a registry that was killed knows them when it is back.
	before := register(t, cl, "kept-value", sr.Schema{Schema: avroOrder, Type: sr.TypeAvro})
	r.Kill()
	if _, err := cl.SchemaByID(t.Context(), before.ID); err == nil {
		t.Fatal("a killed registry answered")
	}
	began := time.Now()
	r.Restart()
	t.Logf("restarted after a kill in %s", time.Since(began).Round(10*time.Millisecond))
	after, err := cl.SchemaByVersion(t.Context(), "kept-value", before.Version)
	if err != nil || !reflect.DeepEqual(after, before) {
		t.Fatalf("after a restart %+v, %v; want %+v", after, err, before)
	}
}

func testKinds(t *testing.T, cl *sr.Client) {
	for _, kind := range []struct {
		typ                     sr.SchemaType
		part, partSubject, name string
		whole, wholeSubject     string
	}{
		{sr.TypeAvro, avroOrder, "order-value", "Order", avroShipment, "shipment-value"},
		{sr.TypeJSON, jsonAddress, "address.json", "address.json", jsonOrder, "json-order-value"},
		{sr.TypeProtobuf, protoAddress, "address.proto", "address.proto", protoOrder, "proto-order-value"},
	} {
		part := register(t, cl, kind.partSubject, sr.Schema{Schema: kind.part, Type: kind.typ})
		refs := []sr.SchemaReference{{Name: kind.name, Subject: kind.partSubject, Version: part.Version}}
		whole := register(t, cl, kind.wholeSubject,
			sr.Schema{Schema: kind.whole, Type: kind.typ, References: refs})
		uses, err := cl.SchemaReferences(t.Context(), kind.partSubject, part.Version)
		if err != nil || len(uses) != 1 || uses[0].ID != whole.ID {
			t.Errorf("%s is used by %+v, %v; want id %d", kind.partSubject, uses, err, whole.ID)
		}
		// The same text under another subject has the same id; again under the same, no new version.
		again, err := cl.RegisterSchema(t.Context(), "again-"+kind.partSubject, part.Schema, -1, -1)
		if err != nil || again != part.ID {
			t.Errorf("%s under another subject: id %d, %v; want %d", kind.typ, again, err, part.ID)
		}
		if repeated := register(t, cl, kind.partSubject, part.Schema); repeated.Version != part.Version {
			t.Errorf("%s again: version %d, want %d", kind.typ, repeated.Version, part.Version)
		}
	}
}

func testCompatibility(t *testing.T, cl *sr.Client) {
	const subject = "compatible-value"
	old := sr.Schema{Schema: avroOrder, Type: sr.TypeAvro}
	grown := sr.Schema{Schema: avroOrderAmount, Type: sr.TypeAvro}
	first := register(t, cl, subject, old)
	setCompatibility(t, cl, subject, sr.CompatBackward)
	check, err := cl.CheckCompatibility(t.Context(), subject, -1, grown)
	if err != nil || check.Is {
		t.Fatalf("check: %+v, %v; want not compatible", check, err)
	}
	_, err = cl.RegisterSchema(t.Context(), subject, grown, -1, -1)
	wantError(t, "an incompatible version", err, 409, sr.ErrIncompatibleSchema, "amount")

	setCompatibility(t, cl, subject, sr.CompatForward)
	if second := register(t, cl, subject, grown); second.Version != first.Version+1 {
		t.Fatalf("version %d after %d", second.Version, first.Version)
	}
	versions, err := cl.SubjectVersions(t.Context(), subject)
	if err != nil || !slices.Equal(versions, []int{1, 2}) {
		t.Fatalf("versions %v, %v; want 1 and 2", versions, err)
	}
	subjects, err := cl.Subjects(t.Context())
	if err != nil || !slices.Contains(subjects, subject) {
		t.Fatalf("subjects %v, %v; want %s among them", subjects, err, subject)
	}
	found, err := cl.LookupSchema(t.Context(), subject, old)
	if err != nil || found.ID != first.ID || found.Version != 1 {
		t.Fatalf("lookup: %+v, %v; want id %d version 1", found, err, first.ID)
	}
}

func setCompatibility(t *testing.T, cl *sr.Client, subject string, level sr.CompatibilityLevel) {
	t.Helper()
	set := cl.SetCompatibility(t.Context(), sr.SetCompatibility{Level: level}, subject)
	if len(set) != 1 || set[0].Err != nil || set[0].Level != level {
		t.Fatalf("set the compatibility of %s to %s: %+v", subject, level, set)
	}
}

func testErrors(t *testing.T, cl *sr.Client) {
	ctx := t.Context()
	order := sr.Schema{Schema: avroOrder, Type: sr.TypeAvro}
	register(t, cl, "errors-value", order)

	_, err := cl.SchemaByID(ctx, 99999)
	wantError(t, "an unknown id", err, 404, sr.ErrSchemaNotFound, "99999")
	_, err = cl.SchemaByVersion(ctx, "nobody-value", -1)
	wantError(t, "the latest of an unknown subject", err, 404, sr.ErrSubjectNotFound, "nobody-value")
	_, err = cl.SubjectVersions(ctx, "nobody-value")
	wantError(t, "the versions of an unknown subject", err, 404, sr.ErrSubjectNotFound, "nobody-value")
	_, err = cl.SchemaByVersion(ctx, "errors-value", 77)
	wantError(t, "an unknown version", err, 404, sr.ErrVersionNotFound, "77")
	_, err = cl.LookupSchema(ctx, "errors-value", sr.Schema{Schema: avroOrderAmount, Type: sr.TypeAvro})
	wantError(t, "a lookup of another schema", err, 404, sr.ErrSchemaNotFound, "errors-value")
	for what, s := range map[string]sr.Schema{
		"no Avro schema":     {Schema: `{"type":"nonsense"}`, Type: sr.TypeAvro},
		"no JSON Schema":     {Schema: `{broken`, Type: sr.TypeJSON},
		"no Protobuf schema": {Schema: `message {`, Type: sr.TypeProtobuf},
		"a reference to nothing": {Schema: jsonOrder, Type: sr.TypeJSON, References: []sr.SchemaReference{
			{Name: "address.json", Subject: "nobody-value", Version: 1},
		}},
	} {
		_, err = cl.RegisterSchema(ctx, "errors-value", s, -1, -1)
		wantError(t, what, err, 422, sr.ErrInvalidSchema, "")
	}
}

// testGaps holds what a client must not rely on: most of this is otherwise in Confluent's registry.
func testGaps(t *testing.T, cl *sr.Client) {
	ctx := t.Context()
	register(t, cl, "gaps-value", sr.Schema{Schema: avroOrder, Type: sr.TypeAvro})

	_, err := cl.AllSchemas(ctx) // GET /schemas
	wantError(t, "all schemas", err, 404, nil, "no response")
	if mode := cl.Mode(ctx); len(mode) != 1 {
		t.Errorf("mode: %+v", mode)
	} else {
		wantError(t, "the mode", mode[0].Err, 404, nil, "no response")
	}
	subjects, err := cl.Subjects(sr.WithParams(ctx, sr.SubjectPrefix("errors-")))
	if err != nil || !slices.Contains(subjects, "gaps-value") {
		t.Errorf("with a prefix %v, %v: it is heeded now", subjects, err)
	}
	for _, got := range cl.Compatibility(ctx, "gaps-value") { // Confluent: 40408, it has no level of its own
		if got.Err != nil || got.Level != sr.CompatNone { // Confluent: BACKWARD
			t.Errorf("compatibility that nobody has set: %+v", got)
		}
	}

	// It takes texts that no compiler takes, and refuses a JSON Schema that does not name its draft.
	for subject, s := range map[string]sr.Schema{
		"no-type-value":   {Schema: `{"$schema":"http://json-schema.org/draft-07/schema#","type":"x"}`, Type: sr.TypeJSON},
		"no-import-value": {Schema: protoOrder, Type: sr.TypeProtobuf},
	} {
		register(t, cl, subject, s)
	}
	_, err = cl.RegisterSchema(ctx, "draft-value", sr.Schema{Schema: `{"type":"object"}`, Type: sr.TypeJSON}, -1, -1)
	wantError(t, "a JSON Schema of no draft", err, 422, sr.ErrInvalidSchema, "")

	// A deleted version is gone, the schema is still there under its id.
	gone := register(t, cl, "gone-value", sr.Schema{Schema: avroGone, Type: sr.TypeAvro})
	if err := cl.DeleteSchema(ctx, "gone-value", gone.Version, sr.SoftDelete); err != nil {
		t.Fatal(err)
	}
	_, err = cl.SchemaByVersion(sr.WithParams(ctx, sr.ShowDeleted), "gone-value", gone.Version)
	wantError(t, "a deleted version", err, 404, sr.ErrSubjectNotFound, "gone-value") // it was the only one
	byID, err := cl.SchemaByID(ctx, gone.ID)
	if err != nil {
		t.Fatalf("a deleted version by its id: %v", err)
	}
	wantSchema(t, byID, gone.Schema)
}

// wantError wants an answer of that HTTP status and error_code (nil: none) whose message has a word in it.
func wantError(t *testing.T, what string, err error, status int, code *sr.Error, word string) {
	t.Helper()
	var answer *sr.ResponseError
	if !errors.As(err, &answer) {
		t.Errorf("%s: %v, want an answer of the registry", what, err)
		return
	}
	t.Logf("%s: %d %d %s", what, answer.StatusCode, answer.ErrorCode, answer.Message)
	wantCode := 0
	if code != nil {
		wantCode = code.Code
	}
	if answer.StatusCode != status || answer.ErrorCode != wantCode || !strings.Contains(answer.Message, word) {
		t.Errorf("%s: %d, error_code %d, %q; want %d, %d and %q in it", what, answer.StatusCode, answer.ErrorCode,
			answer.Message, status, wantCode, word)
	}
}

func TestKafkaRegistryPaused(t *testing.T) {
	r := StartRegistry(t)
	cl := registryClient(t, r)
	order := register(t, cl, "order-value", sr.Schema{Schema: avroOrder, Type: sr.TypeAvro})

	r.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := cl.SchemaByID(ctx, order.ID); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a paused registry: %v, want no answer", err)
	}
	r.Resume()
	if _, err := cl.SchemaByID(t.Context(), order.ID); err != nil {
		t.Fatalf("after it was resumed: %v", err)
	}
}

// Between our look at a port and the registry's listen somebody may take it; then another is tried.
func TestKafkaRegistryLostPort(t *testing.T) {
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	jars, err := registryDistribution()
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{jars: jars, dir: t.TempDir(), addr: other.Listener.Addr().String()}
	if err := r.start(); err == nil || !r.lostPort() {
		t.Errorf("on a port that is taken: %v, lost %t; want an error, and to know why", err, r.lostPort())
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
}
