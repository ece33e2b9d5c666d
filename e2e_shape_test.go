package main

// Rules, dead letters and schemas end to end: the real binary, its embedded
// broker, its own commands, and a registry over HTTP.

import (
	"context"
	bigendian "encoding/binary"
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
)

// header is the value of a record's header.
func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// Events are filtered, changed and routed; those that a rule cannot take are kept, and go through when the rule was mended.
func TestRulesAndDeadLettersEndToEnd(t *testing.T) {
	t.Parallel()
	port, dir := freePort(t), t.TempDir()
	settings := []string{"EMBEDDED_DATA_DIR=" + dir, "EMBEDDED_KAFKA_PORT=" + port, "KAFKA_TOPICS_ALLOWED=orders", "KAFKA_DLQ_TOPIC=dead",
		`TRANSFORM_0_FILTER=metadata["env"] != "test"`, `TRANSFORM_1_MATCH=type startsWith "order."`, "TRANSFORM_1_TOPIC=orders",
		`TRANSFORM_1_SET=metadata.tenant=client; subject=data.id`, "TRANSFORM_1_ON_ERROR=dead_letter"}
	broken := append(settings[:len(settings):len(settings)], `TRANSFORM_1_EXPR={"id": data.id, "cents": data.total * 100}`)
	p := startGateway(t, broken...).ready()
	lines := `{"id":"a","type":"order.created","source":"/s","partitionKey":"k","data_json":{"id":"1","total":2}}
{"id":"b","type":"order.created","source":"/s","partitionKey":"k","data_json":{"id":"2","total":"three"}}
{"id":"c","type":"order.created","source":"/s","partitionKey":"k","metadata":{"env":"test"},"data_json":{"id":"3","total":4}}
{"id":"d","type":"user.created","source":"/s","partitionKey":"k","data_json":{"id":"4"}}
{"id":"e","type":"user.created","partitionKey":"k"}
`
	code, stdout, stderr := command(t, lines, environ(), "publish", "--json", "--address", p.grpc)
	var totals published
	if err := json.Unmarshal([]byte(stdout), &totals); err != nil || code != 1 {
		t.Fatalf("%d %v %s%s", code, err, stdout, stderr)
	}
	if totals.Refused != 2 || totals.Reasons["TRANSFORM_FAILED"] != 1 || totals.Reasons["INVALID_EVENT"] != 1 || totals.Acknowledged != 2 {
		t.Fatalf("%s%s", stdout, stderr)
	}
	orders := readEmbedded(t, port, "orders")
	if len(orders) != 1 || string(orders[0].Value) != `{"id":"1","cents":200}` && string(orders[0].Value) != `{"cents":200,"id":"1"}` {
		t.Fatalf("orders: %v", orders)
	}
	if header(orders[0], "ce_subject") != "1" || header(orders[0], "ce_tenant") != "127.0.0.1" {
		t.Fatalf("headers: %v", orders[0].Headers)
	}
	if events := readEmbedded(t, port, "events"); len(events) != 1 || eventID(events[0]) != "d" {
		t.Fatalf("events: %v", events)
	}
	checkIdentity(t, p, 5)
	if _, text := p.get("/metrics"); !strings.Contains(text, `outcome="refused",dead_lettered="true"} 2`) ||
		!strings.Contains(text, `gateway_rule_events_total{rule="TRANSFORM_0",result="filtered"} 1`) {
		t.Errorf("metrics:\n%s", text)
	}

	where := environ("KAFKA_DLQ_TOPIC=dead", "EMBEDDED_KAFKA_PORT="+port)
	code, stdout, stderr = command(t, "", where, "dlq", "list", "--json")
	if code != 0 || strings.Count(stdout, "\n") != 2 || !strings.Contains(stdout, `"TRANSFORM_1"`) || !strings.Contains(stdout, "INVALID_EVENT") {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	for _, r := range readEmbedded(t, port, "dead") {
		if string(r.Key) != "k" || header(r, "dlq_client") != "127.0.0.1" || header(r, "dlq_time") == "" || header(r, "dlq_message") == "" {
			t.Errorf("a dead letter has the key %q and the headers %v", r.Key, r.Headers)
		}
	}

	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	mended := append(settings[:len(settings):len(settings)], `TRANSFORM_1_EXPR={"id": data.id, "cents": data.total == "three" ? 0 : data.total * 100}`)
	p = startGateway(t, mended...).ready()
	code, stdout, stderr = command(t, "", where, "dlq", "redrive", "--address", p.grpc)
	if code != 1 { // the event without source is refused again
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	orders = readEmbedded(t, port, "orders")
	if len(orders) != 2 || eventID(orders[1]) != "b" {
		t.Fatalf("after the redrive: %v", orders)
	}
	if dead := readEmbedded(t, port, "dead"); len(dead) != 3 {
		t.Fatalf("%d dead letters, want the two and the one that was refused again", len(dead))
	}
}

// A unary caller is told which rule, and that its event is kept.
func TestDeadLetteredStatus(t *testing.T) {
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "KAFKA_DLQ_TOPIC=dead", `TRANSFORM_0_SET=subject=data.id`, "TRANSFORM_0_ON_ERROR=dead_letter").ready()
	client := gatewayv1.NewEventGatewayClient(dialGateway(t, p))
	_, err := client.IngestEvent(t.Context(), &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Source: "/s", Type: "t", Data: []byte("no JSON")}})
	info := errorInfo(t, err, codes.InvalidArgument)
	if info.Reason != "TRANSFORM_FAILED" || info.Metadata["rule"] != "TRANSFORM_0" || info.Metadata["dead_lettered"] != "true" || info.Metadata["stage"] != "transform" {
		t.Fatalf("%v", info)
	}
}

