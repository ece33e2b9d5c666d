//go:build kafka

package kafka

// Partitions that end with offsets without records. Apache Kafka's cleaner leaves the last segment alone, so that there is
// a record at the end of every partition: until a broker loses that segment, as with its power, and the one before it ends
// with what the cleaner has left.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	"github.com/event-gateway/event-gateway/stages"
)

const (
	// tailKept are the records in front of the last batch that stays, tailBatch are in it. The last batch of partition 0 keeps
	// none of them, that of partition 1 the first tailRest.
	tailKept, tailBatch, tailRest = 100, 20, 10
	tailEnd                       = tailKept + tailBatch
	// tailLost makes the segment behind them, which overwrites that batch, so large that the cleaner does not put it together
	// with those before it: 1 MiB is the bound for both.
	tailLost = 51_900
)

// lostTails is a topic of events that are dead letters as well.
type lostTails struct {
	t      *testing.T
	topic  string
	client *kgo.Client
	// kept are the records that are left.
	kept [2][]*kgo.Record
}

func newLostTails(t *testing.T, c *kafkatest.Cluster) *lostTails {
	t.Helper()
	w := &lostTails{t: t,
		topic: c.Topic(2, "cleanup.policy", "compact", "segment.ms", "1000", "segment.bytes", "1048576", "min.cleanable.dirty.ratio", "0.001")}
	opts := []kgo.Opt{kgo.DefaultProduceTopic(w.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(),
		kgo.ProducerLinger(50 * time.Millisecond), // a batch for each partition
		kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerBatchMaxBytes(1 << 20)}
	w.client = c.Client(opts...)
	other := c.Client(opts...)
	for p := range int32(2) {
		all := w.write(w.client, p, 0, tailKept, 0)
		if p == 0 {
			w.write(other, p, tailKept, tailEnd, 0) // the last batch of a producer stays without records
		} else {
			all = append(all, w.write(w.client, p, tailKept, tailEnd, 0)[:tailRest]...)
		}
		w.write(w.client, p, tailEnd, tailEnd+tailBatch, tailLost)
		w.write(w.client, p, tailEnd+tailBatch, tailEnd+tailBatch+1, 0)
		w.kept[p] = all
	}
	other.Close()
	return w
}

// write makes a segment of a partition: what is written together has one time, and the next one is later.
func (w *lostTails) write(client *kgo.Client, partition int32, from, to, size int) (records []*kgo.Record) {
	w.t.Helper()
	for i := from; i < to; i++ {
		one := eventRecord(partition, i)
		one.Headers = append(one.Headers, kgo.RecordHeader{Key: headerLetterReason, Value: []byte("MALFORMED_EVENT")})
		one.Timestamp, one.Key = second(2*from), fmt.Append(nil, i)
		if size > 0 {
			one.Value, one.Key = make([]byte, size), fmt.Append(nil, i-tailBatch)
			if partition == 1 && i < tailEnd+tailRest {
				one.Key = fmt.Append(nil, i)
			}
		}
		records = append(records, one)
	}
	if err := client.ProduceSync(w.t.Context(), records...).FirstErr(); err != nil {
		w.t.Fatal(err)
	}
	return records
}

// lose waits for the cleaner, and takes the segments behind it from the broker while that is away.
func (w *lostTails) lose(c *kafkatest.Cluster) {
	w.t.Helper()
	admin := kadm.NewClient(w.client)
	dirs, err := admin.DescribeAllLogDirs(w.t.Context(), nil)
	if err != nil || len(dirs[1]) != 1 {
		w.t.Fatalf("%v, %v", dirs, err)
	}
	var root string
	for dir := range dirs[1] {
		root = dir
	}
	for p := range w.kept {
		want := len(w.kept[p]) + tailBatch + 1
		eventually(w.t, fmt.Sprintf("partition %d has %d records", p, want), func() bool {
			_, records := offsetsLeft(w.t, c, w.topic, int32(p))
			return len(records) == want
		})
	}
	c.Stop(0)
	for p := range w.kept {
		dir, lost := filepath.Join(root, fmt.Sprintf("%s-%d", w.topic, p)), 0
		files, err := os.ReadDir(dir)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, file := range files {
			name, suffix, _ := strings.Cut(file.Name(), ".")
			if name < fmt.Sprintf("%020d", tailEnd) || len(name) != 20 {
				continue
			}
			if err := os.Remove(filepath.Join(dir, file.Name())); err != nil {
				w.t.Fatal(err)
			}
			if suffix == "log" {
				lost++
			}
		}
		if lost != 2 {
			w.t.Fatalf("partition %d had %d segments behind its cleaned one, want 2: %v", p, lost, files)
		}
	}
	c.Restart(0)
}

// testRealTails stops the broker.
func testRealTails(t *testing.T, c *kafkatest.Cluster) {
	w := newLostTails(t, c)
	w.lose(c)
	r := newRealReaders(t, c, w.topic, w.client)
	b, err := r.readers.look(t.Context())
	if err != nil || !slices.Equal(b.high, positions{tailEnd, tailEnd}) {
		t.Fatalf("the partitions end at %+v, %v", b, err)
	}
	t.Run("replay", func(t *testing.T) {
		var got replayed
		if err := r.readers.Replay(t.Context(), got.ask(second(0), time.Now())); err != nil {
			t.Fatal(err)
		}
		if at := got.last(); !at.Done || at.Read != int64(countOf(w.kept)) {
			t.Errorf("the end is %+v, want %d events", at, countOf(w.kept))
		}
		mustHave(t, "replay", got.places, w.kept)
	})
	t.Run("letters", func(t *testing.T) {
		l, err := OpenLetters(t.Context(), LetterSource{Brokers: c.Addrs(), Topic: w.topic, Group: "letters", Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var got []string
		if err := l.Read(t.Context(), l.Spans(), func(l Letter, err error) error { got = append(got, string(l.Raw)); return err }); err != nil {
			t.Error(err)
		}
		mustHave(t, "letters", got, w.kept)
	})
	t.Run("subscribers", func(t *testing.T) { testRealSubscribersOverTails(t, r, w) })
}

// testRealSubscribersOverTails: the hub begins behind the holes, and all arrive there.
func testRealSubscribersOverTails(t *testing.T, r *readRig, w *lostTails) {
	live := r.subscribe(r.readers, stages.Subscription{}, nil)
	live.started(t)
	earliest := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
	earliest.await(t, countOf(w.kept))
	resumed := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Cursor: cursorOf(r.readers.identity.Load(), positions{tailEnd - 1, tailEnd - 1})}}, nil)
	resumed.started(t)
	eventually(t, "all are with the hub", func() bool {
		return r.readers.metrics.readers.Load() == 0 && r.at(earliest).covers(positions{tailEnd, tailEnd}) && r.at(resumed).covers(positions{tailEnd, tailEnd})
	})
	all, later := w.kept, [2][]*kgo.Record{}
	for p := range later {
		later[p] = w.write(w.client, int32(p), 1000, 1010, 0)
		all[p] = append(slices.Clone(all[p]), later[p]...)
	}
	for _, one := range []struct {
		name string
		*subscriber
		want [2][]*kgo.Record
	}{{"live", live, later}, {"from the beginning", earliest, all}, {"from a hole", resumed, later}} {
		one.await(t, countOf(one.want))
		mustHave(t, one.name, one.places, one.want)
	}
}
