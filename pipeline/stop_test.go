package pipeline

// The end of the workers: nothing that is in the graph is left behind.

import (
	"fmt"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// Stop passes on what is in the graph, also what waits in an open batch.
func TestStopPassesOnWhatIsInTheGraph(t *testing.T) {
	for _, linger := range []time.Duration{0, time.Hour} {
		h := newHarness(t, withWorkers(2, 2, 2, 2, 2, 2), func(_ *Config, parts *Parts) { parts.Stages.BatchLinger = linger })
		var messages []*stages.Message
		w := &waiting{make(chan struct{}, 20)}
		for i := range 20 {
			m, _ := h.submit(h.p.Lane(), w, stages.Single, frameOf(testEvent{source: "s", key: fmt.Sprint(i), data: stamp(0, i)}), 1)
			messages = append(messages, m)
		}
		h.p.Stop()
		for range messages {
			select {
			case <-w.completed:
			case <-time.After(10 * time.Second):
				t.Fatalf("linger %v: %d events were left behind", linger, h.p.InFlight())
			}
		}
		for _, m := range messages {
			mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
			h.p.Release(m)
		}
		h.close()
	}
}
