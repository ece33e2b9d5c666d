package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

// letterRig is a cluster with a topic of letters, and a client that writes to it.
type letterRig struct {
	t       *testing.T
	cluster *kfake.Cluster
	source  LetterSource
	client  *kgo.Client
}

func newLetterRig(t *testing.T, partitions int) *letterRig {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(int32(partitions), "dead"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	r := &letterRig{t: t, cluster: cluster,
		source: LetterSource{Brokers: cluster.ListenAddrs(), Topic: "dead", Group: "test.dlq", Timeout: patience}}
	r.client = r.newClient()
	return r
}

func (r *letterRig) newClient(opts ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.source.Brokers...), kgo.DefaultProduceTopic("dead"),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics()}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(client.Close)
	return client
}

// letterRecord is a letter with id as its value, received at second at.
func letterRecord(partition int32, at int64, id string) *kgo.Record {
	return &kgo.Record{Partition: partition, Value: []byte(id), Timestamp: time.Unix(at, 0),
		Headers: []kgo.RecordHeader{{Key: headerLetterReason, Value: []byte("MALFORMED_EVENT")}}}
}

func (r *letterRig) write(records ...*kgo.Record) {
	r.t.Helper()
	if err := r.client.ProduceSync(r.t.Context(), records...).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *letterRig) open() *Letters {
	r.t.Helper()
	l, err := OpenLetters(r.t.Context(), r.source)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(l.Close)
	return l
}

func (r *letterRig) read(l *Letters, spans []Span) []string {
	r.t.Helper()
	var got []string
	if err := l.Read(r.t.Context(), spans, func(l Letter, err error) error {
		if err != nil {
			return err
		}
		got = append(got, string(l.Raw))
		return nil
	}); err != nil {
		r.t.Fatal(err)
	}
	return got
}

func TestLettersAreReadInOrderUpToTheEnd(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t, 4) // nothing in the last partition
	var want []string
	for i := range 300 {
		id := fmt.Sprintf("%03d", i)
		r.write(letterRecord(int32(i%7%3), int64(i), id))
		want = append(want, id)
	}
	l := r.open()
	r.write(letterRecord(0, 1, "later"))
	if got := r.read(l, l.Spans()); !slices.Equal(got, want) {
		t.Fatalf("read %d letters: %v", len(got), got)
	}
	if got := r.read(l, []Span{{Partition: 1, Start: 2, End: 4}, {Partition: 3}}); len(got) != 2 || got[0] >= got[1] {
		t.Fatalf("two offsets of one partition: %v", got)
	}
	stop := errors.New("enough")
	if err := l.Read(t.Context(), l.Spans(), func(Letter, error) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	spans, err := l.Since(t.Context(), time.Unix(150, 0).Add(clockSlack))
	if err != nil {
		t.Fatal(err)
	}
	if got := r.read(l, spans); !slices.Equal(got, want[150:]) {
		t.Fatalf("since the middle: %v", got)
	}
}

