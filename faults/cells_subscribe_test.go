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
	// Without recent events, which fill their share of the memory whoever reads.
	small := []string{"SUBSCRIBE_BUFFER_BYTES=1MiB", "SUBSCRIBE_HEARTBEAT=200ms", "EVENT_STORE_CAPACITY=0"}
	return []cell{
		{name: "R22", fault: "records deleted past a subscriber that does not read, and past one that is away; a cursor beyond the end", on: fake, ci: true,
			expires: true, load: load, settings: small, rules: ledger.Rules{Least: some}, hurt: deletedRecords},
		{name: "R32", fault: "one subscriber of twenty stops reading for longer than SEND_TIMEOUT", on: fake, ci: true, load: load,
			settings: append([]string{"SEND_TIMEOUT=2s"}, small...), rules: ledger.Rules{Least: some}, hurt: slowSubscriber},
		{name: "R23", fault: "a batch of garbage, and one that becomes 130 MiB, in one partition of six", on: fake, ci: true, expires: true, load: load,
			settings: small, rules: ledger.Rules{Least: some}, hurt: poisonBatches},
		{name: "R33", fault: "200 subscriptions opened and closed each second", on: fake, ci: true, load: load, settings: small,
			rules: ledger.Rules{Least: some}, hurt: churn},
		{name: "R34", fault: "a replay of everything there is (five million events with LONG) while events come in", on: fake, ci: true, load: load,
			rules: ledger.Rules{Least: some}, settings: []string{"REPLAY_RATE_LIMIT=100000"}, hurt: replayBesideIngest},
		killed("R57", fake), killed("R57e", embedded),
		{name: "R58", fault: "SIGKILL of one of two gateways under a group of three subscribers", on: fake, ci: true, load: load,
			settings: []string{"KAFKA_COMMIT_INTERVAL=1s", "KAFKA_SESSION_TIMEOUT=6s"}, rules: ledger.Rules{Least: some}, hurt: killUnderGroup, seen: groupSeen},
	}
}

