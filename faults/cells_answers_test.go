//go:build faults

package faults

// Brokers that answer, but not what one hopes for: error codes on some or all
// produce requests. The table of what they mean is kafka/errors.go.

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

// victim is the partition that is hurt alone.
const victim = 1

// perPartition gives the n-th producer keys of partition n mod partitions: one stream a partition, for each
// kind of client.
func perPartition(partitions int) func(n int) []string {
	of := rig.PartitionOf(partitions)
	return func(n int) (keys []string) {
		for i := 0; len(keys) < 50; i++ {
			if key := fmt.Sprintf("producer%d-key-%d", n, i); int(of(key)) == n%partitions {
				keys = append(keys, key)
			}
		}
		return keys
	}
}

func answerCells() []cell {
	codes := func(errs ...*kerr.Error) (faults []rig.FakeFault) {
		for _, err := range errs {
			faults = append(faults, rig.FakeFault{Code: err.Code})
		}
		return faults
	}
	each := func(faults []rig.FakeFault, percent, count int, short, full time.Duration) func(x *run) {
		return func(x *run) {
			for _, f := range faults {
				f.Percent, f.Count = percent, count
				x.broker.Fake.Fail(f)
				x.lasts(short, full)
				x.say("%v: %d requests hit", kerr.ErrorForCode(f.Code), x.hits(x.broker.Fake.Heal()))
			}
		}
	}
	const eight = 8
	onePerPartition := rig.Load{KeysOf: perPartition(eight), Unary: eight, Streams: eight, Batches: eight}
	return []cell{
		{name: "R11", fault: "NOT_ENOUGH_REPLICAS, NOT_LEADER, KAFKA_STORAGE_ERROR: on all partitions, then on one of eight", on: fake, partitions: eight, ci: true,
			load: onePerPartition, rules: ledger.Rules{Least: some}, hurt: func(x *run) {
				for _, f := range codes(kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.KafkaStorageError) {
					x.broker.Fake.Fail(f)
					x.lasts(1500*time.Millisecond, 10*time.Second)
					x.hits(x.broker.Fake.Heal())
					x.again(5 * time.Second)
					x.oneOf(eight, f, 0.8, x.span(1500*time.Millisecond, 10*time.Second))
				}
			}},
		{name: "R12", fault: "REQUEST_TIMED_OUT and NOT_ENOUGH_REPLICAS_AFTER_APPEND on a tenth of the requests, then on one partition of eight", on: fake, partitions: eight, ci: true,
			load: onePerPartition, rules: ledger.Rules{Least: some}, hurt: func(x *run) {
				ambiguous := codes(kerr.RequestTimedOut, kerr.NotEnoughReplicasAfterAppend)
				each(ambiguous, 10, 0, 3*time.Second, 30*time.Second)(x)
				for _, f := range ambiguous {
					x.again(5 * time.Second)
					x.oneOf(eight, f, 0.2, x.span(1500*time.Millisecond, 10*time.Second))
				}
			}, alive: 8 * time.Second},
		{name: "R20", fault: "TOPIC_ and CLUSTER_AUTHORIZATION_FAILED", on: fake, rules: ledger.Rules{Least: ledger.Counts{Acknowledged: 20, Refused: 100}},
			hurt: each(codes(kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed), 0, 0, 2*time.Second, 10*time.Second), seen: func(x *run, _ *ledger.Verdict) {
				if x.ledger.Reasons()["KAFKA_UNAUTHORIZED"] == 0 || !x.gateway.Said("TOPIC_AUTHORIZATION_FAILED") {
					x.Errorf("reasons %v, or no log line", x.ledger.Reasons())
				}
			}},
		{name: "R21", fault: "OUT_OF_ORDER_SEQUENCE, UNKNOWN_PRODUCER_ID (expired), INVALID_PRODUCER_EPOCH, three times each", on: fake, ci: true, rules: ledger.Rules{Least: some},
			hurt: each(codes(kerr.OutOfOrderSequenceNumber, kerr.UnknownProducerID, kerr.InvalidProducerEpoch), 0, 3, 2*time.Second, 10*time.Second),
			rest: func(x *run) {
				if m := x.gateway.Metrics(); m.Sum("gateway_kafka_data_loss_total") == 0 {
					x.Error("gateway_kafka_data_loss_total is 0")
				}
			}},
		{name: "R53", fault: "a tenth of the requests answered with retriable, fatal and unexplained errors, all at once", on: fake,
			load: rig.Load{Resend: true}, rules: ledger.Rules{MayDouble: true, Least: some},
			hurt: mixed(codes(kerr.NotLeaderForPartition, kerr.UnknownServerError, kerr.InvalidRecord)), seen: mixedSeen},
		{name: "R54", fault: "the same, and ambiguous ones: stored first, sent again beside rejected batches", on: fake,
			load: rig.Load{Resend: true}, rules: ledger.Rules{MayDouble: true, Least: some},
			hurt: mixed(codes(kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.UnknownServerError, kerr.InvalidRecord)), seen: mixedSeen,
			rest: func(x *run) {
				if n := x.gateway.Metrics().Sum("gateway_kafka_data_loss_total"); n > 0 {
					x.Errorf("gateway_kafka_data_loss_total is %.0f: a broker turned away a batch that it knows", n)
				}
			}},
	}
}

// mixed fails 3 % of the requests with each of the errors.
func mixed(faults []rig.FakeFault) func(x *run) {
	return func(x *run) {
		for _, f := range faults {
			f.Percent = 3
			x.broker.Fake.Fail(f)
		}
		x.lasts(6*time.Second, 60*time.Second)
		x.hits(x.broker.Fake.Heal())
	}
}

func mixedSeen(x *run, _ *ledger.Verdict) {
	if r := x.ledger.Reasons(); r["BATCH_REJECTED"]+r["RECORD_REJECTED"] == 0 || r["OUTCOME_UNKNOWN"] == 0 {
		x.Errorf("reasons: %v", r)
	}
}

// hits fails a cell whose faults met no request.
func (x *run) hits(n int) int {
	x.Helper()
	if n == 0 {
		x.Error("P11: the fault met no request")
	}
	return n
}

// oneOf hurts one partition of n and measures that the producers of the others keep their rate.
func (x *run) oneOf(n int, f rig.FakeFault, keep float64, lasts time.Duration) {
	x.Helper()
	others := func() (sum int) {
		for i := range 3 * n {
			if i%n != victim {
				sum += x.load.Acknowledged(i)
			}
		}
		return sum
	}
	measure := func() int {
		before := others()
		<-time.After(lasts)
		return others() - before
	}
	whole := measure()
	f.Partitions = []int32{victim}
	x.broker.Fake.Fail(f)
	hurt := measure()
	x.hits(x.broker.Fake.Heal())
	x.say("%v on one partition: the others keep %.0f %% of their rate", kerr.ErrorForCode(f.Code), 100*float64(hurt)/float64(max(whole, 1)))
	if float64(hurt) < keep*float64(whole) {
		x.Errorf("%v on one partition: the others acknowledge %d in %v, before it were %d", kerr.ErrorForCode(f.Code), hurt, lasts, whole)
	}
}
