package main

// Kafka as a source, with the real binary and a broker that outlives it. The
// scenarios are run here against a broker in this process, and against Apache
// Kafka in kafka_source_test.go.

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/encoding/protowire"
)

// sourceRig is a broker with topics for one scenario.
type sourceRig struct {
	t       *testing.T
	brokers []string
	client  *kgo.Client
	admin   *kadm.Client
	// source, target and dead are the topics, group is the consumer group, session the least KAFKA_SESSION_TIMEOUT that
	// the broker takes.
	source, target, dead, group, session string
}

// newSourceRig makes the topics.
func newSourceRig(t *testing.T, brokers []string, partitions int32) *sourceRig {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	name := strings.NewReplacer("/", "-", "#", "-").Replace(t.Name()) + strconv.FormatInt(time.Now().UnixNano(), 36)
	r := &sourceRig{t: t, brokers: brokers, client: client, admin: kadm.NewClient(client),
		source: name + "-in", target: name + "-out", dead: name + "-dead", group: name, session: "6s"}
	for _, topic := range []string{r.source, r.target, r.dead} {
		r.create(topic, partitions)
	}
	return r
}

func (r *sourceRig) context() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*patience)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *sourceRig) create(topic string, partitions int32) {
	r.t.Helper()
	if _, err := r.admin.CreateTopic(r.context(), partitions, 1, nil, topic); err != nil {
		r.t.Fatal(err)
	}
}

// fakeSource is a rig with a broker in this process.
func fakeSource(t *testing.T, partitions int32) (*sourceRig, *kfake.Cluster) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r := newSourceRig(t, cluster.ListenAddrs(), partitions)
	r.session = "1s"
	return r, cluster
}

// gateway starts a gateway that reads the source.
func (r *sourceRig) gateway(settings ...string) *process {
	r.t.Helper()
	return startGateway(r.t, append([]string{"KAFKA_BROKERS=" + strings.Join(r.brokers, ","), "KAFKA_TOPIC=" + r.target,
		"KAFKA_DLQ_TOPIC=" + r.dead, "KAFKA_SOURCE_TOPICS=" + r.source, "KAFKA_GROUP_ID=" + r.group,
		"KAFKA_COMMIT_INTERVAL=200ms", "KAFKA_SESSION_TIMEOUT=6s"}, settings...)...).ready()
}

// cloudEvent is a record as other producers write it.
func cloudEvent(id, key, value string) *kgo.Record {
	r := &kgo.Record{Value: []byte(value), Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte(id)},
		{Key: "ce_source", Value: []byte("/shop")}, {Key: "ce_type", Value: []byte("order.paid")}}}
	if key != "" {
		r.Key = []byte(key)
	}
	return r
}

// fill writes n events to the source, those of each of so many keys numbered and in one partition; first is the first
// number of all.
func (r *sourceRig) fill(first, n, keys int, partitions int32) {
	r.t.Helper()
	records := make([]*kgo.Record, 0, n)
	for i := first; i < first+n; i++ {
		key := i % keys
		rec := cloudEvent(strconv.Itoa(i), fmt.Sprint("key-", key), strconv.Itoa(i))
		rec.Topic, rec.Partition = r.source, int32(key)%partitions
		records = append(records, rec)
	}
	r.write(records...)
}

