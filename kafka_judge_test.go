//go:build kafka

package main

// What Kafka holds at the end, judged against the ledger; and the accounting of
// /metrics, judged at every scrape.

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/faults/rig"
	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func init() {
	runTests = func(m *testing.M) int {
		defer rig.RemoveBinaries()
		return kafkatest.Main(m)
	}
}

const (
	acknowledged = gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED
	refused      = gatewayv1.Outcome_OUTCOME_REFUSED
	unknown      = gatewayv1.Outcome_OUTCOME_UNKNOWN
)

// kafkaGateway starts a gateway that writes to a topic of the test's own, deleted with the test.
func kafkaGateway(t *testing.T, c *kafkatest.Cluster, settings ...string) (p *process, topic string) {
	t.Helper()
	topic = fmt.Sprintf("e2e-%d", time.Now().UnixNano())
	adm := kadm.NewClient(c.Client())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, _ = adm.DeleteTopic(ctx, topic) // the cluster of these tests ends anyway
	})
	return gatewayOn(t, c, topic, settings...), topic
}

// gatewayOn starts a gateway that writes to topic.
func gatewayOn(t *testing.T, c *kafkatest.Cluster, topic string, settings ...string) *process {
	t.Helper()
	return startGateway(t, append([]string{"KAFKA_BROKERS=" + strings.Join(c.Addrs(), ","), "KAFKA_TOPIC=" + topic}, settings...)...).ready()
}

// readTopic reads a topic to its end, in the order of each partition.
func readTopic(t *testing.T, c *kafkatest.Cluster, topic string) (records []*kgo.Record) {
	t.Helper()
	scanTopic(t, c, topic, func(r *kgo.Record) { records = append(records, r) })
	return records
}

// scanTopic is readTopic for topics that need not be kept.
func scanTopic(t *testing.T, c *kafkatest.Cluster, topic string, visit func(*kgo.Record)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		t.Fatal(err)
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) { left += o.Offset })
	for left > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("%v, %d records to go", err, left)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			visit(r)
			left--
		})
	}
}

// verdict is what judge counts.
type verdict struct {
	stored, storedUnknown, storedLeft int
}

// judge holds every record against what was sent and every answer against what is stored.
func (l *ledger) judge(t *testing.T, records []*kgo.Record, partitions int) (v verdict) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	hasher := kgo.StickyKeyPartitioner(nil).ForTopic("") // Kafka's murmur2
	at := map[string]*kgo.Record{}
	for _, r := range records {
		ev, err := kafka.EventFromRecord(r)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		s := l.events[ev.Id]
		if s == nil {
			t.Errorf("offset %d of partition %d holds %q, which was never sent", r.Offset, r.Partition, ev.Id)
			continue
		}
		if at[ev.Id] != nil {
			t.Errorf("%s is stored twice, answered %v", ev.Id, s.outcome)
		}
		at[ev.Id] = r
		if string(r.Key) != s.key || ev.Source != "/load/"+s.stream || !bytes.Equal(ev.Data, payload(s.id, s.size)) {
			t.Errorf("%s (answered %v) is stored with other bytes: key %q, source %q, %d bytes of data",
				s.id, s.outcome, r.Key, ev.Source, len(ev.Data))
		}
		if want := hasher.Partition(&kgo.Record{Key: []byte(s.key)}, partitions); int(r.Partition) != want {
			t.Errorf("%s with key %s is in partition %d, Kafka's hash says %d", s.id, s.key, r.Partition, want)
		}
	}
	for _, s := range l.events {
		v.add(t, s, at[s.id])
	}
	l.judgeOrder(t, at)
	return v
}