func dialGateway(t *testing.T, p *process) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func errorInfo(t *testing.T, err error, code codes.Code) *errdetails.ErrorInfo {
	t.Helper()
	st := status.Convert(err)
	if st.Code() != code {
		t.Fatalf("%v, want %v", err, code)
	}
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info
		}
	}
	t.Fatalf("%v has no ErrorInfo", err)
	return nil
}

// errorInfoReason is the reason of a refusal; "" when there is none.
func errorInfoReason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

const orderSchema = `{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"total":{"type":"number","minimum":0}}}`

// Data is held against the registry's schema, written in the wire format, and served from the cache when the registry is gone.
func TestSchemasEndToEnd(t *testing.T) {
	t.Parallel()
	fake := srfake.New()
	closed := false
	stop := func() {
		if !closed {
			closed = true
			fake.Close()
		}
	}
	defer stop()
	fake.SeedSchema("events-value", 1, 7, sr.Schema{Schema: orderSchema, Type: sr.TypeJSON})
	port := freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port, "SCHEMA_VALIDATION_ENABLED=true",
		"SCHEMA_REGISTRY_URL="+fake.URL(), "SCHEMA_WIRE_FORMAT=confluent", "SCHEMA_REGISTRATION_ENABLED=true", "SCHEMA_CACHE_TTL=1s").ready()
	conn := dialGateway(t, p)
	client, schemas := gatewayv1.NewEventGatewayClient(conn), schemav1.NewSchemaServiceClient(conn)
	event := func(data string) *eventv1.Event {
		return &eventv1.Event{Source: "/s", Type: "order.created", PartitionKey: "k", DataContentType: "application/json", Data: []byte(data)}
	}
	send := func(e *eventv1.Event) error {
		_, err := client.IngestEvent(t.Context(), &gatewayv1.IngestEventRequest{Event: e})
		return err
	}
	if err := send(event(`{"id":"1","total":2}`)); err != nil {
		t.Fatal(err)
	}
	err := send(event(`{"total":-2}`))
	if info := errorInfo(t, err, codes.InvalidArgument); info.Reason != "SCHEMA_VIOLATION" || info.Metadata["stage"] != "validate" {
		t.Fatalf("%v", info)
	}
	fields := map[string]string{}
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.FieldViolations {
				fields[v.Field] = v.Description
			}
		}
	}
	if len(fields) != 2 || fields["data/total"] == "" {
		t.Errorf("violations: %v", fields)
	}
	unknown := event(`{"id":"1"}`)
	unknown.DataSchema = "4711"
	if info := errorInfo(t, send(unknown), codes.InvalidArgument); info.Reason != "SCHEMA_NOT_FOUND" {
		t.Errorf("%v", info)
	}
	dry, err := schemas.ValidateEvent(t.Context(), &schemav1.ValidateEventRequest{Event: event(`{"total":-2}`)})
	if err != nil || dry.Outcome != gatewayv1.Outcome_OUTCOME_REFUSED || dry.Reason != "SCHEMA_VIOLATION" || len(dry.Violations) != 2 {
		t.Errorf("dry run: %v, %v", dry, err)
	}
	registered, err := schemas.RegisterSchema(t.Context(), &schemav1.RegisterSchemaRequest{Subject: "other-value", Definition: `{"type":"string"}`})
	if err != nil || !registered.Created || registered.Schema.Version != 1 {
		t.Fatalf("register: %v, %v", registered, err)
	}
	dry, err = schemas.ValidateEvent(t.Context(), &schemav1.ValidateEventRequest{Event: event(`{"id":"1"}`), Subject: "other-value"})
	if err != nil || dry.Reason != "SCHEMA_VIOLATION" {
		t.Errorf("dry run against another subject: %v, %v", dry, err)
	}
	list, err := schemas.ListSchemas(t.Context(), &schemav1.ListSchemasRequest{PageSize: 1})
	if err != nil || len(list.Schemas) != 1 || list.Schemas[0].Subject != "events-value" || list.NextPageToken == "" {
		t.Fatalf("list: %v, %v", list, err)
	}
	list, err = schemas.ListSchemas(t.Context(), &schemav1.ListSchemasRequest{PageSize: 1, PageToken: list.NextPageToken})
	if err != nil || len(list.Schemas) != 1 || list.Schemas[0].Subject != "other-value" || list.NextPageToken != "" {
		t.Fatalf("second page: %v, %v", list, err)
	}
	got, err := schemas.GetSchema(t.Context(), &schemav1.GetSchemaRequest{Id: registered.Schema.Id})
	if err != nil || got.Schema.Definition == "" {
		t.Errorf("get: %v, %v", got, err)
	}

	stop()
	served := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := client.IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: event(`{"id":"late"}`)})
		return err
	}
	for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); { // longer than SCHEMA_CACHE_TTL
		if err := served(); err != nil {
			t.Fatalf("without the registry: %v", err)
		}
	}
	for _, r := range readBack(t, port) {
		if len(r.Value) < 5 || r.Value[0] != 0 || bigendian.BigEndian.Uint32(r.Value[1:]) != 7 || !json.Valid(r.Value[5:]) {
			t.Fatalf("a record's value is %q", r.Value)
		}
	}
	unknown.DataSchema = "4712"
	if info := errorInfo(t, send(unknown), codes.Unavailable); info.Reason != "SCHEMA_UNAVAILABLE" {
		t.Errorf("%v", info)
	}
}

