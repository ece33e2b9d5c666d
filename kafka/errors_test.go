package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// TestEveryCodeIsClassified: a code that a new kerr brings must be looked at.
func TestEveryCodeIsClassified(t *testing.T) {
	codes := 0
	for code := int16(-1); code < 1000; code++ {
		err, ok := errors.AsType[*kerr.Error](kerr.ErrorForCode(code))
		if !ok || err.Code != code {
			continue
		}
		codes++
		if classes[code] == unclassified {
			t.Errorf("%s (%d) is in no class", err.Message, code)
		}
		// Only what proves that nothing was stored may be a refusal; and a code that franz-go retries is never
		// such a proof, except for those that say that the topic is not there.
		v := Classify(err, 1)
		if kerr.IsRetriable(err) && v.Outcome != stages.Unknown && code != kerr.UnknownTopicOrPartition.Code &&
			code != kerr.UnknownTopicID.Code && code != kerr.CorruptMessage.Code {
			t.Errorf("%s is retriable and classified %v", err.Message, v.Outcome)
		}
	}
	if codes < 130 {
		t.Fatalf("saw %d codes", codes)
	}
	seen := map[int16]bool{}
	for _, code := range offPathCodes {
		if seen[code] || classes[code] != offPath {
			t.Errorf("%v is listed twice", kerr.ErrorForCode(code))
		}
		seen[code] = true
	}
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		err     error
		batch   int
		outcome stages.Outcome
		reason  stages.Reason
	}{
		{nil, 0, stages.Acknowledged, stages.NoReason},
		{kerr.MessageTooLarge, 1, stages.Refused, stages.RecordRejected},
		{fmt.Errorf("%w (uncompressed_bytes=1)", kerr.MessageTooLarge), 2, stages.Refused, stages.BatchRejected},
		{kerr.InvalidRecord, 0, stages.Refused, stages.BatchRejected},
		{kerr.CorruptMessage, 1, stages.Refused, stages.RecordRejected},
		{kerr.PolicyViolation, 5, stages.Refused, stages.BatchRejected},
		{kerr.UnknownTopicOrPartition, 0, stages.Refused, stages.TopicNotFound},
		{kerr.UnknownTopicID, 0, stages.Refused, stages.TopicRecreated},
		{kerr.TopicAuthorizationFailed, 0, stages.Refused, stages.KafkaUnauthorized},
		{kerr.ClusterAuthorizationFailed, 1, stages.Refused, stages.KafkaUnauthorized},
		{kerr.InvalidRequiredAcks, 1, stages.Refused, stages.InternalError},
		{kgo.ErrMaxBuffered, 1, stages.Refused, stages.BufferFull},
		{kerr.UnknownServerError, 1, stages.Unknown, stages.OutcomeUnknown},
		{kerr.RequestTimedOut, 1, stages.Unknown, stages.OutcomeUnknown},
		{kerr.NotEnoughReplicas, 1, stages.Unknown, stages.OutcomeUnknown},
		{kerr.OutOfOrderSequenceNumber, 1, stages.Unknown, stages.OutcomeUnknown},
		{kgo.ErrRecordTimeout, 1, stages.Unknown, stages.OutcomeUnknown},
		{fmt.Errorf("%w, last err: %w", kgo.ErrRecordTimeout, kerr.UnknownTopicOrPartition), 1, stages.Unknown, stages.OutcomeUnknown},
		{kgo.ErrRecordRetries, 1, stages.Unknown, stages.OutcomeUnknown},
		{kgo.ErrClientClosed, 1, stages.Unknown, stages.OutcomeUnknown},
		{kgo.ErrAborting, 1, stages.Unknown, stages.OutcomeUnknown},
		{context.Canceled, 1, stages.Unknown, stages.OutcomeUnknown},
		{errors.New("topic purged while buffered"), 1, stages.Unknown, stages.OutcomeUnknown},
		{&kerr.Error{Message: "FROM_THE_FUTURE", Code: 999}, 1, stages.Unknown, stages.OutcomeUnknown},
	} {
		v := Classify(c.err, c.batch)
		if v.Outcome != c.outcome || v.Reason != c.reason || v.Stage != stages.AtProduce {
			t.Errorf("%v, batch of %d: %v %v, want %v %v", c.err, c.batch, v.Outcome, v.Reason, c.outcome, c.reason)
		}
	}
}

