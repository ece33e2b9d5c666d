package kafka

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

func TestProduceAcknowledges(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil).ready()
	for i := range 100 {
		p := r.partition(i % 3)
		r.produce(p, fmt.Sprint("a", i), fmt.Sprint("b", i))
		a, b := r.want(fmt.Sprint("a", i), stages.Acknowledged, stages.NoReason), r.want(fmt.Sprint("b", i), stages.Acknowledged, stages.NoReason)
		if a.Ack.Partition != p.ID || b.Ack.Offset != a.Ack.Offset+1 {
			t.Fatalf("positions %+v, %+v", a.Ack, b.Ack)
		}
	}
	for i, rec := range r.stored(68, 0)[:68] {
		if ev, err := EventFromRecord(rec); err != nil || ev.Id != fmt.Sprint("ab"[i%2:i%2+1], i/2*3) {
			t.Fatalf("offset %d: %v, %v", i, ev, err)
		}
	}
}

// TestHiddenHeaders: franz-go counts a record's bytes without its headers both when it takes it in and when it gives it
// back, else the gauge of what it holds would drift; and the record has them all (record.hide).
func TestHiddenHeaders(t *testing.T) {
	r := newRig(t, nil).ready()
	r.produce(r.partition(0), "a", "b", "c")
	for _, id := range []string{"a", "b", "c"} {
		ev := r.want(id, stages.Acknowledged, stages.NoReason)
		if kr := &recordOf(ev).kafka; len(kr.Headers) > 0 {
			t.Errorf("%s: %d headers after the promise", id, len(kr.Headers))
		}
	}
	r.eventually("franz-go to hold nothing", func() bool { return r.producer.InFlight() == 0 })
	if n := r.producer.client.BufferedProduceBytes(); n != 0 {
		t.Errorf("franz-go counts %d bytes at rest", n)
	}
	for _, rec := range r.stored(3, 0) {
		if len(rec.Headers) < required {
			t.Errorf("a record with the headers %v", rec.Headers)
		}
	}
}

// TestAcks: every level answers; without an answer there is no offset.
func TestAcks(t *testing.T) {
	t.Parallel()
	for _, acks := range []Acks{AcksLeader, AcksNone} {
		r := newRig(t, func(c *Config, _ *Parts) { c.RequiredAcks = acks }).ready()
		r.produce(r.partition(0), "a", "b")
		r.want("a", stages.Acknowledged, stages.NoReason)
		b := r.want("b", stages.Acknowledged, stages.NoReason)
		if want := map[Acks]int64{AcksLeader: 1, AcksNone: -1}[acks]; b.Ack.Offset != want {
			t.Errorf("%s: offset %d, want %d", acks, b.Ack.Offset, want)
		}
		if len(r.producer.Warnings()) != 1 {
			t.Errorf("%s: no warning", acks)
		}
		r.stored(2, 0)
	}
}

// TestCompression: every codec's records can be read.
func TestCompression(t *testing.T) {
	t.Parallel()
	for codec := range codecs {
		r := newRig(t, func(c *Config, _ *Parts) { c.Compression = codec }).ready()
		ids := make([]string, 200)
		for i := range ids {
			ids[i] = fmt.Sprint("event", i)
		}
		r.produce(r.partition(0), ids...)
		for _, id := range ids {
			r.want(id, stages.Acknowledged, stages.NoReason)
		}
		compressed := false
		for i, rec := range r.stored(len(ids), 0) {
			if ev, err := EventFromRecord(rec); err != nil || ev.Id != ids[i] {
				t.Fatalf("%s: %v, %v", codec, ev, err)
			}
			compressed = compressed || rec.Attrs.CompressionType() != 0
		}
		if compressed != (codec != CompressNone) {
			t.Errorf("%s: compressed is %v", codec, compressed)
		}
	}
}

// TestNobodysContext: nothing that a caller could cancel reaches franz-go,
// which would fail every record of the partition with the first one's context.
func TestNobodysContext(t *testing.T) {
	r := newRig(t, nil).ready()
	produce := r.producer.Produce // has no context to pass
	_ = func(p *stages.Partition, events []*stages.Event) { produce(p, events) }
	r.produce(r.partition(0), "a")
	ev := r.want("a", stages.Acknowledged, stages.NoReason)
	kr := &ev.Sink.(*record).kafka
	if kr.Context.Done() != nil {
		t.Error("the record's context can end")
	}
}

