package main

// Hostile data for the rules and schemas of an operator who meant well: programs that run away for one event and are
// fine for the next, and schemas that are too much. What operators write themselves is in the tests of stages/transform
// and stages/schema.

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// runawayRules have a rule a type of event.
var runawayRules = []string{
	`TRANSFORM_0_MATCH=type == "jq"`, `TRANSFORM_0_JQ=[range(.n)] | length`,
	`TRANSFORM_1_MATCH=type == "jq.text"`, `TRANSFORM_1_JQ="x" * .n`,
	`TRANSFORM_2_MATCH=type == "jq.recursion"`, `TRANSFORM_2_JQ=def f: if . > 0 then . - 1 | 1 + f else 0 end; .n | f`,
	`TRANSFORM_3_MATCH=type == "jq.environment"`, `TRANSFORM_3_JQ=if env == {} and $ENV == {} then 1 else error end`,
	`TRANSFORM_4_MATCH=type == "expr"`, `TRANSFORM_4_EXPR=len(1..data.n)`,
	`TRANSFORM_5_MATCH=type == "expr.text"`, `TRANSFORM_5_EXPR=repeat("x", data.n)`,
	`TRANSFORM_6_MATCH=type == "expr.nested"`, `TRANSFORM_6_EXPR=sum(data.l, sum(data.l, sum(data.l, #)))`,
	`TRANSFORM_7_MATCH=type == "expr.growing"`, `TRANSFORM_7_EXPR=reduce(1..data.n, #acc + "xxxxxxxxxx", "")`,
	`TRANSFORM_8_MATCH=type == "cel"`, `TRANSFORM_8_CEL=data.l.all(x, data.l.all(y, data.l.all(z, z == 1)))`,
	`TRANSFORM_9_MATCH=type == "template"`, `TRANSFORM_9_TEMPLATE={{range .data.l}}{{range $.data.l}}{{range $.data.l}}{{end}}{{end}}{{end}}1`,
	`TRANSFORM_10_MATCH=type == "template.itself"`, `TRANSFORM_10_TEMPLATE={{define "x"}}{{template "x" .}}{{end}}{{if eq .data.n 1}}1{{else}}{{template "x" .}}{{end}}`,
	`TRANSFORM_11_MATCH=type == "pattern"`, `TRANSFORM_11_JQ=test("(a+)+$")`,
}

const (
	limited = "INVALID_ARGUMENT TRANSFORM_LIMIT "
	few     = `{"n":1,"l":[1,1]}`
)

// numbers is data with n, and with an array of a thousand numbers.
func numbers(n string) string {
	return fmt.Sprintf(`{"n":%s,"l":[%s1]}`, n, strings.Repeat("1,", 999))
}

// runsAway sends an event that the rule of its type runs away with, then one that it is fine with.
func runsAway(eventType, hostile, harmless string) func(*rawClient) string {
	event := func(data string) []byte {
		return eventWith(func(e *eventv1.Event) { e.Type, e.Data = eventType, []byte(data) })
	}
	return body(streamMethod, join(event(hostile), event(harmless)))
}

