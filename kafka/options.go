package kafka

// Every option of the one franz-go client that produces, each with its
// reason and with what goes wrong without it. At least v1.22.2: v1.22.1 can
// acknowledge a record that Kafka never stored (falseack_test.go).

import (
	"context"
	"math"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// defaultMaxMessageBytes is Kafka's default of max.message.bytes; assumed when reading it is not permitted.
	defaultMaxMessageBytes = 1_048_588
	// maxBatchBytes keeps one batch far below franz-go's and Kafka's 100 MiB a request, whatever a topic allows.
	maxBatchBytes = 64 << 20
	// metadataMaxAge: partitions that somebody adds are noticed after this time at the latest. franz-go's
	// default is 5 minutes, in which keyed events would go on to the old partitions only.
	metadataMaxAge = time.Minute
	// metadataMinAge: after NOT_LEADER the new leader is looked up again after this time. The default of
	// 5 s would be a fifth of the default delivery timeout.
	metadataMinAge = 250 * time.Millisecond
	// unknownTopicRetries is franz-go's default, about one second: a topic that was just created may be
	// unknown to some brokers for a moment; a deleted one stays unknown.
	unknownTopicRetries = 4
)

var codecs = map[Compression]kgo.CompressionCodec{
	CompressNone:   kgo.NoCompression(),
	CompressGzip:   kgo.GzipCompression(),
	CompressSnappy: kgo.SnappyCompression(),
	CompressLz4:    kgo.Lz4Compression(),
	CompressZstd:   kgo.ZstdCompression(),
}

// dialFunc opens connections to brokers.
type dialFunc func(ctx context.Context, network, host string) (net.Conn, error)

// clientParts is what the options need besides the configuration.
type clientParts struct {
	seeds           []string
	dial            dialFunc // nil: TCP
	maxRecords      int      // the pipeline's own bound on events in flight
	deliveryTimeout time.Duration
	batchBytes      func(topic string) int32
	partitioner     kgo.Partitioner
	onDataLoss      func(topic string, partition int32)
	hook            kgo.Hook
	log             kgo.Logger
}

// producerOptions is the table.
func producerOptions(c *Config, p clientParts) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(p.seeds...),
		// Seen in broker logs and quotas; the group's name is the one name that operators gave the gateway.
		kgo.ClientID(c.GroupID),
		kgo.WithLogger(p.log),
		kgo.WithHooks(p.hook),
		// Client metrics pushed to the brokers (KIP-714): /metrics has ours. At close, franz-go waits a second for
		// their last push when the broker is frozen, which a drain in time does not have.
		kgo.DisableClientMetrics(),

		// franz-go's default waits 10 ms for more records. Our batch stage has already decided that there are
		// none: waiting again would add 10 ms to every lone event.
		kgo.ProducerLinger(0),
		// Transform chose the partition; anything else here would break the order per key.
		kgo.RecordPartitioner(p.partitioner),
		// Twice our own bound, because a promise runs before the count drops: at exactly our bound, records
		// of recycled events would now and then be refused with BUFFER_FULL although there is room.
		kgo.MaxBufferedRecords(max(2*p.maxRecords, 1024)),
		// MaxBufferedBytes stays unlimited: admission bounds the bytes, and two bounds on one thing can deadlock.

		// How long a record may be in doubt before franz-go gives up. Without it, a partition without a
		// leader holds its records, and the memory they pin, for ever.
		kgo.RecordDeliveryTimeout(p.deliveryTimeout),
		// Retries are bounded by time alone. A count would fail records during a leader election that the
		// delivery timeout rides out.
		kgo.RecordRetries(math.MaxInt),
		kgo.UnknownTopicRetries(unknownTopicRetries),
		// What the broker may take to hear from its replicas; then it answers REQUEST_TIMED_OUT.
		kgo.ProduceRequestTimeout(c.WriteTimeout),
		// On top of it, before the connection counts as dead: a frozen broker is noticed after the sum.
		kgo.RequestTimeoutOverhead(c.ReadTimeout),
		kgo.DialTimeout(c.DialTimeout),

		// A batch above the topic's max.message.bytes is rejected as a whole; franz-go bounds it before
		// compression, so it can only come out smaller.
		kgo.ProducerBatchMaxBytesFn(p.batchBytes),
		kgo.ProducerBatchCompression(codecs[c.Compression], kgo.NoCompression()),

		kgo.MetadataMaxAge(metadataMaxAge),
		kgo.MetadataMinAge(metadataMinAge),

		// StopProducerOnDataLossDetected stays off: it would fail every record from then on until an operator
		// restarts the gateway. We count, log as an error, and go on.
		kgo.ProducerOnDataLossDetected(p.onDataLoss),
		// AllowAutoTopicCreation stays off: a typing error in a rule must not make a topic.
		// AllowIdempotentProduceCancellation stays off: it buys nothing that our own deadline does not give.
	}, append(ackOptions(c.RequiredAcks), dialOptions(p.dial)...)...)
}

// ackOptions: idempotence needs acks=all. Without it, more than one request in
// flight to a broker can reorder records on a retry, hence one.
func ackOptions(acks Acks) []kgo.Opt {
	var level kgo.Acks
	switch acks {
	case AcksLeader:
		level = kgo.LeaderAck()
	case AcksNone:
		level = kgo.NoAck()
	default:
		return []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())}
	}
	return []kgo.Opt{
		kgo.RequiredAcks(level),
		kgo.DisableIdempotentWrite(),
		kgo.MaxProduceRequestsInflightPerBroker(1),
	}
}

func dialOptions(dial dialFunc) []kgo.Opt {
	if dial == nil {
		return nil
	}
	return []kgo.Opt{kgo.Dialer(dial)}
}
