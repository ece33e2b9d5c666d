//go:build kafka

package kafka

// The producer against Apache Kafka: the rows of the error table that need no
// injected fault, and what Kafka makes of the records.

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// realRig is a producer in front of Apache Kafka.
type realRig struct {
	*rig
	cluster *kafkatest.Cluster
	admin   *kadm.Client
}

func newRealRig(t *testing.T, c *kafkatest.Cluster, topic string, change func(*Config)) *realRig {
	t.Helper()
	r := &realRig{cluster: c, admin: kadm.NewClient(c.Client())}
	r.rig = startRig(t, func(cfg *Config, _ *Parts) {
		cfg.Brokers, cfg.Topic = c.Addrs(), topic
		if change != nil {
			change(cfg)
		}
	})
	r.ready()
	return r
}

func (r *realRig) context() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *realRig) stored(n int, partition int32) []*kgo.Record {
	r.t.Helper()
	return stored(r.t, n, r.cfg.Topic, partition, kgo.SeedBrokers(r.cluster.Addrs()...))
}

// alter sets topic configs and waits until the broker acts on them.
func (r *realRig) alter(key, value string) {
	r.t.Helper()
	_, err := r.admin.AlterTopicConfigs(r.context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, r.cfg.Topic)
	if err != nil {
		r.t.Fatal(err)
	}
	r.eventually(key+" is "+value, func() bool {
		all, err := r.admin.DescribeTopicConfigs(r.context(), r.cfg.Topic)
		if err != nil || len(all) != 1 {
			return false
		}
		for _, c := range all[0].Configs {
			if c.Key == key {
				return c.MaybeValue() == value
			}
		}
		return false
	})
}

func (r *realRig) deleteTopic() {
	r.t.Helper()
	resp, err := r.admin.DeleteTopic(r.context(), r.cfg.Topic)
	if err = errors.Join(err, resp.Err); err != nil {
		r.t.Fatal(err)
	}
}

// createTopic creates it again; Kafka may still be busy with the deletion.
func (r *realRig) createTopic(partitions int32) {
	r.t.Helper()
	r.eventually("the topic is created again", func() bool {
		resp, err := r.admin.CreateTopic(r.context(), partitions, -1, nil, r.cfg.Topic)
		return err == nil && resp.Err == nil
	})
}

// uniqueTopic is a name that no topic has.
func uniqueTopic() string { return fmt.Sprintf("kafka-test-%d", time.Now().UnixNano()) }

func TestKafka(t *testing.T) {
	c := kafkatest.Start(t)
	for name, test := range map[string]func(*testing.T, *kafkatest.Cluster){
		"created at start":      testCreatedAtStart,
		"round trip":            testRealRoundTrip,
		"acks":                  testRealAcks,
		"largest record":        testLargestRecord,
		"limit lowered":         testLimitLowered,
		"record time":           testRecordTime,
		"deleted and recreated": testRealRecreated,
		"recreated under load":  testRealRecreatedUnderLoad,
		"partitions added":      testRealGrowth,
		"not created again":     testNoAutoCreation,
	} {
		t.Run(name, func(t *testing.T) { test(t, c) })
	}
}

func testCreatedAtStart(t *testing.T, c *kafkatest.Cluster) {
	r := newRealRig(t, c, uniqueTopic(), func(cfg *Config) { cfg.NumPartitions = 7 })
	details, err := r.admin.ListTopics(r.context(), r.cfg.Topic)
	if err != nil || len(details[r.cfg.Topic].Partitions) != 7 || len(r.topics.Default.Partitions()) != 7 {
		t.Fatalf("%v, %v", details, err)
	}
	r.produce(r.partition(6), "a")
	r.want("a", stages.Acknowledged, stages.NoReason)
	// A topic that is there stays as it is.
	again := newRealRig(t, c, r.cfg.Topic, func(cfg *Config) { cfg.NumPartitions = 9 })
	if n := len(again.topics.Default.Partitions()); n != 7 {
		t.Errorf("%d partitions", n)
	}
}

