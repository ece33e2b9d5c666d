//go:build kafka

package registry_test

// The client, and the cache over it, against a real registry.

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	"github.com/event-gateway/event-gateway/kafka/registry"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/schema"
)

const (
	avroOrder    = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"}]}`
	avroGrown    = `{"type":"record","name":"Order","fields":[{"name":"id","type":"string"},{"name":"n","type":"int"}]}`
	avroShipment = `{"type":"record","name":"Shipment","fields":[{"name":"order","type":"Order"}]}`
	jsonAddress  = `{"$schema":"http://json-schema.org/draft-07/schema#","type":"object",` +
		`"properties":{"city":{"type":"string"}},"required":["city"]}`
	jsonOrder = `{"$schema":"http://json-schema.org/draft-07/schema#","$id":"https://example.com/order.json",` +
		`"type":"object","properties":{"to":{"$ref":"address.json"}}}`
	protoAddress = "syntax = \"proto3\";\npackage shop;\nmessage Address { string city = 1; }\n"
	protoOrder   = "syntax = \"proto3\";\npackage shop;\nimport \"address.proto\";\n" +
		"message Order { string id = 1; Address to = 2; }\n"
)

// kinds are schemas with a reference, and data that matches and data that does not.
var kinds = []struct {
	typ               schema.Type
	part, partSubject string
	name              string
	whole, subject    string
	good, bad         string
}{
	{schema.Avro, avroOrder, "order-value", "Order", avroShipment, "shipment-value", "\x04ab", "\x05ab"},
	{schema.JSON, jsonAddress, "address-value", "address.json", jsonOrder, "json-value",
		`{"to":{"city":"Bonn"}}`, `{"to":{"city":7}}`},
	{schema.Protobuf, protoAddress, "address.proto", "address.proto", protoOrder, "proto-value",
		"\n\x01a\x12\x06\n\x04Bonn", "\n\x09a"},
}

func config(r *kafkatest.Registry) schema.Config {
	return schema.Config{Enabled: true, URL: r.URL, Timeout: schema.MaxTimeout, CacheTTL: time.Second,
		Subject: "{type}", OnUnavailable: schema.Stale, WireFormat: schema.Confluent}
}

