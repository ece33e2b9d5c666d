//go:build kafka

package main

// Schemas of a real registry, whose schemas are in Apache Kafka: registered through the gateway, enforced by it in three
// languages, written in the wire format, and used while the registry is away.

import (
	"context"
	bigendian "encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
)

// language is a schema, data that matches it and data that does not, and what the wire format puts behind the id.
type language struct {
	subject    string
	schemaType schemav1.SchemaType
	definition string
	good, bad  string
	indexes    string
}

const (
	avroTicket = `{"type":"record","name":"Ticket","fields":[{"name":"id","type":"string"}]}`
	avroPriced = `{"type":"record","name":"Ticket","fields":[{"name":"id","type":"string"},{"name":"cents","type":"int","default":0}]}`
	avroBroken = `{"type":"record","name":"Ticket","fields":[{"name":"id","type":"string"},{"name":"seat","type":"int"}]}`
)

var allLanguages = []language{
	{"json-value", schemav1.SchemaType_SCHEMA_TYPE_JSON, orderSchema, `{"id":"1","total":2}`, `{"total":-2}`, ""},
	{"avro-value", schemav1.SchemaType_SCHEMA_TYPE_AVRO, avroTicket, "\x04ab", "\x05ab", ""},
	{"proto-value", schemav1.SchemaType_SCHEMA_TYPE_PROTOBUF, "syntax = \"proto3\";\nmessage Ticket { string id = 1; }\n", "\n\x01a", "\n\x09a", "\x00"},
}

// schemaGateway is a gateway with a registry, and its clients. The subject of an event is its type.
type schemaGateway struct {
	*process
	t       *testing.T
	events  gatewayv1.EventGatewayClient
	schemas schemav1.SchemaServiceClient
}

func (g schemaGateway) register(subject string, schemaType schemav1.SchemaType, definition string) (*schemav1.Schema, error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	r, err := g.schemas.RegisterSchema(ctx, &schemav1.RegisterSchemaRequest{Subject: subject, Type: schemaType, Definition: definition,
		Compatibility: schemav1.Compatibility_COMPATIBILITY_BACKWARD})
	return r.GetSchema(), err
}

func (g schemaGateway) send(subject, data string) error {
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	_, err := g.events.IngestEvent(ctx, &gatewayv1.IngestEventRequest{
		Event: &eventv1.Event{Source: "/s", Type: subject, PartitionKey: subject, Data: []byte(data)}})
	return err
}

// refused wants an event refused.
func (g schemaGateway) refused(subject, data string, code codes.Code, reason string) {
	g.t.Helper()
	if info := errorInfo(g.t, g.send(subject, data), code); info.Reason != reason {
		g.t.Errorf("%s %q: %v, want %s", subject, data, info, reason)
	}
}

// during sends events while something else goes on, and returns the errors.
func (g schemaGateway) during(do func(), send func() error) (failed []error) {
	over, sent := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(sent)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			if err := send(); err != nil {
				failed = append(failed, err)
			}
			select {
			case <-over:
				return
			case <-ticker.C:
			}
		}
	}()
	do()
	close(over)
	<-sent
	return failed
}

