package kafka

// The dead-letter topic for those who look after it: what it holds, and how far
// a consumer group has come. Reading is in letters_read.go.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// LetterSource says where dead letters are.
type LetterSource struct {
	// Brokers are host:port of Kafka brokers.
	Brokers []string
	Topic   string
	// Group is the consumer group that Position and Commit are about.
	Group string
	// Timeout bounds the wait for each answer of Kafka; 100 ms or more.
	Timeout time.Duration
}

// Letters is an open dead-letter topic. Used by one goroutine at a time, but for Commit and Close.
type Letters struct {
	source LetterSource
	client *kgo.Client
	admin  *kadm.Client
	spans  []Span
	// id is that of the topic that has the spans.
	id    identity
	holes *holes
}

// Span is a range of offsets of one partition: from Start up to, without it, End.
type Span struct {
	Partition  int32
	Start, End int64
}

// OpenLetters finds the topic and notes where it ends at this moment.
func OpenLetters(ctx context.Context, source LetterSource) (*Letters, error) {
	l := &Letters{source: source}
	batches, err := batchDecompressor(maxDecompressed)
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(l.options()...)
	if err != nil {
		return nil, fmt.Errorf("brokers %s: %w", strings.Join(source.Brokers, ","), err)
	}
	l.client, l.admin = client, kadm.NewClient(client)
	l.holes = &holes{client: client, admin: l.admin, topic: source.Topic, batches: batches}
	if err := l.find(ctx); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// options are those of every client here.
func (l *Letters) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers(l.source.Brokers...),
		kgo.ClientID("gateway-dlq"),
		kgo.DisableClientMetrics(),
		kgo.DialTimeout(l.source.Timeout),
		// Also bounds the first request of a connection, which no context ends.
		kgo.RequestTimeoutOverhead(l.source.Timeout),
		// Retries are bounded by time alone.
		kgo.RequestRetries(math.MaxInt),
		kgo.RetryTimeout(l.source.Timeout),
		kgo.MetadataMinAge(metadataMinAge),
	}
}

// Close ends the client.
func (l *Letters) Close() { l.client.Close() }

// Spans are the offsets that the topic held when it was opened, of every partition, in the order of partitions.
func (l *Letters) Spans() []Span { return l.spans }

// find sets spans and id.
func (l *Letters) find(ctx context.Context) error {
	starts, err := l.offsets(ctx, l.admin.ListStartOffsets)
	if err != nil {
		return err
	}
	if err := l.identify(ctx); err != nil {
		return err
	}
	ends, err := l.offsets(ctx, l.admin.ListEndOffsets)
	if err != nil {
		return err
	}
	for partition, start := range starts {
		l.spans = append(l.spans, Span{Partition: partition, Start: start, End: max(start, ends[partition])})
	}
	slices.SortFunc(l.spans, func(a, b Span) int { return cmp.Compare(a.Partition, b.Partition) })
	return nil
}

func (l *Letters) identify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.source.Timeout)
	defer cancel()
	topic, err := describeTopic(ctx, l.client, l.source.Topic)
	if _, answered := errors.AsType[*kerr.Error](err); answered {
		return fmt.Errorf("topic %s: %w", l.source.Topic, err)
	}
	if err != nil {
		return l.unreachable(err)
	}
	l.id = identityOf(l.source.Topic, topic.TopicID)
	return nil
}

// clockSlack is how much older than its refusal the record of a letter may be: its time is that of receipt.
const clockSlack = maxTimeout

// Since are the Spans without what was refused before t, and perhaps some of that.
func (l *Letters) Since(ctx context.Context, t time.Time) ([]Span, error) {
	from := max(t.Add(-clockSlack).UnixMilli(), 0)
	starts, err := l.offsets(ctx, func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return l.admin.ListOffsetsAfterMilli(ctx, from, topics...)
	})
	if err != nil {
		return nil, err
	}
	spans := slices.Clone(l.spans)
	for i := range spans {
		s := &spans[i]
		s.Start = min(max(s.Start, starts[s.Partition]), s.End)
	}
	return spans, nil
}

// offsets asks for one offset of each partition.
func (l *Letters) offsets(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (map[int32]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.source.Timeout)
	defer cancel()
	listed, err := list(ctx, l.source.Topic)
	if err != nil {
		return nil, l.unreachable(err)
	}
	offsets := map[int32]int64{}
	for partition, o := range listed[l.source.Topic] {
		switch {
		case errors.Is(o.Err, kerr.UnknownTopicOrPartition):
			return nil, fmt.Errorf("there is no topic %s: the gateway creates it at its start when KAFKA_DLQ_TOPIC names it", l.source.Topic)
		case o.Err != nil:
			return nil, fmt.Errorf("topic %s, partition %d: %w", l.source.Topic, partition, o.Err)
		}
		offsets[partition] = o.Offset
	}
	return offsets, nil
}

// unreachable is the error of a request that no broker has answered.
func (l *Letters) unreachable(err error) error {
	var forbidden *kadm.AuthError
	if errors.As(err, &forbidden) {
		return fmt.Errorf("topic %s: %w", l.source.Topic, err)
	}
	brokers := strings.Join(l.source.Brokers, ",")
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no Kafka broker answers at %s within %v; KAFKA_BROKERS or --brokers says where it is", brokers, l.source.Timeout)
	}
	return fmt.Errorf("no Kafka broker answers at %s: %w; KAFKA_BROKERS or --brokers says where it is", brokers, err)
}

// Positions are what the group has committed, by partition.
func (l *Letters) Positions(ctx context.Context) (map[int32]Position, error) {
	var committed kadm.OffsetResponses
	err := l.coordinated(ctx, func(ctx context.Context) (err error) {
		committed, err = l.admin.FetchOffsets(ctx, l.source.Group)
		return err
	})
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("reading the position of consumer group %s: %w", l.source.Group, err)
	}
	positions := map[int32]Position{}
	for partition, o := range committed[l.source.Topic] {
		if o.Err != nil {
			return nil, fmt.Errorf("reading the position of consumer group %s in partition %d: %w", l.source.Group, partition, o.Err)
		}
		if o.At >= 0 {
			positions[partition] = parsePosition(o.At, o.Metadata)
		}
	}
	return positions, nil
}

// Commit stores positions for the group. Safe beside Read.
func (l *Letters) Commit(ctx context.Context, positions map[int32]Position) error {
	offsets := kadm.Offsets{}
	for partition, p := range positions {
		offsets.Add(kadm.Offset{Topic: l.source.Topic, Partition: partition, At: p.Next, LeaderEpoch: -1, Metadata: p.metadata()})
	}
	err := l.coordinated(ctx, func(ctx context.Context) error { return l.admin.CommitAllOffsets(ctx, l.source.Group, offsets) })
	if err != nil {
		return fmt.Errorf("committing the position of consumer group %s: %w", l.source.Group, err)
	}
	return nil
}

// coordinated makes a request about the group, within the source's Timeout.
func (l *Letters) coordinated(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.source.Timeout)
	defer cancel()
	return untilCoordinated(ctx, kerr.IsRetriable, func() error { return request(ctx) })
}
