package kafka

// Kafka as a source: the records of KAFKA_SOURCE_TOPICS enter the pipeline at
// decode, and their offsets are committed when their outcomes are known.
//
//	Kafka --fetch--> poller --> partition's tracker --feeder--> pipeline
//	  ^                              ^                             |
//	  +--- commit every interval ----+---------- settler <-- Completed
//
// Goroutines: the poller, the settler and the watcher (source_watch.go), one
// each; a feeder for each assigned partition (source_partition.go), which alone
// waits for rate limits and memory; franz-go's, of which one runs the callbacks
// of the group (source_group.go). All are ended by Close.
//
// Memory: fetched records are bounded by sourceBuffer for all partitions
// together; a partition with its share in hand is paused. The poller never
// waits, so that a rebalance never waits for the pipeline.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// SourcePipeline is what the source needs of the pipeline.
type SourcePipeline interface {
	NewClient(name string) *stages.Client
	Entry() (submit func(*stages.Message))
	Pace(ctx context.Context, client *stages.Client, n int) (allowed int, err error)
	ReceiveRecords(client *stages.Client, records []stages.Record, o stages.RecordOptions) *stages.Message
	Admit(ctx context.Context, m *stages.Message, wait time.Duration) *stages.Verdict
	Reject(m *stages.Message, v stages.Verdict)
	Expire(m *stages.Message, reason stages.Reason)
	Release(m *stages.Message)
	Cutoff() <-chan struct{}
}

// SourceParts is what the source works with; built by main.
type SourceParts struct {
	Pipeline SourcePipeline
	// MaxBatchEvents is MAX_BATCH_EVENTS, DeliveryTimeout is DELIVERY_TIMEOUT.
	MaxBatchEvents  int
	DeliveryTimeout time.Duration
	// Embedded is the broker to use instead of KAFKA_BROKERS; nil when those are set.
	Embedded *Embedded
	// Log may be nil.
	Log Logger

	// dial replaces TCP in tests.
	dial dialFunc
}

const (
	// sourceBuffer is how many bytes of records are held between Kafka and their outcomes, all partitions together,
	// beside what franz-go holds (fetchBytes a broker, and what they become: fetch_budget.go). leastShare and mostShare bound one partition's part of it.
	sourceBuffer = 32 << 20
	leastShare   = 128 << 10
	mostShare    = 4 << 20
	// sourcePoll is how many records are taken over at once.
	sourcePoll = 2000
	// maxDecompressed bounds what one fetched batch may grow to; franz-go's default is 1 GiB.
	maxDecompressed = 128 << 20
	// expireTick is how late a deadline may be noticed.
	expireTick = 100 * time.Millisecond
)

// Source reads the source topics. Safe for concurrent use.
type Source struct {
	cfg    *SourceConfig
	kafka  *Config
	parts  SourceParts
	client *kgo.Client
	// clients are the topics as the pipeline's clients; read-only.
	clients map[string]*stages.Client
	// ctx ends when nothing more is to be sent, polling when nothing more is to be fetched.
	ctx     context.Context
	stop    context.CancelFunc
	polling context.CancelFunc
	// alive is client's context, kill ends it.
	alive   context.Context
	kill    context.CancelFunc
	running sync.WaitGroup
	feeders sync.WaitGroup
	// begun is closed when client is set: franz-go may call back before.
	begun, closed chan struct{}
	once          sync.Once

	mu         sync.Mutex // guards the following
	partitions map[string]map[int32]*sourcePartition
	// left are partitions that went while messages of theirs were in flight.
	left     []*sourcePartition
	assigned atomic.Int32 // written with mu held

	// landed are messages with their outcomes, for the settler.
	landedMu sync.Mutex
	landed   []*flight
	// kick wakes the settler; capacity 1.
	kick chan struct{}
	// flying is the number of messages in the pipeline.
	flying atomic.Int64

	metrics sourceMetrics
	// skipped, troubled and failed are lines that would repeat.
	skipped, troubled, failed *limitedLog
	topics                    topicWatch
	// ids are the topics' newest (kadm.TopicID); the watcher writes them.
	ids sync.Map
	// strangers are topics of which a broker does not know the id that franz-go asks for.
	strangers sync.Map
	// anew is when a topic was found to be another one of the same name.
	anew sync.Map
}

