package kafka

// Offsets without records, as compaction leaves them: in between, at the end of a batch, and up to the end of a
// partition.

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// compact makes the topic a compacted one.
func (r *readRig) compact() {
	r.t.Helper()
	setPolicy(r.t, r.admin, "events", "compact")
}

func setPolicy(t *testing.T, admin *kadm.Client, topic, policy string) {
	t.Helper()
	answers, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "cleanup.policy", Value: &policy}}, topic)
	if err == nil {
		_, err = answers.On(topic, func(a *kadm.AlterConfigsResponse) error { return a.Err })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// piece is a batch that covers offsets first to last and has records of some: event number i is at offset i.
type piece struct {
	first, last int
	records     []int
}

func numbers(from, to int) (all []int) {
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func (p piece) encode(t *testing.T, record func(partition int32, i int) *kgo.Record) []byte {
	var records []*kgo.Record
	for _, i := range p.records {
		one := record(0, i)
		one.Offset, one.Timestamp = int64(i), second(i)
		records = append(records, one)
	}
	return rawBatch(t, int64(p.first), int64(p.last), records)
}

// holes is brokerOfHoles with events.
func (r *readRig) holes(end int64, pieces ...piece) {
	brokerOfHoles(r.t, r.cluster, eventRecord, end, end, pieces...)
}

// brokerOfHoles is one whose partition 0 has only these pieces below end, and whose last stable offset is stable. Who asks for other partitions with it gets nothing of
// it from there.
func brokerOfHoles(t *testing.T, cluster *kfake.Cluster, record func(partition int32, i int) *kgo.Record, end, stable int64, pieces ...piece) {
	cluster.ControlKey(int16(kmsg.Fetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		asked := request.(*kmsg.FetchRequest)
		if len(asked.Topics) == 1 && len(asked.Topics[0].Partitions) > 1 {
			asked.Topics[0].Partitions = slices.DeleteFunc(asked.Topics[0].Partitions, func(p kmsg.FetchRequestTopicPartition) bool {
				return p.Partition == 0 && p.FetchOffset < end
			})
			return nil, nil, false
		}
		if len(asked.Topics) != 1 || len(asked.Topics[0].Partitions) != 1 || asked.Topics[0].Partitions[0].FetchOffset >= end {
			return nil, nil, false
		}
		partition := kmsg.NewFetchResponseTopicPartition()
		partition.HighWatermark, partition.LastStableOffset = end, stable
		for _, p := range pieces {
			if int64(p.last) >= asked.Topics[0].Partitions[0].FetchOffset {
				partition.RecordBatches = append(partition.RecordBatches, p.encode(t, record)...)
			}
		}
		if len(partition.RecordBatches) == 0 && asked.MaxWaitMillis > 0 { // the broker waits for what comes behind
			asked.Topics[0].Partitions[0].FetchOffset = end
			return nil, nil, false
		}
		answer := request.ResponseKind().(*kmsg.FetchResponse)
		topic := kmsg.NewFetchResponseTopic()
		topic.Topic, topic.TopicID = asked.Topics[0].Topic, asked.Topics[0].TopicID
		topic.Partitions = append(topic.Partitions, partition)
		answer.Topics = append(answer.Topics, topic)
		return answer, nil, true
	})
}

// tails are ways in which the last of 100 offsets can be without records.
var tails = map[string][]piece{
	"nothing from 90 on":         {{0, 89, numbers(0, 90)}},
	"the end of a batch":         {{0, 79, numbers(0, 80)}, {80, 99, numbers(80, 90)}},
	"an empty batch":             {{0, 89, numbers(0, 90)}, {90, 99, nil}},
	"an empty batch and nothing": {{0, 49, numbers(0, 50)}, {60, 69, numbers(60, 70)}, {70, 79, nil}},
	"nothing at all":             nil,
}

func offsetsIn(pieces []piece) (all []int) {
	for _, p := range pieces {
		all = append(all, p.records...)
	}
	return all
}

// A hole ends at the next record, wherever one asks: what is there is never passed over.
func TestHolesEndAtTheNextRecord(t *testing.T) {
	for name, pieces := range tails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReadRig(t, 1, nil)
			r.writeAt(0, 100, second)
			r.holes(100, pieces...)
			b, err := r.readers.look(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for from := int64(0); from < 100; from += 7 {
				want := int64(100)
				for _, i := range slices.Backward(offsetsIn(pieces)) {
					if int64(i) >= from {
						want = int64(i)
					}
				}
				for _, to := range []int64{100, min(from+3, 100)} {
					if got, want := r.readers.holes.behind(t.Context(), b.id, 0, from, to), min(want, to); got != want {
						t.Errorf("from %d, to %d: %d, want %d", from, to, got, want)
					}
				}
			}
			if got := r.readers.holes.behind(t.Context(), &testIdentity, 0, 3, 100); got != 3 {
				t.Errorf("in another topic: %d", got)
			}
			if got := r.readers.holes.behind(t.Context(), b.id, 1, 3, 100); got != 3 {
				t.Errorf("in a partition that is not there: %d", got)
			}
		})
	}
}