func TestKafkaSchemas(t *testing.T) {
	c := kafkatest.Shared(t)
	registry := kafkatest.StartRegistry(t, c.Addrs()...)
	p, topic := kafkaGateway(t, c, "SCHEMA_VALIDATION_ENABLED=true", "SCHEMA_REGISTRY_URL="+registry.URL, "SCHEMA_SUBJECT={type}",
		"SCHEMA_WIRE_FORMAT=confluent", "SCHEMA_REGISTRATION_ENABLED=true", "SCHEMA_CACHE_TTL=1s", "SCHEMA_TIMEOUT=3s")
	conn := dialGateway(t, p)
	g := schemaGateway{p, t, gatewayv1.NewEventGatewayClient(conn), schemav1.NewSchemaServiceClient(conn)}

	languages := slices.Clone(allLanguages)
	want := map[string][]string{} // by subject, the values in the order in which they were acknowledged
	ids := map[string]int32{}
	store := func(l language) error {
		err := g.send(l.subject, l.good)
		if err == nil {
			prefix := bigendian.BigEndian.AppendUint32([]byte{0}, uint32(ids[l.subject]))
			want[l.subject] = append(want[l.subject], string(prefix)+l.indexes+l.good)
		}
		return err
	}
	stored := func(l language) {
		t.Helper()
		if err := store(l); err != nil {
			t.Fatalf("%s: %v", l.subject, err)
		}
	}
	for _, l := range languages {
		s, err := g.register(l.subject, l.schemaType, l.definition)
		if err != nil || s.Version != 1 || s.Id < 1 || s.Type != l.schemaType {
			t.Fatalf("register %s: %v, %v", l.subject, s, err)
		}
		ids[l.subject] = s.Id
		stored(l)
		g.refused(l.subject, l.bad, codes.InvalidArgument, "SCHEMA_VIOLATION")
	}
	g.refused("nobody-value", "{}", codes.InvalidArgument, "SCHEMA_NOT_FOUND")

	avro := languages[1]
	_, err := g.register(avro.subject, avro.schemaType, avroBroken)
	if info := errorInfo(t, err, codes.FailedPrecondition); info.Reason != "SCHEMA_INCOMPATIBLE" {
		t.Errorf("a version that cannot read what the last one wrote: %v", info)
	}
	stored(avro)
	second, err := g.register(avro.subject, avro.schemaType, avroPriced)
	if err != nil || second.Version != 2 {
		t.Fatalf("a version that can: %v, %v", second, err)
	}
	// The next event has the registry asked again, and is itself still held against the version before.
	ids[avro.subject], languages[1].good = second.Id, "\x04ab\x0e"
	eventually(t, "the second version", func() bool { return store(languages[1]) == nil })

	registry.Kill()
	g.refused("unseen-value", "{}", codes.Unavailable, "SCHEMA_UNAVAILABLE")
	_, err = g.register("unseen-value", schemav1.SchemaType_SCHEMA_TYPE_JSON, orderSchema)
	if info := errorInfo(t, err, codes.Unavailable); info.Reason != "SCHEMA_UNAVAILABLE" {
		t.Errorf("a registration without a registry: %v", info)
	}
	eventually(t, "schemas are served stale", func() bool {
		for _, l := range languages {
			stored(l)
		}
		_, text := p.get("/metrics")
		return !strings.Contains(text, "\ngateway_schema_stale_served_total 0\n")
	})
	g.refused(avro.subject, avro.bad, codes.InvalidArgument, "SCHEMA_VIOLATION")

	// Before it has read its topic, the registry says that it has nothing.
	for _, err := range g.during(registry.Restart, func() error { return store(languages[0]) }) {
		t.Errorf("while the registry starts: %v", err)
	}
	eventually(t, "the registry's answer about an unknown schema", func() bool {
		return errorInfoReason(g.send("unseen-value", "{}")) == "SCHEMA_NOT_FOUND"
	})
	unseen, err := g.register("unseen-value", schemav1.SchemaType_SCHEMA_TYPE_JSON, orderSchema)
	if err != nil || unseen.Id != ids["json-value"] { // the same text has the same id, which the registry has kept
		t.Fatalf("register after the restart: %v, %v", unseen, err)
	}
	ids["unseen-value"] = unseen.Id
	stored(language{subject: "unseen-value", good: `{"id":"2"}`})
	for _, l := range languages {
		stored(l)
	}

	got := map[string][]string{}
	total := 0
	for _, r := range readTopic(t, c, topic) {
		got[string(r.Key)] = append(got[string(r.Key)], string(r.Value))
		total++
	}
	for subject, values := range want {
		if !slices.Equal(got[subject], values) {
			t.Errorf("%s: stored are\n%q, want\n%q", subject, got[subject], values)
		}
		total -= len(values)
	}
	if total != 0 {
		t.Errorf("%d records more than were acknowledged", total)
	}
}
