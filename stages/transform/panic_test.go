package transform

import (
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

// fragile is a Memory that panics once.
type fragile struct {
	heap
	broken bool
}

func (f *fragile) Take(ev *stages.Event, n int) []byte {
	if f.broken {
		f.broken = false
		panic("no memory for you")
	}
	return f.heap.Take(ev, n)
}

// The graph recovers a panic and goes on with the worker: nothing of the event at fault may show in the next one.
func TestNothingIsLeftOfAPanic(t *testing.T) {
	for _, rule := range []RuleConfig{
		{Set: `metadata.seen=id + ""`, JQ: `{d: ., id: $id}`},
		{Set: `metadata.seen=id + ""`, Expr: `{"d": data, "id": id}`},
		{Set: `metadata.seen=id + ""`, CEL: `{"d": data, "id": id}`},
		{Set: `metadata.seen=id + ""`, Template: `{"d":{{json .data}},"id":{{json .id}}}`},
	} {
		w, _ := newWorker(t, rule)
		memory := &fragile{}
		w.memory = memory
		apply := func(id, data string, breaks bool) *stages.Event {
			ev := newEvent(data)
			ev.ID.Value, ev.Metadata = []byte(id), nil
			memory.broken = breaks
			func() {
				defer func() {
					if (recover() != nil) != breaks {
						t.Fatalf("panicked: %t", !breaks)
					}
				}()
				w.Apply(ev)
			}()
			return ev
		}
		want := apply("one", `{"a":1}`, false)
		apply("AAAA", `{"secret":true}`, true)
		got := apply("one", `{"a":1}`, false)
		if string(got.Data) != string(want.Data) || len(got.Metadata) != 1 || string(got.Metadata[0].Value) != "one" {
			t.Errorf("%+v: after a panic the next event has the data %s and the metadata %s, want %s", rule, got.Data, got.Metadata, want.Data)
		}
	}
}
