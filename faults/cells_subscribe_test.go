//go:build faults

package faults

// Subscribers that lose what they read from: the gateway, the oldest events, a
// batch that cannot be read; and those that do not read, or come and go.

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"google.golang.org/grpc/codes"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func subscribeCells() []cell {
	load := rig.Load{Types: 3, Rate: 6000}
	resend := load
	resend.Resend = true
	killed := func(name string, on broker) cell {
		return cell{name: name, fault: "gateway SIGKILL and restart under subscribers, which resume by cursor", on: on, ci: true, restarts: true,
			load: resend, rules: ledger.Rules{MayDouble: true, LeastDoubt: 1, Least: some}, settings: []string{"SUBSCRIBE_HEARTBEAT=200ms"}, hurt: killUnderSubscribers}
	}
	small := []string{"SUBSCRIBE_BUFFER_BYTES=1MiB", "SUBSCRIBE_HEARTBEAT=200ms"}
	return []cell{
		{name: "R22", fault: "records deleted past a subscriber that does not read, and past one that is away; a cursor beyond the end", on: fake, ci: true,
			expires: true, load: load, settings: small, rules: ledger.Rules{Least: some}, hurt: deletedRecords},
		{name: "R32", fault: "one subscriber of twenty stops reading for longer than SEND_TIMEOUT", on: fake, ci: true, load: load,
			settings: append([]string{"SEND_TIMEOUT=2s"}, small...), rules: ledger.Rules{Least: some}, hurt: slowSubscriber},
		killed("R57", fake), killed("R57e", embedded),
	}
}

func killUnderSubscribers(x *run) {
	all := x.audience(2)
	for range x.times(2, 20) {
		<-time.After(time.Duration(300+x.random.IntN(1000)) * time.Millisecond)
		x.gateway.Kill()
		x.gateway.Start().Ready()
		if err := x.load.Fresh(10 * time.Second); err != nil {
			x.Errorf("P7: after a restart: %v", err)
		}
	}
	for _, s := range all {
		if s.EndedBy("") == 0 {
			x.Errorf("P11: no call of subscriber %s was cut", s.Name)
		}
		if s.EndedBy("EVENTS_EXPIRED") > 0 {
			x.Errorf("subscriber %s was told that something is gone, which nothing is: %+v", s.Name, s.Ends())
		}
	}
}

// expired is the status of a place that is gone.
func (x *run) expired(s *rig.Subscriber) {
	x.Helper()
	if !rig.Within(10*time.Second, func() bool { return s.EndedBy("EVENTS_EXPIRED") > 0 }) {
		x.Errorf("subscriber %s is not told that its place is gone: %+v", s.Name, s.Ends())
	}
	for _, e := range s.Ends() {
		if e.Reason == "EVENTS_EXPIRED" && (e.Code != codes.OutOfRange || e.Metadata["earliest_cursor"] == "") {
			x.Errorf("subscriber %s is told %+v: want OUT_OF_RANGE and earliest_cursor", s.Name, e)
		}
	}
}

func deletedRecords(x *run) {
	readers := x.audience(1)
	paused := x.subscribe(rig.Subscription{Name: "paused", Window: window})
	away := rig.Subscribe(x, x.ledger, x.subscription(rig.Subscription{Name: "before", Request: &gatewayv1.SubscribeRequest{Start: earliest}}))
	x.lasts(500*time.Millisecond, 5*time.Second)
	away.Stop()
	cursor, passed := away.Place()
	paused.Hold()
	behind := func() float64 { return x.gateway.Metrics().Sum("gateway_subscriber_behind_events_max") }
	if !rig.Within(8*time.Second, func() bool { return behind() > 10_000 }) {
		x.Errorf("P11: the paused subscriber is %.0f events behind", behind())
	}
	x.deleteRecords(nil)
	back := x.subscribe(rig.Subscription{Name: "away", Request: &gatewayv1.SubscribeRequest{Cursor: cursor}, Opening: &ledger.Opening{Passed: passed}})
	x.expired(back)
	paused.Release()
	x.expired(paused)
	x.steady("records deleted behind it", readers...)
	x.beyond(cursor)
}

