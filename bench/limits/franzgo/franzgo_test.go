package main

// What is acknowledged is what the broker has, and the records are those that the gateway writes.

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/event-gateway/event-gateway/bench/discard"
	"github.com/event-gateway/event-gateway/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAcknowledgedIsReceived(t *testing.T) {
	for _, c := range []config{
		{count: 25_050, size: 370, keys: 1000, inflight: 4000, partitionsFromCluster: true},
		{count: 150, size: 0, keys: 0, inflight: groupSize, partitionsFromCluster: true},
		{count: 2000, size: 100, keys: 10, inflight: 4000},
		{count: 20_000, size: 100, keys: 10, inflight: 4000, partitionsFromCluster: true, burn: 500},
	} {
		broker, err := discard.Start("127.0.0.1:0", "events", 3)
		if err != nil {
			t.Fatal(err)
		}
		c.brokers, c.topic, c.memory = broker.Addr(), "events", 1<<20
		f, err := produce(c)
		if err != nil {
			t.Fatal(err)
		}
		received, used := int64(0), 0
		for _, n := range broker.Received() {
			received += n
			if n > 0 {
				used++
			}
		}
		if f.Acknowledged != c.count || f.Failed != 0 || received != int64(c.count) || used < 2 {
			t.Errorf("%+v: %+v, the broker has %v", c, f, broker.Received())
		}
		if f.Seconds <= 0 || f.Rate <= 0 || f.Latency.P50 <= 0 || f.Latency.P99 < f.Latency.P50 {
			t.Errorf("%+v", f)
		}
		if err := broker.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestRecordsAreTheGateways(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	const count, size, keys = 500, 370, 7
	c := config{brokers: cluster.ListenAddrs()[0], topic: "events", count: count, size: size, keys: keys, inflight: 200,
		memory: 1 << 20, partitionsFromCluster: true}
	if f, err := produce(c); err != nil || f.Acknowledged != count {
		t.Fatalf("%v, %+v", err, f)
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.brokers), kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ids, values := map[string]bool{}, map[string]bool{}
	for len(ids) < count {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			var number int
			var at string
			headers := []string{}
			for _, h := range r.Headers {
				switch h.Key {
				case "ce_id":
					if _, err := fmt.Sscanf(string(h.Value), eventID, &number); err != nil {
						t.Errorf("id %q: %v", h.Value, err)
					}
					ids[string(h.Value)] = true
				case "ce_time":
					at = string(h.Value)
				default:
					headers = append(headers, h.Key+"="+string(h.Value))
				}
			}
			key := fmt.Sprintf("key-%08d", number%keys)
			want := "ce_specversion=1.0 ce_source=bench/source ce_type=bench.event.happened ce_partitionkey=" + key + " content-type=text/plain"
			if got := strings.Join(headers, " "); got != want {
				t.Errorf("headers %s, want %s", got, want)
			}
			if when, err := time.Parse(time.RFC3339Nano, at); err != nil || time.Since(when) > time.Hour || time.Since(when) < 0 {
				t.Errorf("time %q: %v", at, err)
			}
			if string(r.Key) != key || uint32(r.Partition) != stages.KeyHash(r.Key)%3 || len(r.Value) != size {
				t.Errorf("event %d: key %q in partition %d, %d bytes", number, r.Key, r.Partition, len(r.Value))
			}
			values[string(r.Value)] = true
		})
	}
	if len(values) != count {
		t.Errorf("%d different values of %d", len(values), count)
	}
}

func TestMemoryIsWalkedThrough(t *testing.T) {
	const total = 1 << 20
	m := newMemory(total, 300, 10)
	first := m.take()
	count := 1
	for e := m.take(); string(e.id) != string(first.id); e = m.take() {
		count++
	}
	if got := count * m.length; got < total || got > total+m.length {
		t.Errorf("%d events of %d bytes before the first comes again, want %d bytes", count, m.length, total)
	}
}

func TestFailuresAreCounted(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := config{brokers: cluster.ListenAddrs()[0], topic: "events", count: 250, size: 2 << 20, keys: 1, inflight: 200, memory: 1 << 20,
		partitionsFromCluster: true}
	f, err := produce(c) // each record is larger than a batch may be
	if err != nil || f.Failed != c.count || f.Acknowledged != 0 || f.Error == "" {
		t.Errorf("%v, %+v", err, f)
	}
	if err := run(c); err == nil || !strings.Contains(err.Error(), "250 of 250") {
		t.Errorf("run: %v", err)
	}
}

func TestRefuses(t *testing.T) {
	broker, err := discard.Start("127.0.0.1:0", "events", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	good := config{brokers: broker.Addr(), topic: "events", count: 1, inflight: groupSize, memory: 1000}
	for name, change := range map[string]func(*config){
		"no broker": func(c *config) { c.brokers = "" }, "no such topic": func(c *config) { c.topic = "other" },
		"no count": func(c *config) { c.count = 0 }, "too little in flight": func(c *config) { c.inflight = groupSize - 1 },
	} {
		c := good
		change(&c)
		if err := run(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