// TestFaults holds the measured table: each answer of a broker, through the
// real client, as the outcome that a client of the gateway gets.
func TestFaults(t *testing.T) {
	const always = -1
	for _, c := range []struct {
		err     *kerr.Error
		count   int
		outcome stages.Outcome
		reason  stages.Reason
	}{
		{kerr.NotLeaderForPartition, always, stages.Unknown, stages.OutcomeUnknown},
		{kerr.NotLeaderForPartition, 1, stages.Acknowledged, stages.NoReason},
		{kerr.NotEnoughReplicas, always, stages.Unknown, stages.OutcomeUnknown},
		{kerr.KafkaStorageError, always, stages.Unknown, stages.OutcomeUnknown},
		{kerr.ThrottlingQuotaExceeded, always, stages.Unknown, stages.OutcomeUnknown},
		{kerr.OutOfOrderSequenceNumber, always, stages.Unknown, stages.OutcomeUnknown},
		{kerr.OutOfOrderSequenceNumber, 1, stages.Acknowledged, stages.NoReason},
		{kerr.UnknownServerError, 1, stages.Unknown, stages.OutcomeUnknown},
		{kerr.UnknownTopicOrPartition, always, stages.Refused, stages.TopicNotFound},
		{kerr.TopicAuthorizationFailed, 1, stages.Refused, stages.KafkaUnauthorized},
		{kerr.ClusterAuthorizationFailed, 1, stages.Refused, stages.KafkaUnauthorized},
		{kerr.MessageTooLarge, 1, stages.Refused, stages.RecordRejected},
		{kerr.InvalidRecord, 1, stages.Refused, stages.RecordRejected},
		{kerr.CorruptMessage, 1, stages.Refused, stages.RecordRejected},
		{kerr.PolicyViolation, 1, stages.Refused, stages.RecordRejected},
		{kerr.InvalidRequiredAcks, 1, stages.Refused, stages.InternalError},
		{kerr.RequestTimedOut, 1, stages.Acknowledged, stages.NoReason},
		{kerr.NotEnoughReplicasAfterAppend, 1, stages.Acknowledged, stages.NoReason},
	} {
		t.Run(fmt.Sprintf("%s %d", c.err.Message, c.count), func(t *testing.T) {
			t.Parallel()
			// Only where it is the delivery timeout that ends the retries, it is short: UNKNOWN_TOPIC_OR_PARTITION ends them
			// after unknownTopicRetries of metadataMinAge, which is the same second.
			timeout := patience / 2
			if c.count == always && c.outcome == stages.Unknown {
				timeout = time.Second
			}
			r := newRig(t, func(_ *Config, p *Parts) { p.DeliveryTimeout = timeout }).ready()
			fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "events", Err: c.err, Count: c.count})
			defer fault.Remove()
			r.produce(r.partition(0), "a")
			r.want("a", c.outcome, c.reason)
			if fault.Hits() == 0 {
				t.Error("the fault never hit")
			}
		})
	}
}

// TestBatchOfSeveralRejected: neighbours of a bad record are told to send again.
func TestBatchOfSeveralRejected(t *testing.T) {
	r := newRig(t, nil).ready()
	p := r.partition(0)
	r.produce(p, "first")
	r.want("first", stages.Acknowledged, stages.NoReason)

	// Hold one request in the broker, so that what is produced meanwhile shares a batch.
	held, release := make(chan struct{}), make(chan struct{})
	holds := true // only touched by the broker's goroutine
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if holds {
			holds = false
			r.cluster.SleepControl(func() { close(held); <-release })
		}
		return nil, nil, false
	})
	r.produce(p, "a")
	<-held
	r.produce(p, "b", "c", "d")
	fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Count: -1})
	close(release)
	r.want("a", stages.Refused, stages.BatchRejected) // not alone for certain: b, c and d were with franz-go
	for _, id := range []string{"b", "c", "d"} {
		r.want(id, stages.Refused, stages.BatchRejected)
	}
	// Sent again alone, it learns about itself.
	r.produce(p, "c")
	r.want("c", stages.Refused, stages.RecordRejected)
	fault.Remove()
	r.produce(p, "b", "d")
	r.want("b", stages.Acknowledged, stages.NoReason)
	r.want("d", stages.Acknowledged, stages.NoReason)
}

// TestAlone walks the bookkeeping through its interleavings.
func TestAlone(t *testing.T) {
	for _, before := range []uint64{0, 1<<32 - 2, 1<<32 - 1} { // the records know the lower half of their number
		testAlone(t, before)
	}
}

func testAlone(t *testing.T, before uint64) {
	p := &partition{settled: before}
	p.handed.Store(before)
	step := func(seq uint64, rejected, want bool) {
		t.Helper()
		if !rejected {
			p.settle(1)
		} else if got := p.fail(uint32(before + seq)); got != want {
			t.Errorf("record %d after %d: alone %v, want %v", seq, before, got, want)
		}
	}
	p.handed.Add(1)
	step(1, true, true)
	p.handed.Add(2)
	step(2, true, false)
	step(3, true, false) // nothing else is out, but it may have shared 2's batch
	p.handed.Add(1)
	step(4, true, true)
	p.handed.Add(2)
	step(5, false, false)
	step(6, true, true) // 5 was acknowledged: another batch
}

// TestLostAnswer: a rejection after an answer was lost is no proof.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil).ready()
	r.produce(r.partition(0), "first")
	r.want("first", stages.Acknowledged, stages.NoReason)
	n := 0
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		if n++; n == 1 {
			return nil, errors.New("connection closed by the test"), true
		}
		return nil, nil, false
	})
	fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Count: 1})
	defer fault.Remove()
	r.produce(r.partition(0), "a")
	r.want("a", stages.Unknown, stages.OutcomeUnknown)
}

// TestRejectedAfterDoubt: neither is a rejection after an answer that leaves it open whether the batch is stored.
func TestRejectedAfterDoubt(t *testing.T) {
	for _, first := range []*kerr.Error{kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition} {
		for _, then := range []*kerr.Error{kerr.InvalidRecord, kerr.TopicAuthorizationFailed} {
			t.Run(first.Message+" "+then.Message, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, nil).ready()
				r.produce(r.partition(0), "first")
				r.want("first", stages.Acknowledged, stages.NoReason)
				var faults []kfake.Fault
				for _, err := range []*kerr.Error{first, then} {
					faults = append(faults, kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: err, Count: 1})
				}
				handle := r.cluster.Fault(faults...)
				defer handle.Remove()
				r.produce(r.partition(0), "a")
				r.want("a", stages.Unknown, stages.OutcomeUnknown)
				r.produce(r.partition(0), "b")
				r.want("b", stages.Acknowledged, stages.NoReason)
				if handle.Hits() != 2 {
					t.Errorf("%d answers were faults, want 2", handle.Hits())
				}
			})
		}
	}
}