// A replay whose range ends with offsets without records ends, with all that there are.
func TestReplayOverACompactedTail(t *testing.T) {
	for name, pieces := range tails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReadRig(t, 1, nil)
			r.compact()
			r.writeAt(0, 100, second)
			r.holes(100, pieces...)
			var got replayed
			if err := r.readers.Replay(t.Context(), got.ask(second(0), second(1000))); err != nil {
				t.Fatal(err)
			}
			has := offsetsIn(pieces)
			mustSee(t, "what is there", got.places, []int{0}, []int{100}, func(i int) bool { return slices.Contains(has, i) })
			if at := got.last(); !at.Done || at.Read != int64(len(has)) || !at.Position.Equal(second(1000)) {
				t.Errorf("the end is %+v", at)
			}
		})
	}
}

// Of a topic that is not compacted, nothing does not mean that there is nothing.
func TestReplayOfATopicThatHasNoHoles(t *testing.T) {
	r := newReadRig(t, 1, func(c *Config, _ *ReadingConfig) { c.ReadTimeout = time.Second })
	r.writeAt(0, 100, second)
	r.holes(100, tails["nothing from 90 on"]...)
	var got replayed
	_ = reasonIs(t, r.readers.Replay(t.Context(), got.ask(second(0), second(1000))), stages.KafkaUnavailable)
	mustSee(t, "what came", got.places, []int{0}, []int{90}, all)
}

// A subscriber of the past arrives at the hub, which begins behind a hole, and gives its reader back.
func TestSubscribersOverACompactedTail(t *testing.T) {
	for name, pieces := range tails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReadRig(t, 1, nil)
			r.compact()
			r.writeAt(0, 100, second)
			r.holes(100, pieces...)
			live := r.subscribe(r.readers, stages.Subscription{}, nil)
			live.started(t)
			has := offsetsIn(pieces)
			s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
			s.started(t)
			s.await(t, len(has))
			eventually(t, "the subscriber is with the hub", func() bool {
				return r.readers.metrics.readers.Load() == 0 && (*r.at(s))[0] == 100
			})
			r.write(0, 100, 110)
			s.await(t, len(has)+10)
			live.await(t, 10)
			mustSee(t, "from the beginning", s.places, []int{0}, []int{110}, func(i int) bool { return i >= 100 || slices.Contains(has, i) })
			// They are counted when they have been delivered.
			eventually(t, "the last 10 came from the hub to both", func() bool { return r.readers.metrics.fromHub.Load() == 20 })
		})
	}
}

// While other partitions bring events all the time, too: a subscriber that waits only for the rest of a hole goes on with the hub.
func TestSubscribersOverAHoleBesideTraffic(t *testing.T) {
	r := newReadRig(t, 2, nil)
	r.compact()
	r.writeAt(0, 100, second)
	r.holes(100, tails["nothing from 90 on"]...)
	live := r.subscribe(r.readers, stages.Subscription{}, nil)
	live.started(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				r.client.ProduceSync(t.Context(), eventRecord(1, i))
			}
		}
	}()
	defer func() { close(stop); <-stopped }()
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: cursorOf(r.readers.identity.Load(), positions{90, 0})}}, nil)
	s.await(t, 10)
	eventually(t, "the subscriber is with the hub", func() bool {
		return r.readers.metrics.readers.Load() == 0 && (*r.at(s))[0] == 100
	})
}

// policyAsked counts how often Kafka is asked for the topic's policy, which answer may answer.
func (r *readRig) policyAsked(answer func(kmsg.Response)) *atomic.Int64 {
	var asked atomic.Int64
	r.cluster.ControlKey(int16(kmsg.DescribeConfigs), func(request kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		asked.Add(1)
		if answer == nil {
			return nil, nil, false
		}
		response := request.ResponseKind()
		answer(response)
		return response, nil, true
	})
	return &asked
}

// Kafka is asked once a minute for all readers of a topic, and again for another topic of the name.
func TestThePolicyIsRemembered(t *testing.T) {
	r := newReadRig(t, 1, nil)
	asked := r.policyAsked(nil)
	b, err := r.readers.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	is := func(want bool, times int64) {
		t.Helper()
		if got := r.readers.holes.compacted(t.Context(), b.id); got != want || asked.Load() != times {
			t.Fatalf("compacted: %v, want %v, after %d questions, want %d", got, want, asked.Load(), times)
		}
	}
	is(false, 1)
	r.compact()
	is(false, 1)
	r.readers.holes.policy.answered = time.Now().Add(-policyAge)
	is(true, 2)
	is(true, 2)
	b.id = &testIdentity
	is(true, 3)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	r.readers.holes.policy.answered = time.Time{}
	if r.readers.holes.compacted(over, b.id) || !r.readers.holes.policy.answered.IsZero() {
		t.Error("no answer is remembered as one")
	}
}