func killUnderSubscribers(x *run) {
	kills := 2
	if x.cell.on == embedded {
		kills = 1 // its start takes longer
	}
	all := x.audience(2)
	for range x.times(kills, 20) {
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

// readerBytes is what a reader of the past takes at most here, in bytes: 5.7 MiB were seen.
const readerBytes = 8 << 20

func slowSubscriber(x *run) {
	const subscribers, sendTimeout = 20, 2 * time.Second
	var others []*rig.Subscriber
	for i := range subscribers - 1 {
		others = append(others, x.subscribe(rig.Subscription{Name: fmt.Sprint("reader", i), Window: window}))
	}
	slow := x.subscribe(rig.Subscription{Name: "slow", Window: window})
	x.lasts(500*time.Millisecond, 5*time.Second)
	before, _ := x.gateway.Resources()
	var had []int
	for _, s := range others {
		had = append(had, s.Total())
	}
	acknowledged, began := x.ledger.Count().Acknowledged, time.Now()
	slow.Hold()
	// Those who fall out of the hub read by themselves meanwhile. alone are the most at once: what they took is not given back at once.
	alone := int64(0)
	cut := func() bool {
		m := x.gateway.Metrics()
		alone = max(alone, int64(m.Sum("gateway_subscribe_readers")))
		return m.Sum("gateway_grpc_slow_clients_total") > 0
	}
	if !rig.Within(4*sendTimeout, cut) {
		x.Error("the gateway does not cut the subscriber that does not read")
	}
	x.say("cut after %v", time.Since(began).Round(10*time.Millisecond))
	_ = rig.Within(x.span(500*time.Millisecond, 50*time.Second), func() bool { cut(); return false })
	now, _ := x.gateway.Resources()
	x.say("%d acknowledged beside it; memory %d MiB before, %d after", x.ledger.Count().Acknowledged-acknowledged, before.Bytes>>20, now.Bytes>>20)
	for i, s := range others {
		x.keepsUp("beside one that does not read", s, had[i], acknowledged)
	}
	if now.Bytes > before.Bytes+32<<20+alone*readerBytes {
		x.Errorf("P9: memory grew from %d to %d MiB by a subscriber that does not read; %d others had readers of their own", before.Bytes>>20, now.Bytes>>20, alone)
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

// poisonBatches: first a batch that nothing is known about, until the operator deletes it; then one whose end is known.
func poisonBatches(x *run) {
	readers := []*rig.Subscriber{
		x.subscribe(rig.Subscription{Name: "earliest", Insist: true, Request: &gatewayv1.SubscribeRequest{Start: earliest}}),
		x.subscribe(rig.Subscription{Name: "latest", Insist: true}),
	}
	skipping := x.subscribe(rig.Subscription{Name: "skipping", Insist: true, Skip: true})
	x.unreadable("garbage", garbage(), append(readers, skipping), nil)
	x.unreadable("bomb", x.bomb(), readers, skipping)
}

// unreadable puts a batch into one partition, waits until every reader has been told, looks whether the other partitions
// go on for those who call again, and for those who begin behind it, and deletes it.
func (x *run) unreadable(name string, records []byte, readers []*rig.Subscriber, skipping *rig.Subscriber) {
	x.Helper()
	began := time.Now()
	offset := x.poison(victim, records)
	for _, s := range readers {
		end, ok := s.After(began, "RECORD_UNREADABLE", 5*time.Second)
		if !ok || end.Code != codes.DataLoss {
			x.Errorf("%s: subscriber %s is not told within 5 s: %+v, %+v", name, s.Name, end, s.Ends())
			continue
		}
		x.say("%s at %d/%d: %s is told after %v: %s %v", name, victim, offset, s.Name, end.At.Sub(began).Round(10*time.Millisecond), end.Text, end.Metadata)
	}
	behind := x.subscribe(rig.Subscription{Name: "behind " + name, Insist: true})
	before := map[*rig.Subscriber]int{}
	for _, s := range readers {
		before[s] = s.Total()
	}
	had, written := behind.Total(), x.ledger.Count().Acknowledged
	x.lasts(time.Second, 20*time.Second)
	for _, s := range readers {
		x.say("%s: %s received %d of %d by calling again", name, s.Name, s.Total()-before[s], x.ledger.Count().Acknowledged-written)
		if s.Total()-before[s] < 100 {
			x.Errorf("%s: the other partitions do not go on for %s: %d events", name, s.Name, s.Total()-before[s])
		}
	}
	x.keepsUp(name+" lies before its start", behind, had, written)
	x.steady(name+" lies before its start", behind)
	if skipping != nil {
		if end, ok := skipping.After(began, "RECORD_UNREADABLE", 0); !ok || end.Metadata["skip_cursor"] == "" || skipping.EndedSince(began, "RECORD_UNREADABLE") > 20 {
			x.Errorf("%s: nothing says how to go on behind it: %+v", name, end)
		}
	}
	x.deleteRecords(map[int32]int64{victim: offset + 1})
}

// keepsUp fails when a subscriber to everything, which had that many events when that many were acknowledged, does not
// soon have what has been acknowledged since.
func (x *run) keepsUp(when string, s *rig.Subscriber, had, acknowledged int) {
	x.Helper()
	written := x.ledger.Count().Acknowledged - acknowledged
	if !rig.Within(3*time.Second, func() bool { return s.Total()-had >= written }) {
		x.Errorf("%s: subscriber %s received %d of %d events", when, s.Name, s.Total()-had, written)
	}
}

// churn opens subscriptions and closes them soon after.
func churn(x *run) {
	cursor, _ := x.subscribe(rig.Subscription{Name: "steady"}).Place()
	before, _ := x.gateway.Resources()
	opened, reasons := rig.ComeAndGo(x, x.gateway.GRPC, 200, x.span(3*time.Second, 60*time.Second), func(n int) *gatewayv1.SubscribeRequest {
		switch {
		case n%20 == 0:
			return &gatewayv1.SubscribeRequest{Start: earliest}
		case n%20 == 1 && cursor != "":
			return &gatewayv1.SubscribeRequest{Cursor: cursor}
		case n%20 == 2:
			return &gatewayv1.SubscribeRequest{GroupId: fmt.Sprint("churn", n%3)}
		}
		return &gatewayv1.SubscribeRequest{EventTypes: []string{fmt.Sprint("load.", n%3)}, Heartbeat: true}
	})
	x.steady("beside subscribers that come and go", x.subscribers[0])
	now, _ := x.gateway.Resources()
	x.say("%d opened, ends %v; goroutines %d before, %d after, files %d and %d, MiB %d and %d", opened, reasons, before.Goroutines, now.Goroutines,
		before.Files, now.Files, before.Bytes>>20, now.Bytes>>20)
	for reason, n := range reasons {
		if reason != "" && reason != "TOO_MANY_READERS" {
			x.Errorf("%d calls end with %s", n, reason)
		}
	}
	if opened < int(50*x.span(3*time.Second, 60*time.Second).Seconds()) {
		x.Errorf("P11: %d opened", opened)
	}
	// The rest is P9 of every cell: goroutines and files, Kafka connections among them, come back.
	if now.Bytes > before.Bytes+64<<20 {
		x.Errorf("P9: memory grew from %d to %d MiB", before.Bytes>>20, now.Bytes>>20)
	}
}

// killUnderGroup kills the gateway that two of three members are connected to.
func killUnderGroup(x *run) {
	second := x.second()
	second.Start().Ready()
	starts, _, err := x.broker.Bounds(topic)
	if err != nil {
		x.Fatal(err)
	}
	g := &group{start: ledger.Opening{From: starts, To: starts}}
	x.groups = append(x.groups, g)
	one, two := x.gateway.GRPC, second.GRPC
	for i, addresses := range [][]string{{one, two}, {two, one}, {two, one}} {
		g.members = append(g.members, rig.Subscribe(x, x.ledger, x.subscription(rig.Subscription{Name: fmt.Sprint("member", i), Addresses: addresses,
			Request: &gatewayv1.SubscribeRequest{GroupId: "three", Start: earliest}})))
	}
	all := func() bool {
		for _, s := range g.members {
			if time.Since(s.Newest()) > time.Second {
				return false
			}
		}
		return true
	}
	if !rig.Within(15*time.Second, all) {
		x.Error("P11: not every member of the group receives something")
	}
	x.lasts(1500*time.Millisecond, 20*time.Second)
	second.Kill()
	killed := time.Now()
	for _, s := range g.members[1:] {
		if !rig.Within(20*time.Second, func() bool { return s.Newest().After(killed.Add(time.Second)) }) {
			x.Errorf("%s receives nothing after its gateway was killed: %+v", s.Name, s.Ends())
		}
	}
	x.say("all members receive again after %v", time.Since(killed).Round(10*time.Millisecond))
}

// groupSeen: what was delivered twice is what the killed gateway had not committed: a commit interval's worth of the load,
// and what its members had caught up with in that time.
func groupSeen(x *run, _ *ledger.Verdict) {
	g := x.groups[0]
	perSecond := float64(x.ledger.Count().Acknowledged) / x.healed.Sub(x.began).Seconds()
	x.say("%d events delivered twice; %.0f are acknowledged a second, KAFKA_COMMIT_INTERVAL=1s", g.twice, perSecond)
	if float64(g.twice) > 2*perSecond {
		x.Errorf("%d events were delivered twice: more than the killed gateway can have had uncommitted", g.twice)
	}
}

// replayBesideIngest compares the calls' latency without and beside a replay of everything.
func replayBesideIngest(x *run) {
	x.stock(x.times(200_000, 5_000_000))
	calls := &rig.Calls{}
	probe := rig.StartLoad(x, x.ledger, rig.Load{Name: "probe-", Address: x.gateway.GRPC, Unary: 8, Streams: -1, Batches: -1, Rate: 400, Dial: calls.Dial})
	if err := probe.Fresh(rig.Patience); err != nil {
		x.Fatal(err)
	}
	settled := time.Now()
	x.lasts(3*time.Second, 60*time.Second)
	calm := rig.Latency(calls.Between(settled, time.Now()), 0.99)
	began := time.Now()
	replay := rig.Replay(x, x.ledger, x.gateway.GRPC, x.began, began, x.cell.rules.Partition, 5*time.Minute)
	x.replays = append(x.replays, replay)
	took := time.Since(began)
	beside := rig.Latency(calls.Between(began, time.Now()), 0.99)
	probe.Stop(rig.Patience)
	x.say("%d events replayed in %v, %.0f a second; p99 of calls %v before, %v beside: %.1f times", replay.Total(), took.Round(10*time.Millisecond),
		float64(replay.Total())/took.Seconds(), calm.Round(10*time.Microsecond), beside.Round(10*time.Microsecond), float64(beside)/float64(calm))
	// As in R47: on a machine that others use, too, the ratio alone says little.
	if beside > 5*calm && beside > 250*time.Millisecond {
		x.Errorf("p99 of calls beside a replay is %v, without it %v", beside, calm)
	}
}

// stock writes n events as fast as the gateway takes them, to have something to read back.
func (x *run) stock(n int) {
	x.Helper()
	began := time.Now()
	l := rig.StartLoad(x, x.ledger, rig.Load{Name: "stock-", Address: x.gateway.GRPC, Unary: -1, Streams: -1, BatchSize: 500, Window: 8, Size: 100, Rate: 1_000_000, Most: n})
	if !rig.Within(time.Minute+time.Duration(n)*100*time.Microsecond, func() bool { return l.Count().Acknowledged >= n }) {
		x.Fatalf("%d of %d events to read back were acknowledged in %v", l.Count().Acknowledged, n, time.Since(began))
	}
	l.Stop(rig.Patience)
	x.say("%d events to read back were written in %v", n, time.Since(began).Round(10*time.Millisecond))
}
