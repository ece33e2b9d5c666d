//go:build kafka

package main

// A hundred subscribers with different starts and filters while events are
// written at full speed, the gateway is killed and a broker of three is stopped:
// each receives exactly what its start and filter say, in order by partition. It
// is judged by package ledger (P8), beside which P1 to P6 are judged as well.

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	book "github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/faults/rig"
	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

const (
	// audience is how many subscribers there are; so many of them are there before the first event.
	audience, audienceFirst = 100, 60
	audienceTypes           = 20
	audiencePartitions      = 6
	audienceTopic           = "events"
)

// audienceEvents are a million with LONG=1.
func audienceEvents() int {
	if os.Getenv("LONG") != "" {
		return 1_000_000
	}
	return 100_000
}

func TestKafkaSubscribers(t *testing.T) {
	if os.Getenv(kafkatest.EnvBrokers) != "" {
		t.Skipf("%s names a cluster that is not ours to stop", kafkatest.EnvBrokers)
	}
	b := rig.StartApache(t, 3, false)
	g := rig.NewGateway(t, t.TempDir(), "KAFKA_BROKERS="+strings.Join(b.Addrs, ","), "KAFKA_REPLICATION_FACTOR=3")
	a := newAudience(t, g, b)
	a.kills(0.3)
	a.more(0.4)
	b.Apache.Stop(0)
	a.more(0.6)
	a.judge()
}

func TestKafkaSubscribersEmbedded(t *testing.T) {
	g := rig.NewGateway(t, t.TempDir())
	a := newAudience(t, g, rig.Embedded(t, g))
	a.kills(0.3)
	a.more(0.4)
	a.kills(0.5)
	a.more(0.6)
	a.judge()
}

// crowd is a run of the test.
type crowd struct {
	t       *testing.T
	gateway *rig.Gateway
	broker  *rig.Broker
	ledger  *book.Ledger
	load    *rig.Running
	all     []*rig.Subscriber
	// donor has everything from the first event on; others begin with its cursors.
	donor *rig.Subscriber
	// began is when the load began.
	began time.Time
}

// newAudience starts the gateway, the first subscribers, and a load as fast as it goes.
func newAudience(t *testing.T, g *rig.Gateway, b *rig.Broker) *crowd {
	t.Helper()
	g.Settings = append(g.Settings, fmt.Sprint("KAFKA_NUM_PARTITIONS=", audiencePartitions), "SUBSCRIBE_HEARTBEAT=200ms",
		"SUBSCRIBE_MAX_READERS=400") // all of them are one client, which may have a quarter
	g.Start().Ready()
	a := &crowd{t: t, gateway: g, broker: b, ledger: book.New(uint64(time.Now().UnixNano()))}
	a.donor = a.subscribe("donor", &gatewayv1.SubscribeRequest{Start: gatewayv1.SubscribeRequest_START_EARLIEST}, nil, nil)
	for n := 1; n < audienceFirst; n++ {
		request, wants := a.filtered(n)
		if n%3 == 0 {
			request.Start = gatewayv1.SubscribeRequest_START_EARLIEST
		}
		a.subscribe(fmt.Sprint("first", n), request, wants, nil)
	}
	for _, s := range a.all {
		s.Begun()
	}
	a.began = time.Now()
	a.load = rig.StartLoad(t, a.ledger, rig.Load{Address: g.GRPC, Unary: 2, Streams: 2, Batches: 4, Rate: 400_000, BatchSize: 100,
		Types: audienceTypes, Resend: true, Most: audienceEvents() * 6 / 10})
	return a
}

// filtered is a request with one of ten filters, nine of which want a part, and what it wants.
func (a *crowd) filtered(n int) (*gatewayv1.SubscribeRequest, func(*book.Producer, int) bool) {
	request := &gatewayv1.SubscribeRequest{Heartbeat: true}
	is := n % audienceTypes
	ofType := func(_ *book.Producer, seq int) bool { return seq%audienceTypes == is }
	switch n % 10 {
	case 0:
		return request, nil
	case 1: // a prefix
		request.EventTypes = []string{"load.1*"}
		return request, func(_ *book.Producer, seq int) bool { return strings.HasPrefix(fmt.Sprint(seq%audienceTypes), "1") }
	case 2: // a condition
		request.Filter = fmt.Sprintf("id.endsWith(%q) && source.startsWith(%q)", "7", "/faults/")
		return request, func(_ *book.Producer, seq int) bool { return seq%10 == 7 }
	case 3: // a type and a condition
		request.EventTypes, request.Filter = []string{fmt.Sprint("load.", is)}, `id.startsWith("batch")`
		return request, func(p *book.Producer, seq int) bool { return seq%audienceTypes == is && p.Method == book.Batch }
	case 4: // sources
		for seq := range 100 {
			request.Sources = append(request.Sources, fmt.Sprint("/faults/batch0|", seq*7))
		}
		request.Start = gatewayv1.SubscribeRequest_START_EARLIEST
		return request, func(p *book.Producer, seq int) bool { return p.Name == "batch0" && seq%7 == 0 && seq < 700 }
	case 5: // several types
		request.EventTypes = []string{fmt.Sprint("load.", is), "load.3", "other"}
		return request, func(_ *book.Producer, seq int) bool { return slices.Contains([]int{is, 3}, seq%audienceTypes) }
	}
	request.EventTypes = []string{fmt.Sprint("load.", is)}
	return request, ofType
}

