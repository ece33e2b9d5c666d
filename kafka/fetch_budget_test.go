package kafka

// What clients that read hold of compressed batches, each of which becomes hundreds of times as large: bounded, and every
// record comes.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// squeezed writes n events of large zeros to each partition, a batch for each.
func squeezed(t *testing.T, r *readRig, partitions int32, n, size int, codec kgo.CompressionCodec) {
	t.Helper()
	w, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.DefaultProduceTopic("events"), kgo.ProducerBatchCompression(codec),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(), kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(8))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	zeros := make([]byte, size)
	for i := range n {
		var batch []*kgo.Record
		for p := range partitions {
			one := eventRecord(p, i)
			one.Value, one.Timestamp = zeros, second(i)
			batch = append(batch, one)
		}
		if err := w.ProduceSync(t.Context(), batch...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// measured counts what a decompressor hands out.
type measured struct {
	kgo.Decompressor
	answer, most atomic.Int64
	answers      atomic.Int64
}

func (m *measured) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	out, err := m.Decompressor.Decompress(src, codec)
	if now := m.answer.Add(int64(len(out))); now > m.most.Load() {
		m.most.Store(now)
	}
	return out, err
}

func (m *measured) OnBrokerRead(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == int16(kmsg.Fetch) {
		m.answer.Store(0)
		m.answers.Add(1)
	}
}

func TestAnswersThatBecomeLarge(t *testing.T) {
	const partitions, n, size = 3, 40, 900_000
	for name, codec := range map[string]kgo.CompressionCodec{"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()} {
		t.Run(name, func(t *testing.T) {
			r := newReadRig(t, partitions, nil)
			squeezed(t, r, partitions, n, size, codec)
			batches, err := batchDecompressor(readBatchBytes)
			if err != nil {
				t.Fatal(err)
			}
			m := &measured{Decompressor: batches}
			at := map[int32]kgo.Offset{}
			for p := range int32(partitions) {
				at[p] = kgo.NewOffset().At(0)
			}
			client, err := kgo.NewClient(append(fetchBounds(m, readFetchBytes, readPartitionBytes), kgo.WithHooks(m), kgo.SeedBrokers(r.cluster.ListenAddrs()...),
				kgo.DisableClientMetrics(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"events": at}))...)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			next, got := make([]int64, partitions), 0
			for got < partitions*n {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				fetches := client.PollFetches(ctx)
				cancel()
				if err := fetchError(t.Context(), fetches); err != nil {
					t.Fatal(err)
				}
				fetches.EachRecord(func(r *kgo.Record) {
					if r.Offset != next[r.Partition] || len(r.Value) != size {
						t.Errorf("offset %d of partition %d with %d bytes, want %d", r.Offset, r.Partition, len(r.Value), next[r.Partition])
					}
					next[r.Partition]++
					got++
				})
			}
			if bound := int64(readFetchBytes*mostRatio + size + 1000); m.most.Load() > bound {
				t.Errorf("an answer became %d bytes; at most %d", m.most.Load(), bound)
			}
			t.Logf("%d answers, the largest became %d bytes", m.answers.Load(), m.most.Load())
		})
	}
}

// A budget that is used up refuses the first batch of a partition, too: nobody ends for that.
func TestFullAnswersAreNoError(t *testing.T) {
	b := &fetchBudget{batch: kgo.DefaultDecompressor(), most: 10}
	b.used.Store(10)
	if _, err := b.Decompress(nil, kgo.CodecZstd); !errors.Is(err, errAnswerFull) {
		t.Fatalf("%v", err)
	}
	err := fmt.Errorf("unable to decompress batch: %w", errAnswerFull)
	fetches := kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "events", Partitions: []kgo.FetchPartition{{Partition: 1, Err: err}}}}}}
	if err := fetchError(t.Context(), fetches); err != nil {
		t.Errorf("a reader ends with %v", err)
	}
	b.OnBrokerRead(kgo.BrokerMetadata{}, int16(kmsg.Metadata), 0, 0, 0, nil)
	if b.used.Load() != 10 {
		t.Error("an answer to something else begins it anew")
	}
	b.OnBrokerRead(kgo.BrokerMetadata{}, int16(kmsg.Fetch), 0, 0, 0, nil)
	if out, err := b.Decompress([]byte("abc"), kgo.CodecNone); err != nil || !bytes.Equal(out, []byte("abc")) {
		t.Errorf("%q, %v", out, err)
	}
}