// add judges one event; r is nil when Kafka does not have it.
func (v *verdict) add(t *testing.T, s *sent, r *kgo.Record) {
	t.Helper()
	if r != nil {
		v.stored++
	}
	switch {
	case s.outcome == acknowledged:
		if r == nil {
			t.Errorf("%s was acknowledged at %d/%d and is lost", s.id, s.partition, s.offset)
		} else if r.Partition != s.partition || r.Offset != s.offset {
			t.Errorf("%s was acknowledged at %d/%d and is at %d/%d", s.id, s.partition, s.offset, r.Partition, r.Offset)
		}
		if s.bad {
			t.Errorf("%s has no source and was acknowledged", s.id)
		}
	case s.outcome == refused:
		if r != nil {
			t.Errorf("%s was refused (%s) and is stored", s.id, s.reason)
		}
	case s.outcome == unknown:
		if r != nil {
			v.storedUnknown++
		}
	case s.answered:
		t.Errorf("%s was answered %v", s.id, s.outcome)
	case s.left:
		if r != nil {
			v.storedLeft++
		}
	case r != nil:
		t.Errorf("%s is stored and got no answer", s.id)
	}
}

// judgeOrder: of one stream and key, a later acknowledged event has the higher offset.
func (l *ledger) judgeOrder(t *testing.T, at map[string]*kgo.Record) {
	t.Helper()
	type lane struct{ stream, key string }
	bySeq := map[lane]map[int]*sent{}
	last := map[lane]int{}
	for _, s := range l.events {
		if s.outcome != acknowledged {
			continue
		}
		k := lane{s.stream, s.key}
		if bySeq[k] == nil {
			bySeq[k] = map[int]*sent{}
		}
		bySeq[k][s.seq] = s
		last[k] = max(last[k], s.seq)
	}
	for k, events := range bySeq {
		before := (*sent)(nil)
		for seq := 0; seq <= last[k]; seq++ {
			s := events[seq]
			if s == nil || at[s.id] == nil {
				continue
			}
			if before != nil && (at[s.id].Partition != at[before.id].Partition || at[s.id].Offset <= at[before.id].Offset) {
				t.Errorf("%s is at offset %d, %s, sent before it, at %d", s.id, at[s.id].Offset, before.id, at[before.id].Offset)
			}
			before = s
		}
	}
}

// accounting is one scrape of /metrics, origin grpc.
type accounting struct {
	accepted, inFlight, late, bytes int64
	outcomes                        map[string]int64
}

var metricLine = regexp.MustCompile(`(?m)^(gateway_[a-z_]+)(?:\{([^}]*)\})? (\d+)$`)

// scrape reads the accounting; false when the gateway does not answer.
func (p *process) scrape() (a accounting, ok bool) {
	code, text := p.get("/metrics")
	if code != 200 {
		return a, false
	}
	a.outcomes = map[string]int64{}
	for _, m := range metricLine.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.ParseInt(m[3], 10, 64)
		switch {
		case m[1] == "gateway_late_acknowledgements_total":
			a.late = n
		case m[1] == "gateway_inflight_bytes":
			a.bytes = n
		case !strings.Contains(m[2], `origin="grpc"`):
		case m[1] == "gateway_events_accepted_total":
			a.accepted = n
		case m[1] == "gateway_events_in_flight":
			a.inFlight = n
		case m[1] == "gateway_events_total":
			_, outcome, _ := strings.Cut(m[2], `outcome="`)
			outcome, _, _ = strings.Cut(outcome, `"`)
			a.outcomes[outcome] += n // dead-lettered ones have a series of their own
		}
	}
	return a, true
}

func (a accounting) holds() bool {
	sum := a.inFlight
	for _, n := range a.outcomes {
		sum += n
	}
	return sum == a.accepted && len(a.outcomes) == 5
}

// watchIdentity scrapes every 100 ms until stop, which returns the number of scrapes and the last one.
func watchIdentity(t *testing.T, p *process) (stop func() (scrapes int, last accounting)) {
	var scrapes int
	var last accounting
	var watching sync.WaitGroup
	ended := make(chan struct{})
	watching.Go(func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			if a, ok := p.scrape(); ok {
				scrapes++
				if last = a; !a.holds() {
					t.Errorf("accepted is not the sum of outcomes and in flight: %+v", a)
				}
			}
			select {
			case <-ended:
				return
			case <-ticker.C:
			}
		}
	})
	return func() (int, accounting) {
		close(ended)
		watching.Wait()
		return scrapes, last
	}
}