// A rule that is wrong stops the start with its name, its text and where it is wrong.
func TestBadRulesStopTheStart(t *testing.T) {
	for _, c := range []struct{ setting, want string }{
		{`TRANSFORM_0_FILTER=type ==`, "TRANSFORM_0_FILTER=type ==: "},
		{`TRANSFORM_0_CEL=data.`, "TRANSFORM_0_CEL=data.: "},
		{`TRANSFORM_0_TEMPLATE={{.data`, "TRANSFORM_0_TEMPLATE={{.data: "},
		{`TRANSFORM_1_SET=subject=id`, "TRANSFORM_1_SET: there is no TRANSFORM_0"},
		{`TRANSFORM_0_JQQ=.`, "TRANSFORM_0_JQQ: rules have no JQQ"},
		{`TRANSFORM_0_TOPIC=elsewhere`, "TRANSFORM_0_TOPIC=elsewhere: neither a topic of KAFKA_TOPICS_ALLOWED"},
		{`TRANSFORM_0_ON_ERROR=explode`, "TRANSFORM_0_ON_ERROR=explode: reject, pass, drop or dead_letter"},
		{`SCHEMA_WIRE_FORMAT=avro`, "SCHEMA_WIRE_FORMAT=avro: none or confluent"},
	} {
		code, _, stderr := command(t, "", environ("EMBEDDED_DATA_DIR="+t.TempDir(), c.setting))
		if code != 2 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %s", c.setting, code, stderr)
		}
	}
}
