package kafka

// The source against a broker in memory and a pipeline whose outcomes the test
// decides.

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// heldPipeline takes messages and leaves their outcomes to the test.
type heldPipeline struct {
	messages chan *stages.Message
	cutoff   chan struct{}

	mu sync.Mutex // guards the answers of messages: a deadline may be faster than the test
}

func newHeldPipeline() *heldPipeline {
	return &heldPipeline{messages: make(chan *stages.Message, 1000), cutoff: make(chan struct{})}
}

func (h *heldPipeline) NewClient(name string) *stages.Client { return &stages.Client{Name: name} }
func (h *heldPipeline) Entry() func(*stages.Message) {
	return func(m *stages.Message) { h.messages <- m }
}
func (h *heldPipeline) Pace(ctx context.Context, _ *stages.Client, n int) (int, error) {
	return n, ctx.Err()
}

func (h *heldPipeline) ReceiveRecords(client *stages.Client, records []stages.Record, o stages.RecordOptions) *stages.Message {
	m := stages.NewMessage(len(records))
	m.Arm(len(records))
	m.Kind, m.Client, m.Received = stages.Records, client, time.Now()
	m.SetRecords(records, o)
	return m
}

func (h *heldPipeline) Admit(ctx context.Context, _ *stages.Message, _ time.Duration) *stages.Verdict {
	if ctx.Err() != nil {
		return &stages.Verdict{Outcome: stages.Refused, Reason: stages.NotSent}
	}
	return nil
}
func (h *heldPipeline) Reject(*stages.Message, stages.Verdict) {}
func (h *heldPipeline) Release(*stages.Message)                {}
func (h *heldPipeline) Cutoff() <-chan struct{}                { return h.cutoff }

func (h *heldPipeline) Expire(m *stages.Message, reason stages.Reason) {
	h.answer(m, stages.Verdict{Outcome: stages.Unknown, Reason: reason, RetryAfter: time.Millisecond})
}

// answer gives the records of m that have no outcome yet the verdicts, the last one to all that are left; none: they
// are acknowledged.
func (h *heldPipeline) answer(m *stages.Message, verdicts ...stages.Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	settled := 0
	for i := range m.Events() {
		v := stages.Verdict{Outcome: stages.Acknowledged}
		if len(verdicts) > 0 {
			v = verdicts[min(i, len(verdicts)-1)]
		}
		if !m.WinQueued(i) {
			continue
		}
		m.SetVerdict(i, v)
		settled++
	}
	if settled > 0 {
		m.Settle(settled)
	}
}

// next is the next message, with what is in it.
func (h *heldPipeline) next(t testing.TB) (m *stages.Message, values string) {
	t.Helper()
	select {
	case m = <-h.messages:
	case <-time.After(patience):
		t.Fatalf("no message after %v", patience)
	}
	var all []string
	for _, r := range m.Records() {
		all = append(all, string(r.Value))
	}
	return m, strings.Join(all, " ")
}

// sourceBroker is a broker in memory with a topic "in".
type sourceBroker struct {
	t       *testing.T
	cluster *kfake.Cluster
	network *kfake.VirtualNetwork
	client  *kgo.Client
}

func newSourceBroker(t *testing.T, partitions int32) *sourceBroker {
	t.Helper()
	b := &sourceBroker{t: t, network: &kfake.VirtualNetwork{}}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(b.network.Listen), kfake.SeedTopics(partitions, "in"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	b.cluster = cluster
	b.client, err = kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.network.DialContext), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.client.Close)
	return b
}

// write adds records numbered from first to one partition; key says which key each has.
func (b *sourceBroker) write(partition int32, first, n int, key func(i int) string) {
	b.t.Helper()
	var records []*kgo.Record
	for i := first; i < first+n; i++ {
		records = append(records, &kgo.Record{Topic: "in", Partition: partition, Key: []byte(key(i)), Value: []byte(strconv.Itoa(i)),
			Headers: []kgo.RecordHeader{{Key: headerSpecVersion, Value: specVersion}}})
	}
	if err := b.client.ProduceSync(b.t.Context(), records...).FirstErr(); err != nil {
		b.t.Fatal(err)
	}
}