func (r *sourceRig) write(records ...*kgo.Record) {
	r.t.Helper()
	for _, rec := range records {
		if rec.Topic == "" {
			rec.Topic = r.source
		}
	}
	if err := r.client.ProduceSync(r.context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

// ends is how many records a topic has.
func (r *sourceRig) ends(topic string) (n int64) {
	r.t.Helper()
	ends, err := r.admin.ListEndOffsets(r.context(), topic)
	if err != nil {
		r.t.Fatal(err)
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

// committed is how far the group has come in all partitions of the source together.
func (r *sourceRig) committed() (n int64) {
	r.t.Helper()
	offsets, err := r.admin.FetchOffsets(r.context(), r.group)
	if err != nil {
		return 0
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == r.source && o.Err == nil && o.At > 0 {
			n += o.At
		}
	})
	return n
}

// read is a whole topic, in the order of each partition.
func (r *sourceRig) read(topic string) (records []*kgo.Record) {
	r.t.Helper()
	left := r.ends(topic)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	ctx := r.context()
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			r.t.Fatalf("%v, %d records of %s to go", err, left, topic)
		}
		fetches.EachRecord(func(rec *kgo.Record) {
			records = append(records, rec)
			left--
		})
	}
	return records
}

// judge holds the target against n events of the source: all are there; for each key, the first sendings of its events
// are in order, each right behind the one before, and so are the last ones. It returns how many are there twice.
func (r *sourceRig) judge(n, keys int) (twice int) {
	r.t.Helper()
	twice, passed := r.judgeResent(n, keys)
	if passed > 0 {
		r.t.Errorf("%d events were stored before an earlier one of their key was", passed)
	}
	return twice
}

// judgeResent is judge where Kafka's failures may let events pass earlier ones of their key, which are then sent again,
// and those that had passed as well: only the last sendings are in order. It says how many had passed.
func (r *sourceRig) judgeResent(n, keys int) (twice, passed int) {
	r.t.Helper()
	seen := map[int]bool{}
	most, all := map[string]int{}, map[string][]int{}
	for _, rec := range r.read(r.target) {
		i, err := strconv.Atoi(string(rec.Value))
		if err != nil {
			r.t.Fatalf("%q: %v", rec.Value, err)
		}
		key := string(rec.Key)
		if want := fmt.Sprint("key-", i%keys); key != want || eventID(rec) != strconv.Itoa(i) {
			r.t.Fatalf("event %d has key %q and id %q", i, key, eventID(rec))
		}
		all[key] = append(all[key], i)
		if seen[i] {
			twice++
			continue
		}
		seen[i] = true
		before, some := most[key]
		if !some {
			before = i%keys - keys
		}
		if i != before+keys {
			passed++
		}
		most[key] = max(before, i)
	}
	if len(seen) != n {
		r.t.Errorf("%d of %d events are in the target", len(seen), n)
	}
	for key, numbers := range all {
		for i, next := len(numbers)-2, numbers[len(numbers)-1]; i >= 0; i-- {
			switch {
			case numbers[i] < next: // the last sending of this one
				next = numbers[i]
			case !slices.Contains(numbers[i+1:], numbers[i]):
				r.t.Errorf("%s: the last sending of %d is before that of %d", key, numbers[i], next)
			}
		}
	}
	return twice, passed
}

// metric is the sum of a metric's values whose labels contain all of some text.
func (p *process) metric(name string, labels ...string) (sum float64) {
	_, text := p.get("/metrics")
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(\{[^}]*\})? (\S+)$`).FindAllStringSubmatch(text, -1) {
		all := true
		for _, label := range labels {
			all = all && strings.Contains(m[1], label)
		}
		if v, err := strconv.ParseFloat(m[2], 64); all && err == nil {
			sum += v
		}
	}
	return sum
}

// checkSourceIdentity: every accepted record has one outcome.
func checkSourceIdentity(t *testing.T, p *process) {
	t.Helper()
	a, o, f := p.metric("gateway_events_accepted_total", `origin="source"`), p.metric("gateway_events_total", `origin="source"`),
		p.metric("gateway_events_in_flight", `origin="source"`)
	if a == 0 || a != o || f != 0 {
		t.Errorf("accepted %v, outcomes %v, in flight %v", a, o, f)
	}
}

// sourceKilled: the gateway is killed in the middle, twice, and started again. The broker has to miss the killed one first.
func sourceKilled(t *testing.T, r *sourceRig, partitions int32) {
	const events, keys = 12_000, 60
	r.fill(0, events, keys, partitions)
	slow := []string{"RATE_LIMIT_ENABLED=true", "RATE_LIMIT_RPS=8000", "RATE_LIMIT_BURST=400", "KAFKA_SESSION_TIMEOUT=" + r.session}
	for _, part := range []int64{events / 4, events / 2} {
		p := r.gateway(slow...)
		eventually(t, fmt.Sprint(part, " events"), func() bool { return r.ends(r.target) >= part })
		p.signal(syscall.SIGKILL)
		p.exit()
		if n := r.ends(r.target); n >= events {
			t.Fatalf("%d events before the kill: it came too late", n)
		}
	}
	p := r.gateway()
	eventually(t, "everything is committed", func() bool { return r.committed() == events })
	t.Logf("%d events twice", r.judge(events, keys))
	checkSourceIdentity(t, p)
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestSourceKilled(t *testing.T) {
	t.Parallel()
	r, _ := fakeSource(t, 3)
	sourceKilled(t, r, 3)
}

// sourceRebalance: two gateways share the work; one comes later, one leaves. Nothing is lost, and nothing is there twice, because
// a partition that goes is settled and committed before.
func sourceRebalance(t *testing.T, r *sourceRig, partitions int32) {
	const events, keys = 12_000, 60
	r.fill(0, events, keys, partitions)
	slow := []string{"RATE_LIMIT_ENABLED=true", "RATE_LIMIT_RPS=2000", "RATE_LIMIT_BURST=400"}
	first := r.gateway(slow...)
	eventually(t, "the first gateway reads", func() bool { return r.ends(r.target) > 500 })
	second := r.gateway(slow...)
	eventually(t, "both have partitions", func() bool {
		a, b := first.metric("gateway_source_partitions"), second.metric("gateway_source_partitions")
		return a > 0 && b > 0 && a+b == float64(partitions)
	})
	before := r.ends(r.target)
	eventually(t, "both read", func() bool { return r.ends(r.target) > before+500 })
	if n := r.ends(r.target); n >= events {
		t.Fatalf("%d events before the first gateway leaves: too late", n)
	}
	first.signal(syscall.SIGTERM)
	if code := first.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	eventually(t, "everything is committed", func() bool { return r.committed() == events })
	if twice := r.judge(events, keys); twice != 0 {
		t.Errorf("%d events are there twice", twice)
	}
	checkSourceIdentity(t, second)
}

func TestSourceRebalance(t *testing.T) {
	t.Parallel()
	r, _ := fakeSource(t, 4)
	sourceRebalance(t, r, 4)
}

// refusedRecords are ten records of one partition, of which 5 and 8 are refused for good.
func refusedRecords() (records []*kgo.Record) {
	for i := range 10 {
		records = append(records, cloudEvent(strconv.Itoa(i), "key-0", strconv.Itoa(i)))
	}
	records[5] = &kgo.Record{Key: []byte{0xff, 0, 1}, Value: []byte{0, 1, 2}, Headers: []kgo.RecordHeader{{Key: "tenant", Value: []byte{0xfe}}, {Key: "tenant", Value: []byte("b")}}}
	records[8].Headers = records[8].Headers[:3] // no ce_type
	return records
}

// sourceRefused: what KAFKA_SOURCE_ON_REFUSED makes of records that are refused.
func sourceRefused(t *testing.T, rig func(*testing.T) *sourceRig) {
	values := func(records []*kgo.Record) string {
		var all []string
		for _, rec := range records {
			all = append(all, string(rec.Value))
		}
		return strings.Join(all, " ")
	}
	t.Run("dead_letter", func(t *testing.T) {
		r := rig(t)
		r.write(refusedRecords()...)
		p := r.gateway("DLQ_ON=decode") // validate's are kept, too: the source asks for it
		eventually(t, "everything is committed", func() bool { return r.committed() == 10 })
		if got := values(r.read(r.target)); got != "0 1 2 3 4 6 7 9" {
			t.Errorf("target: %s", got)
		}
		letters := r.read(r.dead)
		if len(letters) != 2 {
			t.Fatalf("%d letters", len(letters))
		}
		foreign, was := letters[0], refusedRecords()[5]
		if string(foreign.Key) != string(was.Key) || string(foreign.Value) != string(was.Value) || headerOf(foreign, "dlq_reason") != "MALFORMED_EVENT" ||
			headerOf(foreign, "dlq_source") != r.source+"/0/5" || headerOf(foreign, "dlq_client") != "source "+r.source ||
			len(foreign.Headers) < 2 || foreign.Headers[0].Key != "tenant" || string(foreign.Headers[0].Value) != "\xfe" || string(foreign.Headers[1].Value) != "b" {
			t.Errorf("letter of what is no event: %q %q %v", foreign.Key, foreign.Value, foreign.Headers)
		}
		if invalid := letters[1]; string(invalid.Value) != "8" || string(invalid.Key) != "key-0" || headerOf(invalid, "dlq_reason") != "INVALID_EVENT" ||
			headerOf(invalid, "ce_id") != "8" {
			t.Errorf("letter of an invalid event: %q %v", invalid.Value, invalid.Headers)
		}
		if n := p.metric("gateway_source_refused_total", `then="dead_letter"`); n != 2 {
			t.Errorf("%v dead letters are counted", n)
		}
		checkSourceIdentity(t, p)
		// The letter that is an event is sent again over gRPC, and refused again; the other one is only named.
		env := environ("KAFKA_BROKERS="+strings.Join(r.brokers, ","), "KAFKA_DLQ_TOPIC="+r.dead, "KAFKA_GROUP_ID="+r.group)
		code, stdout, stderr := command(t, "", env, "dlq", "redrive", "--address", p.grpc, "--json")
		var totals struct{ Sent, Skipped int }
		if err := json.Unmarshal([]byte(stdout), &totals); err != nil || code != 1 || totals.Sent != 1 || totals.Skipped != 1 ||
			!strings.Contains(stderr, "INVALID_EVENT") {
			t.Errorf("redrive: %v: exit code %d: %s%s", err, code, stdout, stderr)
		}
	})
	t.Run("skip", func(t *testing.T) {
		r := rig(t)
		r.write(refusedRecords()...)
		p := r.gateway("KAFKA_SOURCE_ON_REFUSED=skip")
		eventually(t, "everything is committed", func() bool { return r.committed() == 10 })
		if got := values(r.read(r.target)); got != "0 1 2 3 4 6 7 9" {
			t.Errorf("target: %s", got)
		}
		if n := r.ends(r.dead); n != 0 {
			t.Errorf("%d letters", n)
		}
		if n := p.metric("gateway_source_refused_total", `then="skip"`); n != 2 {
			t.Errorf("%v skipped records are counted", n)
		}
		p.line("a source record was refused and is skipped")
		checkSourceIdentity(t, p)
	})
	t.Run("stop", func(t *testing.T) {
		r := rig(t)
		r.write(refusedRecords()...)
		p := r.gateway("KAFKA_SOURCE_ON_REFUSED=stop")
		eventually(t, "the partition stops", func() bool { return p.metric("gateway_source_stopped_partitions") == 1 })
		eventually(t, "what is before it is committed", func() bool { return r.committed() == 5 })
		if code, body := p.get("/ready"); code != 200 || !strings.Contains(body, r.source+"/0 at offset 5 is stopped") {
			t.Errorf("/ready: %d %s", code, body)
		}
		eventually(t, "the lag", func() bool { return p.metric("gateway_source_lag_records") == 5 })
		p.signal(syscall.SIGTERM)
		if code := p.exit(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		if n := r.committed(); n != 5 {
			t.Errorf("%d are committed after the end", n)
		}
		r.gateway("KAFKA_SOURCE_ON_REFUSED=skip")
		eventually(t, "everything is committed", func() bool { return r.committed() == 10 })
		// What was behind the refused one is held back while it stops, unless Kafka had it already.
		if got := values(r.read(r.target)); !strings.HasSuffix(got, "6 7 9") || !strings.HasPrefix(got, "0 1 2 3 4 ") {
			t.Errorf("target: %s", got)
		}
	})
}

func headerOf(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func TestSourceRefused(t *testing.T) {
	t.Parallel()
	sourceRefused(t, func(t *testing.T) *sourceRig {
		r, _ := fakeSource(t, 1)
		return r
	})
}

// sourcePaced: the rate limit slows the source down, and refuses nothing.
func sourcePaced(t *testing.T, r *sourceRig) {
	const events, rate, burst = 1500, 500, 100
	r.fill(0, events, 10, 1)
	began := time.Now()
	p := r.gateway("RATE_LIMIT_ENABLED=true", fmt.Sprint("RATE_LIMIT_RPS=", rate), fmt.Sprint("RATE_LIMIT_BURST=", burst))
	eventually(t, "everything is committed", func() bool { return r.committed() == events })
	if took, least := time.Since(began), time.Duration(events-burst)*time.Second/rate; took < least {
		t.Errorf("took %v; at %d a second with a burst of %d it is at least %v", took, rate, burst, least)
	}
	if n := p.metric("gateway_event_reasons_total", `reason="RATE_LIMITED"`); n != 0 {
		t.Errorf("%v records were refused for the rate", n)
	}
	if twice := r.judge(events, 10); twice != 0 {
		t.Errorf("%d events are there twice", twice)
	}
}

func TestSourcePaced(t *testing.T) {
	t.Parallel()
	r, _ := fakeSource(t, 1)
	sourcePaced(t, r)
}

// sourceLater: a topic that is missing at the start, and one that is deleted and made again.
func sourceLater(t *testing.T, r *sourceRig) {
	later := r.source + "-later"
	p := r.gateway("KAFKA_SOURCE_TOPICS=" + r.source + "," + later)
	p.line("a source topic does not exist; waiting for it")
	r.fill(0, 10, 1, 1)
	eventually(t, "the topic that is there is read", func() bool { return r.ends(r.target) == 10 })
	r.create(later, 1)
	late := cloudEvent("late", "", "late")
	late.Topic = later
	r.write(late)
	eventually(t, "the topic that came is read", func() bool { return r.ends(r.target) == 11 })
	if _, err := r.admin.DeleteTopic(r.context(), later); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic can be made again", func() bool {
		_, err := r.admin.CreateTopic(r.context(), 1, 1, nil, later)
		return err == nil
	})
	r.client.PurgeTopicsFromProducing(later)
	again := cloudEvent("again", "", "again")
	again.Topic = later
	r.write(again)
	eventually(t, "the topic that was made again is read from its start", func() bool { return r.ends(r.target) == 12 })
}

func TestSourceLater(t *testing.T) {
	t.Parallel()
	r, _ := fakeSource(t, 1)
	sourceLater(t, r)
}

// TestSourceOutage: Kafka stores nothing for a while, or stores and does not say so; the gateway is stopped in the
// middle of it and started again. Everything arrives, in order.
func TestSourceOutage(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]*kerr.Error{"not stored": kerr.NotEnoughReplicas, "stored without a word": kerr.RequestTimedOut} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const events, keys, partitions = 6000, 30, 3
			r, cluster := fakeSource(t, partitions)
			settings := []string{"DELIVERY_TIMEOUT=2s", "BREAKER_OPEN_AFTER=1s", "SHUTDOWN_TIMEOUT=3s",
				"RATE_LIMIT_ENABLED=true", "RATE_LIMIT_RPS=3000", "RATE_LIMIT_BURST=100"}
			r.fill(0, events, keys, partitions)
			p := r.gateway(settings...)
			eventually(t, "some events", func() bool { return r.ends(r.target) > 500 })
			outage := func() { // long enough for deadlines
				broken := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: r.target, Err: fault, Count: -1})
				before := p.metric("gateway_source_sent_again_total")
				eventually(t, "records are sent again", func() bool { return p.metric("gateway_source_sent_again_total") > before })
				broken.Remove()
			}
			outage()
			before := r.ends(r.target)
			eventually(t, "more events", func() bool { return r.ends(r.target) > before+500 })
			broken := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: r.target, Err: fault, Count: -1})
			if n := r.committed(); n >= events { // what is stored says nothing: some of it twice
				t.Fatalf("%d events are committed before the end: too late", n)
			}
			p.signal(syscall.SIGTERM)
			t.Logf("exit code %d", p.exit())
			broken.Remove()
			p = r.gateway()
			eventually(t, "everything is committed", func() bool { return r.committed() == events })
			twice, passed := r.judgeResent(events, keys)
			t.Logf("%d events twice, %d had passed others", twice, passed)
			checkSourceIdentity(t, p)
		})
	}
}

// TestSourceStopsWithoutKafka: with nothing in flight, a gateway whose Kafka is gone ends in time and in order.
func TestSourceStopsWithoutKafka(t *testing.T) {
	t.Parallel()
	r, cluster := fakeSource(t, 1)
	r.fill(0, 100, 5, 1)
	p := r.gateway("SHUTDOWN_TIMEOUT=12s", "KAFKA_SESSION_TIMEOUT=30s")
	eventually(t, "everything is committed", func() bool { return r.committed() == 100 })
	cluster.Close()
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code := p.exit(); code != 0 || time.Since(began) > 12*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
}

// TestSourcePauses: while Kafka takes nothing, the source fetches no more than its share.
func TestSourcePauses(t *testing.T) {
	t.Parallel()
	const events, size = 60, 500_000
	r, cluster := fakeSource(t, 1)
	value := make([]byte, size) // nothing that compression makes small
	_, _ = rand.NewChaCha8([32]byte{1}).Read(value)
	for i := range events {
		r.write(cloudEvent(strconv.Itoa(i), "k", string(value)))
	}
	broken := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: r.target, Err: kerr.NotEnoughReplicas, Count: -1})
	p := r.gateway()
	eventually(t, "the partition is paused", func() bool { return p.metric("gateway_source_paused_partitions") == 1 })
	if n := p.metric("gateway_source_records_total"); n > events/2 {
		t.Errorf("%v of %d records are held", n, events)
	}
	eventually(t, "the lag is known", func() bool { return p.metric("gateway_source_lag_records") == events })
	broken.Remove()
	eventually(t, "everything is committed", func() bool { return r.committed() == events })
	if records := r.read(r.target); eventID(records[len(records)-1]) != strconv.Itoa(events-1) || p.metric("gateway_source_paused_partitions") != 0 {
		t.Errorf("%d records, paused %v", len(records), p.metric("gateway_source_paused_partitions"))
	}
	eventually(t, "no lag", func() bool { return p.metric("gateway_source_lag_records") == 0 })
}

// TestSourceWithoutItsTarget: while the topic that the records are for is gone, they wait. None is skipped, and none becomes a
// dead letter: there is nothing wrong with them.
func TestSourceWithoutItsTarget(t *testing.T) {
	t.Parallel()
	for _, then := range []string{"skip", "dead_letter", "stop"} {
		t.Run(then, func(t *testing.T) {
			t.Parallel()
			r, _ := fakeSource(t, 1)
			r.fill(0, 10, 1, 1)
			p := r.gateway("KAFKA_SOURCE_ON_REFUSED=" + then)
			eventually(t, "the first are committed", func() bool { return r.committed() == 10 })
			if _, err := r.admin.DeleteTopic(r.context(), r.target); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the gateway knows it", func() bool {
				code, body := p.get("/ready")
				return code == 503 && strings.Contains(body, "TOPIC_NOT_FOUND")
			})
			r.fill(10, 50, 1, 1)
			eventually(t, "they are refused", func() bool { return p.metric("gateway_event_reasons_total", `reason="TOPIC_NOT_FOUND"`) > 0 })
			r.create(r.target, 1)
			eventually(t, "everything is committed", func() bool { return r.committed() == 60 })
			if n := r.ends(r.target); n != 50 {
				t.Errorf("%d events are in the new topic", n)
			}
			if n := p.metric("gateway_source_refused_total") + p.metric("gateway_source_stopped_partitions"); n != 0 {
				t.Errorf("%v records were refused for good", n)
			}
			checkSourceIdentity(t, p)
		})
	}
}

// TestSourceIntoACompactedTopic: there Kafka rejects a record without a key, and with it the whole batch that it comes in.
func TestSourceIntoACompactedTopic(t *testing.T) {
	t.Parallel()
	const events = 300
	r, cluster := fakeSource(t, 1)
	for i := range events {
		key := "k"
		if i%100 == 50 {
			key = ""
		}
		r.write(cloudEvent(strconv.Itoa(i), key, strconv.Itoa(i)))
	}
	cluster.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		answer, rejected := rejectKeyless(request.(*kmsg.ProduceRequest))
		return answer, nil, rejected
	})
	p := r.gateway("KAFKA_SOURCE_ON_REFUSED=skip", "KAFKA_COMPRESSION=none")
	eventually(t, "everything is committed", func() bool { return r.committed() == events })
	seen := map[string]bool{}
	for _, rec := range r.read(r.target) {
		seen[eventID(rec)] = true
	}
	if n := p.metric("gateway_source_refused_total", `then="skip"`); len(seen) != events-3 || n != 3 {
		t.Errorf("%d different events are there, %v were skipped", len(seen), n)
	}
	checkSourceIdentity(t, p)
}

// rejectKeyless answers like Kafka for a compacted topic, if a batch of the request has a record without a key.
func rejectKeyless(request *kmsg.ProduceRequest) (answer kmsg.Response, rejected bool) {
	resp := request.ResponseKind().(*kmsg.ProduceResponse)
	for _, topic := range request.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
		for _, partition := range topic.Partitions {
			rejected = rejected || keyless(partition.Records)
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.BaseOffset = partition.Partition, kerr.InvalidRecord.Code, -1
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, rejected
}

// keyless reports whether an encoded batch, not compressed, has a record without a key.
func keyless(encoded []byte) bool {
	var batch kmsg.RecordBatch
	if batch.ReadFrom(encoded) != nil {
		return false
	}
	for rest := batch.Records; len(rest) > 0; {
		size, n := protowire.ConsumeVarint(rest)
		end := n + int(protowire.DecodeZigZag(size))
		var rec kmsg.Record
		if rec.ReadFrom(rest[:end]) != nil {
			return false
		}
		if len(rec.Key) == 0 {
			return true
		}
		rest = rest[end:]
	}
	return false
}

// TestSourceOfTheEmbeddedBroker: with the gateway's own broker, killed together with it.
func TestSourceOfTheEmbeddedBroker(t *testing.T) {
	t.Parallel()
	dir, port := t.TempDir(), freePort(t)
	settings := []string{"EMBEDDED_DATA_DIR=" + dir, "EMBEDDED_KAFKA_PORT=" + port, "KAFKA_SOURCE_TOPICS=in", "KAFKA_DLQ_TOPIC=refused",
		"KAFKA_COMMIT_INTERVAL=200ms", "KAFKA_SESSION_TIMEOUT=6s"}
	p := startGateway(t, settings...).ready()
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:" + port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	r := &sourceRig{t: t, brokers: []string{"127.0.0.1:" + port}, client: client, admin: kadm.NewClient(client),
		source: "in", target: "events", dead: "refused", group: "event-gateway"}
	r.create("in", 1)
	r.fill(0, 500, 5, 1)
	eventually(t, "all are read", func() bool { return r.committed() == 500 })
	r.fill(500, 500, 5, 1)
	p.signal(syscall.SIGKILL)
	p.exit()
	startGateway(t, settings...).ready()
	eventually(t, "everything is committed", func() bool { return r.committed() == 1000 })
	if twice := r.judge(1000, 5); twice > 500 {
		t.Errorf("%d events are there twice; of 500 the offsets had been committed", twice)
	}
}
