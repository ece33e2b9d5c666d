package transform

// What rules do to events, and what they leave alone when they fail.

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// someTopics are what the tests' rules may route to.
var someTopics = []string{"events", "orders", "errors-2"}

// newWorker compiles rules and returns a worker and its memory.
func newWorker(tb testing.TB, rules ...RuleConfig) (*Worker, *heap) {
	tb.Helper()
	r, problems := Compile(Config{Rules: rules, Timeout: 5 * time.Second, Instance: "gateway-1"},
		Options{Topics: someTopics, MaxEventBytes: 100_000, DeadLetters: true})
	if len(problems) > 0 {
		tb.Fatal(errors.Join(problems...))
	}
	memory := &heap{}
	return r.NewWorker(stages.NewTopics(someTopics...), memory), memory
}

// shown is what tests compare of an event.
func shown(ev *stages.Event) map[string]string {
	m := map[string]string{"type": string(ev.Type.Value), "source": string(ev.Source.Value), "subject": subjectOf(ev),
		"partition_key": string(ev.PartitionKey.Value), "data_content_type": contentTypeOf(ev), "data": string(ev.Data)}
	for i, pair := range ev.Metadata {
		m[fmt.Sprintf("metadata[%d] %s", i, pair.Name)] = string(pair.Value)
	}
	if ev.Topic != nil {
		m["topic"] = ev.Topic.Name
	}
	return m
}

// with is what shown gives of the sample, with some values changed; "" takes one away.
func with(changes ...string) map[string]string {
	m := shown(newEvent(sampleData))
	for i := 0; i < len(changes); i += 2 {
		if m[changes[i]] = changes[i+1]; changes[i+1] == "" && strings.HasPrefix(changes[i], "metadata") {
			delete(m, changes[i])
		}
	}
	return m
}

func TestRules(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []RuleConfig
		want  map[string]string // nil: filtered
	}{
		{"not for it", []RuleConfig{{Match: `type == "x"`, Filter: "false"}}, with()},
		{"not for it, by the machine", []RuleConfig{{Match: `len(type) == 1`, Filter: "false"}}, with()},
		{"kept", []RuleConfig{{Match: `type startsWith "order."`, Filter: `not data.test and data.amount > 100`}}, with()},
		{"dropped", []RuleConfig{{Filter: `data.customer.tier != "gold"`}}, nil},
		{"dropped by an attribute", []RuleConfig{{Filter: `client == "192.0.2.8"`}}, nil},
		{"data", []RuleConfig{{Expr: `{"id": data.order_id, "n": len(data.items)}`}}, with("data", `{"id":"ord-20260918-004711","n":2}`)},
		{"set", []RuleConfig{{Set: `type="a;b"; subject = "s=" + type ; partition_key=data.customer.id + "!";metadata.tenant="";` +
			`metadata["x-n"] = len(data.items); data_content_type = ''; metadata.ok = data.amount == 129.95`}},
			with("type", "a;b", "subject", "s=order.created", "partition_key", "customer-42!", "metadata[1] tenant", "",
				"metadata[1] x-n", "2", "data_content_type", "", "metadata[2] ok", "true")},
		{"set to what it is", []RuleConfig{{Set: `type="order.created"; metadata.tenant = "acme"; subject=subject; metadata.none=""`}}, with()},
		{"topic", []RuleConfig{{Topic: "errors-2"}}, with("topic", "errors-2")},
		{"topic by expr", []RuleConfig{{Topic: `split(type, ".")[0] + "s"`}}, with("topic", "orders")},
		{"set and topic see the event as it was", []RuleConfig{{Expr: `{"order_id": "other"}`, Set: `subject=data.order_id; type=subject`,
			Topic: `data.order_id startsWith "ord" ? "orders" : "events"`}},
			with("data", `{"order_id":"other"}`, "subject", "ord-20260918-004711", "type", "order/4711", "topic", "orders")},
		{"the next rule sees what the one before made", []RuleConfig{{Expr: `{"n": 1.50, "k": data.currency}`, Set: `type="next"`},
			{Match: `type == "next"`, Expr: `{"n": data.n, "m": data.n + 1}`, Set: `subject=type + metadata.tenant`}},
			with("data", `{"n":1.5,"m":2.5}`, "type", "next", "subject", "nextacme")},
		{"the environment", []RuleConfig{{Expr: `{"i": id, "s": source, "t": time, "c": data_content_type, "k": partition_key, "g": gateway, "p": client,
			"m": metadata, "a": now > time, "h": hash("a"), "x": sha256("")[:8], "d": kind(data)}`}},
			with("data", `{"a":true,"c":"application/json","d":"object","g":"gateway-1","h":123,"i":"018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55",`+
				`"k":"customer-42","m":{"tenant":"acme","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},`+
				`"p":"192.0.2.7","s":"/shop/checkout","t":"2026-09-18T10:11:07.123Z","x":"e3b0c442"}`)},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, memory := newWorker(t, c.rules...)
			for range 3 { // again in the same memory
				ev := newEvent(sampleData)
				changed := w.Apply(ev)
				if c.want == nil {
					if ev.Verdict.Outcome != stages.Filtered || ev.Verdict.Stage != stages.AtTransform {
						t.Fatalf("the event is %v", ev.Verdict)
					}
					continue
				}
				if !ev.Open() {
					t.Fatalf("the event is %v: %+v", ev.Verdict, ev.Verdict.Detail)
				}
				got := shown(ev)
				if c.name == "the environment" {
					got["data"] = strings.Replace(got["data"], fmt.Sprintf(`"h":%d`, hashText("a")), `"h":123`, 1)
				}
				if !reflect.DeepEqual(sorted(got), sorted(c.want)) {
					t.Fatalf("got\n%v, want\n%v", got, c.want)
				}
				if same := reflect.DeepEqual(c.want, with()); changed == same || same && memory.taken > 0 {
					t.Fatalf("changed is %t, %d bytes were taken", changed, memory.taken)
				}
			}
		})
	}
}

