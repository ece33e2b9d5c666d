//go:build kafka

package main

// Rules in all languages in one gateway, into several topics of Apache Kafka and under other keys, with the order of each
// original key; and dead letters there, listed and sent again.

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// shaped is one event of a stream of this file's test: what is sent, and what is to become of it.
type shaped struct {
	id, kind, key string
	seq           int
	test, dead    bool
}

// kinds are the types of events, each of which has a rule in its language.
var kinds = []string{"order.jq", "user.cel", "order.expr", "user.template"}

// shapedEvent is the n-th event of a stream. Keys and types are interleaved, so that each key has events of all types.
func shapedEvent(stream, n int) shaped {
	return shaped{id: fmt.Sprintf("s%d-%05d", stream, n), key: fmt.Sprintf("s%d-key-%d", stream, n*7%13), kind: kinds[n*5%4], seq: n,
		test: n%31 == 30, dead: n%29 == 28 && n%31 != 30}
}

func (s *shaped) event() *eventv1.Event {
	e := &eventv1.Event{Id: s.id, Source: "/shape", Type: s.kind, PartitionKey: s.key, Metadata: map[string]string{"original": s.key},
		Data: fmt.Appendf(nil, `{"seq":%d,"big":9007199254740993,"group":"g%d"}`, s.seq, s.seq*7%13%3)}
	if s.test {
		e.Metadata["env"] = "test"
	}
	if s.dead {
		e.Data = []byte("no JSON")
	}
	return e
}

// topic is where the event is to be found, and data what it is to hold.
func (s *shaped) topic() string { return strings.Split(s.kind, ".")[0] }

func (s *shaped) data() string {
	return fmt.Sprintf(`{"seq":%d,"by":%q,"big":9007199254740993}`, s.seq, strings.Split(s.kind, ".")[1])
}

// shapeRules are the rules of the test; the events' topics are named by the first word of their type.
func shapeRules(orders, users string) []string {
	return []string{
		`TRANSFORM_0_FILTER=metadata["env"] != "test"`,
		// The new key gathers several old ones.
		"TRANSFORM_1_SET=partition_key=data.group", "TRANSFORM_1_ON_ERROR=dead_letter",
		`TRANSFORM_2_MATCH=type == "order.jq"`, `TRANSFORM_2_JQ={seq, by: "jq", big}`,
		`TRANSFORM_3_MATCH=type == "order.expr"`, `TRANSFORM_3_EXPR={"seq": data.seq, "by": "expr", "big": data.big}`,
		`TRANSFORM_4_MATCH=type == "user.cel"`, `TRANSFORM_4_CEL={"seq": data.seq, "by": "cel", "big": data.big}`,
		`TRANSFORM_5_MATCH=type == "user.template"`, `TRANSFORM_5_TEMPLATE={"seq":{{json .data.seq}},"by":"template","big":{{json .data.big}}}`,
		`TRANSFORM_6_MATCH=type startsWith "order."`, "TRANSFORM_6_TOPIC=" + orders,
		`TRANSFORM_7_MATCH=type startsWith "user."`, "TRANSFORM_7_TOPIC=" + users,
	}
}

// sendShaped sends n events on a stream and returns how many had which outcome.
func sendShaped(t *testing.T, client gatewayv1.EventGatewayClient, stream, n int) map[gatewayv1.Outcome]int {
	t.Helper()
	call, err := client.IngestEventStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for i := range n {
			s := shapedEvent(stream, i)
			if call.Send(&gatewayv1.IngestEventRequest{Event: s.event()}) != nil {
				return // Recv says why
			}
		}
		_ = call.CloseSend()
	}()
	outcomes := map[gatewayv1.Outcome]int{}
	for i := range n {
		r, err := call.Recv()
		if err != nil {
			t.Errorf("stream %d ended after %d answers: %v", stream, i, err)
			return outcomes
		}
		s := shapedEvent(stream, i)
		want := acknowledged
		switch {
		case s.test:
			want = gatewayv1.Outcome_OUTCOME_FILTERED
		case s.dead:
			want = refused
		}
		if r.EventId != s.id || r.Outcome != want || r.DeadLettered != s.dead {
			t.Errorf("%s is answered %v", s.id, r)
		}
		outcomes[r.Outcome]++
	}
	return outcomes
}

// judgeShaped holds a topic against what was sent: every event there once, with the data of its rule, and those of one
// original key in their order.
func judgeShaped(t *testing.T, records []*kgo.Record, topic string, streams, n int) (stored int) {
	t.Helper()
	want := map[string]shaped{}
	for stream := range streams {
		for i := range n {
			if s := shapedEvent(stream, i); s.topic() == topic && !s.test && !s.dead {
				want[s.id] = s
			}
		}
	}
	last, partition := map[string]int{}, map[string]int32{}
	for _, r := range records {
		s, ok := want[eventID(r)]
		delete(want, s.id)
		if !ok {
			t.Errorf("%s holds %q, which does not belong there, or is there twice", topic, eventID(r))
			continue
		}
		stored++
		if !sameJSON(string(r.Value), s.data()) || header(r, "ce_original") != s.key || string(r.Key) != fmt.Sprintf("g%d", s.seq*7%13%3) {
			t.Errorf("%s is stored with the key %q, the headers %v and %s", s.id, r.Key, r.Headers, r.Value)
		}
		if before, ok := last[s.key]; ok && (before >= s.seq || partition[s.key] != r.Partition) {
			t.Errorf("%s: %d is behind %d of its key", topic, s.seq, before)
		}
		last[s.key], partition[s.key] = s.seq, r.Partition
	}
	if len(want) > 0 {
		t.Errorf("%s lacks %d events", topic, len(want))
	}
	return stored
}

