//go:build kafka

package main

// Clients of other languages, as users run them, against the running binary and Apache Kafka.

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	"github.com/event-gateway/event-gateway/kafka/kafkatest/clients"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// storedEvents are the events of a topic by id; each may be there once.
func storedEvents(t *testing.T, c *kafkatest.Cluster, topic string) map[string]*eventv1.Event {
	t.Helper()
	events := map[string]*eventv1.Event{}
	for _, r := range readTopic(t, c, topic) {
		ev, err := kafka.EventFromRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		if events[ev.Id] != nil {
			t.Errorf("%s is stored twice", ev.Id)
		}
		if ev.PartitionKey != string(r.Key) {
			t.Errorf("%s has the key %q and says %q", ev.Id, r.Key, ev.PartitionKey)
		}
		events[ev.Id] = ev
	}
	return events
}

func TestKafkaClients(t *testing.T) {
	c := kafkatest.Shared(t)
	for language, run := range map[string]func(testing.TB, string, string) clients.Result{
		"python": clients.RunPython, "node": clients.RunNode,
	} {
		t.Run(language, func(t *testing.T) {
			p, topic := kafkaGateway(t, c)
			want := clients.Result{
				UnaryOK: true, UnaryErrorCode: "INVALID_ARGUMENT", UnaryErrorReason: "INVALID_EVENT", UnaryErrorDomain: "eventgateway",
				StreamAcked: clients.StreamEvents, BatchAcked: clients.BatchEvents, BatchStreamAcked: clients.BatchStreamEvents,
			}
			if got := run(t, p.grpc, "c"); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
			events := storedEvents(t, c, topic)
			if len(events) != clients.Events {
				t.Errorf("%d events in Kafka, want %d", len(events), clients.Events)
			}
			for method, n := range map[string]int{
				"unary": 1, "stream": clients.StreamEvents, "batch": clients.BatchEvents, "batchstream": clients.BatchStreamEvents,
			} {
				for i := range n {
					checkClientEvent(t, language, method, i, events[fmt.Sprintf("c-%s-%d", method, i)])
				}
			}
			checkIdentity(t, p, clients.Events+1)
		})
	}
}

func checkClientEvent(t *testing.T, language, method string, i int, ev *eventv1.Event) {
	t.Helper()
	if ev == nil {
		t.Errorf("event %d of %s is not in Kafka", i, method)
		return
	}
	var data struct{ N int }
	if err := json.Unmarshal(ev.Data, &data); err != nil || data.N != i || ev.Source != "/clients/"+language || ev.Subject != method ||
		ev.Type != "client.test" || ev.DataContentType != "application/json" || ev.PartitionKey != fmt.Sprint("key-", i%10) ||
		ev.Metadata["language"] != language || ev.Timestamp == nil {
		t.Errorf("event %d of %s is %v", i, method, ev)
	}
}

// grpcurl runs grpcurl and returns the JSON objects that it printed, and what it printed.
func grpcurl(t *testing.T, p *process, flags []string, call ...string) (answers []map[string]any, text string) {
	t.Helper()
	text, err := clients.RunGrpcurl(t, p.grpc, flags, call...)
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(strings.NewReader(text)); ; {
		var answer map[string]any
		if dec.Decode(&answer) != nil {
			return answers, text
		}
		answers = append(answers, answer)
	}
}

func TestKafkaClientsGrpcurl(t *testing.T) {
	c := kafkatest.Shared(t)
	p, topic := kafkaGateway(t, c, "KAFKA_NUM_PARTITIONS=1")
	for call, wants := range map[string][]string{
		"list":                         {"gateway.v1.EventGateway", "schema.v1.SchemaService", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"},
		"list gateway.v1.EventGateway": {"IngestEventStream", "IngestEventBatchStream", "SubscribeEvents", "ReplayEvents", "GetEvent"},
		"describe gateway.v1.EventGateway.IngestEvent": {"IngestEventRequest", "IngestEventResponse"},
		"describe event.v1.Event":                      {"partition_key = 12", "map<string, string> metadata = 9"},
		"grpc.health.v1.Health/Check":                  {`"SERVING"`},
	} {
		if _, text := grpcurl(t, p, nil, strings.Fields(call)...); !containsAll(text, wants) {
			t.Errorf("%s: want %q in %s", call, wants, text)
		}
	}
	const method = "gateway.v1.EventGateway/IngestEvent"
	data := func(json string) []string { return []string{"-d", json} }

	answers, text := grpcurl(t, p, data(`{"event": {"id": "one", "source": "/curl", "type": "t", "data": "aGVsbG8=",
		"partitionKey": "k", "metadata": {"m": "n"}}}`), method)
	if len(answers) != 1 || answers[0]["eventId"] != "one" || answers[0]["success"] != true ||
		answers[0]["outcome"] != "OUTCOME_ACKNOWLEDGED" || answers[0]["topic"] != topic {
		t.Errorf("%s", text)
	}

	answers, text = grpcurl(t, p, data(`{"event": {"source": "/curl", "type": "t", "id": "s0"}}
		{"event": {"type": "t", "id": "s1"}}
		{"event": {"source": "/curl", "type": "t", "id": "s2"}}`), method+"Stream")
	if len(answers) != 3 || answers[0]["eventId"] != "s0" || answers[2]["offset"] != "2" ||
		answers[1]["reason"] != "INVALID_EVENT" || answers[1]["outcome"] != "OUTCOME_REFUSED" {
		t.Errorf("%s", text)
	}

	answers, text = grpcurl(t, p, data(`{"events": [{"source": "/curl", "type": "t", "id": "b0"},
		{"source": "/curl", "id": "b1"}, {"source": "/curl", "type": "t"}]}`), method+"Batch")
	if len(answers) != 1 || answers[0]["succeeded"] != 2.0 ||
		!containsAll(text, []string{"INVALID_EVENT", `"failures"`, `"assignedIds"`}) {
		t.Errorf("%s", text)
	}

	_, err := clients.RunGrpcurl(t, p.grpc, data(`{"event": {"id": "x"}}`), method)
	details := []string{"InvalidArgument", "INVALID_EVENT", "eventgateway", "google.rpc.BadRequest"}
	if err == nil || !containsAll(err.Error(), details) {
		t.Errorf("a bad event: %v", err)
	}
	events := storedEvents(t, c, topic)
	one := events["one"]
	if len(events) != 5 || one == nil || string(one.Data) != "hello" || one.PartitionKey != "k" || one.Metadata["m"] != "n" {
		t.Errorf("in Kafka: %v", events)
	}
}

func containsAll(text string, parts []string) bool {
	for _, part := range parts {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}