var hostileRules = newHostileTable("TestHostileRules", runawayRules, []hostileRow{
	{"H66a", "jq `[range(.n)]`, and n is 1e12", limited + "JQ; OK", runsAway("jq", numbers("1e12"), few)},
	{"H66b", "a jq function that calls itself `.n` times, and n is 1e12", limited + "JQ; OK", runsAway("jq.recursion", numbers("1e12"), few)},
	{"H67", "jq `\"x\" * .n`, and n is 1e9", limited + "JQ; OK", runsAway("jq.text", numbers("1e9"), few)},
	{"H68a", "jq `env` and `$ENV`: they are empty", "OK; OK", runsAway("jq.environment", few, few)},
	{"H69a", "expr `1..data.n`, and n is 1e9", limited + "EXPR; OK", runsAway("expr", numbers("1000000000"), few)},
	{"H69b", "expr `repeat(\"x\", data.n)`, and n is 1e9", limited + "EXPR; OK", runsAway("expr.text", numbers("1000000000"), few)},
	{"H69c", "three nested expr sums over a thousand numbers", limited + "EXPR; OK", runsAway("expr.nested", numbers("1"), few)},
	{"H70", "expr `reduce(1..data.n, #acc + \"xxxxxxxxxx\", \"\")`, and n is 900,000", limited + "EXPR; OK", runsAway("expr.growing", numbers("900000"), few)},
	{"H71a", "three nested CEL comprehensions over a thousand numbers", limited + "CEL; OK", runsAway("cel", numbers("1"), few)},
	{"H71b", "three nested template loops over a thousand numbers", limited + "TEMPLATE; OK", runsAway("template", numbers("1"), few)},
	{"H71c", "a template that includes itself for ever", limited + "TEMPLATE; OK", runsAway("template.itself", numbers("2"), few)},
	{"H75a", "800 KB for the pattern `(a+)+$` of a rule", "OK; OK", runsAway("pattern", `"`+strings.Repeat("a", 800_000)+`!"`, `"a"`)},
	{"H66c", "40 runaways in a batch, a good event after each", "40 OK, 40 " + limited + "EXPR", manyRunaways},
})

// manyRunaways sends a batch of events that rules run away with.
func manyRunaways(c *rawClient) string {
	r := &gatewayv1.IngestEventBatchRequest{}
	for i := range 40 {
		hostile := goodEvent()
		hostile.Type, hostile.Data = []string{"expr", "expr.text", "cel", "jq.text"}[i%4], []byte(numbers("1000000000"))
		r.Events = append(r.Events, hostile, goodEvent())
	}
	b, err := proto.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return c.call(fields(unaryBatchMethod), frameOf(b))
}

// peakAtMost is how much resident memory the gateway may have had at any time while rules ran away. Here, on a busy machine, 127
// MiB was the most.
const peakAtMost = 512 << 20

func TestHostileRules(t *testing.T) {
	v := hostileRules.run(t)
	if peak := v.peak(t); peak > peakAtMost {
		t.Errorf("the gateway had %d MiB at most", peak>>20)
	} else {
		t.Logf("the gateway had %d MiB at most", peak>>20)
	}
}

