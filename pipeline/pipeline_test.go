package pipeline

// The walk of single messages: answers, ids, positions, refusals, panics.

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

func TestAcknowledgedWithPosition(t *testing.T) {
	h := newHarness(t)
	defer h.close()
	for i := range 3 {
		m := h.call(stages.Single, frameOf(testEvent{id: "a", source: "s", key: "k", data: stamp(0, i)}), 1)
		mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
		want := int32(stages.KeyHash([]byte("k")) % testPartitions)
		if r := &m.Results[0]; r.Partition != want || r.Offset != int64(i) || r.Topic.Name != "events" {
			t.Errorf("position %s/%d/%d, want events/%d/%d", r.Topic.Name, r.Partition, r.Offset, want, i)
		}
		if id, assigned := m.EventID(0); string(id) != "a" || assigned {
			t.Errorf("id %q %v", id, assigned)
		}
		h.p.Release(m)
	}
}

func TestAssignedIDIsAUUIDv7(t *testing.T) {
	h := newHarness(t)
	defer h.close()
	m := h.call(stages.Single, frameOf(testEvent{source: "s"}), 1)
	mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	if _, assigned := m.EventID(0); !assigned || m.Results[0].ID[6]>>4 != 7 {
		t.Errorf("assigned %v, id %x", assigned, m.Results[0].ID)
	}
	h.p.Release(m)
}