// testRealRoundTrip: hostile events, in every codec and both formats, come back as they were.
func testRealRoundTrip(t *testing.T, c *kafkatest.Cluster) {
	for codec := range codecs {
		for _, format := range []Format{FormatBinary, FormatEvent} {
			r := newRealRig(t, c, c.Topic(1), func(cfg *Config) { cfg.Compression, cfg.RecordFormat = codec, format })
			const n = 150
			var events []*stages.Event
			var want []*eventv1.Event
			for i := range n {
				ev := rapid.Custom(genEvent).Example(i)
				ev.Msg.Received, ev.Topic, ev.Partition = time.Now(), r.topics.Default, r.partition(0)
				events, want = append(events, ev), append(want, asSubscriberGets(ev))
			}
			r.producer.Produce(r.partition(0), events)
			for range n {
				if v := r.answer().Ack.Verdict; v.Outcome != stages.Acknowledged {
					t.Fatalf("%s %s: %+v", codec, format, v)
				}
			}
			compressed := false
			for i, record := range r.stored(n, 0) {
				if got, err := EventFromRecord(record); err != nil || !proto.Equal(got, want[i]) {
					t.Fatalf("%s %s: %v, %v, want %v", codec, format, got, err, want[i])
				}
				compressed = compressed || record.Attrs.CompressionType() != 0
			}
			if compressed != (codec != CompressNone) {
				t.Errorf("%s: compressed is %v", codec, compressed)
			}
		}
	}
}

func testRealAcks(t *testing.T, c *kafkatest.Cluster) {
	for acks, offset := range map[Acks]int64{AcksAll: 1, AcksLeader: 1, AcksNone: -1} {
		r := newRealRig(t, c, c.Topic(1), func(cfg *Config) { cfg.RequiredAcks = acks })
		r.produce(r.partition(0), "a", "b")
		r.want("a", stages.Acknowledged, stages.NoReason)
		if b := r.want("b", stages.Acknowledged, stages.NoReason); b.Ack.Offset != offset {
			t.Errorf("%s: offset %d, want %d", acks, b.Ack.Offset, offset)
		}
		r.stored(2, 0)
	}
}

// testLargestRecord: what RecordSize promises to fit, Kafka takes, to the byte; above it, the event is
// refused.
func testLargestRecord(t *testing.T, c *kafkatest.Cluster) {
	for _, format := range []Format{FormatBinary, FormatEvent} {
		const limit = 20_000
		r := newRealRig(t, c, c.Topic(1, "max.message.bytes", fmt.Sprint(limit)), func(cfg *Config) { cfg.RecordFormat = format })
		if n := r.topics.Default.MaxMessageBytes(); n != limit {
			t.Fatalf("max.message.bytes %d", n)
		}
		p := r.partition(0)
		sized := func(id string, size int) *stages.Event {
			ev := newEvent(id, p)
			for ev.Data = make([]byte, size/2); r.producer.RecordSize(ev) < size; {
				ev.Data = make([]byte, len(ev.Data)+size-r.producer.RecordSize(ev))
			}
			for r.producer.RecordSize(ev) > size {
				ev.Data = ev.Data[1:]
			}
			return ev
		}
		for i := range 20 {
			id := fmt.Sprint(i)
			r.producer.Produce(p, []*stages.Event{sized(id, limit-i)})
			r.want(id, stages.Acknowledged, stages.NoReason)
		}
		r.producer.Produce(p, []*stages.Event{newEvent("before", p), sized("large", limit+1000), newEvent("after", p)})
		reasons := map[string]stages.Reason{}
		for range 3 {
			ev := r.answer()
			reasons[string(ev.ID.Value)] = ev.Ack.Verdict.Reason
		}
		if reasons["large"] != stages.EventTooLarge || reasons["before"] != stages.NoReason || reasons["after"] != stages.NoReason {
			t.Errorf("%s: %v", format, reasons)
		}
	}
}

