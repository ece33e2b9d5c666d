package kafka

// Reading back: what serves subscriptions and replays.
//
//	Subscribe --> follow --> hub <-- tail (one client for all live subscribers)
//	                 `-----> own reader, while it is behind the hub
//	          `-> member of a consumer group
//	Replay -----> own reader
//
// Everything runs on its caller's goroutine, except the tail (tail.go) and
// franz-go's own. All readings end with Close.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// readFetchBytes bounds what one broker sends a reader at once, readPartitionBytes a partition's part of it; a
	// record that is larger comes alone. franz-go keeps one such answer for each broker, decompressed (fetch_budget.go).
	readFetchBytes     = 1 << 20
	readPartitionBytes = 512 << 10
	// readFetchWait is how long a broker may wait for new records before it answers a fetch without any.
	readFetchWait = 500 * time.Millisecond
	// readBatchBytes bounds a decompressed batch: as much as the largest topic allows, and no more, so that a small
	// batch that becomes gigabytes is an error of its partition.
	readBatchBytes = 128 << 20
	// slotPatience is how long a subscriber that has fallen behind waits for others' readers to finish.
	slotPatience = 10 * time.Second
)

// ReaderParts is what Readers work with; built by main.
type ReaderParts struct {
	// Topic is the one that is read; its number of partitions follows Kafka's.
	Topic *stages.Topic
	// Log may be nil.
	Log Logger
	// Embedded is the broker to use instead of KAFKA_BROKERS; nil when those are set.
	Embedded *Embedded
	// DeliveryTimeout bounds how much later than received an event can be stored (DELIVERY_TIMEOUT).
	DeliveryTimeout time.Duration
	// SendTimeout bounds how long Deliver blocks in one write (SEND_TIMEOUT).
	SendTimeout time.Duration
}

// Readers implements stages.Reading. Safe for concurrent use.
type Readers struct {
	cfg     *Config
	reading *ReadingConfig
	parts   ReaderParts
	// client asks for offsets and metadata; it does not consume.
	client *kgo.Client
	admin  *kadm.Client
	// batches decompresses for all of them.
	batches kgo.Decompressor
	hub     *hub
	slots   *readerSlots
	turns   *turns
	// closing ends every reading.
	closing context.Context
	close   context.CancelFunc
	// running are the calls and the tail.
	running sync.WaitGroup
	metrics readMetrics
	// handOver and topicEvery are the constants, except in tests.
	handOver, topicEvery time.Duration
	// holes is for all who come upon one.
	holes *holes
	// identity is the topic's, as cursors have it; nil until Kafka has told.
	identity atomic.Pointer[identity]
}

// NewReaders opens the reading side. It does not wait for Kafka.
func NewReaders(cfg *Config, reading *ReadingConfig, parts ReaderParts) (*Readers, error) {
	if parts.Log == nil {
		parts.Log = discardLog{}
	}
	r := &Readers{cfg: cfg, reading: reading, parts: parts, slots: newReaderSlots(reading.SubscribeMaxReaders),
		turns: newTurns(turnsAtOnce()), handOver: handOver, topicEvery: topicEvery}
	batches, err := batchDecompressor(readBatchBytes)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(r.options()...)
	if err != nil {
		return nil, fmt.Errorf("kafka client for reading: %w", err)
	}
	r.batches = batches
	r.client, r.admin = client, kadm.NewClient(client)
	r.holes = &holes{client: client, admin: r.admin, topic: parts.Topic.Name, batches: batches, committed: true}
	r.closing, r.close = context.WithCancel(context.Background())
	r.hub = newHub(r, int(reading.SubscribeBuffer))
	return r, nil
}

// Close ends everything that is being read, and waits for it.
func (r *Readers) Close() {
	r.close()
	r.running.Wait()
	r.client.Close()
}

// enter notes a call; its context ends with Close. Call leave when done.
func (r *Readers) enter(ctx context.Context) (within context.Context, leave func(), err error) {
	if r.closing.Err() != nil {
		return nil, nil, refuse(stages.Draining, "")
	}
	r.running.Add(1)
	within, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(r.closing, func() { cancel(refuse(stages.Draining, "")) })
	return within, func() { stop(); cancel(nil); r.running.Done() }, nil
}

// options are those of every client that reads.
func (r *Readers) options() []kgo.Opt {
	seeds, dial := r.cfg.Brokers, dialFunc(nil)
	if e := r.parts.Embedded; e != nil {
		seeds, dial = e.Seeds(), e.Dial
	}
	return append([]kgo.Opt{
		kgo.SeedBrokers(seeds...),
		kgo.ClientID(r.cfg.GroupID),
		kgo.WithLogger(&clientLog{log: r.parts.Log, now: time.Now}),
		kgo.DisableClientMetrics(),
		kgo.DialTimeout(r.cfg.DialTimeout),
		kgo.RequestTimeoutOverhead(r.cfg.ReadTimeout),
		// Retries are bounded by time alone.
		kgo.RequestRetries(math.MaxInt),
		kgo.RetryTimeout(r.cfg.ReadTimeout),
		kgo.MetadataMaxAge(metadataMaxAge),
		kgo.MetadataMinAge(metadataMinAge),
	}, dialOptions(dial)...)
}

// newReader opens a client of its own for one reading, and takes one of SUBSCRIBE_MAX_READERS for it; patience is how
// long it waits for one. release closes the client.
func (r *Readers) newReader(ctx context.Context, who readerFor, patience time.Duration, opts ...kgo.Opt) (client *kgo.Client, release func(), err error) {
	if err := r.slots.take(ctx, who, patience); err != nil {
		return nil, nil, err
	}
	return r.openReader(who, opts...)
}

// openReader is newReader for who has taken the slot; release gives it back.
func (r *Readers) openReader(who readerFor, opts ...kgo.Opt) (client *kgo.Client, release func(), err error) {
	client, err = kgo.NewClient(append(append(r.options(), r.consuming()...), opts...)...)
	if err != nil {
		r.slots.give(who)
		return nil, nil, fmt.Errorf("kafka client for reading: %w", err)
	}
	r.metrics.readers.Add(1)
	return client, func() {
		client.Close()
		r.metrics.readers.Add(-1)
		r.slots.give(who)
	}, nil
}

// consuming are the options of every client that consumes.
func (r *Readers) consuming() []kgo.Opt {
	return append(fetchBounds(r.batches, readFetchBytes, readPartitionBytes),
		kgo.FetchMaxWait(readFetchWait),
		// Records of transactions that were given up were never stored, for whoever reads events.
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The last offset of a partition may be a control record: without them, a reader never arrives.
		kgo.KeepControlRecords(),
		// By default franz-go goes on somewhere else when the offset is gone. We end the reading and say so.
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
	)
}

// refuse is an error with a reason for the one who asked.
func refuse(reason stages.Reason, message string) *stages.Refusal {
	if message == "" {
		return &stages.Refusal{Reason: reason}
	}
	return &stages.Refusal{Reason: reason, Detail: &stages.Detail{Message: message}}
}

// kafkaFailure is what a reader hears of an error of Kafka or of franz-go.
func kafkaFailure(topic string, err error) error {
	if _, ok := errors.AsType[*stages.Refusal](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	reason := readReason(err)
	return refuse(reason, fmt.Sprintf("reading topic %s: %v", topic, err))
}