// A partition that is far ahead of another one in time is not read into memory, and nothing is lost while it waits.
func TestFullQueuesPause(t *testing.T) {
	r := newLetterRig(t, 2)
	r.client = r.newClient(kgo.ProducerBatchCompression(kgo.NoCompression())) // fetches are bounded as they are stored
	const each, size = 200, 100_000
	rest := strings.Repeat("x", size)
	for i := range 2 * each {
		r.write(letterRecord(int32(i/each), int64(i), fmt.Sprintf("%03d", i)+rest))
	}
	l := r.open()
	var got []string
	before, most := memory(), uint64(0)
	if err := l.Read(t.Context(), l.Spans(), func(l Letter, _ error) error {
		if got = append(got, string(l.Raw[:3])); len(got) == each { // all of the second partition is still to come
			most = memory() - before
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, id := range got {
		if id != fmt.Sprintf("%03d", i) {
			t.Fatalf("letter %d is %s", i, id)
		}
	}
	if len(got) != 2*each || most > each*size/2 {
		t.Fatalf("%d letters; %d bytes are held of the partition that waits, which has %d", len(got), most, each*size)
	}
}

// memory is what is in use.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A transaction's end takes an offset, which may be the last one of the partition.
func TestControlRecordsAreNoLetters(t *testing.T) {
	r := newLetterRig(t, 1)
	r.client = r.newClient(kgo.TransactionalID("t"))
	for _, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := r.client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r.write(letterRecord(0, 1, "a"))
		if err := r.client.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	l := r.open()
	if got := r.read(l, l.Spans()); len(got) != 2 {
		t.Fatalf("%v in %v", got, l.Spans())
	}
}

func TestEmptyTopicOfLetters(t *testing.T) {
	l := newLetterRig(t, 3).open()
	if err := l.Read(t.Context(), l.Spans(), func(Letter, error) error { return errors.New("a letter") }); err != nil || len(l.Spans()) != 3 {
		t.Fatalf("%v, %v", l.Spans(), err)
	}
}

// The first question about a group, on a cluster where nobody has used one, is answered that there is no coordinator yet.
func TestPositionsWithoutACoordinatorYet(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t, 1)
	fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: 8})
	positions, err := r.open().Positions(t.Context())
	if err != nil || len(positions) != 0 || fault.Hits() != 8 {
		t.Errorf("%v, %v after %d answers", positions, err, fault.Hits())
	}
	r.source.Timeout = 300 * time.Millisecond
	r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.FindCoordinator}, Err: kerr.CoordinatorNotAvailable, Count: -1})
	if _, err := r.open().Positions(t.Context()); err == nil || !strings.Contains(err.Error(), "test.dlq") {
		t.Errorf("never a coordinator: %v", err)
	}
}

func TestLettersThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t, 1)
	r.source.Topic = "other"
	if _, err := OpenLetters(t.Context(), r.source); err == nil || !strings.Contains(err.Error(), "there is no topic other") {
		t.Errorf("missing topic: %v", err)
	}
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.source.Brokers = []string{closed.Addr().String()}
	closed.Close()
	began := time.Now()
	if _, err := OpenLetters(t.Context(), r.source); err == nil || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), "--brokers") {
		t.Errorf("nobody listens: %v", err)
	}
	if took := time.Since(began); took > patience/2 {
		t.Errorf("nobody listens: said after %v", took)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and answers nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	r.source.Brokers, r.source.Timeout = []string{silent.Addr().String()}, 300*time.Millisecond
	if _, err := OpenLetters(t.Context(), r.source); err == nil || !strings.Contains(err.Error(), "within 300ms") {
		t.Errorf("nobody answers: %v", err)
	}
}