// committed is the group's offset in a partition; -1: it has none.
func (b *sourceBroker) committed(partition int32) int64 {
	b.t.Helper()
	offsets, err := kadm.NewClient(b.client).FetchOffsets(b.t.Context(), "test")
	if err != nil {
		return -1
	}
	if o, some := offsets.Lookup("in", partition); some && o.Err == nil {
		return o.At
	}
	return -1
}

// source starts a source; its messages have up to two records.
func (b *sourceBroker) source(p SourcePipeline, change func(*SourceConfig, *SourceParts)) (*Source, *testLog) {
	b.t.Helper()
	cfg, log := testConfig(b.t), &testLog{}
	cfg.Brokers = []string{"localhost:9092"}
	source := &SourceConfig{Topics: []string{"in"}, OnRefused: RefusedIsSkipped}
	parts := SourceParts{Pipeline: p, MaxBatchEvents: 2, DeliveryTimeout: time.Minute, Log: log, dial: b.network.DialContext}
	if change != nil {
		change(source, &parts)
	}
	s, err := NewSource(source, cfg, parts)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(s.Close)
	return s, log
}

func oneKey(int) string { return "k" }

// someCommits gives the source the time for some commits that must not happen.
func (b *sourceBroker) someCommits() {
	time.Sleep(5 * testConfig(b.t).CommitInterval) // there is nothing to wait for: nothing is to happen
}

// TestCommitsFollowOutcomes: with the outcomes of later records known, the offset stays in front of the first one without.
func TestCommitsFollowOutcomes(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	b.write(0, 0, 10, oneKey)
	p := newHeldPipeline()
	b.source(p, nil)
	var messages []*stages.Message
	for i := range 5 {
		m, values := p.next(t)
		if want := fmt.Sprintf("%d %d", 2*i, 2*i+1); values != want {
			t.Fatalf("message %d has %s", i, values)
		}
		messages = append(messages, m)
	}
	p.answer(messages[4])
	p.answer(messages[1])
	b.someCommits()
	if n := b.committed(0); n != -1 {
		t.Fatalf("%d is committed; the first record has no outcome", n)
	}
	p.answer(messages[0])
	eventually(t, "4 is committed", func() bool { return b.committed(0) == 4 })
	b.someCommits()
	if n := b.committed(0); n != 4 {
		t.Fatalf("%d is committed; record 4 has no outcome", n)
	}
	p.answer(messages[3])
	p.answer(messages[2])
	eventually(t, "10 is committed", func() bool { return b.committed(0) == 10 })
}

var (
	unknown   = stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown, RetryAfter: time.Millisecond}
	acked     = stages.Verdict{Outcome: stages.Acknowledged}
	away      = stages.Verdict{Outcome: stages.Refused, Reason: stages.KafkaUnavailable, RetryAfter: time.Millisecond}
	notAnyHow = stages.Verdict{Outcome: stages.Refused, Reason: stages.InvalidEvent}
)

// TestFailuresAreSentAgain: from the first failure on, in order, when everything in flight has its outcome; later
// records of its key, too. What no resend can help is not sent again.
func TestFailuresAreSentAgain(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	b.write(0, 0, 8, func(i int) string { return fmt.Sprint("k", i%2) })
	p := newHeldPipeline()
	_, log := b.source(p, nil)
	var messages []*stages.Message
	for range 4 {
		m, _ := p.next(t)
		messages = append(messages, m)
	}
	p.answer(messages[0], acked, unknown)   // 0 1
	p.answer(messages[1], acked, notAnyHow) // 2 3
	p.answer(messages[2], away, acked)      // 4 5
	select {
	case m := <-p.messages:
		t.Fatalf("%d records are sent while others are in flight", m.Events())
	case <-time.After(200 * time.Millisecond):
	}
	if p.answer(messages[3], acked); b.committed(0) > 1 { // 6 7
		t.Fatalf("%d is committed", b.committed(0))
	}
	var again []string
	for len(again) < 5 {
		m, values := p.next(t)
		again = append(again, strings.Fields(values)...)
		p.answer(m)
	}
	if want := "1 4 5 6 7"; strings.Join(again, " ") != want {
		t.Errorf("sent again: %v, want %s", again, want)
	}
	eventually(t, "8 is committed", func() bool { return b.committed(0) == 8 })
	if !log.has("are sent again") || !log.has("is skipped") {
		t.Errorf("log:\n%s", log)
	}
}