// sorted makes data's members comparable: those of an object that a program made have no order of their own.
func sorted(m map[string]string) map[string]string {
	m = maps.Clone(m)
	var v any
	if json.Unmarshal([]byte(m["data"]), &v) == nil {
		b, _ := json.Marshal(v)
		m["data"] = string(b)
	}
	return m
}

func TestFailures(t *testing.T) {
	big := `"` + strings.Repeat("x", 60_000) + `"`
	for _, c := range []struct {
		name, data string
		rule       RuleConfig
		reason     stages.Reason
		message    string
	}{
		{"no JSON", "{", RuleConfig{Filter: "data.x"}, stages.TransformFailed, "FILTER: data is not JSON: unexpected EOF at byte 1"},
		{"no bool", "1", RuleConfig{Filter: "data"}, stages.TransformFailed, "FILTER: gives a value of the type int; true or false is wanted"},
		{"machine's match", "1", RuleConfig{Match: "len(id) > 0 and int(type) > 0", Topic: "orders"}, stages.TransformFailed, "MATCH: invalid operation: int(order.created)"},
		{"nil", "{}", RuleConfig{Expr: "data.a.b"}, stages.TransformFailed, "EXPR: cannot fetch b from <nil>, 1:8"},
		{"set", "{}", RuleConfig{Set: "type=data.a"}, stages.TransformFailed, "SET type: gives nil; a text is wanted"},
		{"set, no text", "[]", RuleConfig{Set: "metadata.x=data"}, stages.TransformFailed, "SET metadata.x: gives a value of the type []interface {}"},
		{"the API's rules", "{}", RuleConfig{Set: `subject="x"; type=""`}, stages.TransformFailed, "SET: type is required"},
		{"the API's rules, metadata", "{}", RuleConfig{Set: `subject="x"; metadata.a="1"; metadata.m=repeat("x", 20000)`}, stages.TransformFailed, "SET: metadata has 20"},
		{"topic", `"secret"`, RuleConfig{Topic: "data"}, stages.TopicNotAllowed, "TOPIC: the topic is not one of KAFKA_TOPICS_ALLOWED: secret"},
		{"output", big, RuleConfig{Expr: `[data, data]`}, stages.TransformLimit, "EXPR: limit: the new data has more than the 100000 bytes"},
		{"no value of JSON", "1", RuleConfig{Expr: "1..3 | map({# : 1})"}, stages.TransformFailed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, on := range []OnError{Reject, Pass, Drop, DeadLetter} {
				rule := c.rule
				rule.OnError = on
				if strings.Contains(rule.Expr, "#") {
					rule.Expr = `{"a": now.Weekday}`
				}
				w, memory := newWorker(t, rule)
				ev := newEvent(c.data)
				before := shown(ev)
				if changed := w.Apply(ev); changed {
					t.Fatal("a failure changes something")
				}
				if got := shown(ev); on != DeadLetter && !reflect.DeepEqual(got, before) || memory.taken > 0 {
					t.Fatalf("%s: %d bytes taken; got\n%v, want\n%v", on, memory.taken, got, before)
				}
				mustEnd(t, ev, on, c.reason, c.message)
			}
		})
	}
}