func (a *crowd) subscribe(name string, request *gatewayv1.SubscribeRequest, wants func(*book.Producer, int) bool, opening *book.Opening) *rig.Subscriber {
	a.t.Helper()
	s := rig.StartSubscriber(a.t, a.ledger, rig.Subscription{Name: name, Addresses: []string{a.gateway.GRPC}, Request: request, Wants: wants, Opening: opening,
		Partition: rig.PartitionOf(audiencePartitions),
		Bounds:    func() (starts, ends map[int32]int64, err error) { return a.broker.Bounds(audienceTopic) }})
	a.all = append(a.all, s)
	return s
}

// reach waits until that part of the events is acknowledged.
func (a *crowd) reach(part float64) {
	a.t.Helper()
	want := int(part * float64(audienceEvents()))
	if !rig.Within(2*time.Minute, func() bool { return a.ledger.Count().Acknowledged >= want }) {
		a.t.Fatalf("%d of %d events are acknowledged after two minutes: %v", a.ledger.Count().Acknowledged, want, a.ledger.Reasons())
	}
}

// kills kills the gateway and starts it again.
func (a *crowd) kills(at float64) {
	a.t.Helper()
	a.reach(at)
	a.gateway.Kill()
	a.gateway.Start().Ready()
}

// more starts twenty subscribers in the middle: from a time, from the first event, from now on, and from the place of the
// donor.
func (a *crowd) more(at float64) {
	a.t.Helper()
	a.reach(at)
	var late []*rig.Subscriber
	for n := range (audience - audienceFirst) / 2 {
		request, wants := a.filtered(n)
		opening := (*book.Opening)(nil)
		if request.Start == gatewayv1.SubscribeRequest_START_UNSPECIFIED {
			switch n % 4 {
			case 0:
				cursor, passed := a.donor.Place()
				request.Cursor, opening = cursor, &book.Opening{Passed: passed}
			case 1: // the first whole second of the load, and the next ones
				request.StartTimestamp = min(a.began.Unix()+1+int64(n)/4, time.Now().Unix())
			case 2:
				request.Start = gatewayv1.SubscribeRequest_START_EARLIEST
			}
		}
		late = append(late, a.subscribe(fmt.Sprintf("at%.0f-%d", 100*at, n), request, wants, opening))
	}
	for _, s := range late {
		s.Begun()
	}
	a.load.Allow(int(float64(audienceEvents()) * (at + 0.4)))
}

// judge ends the load, waits until everybody has everything, and judges.
func (a *crowd) judge() {
	a.t.Helper()
	a.reach(0.98) // some are refused while there is no Kafka
	took := time.Since(a.began)
	a.load.Stop(rig.Patience)
	ended := time.Now()
	rules := book.Rules{MayDouble: true, LeastDoubt: 1, Partition: rig.PartitionOf(audiencePartitions), Least: book.Counts{Acknowledged: 500},
		Methods: []book.Method{book.Stream, book.Batch}} // calls come to little beside them
	j := book.NewJudge(a.ledger, rules)
	if err := a.broker.Read(audienceTopic, 2*time.Minute, j.Record); err != nil {
		a.t.Fatal(err)
	}
	var late []string
	rig.Within(5*time.Minute, func() bool {
		late = nil
		for _, s := range a.all {
			if !j.Arrived(s.Received) {
				late = append(late, fmt.Sprintf("%s %d %t", s.Name, s.Total(), s.Ended()))
			}
		}
		return len(late) == 0
	})
	arrived := time.Since(ended)
	v := j.Verdict()
	received, reasons := 0, map[string]int{}
	for _, s := range a.all {
		s.Stop()
		j.Received(s.Received)
		received += s.Total()
		for _, e := range s.Ends() {
			reasons[e.Reason+" "+e.Code.String()]++
		}
	}
	for _, found := range v.Violations {
		a.t.Error(found)
	}
	sum, seconds := v.Sum(), took.Seconds()
	a.t.Logf("%d acknowledged in %.1f s (%.0f a second), %d unknown, %d stored twice; %d subscribers received %d events, the last of them %.1f s after the load's end (%.0f a second); calls ended %v; late %v",
		sum.Acknowledged, seconds, float64(sum.Acknowledged)/seconds, sum.Unknown+sum.NoAnswer, sum.TwiceStored, len(a.all), received, arrived.Seconds(),
		float64(received)/(took+arrived).Seconds(), reasons, late)
	if reasons[" Unavailable"] == 0 || len(a.all) != audience || reasons["EVENTS_EXPIRED OutOfRange"] > 0 {
		a.t.Errorf("%d subscribers, ends %v: nobody was cut, or somebody was told that something is gone", len(a.all), reasons)
	}
	if panicked := a.gateway.Panicked(); panicked != "" {
		a.t.Error(panicked)
	}
}