// TestDeadlinesEndTheWait: a message without an outcome is unknown after DELIVERY_TIMEOUT, and is sent again.
func TestDeadlinesEndTheWait(t *testing.T) {
	b := newSourceBroker(t, 1)
	b.write(0, 0, 1, oneKey)
	p := newHeldPipeline()
	s, _ := b.source(p, func(_ *SourceConfig, parts *SourceParts) { parts.DeliveryTimeout = 50 * time.Millisecond })
	p.next(t)
	m, values := p.next(t)
	if values != "0" || s.metrics.again.Load() != 1 {
		t.Errorf("%s, %d sent again", values, s.metrics.again.Load())
	}
	p.answer(m)
	eventually(t, "1 is committed", func() bool { return b.committed(0) == 1 })
}

// TestTheCutoffEndsTheWait: at the hard end of a drain nothing waits for outcomes.
func TestTheCutoffEndsTheWait(t *testing.T) {
	b := newSourceBroker(t, 1)
	b.write(0, 0, 1, oneKey)
	p := newHeldPipeline()
	s, _ := b.source(p, nil)
	m, _ := p.next(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); err == nil {
		t.Error("drained with a record in flight")
	}
	close(p.cutoff)
	eventually(t, "the record has an outcome", m.Answered)
	s.Close()
	if n := b.committed(0); n != -1 {
		t.Errorf("%d is committed", n)
	}
}