// TestAmbiguousAnswers: while a broker answers REQUEST_TIMED_OUT, franz-go
// honours no timeout; the event is acknowledged late and exactly once.
func TestAmbiguousAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(_ *Config, p *Parts) { p.DeliveryTimeout = time.Second }).ready()
	fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: -1})
	r.produce(r.partition(0), "a")
	select {
	case ev := <-r.reports:
		t.Fatalf("resolved while the answers are ambiguous: %+v", ev.Ack)
	case <-time.After(2 * r.producer.parts.DeliveryTimeout):
	}
	fault.Remove()
	r.want("a", stages.Acknowledged, stages.NoReason)
	r.produce(r.partition(0), "b")
	if b := r.want("b", stages.Acknowledged, stages.NoReason); b.Ack.Offset != 1 {
		t.Errorf("b at offset %d: a was stored more than once", b.Ack.Offset)
	}
}

func TestBufferFull(t *testing.T) {
	r := newRig(t, func(_ *Config, p *Parts) { p.MaxEvents = 1 }).ready() // 1024 records at the least
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		return nil, nil, true // never answers
	})
	ids := make([]string, 1030)
	for i := range ids {
		ids[i] = fmt.Sprint(i)
	}
	r.produce(r.partition(0), ids...)
	for range 6 {
		if v := r.answer().Ack.Verdict; v.Outcome != stages.Refused || v.Reason != stages.BufferFull {
			t.Fatalf("%+v", v)
		}
	}
	r.producer.Close()
	for range 1024 {
		if v := r.answer().Ack.Verdict; v.Outcome != stages.Unknown {
			t.Fatalf("closed under way: %+v", v)
		}
	}
	r.produce(r.partition(0), "late")
	r.want("late", stages.Refused, stages.Draining)
}

// TestOversize: an event that a rule made too large is told so, also among others.
func TestOversize(t *testing.T) {
	r := newRig(t, nil).ready()
	p := r.partition(0)
	big := newEvent("big", p)
	big.Data = make([]byte, 2<<20)
	r.producer.Produce(p, []*stages.Event{newEvent("a", p), big, newEvent("b", p)})
	for range 3 {
		ev := r.answer()
		v := ev.Ack.Verdict
		if string(ev.ID.Value) == "big" && (v.Reason != stages.EventTooLarge || v.Detail == nil) || string(ev.ID.Value) != "big" && v.Outcome != stages.Acknowledged {
			t.Errorf("%s: %+v", ev.ID.Value, v)
		}
	}
}

// TestLimitFollowsTopic: the topic's own max.message.bytes bounds batches, and
// a record of exactly the bound that RecordSize promises is stored.
func TestLimitFollowsTopic(t *testing.T) {
	r := newPreparedRig(t, func(c *kfake.Cluster) {
		if err := c.CreateTopic("events", 1, map[string]string{"max.message.bytes": "20000"}); err != nil {
			t.Fatal(err)
		}
	}, nil).ready()
	if n := r.topics.Default.MaxMessageBytes(); n != 20000 {
		t.Fatalf("max.message.bytes %d", n)
	}
	p := r.partition(0)
	events := make([]*stages.Event, 50)
	for i := range events {
		events[i] = newEvent(fmt.Sprint(i), p)
		events[i].Data = make([]byte, 1000)
		events[i].Data = make([]byte, 1000+20000-r.producer.RecordSize(events[i]))
	}
	r.producer.Produce(p, events)
	for i := range events {
		r.want(fmt.Sprint(i), stages.Acknowledged, stages.NoReason)
	}
}

func TestTopicDeletedAndRecreated(t *testing.T) {
	r := newRig(t, nil).ready()
	r.produce(r.partition(2), "a")
	r.want("a", stages.Acknowledged, stages.NoReason)
	if err := r.cluster.DeleteTopic("events"); err != nil {
		t.Fatal(err)
	}
	refused := func(reason stages.Reason) func() bool {
		return func() bool { r.producer.wake(); return r.topics.Default.Refusal() == reason }
	}
	r.eventually("the topic is gone", refused(stages.TopicNotFound))
	if err := r.producer.Ready(); err == nil || !strings.Contains(err.Error(), "TOPIC_NOT_FOUND") {
		t.Errorf("Ready: %v", err)
	}
	if err := r.cluster.CreateTopic("events", 2, nil); err != nil {
		t.Fatal(err)
	}
	r.eventually("the new topic is in use", func() bool {
		r.producer.wake()
		return r.producer.Ready() == nil && len(r.topics.Default.Partitions()) == 2
	})
	r.produce(r.partition(1), "b")
	if b := r.want("b", stages.Acknowledged, stages.NoReason); b.Ack.Offset != 0 {
		t.Errorf("b at %d of the new topic", b.Ack.Offset)
	}
	if n := r.producer.metrics.topicRecreated.Load(); n != 1 {
		t.Errorf("purged %d times", n)
	}
}

