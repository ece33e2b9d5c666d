package transform

// Conditions that do not run on expr's machine say what it would say.

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/stages"
)

// A few values, so that they are often equal, parts of one another, or absent.
var someTexts = []string{"", "a", "ab", "abc", "b", "order.created", "order", "\xc3\xa9", "gateway-1"}

func drawCondition(t *rapid.T, depth int) string {
	text := func(label string) string {
		if rapid.Bool().Draw(t, label) {
			return strconv.Quote(rapid.SampledFrom(someTexts).Draw(t, label))
		}
		return rapid.SampledFrom([]string{"id", "source", "type", "subject", "data_content_type", "partition_key", "gateway", "client",
			"metadata.a", `metadata["b"]`, "metadata?.ab"}).Draw(t, label)
	}
	if depth == 0 || rapid.IntRange(0, 2).Draw(t, "leaf") == 0 {
		switch rapid.IntRange(0, 4).Draw(t, "shape") {
		case 0:
			return fmt.Sprintf("%s in [%q, %q, %q]", text("left"), rapid.SampledFrom(someTexts).Draw(t, "x"),
				rapid.SampledFrom(someTexts).Draw(t, "y"), strings.Join(someTexts, "\", \""))
		case 1:
			return text("left") + " in metadata"
		case 2:
			return text("left") + ` matches "^a.?c?$"`
		}
		return text("left") + rapid.SampledFrom([]string{" == ", " != ", " startsWith ", " endsWith ", " contains ", " not startsWith "}).Draw(t, "operator") + text("right")
	}
	switch rapid.IntRange(0, 4).Draw(t, "join") {
	case 4:
		return "(" + drawCondition(t, depth-1) + " ? " + text("yes") + " : " + text("no") + ") == " + text("right")
	case 0:
		return "not (" + drawCondition(t, depth-1) + ")"
	case 1:
		return "!(" + drawCondition(t, depth-1) + ")"
	}
	return "(" + drawCondition(t, depth-1) + ")" + rapid.SampledFrom([]string{" and ", " or ", " && ", " || "}).Draw(t, "operator") +
		"(" + drawCondition(t, depth-1) + ")"
}

func drawEvent(t *rapid.T) *stages.Event {
	value := func(label string) []byte { return []byte(rapid.SampledFrom(someTexts).Draw(t, label)) }
	ev := newEvent("{}")
	ev.ID.Value, ev.Source.Value, ev.Type.Value, ev.PartitionKey.Value = value("id"), value("source"), value("type"), value("key")
	ev.Subject.Value, ev.DataContentType.Value = value("subject"), value("data_content_type")
	if ev.More = rapid.Bool().Draw(t, "more"); !ev.More {
		ev.Subject.Value, ev.DataContentType.Value = nil, nil
	}
	ev.Msg.Client.Name = string(value("client"))
	ev.Metadata = nil
	for range rapid.IntRange(0, 3).Draw(t, "entries") {
		ev.Metadata = append(ev.Metadata, stages.Pair{Name: []byte(rapid.SampledFrom([]string{"a", "b", "ab"}).Draw(t, "name")),
			Value: value("value")})
	}
	return ev
}

func TestQuickMatchesAreExprs(t *testing.T) {
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		source := drawCondition(t, 3)
		c, err := compileCondition(source, "gateway-1")
		if err != nil {
			t.Fatalf("%s: %v", source, err)
		}
		if c.quick == nil {
			t.Fatalf("%s: not quick", source)
		}
		quick++
		w := &Worker{}
		w.env.gateway = "gateway-1"
		w.evaluator.timeout = 1e9
		slow := &condition{program: c.program}
		for range 5 {
			ev := drawEvent(t)
			got := c.quick(ev)
			want, err := w.holds(slow, ev)
			if err != nil || got != want {
				t.Fatalf("%s is %t, want %t (%v)", source, got, want, err)
			}
			w.env.forget()
			w.shown = false
		}
	})
	if quick == 0 {
		t.Error("nothing was compared")
	}
}

// What is not one of the common shapes is left to the machine.
func TestSlowConditions(t *testing.T) {
	for _, source := range []string{"len(type) > 3", "data.x", `type + "x" == "ax"`, `type in ["a", 1]`, `lower(type) == "a"`, `type == nil`, `time > now`,
		`type matches source`, `true ? true : false`, `metadata == metadata`, `type > "a"`} {
		if c, err := compileCondition(source, ""); err != nil || c.quick != nil {
			t.Errorf("%s: quick, or %v", source, err)
		}
	}
}

func TestQuickMatchesAllocateNothing(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{Match: `type startsWith "order." and metadata.tenant in ["a", "acme"]`, Filter: `subject matches "^order/[0-9]+$"`,
		Topic: "orders", Set: `metadata.routed="yes"; data_content_type="application/json"`},
		RuleConfig{Match: `len(type) > 3`, Filter: `hash(partition_key) % 100 >= 0`, Topic: `metadata.tenant == "acme" ? "orders" : "events"`})
	ev := newEvent(sampleData)
	ev.Metadata = append(make([]stages.Pair, 0, 8), ev.Metadata...)
	pairs, allocations := ev.Metadata, 0.0
	run := func() {
		ev.Metadata, ev.Topic = pairs, nil
		if !w.Apply(ev) || ev.Topic.Name != "orders" {
			t.Fatalf("%v", ev.Verdict)
		}
	}
	run()
	allocations = testing.AllocsPerRun(100, run)
	if allocations > 3 { // expr's list of arguments, the argument and the result of hash
		t.Errorf("%v allocations", allocations)
	}
	w, _ = newWorker(t, RuleConfig{Match: `type startsWith "order." and metadata.tenant in ["a", "acme"]`, Filter: `subject matches "^order/[0-9]+$"`,
		Topic: "orders", Set: `metadata.routed="yes"`}, RuleConfig{Match: "len(type) > 3", Filter: "len(subject) > 1"})
	run()
	if allocations = testing.AllocsPerRun(100, run); allocations > 0 {
		t.Errorf("%v allocations", allocations)
	}
}
