//go:build kafka

package kafka

// Readers of topics that Apache Kafka's log cleaner has gone over: offsets in between are gone, batches are empty, and the
// records of a transaction that was given up have left their mark alone.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	"github.com/event-gateway/event-gateway/stages"
)

// cleaned is a topic of two partitions, as it is written and as it is left. Most records of the first one are overwritten,
// none of the second.
type cleaned struct {
	t      *testing.T
	c      *kafkatest.Cluster
	topic  string
	client *kgo.Client
	record func(partition int32, i int) *kgo.Record
	// written are records that are stored, in the order of each partition.
	written [2][]*kgo.Record
}

const (
	// cleanedRecords are written to each partition, cleanedBatch at once, which is in a segment of its own up to the first
	// transaction, as the times say. Behind them comes what no cleaner touches: the active segment.
	cleanedRecords = 600
	cleanedBatch   = 20
	// overwrittenBatch is where a producer's only batch is, which the cleaner keeps without its records; abortedBatch is a
	// transaction that was given up, committedBatch one that was not.
	overwrittenBatch, abortedBatch, committedBatch = 200, 340, 440
)

func newCleaned(t *testing.T, c *kafkatest.Cluster, policy string, record func(int32, int) *kgo.Record) *cleaned {
	t.Helper()
	// Segments are rolled by the times of records. They cannot be made smaller than a megabyte.
	w := &cleaned{t: t, c: c, record: record,
		topic: c.Topic(2, "cleanup.policy", policy, "segment.ms", "1000", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.001")}
	w.client = w.newClient()
	for i := 0; i < cleanedRecords; i += cleanedBatch {
		switch i {
		case overwrittenBatch:
			other := w.newClient()
			w.write(other, 0, i, i+cleanedBatch)
			other.Close()
		case abortedBatch:
			w.transaction(i, kgo.TryAbort)
		case committedBatch:
			w.transaction(i, kgo.TryCommit)
		default:
			w.write(w.client, 0, i, i+cleanedBatch)
		}
		w.write(w.client, 1, i, i+cleanedBatch)
	}
	for p := range int32(2) {
		w.write(w.client, p, cleanedRecords, cleanedRecords+5)
	}
	return w
}

func (w *cleaned) newClient(opts ...kgo.Opt) *kgo.Client {
	w.t.Helper()
	return w.c.Client(append(opts, kgo.DefaultProduceTopic(w.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())...)
}

// cleanedTime is the time of record i. The mark of a transaction has the broker's time, which what comes behind it must not
// be before: a replay takes it for the end of its range. What is to be in the active segment is so much later that it rolls.
func cleanedTime(i int) time.Time {
	switch {
	case i < abortedBatch:
		return second(i)
	case i < cleanedRecords:
		return time.Now()
	}
	return second(3600 + i)
}

// overwritten reports whether a record has a key that comes again.
func overwritten(partition int32, i int) bool {
	return partition == 0 && i < cleanedRecords && i%50 != 49
}

func (w *cleaned) batch(partition int32, from, to int) (records []*kgo.Record) {
	for i := from; i < to; i++ {
		one := w.record(partition, i)
		one.Timestamp, one.Key = cleanedTime(i), fmt.Appendf(nil, "only %d", i)
		if overwritten(partition, i) {
			one.Key = fmt.Appendf(nil, "again %d", i%10)
		}
		records = append(records, one)
	}
	return records
}

func (w *cleaned) write(client *kgo.Client, partition int32, from, to int) {
	w.t.Helper()
	records := w.batch(partition, from, to)
	if err := client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	w.written[partition] = append(w.written[partition], records...)
}

func (w *cleaned) transaction(from int, how kgo.TransactionEndTry) {
	w.t.Helper()
	client := w.newClient(kgo.TransactionalID(fmt.Sprint(w.topic, from)))
	if err := client.BeginTransaction(); err != nil {
		w.t.Fatal(err)
	}
	before := len(w.written[0])
	w.write(client, 0, from, from+cleanedBatch)
	if err := client.EndTransaction(w.t.Context(), how); err != nil {
		w.t.Fatal(err)
	}
	if how == kgo.TryAbort {
		w.written[0] = w.written[0][:before]
	}
}

// left are the records that the cleaner has to leave from each offset on: the last one of each key.
func (w *cleaned) left(from positions) (left [2][]*kgo.Record) {
	for p := range left {
		last := map[string]int64{}
		for _, one := range w.written[p] {
			last[string(one.Key)] = one.Offset
		}
		for _, one := range w.written[p] {
			if one.Offset >= from[p] && last[string(one.Key)] == one.Offset {
				left[p] = append(left[p], one)
			}
		}
	}
	return left
}

func countOf(left [2][]*kgo.Record) int { return len(left[0]) + len(left[1]) }

// offsetsLeft are the offsets that Kafka has in a partition: of all records, and of those beside the marks of transactions.
func offsetsLeft(t *testing.T, c *kafkatest.Cluster, topic string, partition int32) (all, records []int64) {
	t.Helper()
	reader := c.Client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords())
	defer reader.Close()
	ends, err := kadm.NewClient(reader).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topic, partition)
	for len(all) == 0 || all[len(all)-1] < end.Offset-1 {
		fetches := reader.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if all = append(all, r.Offset); !r.Attrs.IsControl() {
				records = append(records, r.Offset)
			}
		})
	}
	return all, records
}