// TestRecreatedUnderLoad: events sent all the while get an outcome, never a
// false acknowledgement, and the new topic is found by itself.
func TestRecreatedUnderLoad(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil).ready()
	if err := r.cluster.DeleteTopic("events"); err != nil {
		t.Fatal(err)
	}
	if err := r.cluster.CreateTopic("events", 3, nil); err != nil {
		t.Fatal(err)
	}
	p := r.partition(0)
	acknowledged, refused := 0, 0
	for i := 0; acknowledged < 5; i++ {
		if i > 5000 {
			t.Fatalf("%d acknowledged, %d refused; log:\n%s", acknowledged, refused, r.log)
		}
		r.produce(p, fmt.Sprint(i))
		switch v := r.answer().Ack.Verdict; {
		case v.Outcome == stages.Acknowledged:
			acknowledged++
		case v.Reason == stages.TopicRecreated, v.Reason == stages.TopicNotFound, v.Outcome == stages.Unknown:
			refused++
			r.eventually("the topic is usable", func() bool { return r.topics.Default.Refusal() == stages.NoReason })
		default:
			t.Fatalf("%+v", v)
		}
	}
	r.stored(acknowledged, 0)
}

func TestPartitionGrowth(t *testing.T) {
	r := newRig(t, nil).ready()
	before := r.partition(0)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := kadm.NewClient(r.producer.Client()).CreatePartitions(ctx, 4, "events"); err != nil {
		t.Fatal(err)
	}
	r.eventually("7 partitions", func() bool { r.producer.wake(); return len(r.topics.Default.Partitions()) == 7 })
	if r.partition(0) != before || r.producer.metrics.partitionGrowth.Load() != 1 || !r.log.has("partition count changed") {
		t.Error("growth was not noted, or partitions were replaced")
	}
	r.produce(r.partition(6), "a") // the count is never ahead of what franz-go knows
	r.want("a", stages.Acknowledged, stages.NoReason)
}

// TestMisplaced: the count of a recreated topic may be smaller than what events were routed by.
func TestMisplaced(t *testing.T) {
	r := newRig(t, nil).ready()
	r.producer.topics[0].grow(9)
	r.produce(&stages.Partition{Topic: r.topics.Default, ID: 8}, "a")
	r.want("a", stages.Refused, stages.KafkaUnavailable)
	r.produce(&stages.Partition{Topic: r.topics.Default, ID: 20}, "b")
	r.want("b", stages.Refused, stages.KafkaUnavailable)
}

func TestUnauthorizedTopic(t *testing.T) {
	r := newRig(t, nil).ready()
	fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Metadata}, Topic: "events", Err: kerr.TopicAuthorizationFailed, Count: -1})
	r.eventually("refused", func() bool { r.producer.wake(); return r.topics.Default.Refusal() == stages.KafkaUnauthorized })
	fault.Remove()
	r.eventually("back", func() bool { r.producer.wake(); return r.producer.Ready() == nil })
}

// TestKafkaComesLater: the producer starts without Kafka and says so.
func TestKafkaComesLater(t *testing.T) {
	network := &kfake.VirtualNetwork{}
	r := startRig(t, func(c *Config, p *Parts) {
		c.Brokers, p.dial = []string{"localhost:9092"}, network.DialContext
	})
	if r.producer.Ready() == nil || len(r.topics.Default.Partitions()) != 0 {
		t.Fatal("ready without Kafka")
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	t.Cleanup(r.producer.Close)
	r.ready()
	r.produce(r.partition(0), "a")
	r.want("a", stages.Acknowledged, stages.NoReason)
}

// TestBreaker: silence with records in flight opens it, any answer to a probe
// half-opens it, an acknowledgement closes it.
func TestBreaker(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *Config, p *Parts) {
		c.ReadTimeout, c.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
		p.DeliveryTimeout = 30 * time.Second
	}).ready()
	state := func(want stages.BreakerState) func() bool {
		return func() bool { return r.breaker.State() == want }
	}
	mute := make(chan bool, 1)
	mute <- true
	silent := func() bool { on := <-mute; mute <- on; return on }
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.ApiVersions} {
		r.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
			r.cluster.KeepControl()
			return nil, nil, silent()
		})
	}
	r.produce(r.partition(0), "a")
	r.eventually("the breaker opens", state(stages.BreakerIsOpen))
	if r.producer.Ready() == nil {
		t.Error("ready with an open breaker")
	}
	<-mute
	mute <- false
	r.eventually("the breaker leaves open", func() bool { return r.breaker.State() != stages.BreakerIsOpen })
	r.want("a", stages.Acknowledged, stages.NoReason) // what was handed went on
	r.eventually("the breaker closes", state(stages.BreakerClosed))
}

