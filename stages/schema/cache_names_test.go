package schema

// Which schema an event gets.

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

func TestDataSchema(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		first := m.add("events-value", JSON, orders)
		m.add("events-value", JSON, `{"$id":"https://schemas.example.org/text#","type":"string"}`)
		other := m.add("other", JSON, `{"type":"array"}`)
		h := start(t, config(), m)
		for _, c := range []struct {
			named, data, subject string
			version              int
		}{
			{"", `"x"`, "events-value", 2},
			{strconv.Itoa(first.ID), good, "events-value", 1},
			{"0" + strconv.Itoa(first.ID), good, "events-value", 1},
			{strconv.Itoa(other.ID), `[]`, "other", 1},
			{"events-value/1", good, "events-value", 1},
			{"events-value/latest", `"x"`, "events-value", 2},
			{"other/latest", `[]`, "other", 1},
			{"https://schemas.example.org/order", good, "events-value", 1},
			{"https://schemas.example.org/text", `"x"`, "events-value", 2},
			{"https://schemas.example.org/text#", `"x"`, "events-value", 2},
		} {
			for range 2 { // the second time by the worker's own shortcut
				mustPass(t, h.settle(naming(c.named, c.data)), c.subject, c.version)
			}
		}
		asked := m.asked()
		for _, unknown := range []string{"2147483648", "99999999999999999999", "0", "events-value/0", "events-value/2147483648", "../1", "./latest"} {
			mustRefuse(t, h.settle(naming(unknown, good)), stages.SchemaNotFound)
		}
		if n := m.asked(); n != asked {
			t.Fatalf("the registry was asked %d times about names that it cannot have", n-asked)
		}
		for _, unknown := range []string{"77", "2147483647", "events-value/3", "https://schemas.example.org/", "nothing", "/", "x/y"} {
			if d := mustRefuse(t, h.settle(naming(unknown, good)), stages.SchemaNotFound); d.Field != "data_schema" {
				t.Fatalf("%s: detail %+v", unknown, d)
			}
		}
		// Without More, what is there of a name is that of the event before.
		recycled := naming("7", `"x"`)
		recycled.More = false
		mustPass(t, h.settle(recycled), "events-value", 2)
		// The shortcut is for equal names only.
		mustPass(t, h.settle(naming("1", good)), "events-value", 1)
		mustPass(t, h.settle(naming("3", `[]`)), "other", 1)
		mustPass(t, h.settle(event(`"x"`)), "events-value", 2)
		mustPass(t, h.settle(naming("3", `[]`)), "other", 1)
	})
}

// TestURISearchIsBounded: a subject may have thousands of versions.
func TestURISearchIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		for i := range 100 {
			m.add("events-value", JSON, fmt.Sprintf(`{"$id":"https://schemas.example.org/%d"}`, i+1))
		}
		h := start(t, config(), m)
		mustPass(t, h.settle(naming("https://schemas.example.org/81", good)), "events-value", 81)
		before := m.asked()
		mustRefuse(t, h.settle(naming("https://schemas.example.org/80", good)), stages.SchemaNotFound)
		if n := m.asked() - before; n != maxSearched+1 {
			t.Fatalf("the registry was asked %d times, want %d", n, maxSearched+1)
		}
	})
}

func TestSubjectByAttributes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-order.created", JSON, orders)
		m.add("events-order.deleted", JSON, `{"type":"string"}`)
		cfg := config()
		cfg.Subject, cfg.Required = "{topic}-{type}", true
		h := start(t, cfg, m)
		for range 3 {
			mustPass(t, h.settle(event(good)), "events-order.created", 1)
			deleted := event(`"x"`)
			deleted.Type.Value = []byte("order.deleted")
			mustPass(t, h.settle(deleted), "events-order.deleted", 1)
		}
		long := event(good)
		long.Type.Value = bytes.Repeat([]byte("x"), maxSubjectBytes)
		mustRefuse(t, h.settle(long), stages.SchemaNotFound)
		// A $id is looked for in the event's own subject.
		created, deleted := naming("https://schemas.example.org/order", good), naming("https://schemas.example.org/order", good)
		deleted.Type.Value = []byte("order.deleted")
		mustPass(t, h.settle(created), "events-order.created", 1)
		mustRefuse(t, h.settle(deleted), stages.SchemaNotFound)
	})
}