// mustEnd checks what ON_ERROR made of an event.
func mustEnd(t *testing.T, ev *stages.Event, on OnError, reason stages.Reason, message string) {
	t.Helper()
	v := ev.Verdict
	switch on {
	case Pass:
		if !ev.Open() {
			t.Fatalf("pass: the event is %v", v)
		}
		return
	case Drop:
		if v.Outcome != stages.Filtered {
			t.Fatalf("drop: the event is %v", v)
		}
		return
	case DeadLetter:
		if !ev.Dead || !ev.Live() || ev.Letter == nil {
			t.Fatalf("dead_letter: the event is %+v", ev)
		}
		v = ev.Letter.Verdict
	}
	if v.Outcome != stages.Refused || v.Reason != reason || v.Stage != stages.AtTransform || v.Detail == nil ||
		v.Detail.Rule != "TRANSFORM_0" || !strings.HasPrefix(v.Detail.Message, message) {
		t.Fatalf("%s: the event is %v %+v, want %v %q", on, v, v.Detail, reason, message)
	}
}

// Without memory an event is refused for a while, whatever the rule says, and nothing of it is changed.
func TestNoMemory(t *testing.T) {
	for _, rule := range []RuleConfig{{Expr: "{}"}, {Set: `type="constant"; subject=id; metadata.x=id`}} {
		for _, on := range []OnError{Reject, Pass, Drop, DeadLetter} {
			rule.OnError = on
			w, memory := newWorker(t, rule)
			memory.limit = 1
			ev := newEvent(sampleData)
			before := shown(ev)
			changed := w.Apply(ev)
			if v := ev.Verdict; changed || v.Reason != stages.Overloaded || v.RetryAfter == 0 || ev.Dead || !reflect.DeepEqual(shown(ev), before) {
				t.Errorf("%s: changed %t, the event is %v", on, changed, v)
			}
		}
	}
}

// A rule that fails keeps what the rules before it made, unless the event becomes a dead letter.
func TestLaterRuleFails(t *testing.T) {
	for on, want := range map[OnError]string{Pass: `{"a":1}`, Reject: `{"a":1}`} {
		w, _ := newWorker(t, RuleConfig{Expr: `{"a": 1}`}, RuleConfig{Expr: "data.b.c", OnError: on}, RuleConfig{Topic: "orders"})
		ev := newEvent(sampleData)
		if !w.Apply(ev) || string(ev.Data) != want || (ev.Topic != nil) != (on == Pass) {
			t.Errorf("%s: the data is %s, the topic %v", on, ev.Data, ev.Topic)
		}
	}
}

func TestRekey(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{Set: "partition_key=data.order_id"})
	ev := newEvent(sampleData)
	w.Apply(ev)
	if want := stages.KeyHash([]byte("ord-20260918-004711")); ev.Shard != want {
		t.Errorf("the shard is %d, want %d", ev.Shard, want)
	}
}

// What a rule made is the event's own memory: the worker goes on with others.
func TestMemoryIsTheEvents(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{Expr: `{"id": data.order_id + "x"}`, Set: `subject=data.order_id; metadata.tenant=data.order_id; partition_key=id+"k"`})
	var events []*stages.Event
	for i := range 100 {
		ev := newEvent(fmt.Sprintf(`{"order_id":"%d"}`, i))
		w.Apply(ev)
		clear(ev.Msg.Frame)
		events = append(events, ev)
	}
	for i, ev := range events {
		text := fmt.Sprint(i)
		if tenant, _ := entry(ev, "tenant"); string(ev.Data) != `{"id":"`+text+`x"}` || subjectOf(ev) != text || tenant != text {
			t.Fatalf("event %d has %v", i, shown(ev))
		}
	}
}