// TestDrainCommits: what was sent gets its outcome, its offset is committed, and the group is left: another source has
// the partition at once, not after the session timeout.
func TestDrainCommits(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	b.write(0, 0, 6, oneKey)
	p := newHeldPipeline()
	first, _ := b.source(p, nil)
	var messages []*stages.Message
	for range 3 {
		m, _ := p.next(t)
		messages = append(messages, m)
	}
	drained := make(chan error, 1)
	go func() { drained <- first.Drain(t.Context()) }()
	for _, m := range messages[:2] {
		p.answer(m)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a message in flight: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	p.answer(messages[2], acked, away)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if n := b.committed(0); n != 5 {
		t.Errorf("%d is committed, want 5", n)
	}
	began, second := time.Now(), newHeldPipeline()
	b.source(second, nil)
	if _, values := second.next(t); values != "5" {
		t.Errorf("the next source begins with %s", values)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

// TestRevokedOutcomesAreAwaited: a partition goes to another source when its outcomes are known and committed.
func TestRevokedOutcomesAreAwaited(t *testing.T) {
	t.Parallel()
	const partitions = 2
	b := newSourceBroker(t, partitions)
	for id := range int32(partitions) {
		b.write(id, 0, 2, oneKey)
	}
	p := newHeldPipeline()
	first, _ := b.source(p, nil)
	byPartition := map[int32]*stages.Message{}
	for range partitions {
		m, _ := p.next(t)
		byPartition[m.Records()[0].Partition] = m
	}
	second := newHeldPipeline()
	b.source(second, nil)
	var going int32 = -1
	eventually(t, "a partition is being revoked", func() bool {
		for _, part := range first.all() {
			if part.ctx.Err() != nil {
				going = part.id
			}
		}
		return going >= 0
	})
	b.write(going, 2, 1, oneKey)
	select {
	case m := <-second.messages:
		t.Fatalf("record %s is read twice", m.Records()[0].Value)
	case <-time.After(200 * time.Millisecond):
	}
	p.answer(byPartition[going])
	m, values := second.next(t)
	if values != "2" || m.Records()[0].Partition != going || b.committed(going) != 2 {
		t.Errorf("the second source begins with %s of partition %d, want 2 of %d; committed %d", values, m.Records()[0].Partition, going, b.committed(going))
	}
	p.answer(byPartition[1-going])
	second.answer(m)
	eventually(t, "everything is committed", func() bool { return b.committed(going) == 3 && b.committed(1-going) == 2 })
}

// TestLostPartitionsAreDropped: a member that the group has forgotten reads on from what was committed, and the outcomes
// of what it had sent before move nothing.
func TestLostPartitionsAreDropped(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	b.write(0, 0, 4, oneKey)
	p := newHeldPipeline()
	s, log := b.source(p, nil)
	before, _ := p.next(t)
	p.next(t)
	b.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Err: kerr.UnknownMemberID})
	again, values := p.next(t)
	if values != "0 1" || !log.has("source partitions lost") {
		t.Fatalf("%s; log:\n%s", values, log)
	}
	p.answer(before)
	b.someCommits()
	if n := b.committed(0); n != -1 {
		t.Errorf("%d is committed for a partition that was lost", n)
	}
	last, _ := p.next(t)
	p.answer(again)
	p.answer(last)
	eventually(t, "4 is committed", func() bool { return b.committed(0) == 4 })
	if n := s.metrics.lost.Load(); n != 1 {
		t.Errorf("%d losses are counted", n)
	}
}

// TestALetterThatIsNotTakenStops: a refused record whose dead letter is refused, too, is not lost.
func TestALetterThatIsNotTakenStops(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	b.write(0, 0, 2, oneKey)
	p := newHeldPipeline()
	s, log := b.source(p, func(c *SourceConfig, parts *SourceParts) { c.OnRefused, parts.MaxBatchEvents = RefusedToDeadLetter, 1 })
	first, _ := p.next(t)
	second, _ := p.next(t)
	p.answer(first, notAnyHow)
	letter, values := p.next(t)
	if letter.Events() != 1 || values != "0" {
		t.Fatalf("the letter is %s", values)
	}
	p.answer(second)
	p.answer(letter, notAnyHow)
	eventually(t, "the partition stops", func() bool { return len(s.Warnings()) == 1 })
	b.someCommits()
	if n := b.committed(0); n != -1 || !log.has("cannot be kept in KAFKA_DLQ_TOPIC") {
		t.Errorf("committed %d, log:\n%s", n, log)
	}
	var text strings.Builder
	if s.WriteMetrics(&text); !strings.Contains(text.String(), "gateway_source_stopped_partitions 1\n") ||
		!strings.Contains(text.String(), `gateway_source_refused_total{then="stop"} 1`) {
		t.Errorf("metrics:\n%s", &text)
	}
	if w := s.Warnings()[0]; !slices.Contains([]string{"source partition in/0 at offset 0 is stopped: the event breaks a rule of the API"}, w) {
		t.Errorf("%s", w)
	}
}

// TestDeletedRecordsAreNoticed: what retention has taken before it was read is logged and counted, and reading goes on.
func TestDeletedRecordsAreNoticed(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	b.write(0, 0, 10, oneKey)
	p := newHeldPipeline()
	s, _ := b.source(p, nil)
	m, _ := p.next(t)
	p.answer(m)
	eventually(t, "2 is committed", func() bool { return b.committed(0) == 2 })
	s.Close()
	var at kadm.Offsets
	at.Add(kadm.Offset{Topic: "in", At: 7})
	if _, err := kadm.NewClient(b.client).DeleteRecords(t.Context(), at); err != nil {
		t.Fatal(err)
	}
	p = newHeldPipeline()
	s, log := b.source(p, nil)
	if _, values := p.next(t); values != "7 8" || s.metrics.dataLoss.Load() != 1 || !log.has("deleted before they were read") {
		t.Errorf("begins with %s, log:\n%s", values, log)
	}
}

// TestEndsOfTransactionsAreCommitted: what was rolled back is not read, and the offset comes to the end of the partition.
func TestEndsOfTransactionsAreCommitted(t *testing.T) {
	b := newSourceBroker(t, 1)
	writer, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.network.DialContext), kgo.TransactionalID("writer"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	p := newHeldPipeline()
	s, _ := b.source(p, nil)
	for i, commit := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		if err := writer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		record := &kgo.Record{Topic: "in", Value: []byte(strconv.Itoa(i)), Headers: []kgo.RecordHeader{{Key: headerSpecVersion, Value: specVersion}}}
		if err := writer.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := writer.EndTransaction(t.Context(), commit); err != nil {
			t.Fatal(err)
		}
	}
	m, values := p.next(t)
	if values != "1" {
		t.Errorf("%s is read", values)
	}
	p.answer(m)
	eventually(t, "4 is committed", func() bool { return b.committed(0) == 4 })
	eventually(t, "there is no lag", func() bool {
		var text strings.Builder
		s.WriteMetrics(&text)
		return strings.Contains(text.String(), `gateway_source_lag_records{topic="in",partition="0"} 0`)
	})
}

