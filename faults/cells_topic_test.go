//go:build faults

package faults

// The topic changes under the gateway: deleted, recreated, more partitions, a
// smaller limit; and records at the edge of what it takes.

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

func topicCells() []cell {
	return []cell{
		{name: "R18", fault: "topic deleted, then created again", on: fake, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, Least: some}, hurt: recreate, seen: recreateSeen, alive: 15 * time.Second},
		{name: "R18k", fault: "topic deleted, then created again", on: apache1, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, Least: some}, hurt: recreate, seen: recreateSeen, alive: 15 * time.Second},
		{name: "R18p", fault: "partitions added", on: apache1, rules: ledger.Rules{PartitionsGrow: true, Least: some}, hurt: func(x *run) {
			x.broker.Admin(func(ctx context.Context, adm *kadm.Client) error {
				response, err := adm.CreatePartitions(ctx, 6, topic)
				if err == nil {
					err = response.Error()
				}
				return err
			})
			if !rig.Within(20*time.Second, func() bool { return x.gateway.Metrics().Sum("gateway_kafka_partitions") == 12 }) {
				x.Errorf("gateway_kafka_partitions is %v", x.gateway.Metrics().Sum("gateway_kafka_partitions"))
			}
			x.lasts(2*time.Second, 20*time.Second)
		}, rest: func(x *run) {
			if x.gateway.Metrics().Sum("gateway_kafka_partition_growth_total") == 0 || !x.gateway.Said("partition count changed") {
				x.Error("neither metric nor log line tells of the new partitions")
			}
		}},
		{name: "R19", fault: "events around the largest that fits", on: apache1, ci: true, rules: ledger.Rules{Least: some}, hurt: func(x *run) {
			refused, acknowledged := 0, 0
			for size := 898_000; size <= 902_000; size += 100 {
				n := x.load.Send(rig.Name("size-", size), size).Count()
				refused, acknowledged = refused+n.Refused, acknowledged+n.Acknowledged
			}
			if refused < 5 || acknowledged < 5 || refused+acknowledged != 41 {
				x.Errorf("of 41 events around MAX_EVENT_BYTES %d were refused, %d acknowledged", refused, acknowledged)
			}
		}, seen: func(x *run, v *ledger.Verdict) {
			if r := x.ledger.Reasons(); r["EVENT_TOO_LARGE"] < 5 || len(r) != 1 {
				x.Errorf("reasons: %v", r)
			}
		}},
		{name: "R56", fault: "events dated a day ahead", on: apache1, load: rig.Load{Ahead: 24 * time.Hour}, rules: ledger.Rules{Least: some},
			hurt: func(x *run) { x.lasts(2*time.Second, 20*time.Second) }, seen: nothingRefused},
		{name: "R41b", fault: "Kafka's clock 59 minutes behind the gateway's", on: apache1, clock: "-3540s", rules: ledger.Rules{Least: some},
			hurt: func(x *run) { x.lasts(2*time.Second, 20*time.Second) }, seen: nothingRefused},
		{name: "R41a", fault: "Kafka's clock an hour ahead of the gateway's", on: apache1, clock: "+3600s", rules: ledger.Rules{Least: some},
			hurt: func(x *run) { x.lasts(2*time.Second, 20*time.Second) }, seen: nothingRefused},
		{name: "R55", fault: "the topic's max.message.bytes becomes smaller than what is sent", on: apache1, load: rig.Load{Resend: true, Size: 600, Rate: 3000},
			rules: ledger.Rules{MayDouble: true, Least: some}, hurt: func(x *run) {
				limit := "20000"
				x.broker.Admin(func(ctx context.Context, adm *kadm.Client) error {
					_, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topic)
					return err
				})
				for size := 10_000; size <= 60_000; size += 2000 {
					x.load.Send(rig.Name("size-", size), size)
				}
				x.lasts(3*time.Second, 30*time.Second)
			}, seen: func(x *run, v *ledger.Verdict) {
				if r := x.ledger.Reasons(); r["RECORD_REJECTED"]+r["BATCH_REJECTED"]+r["EVENT_TOO_LARGE"] == 0 {
					x.Errorf("reasons: %v", r)
				}
			}},
	}
}

// recreate deletes the topic while nothing is in flight, so that what is in the old one is known, sends into the
// void, and creates it again.
func recreate(x *run) {
	x.load.Pause()
	if !rig.Within(10*time.Second, func() bool { return x.gateway.Metrics().InFlight() == 0 }) {
		x.Fatal("events stay in flight while nothing is sent")
	}
	x.broker.Admin(func(ctx context.Context, adm *kadm.Client) error {
		_, err := adm.DeleteTopic(ctx, topic)
		return err
	})
	x.cell.rules.GoneBefore = x.ledger.NewEra()
	x.load.Resume()
	began := time.Now()
	if !rig.Within(10*time.Second, func() bool { return x.ledger.Reasons()["TOPIC_NOT_FOUND"] > 0 }) {
		x.Errorf("nothing is refused TOPIC_NOT_FOUND: %v", x.ledger.Reasons())
	}
	x.say("TOPIC_NOT_FOUND after %v", time.Since(began).Round(10*time.Millisecond))
	x.lasts(time.Second, 20*time.Second)
	x.createTopic(6, 1)
}

func recreateSeen(x *run, _ *ledger.Verdict) {
	if x.ledger.Reasons()["TOPIC_NOT_FOUND"] == 0 || !x.gateway.Said("can be written to again") {
		x.Errorf("reasons %v, or no line says that the topic is there again", x.ledger.Reasons())
	}
}

// nothingRefused: the record's timestamp is the gateway's time of receipt, whatever the event says.
func nothingRefused(x *run, _ *ledger.Verdict) {
	if r := x.ledger.Reasons(); len(r) > 0 {
		x.Errorf("reasons: %v", r)
	}
}