func TestTrace(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{Match: `type == "x"`, Topic: "orders"}, RuleConfig{Set: `type="y"; metadata.z=id`, Topic: "orders", Expr: "1"},
		RuleConfig{Filter: "data == 1"}, RuleConfig{Expr: "data.x", OnError: Pass}, RuleConfig{Filter: "data == 2"}, RuleConfig{Topic: "orders"})
	var steps []Step
	w.Trace = func(s Step) {
		if s.Took < 0 || s.Took == 0 && s.Result != Unmatched {
			t.Errorf("%s took %v", s.Rule, s.Took)
		}
		s.Took = 0
		steps = append(steps, s)
	}
	w.Apply(newEvent(sampleData))
	want := []Step{
		{Rule: "TRANSFORM_0", Result: Unmatched},
		{Rule: "TRANSFORM_1", Result: Changed, Changes: []Change{{"type", "y"}, {"metadata.z", "018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55"},
			{"topic", "orders"}, {"data", "1"}}},
		{Rule: "TRANSFORM_2", Result: Unchanged},
		{Rule: "TRANSFORM_3", Result: Failed, Problem: "EXPR: cannot fetch x from int, 1:6"},
		{Rule: "TRANSFORM_4", Result: Filtered},
	}
	if !reflect.DeepEqual(steps, want) {
		t.Errorf("got\n%+v, want\n%+v", steps, want)
	}
}

func TestMetrics(t *testing.T) {
	r, problems := Compile(Config{Timeout: time.Second, Rules: []RuleConfig{{Match: `subject == "order/4711"`, Filter: "data.test == false"}, {Topic: "data.t"}}},
		Options{Topics: someTopics, MaxEventBytes: 1000})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a, b := r.NewWorker(stages.NewTopics(someTopics...), &heap{}), r.NewWorker(stages.NewTopics(someTopics...), &heap{})
	for _, data := range []string{`{"test":true}`, `{"test":false,"t":"orders"}`, `{"test":false,"t":"x"}`, `{"test":false}`, "{"} {
		a.Apply(newEvent(data))
		b.Apply(newEvent(data))
	}
	var out strings.Builder
	r.WriteMetrics(&out)
	for _, line := range []string{
		`gateway_rule_events_total{rule="TRANSFORM_0",result="filtered"} 2`, `gateway_rule_events_total{rule="TRANSFORM_0",result="unchanged"} 6`,
		`gateway_rule_events_total{rule="TRANSFORM_0",result="failed"} 2`, `gateway_rule_events_total{rule="TRANSFORM_1",result="changed"} 2`,
		`gateway_rule_events_total{rule="TRANSFORM_1",result="topic_not_allowed"} 2`, `gateway_rule_events_total{rule="TRANSFORM_1",result="failed"} 2`,
		`gateway_rule_busy_seconds_total{rule="TRANSFORM_1"} `,
	} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%s is missing in\n%s", line, out.String())
		}
	}
	if strings.Contains(out.String(), "seconds_total{rule=\"TRANSFORM_0\"} 0\n") {
		t.Error("no time was taken")
	}
}

// FuzzRules: whatever the data is, rules leave events that keep the API's rules, with data that is JSON.
func FuzzRules(f *testing.F) {
	for _, seed := range []string{sampleData, "{}", "[]", "1e400", `{"a":{"a":{"a":[1,{"b":null}]}},"s":"\ud800\xff"}`, `[[1,"x"],[[],{}]]`, "nul", ""} {
		f.Add([]byte(seed))
	}
	w, memory := newWorker(f,
		RuleConfig{JQ: `.a |= (.b // tojson)`, OnError: Pass},
		RuleConfig{JQ: `walk(if type == "string" then gsub("[a-z]+"; "<\(.)>") elif type == "number" then . + 1 end)`, OnError: Pass},
		RuleConfig{JQ: `[.. | scalars] | sort | unique | . - [null] | {n: length, all: map(tostring) | join(",")}`, OnError: Pass, Match: `type == "b"`},
		RuleConfig{Expr: `{"k": kind(data), "d": data, "s": string(data)}`, OnError: Pass},
		RuleConfig{Set: `subject=string(data.d); metadata.x=data.k; partition_key=data.s`, OnError: Pass},
		RuleConfig{Expr: `data.d`, OnError: Pass})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 10_000 {
			return
		}
		for _, typ := range []string{"a", "b"} {
			ev := newEvent(string(data))
			ev.Type.Value = []byte(typ)
			memory.taken = 0
			if !w.Apply(ev) && string(ev.Data) != string(data) {
				t.Fatalf("%q became %q, and nobody says so", data, ev.Data)
			}
			if d := stages.CheckEvent(ev); !ev.Open() || d != nil {
				t.Fatalf("%q: %v %+v", data, ev.Verdict, d)
			}
			if string(ev.Data) != string(data) && !json.Valid(ev.Data) {
				t.Fatalf("%q became %q", data, ev.Data)
			}
		}
	})
}
