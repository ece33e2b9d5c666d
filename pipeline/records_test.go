package pipeline

// Records through the whole graph: what a Flow promises, the forced topic, the
// rate that only slows down.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// recordOf is a CloudEvent with its identity in its data.
func recordOf(stream, seq int, key string) stages.Record {
	header := func(name, value string) stages.Attribute { return stages.Attribute{Name: name, Value: []byte(value)} }
	return stages.Record{Key: []byte(key), Value: stamp(stream, seq), Topic: "in", Partition: int32(stream), Offset: int64(seq),
		Headers: []stages.Attribute{header("ce_specversion", "1.0"), header("ce_source", "/s"), header("ce_type", "t")}}
}

// feed submits records and returns the message without waiting for it.
func (h *harness) feed(submit func(*stages.Message), owner stages.Owner, records []stages.Record, o stages.RecordOptions) *stages.Message {
	h.t.Helper()
	m := h.p.ReceiveRecords(h.client, records, o)
	m.Owner = owner
	if v := h.p.Admit(context.Background(), m, -1); v != nil {
		h.t.Fatalf("not admitted: %v", v.Reason)
	}
	submit(m)
	return m
}

// moody refuses some of the events that come by, with advice to send them again.
type moody struct {
	stages.Stage
	rng *rand.Rand
	off *atomic.Bool
}

func (s *moody) Process(burst []*stages.Event) {
	s.Stage.Process(burst)
	for _, ev := range burst {
		if ev.Live() && !s.off.Load() && s.rng.IntN(100) == 0 {
			ev.Refuse(ev.At, stages.Overloaded, nil)
		}
	}
}

// TestFlowKeepsTheOrder: with refusals anywhere in the graph, and everything that was not stored sent again from the
// first one on, each key's records are stored in order, and none twice.
func TestFlowKeepsTheOrder(t *testing.T) {
	for _, workers := range [][6]int{{1, 1, 1, 1, 1, 1}, {2, 3, 2, 3, 2, 2}} {
		t.Run(shapeName(workers), func(t *testing.T) {
			var off atomic.Bool
			h := newHarness(t, withWorkers(workers[0], workers[1], workers[2], workers[3], workers[4], workers[5]), func(_ *Config, parts *Parts) {
				parts.wrapStage = func(id stages.StageID, worker int, stage stages.Stage) stages.Stage {
					return &moody{Stage: stage, rng: rand.New(rand.NewPCG(uint64(id), uint64(worker))), off: &off}
				}
			})
			const n, keys, each, window = 6000, 5, 20, 12
			flow, submit := stages.NewFlow(false), h.p.Entry()
			done, position := make([]bool, n), int64(0)
			rounds := 0
			for first := 0; first < n; rounds++ {
				if rounds == 400 {
					off.Store(true) // it has shown enough
				}
				var messages []*stages.Message
				var owners []*waiting
				var sent [][]int
				for next := first; next < n && len(messages) < window; {
					var records []stages.Record
					var seqs []int
					for ; next < n && len(records) < each; next++ {
						if !done[next] {
							records, seqs = append(records, recordOf(0, next, fmt.Sprint("k", next%keys))), append(seqs, next)
						}
					}
					if len(records) == 0 {
						break
					}
					w := newWaiting()
					messages = append(messages, h.feed(submit, w, records, stages.RecordOptions{Origin: stages.FromSource, Flow: flow, Position: position}))
					owners, sent, position = append(owners, w), append(sent, seqs), position+int64(len(records))
				}
				for i, m := range messages {
					owners[i].await(t)
					for j, seq := range sent[i] {
						done[seq] = m.Outcome(j) == stages.Acknowledged
					}
					h.p.Release(m)
				}
				flow.Mend()
				for first < n && done[first] {
					first++
				}
			}
			h.close()
			last, stored := map[string]int{}, 0
			for _, log := range h.r.logs {
				for _, s := range log {
					if before, some := last[s.key]; some && s.seq != before+keys || !some && s.seq >= keys {
						t.Fatalf("%s: %d is stored behind %d", s.key, s.seq, before)
					}
					last[s.key] = s.seq
					stored++
				}
			}
			if stored != n || rounds < 20 {
				t.Errorf("%d of %d records are stored, in %d rounds", stored, n, rounds)
			}
		})
	}
}

// TestFlowHoldsBack: behind a record that Kafka refuses for now nothing passes until the flow is mended; without a
// flow, and in another one, everything does.
func TestFlowHoldsBack(t *testing.T) {
	h := newHarness(t)
	defer h.close()
	refuse := true
	h.r.verdict = func(ev *stages.Event) stages.Verdict {
		if refuse && ev.Msg.Flow() != nil {
			refuse = false
			return stages.Verdict{Outcome: stages.Refused, Reason: stages.KafkaUnavailable, Stage: stages.AtProduce}
		}
		return stages.Verdict{}
	}
	flow, other, submit := stages.NewFlow(false), stages.NewFlow(false), h.p.Entry()
	position := int64(0)
	send := func(f *stages.Flow) *stages.Message {
		w := newWaiting()
		m := h.feed(submit, w, []stages.Record{recordOf(0, 0, "k")}, stages.RecordOptions{Origin: stages.FromSource, Flow: f, Position: position})
		position++
		w.await(t)
		return m
	}
	check := func(m *stages.Message, outcome stages.Outcome, reason stages.Reason) {
		t.Helper()
		if got := m.Outcome(0); got != outcome || outcome == stages.Refused && m.Results[0].Reason != reason {
			t.Errorf("%v %v, want %v %v", got, m.Results[0].Reason, outcome, reason)
		}
		h.p.Release(m)
	}
	check(send(flow), stages.Refused, stages.KafkaUnavailable)
	check(send(flow), stages.Refused, stages.NotSent)
	check(send(other), stages.Acknowledged, 0)
	check(send(nil), stages.Acknowledged, 0)
	flow.Mend()
	check(send(flow), stages.Acknowledged, 0)
}