// That we may not know a topic's policy is remembered, too; what may pass by itself is not.
func TestThePolicyOfATopicThatIsNotTold(t *testing.T) {
	for _, c := range []struct {
		err  *kerr.Error
		want int64
	}{{kerr.TopicAuthorizationFailed, 1}, {kerr.UnknownTopicOrPartition, 3}} {
		r := newReadRig(t, 1, nil)
		asked := r.policyAsked(func(response kmsg.Response) {
			one := kmsg.NewDescribeConfigsResponseResource()
			one.ResourceType, one.ResourceName, one.ErrorCode = kmsg.ConfigResourceTypeTopic, "events", c.err.Code
			answer := response.(*kmsg.DescribeConfigsResponse)
			answer.Resources = append(answer.Resources, one)
		})
		for range 3 {
			if r.readers.holes.compacted(t.Context(), &testIdentity) {
				t.Errorf("%v: compacted", c.err)
			}
		}
		if n := asked.Load(); n != c.want {
			t.Errorf("%v: asked %d times, want %d", c.err, n, c.want)
		}
	}
}

// Who is stuck: nothing has come of it, the hub is further on, and nothing else keeps the subscriber busy.
func TestStandstill(t *testing.T) {
	was := standstill{at: positions{10, 10, 10}, head: positions{20, 10, 30}}
	for _, c := range []struct {
		name     string
		now, hub positions
		want     []int32
	}{
		{"nothing moves", positions{10, 10, 10}, positions{25, 10, 30}, []int32{0, 2}},
		{"one has come to where the hub was", positions{20, 10, 10}, positions{25, 10, 30}, []int32{2}},
		{"one is on its way", positions{19, 10, 10}, positions{25, 10, 30}, nil},
		{"the last one is on its way", positions{10, 10, 11}, positions{25, 10, 30}, nil},
		{"all is there", positions{20, 10, 30}, positions{20, 10, 30}, nil},
		{"no hub", positions{10, 10, 10}, nil, nil},
		{"a new partition", positions{20, 10, 30}, positions{20, 10, 30, 5}, []int32{3}},
	} {
		if got := was.stuck(c.now, c.hub); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// A subscriber that takes its time has not waited for Kafka: nothing is asked for it.
func TestSlowSubscribersAskForNoHoles(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.write(0, 0, 10)
	asked := r.policyAsked(nil)
	r.readers.hub.listen(positions{10})
	defer r.readers.hub.leave()
	f := &follower{readers: r.readers, id: &testIdentity, ps: positions{0}}
	for waited, want := range map[time.Duration]int64{holesEvery - 1: 0, holesEvery: 1} {
		before := asked.Load()
		still := standstill{at: f.ps, waited: waited}
		f.skipHoles(t.Context(), &still)
		r.readers.holes.policy.answered = time.Time{}
		if n := asked.Load() - before; n != want {
			t.Errorf("Kafka was asked %d times after %v of waiting, want %d", n, waited, want)
		}
	}
}

// at is where a subscriber is.
func (r *readRig) at(s *subscriber) *positions {
	m := &r.readers.metrics
	m.mu.Lock()
	defer m.mu.Unlock()
	for f := range m.followers {
		if f.sub == s.sub {
			return f.at.Load()
		}
	}
	r.t.Fatal("the subscriber is gone")
	return nil
}

// The broker compacts: every second event is gone, those of a cursor too.
func TestReadersOfACompactedTopic(t *testing.T) {
	r := newReadRig(t, 1, nil)
	r.compact()
	const total = 200
	for i := range total {
		one := eventRecord(0, i)
		one.Timestamp, one.Key = second(i), []byte("the same")
		if i%2 == 1 {
			one.Key = fmt.Append(nil, i)
		}
		if err := r.client.ProduceSync(t.Context(), one).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.cluster.Compact()
	odd := func(i int) bool { return i%2 == 1 || i == total-2 } // the last one of a key stays
	var got replayed
	if err := r.readers.Replay(t.Context(), got.ask(second(0), second(total))); err != nil {
		t.Fatal(err)
	}
	mustSee(t, "replay", got.places, []int{0}, []int{total}, odd)
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
	s.await(t, total/2+1)
	mustSee(t, "from the beginning", s.places, []int{0}, []int{total}, odd)
	s = r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: cursorOf(r.readers.identity.Load(), positions{100})}}, nil)
	s.await(t, total/4+1)
	mustSee(t, "from a cursor in a hole", s.places, []int{100}, []int{total}, odd)
}