// await waits until the cleaner has gone over both partitions, and gives all offsets of the first one.
func (w *cleaned) await() (offsets []int64) {
	w.t.Helper()
	left := w.left(positions{0, 0})
	for p := range left {
		var want []int64
		for _, one := range left[p] {
			want = append(want, one.Offset)
		}
		began, last := time.Now(), []int64(nil)
		w.t.Cleanup(func() {
			if w.t.Failed() {
				w.t.Logf("%s/%d has %d records: %v", w.topic, p, len(last), last[:min(len(last), 100)])
			}
		})
		eventually(w.t, fmt.Sprintf("%s/%d has the last records of %d keys: %v", w.topic, p, len(want), want[:min(len(want), 100)]), func() bool {
			all, records := offsetsLeft(w.t, w.c, w.topic, int32(p))
			if last = records; p == 0 {
				offsets = all
			}
			return slices.Equal(records, want)
		})
		w.t.Logf("%s/%d: %d records of %d are left after %v", w.topic, p, len(want), len(w.written[p]), time.Since(began).Round(time.Millisecond))
	}
	return offsets
}

// mustHave fails unless values are those of left, in the order of each partition.
func mustHave(t *testing.T, who string, values []string, left [2][]*kgo.Record) {
	t.Helper()
	var got, want [2][]string
	for _, v := range values {
		p := strings.Index("01", v[:1])
		got[p] = append(got[p], v)
	}
	for p := range left {
		for _, one := range left[p] {
			want[p] = append(want[p], string(one.Value))
		}
		if !slices.Equal(got[p], want[p]) {
			t.Errorf("%s: of partition %d came %v\nwant %v", who, p, got[p], want[p])
		}
	}
}

// newRealReaders reads a topic of two partitions.
func newRealReaders(t *testing.T, c *kafkatest.Cluster, topic string, client *kgo.Client) *readRig {
	t.Helper()
	r := &readRig{t: t, client: client, log: &testLog{}, topic: stages.NewTopics(topic).All[0]}
	r.topic.SetPartitions(2)
	cfg, reading := testConfig(t), &ReadingConfig{SubscribeBuffer: stages.MiB, SubscribeMaxReaders: 64, SubscribeHeartbeat: time.Hour,
		ReplayMaxDuration: time.Hour, ReplayBatchSize: 1000, ReplayRateLimit: 1 << 30}
	cfg.Brokers, cfg.Topic = c.Addrs(), topic
	var err error
	if r.readers, err = NewReaders(cfg, reading, ReaderParts{Topic: r.topic, Log: r.log, DeliveryTimeout: time.Second}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.readers.Close)
	return r
}

func TestKafkaCompactedTopics(t *testing.T) {
	c := kafkatest.Start(t, kafkatest.Property("log.cleaner.backoff.ms", "100"))
	events := newCleaned(t, c, "compact", eventRecord)
	letters := newCleaned(t, c, "compact,delete", func(partition int32, i int) *kgo.Record {
		return letterRecord(partition, int64(i), fmt.Sprintf("%d/%d", partition, i))
	})
	offsets := events.await()
	letters.await()
	r := newRealReaders(t, c, events.topic, events.client)
	t.Run("holes", func(t *testing.T) { testRealHoles(t, r, offsets) })
	t.Run("replay", func(t *testing.T) { testRealReplayOfHoles(t, r, events) })
	t.Run("letters", func(t *testing.T) { testRealLettersOfHoles(t, c, letters) })
	t.Run("subscribers", func(t *testing.T) { testRealSubscribersOverHoles(t, r, events) })
	t.Run("tails", func(t *testing.T) { testRealTails(t, c) }) // last
}

