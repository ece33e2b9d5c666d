//go:build faults

package faults

// Subscribers beside a cell's load, and P8.

import (
	"fmt"
	"time"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

const (
	earliest = gatewayv1.SubscribeRequest_START_EARLIEST
	latest   = gatewayv1.SubscribeRequest_START_LATEST
)

// group is subscribers that share the events from start on.
type group struct {
	start   ledger.Opening
	members []*rig.Subscriber
	// twice is found by the judge.
	twice int
}

func (g *group) received() (all []*ledger.Received) {
	for _, s := range g.members {
		all = append(all, s.Received)
	}
	return all
}

// subscription is one of the cell's topic; what is not set in conf is added.
func (x *run) subscription(conf rig.Subscription) rig.Subscription {
	if conf.Addresses == nil {
		conf.Addresses = []string{x.gateway.GRPC}
	}
	if conf.Request == nil {
		conf.Request = &gatewayv1.SubscribeRequest{Start: latest}
	}
	conf.Partition = x.cell.rules.Partition
	conf.Bounds = func() (starts, ends map[int32]int64, err error) { return x.broker.Bounds(topic) }
	return conf
}

// subscribe starts a subscriber that is judged at the end.
func (x *run) subscribe(conf rig.Subscription) *rig.Subscriber {
	x.Helper()
	s := rig.Subscribe(x, x.ledger, x.subscription(conf))
	x.subscribers = append(x.subscribers, s)
	return s
}

// audience starts n subscribers of each kind: from the first event on, from now on, and those of one type of three. The
// cell's load has to have three types.
func (x *run) audience(n int) (all []*rig.Subscriber) {
	x.Helper()
	for i := range n {
		all = append(all,
			x.subscribe(rig.Subscription{Name: fmt.Sprint("earliest", i), Request: &gatewayv1.SubscribeRequest{Start: earliest}}),
			x.subscribe(rig.Subscription{Name: fmt.Sprint("latest", i), Request: &gatewayv1.SubscribeRequest{Start: latest, Heartbeat: true}}),
			x.subscribe(rig.Subscription{Name: fmt.Sprint("third", i), Wants: ofType(3, i%3),
				Request: &gatewayv1.SubscribeRequest{Start: latest, EventTypes: []string{fmt.Sprint("load.", i%3)}, Heartbeat: true}}))
	}
	return all
}

// ofType wants events of one type of so many, of the cell's load.
func ofType(types, is int) func(*ledger.Producer, int) bool {
	return func(p *ledger.Producer, seq int) bool { return seq%types == is && !isWarm(p) }
}

// isWarm: of the load for the baseline, which has one type.
func isWarm(p *ledger.Producer) bool { return len(p.Name) > 5 && p.Name[:5] == "warm-" }

// arrive waits until the subscribers have all there is, and ends them.
func (x *run) arrive() {
	if len(x.subscribers)+len(x.groups) == 0 {
		return
	}
	began := time.Now()
	j := ledger.NewJudge(x.ledger, x.cell.rules)
	if err := x.broker.Read(topic, 2*time.Minute, j.Record); err != nil {
		x.Errorf("reading the topic: %v", err)
	}
	var late []string
	there := func() bool {
		late = nil
		for _, s := range x.subscribers {
			if !j.Arrived(s.Received) {
				late = append(late, fmt.Sprintf("%s (%d events, given up: %t)", s.Name, s.Total(), s.Ended()))
			}
		}
		for _, g := range x.groups {
			if !j.SharedArrived(g.start, g.received()...) {
				late = append(late, "a group")
			}
		}
		return len(late) == 0
	}
	if !rig.Within(rig.Patience, there) {
		x.Errorf("P8: after %v these have not arrived at the end: %v", rig.Patience, late)
	}
	x.say("all subscribers are at the end after %v", time.Since(began).Round(10*time.Millisecond))
	for _, s := range x.subscribers {
		s.Stop()
	}
	for _, g := range x.groups {
		for _, s := range g.members {
			s.Stop()
		}
	}
}

// judgeReaders is P8.
func (x *run) judgeReaders(j *ledger.Judge) {
	total, calls := 0, 0
	for _, s := range x.subscribers {
		j.Received(s.Received)
		total += s.Total()
		calls += len(s.Ends()) + 1
		if s.Total() == 0 {
			x.Errorf("P11: subscriber %s received nothing: %+v", s.Name, s.Ends())
		}
	}
	for _, g := range x.groups {
		g.twice = j.Shared(g.start, g.received()...)
		for _, s := range g.members {
			total += s.Total()
			calls += len(s.Ends()) + 1
		}
	}
	for _, r := range x.replays {
		j.Received(r)
		total += r.Total()
	}
	if total > 0 {
		x.say("subscribers received %d events in %d calls", total, calls)
	}
}

// steady fails when a call of one of them was ended.
func (x *run) steady(when string, all ...*rig.Subscriber) {
	x.Helper()
	for _, s := range all {
		if ends := s.Ends(); len(ends) > 0 {
			x.Errorf("%s: a call of subscriber %s ended: %+v", when, s.Name, ends[0])
		}
	}
}