// TestWhatIsWrittenAfterATruncationIsRead: an unclean election has cut a partition back behind what was read and committed
// of it. What the new leader has written with the same offsets is sent, and the committed offset falls back in front of it.
func TestWhatIsWrittenAfterATruncationIsRead(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	b.write(0, 0, 10, oneKey)
	p := newHeldPipeline()
	s, log := b.source(p, nil)
	var messages []*stages.Message
	for range 5 {
		m, _ := p.next(t)
		messages = append(messages, m)
	}
	for _, m := range messages[:4] {
		p.answer(m)
	}
	eventually(t, "8 is committed", func() bool { return b.committed(0) == 8 })
	fetched := func(epoch int32, first, n int, what string) {
		var records []*kgo.Record
		for i := first; i < first+n; i++ {
			records = append(records, &kgo.Record{Topic: "in", Offset: int64(i), LeaderEpoch: epoch, Key: []byte("k"), Value: []byte(what + strconv.Itoa(i)),
				Headers: []kgo.RecordHeader{{Key: headerSpecVersion, Value: specVersion}}})
		}
		s.take(kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "in",
			Partitions: []kgo.FetchPartition{{Records: records, HighWatermark: int64(first + n)}}}}}})
	}
	const newer = 1000
	fetched(newer, 5, 2, "new")
	if n, known := s.metrics.truncations.Load(), s.metrics.known.Load(); n != 1 || known != 0 || !log.has("was cut back in Kafka") {
		t.Errorf("%d truncations, %d records left out, log:\n%s", n, known, log)
	}
	eventually(t, "5 is committed", func() bool { return b.committed(0) == 5 })
	p.answer(messages[4]) // 8 and 9 of the old log
	b.someCommits()
	if n := b.committed(0); n != 5 {
		t.Errorf("%d is committed; record 5 of the new log has no outcome", n)
	}
	m, values := p.next(t)
	if values != "new5 new6" {
		t.Errorf("%s is sent", values)
	}
	p.answer(m)
	eventually(t, "7 is committed", func() bool { return b.committed(0) == 7 })
	if fetched(newer, 5, 2, "new"); s.metrics.known.Load() != 2 || s.metrics.truncations.Load() != 1 {
		t.Errorf("%d known records, %d truncations", s.metrics.known.Load(), s.metrics.truncations.Load())
	}
}

// TestPartitionsAreRemovedOnce: the watcher and franz-go's callbacks may find the same partition at the same time.
func TestPartitionsAreRemovedOnce(t *testing.T) {
	b := newSourceBroker(t, 1)
	b.write(0, 0, 2, oneKey)
	p := newHeldPipeline()
	s, _ := b.source(p, nil)
	held, _ := p.next(t) // in flight, so that it stays among those that have left
	some := map[string][]int32{"in": {0}}
	partition := s.find(some)[0]
	// Both are let in when both have found it: leave waits for the partition's mu.
	partition.mu.Lock()
	var removing sync.WaitGroup
	for range 2 {
		removing.Go(func() { s.remove(some) })
	}
	eventually(t, "both wait", func() bool { return strings.Count(stacks(), "(*sourcePartition).leave") == 2 })
	partition.mu.Unlock()
	removing.Wait()
	s.mu.Lock()
	left := len(s.left)
	s.mu.Unlock()
	if n := s.assigned.Load(); n != 0 || left != 1 {
		t.Errorf("%d partitions are assigned, %d have left", n, left)
	}
	p.answer(held)
}

