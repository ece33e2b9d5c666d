package kafka

// A producer with its topics against a broker in memory, and events without a
// pipeline.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/event-gateway/event-gateway/stages"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDirectory); dir != "" {
		childMain(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

// patience bounds every wait of a test; reached only when something is broken.
const patience = 20 * time.Second

func testConfig(t testing.TB) *Config {
	return &Config{
		Topic: "events", GroupID: "test", NumPartitions: 3, ReplicationFactor: 1,
		ReadTimeout: 5 * time.Second, WriteTimeout: 2 * time.Second, DialTimeout: 2 * time.Second,
		CommitInterval: 100 * time.Millisecond, SessionTimeout: 6 * time.Second,
		RequiredAcks: AcksAll, Compression: CompressNone, RecordFormat: FormatBinary,
		EmbeddedDataDir: t.TempDir(), EmbeddedRetention: 24 * time.Hour, EmbeddedMaxBytes: stages.GiB,
	}
}

// testLog keeps lines for assertions.
type testLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *testLog) Log(level Level, msg string, keyvals ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintln(append([]any{level, msg}, keyvals...)...))
}

func (l *testLog) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "")
}

type rig struct {
	t        testing.TB
	cfg      *Config
	log      *testLog
	topics   *stages.Topics
	breaker  *stages.Breaker
	producer *Producer
	cluster  *kfake.Cluster
	reports  chan *stages.Event
}

// newRig starts a producer against a kfake cluster in memory.
func newRig(t testing.TB, change func(*Config, *Parts), opts ...kfake.Opt) *rig {
	t.Helper()
	return newPreparedRig(t, func(*kfake.Cluster) {}, change, opts...)
}

// newPreparedRig lets prepare change the cluster before the producer sees it.
func newPreparedRig(t testing.TB, prepare func(*kfake.Cluster), change func(*Config, *Parts), opts ...kfake.Opt) *rig {
	t.Helper()
	network := &kfake.VirtualNetwork{}
	cluster, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(network.Listen),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	prepare(cluster)
	r := startRig(t, func(c *Config, p *Parts) {
		c.Brokers = []string{"localhost:9092"}
		p.dial = network.DialContext
		if change != nil {
			change(c, p)
		}
	})
	r.cluster = cluster
	return r
}

// startRig starts a producer and closes it with the test.
func startRig(t testing.TB, change func(*Config, *Parts)) *rig {
	t.Helper()
	r := &rig{t: t, cfg: testConfig(t), log: &testLog{}, reports: make(chan *stages.Event, 1<<14)}
	r.breaker = stages.NewBreaker(time.Second, nil)
	parts := Parts{
		Breaker: r.breaker, Log: r.log, MaxEvents: 10_000, DeliveryTimeout: 3 * time.Second,
		Report: func(events []*stages.Event) { sendAll(r.reports, events) },
		Acknowledged: func(a *stages.AcknowledgedRun) {
			for _, ev := range a.Events {
				ev.Ack = stages.Ack{Verdict: stages.Verdict{Outcome: stages.Acknowledged}, Partition: a.Partition.ID, Offset: -1}
			}
			sendAll(r.reports, a.Events)
		},
	}
	change(r.cfg, &parts)
	if errs := r.cfg.Validate(); len(errs) > 0 {
		t.Fatal(errors.Join(errs...))
	}
	r.topics = stages.NewTopics(r.cfg.Topics()...)
	parts.Topics = r.topics
	p, err := NewProducer(r.cfg, parts)
	if err != nil {
		t.Fatal(err)
	}
	r.producer = p
	t.Cleanup(p.Close)
	return r
}

func (r *rig) ready() *rig {
	r.t.Helper()
	r.eventually("the producer is ready", func() bool { return r.producer.Ready() == nil })
	return r
}

// eventually polls a condition that nothing announces.
func (r *rig) eventually(what string, ok func() bool) {
	r.t.Helper()
	eventually(r.t, what, ok)
}

// uncoordinate has the first three requests for a group's coordinator answered with none. It counts them; whoever sets the count
// back has three more.
func uncoordinate(cluster *kfake.Cluster) (asked *atomic.Int64) {
	asked = &atomic.Int64{}
	cluster.ControlKey(int16(kmsg.FindCoordinator), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if asked.Add(1) > 3 {
			return nil, nil, false
		}
		response := request.ResponseKind().(*kmsg.FindCoordinatorResponse)
		for _, key := range request.(*kmsg.FindCoordinatorRequest).CoordinatorKeys {
			c := kmsg.NewFindCoordinatorResponseCoordinator()
			c.Key, c.NodeID, c.ErrorCode = key, -1, kerr.CoordinatorNotAvailable.Code
			response.Coordinators = append(response.Coordinators, c)
		}
		return response, nil, true
	})
	return asked
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not after %v: %s", patience, what)
		case <-tick.C:
		}
	}
}

func sendAll(to chan<- *stages.Event, events []*stages.Event) {
	for _, ev := range events {
		to <- ev
	}
}

func (r *rig) partition(id int) *stages.Partition { return r.topics.Default.Partitions()[id] }

func newEvent(id string, p *stages.Partition) *stages.Event {
	ev := &stages.Event{
		Data: []byte("data of " + id), Msg: &stages.Message{Received: time.Now()}, Topic: p.Topic, Partition: p,
	}
	ev.ID.Value, ev.Source.Value, ev.Type.Value = []byte(id), []byte("/test"), []byte("test.done")
	return ev
}

// produce hands the events over as one batch.
func (r *rig) produce(p *stages.Partition, ids ...string) {
	events := make([]*stages.Event, len(ids))
	for i, id := range ids {
		events[i] = newEvent(id, p)
	}
	r.producer.Produce(p, events)
}

// answer is the next reported event.
func (r *rig) answer() *stages.Event {
	r.t.Helper()
	select {
	case ev := <-r.reports:
		return ev
	case <-time.After(patience):
		r.t.Fatalf("no report after %v; log:\n%s", patience, r.log)
		return nil
	}
}

func (r *rig) want(id string, outcome stages.Outcome, reason stages.Reason) *stages.Event {
	r.t.Helper()
	ev := r.answer()
	if v := ev.Ack.Verdict; string(ev.ID.Value) != id || v.Outcome != outcome || v.Reason != reason {
		r.t.Fatalf("event %s: %v %v, want event %s: %v %v\nlog:\n%s", ev.ID.Value, v.Outcome, v.Reason, id, outcome, reason, r.log)
	}
	return ev
}

// stored reads partition from its start until n records are there.
func stored(t testing.TB, n int, topic string, partition int32, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxWait(50 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var records []*kgo.Record
	for len(records) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %d of %d records: %v", len(records), n, err)
		}
		records = append(records, fetches.Records()...)
	}
	return records
}

func (r *rig) stored(n int, partition int32) []*kgo.Record {
	r.t.Helper()
	return stored(r.t, n, r.cfg.Topic, partition, kgo.SeedBrokers("localhost:9092"), kgo.Dialer(r.producer.parts.dial))
}