// peak is the most resident memory that the gateway has had, in bytes.
func (v victim) peak(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", v.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	kib, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, err := strconv.ParseInt(kib, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

// A program that is hostile by itself stops the start, in time, and says which one it is.
func TestHostilePrograms(t *testing.T) {
	parentheses := strings.Repeat("(", 20_000) + "1" + strings.Repeat(")", 20_000)
	for _, c := range []struct{ setting, want string }{
		{"TRANSFORM_0_JQ=input", "input(s)/0 is not allowed"}, // H68
		{`TRANSFORM_0_JQ=import "a" as a; .`, "import and include are not allowed"},
		{"TRANSFORM_0_JQ=" + parentheses, "TRANSFORM_0_JQ="}, // H72
		{"TRANSFORM_0_EXPR=" + parentheses, "TRANSFORM_0_EXPR="},
		{"TRANSFORM_0_CEL=" + parentheses, "TRANSFORM_0_CEL="},
		{"TRANSFORM_0_TEMPLATE={{" + parentheses + "}}", "TRANSFORM_0_TEMPLATE="},
		{"TRANSFORM_0_MATCH=" + parentheses, "TRANSFORM_0_MATCH="},
	} {
		code, _, stderr := command(t, "", environ("EMBEDDED_DATA_DIR="+t.TempDir(), c.setting))
		if code != 2 || !strings.Contains(stderr, c.want) || len(stderr) > 2000 {
			t.Errorf("%.40s: exit code %d, %.500s", c.setting, code, stderr)
		}
	}
}

// schemaEvent sends an event of a data_schema, then a good one of the schema of its type, which is that of events-value.
func schemaEvent(dataSchema, data string) func(*rawClient) string {
	return body(streamMethod, join(
		eventWith(func(e *eventv1.Event) { e.Type, e.DataSchema, e.Data = "events", dataSchema, []byte(data) }),
		eventWith(func(e *eventv1.Event) { e.Type, e.Data = "events", []byte(`{"id":"1"}`) })))
}

const noSchema = "INVALID_ARGUMENT SCHEMA_NOT_FOUND data_schema; OK"

var hostileSchemas = newHostileTable("TestHostileSchemas", nil, []hostileRow{
	{"H38a", "JSON that is not as the declared schema says", "INVALID_ARGUMENT SCHEMA_VIOLATION data/total; OK", schemaEvent("", `{"id":"1","total":-2}`)},
	{"H38b", "data that is no JSON", "INVALID_ARGUMENT SCHEMA_VIOLATION data; OK", schemaEvent("", "no JSON")},
	{"H38c", "the schema of another format", "INVALID_ARGUMENT SCHEMA_VIOLATION data/n; OK", schemaEvent("avro/1", "\xff\xff\xff\xff\xff\xff")},
	{"H38d", "a schema id that the registry does not have", noSchema, schemaEvent("4711", "{}")},
	{"H38e", "the schema id 2^31", noSchema, schemaEvent("2147483648", "{}")},
	{"H38f", "the schema id 10^40", noSchema, schemaEvent("1"+strings.Repeat("0", 40), "{}")},
	{"H38g", "a subject of dots", noSchema, schemaEvent("../1", "{}")},
	{"H38h", "one event of three in a batch that is not as its schema says", "2 OK, 1 INVALID_ARGUMENT SCHEMA_VIOLATION data/id", batchOfSchemas},
	{"H73a", "a schema of 10^5 fields", "INVALID_ARGUMENT SCHEMA_INVALID data_schema; OK", schemaEvent("fields/1", "{}")},
	{"H73b", "a schema of 10 MB", "INVALID_ARGUMENT SCHEMA_INVALID data_schema; OK", schemaEvent("large/1", "{}")},
	{"H73c", "an answer of 50 MB without a length", "INVALID_ARGUMENT SCHEMA_INVALID data_schema; OK", schemaEvent("endless/1", "{}")},
	{"H73d", "two schemas that refer to each other", "INVALID_ARGUMENT SCHEMA_INVALID data_schema; OK", schemaEvent("circle/1", "{}")},
	{"H73e", "a schema that refers to itself, and data 10,000 deep", "INVALID_ARGUMENT SCHEMA_VIOLATION data; OK",
		schemaEvent("recursive/1", strings.Repeat(`{"next":`, 10_000)+"{}"+strings.Repeat("}", 10_000))},
	{"H74", "a registry that redirects to 169.254.169.254", "UNAVAILABLE SCHEMA_UNAVAILABLE data_schema retry 1s; OK", schemaEvent("redirect/1", "{}")},
	{"H75b", "800 KB for the pattern `(a+)+$` of a schema", "INVALID_ARGUMENT SCHEMA_VIOLATION data/s; OK",
		schemaEvent("pattern/1", `{"s":"`+strings.Repeat("a", 800_000)+`!"}`)},
})

func batchOfSchemas(c *rawClient) string {
	r := &gatewayv1.IngestEventBatchRequest{}
	for _, data := range []string{`{"id":"1"}`, `{"id":1}`, `{"id":"3"}`} {
		e := goodEvent()
		e.Type, e.Data = "events", []byte(data)
		r.Events = append(r.Events, e)
	}
	b, err := proto.Marshal(r)
	if err != nil {
		return err.Error()
	}
	return c.call(fields(unaryBatchMethod), frameOf(b))
}

// Events of other types have no schema and pass.
func TestHostileSchemas(t *testing.T) {
	f := startFakeRegistry(t)
	table := *hostileSchemas
	table.settings = []string{"SCHEMA_VALIDATION_ENABLED=true", "SCHEMA_REGISTRY_URL=http://" + f.address, "SCHEMA_SUBJECT={type}-value"}
	table.run(t)
}