func stacks() string {
	text := make([]byte, 1<<20)
	return string(text[:runtime.Stack(text, true)])
}

// TestARejectedBatchIsTakenApart: Kafka rejects a batch for one record in it. Sent in the same batch again, its neighbours
// would be rejected for ever: each is sent by itself, with nothing of the partition beside it, until the one is found.
func TestARejectedBatchIsTakenApart(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 1)
	const records, bad = 10, "3"
	b.write(0, 0, records, oneKey)
	p := newHeldPipeline()
	s, log := b.source(p, func(_ *SourceConfig, parts *SourceParts) { parts.MaxBatchEvents = 4 })
	batch := stages.Verdict{Outcome: stages.Refused, Reason: stages.BatchRejected, RetryAfter: time.Millisecond}
	record := stages.Verdict{Outcome: stages.Refused, Reason: stages.RecordRejected}
	stored, found := map[string]bool{}, false
	for sent := 0; len(stored) < records-1 || !found; sent++ {
		if sent > 5*records {
			t.Fatalf("%d messages, and only %v are stored", sent, stored)
		}
		m, values := p.next(t)
		switch {
		case !slices.Contains(strings.Fields(values), bad):
			p.answer(m)
			for value := range strings.FieldsSeq(values) {
				stored[value] = true
			}
		case m.Events() > 1:
			p.answer(m, batch)
		default:
			select {
			case other := <-p.messages:
				t.Fatalf("record %s is sent beside the one that is to be found", other.Records()[0].Value)
			case <-time.After(50 * time.Millisecond): // there is nothing to wait for: nothing is to happen
			}
			p.answer(m, record)
			found = true
		}
	}
	eventually(t, "everything is committed", func() bool {
		for {
			select {
			case m := <-p.messages: // of the key, behind one that failed
				p.answer(m)
			default:
				return b.committed(0) == records
			}
		}
	})
	if n := s.metrics.refused[RefusedIsSkipped].Load(); n != 1 || !log.has("is skipped") {
		t.Errorf("%d records are skipped; log:\n%s", n, log)
	}
}

// TestWhatTheOperatorMendsIsAwaited: a record, or its dead letter, that is refused because the topic is gone or the gateway has
// no right to write to it, is sent again until somebody has acted, whatever KAFKA_SOURCE_ON_REFUSED says.
func TestWhatTheOperatorMendsIsAwaited(t *testing.T) {
	t.Parallel()
	gone := stages.Verdict{Outcome: stages.Refused, Reason: stages.TopicNotFound, Stage: stages.AtTransform}
	forbidden := stages.Verdict{Outcome: stages.Refused, Reason: stages.KafkaUnauthorized, Stage: stages.AtProduce}
	for _, then := range []OnRefused{RefusedIsSkipped, RefusedStops, RefusedToDeadLetter} {
		t.Run(string(then), func(t *testing.T) {
			t.Parallel()
			b := newSourceBroker(t, 1)
			b.write(0, 0, 2, oneKey)
			p := newHeldPipeline()
			s, log := b.source(p, func(c *SourceConfig, _ *SourceParts) { c.OnRefused = then })
			first, _ := p.next(t)
			p.answer(first, gone)
			second, values := p.next(t)
			if values != "0 1" {
				t.Fatalf("sent again: %s", values)
			}
			p.answer(second, acked, forbidden)
			last, values := p.next(t)
			if values != "1" {
				t.Fatalf("sent again: %s", values)
			}
			if then == RefusedToDeadLetter { // it is refused, and then its letter is, for a while
				p.answer(last, notAnyHow)
				letter, _ := p.next(t)
				p.answer(letter, gone)
				last, _ = p.next(t)
			}
			p.answer(last)
			eventually(t, "2 is committed", func() bool { return b.committed(0) == 2 })
			if len(s.Warnings()) > 0 || s.metrics.refused[then].Load() > 0 || !log.has("are sent again") {
				t.Errorf("%v, %d refused; log:\n%s", s.Warnings(), s.metrics.refused[then].Load(), log)
			}
		})
	}
}
