//go:build faults

package faults

// Brokers that stop, die and come back.

import (
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
)

// some is what a cell must have acknowledged in each method to show anything.
var some = ledger.Counts{Acknowledged: 200}

func brokerCells() []cell {
	return []cell{
		{name: "R08", fault: "broker closed and opened again, state kept", on: fake, ci: true, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, Least: some}, hurt: func(x *run) {
				for range x.times(3, 20) {
					<-time.After(time.Duration(500+x.random.IntN(1000)) * time.Millisecond)
					x.broker.Fake.Close()
					<-time.After(time.Duration(x.random.IntN(1000)) * time.Millisecond)
					x.broker.Fake.Open()
					if err := x.load.Fresh(10 * time.Second); err != nil {
						x.Errorf("P7: after a restart: %v", err)
					}
				}
			}},
		{name: "R08k", fault: "broker SIGKILL and restart", on: apache1, ci: true, load: rig.Load{Resend: true},
			rules: ledger.Rules{MayDouble: true, Least: some}, alive: 10 * time.Second, hurt: func(x *run) {
				for range x.times(1, 20) {
					<-time.After(time.Duration(1000+x.random.IntN(1000)) * time.Millisecond)
					x.broker.Apache.Kill(0)
					x.broker.Apache.Restart(0)
					if err := x.load.Fresh(15 * time.Second); err != nil {
						x.Errorf("P7: after a restart: %v", err)
					}
				}
			}},
	}
}