// testLimitLowered: max.message.bytes below what was read at start. Kafka itself rejects, a record or a batch.
func testLimitLowered(t *testing.T, c *kafkatest.Cluster) {
	r := newRealRig(t, c, c.Topic(1), nil)
	p := r.partition(0)
	r.produce(p, "a")
	r.want("a", stages.Acknowledged, stages.NoReason)
	r.alter("max.message.bytes", "2000")
	sized := func(id string, size int) *stages.Event {
		ev := newEvent(id, p)
		ev.Data = make([]byte, size)
		return ev
	}
	large := func() stages.Verdict {
		r.producer.Produce(p, []*stages.Event{sized("large", 5000)})
		return r.answer().Ack.Verdict
	}
	v := large()
	for deadline := time.Now().Add(patience); v.Outcome == stages.Acknowledged && time.Now().Before(deadline); v = large() {
		// Kafka has answered, and its broker does so a moment later.
	}
	if v.Outcome != stages.Refused || v.Reason != stages.RecordRejected {
		t.Errorf("large: %+v", v)
	}
	var events []*stages.Event
	for i := range 50 {
		events = append(events, sized(fmt.Sprint(i), 500))
	}
	r.producer.Produce(p, events)
	var again []string
	for range events {
		switch ev := r.answer(); {
		case ev.Ack.Verdict.Reason == stages.BatchRejected:
			again = append(again, string(ev.ID.Value))
		case ev.Ack.Verdict.Outcome != stages.Acknowledged:
			t.Errorf("%s: %+v", ev.ID.Value, ev.Ack.Verdict)
		}
	}
	if len(again) < 2 {
		t.Errorf("rejected as a batch: %v", again)
	}
	for _, id := range again { // sent again one by one
		r.producer.Produce(p, []*stages.Event{sized(id, 500)})
		r.want(id, stages.Acknowledged, stages.NoReason)
	}
	seen := map[string]bool{"large": true} // and everything else once
	for _, record := range r.stored(1+len(events), 0) {
		ev, err := EventFromRecord(record)
		if err != nil || seen[ev.Id] {
			t.Errorf("stored: %v, %v", ev, err)
		}
		seen[ev.GetId()] = true
	}
}

// testRecordTime: Kafka refuses records from more than an hour ahead; the gateway's clock is what counts.
func testRecordTime(t *testing.T, c *kafkatest.Cluster) {
	r := newRealRig(t, c, c.Topic(1), nil)
	p := r.partition(0)
	ahead := func(id string, by time.Duration) *stages.Event {
		ev := newEvent(id, p)
		ev.Msg.Received = time.Now().Add(by)
		return ev
	}
	r.producer.Produce(p, []*stages.Event{ahead("far", 2*time.Hour)})
	r.want("far", stages.Refused, stages.RecordRejected)
	r.producer.Produce(p, []*stages.Event{ahead("near", 50*time.Minute)})
	r.want("near", stages.Acknowledged, stages.NoReason)
	// Behind, an event is late before it is sent: franz-go counts its delivery timeout from the record's time.
	r.producer.Produce(p, []*stages.Event{ahead("late", -time.Hour)})
	r.want("late", stages.Unknown, stages.OutcomeUnknown)
	// The event's own time is an attribute only: any will do.
	for id, seconds := range map[string]int64{"year 1": -62135596800, "year 9999": 253402300799} {
		ev := newEvent(id, p)
		ev.More, ev.HasTime, ev.Seconds = true, true, seconds
		r.producer.Produce(p, []*stages.Event{ev})
		r.want(id, stages.Acknowledged, stages.NoReason)
	}
	r.stored(3, 0)
}