// Who asks where a hole ends gets one record, and does not stop at records that it does not get.
func TestHolesOfAnswersThatBecomeLarge(t *testing.T) {
	const n, size = 40, 900_000
	r := newReadRig(t, 1, nil)
	squeezed(t, r, 1, n, size, kgo.ZstdCompression())
	b, err := r.readers.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := &measured{Decompressor: r.readers.holes.batches}
	h := &holes{client: r.readers.client, admin: r.readers.admin, topic: "events", batches: m, committed: true}
	if got := h.behind(t.Context(), b.id, 0, 3, n); got != 3 {
		t.Errorf("what begins at offset 3 begins at %d", got)
	}
	if bound := int64(readPartitionBytes*mostRatio + size + 1000); m.most.Load() > bound || m.most.Load() < size {
		t.Errorf("an answer became %d bytes; at most %d", m.most.Load(), bound)
	}
	w, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.DefaultProduceTopic("events"), kgo.TransactionalID("w"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics(), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for range n { // a batch for each
		if err := w.ProduceSync(t.Context(), &kgo.Record{Value: make([]byte, size)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	if got := h.behind(t.Context(), b.id, 0, n, 3*n); got != 2*n {
		t.Errorf("what was given up ends at offset %d, where its mark is %d", got, 2*n)
	}
}

// Subscribers, live and of the past, and replays get everything.
func TestReadersOfAnswersThatBecomeLarge(t *testing.T) {
	const partitions, n = 2, 30
	r := newReadRig(t, partitions, nil)
	squeezed(t, r, partitions, n, 900_000, kgo.ZstdCompression())
	all := func(*eventv1.Event) (bool, error) { return true, nil }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	got := 0
	err := r.readers.Subscribe(ctx, &stages.Subscription{Name: "x", Start: stages.Start{Earliest: true}, Match: all,
		Begun: func() error { return nil }, Idle: func(string) error { return nil }, Deliver: func(some []*stages.Delivery) error {
			if got += len(some); got >= partitions*n {
				cancel()
			}
			return nil
		}})
	if !errors.Is(err, context.Canceled) || got != partitions*n {
		t.Errorf("a subscriber: %v, %d events", err, got)
	}
	got = 0
	err = r.readers.Replay(t.Context(), &stages.Replay{From: second(0), To: second(n), PerSecond: 100_000, Match: all,
		Page: func(some []*stages.Delivery, _ stages.ReplayProgress) error { got += len(some); return nil }})
	if err != nil || got != partitions*n {
		t.Errorf("a replay: %v, %d events", err, got)
	}
}

// The bytes of attributes and metadata, which are headers, fill a queue of a merge as those of the data do.
func TestHeadersFillQueues(t *testing.T) {
	const room = 64 << 10
	m := newMerge([]Span{{Partition: 0, Start: 0, End: 1000}, {Partition: 1, Start: 0, End: 1000}}, room)
	q := m.byPartition[0]
	for i := range 8 {
		one := eventRecord(0, i)
		one.Offset = int64(i)
		one.Headers = append(one.Headers, kgo.RecordHeader{Key: "md_note", Value: make([]byte, 10_000)})
		m.add(one)
	}
	if q.bytes < room {
		t.Errorf("80,000 bytes in headers count as %d", q.bytes)
	}
	m.byPartition[1].next = 1000
	for range 8 {
		m.pop()
	}
	if q.bytes != 0 {
		t.Errorf("an empty queue counts %d bytes", q.bytes)
	}
}
