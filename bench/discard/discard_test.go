package discard

// The broker as franz-go sees it: what was acknowledged is what was counted, in every version of the protocol's
// produce request, and nothing that a stranger sends ends it.

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startBroker(t *testing.T, partitions int) *Broker {
	t.Helper()
	b, err := Start("127.0.0.1:0", "events", partitions)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func newClient(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	opts = append([]kgo.Opt{kgo.SeedBrokers(b.Addr()), kgo.DefaultProduceTopic("events"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordRetries(2)}, opts...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// produceMany sends n records of mixed sizes and returns how many were acknowledged in each partition; the offsets of
// a partition must be 0, 1, 2 ...
func produceMany(t *testing.T, cl *kgo.Client, partitions int32, n int) []int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	acked := make([]int64, partitions)
	var wg sync.WaitGroup
	wg.Add(n)
	for i := range n {
		value := make([]byte, rand.IntN(3000))
		if i%1000 == 0 {
			value = make([]byte, 300_000) // far more than is buffered
		}
		cl.Produce(ctx, &kgo.Record{Partition: int32(i) % partitions, Value: value}, func(r *kgo.Record, err error) {
			defer wg.Done() // promises run one after the other
			switch {
			case err != nil:
				t.Errorf("record %d: %v", i, err)
			case r.Offset != acked[r.Partition]:
				t.Errorf("partition %d: offset %d, want %d", r.Partition, r.Offset, acked[r.Partition])
			}
			acked[r.Partition]++
		})
	}
	wg.Wait()
	return acked
}

func TestAcknowledgedIsReceived(t *testing.T) {
	for _, version := range []struct {
		name     string
		versions *kversion.Versions
	}{
		{"produce version 3", kversion.V0_11_0()},
		{"produce version 8", kversion.V2_4_0()},
		{"produce version 9, flexible", kversion.V2_8_0()},
		{"newest, topic ids", kversion.Tip()},
	} {
		t.Run(version.name, func(t *testing.T) {
			const partitions = 4
			b := startBroker(t, partitions)
			cl := newClient(t, b, kgo.MaxVersions(version.versions), kgo.ProducerLinger(0))
			acked := produceMany(t, cl, partitions, 5000)
			if got := b.Received(); !slices.Equal(got, acked) {
				t.Errorf("received %v, acknowledged %v", got, acked)
			}
			ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), "events")
			if err != nil {
				t.Fatal(err)
			}
			for p, want := range acked {
				if end, _ := ends.Lookup("events", int32(p)); end.Err != nil || end.Offset != want {
					t.Errorf("end of partition %d: %d (%v), want %d", p, end.Offset, end.Err, want)
				}
			}
		})
	}
}

func TestSettings(t *testing.T) {
	b := startBroker(t, 1)
	adm := kadm.NewClient(newClient(t, b))
	configs, err := adm.DescribeTopicConfigs(t.Context(), "events")
	if err != nil || len(configs) != 1 || len(configs[0].Configs) != 1 {
		t.Fatalf("configs %+v, %v", configs, err)
	}
	if c := configs[0].Configs[0]; c.Key != "max.message.bytes" || c.MaybeValue() != "1048588" {
		t.Errorf("config %s=%s", c.Key, c.MaybeValue())
	}
	topics, err := adm.ListTopics(t.Context())
	if err != nil || len(topics) != 1 || !topics.Has("events") {
		t.Errorf("topics %v, %v", topics.Names(), err)
	}
}

func TestUnknownTopic(t *testing.T) {
	b := startBroker(t, 1)
	cl := newClient(t, b, kgo.UnknownTopicRetries(0))
	err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "other"}).FirstErr()
	if !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("error %v, want UNKNOWN_TOPIC_OR_PARTITION", err)
	}
}

func TestNoAcks(t *testing.T) {
	b := startBroker(t, 1)
	cl := newClient(t, b, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("x")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	// There is no answer to wait for. The next request on the same connection is answered after it.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for b.Received()[0] == 0 {
		if err := cl.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever a connection sends, it is closed or waits for more; others go on.
func TestGarbage(t *testing.T) {
	b := startBroker(t, 1)
	produceHeader := func(version uint16, size uint32, more ...byte) []byte {
		p := binary.BigEndian.AppendUint32(nil, size)
		p = binary.BigEndian.AppendUint16(p, 0) // produce
		p = binary.BigEndian.AppendUint16(p, version)
		p = binary.BigEndian.AppendUint32(p, 7)
		p = binary.BigEndian.AppendUint16(p, 0xffff) // no client id
		return append(p, more...)
	}
	var random [4096]byte
	for i := range random {
		random[i] = byte(rand.IntN(256))
	}
	for name, sent := range map[string][]byte{
		"text":               []byte("GET / HTTP/1.1\r\n\r\n"),
		"a huge frame":       {0x7f, 0xff, 0xff, 0xff, 0, 0},
		"an empty frame":     {0, 0, 0, 0},
		"an unknown key":     append([]byte{0, 0, 0, 12, 0x7f, 0, 0, 0}, make([]byte, 8)...),
		"an unknown version": produceHeader(99, 100, make([]byte, 90)...),
		"a count too large":  produceHeader(9, 60, append([]byte{0, 0, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 3}, random[:]...)...),
		"random produce":     produceHeader(13, 4096, random[:]...),
		"random old produce": produceHeader(3, 4096, random[:]...),
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", b.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = c.Write(sent) // the broker may have closed in the middle
			_ = c.(*net.TCPConn).CloseWrite()
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal("the connection stays open")
			}
		})
	}
	if acked := produceMany(t, newClient(t, b), 1, 10); acked[0] != 10 {
		t.Fatalf("acknowledged %d of 10 after garbage", acked[0])
	}
}

func TestStartRefuses(t *testing.T) {
	for _, c := range []struct {
		topic      string
		partitions int
	}{{"", 1}, {"events", 0}} {
		if b, err := Start("127.0.0.1:0", c.topic, c.partitions); err == nil {
			_ = b.Close()
			t.Error(fmt.Errorf("started with %+v", c))
		}
	}
}