// NewSource starts reading. It does not wait for Kafka.
func NewSource(cfg *SourceConfig, k *Config, parts SourceParts) (*Source, error) {
	if parts.Log == nil {
		parts.Log = discardLog{}
	}
	s := &Source{cfg: cfg, kafka: k, parts: parts, clients: map[string]*stages.Client{}, closed: make(chan struct{}), begun: make(chan struct{}),
		partitions: map[string]map[int32]*sourcePartition{}, kick: make(chan struct{}, 1)}
	s.metrics.refused = newRefusals()
	s.skipped, s.troubled, s.failed = newLimitedLog(parts.Log, LevelWarn), newLimitedLog(parts.Log, LevelWarn), newLimitedLog(parts.Log, LevelWarn)
	for _, topic := range cfg.Topics {
		s.clients[topic] = parts.Pipeline.NewClient("source " + topic)
	}
	batches, err := batchDecompressor(maxDecompressed)
	if err != nil {
		return nil, err
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.alive, s.kill = context.WithCancel(context.Background())
	poll, stopPolling := context.WithCancel(context.Background())
	s.polling = stopPolling
	client, err := kgo.NewClient(append(s.options(), fetchBounds(batches, fetchBytes, fetchPartitionBytes)...)...)
	if err != nil {
		s.stop()
		s.kill()
		stopPolling()
		return nil, fmt.Errorf("kafka client of the source: %w", err)
	}
	s.client = client
	close(s.begun)
	s.running.Go(func() { s.poll(poll) })
	s.running.Go(s.settler)
	s.running.Go(func() { s.watch(poll) })
	return s, nil
}

// connection is how every client of the source comes to the brokers.
func (s *Source) connection() []kgo.Opt {
	seeds, dial := s.kafka.Brokers, s.parts.dial
	if s.parts.Embedded != nil {
		seeds, dial = s.parts.Embedded.Seeds(), s.parts.Embedded.Dial
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: s.kafka.DialTimeout}).DialContext
	}
	return []kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.Dialer(dial),
		kgo.ClientID(s.kafka.GroupID),
		kgo.WithLogger(&clientLog{log: s.parts.Log, now: time.Now}),
		kgo.DisableClientMetrics(),
		kgo.DialTimeout(s.kafka.DialTimeout),
		kgo.RequestTimeoutOverhead(s.kafka.ReadTimeout),
		kgo.MetadataMaxAge(metadataMaxAge),
		kgo.MetadataMinAge(metadataMinAge),
	}
}

// options is the table of the consuming client.
func (s *Source) options() []kgo.Opt {
	return append(s.connection(),
		kgo.WithContext(s.alive),
		kgo.ConsumerGroup(s.kafka.GroupID),
		kgo.ConsumeTopics(s.cfg.Topics...),
		// What a new instance does not need stays where it is, and goes on meanwhile.
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(s.kafka.SessionTimeout),
		kgo.HeartbeatInterval(max(s.kafka.SessionTimeout/3, 100*time.Millisecond)),
		// Only what was marked is committed, and marks follow outcomes.
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(s.kafka.CommitInterval),
		kgo.AutoCommitCallback(s.committed),
		// Between a poll and the hand-over of its records no partition changes hands: records would be given to a
		// partition that was lost, or lost and got again from an earlier offset.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(s.onAssigned),
		kgo.OnPartitionsRevoked(s.onRevoked),
		kgo.OnPartitionsLost(s.onLost),
		// A new group begins at the oldest record: a source is a queue, and nobody has had its records yet.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AdjustFetchOffsetsFn(s.startOffsets),
		// What a transaction has taken back was never sent.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The end of a transaction is a record, too: its offset is to be committed.
		kgo.KeepControlRecords(),
		// A fetch that went out while a partition was paused must not hold up the one that takes it in again.
		kgo.FetchMaxWait(250*time.Millisecond),
		// Else nothing tells that a topic was deleted; see errorPause.
		kgo.KeepRetryableFetchErrors(),
	)
}