// TestExpiredRecordsHoldBack: what a deadline has ended is in doubt, and nothing passes it.
func TestExpiredRecordsHoldBack(t *testing.T) {
	h := newHarness(t)
	h.r.hold.Store(true)
	flow, submit := stages.NewFlow(false), h.p.Entry()
	w := newWaiting()
	m := h.feed(submit, w, []stages.Record{recordOf(0, 0, "k")}, stages.RecordOptions{Origin: stages.FromSource, Flow: flow})
	for deadline := time.Now().Add(patience); m.Queued(0) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	h.p.Expire(m, stages.NotSent)
	if m.Outcome(0) != stages.Unknown || !flow.Broken() {
		t.Errorf("%v, flow broken: %v", m.Outcome(0), flow.Broken())
	}
	h.p.Release(m)
	h.r.heal()
	h.close()
}

// router is a rule that routes everything, and drops what has no key.
type router struct{ to *stages.Topic }

func (r router) Apply(ev *stages.Event) bool {
	if len(ev.PartitionKey.Value) == 0 {
		ev.Filter(stages.AtTransform)
		return false
	}
	ev.Topic = r.to
	return true
}

// TestTheGivenTopicWins: a rule's TOPIC does not count for records that have a topic given; the rule applies all the same.
func TestTheGivenTopicWins(t *testing.T) {
	topics := stages.NewTopics("events", "routed", "given")
	h := newHarness(t, func(_ *Config, parts *Parts) {
		for _, topic := range topics.All {
			topic.SetPartitions(testPartitions)
		}
		parts.Topics = topics
		parts.Rules = func(stages.Memory) stages.Rules { return router{topics.Named("routed")} }
	})
	h.topics = topics
	submit := h.p.Entry()
	for _, given := range []*stages.Topic{nil, topics.Named("given")} {
		w := newWaiting()
		marked := recordOf(0, 0, "k")
		marked.Marks = []stages.Pair{{Name: []byte("replayed_from"), Value: []byte("in/0/0")}}
		m := h.feed(submit, w, []stages.Record{marked, recordOf(0, 1, "")}, stages.RecordOptions{Origin: stages.FromReplay, Topic: given})
		w.await(t)
		if m.Outcome(0) != stages.Acknowledged || m.Outcome(1) != stages.Filtered {
			t.Errorf("%v %v", m.Outcome(0), m.Outcome(1))
		}
		h.p.Release(m)
	}
	h.close()
	for part, log := range h.r.logs {
		if part.Topic == topics.Default || len(log) != 1 {
			t.Errorf("%s has %d events", part.Topic.Name, len(log))
		}
	}
	if n := h.p.Totals(stages.FromReplay); n.Accepted != 4 || n.Outcomes[stages.Acknowledged] != 2 || n.Outcomes[stages.Filtered] != 2 {
		t.Errorf("%+v", n)
	}
}

// TestPace: the rate limit makes records wait, and the stage does not refuse them.
func TestPace(t *testing.T) {
	h := newHarness(t, func(_ *Config, parts *Parts) {
		parts.Stages.RateLimitEnabled, parts.Stages.RateLimitRPS, parts.Stages.RateLimitBurst = true, 1000, 50
	})
	defer h.close()
	submit, began, passed := h.p.Entry(), time.Now(), 0
	for passed < 250 {
		n, err := h.p.Pace(t.Context(), h.client, 250-passed)
		if err != nil || n < 1 {
			t.Fatal(n, err)
		}
		records := make([]stages.Record, n)
		for i := range records {
			records[i] = recordOf(0, passed+i, "k")
		}
		w := newWaiting()
		m := h.feed(submit, w, records, stages.RecordOptions{Origin: stages.FromSource})
		w.await(t)
		for i := range n {
			if m.Outcome(i) != stages.Acknowledged {
				t.Fatalf("%v", m.Results[i].Reason)
			}
		}
		h.p.Release(m)
		passed += n
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("250 events at 1000 a second with a burst of 50 took %v", took)
	}
	h.client.Limit.Take(stages.NewLimit(1000, 50), h.p.now(), 50)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.p.Pace(ctx, h.client, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	h.p.StartDrain()
	h.client.Limit.Take(stages.NewLimit(1000, 50), h.p.now(), 50)
	if n, err := h.p.Pace(t.Context(), h.client, 1); n == 0 && !errors.Is(err, ErrDraining) {
		t.Errorf("%v", err)
	}
}
