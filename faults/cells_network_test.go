//go:build faults

package faults

// The network between gateway and Kafka, and between clients and gateway.

import (
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
)

func networkCells() []cell {
	resets := func(x *run) {
		for began := time.Now(); time.Since(began) < x.span(6*time.Second, 30*time.Second); {
			<-time.After(300 * time.Millisecond)
			x.broker.Proxies[0].Cut()
		}
	}
	return []cell{
		{name: "R14", fault: "connections to Kafka reset every 300 ms", on: fake, proxied: true, ci: true,
			rules: ledger.Rules{Least: some}, hurt: resets},
		{name: "R14k", fault: "connections to Kafka reset every 300 ms", on: apache1, proxied: true,
			rules: ledger.Rules{Least: some}, hurt: resets},
	}
}