// testRealHoles asks for the end of the hole everywhere, also behind the end of the partition, which offsets are those of.
func testRealHoles(t *testing.T, r *readRig, offsets []int64) {
	b, err := r.readers.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of := *b.id
	if !r.readers.holes.compacted(t.Context(), &of) {
		t.Error("the topic is not known to be compacted")
	}
	end := offsets[len(offsets)-1] + 1
	uncommitted := &holes{client: r.readers.client, admin: r.readers.admin, topic: r.topic.Name, batches: r.readers.batches}
	asked := []int64{0, end - 1, end}
	for i, o := range offsets[1:] {
		if gap := o - offsets[i]; gap > 1 { // from the record in front of the hole to the one behind it
			asked = append(asked, offsets[i], offsets[i]+1, offsets[i]+gap/2, o-1, o)
		}
	}
	for _, from := range asked {
		next := end
		if i, _ := slices.BinarySearch(offsets, from); i < len(offsets) {
			next = offsets[i]
		}
		for _, to := range []int64{from + 3, end + 10} {
			for name, h := range map[string]*holes{"committed": r.readers.holes, "uncommitted": uncommitted} {
				if got := h.behind(t.Context(), &of, 0, from, to); got != min(next, to) {
					t.Errorf("%s: from %d, to %d: %d, want %d", name, from, to, got, min(next, to))
				}
			}
		}
	}
	if len(asked) < 30 || offsets[0] == 0 {
		t.Errorf("the holes are not as they were to be: %v", offsets)
	}
}

// testRealReplayOfHoles replays all, and ranges whose ends are gone.
func testRealReplayOfHoles(t *testing.T, r *readRig, w *cleaned) {
	now := time.Now()
	for _, times := range [][2]time.Time{{second(0), now}, {second(60), second(130)}, {second(200), second(220)}, {second(310), now.Add(-time.Minute)}} {
		from, to := times[0], times[1]
		left := w.left(positions{0, 0})
		for p := range left {
			left[p] = slices.DeleteFunc(left[p], func(one *kgo.Record) bool { return one.Timestamp.Before(from) || !one.Timestamp.Before(to) })
		}
		var got replayed
		if err := r.readers.Replay(t.Context(), got.ask(from, to)); err != nil {
			t.Fatal(err)
		}
		if at := got.last(); !at.Done || at.Read != int64(countOf(left)) || at.Position.After(to) {
			t.Errorf("the end is %+v, want %d events", at, countOf(left))
		}
		mustHave(t, fmt.Sprint("replay of ", times), got.places, left)
	}
}

// testRealLettersOfHoles lists all, and spans whose ends are gone.
func testRealLettersOfHoles(t *testing.T, c *kafkatest.Cluster, w *cleaned) {
	l, err := OpenLetters(t.Context(), LetterSource{Brokers: c.Addrs(), Topic: w.topic, Group: "letters", Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !l.holes.compacted(t.Context(), &l.id) {
		t.Error("the topic is not known to be compacted")
	}
	for name, spans := range map[string][]Span{
		"all":                {l.Spans()[0], l.Spans()[1]},
		"from hole to hole":  {{Partition: 0, Start: 60, End: 130}, {Partition: 1, Start: 10, End: 20}},
		"nothing but a hole": {{Partition: 0, Start: 60, End: 61}},
		"an empty batch":     {{Partition: 0, Start: overwrittenBatch, End: overwrittenBatch + cleanedBatch}},
	} {
		var left [2][]*kgo.Record
		for _, s := range spans {
			for _, one := range w.left(positions{s.Start, s.Start})[s.Partition] {
				if one.Offset < s.End {
					left[s.Partition] = append(left[s.Partition], one)
				}
			}
		}
		var got []string
		if err := l.Read(t.Context(), spans, func(l Letter, err error) error { got = append(got, string(l.Raw)); return err }); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		mustHave(t, name, got, left)
	}
}

// testRealSubscribersOverHoles begins at the beginning and in holes, and goes on with what is written then.
func testRealSubscribersOverHoles(t *testing.T, r *readRig, w *cleaned) {
	b, err := r.readers.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	starts := map[string]positions{
		"from the beginning":    {0, 0},
		"in a hole":             {123, 300},
		"in an empty batch":     {overwrittenBatch + 10, 300},
		"in what was given up":  {abortedBatch + 10, cleanedRecords},
		"before what was left":  {cleanedRecords - 15, cleanedRecords},
		"in the active segment": {b.end[0] - 2, b.end[1] - 2},
	}
	subscribers := map[string]*subscriber{}
	for name, at := range starts {
		start := stages.Start{Cursor: cursorOf(b.id, at)}
		if at[0] == 0 {
			start = stages.Start{Earliest: true}
		}
		subscribers[name] = r.subscribe(r.readers, stages.Subscription{Start: start}, nil)
	}
	for name, s := range subscribers {
		s.await(t, countOf(w.left(starts[name])))
	}
	for p := range int32(2) {
		w.write(w.client, p, cleanedRecords+5, cleanedRecords+15)
	}
	for name, s := range subscribers {
		left := w.left(starts[name])
		s.await(t, countOf(left))
		mustHave(t, name, s.places, left)
	}
	eventually(t, "all subscribers are with the hub", func() bool { return r.readers.metrics.readers.Load() == 0 })
}
