package cli

// Dead letters in a broker in memory, written as the gateway writes them.

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/kafka"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// testLetters is what the environment says of the dead letters.
var testLetters kafka.LetterSource

// deadTopic is a topic of dead letters with three partitions.
type deadTopic struct {
	t       *testing.T
	cluster *kfake.Cluster
	client  *kgo.Client
	clock   time.Time
}

func newDeadTopic(t *testing.T) *deadTopic {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "dead"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("dead"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	testLetters = kafka.LetterSource{Brokers: cluster.ListenAddrs(), Topic: "dead", Group: "gateway.dlq"}
	t.Cleanup(func() { testLetters = kafka.LetterSource{} })
	return &deadTopic{t: t, cluster: cluster, client: client, clock: time.Now().Add(-time.Hour).Truncate(time.Millisecond)}
}

const eventType = `application/x-protobuf; messageType="event.v1.Event"`

// write stores a letter a second after the one before.
func (d *deadTopic) write(partition int32, key, raw []byte, headers ...string) {
	d.t.Helper()
	d.clock = d.clock.Add(time.Second)
	record := &kgo.Record{Partition: partition, Key: key, Value: raw, Timestamp: d.clock}
	for i := 0; i < len(headers); i += 2 {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
	}
	if err := d.client.ProduceSync(d.t.Context(), record).FirstErr(); err != nil {
		d.t.Fatal(err)
	}
}

// add stores the letter of an event.
func (d *deadTopic) add(partition int32, reason string, event *eventv1.Event) {
	d.t.Helper()
	raw, err := proto.Marshal(event)
	if err != nil {
		d.t.Fatal(err)
	}
	var key []byte
	if event.PartitionKey != "" {
		key = []byte(event.PartitionKey)
	}
	d.write(partition, key, raw, "content-type", eventType, "dlq_reason", reason, "dlq_stage", "validate", "dlq_message", "it is "+reason,
		"dlq_time", d.clock.Add(time.Second).Format(time.RFC3339Nano), // as write will have it
		"dlq_client", "10.0.0."+fmt.Sprint(partition), "dlq_id", event.Id)
}

func shopEvent(id, key string) *eventv1.Event {
	return &eventv1.Event{Id: id, Source: "/shop", Type: "order." + id, PartitionKey: key, Data: []byte("data of " + id)}
}

// listed runs gateway dlq list and returns its rows.
func listed(t *testing.T, args ...string) []letterRow {
	t.Helper()
	code, stdout, stderr := run(t, "", append([]string{"dlq", "list"}, args...)...)
	if code != 0 {
		t.Fatalf("%v: exit code %d: %s%s", args, code, stdout, stderr)
	}
	var rows []letterRow
	for line := range strings.Lines(stdout) {
		var row letterRow
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		rows = append(rows, row)
	}
	return rows
}

func ids(rows []letterRow) string {
	var all []string
	for i := range rows {
		all = append(all, rows[i].ID)
	}
	return strings.Join(all, " ")
}

func TestListOfDeadLetters(t *testing.T) {
	d := newDeadTopic(t)
	d.add(2, "SCHEMA_VIOLATION", shopEvent("a", "k"))
	d.add(0, "INVALID_EVENT", shopEvent("b", ""))
	middle := d.clock
	d.write(1, []byte("\xff"), []byte("\xff\xff"), "content-type", "application/octet-stream", "dlq_reason", "MALFORMED_EVENT",
		"dlq_stage", "decode", "dlq_rule", "TRANSFORM_0", "dlq_id", "c")
	d.write(1, nil, []byte("{}"), "ce_specversion", "1.0")
	d.add(2, "SCHEMA_VIOLATION", shopEvent("d", ""))
	for _, c := range []struct{ args, want string }{
		{"", "a b c  d"}, {"--limit 2", " d"}, {"--limit 1", "d"}, {"--limit 9", "a b c  d"}, {"--reason schema_violation", "a d"},
		{"--reason SCHEMA_VIOLATION,INVALID_EVENT", "a b d"}, {"--stage decode", "c"}, {"--rule TRANSFORM_0", "c"}, {"--rule transform_0", ""},
		{"--type order.a", "a"}, {"--type order.* --limit 2", "b d"}, {"--type order", ""}, {"--client 10.0.0.2", "a d"},
		{"--partition 1", "c "}, {"--partition 1,0", "b c "}, {"--since 1s", ""}, {"--since 2h", "a b c  d"},
		{"--since " + middle.UTC().Format(time.RFC3339Nano), "b c  d"},
		{"--since " + middle.Add(time.Millisecond).Format(time.RFC3339Nano), "c  d"},
		{"--reason SCHEMA_VIOLATION --partition 0", ""},
	} {
		if got := ids(listed(t, strings.Fields(c.args)...)); got != c.want {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	row := listed(t)[0]
	want := letterRow{Partition: 2, Offset: 0, Time: row.Received, Received: row.Received, Reason: "SCHEMA_VIOLATION", Stage: "validate",
		Message: "it is SCHEMA_VIOLATION", ID: "a", Type: "order.a", Source: "/shop", Key: "k", Client: "10.0.0.2", Size: row.Size}
	if fmt.Sprint(row) != fmt.Sprint(want) || row.Size == 0 {
		t.Errorf("row %+v", row)
	}
	if rows := listed(t); string(rows[2].KeyBytes) != "\xff" || rows[2].Key != "" || !strings.Contains(rows[3].Error, "not a dead letter") {
		t.Errorf("rows %+v", rows[2:4])
	}
	_, _, stderr := run(t, "", "dlq", "list")
	for _, line := range []string{"dead letters 4", "SCHEMA_VIOLATION 2", "other records 1"} {
		if !strings.Contains(strings.Join(strings.Fields(stderr), " "), line) {
			t.Errorf("no %q in %s", line, stderr)
		}
	}
	_, stdout, stderr := run(t, "", "dlq", "list", "--summary", "--limit", "1")
	if stdout != `{"letters":4,"reasons":{"INVALID_EVENT":1,"MALFORMED_EVENT":1,"SCHEMA_VIOLATION":2},"others":1}`+"\n" || stderr != "" {
		t.Errorf("summary %s%s", stdout, stderr)
	}
}

// What a client has put into its event does nothing to the terminal of who reads it.
func TestTableOfDeadLettersIsHarmless(t *testing.T) {
	d := newDeadTopic(t)
	event := shopEvent("\x1b[2J\u009b31m", "a\tb\nc\u202e")
	event.Type = strings.Repeat("ä", 100)
	d.add(0, "X\x07", event)
	d.write(0, nil, nil)
	code, stdout, _ := run(t, "", "dlq", "list", "--table")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if code != 0 || len(lines) != 3 || !strings.HasPrefix(lines[0], "LETTER") || !strings.Contains(lines[2], "no dead letter") {
		t.Fatalf("%d: %q", code, stdout)
	}
	if printable(lines[1]) != lines[1] || !strings.Contains(lines[1], "?[2J?31m") || !strings.Contains(lines[1], "a?b?c?") ||
		!strings.Contains(lines[1], strings.Repeat("ä", 37)+"... ") {
		t.Fatalf("%q", lines[1])
	}
	var escaped strings.Builder
	if _, err := (escaper{&escaped}).Write([]byte("\"a\u009bä\U000e0001\x7f\"\n")); err != nil || escaped.String() != `"a\u009bä\udb40\udc01\u007f"`+"\n" {
		t.Fatalf("%q, %v", escaped.String(), err)
	}
}

func TestShowOfDeadLetters(t *testing.T) {
	d := newDeadTopic(t)
	text, object, binary := shopEvent("text", "k"), shopEvent("object", ""), shopEvent("binary", "")
	object.Data, object.DataContentType = []byte(`{"total":9007199254740993,"a":"<&>"}`), "application/json"
	binary.Data = []byte{0, 1, 0xff}
	badTime := shopEvent("time", "")
	badTime.Timestamp = &timestamppb.Timestamp{Seconds: 1 << 60, Nanos: -1}
	for _, event := range []*eventv1.Event{text, object, binary, badTime} {
		d.add(0, "INVALID_EVENT", event)
	}
	noise := strings.Repeat("\xff", 5000)
	d.write(1, nil, []byte(noise), "content-type", "application/octet-stream", "dlq_reason", "MALFORMED_EVENT")
	for at, want := range map[string][]string{
		"0/0": {`"reason": "INVALID_EVENT"`, `"offset": 0`, `"data_text": "data of text"`, `"partitionKey": "k"`, `"client": "10.0.0.0"`},
		"0/1": {`"total": 9007199254740993`, `"a": "<&>"`},
		"0/2": {`"data": "AAH/"`},
		"0/3": {`"seconds": 1152921504606846976`, `"nanos": -1`},
		"1/0": {`"raw_start_base64": "/////`, `"size": 5000`},
	} {
		code, stdout, stderr := run(t, "", "dlq", "show", at)
		if code != 0 || !json.Valid([]byte(stdout)) || len(stdout) > 2500 {
			t.Errorf("%s: %d: %s%s", at, code, stdout, stderr)
		}
		for _, part := range want {
			if !strings.Contains(stdout, part) {
				t.Errorf("%s: no %s in %s", at, part, stdout)
			}
		}
	}
	raw, _ := proto.Marshal(text)
	for at, want := range map[string]string{"0/0": string(raw), "1/0": noise} {
		if code, stdout, _ := run(t, "", "dlq", "show", at, "--raw"); code != 0 || stdout != want {
			t.Errorf("%s --raw: %d: %q", at, code, stdout)
		}
	}
	for args, want := range map[string]string{
		"0/4": "the partition has the offsets 0 to 3", "2/0": "the partition is empty", "3/0": "partitions 0 to 2",
		"1/0 --event": "1/0 is no event",
	} {
		if code, _, stderr := run(t, "", append([]string{"dlq", "show"}, strings.Fields(args)...)...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d: %s", args, code, stderr)
		}
	}
	for _, bad := range []string{"1", "a/b", "-1/0", "1/-2", "0/1/2", "99999999999/0"} {
		if code, _, stderr := run(t, "", "dlq", "show", "--", bad); code != 2 || !strings.Contains(stderr, "PARTITION/OFFSET") {
			t.Errorf("%s: %d: %s", bad, code, stderr)
		}
	}
}

// What show --event prints, publish reads as the same event.
func TestShownEventsCanBePublished(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.StringOf(rapid.SampledFrom([]rune("aä<\n\u2028\"\u009b")))
		data := rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.SampledFrom([][]byte{[]byte(`{"a":1.0,"a":"<"}`), []byte(`{"a": 1}`),
			[]byte("null"), []byte(`"x"`), []byte("text\n"), []byte("\ufffd"), nil})).Draw(rt, "data")
		event := &eventv1.Event{Id: word.Draw(rt, "id"), Source: word.Draw(rt, "source"), Type: word.Draw(rt, "type"),
			Subject: word.Draw(rt, "subject"), Data: data, DataSchema: word.Draw(rt, "schema"), PartitionKey: word.Draw(rt, "key"),
			DataContentType: rapid.SampledFrom([]string{"", "application/json"}).Draw(rt, "type of data"), Cursor: word.Draw(rt, "cursor"),
			Metadata: rapid.MapOfN(word, word, 0, 3).Draw(rt, "metadata")}
		if rapid.Bool().Draw(rt, "time") {
			event.Timestamp = timestamppb.New(time.Unix(rapid.Int64Range(-60000000000, 250000000000).Draw(rt, "seconds"), 5))
		}
		var line strings.Builder
		if err := writeJSON(&line, shownEventOf(event), ""); err != nil {
			rt.Fatal(err)
		}
		got, err := parseLine([]byte(line.String()))
		if err != nil || !proto.Equal(got, event) {
			rt.Fatalf("%v: %s\ngot  %v\nwant %v", err, line.String(), got, event)
		}
	})
	known, _ := json.Marshal(shownEvent{ID: "x", Source: "x", Type: "x", Subject: "x", PartitionKey: "x", Timestamp: 1, DataContentType: "x",
		DataSchema: "x", Metadata: map[string]string{"x": ""}, Cursor: "x", Data: []byte("x")})
	fields := (&eventv1.Event{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if name := fields.Get(i).JSONName(); !strings.Contains(string(known), `"`+name+`":`) {
			t.Errorf("show leaves out %s", name)
		}
	}
}

func TestDeadLettersThatCannotBeRead(t *testing.T) {
	check := func(name, want string, args ...string) {
		t.Helper()
		for _, command := range []string{"list", "show 0/0", "redrive"} {
			code, stdout, stderr := run(t, "", slices.Concat([]string{"dlq"}, strings.Fields(command), args)...)
			if code != 1 || stdout != "" || !strings.Contains(stderr, want) {
				t.Errorf("%s, %s: %d: %s%s", name, command, code, stdout, stderr)
			}
		}
	}
	check("nothing set", "KAFKA_DLQ_TOPIC is not set")
	testLetters.Topic = "dead"
	check("embedded broker without a port", "EMBEDDED_KAFKA_PORT=9092")
	testLetters = kafka.LetterSource{}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	check("no broker", "no Kafka broker answers at "+closed.Addr().String(), "--brokers", closed.Addr().String(), "--topic", "dead")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	check("a broker that is silent", "within 200ms", "--brokers", silent.Addr().String(), "--topic", "dead", "--timeout", "200ms")
	newDeadTopic(t)
	check("no topic", "there is no topic other", "--topic", "other")
}

func TestEmptyTopicOfDeadLetters(t *testing.T) {
	newDeadTopic(t)
	if rows := listed(t); len(rows) != 0 {
		t.Errorf("%v", rows)
	}
	for _, args := range [][]string{{"--dry-run"}, {"--json", "--address", "127.0.0.1:1"}} {
		if code, stdout, stderr := run(t, "", append([]string{"dlq", "redrive"}, args...)...); code != 0 {
			t.Errorf("%v: %d: %s%s", args, code, stdout, stderr)
		}
	}
}

func TestBadUsageOfDeadLetters(t *testing.T) {
	newDeadTopic(t)
	for _, args := range []string{"list --limit=-1", "list --json --table", "list --timeout 1ms", "show 0/0 --raw --event", "show 0/0 --timeout 0s", "show",
		"redrive 0/0 --reason X", "redrive 0/0 --from-start", "redrive --type x --from-start", "redrive --rate=-1", "redrive --callers 0",
		"redrive --limit=-1", "redrive --timeout 0s", "list --since=-1h", "list --partition x"} {
		if code, _, stderr := run(t, "", append([]string{"dlq"}, strings.Fields(args)...)...); code != 2 || stderr == "" {
			t.Errorf("%s: %d: %s", args, code, stderr)
		}
	}
	if code, _, stderr := run(t, "", "dlq", "list", "--partition", "3"); code != 1 || !strings.Contains(stderr, "partitions 0 to 2") {
		t.Errorf("%d: %s", code, stderr)
	}
}