// sameJSON compares objects as texts of their members: numbers must have the same digits.
func sameJSON(a, b string) bool {
	var one, other map[string]json.RawMessage
	if json.Unmarshal([]byte(a), &one) != nil || json.Unmarshal([]byte(b), &other) != nil || len(one) != len(other) {
		return false
	}
	for name := range one {
		if string(one[name]) != string(other[name]) {
			return false
		}
	}
	return true
}

func TestKafkaRules(t *testing.T) {
	c := kafkatest.Shared(t)
	const streams, each = 3, 3000
	orders, users, dead := c.Topic(4), c.Topic(3), c.Topic(2)
	settings := append(shape(2, 1, 2, 3, 2, 2), "KAFKA_TOPICS_ALLOWED="+orders+","+users, "KAFKA_DLQ_TOPIC="+dead)
	p, topic := kafkaGateway(t, c, append(settings, shapeRules(orders, users)...)...)
	client := gatewayv1.NewEventGatewayClient(dialGateway(t, p))
	outcomes := make(chan map[gatewayv1.Outcome]int)
	for stream := range streams {
		go func() { outcomes <- sendShaped(t, client, stream, each) }()
	}
	sum := map[gatewayv1.Outcome]int{}
	for range streams {
		for o, n := range <-outcomes {
			sum[o] += n
		}
	}
	inOrders := judgeShaped(t, readTopic(t, c, orders), "order", streams, each)
	inUsers := judgeShaped(t, readTopic(t, c, users), "user", streams, each)
	if inOrders+inUsers != sum[acknowledged] || inOrders == 0 || inUsers == 0 {
		t.Errorf("%d and %d are stored, %d were acknowledged", inOrders, inUsers, sum[acknowledged])
	}
	if n := len(readTopic(t, c, topic)); n != 0 {
		t.Errorf("%d events are in KAFKA_TOPIC, where no rule sends any", n)
	}
	checkIdentity(t, p, streams*each)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	judgeLetters(t, c, dead, sum[refused])
	redriveShaped(t, c, gatewayOn(t, c, topic, append(settings, `TRANSFORM_0_SET=data_content_type="text/plain"`, "TRANSFORM_0_TOPIC="+orders)...),
		dead, orders, inOrders, sum[refused])
}

// judgeLetters holds the dead letters, and what gateway dlq list says of them, against what was refused.
func judgeLetters(t *testing.T, c *kafkatest.Cluster, dead string, count int) {
	t.Helper()
	letters := readTopic(t, c, dead)
	if len(letters) != count || count == 0 {
		t.Errorf("%d dead letters, %d refused", len(letters), count)
	}
	last := map[string]string{}
	for _, r := range letters {
		if header(r, "dlq_rule") != "TRANSFORM_1" || header(r, "dlq_stage") != "transform" || !strings.Contains(string(r.Key), "-key-") {
			t.Fatalf("a dead letter has the key %q and the headers %v", r.Key, r.Headers)
		}
		id := header(r, "dlq_id")
		if id <= last[string(r.Key)] {
			t.Errorf("the dead letter of %s is behind that of %s", id, last[string(r.Key)])
		}
		last[string(r.Key)] = id
	}
	code, stdout, stderr := command(t, "", environ("KAFKA_BROKERS="+strings.Join(c.Addrs(), ","), "KAFKA_DLQ_TOPIC="+dead), "dlq", "list", "--json")
	listed := 0
	for line := range strings.Lines(stdout) {
		var l struct{ Reason, Stage, Rule, ID, Key, Type string }
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.Reason != "TRANSFORM_FAILED" || l.Stage != "transform" || l.Rule != "TRANSFORM_1" ||
			l.ID == "" || !strings.Contains(l.Key, "-key-") {
			t.Fatalf("listed is %s, %v", line, err)
		}
		listed++
	}
	if code != 0 || listed != count {
		t.Errorf("dlq list: exit code %d, %d of %d letters: %s", code, listed, count, stderr)
	}
}

// redriveShaped sends the letters again to a gateway whose rules take them; a second run finds that all is done.
func redriveShaped(t *testing.T, c *kafkatest.Cluster, p *process, dead, orders string, before, count int) {
	t.Helper()
	for run, want := range []int{count, 0} {
		code, stdout, stderr := command(t, "", environ("KAFKA_BROKERS="+strings.Join(c.Addrs(), ","), "KAFKA_DLQ_TOPIC="+dead,
			"KAFKA_GROUP_ID="+dead), "dlq", "redrive", "--json", "--address", p.grpc)
		var totals struct{ Sent, Acknowledged int }
		if err := json.Unmarshal([]byte(stdout), &totals); err != nil || code != 0 || totals.Acknowledged != want || totals.Sent != want {
			t.Errorf("redrive %d: exit code %d, %v: %s%s", run, code, err, stdout, stderr)
		}
	}
	last, found := map[string]string{}, 0
	for _, r := range readTopic(t, c, orders) {
		if string(r.Value) != "no JSON" {
			continue
		}
		found++
		if id, key := eventID(r), string(r.Key); id <= last[key] || !strings.Contains(key, "-key-") {
			t.Errorf("%s with the key %s was sent again behind %s", id, key, last[key])
		} else {
			last[key] = id
		}
	}
	if found != count {
		t.Errorf("%d of %d letters went through, beside the %d events before", found, count, before)
	}
	checkIdentity(t, p, int64(count))
}