func TestMetrics(t *testing.T) {
	r := newRig(t, nil).ready()
	r.produce(r.partition(0), "a", "b", "c")
	for range 3 {
		r.answer()
	}
	var text strings.Builder
	r.eventually("the batch was counted", func() bool {
		text.Reset()
		r.producer.WriteMetrics(&text)
		return strings.Contains(text.String(), "gateway_kafka_batch_records_sum 3\n") &&
			strings.Contains(text.String(), "gateway_kafka_inflight_records 0\n") // down when the promise has returned
	})
	for _, line := range []string{
		`gateway_kafka_batch_records_count`, `gateway_kafka_topic_up{topic="events"} 1`,
		`gateway_kafka_partitions{topic="events"} 3`, `gateway_kafka_failed_records_total{reason="OUTCOME_UNKNOWN"} 0`,
		`gateway_kafka_data_loss_total 0`, `gateway_kafka_batch_bytes_bucket{le="+Inf"}`,
	} {
		if !strings.Contains(text.String(), line) {
			t.Errorf("no line %q in\n%s", line, text.String())
		}
	}
}

func TestFlush(t *testing.T) {
	r := newRig(t, nil).ready()
	r.produce(r.partition(0), "a")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := r.producer.Flush(ctx); err != nil || r.producer.InFlight() != 0 {
		t.Errorf("flush: %v, %d in flight", err, r.producer.InFlight())
	}
	r.want("a", stages.Acknowledged, stages.NoReason)
}

var _ kgo.Logger = (*clientLog)(nil)

// TestSettledRecordsAreSmall: what an event keeps between two uses is outside
// every memory budget, so large buffers go as soon as Kafka has answered.
func TestSettledRecordsAreSmall(t *testing.T) {
	t.Parallel()
	for _, format := range []Format{FormatBinary, FormatEvent} {
		r := newRig(t, func(c *Config, _ *Parts) { c.RecordFormat = format }).ready()
		p := r.partition(0)
		large, many, small := newEvent("large", p), newEvent("many", p), newEvent("small", p)
		large.Data = make([]byte, 100_000)
		for i := range 64 {
			many.Metadata = append(many.Metadata, stages.Pair{Name: fmt.Append(nil, "name", i), Value: []byte("value")})
		}
		r.producer.Produce(p, []*stages.Event{large, many, small})
		for _, id := range []string{"large", "many", "small"} {
			rec := r.want(id, stages.Acknowledged, stages.NoReason).Sink.(*record)
			if s := rec.spare; s != nil && s.oversized() {
				t.Errorf("%s, %s: %d bytes and %d headers are kept", format, id, cap(s.scratch), cap(s.headers))
			}
			if n, m := cap(rec.kafka.Value), cap(rec.kafka.Headers); format == FormatEvent && n > keptScratch || m > keptHeaders {
				t.Errorf("%s, %s: views still hold %d bytes and %d headers", format, id, n, m)
			}
		}
		for i, want := range []int{len(large.Data), len(many.Data), len(small.Data)} {
			if ev, err := EventFromRecord(r.stored(3, 0)[i]); err != nil || len(ev.Data) != want {
				t.Errorf("%s: record %d: %d bytes, want %d (%v)", format, i, len(ev.GetData()), want, err)
			}
		}
	}
}

// TestReleasedRecordsAreSmall: also those that franz-go never had.
func TestReleasedRecordsAreSmall(t *testing.T) {
	ev := newEvent("large", &stages.Partition{Topic: &stages.Topic{Name: "events"}})
	ev.Data = make([]byte, 100_000)
	rec := recordOf(ev)
	rec.fill(t.Context(), FormatEvent, ev, &timeText{})
	rec.Release()
	if cap(rec.spare.scratch) > keptScratch || rec.kafka.Value != nil {
		t.Errorf("%d bytes are kept", cap(rec.spare.scratch))
	}
}