// A broker that goes silent in the middle ends the reading with where it stood; a retention that was faster does not.
func TestReadingGivesUp(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t, 2)
	r.write(letterRecord(0, 1, "a"), letterRecord(1, 2, "b"))
	r.source.Timeout = 2 * time.Second
	l := r.open()
	err := l.Read(t.Context(), []Span{{Partition: 0, End: 1}, {Partition: 1, End: 5}}, func(Letter, error) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "partition 1: nothing has come from offset 1 on") {
		t.Errorf("an end that never comes: %v", err)
	}
	request := kmsg.NewPtrDeleteRecordsRequest()
	request.TimeoutMillis = 1000
	topic := kmsg.NewDeleteRecordsRequestTopic()
	partition := kmsg.NewDeleteRecordsRequestTopicPartition()
	topic.Topic, partition.Partition, partition.Offset = "dead", 1, 1
	topic.Partitions = append(topic.Partitions, partition)
	request.Topics = append(request.Topics, topic)
	if _, err := request.RequestWith(t.Context(), r.client); err != nil {
		t.Fatal(err)
	}
	if got := r.read(l, l.Spans()); !slices.Equal(got, []string{"a"}) {
		t.Errorf("after retention: %v", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Read(ctx, l.Spans(), func(Letter, error) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func TestPositionsAreKept(t *testing.T) {
	l := newLetterRig(t, 3).open()
	if got, err := l.Positions(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("before the first commit: %v, %v", got, err)
	}
	want := map[int32]Position{0: {Next: 5, Through: 5}, 2: {Next: 7, Through: 100, Open: []int64{9, 80}}}
	if err := l.Commit(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	got, err := l.Positions(t.Context())
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("%v, %v", got, err)
	}
}

// A group's first request meets a Kafka that has no coordinator for it yet.
func TestPositionsWaitForTheCoordinator(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t, 1)
	l := r.open()
	asked := uncoordinate(r.cluster)
	if got, err := l.Positions(t.Context()); err != nil || len(got) != 0 || asked.Load() <= 3 {
		t.Errorf("asked %d times: %v, %v", asked.Load(), got, err)
	}
	asked.Store(0)
	other, err := OpenLetters(t.Context(), r.source)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := other.Commit(t.Context(), map[int32]Position{0: {Next: 1, Through: 1}}); err != nil || asked.Load() <= 3 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
}

// A position that is read back calls nothing settled that is not, and when there is room for all, knows all.
func TestPositionText(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		offsets := rapid.SliceOfNDistinct(rapid.Int64Range(0, 1<<40), 1, 600, rapid.ID[int64]).Draw(rt, "open")
		slices.Sort(offsets)
		p := Position{Next: offsets[0], Through: offsets[len(offsets)-1] + rapid.Int64Range(1, 5).Draw(rt, "more"), Open: offsets[1:]}
		text := p.metadata()
		if len(text) > maxPositionText {
			rt.Fatalf("%d bytes", len(text))
		}
		got := parsePosition(p.Next, text)
		complete := len(offsets) < 200
		for _, o := range append(offsets, p.Through, p.Through+1, p.Next-1) {
			for _, at := range []int64{o - 1, o, o + 1} {
				if got.Settled(at) && !p.Settled(at) || complete && got.Settled(at) != p.Settled(at) {
					rt.Fatalf("offset %d of %v: %v, read back %v (%s)", at, p, p.Settled(at), got.Settled(at), text)
				}
			}
		}
	})
}

// More open letters than a commit can name: what is behind them counts as open, too.
func TestPositionOfManyOpenLetters(t *testing.T) {
	t.Parallel()
	p := Position{Next: 1_000_000, Through: 3_000_000}
	for o := p.Next + 2; o < p.Through; o += 2000 {
		p.Open = append(p.Open, o)
	}
	text := p.metadata()
	got := parsePosition(p.Next, text)
	if len(text) > maxPositionText || len(got.Open) < 400 || got.Through >= p.Through {
		t.Fatalf("%d bytes, %d open, through %d", len(text), len(got.Open), got.Through)
	}
	for o := p.Next; o < p.Through; o++ {
		if got.Settled(o) && !p.Settled(o) {
			t.Fatalf("%d is not settled", o)
		}
	}
}

// FuzzPosition: whatever a commit says, it is read without a panic, and what is read is in order.
func FuzzPosition(f *testing.F) {
	f.Fuzz(func(t *testing.T, next int64, metadata string) {
		p := parsePosition(next, metadata)
		if p.Next != next || p.Through < next || !slices.IsSorted(p.Open) || p.Settled(next) {
			t.Fatalf("%+v", p)
		}
		if len(p.Open) > 0 && (p.Open[0] <= next || p.Open[len(p.Open)-1] >= p.Through) {
			t.Fatalf("%+v", p)
		}
		if again := parsePosition(next, p.metadata()); p.Through > next+1 && fmt.Sprint(again) != fmt.Sprint(p) {
			t.Fatalf("%+v, again %+v", p, again)
		}
	})
}