// poll is the poller's goroutine.
func (s *Source) poll(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := s.client.PollRecords(ctx, sourcePoll)
		if fetches.IsClientClosed() {
			return
		}
		failed := false
		if ctx.Err() == nil {
			fetches.EachError(func(topic string, partition int32, err error) {
				if errors.Is(err, errAnswerFull) {
					return
				}
				failed = true
				s.fetchFailed(topic, partition, err)
			})
			s.take(fetches)
		}
		s.client.AllowRebalance()
		if failed && fetches.NumRecords() == 0 {
			pause(ctx, errorPause)
		}
	}
}

// errorPause is the wait after answers that were only errors: brokers give those without waiting for records.
const errorPause = 250 * time.Millisecond

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// take hands fetched records over to their partitions.
func (s *Source) take(fetches kgo.Fetches) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		if len(f.Records) == 0 {
			return
		}
		p := s.partitions[f.Topic][f.Partition]
		if p == nil { // whoever has it now reads them from the offset that was committed
			s.parts.Log.Log(LevelError, "records of a source partition that is not assigned were left out", "topic", f.Topic, "partition", f.Partition)
			return
		}
		p.take(&f.FetchPartition)
	})
}

// take adds fetched records.
func (p *sourcePartition) take(f *kgo.FetchPartition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.missed(f)
	for _, r := range f.Records {
		if last, epoch := p.track.last, p.track.lastEpoch; p.track.truncate(r.Offset, r.LeaderEpoch) {
			p.truncated(r, last, epoch)
		}
		switch {
		case r.Attrs.IsControl():
			p.track.pass(r.Offset, r.LeaderEpoch)
		case p.track.add(recordFrom(r), r.LeaderEpoch):
			p.s.metrics.records.Add(1)
		default: // the same record once more: franz-go has gone back further than it had to
			p.s.metrics.known.Add(1)
		}
	}
	p.end = max(p.end, f.HighWatermark)
	p.progress()
	if p.track.bytes > p.s.share() {
		p.pause()
	}
	signal(p.wake)
}

// missed tells of records that were deleted before they were read. Called with mu held.
func (p *sourcePartition) missed(f *kgo.FetchPartition) {
	expected := p.expected
	if p.track.last >= 0 {
		expected = p.track.last + 1
	}
	first := f.Records[0].Offset
	if expected < 0 || first <= expected || f.LogStartOffset <= expected {
		return // in a compacted topic offsets have gaps behind its start, too
	}
	p.s.metrics.dataLoss.Add(1)
	p.s.parts.Log.Log(LevelError, "records of a source partition were deleted before they were read (retention); going on at what is left",
		"topic", p.topic, "partition", p.id, "from", expected, "to", f.LogStartOffset-1)
}

// truncated tells that Kafka has lost records that were read, and has others with their offsets: r is the first of them,
// last the newest that was read before, of another leader's epoch. Called with mu held.
func (p *sourcePartition) truncated(r *kgo.Record, last int64, epoch int32) {
	p.end = r.Offset // as it was known, it is the old log's
	p.s.metrics.truncations.Add(1)
	p.s.parts.Log.Log(LevelError, "a source partition was cut back in Kafka (unclean leader election): records that were read are gone from it; reading what was written since with the same offsets",
		"topic", p.topic, "partition", p.id, "from", r.Offset, "to", last, "epoch", r.LeaderEpoch, "epoch_before", epoch)
}

// recordFrom is a fetched record in the pipeline's form: views, no copies.
func recordFrom(r *kgo.Record) stages.Record {
	n := stages.Record{Key: r.Key, Value: r.Value, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset,
		// An attribute has the layout of a header; see record_headers.go.
		Headers: unsafe.Slice((*stages.Attribute)(unsafe.Pointer(unsafe.SliceData(r.Headers))), len(r.Headers))}
	if r.Timestamp.UnixMilli() >= 0 { // -1: it has none
		n.Timestamp = r.Timestamp
	}
	return n
}

// share is how many bytes one partition may have in hand.
func (s *Source) share() int {
	return min(max(sourceBuffer/max(int(s.assigned.Load()), 1), leastShare), mostShare)
}

// letters says which refusals the pipeline is to keep by itself.
func (s *Source) letters() stages.LetterPolicy {
	if s.cfg.OnRefused == RefusedToDeadLetter {
		return stages.AllLetters
	}
	return stages.NoLetters
}

