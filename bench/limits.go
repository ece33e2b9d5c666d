package main

// The limits, in the same run as the gateway: franz-go alone and grpc-go alone, what the plain baseline reaches with both,
// and the ratios that the goals are about.

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// usual is the load that most figures are about: events of about 450 bytes, 100 a message.
func (b *bench) usual() load {
	return load{batch: 100, streams: 2, size: 370, keys: 1000, took: b.span}
}

// curve is the same for the points of curves that no goal is about, for a shorter time: there are more than a
// hundred.
func (b *bench) curve() load {
	l := b.usual()
	l.took = b.span * 5 / 6
	return l
}

// limits compares by shape: batches, and single events.
func (b *bench) limits(ctx context.Context, r *report) error {
	r.addf("\n## The limits of the libraries\n\n" +
		"*franz-go* is a program that only produces the same records, from distinct memory (4 MiB, twice what is in flight). *raw gRPC* is a server with a raw codec that " +
		"answers each message and looks at nothing, with grpc-go's own flow-control windows; the last row has the gateway's windows and buffer pool. *plain baseline* is the gateway that one would write without stages and rings " +
		"(bench/baseline). The CPU ratio is the gateway's CPU an event by the sum of franz-go's and raw gRPC's with its own windows; what it would be with the gateway's is said beside it.\n")
	batches := b.usual()
	singles := batches
	singles.batch = 0
	for _, l := range []struct {
		title, short string
		load         load
		goal         float64
	}{{"100 events a message", "100 a message", batches, 1.25}, {"one event a message", "1 a message", singles, 1.5}} {
		scenes := []scene{
			{server: gateway, broker: discarding, partitions: 3, load: l.load},
			{server: baseline, broker: discarding, partitions: 3, load: l.load},
			{server: rawGRPC, load: l.load},
			{server: franzGo, broker: discarding, partitions: 3, load: l.load},
			{server: tunedGRPC, load: l.load},
		}
		all := b.takeTurns(ctx, "limits, "+l.short, b.rounds, scenes)
		r.addf("\n### %s, 2 streams, discarding broker\n", l.title)
		r.endToEnd("server", []string{"gateway", "plain baseline", rawGRPC, franzGo, tunedGRPC}, all)
		b.judgeLimits(r, l.short, l.goal, all)
	}
	return nil
}

func (b *bench) judgeLimits(r *report, short string, goal float64, all []series) {
	ours, plain, raw, alone, tuned := all[0], all[1], all[2], all[3], all[4]
	rounds := min(len(ours), len(plain), len(raw), len(alone))
	if rounds == 0 {
		r.noResult("CPU ratio and rates, " + short)
		return
	}
	var cpu, besides, share []float64
	cores := float64(runtime.NumCPU())
	for i := range rounds {
		libraries := raw[i].Server + alone[i].Server
		cpu = append(cpu, ours[i].Server/libraries)
		if i < len(tuned) { // not judged, so a run that is no result takes only its own figure along
			besides = append(besides, ours[i].Server/(tuned[i].Server+alone[i].Server))
		}
		possible := cores * 1e9 / (ours[i].Client + ours[i].Broker + libraries)
		share = append(share, ours[i].Rate/possible)
	}
	beside := ratios(ours.column(rate), plain.column(rate))
	r.addf("CPU ratio %s; with raw gRPC on the gateway's windows %s; rate by what %d processors allow %s; rate by the plain baseline's %s.\n", spread(cpu, "%.2f"),
		spread(besides, "%.2f"), int(cores), spread(share, "%.2f"), spread(beside, "%.2f"))
	r.goal("CPU ratio, "+short, fmt.Sprintf("at most %.2f", goal), spread(cpu, "%.2f"), median(cpu) <= goal)
	if short != "100 a message" {
		return
	}
	b.generatorCPU = ours.of(clientCPU)
	r.goal("events/s, 100 a message, discarding broker", "1,000,000 is the direction", count(ours.of(rate)), ours.of(rate) >= 1e6)
	r.goal("the same by what the processors allow: cores by the CPU of generator, broker, franz-go and raw gRPC", "at least 0.75",
		spread(share, "%.2f"), median(share) >= 0.75)
	r.goal("the same by the plain baseline's", "at least 1.3", spread(beside, "%.2f"), median(beside) >= 1.3)
}

// stores compares with franz-go alone where records are kept, with the generator's CPU burnt beside it.
func (b *bench) stores(ctx context.Context, r *report) error {
	if b.generatorCPU == 0 { // the section of the limits was left out
		s := b.takeTurns(ctx, "the generator's CPU", 1, []scene{{server: gateway, broker: discarding, partitions: 3, load: b.usual()}})
		if b.generatorCPU = s[0].of(clientCPU); b.generatorCPU == 0 {
			return errors.New("the generator's CPU is not known")
		}
	}
	r.addf("\n## Brokers that keep what they get\n\n100 events a message, 2 streams. franz-go alone sends the same records and burns, on a second "+
		"thread, the %.0f ns of CPU a record that the gateway's generator takes. For the embedded broker, which is a part of the gateway's process, "+
		"franz-go sends to an otherwise idle gateway, over TCP where the gateway itself needs none.\n", b.generatorCPU)
	for _, kind := range []string{embedded, apacheKafka} {
		if kind == apacheKafka && b.kafkaAway != nil {
			r.addf("\nWithout Apache Kafka: %v.\n", b.kafkaAway)
			r.noResult("events/s to Kafka by franz-go's there")
			continue
		}
		all := b.takeTurns(ctx, "stores", b.rounds, []scene{
			{server: gateway, broker: kind, partitions: 3, load: b.usual()},
			{server: franzGo, broker: kind, partitions: 3, load: b.usual(), burn: b.generatorCPU},
		})
		r.endToEnd(kind, []string{"gateway", "franz-go"}, all)
		if share := ratios(all[0].column(rate), all[1].column(rate)); len(share) > 0 {
			r.addf("Rate by franz-go's: %s.\n", spread(share, "%.2f"))
			r.goal("events/s to "+kind+" by franz-go's there", "at least 0.6", spread(share, "%.2f"), median(share) >= 0.6)
		} else {
			r.noResult("events/s to " + kind + " by franz-go's there")
		}
	}
	return nil
}