func TestOneBadEventFailsAlone(t *testing.T) {
	h := newHarness(t)
	defer h.close()
	frame := frameOf(testEvent{id: "a", source: "s"}, testEvent{id: "b"}, testEvent{id: "c", source: "s"})
	frame = append(frame, 0x0a, 2, 0x0a, 9) // an event whose id is longer than the event
	m := h.call(stages.Batch, frame, 4)
	mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	mustOutcome(t, m, 1, stages.Refused, stages.InvalidEvent, stages.AtValidate)
	mustOutcome(t, m, 2, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	mustOutcome(t, m, 3, stages.Refused, stages.MalformedEvent, stages.AtDecode)
	if d := m.Results[1].Detail; d == nil || d.Field != "source" {
		t.Errorf("detail %+v", d)
	}
	if id, _ := m.EventID(1); string(id) != "b" {
		t.Errorf("the refused event's id is %q", id)
	}
	h.p.Release(m)
}

func TestMalformedMessageIsOneEvent(t *testing.T) {
	h := newHarness(t)
	defer h.close()
	m := h.call(stages.Malformed, []byte{0xff, 0xff}, 1)
	mustOutcome(t, m, 0, stages.Refused, stages.MalformedEvent, stages.AtDecode)
	h.p.Release(m)
}

func TestNoMetadataYet(t *testing.T) {
	h := newHarness(t, func(_ *Config, parts *Parts) { parts.Topics = stages.NewTopics("other") })
	defer h.close()
	m := h.call(stages.Single, frameOf(testEvent{source: "s"}), 1)
	mustOutcome(t, m, 0, stages.Refused, stages.KafkaUnavailable, stages.AtTransform)
	if m.Results[0].RetryAfterMillis != 1000 {
		t.Errorf("retry after %d ms", m.Results[0].RetryAfterMillis)
	}
	h.p.Release(m)
}

func TestRateLimitRefusesTheRestOfABurst(t *testing.T) {
	h := newHarness(t, func(_ *Config, parts *Parts) {
		parts.Stages.RateLimitEnabled, parts.Stages.RateLimitRPS, parts.Stages.RateLimitBurst = true, 0.001, 3
	})
	defer h.close()
	var events []testEvent
	for range 5 {
		events = append(events, testEvent{source: "s", key: "k"})
	}
	m := h.call(stages.Batch, frameOf(events...), 5)
	for i := range 3 {
		mustOutcome(t, m, i, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	}
	for i := 3; i < 5; i++ {
		mustOutcome(t, m, i, stages.Refused, stages.RateLimited, stages.AtRateLimit)
		if m.Results[i].RetryAfterMillis == 0 {
			t.Error("no retry advice")
		}
	}
	h.p.Release(m)
}

func TestOpenBreakerRefuses(t *testing.T) {
	breaker := stages.NewBreaker(1, nil)
	h := newHarness(t, func(_ *Config, parts *Parts) { parts.Breaker = breaker })
	defer h.close()
	breaker.Busy(0)
	breaker.Tick(1e9, true)
	m := h.call(stages.Single, frameOf(testEvent{source: "s"}), 1)
	mustOutcome(t, m, 0, stages.Refused, stages.BreakerOpen, stages.AtProduce)
	h.p.Release(m)
}

// A partition that takes nothing is refused by itself, and while it is stalled all others go on: also with several
// lanes, and with events so small that their number and not their bytes is what runs out.
func TestStalledPartitionIsRefusedByItself(t *testing.T) {
	for _, lanes := range []int{1, 2, 4} {
		for _, size := range []int{16, 400} {
			t.Run(fmt.Sprintf("lanes=%d,size=%d", lanes, size), func(t *testing.T) { stallOne(t, lanes, size) })
		}
	}
}

func stallOne(t *testing.T, lanes, size int) {
	h := newHarness(t, withWorkers(lanes, 1, 1, 1, 1, 1), func(cfg *Config, _ *Parts) {
		cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = 8*stages.MiB, 8*stages.MiB, 0
	})
	stalled := h.topics.Default.Partitions()[stages.KeyHash([]byte("a"))%testPartitions]
	h.r.withhold.Store(stalled)
	healthy := "b"
	for stages.KeyHash([]byte(healthy))%testPartitions == uint32(stalled.ID) {
		healthy += "b"
	}
	var events []testEvent
	for range 100 {
		events = append(events, testEvent{source: "s", key: "a", data: make([]byte, size)})
	}
	frame := frameOf(events...)
	type waitingMessage struct {
		m *stages.Message
		w *waiting
	}
	var held []waitingMessage
	mustTakeHealthy := func(lane Lane) {
		w := newWaiting()
		m, _ := h.submit(lane, w, stages.Single, frameOf(testEvent{source: "s", key: healthy, data: stamp(0, 0)}), 1)
		select {
		case <-w.completed:
		case <-time.After(10 * time.Second):
			t.Fatalf("lane %d is stuck behind a stalled partition", lane)
		}
		mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
		h.p.Release(m)
	}
	for refused := false; !refused; { // until the stalled partition is full
		lane, w := Lane(len(held)%lanes), newWaiting()
		m, _ := h.submit(lane, w, stages.Batch, frame, len(events))
		held = append(held, waitingMessage{m, w})
		// On the same lane, and every later stage has one worker: when this is answered, the batch has passed the
		// batch stage. On another lane it could overtake any number of batches, which hold the whole budget then.
		mustTakeHealthy(lane)
		n := h.p.Totals(stages.FromGRPC).Outcomes[stages.Refused]
		if refused = n > 0; len(held) > 1000 {
			t.Fatal("the stalled partition is never refused")
		}
	}
	for lane := range lanes { // every lane still takes events of other partitions
		mustTakeHealthy(Lane(lane))
	}
	h.r.withhold.Store(nil)
	h.r.heal()
	for _, held := range held {
		held.w.await(t)
		for i := range held.m.Results {
			if r := &held.m.Results[i]; r.Outcome != stages.Acknowledged && r.Reason != stages.PartitionStalled {
				t.Errorf("%v %v", r.Outcome, r.Reason)
			}
		}
		h.p.Release(held.m)
	}
	h.close()
}

// Events without key are spread over the partitions, in runs.
func TestEventsWithoutKeyAreSpread(t *testing.T) {
	h := newHarness(t)
	defer h.close()
	seen := map[int32]int{}
	for range 50 {
		m := h.call(stages.Single, frameOf(testEvent{source: "s"}), 1)
		seen[m.Results[0].Partition]++
		h.p.Release(m)
	}
	if len(seen) != testPartitions {
		t.Errorf("50 calls went to the partitions %v of %d", seen, testPartitions)
	}
}

// panicking is a stage that panics at events whose data says so.
type panicking struct{ stages.Stage }

func (s panicking) Process(burst []*stages.Event) {
	for i := range burst {
		if bytes.Equal(burst[i].Data, []byte("boom")) && burst[i].Live() {
			s.Stage.Process(burst[:i])
			panic("boom")
		}
	}
	s.Stage.Process(burst)
}

func TestPanicRefusesOnlyTheEventAtFault(t *testing.T) {
	for _, at := range []stages.StageID{stages.AtValidate, stages.AtRateLimit, stages.AtTransform} {
		log := &testLog{}
		h := newHarness(t, func(_ *Config, parts *Parts) {
			parts.Log = log
			parts.wrapStage = func(id stages.StageID, _ int, s stages.Stage) stages.Stage {
				if id == at {
					return panicking{s}
				}
				return s
			}
		})
		var events []testEvent
		for i := range 20 {
			events = append(events, testEvent{source: "s", key: "k", data: stamp(0, i)})
		}
		events[7].data, events[8].data = []byte("boom"), []byte("boom")
		m := h.call(stages.Batch, frameOf(events...), 20)
		for i := range 20 {
			if i == 7 || i == 8 {
				mustOutcome(t, m, i, stages.Refused, stages.InternalError, at)
			} else {
				mustOutcome(t, m, i, stages.Acknowledged, stages.NoReason, stages.AtProduce)
			}
		}
		h.p.Release(m)
		h.close()
		if log.panics.Load() != 2 {
			t.Errorf("%v: %d panics logged", at, log.panics.Load())
		}
	}
}

func TestMetricsHoldTheIdentityAndBoundedLabels(t *testing.T) {
	h := newHarness(t)
	defer h.close()
	h.p.Release(h.call(stages.Single, frameOf(testEvent{source: "s"}), 1))
	h.p.Release(h.call(stages.Single, frameOf(testEvent{}), 1))
	var b strings.Builder
	h.p.WriteMetrics(&b)
	for _, line := range []string{
		`gateway_events_accepted_total{origin="grpc"} 2`,
		`gateway_events_total{origin="grpc",outcome="acknowledged"} 1`,
		`gateway_events_total{origin="grpc",outcome="refused"} 1`,
		`gateway_events_in_flight{origin="grpc"} 0`,
		`gateway_event_reasons_total{stage="validate",reason="INVALID_EVENT"} 1`,
		`gateway_event_latency_seconds_count 1`,
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("missing %s in\n%s", line, b.String())
		}
	}
}