// completed takes a message from the pipeline. Called in promises: it only queues.
func (s *Source) completed(f *flight) {
	s.landedMu.Lock()
	s.landed = append(s.landed, f)
	s.landedMu.Unlock()
	signal(s.kick)
}

// departed lets the settler watch over a deadline.
func (s *Source) departed() {
	if s.flying.Add(1) == 1 {
		signal(s.kick)
	}
}

// settler is the goroutine that takes outcomes over, and that ends the wait for those that do not come. Its timer runs
// only while something is in flight.
func (s *Source) settler() {
	timer := time.NewTimer(expireTick)
	defer timer.Stop()
	cutoff := s.parts.Pipeline.Cutoff()
	cut, armed := false, true
	for {
		s.settleLanded()
		if !armed && s.flying.Load() > 0 {
			timer.Reset(expireTick)
			armed = true
		}
		select {
		case <-s.kick:
		case <-timer.C:
			armed = false
			s.expire(time.Now(), cut)
		case <-cutoff:
			cut, cutoff = true, nil
			s.expire(time.Now(), cut)
		case <-s.closed:
			s.settleLanded()
			return
		}
	}
}

func (s *Source) settleLanded() {
	s.landedMu.Lock()
	landed := s.landed
	s.landed = nil
	s.landedMu.Unlock()
	for _, f := range landed {
		f.p.settle(f)
	}
}

// expire answers what is overdue; after the cutoff, everything.
func (s *Source) expire(now time.Time, cut bool) {
	var overdue []*flight
	for _, p := range s.all() {
		p.mu.Lock()
		for _, f := range p.flights {
			if cut || now.After(f.m.Deadline) {
				overdue = append(overdue, f)
			}
		}
		p.mu.Unlock()
	}
	reason := stages.NotSent
	if cut {
		reason = stages.Draining
	}
	for _, f := range overdue {
		s.parts.Pipeline.Expire(f.m, reason)
	}
}

// all are the assigned partitions, and those that were revoked with messages in flight.
func (s *Source) all() (all []*sourcePartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, partitions := range s.partitions {
		for _, p := range partitions {
			all = append(all, p)
		}
	}
	return append(all, s.orphans()...)
}

// Drain stops reading, waits until every record that was sent has its outcome, commits, and leaves the group; or ends
// with ctx. The gateway still serves meanwhile.
func (s *Source) Drain(ctx context.Context) error {
	s.polling()
	s.stop()
	for _, p := range s.all() {
		if !p.awaitQuiet(ctx) {
			return fmt.Errorf("source: records in flight have no outcome yet: %w", ctx.Err())
		}
	}
	s.leaveGroup(ctx)
	return nil
}

// leaveGroup commits what is marked and leaves. What does not work costs time or duplicates, but no record.
func (s *Source) leaveGroup(ctx context.Context) {
	asks, err := kgo.NewClient(s.connection()...)
	if err != nil {
		s.parts.Log.Log(LevelWarn, "the source cannot leave its consumer group", "error", err)
		return
	}
	defer asks.Close()
	d := departure{client: s.client, group: s.kafka.GroupID, asks: asks, kill: s.kill, same: func(topic string, id [16]byte) bool {
		known, some := s.ids.Load(topic)
		return some && known == kadm.TopicID(id)
	}}
	commit, cancel := context.WithTimeout(ctx, commitWait) // without Kafka, the rest of the drain needs its time
	defer cancel()
	if err := d.commit(commit); err != nil {
		s.metrics.commitErrors.Add(1)
		s.parts.Log.Log(LevelWarn, "the last offsets of the source could not be committed: its newest records are read twice", "error", err)
	}
	if err := d.leave(ctx); err != nil {
		s.parts.Log.Log(LevelWarn, "the source could not leave its consumer group, which notices after KAFKA_SESSION_TIMEOUT", "error", err)
	}
}

// Close ends the source. Drain first, or what is in flight is read again by whoever gets its partitions.
func (s *Source) Close() {
	s.once.Do(func() {
		s.polling()
		s.stop()
		// It would wait for as long as the group waits for others.
		late := time.AfterFunc(leavePatience, s.kill)
		s.client.CloseAllowingRebalance()
		late.Stop()
		s.kill()
		close(s.closed)
		s.running.Wait()
		s.feeders.Wait()
	})
}