func newClient(t *testing.T, cfg schema.Config) *registry.Client {
	t.Helper()
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	c, err := registry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func register(t *testing.T, c *registry.Client, text schema.Text) schema.Text {
	t.Helper()
	got, created, err := c.Register(t.Context(), registry.Registration{Text: text})
	if err != nil || !created {
		t.Fatalf("register %s: created %t, %v", text.Subject, created, err)
	}
	want := text
	want.ID, want.Version = got.ID, 1
	if got.ID < 1 || !reflect.DeepEqual(got, want) {
		t.Fatalf("registered\n%+v, want\n%+v", got, want)
	}
	return got
}

// registerKinds registers all kinds, and holds what comes back by every way to name them.
func registerKinds(t *testing.T, c *registry.Client) (whole []schema.Text) {
	t.Helper()
	for _, k := range kinds {
		part := register(t, c, schema.Text{Subject: k.partSubject, Type: k.typ, Definition: k.part})
		refs := []schema.Reference{{Name: k.name, Subject: k.partSubject, Version: part.Version}}
		w := register(t, c, schema.Text{Subject: k.subject, Type: k.typ, Definition: k.whole, References: refs})
		whole = append(whole, w)

		byID, err := c.ByID(t.Context(), w.ID)
		wantText(t, "by id", byID, err, w)
		latest, err := c.Version(t.Context(), k.subject, 0)
		wantText(t, "the latest", latest, err, w)
		first, err := c.Version(t.Context(), k.subject, 1)
		wantText(t, "version 1", first, err, w)
		again, created, err := c.Register(t.Context(), registry.Registration{Text: w})
		wantText(t, "registered again", again, err, w)
		if created {
			t.Errorf("%s was created twice", k.subject)
		}
	}
	return whole
}

func wantText(t *testing.T, what string, got schema.Text, err error, want schema.Text) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, %v; want\n%+v", what, got, err, want)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	t.Logf("%s: %v", what, err)
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func TestKafkaClient(t *testing.T) {
	r := kafkatest.StartRegistry(t, kafkatest.Start(t).Addrs()...)
	c := newClient(t, config(r))
	whole := registerKinds(t, c)
	t.Run("subjects", func(t *testing.T) { testSubjects(t, c) })
	t.Run("compatibility", func(t *testing.T) { testCompatibility(t, c) })
	t.Run("errors", func(t *testing.T) { testErrors(t, c) })

	r.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := c.ByID(ctx, whole[0].ID)
	wantError(t, "a registry that does not answer", err, schema.ErrUnavailable)
	r.Resume()
	r.Kill()
	_, err = c.ByID(t.Context(), whole[0].ID)
	wantError(t, "a registry that is not there", err, schema.ErrUnavailable)
	r.Restart()
	got, err := c.ByID(t.Context(), whole[0].ID)
	wantText(t, "after a restart", got, err, whole[0])
}

func testSubjects(t *testing.T, c *registry.Client) {
	subjects, err := c.Subjects(t.Context(), "address")
	if err != nil || !slices.Equal(subjects, []string{"address-value", "address.proto"}) {
		t.Errorf("subjects %q, %v", subjects, err)
	}
	// One text under two subjects: which one is meant nobody can say.
	other := register(t, c, schema.Text{Subject: "other-value", Type: schema.Avro, Definition: avroOrder})
	shared, err := c.ByID(t.Context(), other.ID)
	other.Subject, other.Version = "", 0
	wantText(t, "a shared text", shared, err, other)
}

func testCompatibility(t *testing.T, c *registry.Client) {
	ctx := t.Context()
	old := schema.Text{Subject: "rule-value", Type: schema.Avro, Definition: avroOrder}
	grown := old
	grown.Definition = avroGrown
	if _, created, err := c.Register(ctx, registry.Registration{Text: old, DryRun: true}); err != nil || !created {
		t.Errorf("a dry run of a new subject: created %t, %v", created, err)
	}
	_, _, err := c.Register(ctx, registry.Registration{Text: old, Compatibility: schema.CompatibilityBackward})
	if err != nil {
		t.Fatalf("a new subject with a rule: %v", err)
	}
	wantRule(t, c, "rule-value", schema.CompatibilityBackward)
	_, _, err = c.Register(ctx, registry.Registration{Text: grown, DryRun: true})
	wantError(t, "a dry run of an incompatible version", err, schema.ErrIncompatible)
	_, _, err = c.Register(ctx, registry.Registration{Text: grown})
	wantError(t, "an incompatible version", err, schema.ErrIncompatible)
	_, _, err = c.Register(ctx, registry.Registration{Text: grown, Compatibility: schema.CompatibilityFull})
	wantError(t, "an incompatible version with its rule", err, schema.ErrIncompatible)
	wantRule(t, c, "rule-value", schema.CompatibilityBackward)

	text, created, err := c.Register(ctx, registry.Registration{Text: grown, Compatibility: schema.CompatibilityNone})
	if err != nil || !created || text.Version != 2 {
		t.Errorf("a second version: %+v, created %t, %v", text, created, err)
	}
	versions, err := c.Versions(ctx, "rule-value")
	if err != nil || !slices.Equal(versions, []int{1, 2}) {
		t.Errorf("versions %v, %v", versions, err)
	}
}

func wantRule(t *testing.T, c *registry.Client, subject string, want schema.Compatibility) {
	t.Helper()
	if rule, err := c.Compatibility(t.Context(), subject); err != nil || rule != want {
		t.Errorf("the rule of %s is %d, %v; want %d", subject, rule, err, want)
	}
}

func testErrors(t *testing.T, c *registry.Client) {
	ctx := t.Context()
	_, err := c.ByID(ctx, 99999)
	wantError(t, "an unknown id", err, schema.ErrNotFound)
	_, err = c.Version(ctx, "nobody-value", 0)
	wantError(t, "an unknown subject", err, schema.ErrNotFound)
	_, err = c.Version(ctx, "order-value", 77)
	wantError(t, "an unknown version", err, schema.ErrNotFound)
	_, err = c.Versions(ctx, "nobody-value")
	wantError(t, "the versions of an unknown subject", err, schema.ErrNotFound)
	for what, text := range map[string]schema.Text{
		"no Avro schema":     {Type: schema.Avro, Definition: `{"type":"nonsense"}`},
		"no JSON Schema":     {Type: schema.JSON, Definition: `{broken`},
		"no Protobuf schema": {Type: schema.Protobuf, Definition: `message {`},
		"an unresolved reference": {Type: schema.JSON, Definition: jsonOrder,
			References: []schema.Reference{{Name: "address.json", Subject: "nobody-value", Version: 1}}},
	} {
		text.Subject = "errors-value"
		_, _, err := c.Register(ctx, registry.Registration{Text: text})
		wantError(t, what, err, schema.ErrInvalid)
		text.Subject = "order-value" // one that is there
		_, _, err = c.Register(ctx, registry.Registration{Text: text})
		wantError(t, what+" for a known subject", err, schema.ErrInvalid)
	}
}

// checked is the event's schema, or its refusal.
func checked(t *testing.T, cache *schema.Cache, typ, named, data string) (*stages.Schema, stages.Verdict) {
	t.Helper()
	ev := &stages.Event{Data: []byte(data)}
	ev.Type.Value = []byte(typ)
	if named != "" {
		ev.More, ev.DataSchema.Value = true, []byte(named)
	}
	registry.Check(cache, ev)
	return ev.Schema, ev.Verdict
}

func TestKafkaCache(t *testing.T) {
	r := kafkatest.StartRegistry(t)
	cfg := config(r)
	c := newClient(t, cfg)
	whole := registerKinds(t, c)
	away := make(chan struct{}, 100)
	cache := schema.New(cfg, c, schema.Options{Topic: "events", Failed: func(name string, err error) {
		t.Logf("%s: %v", name, err)
		if errors.Is(err, schema.ErrUnavailable) && name == `subject "json-value"` {
			away <- struct{}{}
		}
	}})
	t.Cleanup(cache.Close)

	for i, k := range kinds {
		for _, named := range []string{"", strconv.Itoa(whole[i].ID), k.subject + "/1", k.subject + "/latest"} {
			s, verdict := checked(t, cache, k.subject, named, k.good)
			if s == nil || s.ID != whole[i].ID || len(s.Prefix) < 5 {
				t.Errorf("%s named %q: schema %+v, %+v", k.typ, named, s, verdict.Detail)
			}
			if _, verdict := checked(t, cache, k.subject, named, k.bad); verdict.Reason != stages.SchemaViolation {
				t.Errorf("%s named %q: %v %+v for data that does not match", k.typ, named, verdict.Reason, verdict.Detail)
			}
		}
	}
	if s, verdict := checked(t, cache, "json-value", "https://example.com/order.json", kinds[1].good); s == nil {
		t.Errorf("by $id: %v %+v", verdict.Reason, verdict.Detail)
	}
	if _, verdict := checked(t, cache, "nobody-value", "", "{}"); verdict.Reason != stages.SchemaNotFound {
		t.Errorf("an unknown subject: %v %+v", verdict.Reason, verdict.Detail)
	}
	// The registry takes what no compiler takes.
	register(t, c, schema.Text{Subject: "import-value", Type: schema.Protobuf, Definition: protoOrder})
	if _, verdict := checked(t, cache, "import-value", "", ""); verdict.Reason != stages.SchemaInvalid {
		t.Errorf("a schema that does not compile: %v %+v", verdict.Reason, verdict.Detail)
	}

	r.Kill()
	if _, verdict := checked(t, cache, "unseen-value", "", "{}"); verdict.Reason != stages.SchemaUnavailable {
		t.Errorf("the registry is away: %v %+v", verdict.Reason, verdict.Detail)
	}
	// What is known is asked for again when its time is over, in vain, and goes on being used.
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	tooLong := time.After(time.Minute)
	for again := true; again; {
		if s, verdict := checked(t, cache, "json-value", "", kinds[1].good); s == nil {
			t.Fatalf("while the registry is away: %v %+v", verdict.Reason, verdict.Detail)
		}
		select {
		case <-away:
			again = false
		case <-tick.C:
		case <-tooLong:
			t.Fatal("the registry was not asked again")
		}
	}
	if s, verdict := checked(t, cache, "json-value", "", kinds[1].good); s == nil {
		t.Errorf("after the registry was asked in vain: %v %+v", verdict.Reason, verdict.Detail)
	}
}