// deleteRecords deletes what lies before to, or all there is, and returns up to where.
func (x *run) deleteRecords(to map[int32]int64) {
	x.Helper()
	if to == nil {
		_, ends, err := x.broker.Bounds(topic)
		if err != nil {
			x.Fatal(err)
		}
		to = ends
	}
	x.broker.Admin(func(ctx context.Context, adm *kadm.Client) error {
		offsets := kadm.Offsets{}
		for p, offset := range to {
			offsets.AddOffset(topic, p, offset, -1)
		}
		answers, err := adm.DeleteRecords(ctx, offsets)
		if err == nil {
			err = answers.Error()
		}
		return err
	})
}

// window is what HTTP/2 begins with; grpc-go would let it grow to megabytes, which a client that does not read takes.
const window = 64<<10 - 1

// beyond subscribes with a cursor that lies where Kafka has nothing yet.
func (x *run) beyond(cursor string) {
	x.Helper()
	conf := x.subscription(rig.Subscription{Name: "beyond", Request: &gatewayv1.SubscribeRequest{Cursor: ahead(x.T, cursor, 1<<40)}})
	began := time.Now()
	s := rig.StartSubscriber(x, x.ledger, conf)
	x.expired(s)
	x.say("a cursor beyond the end is refused after %v: %v", time.Since(began).Round(10*time.Millisecond), s.Ends()[0].Text)
	s.Stop()
}

func slowSubscriber(x *run) {
	const subscribers, sendTimeout = 20, 2 * time.Second
	var others []*rig.Subscriber
	for i := range subscribers - 1 {
		others = append(others, x.subscribe(rig.Subscription{Name: fmt.Sprint("reader", i), Window: window}))
	}
	slow := x.subscribe(rig.Subscription{Name: "slow", Window: window})
	x.lasts(time.Second, 5*time.Second)
	before, _ := x.gateway.Resources()
	had, acknowledged, began := others[0].Total(), x.ledger.Count().Acknowledged, time.Now()
	slow.Hold()
	slowClients := func() float64 { return x.gateway.Metrics().Sum("gateway_grpc_slow_clients_total") }
	if !rig.Within(4*sendTimeout, func() bool { return slowClients() > 0 }) {
		x.Error("the gateway does not cut the subscriber that does not read")
	}
	x.say("cut after %v", time.Since(began).Round(10*time.Millisecond))
	x.lasts(time.Second, 50*time.Second)
	now, _ := x.gateway.Resources()
	came, written := others[0].Total()-had, x.ledger.Count().Acknowledged-acknowledged
	x.say("beside it another received %d of %d; memory %d MiB before, %d after", came, written, before.Bytes>>20, now.Bytes>>20)
	if float64(came) < 0.9*float64(written) {
		x.Errorf("another subscriber received %d of %d events while one did not read", came, written)
	}
	if now.Bytes > before.Bytes+32<<20 {
		x.Errorf("P9: memory grew from %d to %d MiB by a subscriber that does not read", before.Bytes>>20, now.Bytes>>20)
	}
	for _, s := range others {
		if age := time.Since(s.Newest()); age > time.Second {
			x.Errorf("subscriber %s has had nothing for %v", s.Name, age)
		}
	}
	slow.Release()
	if !rig.Within(5*time.Second, func() bool { return slow.EndedBy("SLOW_CLIENT") > 0 }) {
		x.Errorf("the slow subscriber is not told SLOW_CLIENT: %+v", slow.Ends())
		return
	}
	if e := slow.Ends()[0]; e.Code != codes.ResourceExhausted || e.Metadata["cursor"] == "" || e.Metadata["cursor"] != e.Cursor {
		x.Errorf("the slow subscriber is told %v; the newest cursor it has is %q", e, e.Cursor)
	}
	x.steady("beside one that does not read", others...)
}
