package kafka

// What franz-go tells while it works, and the metrics made of it.

import (
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	vm "github.com/VictoriaMetrics/metrics"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// hooks is the Producer as franz-go's hooks see it.
type hooks Producer

var (
	_ kgo.HookBrokerE2E               = (*hooks)(nil)
	_ kgo.HookBrokerWrite             = (*hooks)(nil)
	_ kgo.HookBrokerDisconnect        = (*hooks)(nil)
	_ kgo.HookProduceBatchWritten     = (*hooks)(nil)
	_ kgo.HookProduceRecordUnbuffered = (*hooks)(nil)
)

// produceKey is the API key of produce requests.
const produceKey = 0

// OnBrokerE2E notes answers to produce requests, and answers that never came.
func (h *hooks) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key != produceKey {
		return
	}
	if e2e.Err() != nil {
		h.lost.Add(1)
		h.metrics.lostAnswers.Add(1)
		return
	}
	h.parts.Breaker.Answered(h.parts.Now())
}

// OnBrokerWrite counts as an answer with acks=none, where there is no other.
func (h *hooks) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, err error) {
	if key == produceKey && err == nil && h.cfg.RequiredAcks == AcksNone {
		h.parts.Breaker.Answered(h.parts.Now())
	}
}

// OnBrokerDisconnect: requests that were waiting behind the one whose read
// failed have no hook of their own, so every closed connection counts.
func (h *hooks) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { h.lost.Add(1) }

// OnProduceRecordUnbuffered hides the headers again, before franz-go counts the record's bytes; see record.hide. Only
// their number is written, which lies in the record's first cache line.
func (h *hooks) OnProduceRecordUnbuffered(kr *kgo.Record, _ error) { kr.Headers = kr.Headers[:0] }

// OnProduceBatchWritten measures the batches that Kafka took.
func (h *hooks) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, b kgo.ProduceBatchMetrics) {
	h.metrics.batchRecords.observe(b.NumRecords)
	h.metrics.batchBytes.observe(b.UncompressedBytes)
	h.metrics.compressedBytes.Add(uint64(b.CompressedBytes))
}

// metrics are the producer's counters; all labels come from fixed sets.
type metrics struct {
	failed          [stages.Reasons]atomic.Uint64
	dataLoss        atomic.Uint64
	lostAnswers     atomic.Uint64
	partitionGrowth atomic.Uint64
	topicRecreated  atomic.Uint64
	compressedBytes atomic.Uint64
	batchRecords    sizes
	batchBytes      sizes
}

// sizes is a histogram over powers of four: 1, 4, 16, ... 4^11 (4 Mi).
type sizes struct {
	buckets [13]atomic.Uint64 // the last one is what is larger
	sum     atomic.Uint64
}

func (s *sizes) observe(n int) {
	i, bound := 0, 1
	for ; i < len(s.buckets)-1 && n > bound; i++ {
		bound *= 4
	}
	s.buckets[i].Add(1)
	s.sum.Add(uint64(n))
}

func (s *sizes) write(w io.Writer, name string) {
	vm.WriteMetadataIfNeeded(w, name, "histogram")
	total, bound := uint64(0), 1
	for i := range s.buckets {
		total += s.buckets[i].Load()
		le := fmt.Sprint(bound)
		if i == len(s.buckets)-1 {
			le = "+Inf"
		}
		fmt.Fprintf(w, "%s_bucket{le=%q} %d\n", name, le, total)
		bound *= 4
	}
	fmt.Fprintf(w, "%s_sum %d\n%s_count %d\n", name, s.sum.Load(), name, total)
}

// WriteMetrics writes the producer's metrics in the Prometheus text format.
func (p *Producer) WriteMetrics(w io.Writer) {
	m := &p.metrics
	vm.WriteGaugeUint64(w, "gateway_kafka_inflight_bytes", uint64(max(p.client.BufferedProduceBytes(), 0)))
	vm.WriteGaugeUint64(w, "gateway_kafka_inflight_records", uint64(max(p.InFlight(), 0)))
	m.batchRecords.write(w, "gateway_kafka_batch_records")
	m.batchBytes.write(w, "gateway_kafka_batch_bytes")
	vm.WriteCounterUint64(w, "gateway_kafka_written_bytes_total", m.compressedBytes.Load())
	for reason := stages.Reason(1); reason < stages.Reasons; reason++ {
		if n := m.failed[reason].Load(); n > 0 || producerReasons[reason] {
			vm.WriteCounterUint64(w, fmt.Sprintf("gateway_kafka_failed_records_total{reason=%q}", reason), n)
		}
	}
	p.errorAnswers.write(w)
	vm.WriteCounterUint64(w, "gateway_kafka_data_loss_total", m.dataLoss.Load())
	vm.WriteCounterUint64(w, "gateway_kafka_lost_answers_total", m.lostAnswers.Load())
	vm.WriteCounterUint64(w, "gateway_kafka_partition_growth_total", m.partitionGrowth.Load())
	vm.WriteCounterUint64(w, "gateway_kafka_topic_recreated_total", m.topicRecreated.Load())
	vm.WriteGaugeUint64(w, "gateway_kafka_breaker_state", uint64(p.parts.Breaker.State()))
	for _, t := range p.topics {
		vm.WriteGaugeUint64(w, fmt.Sprintf("gateway_kafka_partitions{topic=%q}", t.Name), uint64(len(t.Partitions())))
		up := uint64(1)
		if t.Refusal() != stages.NoReason || len(t.Partitions()) == 0 {
			up = 0
		}
		vm.WriteGaugeUint64(w, fmt.Sprintf("gateway_kafka_topic_up{topic=%q}", t.Name), up)
	}
}

// producerReasons are shown from the start, so that a rate over them has a first value.
var producerReasons = [stages.Reasons]bool{
	stages.OutcomeUnknown: true, stages.BatchRejected: true, stages.RecordRejected: true,
	stages.BufferFull: true, stages.TopicNotFound: true, stages.TopicRecreated: true, stages.KafkaUnauthorized: true,
}