func testRealRecreated(t *testing.T, c *kafkatest.Cluster) {
	r := newRealRig(t, c, c.Topic(3), nil)
	r.produce(r.partition(2), "a")
	r.want("a", stages.Acknowledged, stages.NoReason)
	r.deleteTopic()
	// What is handed over before the watcher sees it gets Kafka's own answer: it does not know the topic's id.
	r.produce(r.partition(2), "b")
	if v := r.answer().Ack.Verdict; v.Outcome != stages.Refused || v.Reason != stages.TopicRecreated && v.Reason != stages.TopicNotFound {
		t.Errorf("%+v", v)
	}
	r.eventually("the topic is gone", func() bool { return r.topics.Default.Refusal() == stages.TopicNotFound })
	r.createTopic(2)
	r.eventually("the new topic is in use", func() bool {
		return r.producer.Ready() == nil && len(r.topics.Default.Partitions()) == 2
	})
	r.produce(r.partition(1), "c")
	if ev := r.want("c", stages.Acknowledged, stages.NoReason); ev.Ack.Offset != 0 {
		t.Errorf("at %d of the new topic", ev.Ack.Offset)
	}
	r.stored(1, 1)
}

// testRealRecreatedUnderLoad: what is acknowledged after the recreation is in the new topic, and nothing else.
func testRealRecreatedUnderLoad(t *testing.T, c *kafkatest.Cluster) {
	r := newRealRig(t, c, c.Topic(3), nil)
	r.produce(r.partition(0), "before")
	r.want("before", stages.Acknowledged, stages.NoReason)
	r.deleteTopic()
	r.createTopic(3)
	acknowledged, answers := map[string]int64{}, map[stages.Reason]int{}
	for i := 0; len(acknowledged) < 20; i++ {
		if i == 10_000 {
			t.Fatalf("%d acknowledged, answers %v; log:\n%s", len(acknowledged), answers, r.log)
		}
		r.produce(r.partition(0), fmt.Sprint(i))
		ev := r.answer()
		answers[ev.Ack.Verdict.Reason]++
		if ev.Ack.Verdict.Outcome == stages.Acknowledged {
			acknowledged[string(ev.ID.Value)] = ev.Ack.Offset
			continue
		}
		r.eventually("the topic is usable", func() bool {
			return r.topics.Default.Refusal() == stages.NoReason && len(r.topics.Default.Partitions()) == 3
		})
	}
	t.Logf("answers: %v", answers)
	if answers[stages.TopicRecreated] == 0 {
		t.Error("nothing was told that the topic was recreated")
	}
	for _, record := range r.stored(20, 0) {
		ev, err := EventFromRecord(record)
		if err != nil {
			t.Fatal(err)
		}
		if offset, ok := acknowledged[ev.Id]; !ok || offset != record.Offset {
			t.Errorf("%s at %d, acknowledged at %d, %v", ev.Id, record.Offset, offset, ok)
		}
	}
}

// testRealGrowth: partitions that somebody adds are noticed by themselves, and usable from then on.
func testRealGrowth(t *testing.T, c *kafkatest.Cluster) {
	r := newRealRig(t, c, c.Topic(2), nil)
	if _, err := r.admin.CreatePartitions(r.context(), 3, r.cfg.Topic); err != nil {
		t.Fatal(err)
	}
	r.eventually("5 partitions", func() bool { return len(r.topics.Default.Partitions()) == 5 })
	for i := range 5 {
		id := fmt.Sprint(i)
		r.produce(r.partition(i), id)
		r.want(id, stages.Acknowledged, stages.NoReason)
		r.stored(1, int32(i))
	}
	if r.producer.metrics.partitionGrowth.Load() != 1 || !r.log.has("partition count changed") {
		t.Error("growth was not noted")
	}
}

// testNoAutoCreation: a topic that was deleted stays deleted, also on a broker that creates topics by itself.
func testNoAutoCreation(t *testing.T, c *kafkatest.Cluster) {
	r := newRealRig(t, c, c.Topic(1), nil)
	r.deleteTopic()
	r.produce(r.partition(0), "a")
	if v := r.answer().Ack.Verdict; v.Outcome != stages.Refused {
		t.Errorf("%+v", v)
	}
	r.eventually("the topic is gone", func() bool { return r.topics.Default.Refusal() == stages.TopicNotFound })
	details, err := r.admin.ListTopics(r.context())
	if err != nil || details.Has(r.cfg.Topic) {
		t.Errorf("the topic is there again: %v, %v", details, err)
	}
}
