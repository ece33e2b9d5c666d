package transport

// A whole gateway in one process for tests: real gRPC over loopback, the real
// pipeline, and a producer in Kafka's place that the test controls.

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/event-gateway/event-gateway/pipeline"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait in the tests.
const patience = 20 * time.Second

// broker is a stages.Producer that stores nothing and acknowledges on one goroutine, when it is let.
type broker struct {
	report func([]*stages.Event)
	mu     sync.Mutex
	queue  []*stages.Event
	next   map[*stages.Partition]int64
	more   chan struct{}
	quit   chan struct{}
	// held: nothing is acknowledged. dead: nothing ever will be, until heal.
	held  atomic.Bool
	taken atomic.Int64
	// judge may change the answer about an event.
	judge func(p *stages.Partition, ev *stages.Event)
}

func (b *broker) Produce(p *stages.Partition, events []*stages.Event) {
	b.mu.Lock()
	for _, ev := range events {
		ev.Ack = stages.Ack{Verdict: stages.Verdict{Outcome: stages.Acknowledged}, Partition: p.ID, Offset: b.next[p]}
		b.next[p]++
		if b.judge != nil {
			b.judge(p, ev)
		}
	}
	b.queue = append(b.queue, events...)
	b.mu.Unlock()
	b.taken.Add(int64(len(events)))
	b.kick()
}

func (b *broker) kick() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (b *broker) hold()    { b.held.Store(true) }
func (b *broker) release() { b.held.Store(false); b.kick() }

func (b *broker) loop() {
	for {
		select {
		case <-b.more:
		case <-b.quit:
			return
		}
		if b.held.Load() {
			continue
		}
		b.mu.Lock()
		queue := b.queue
		b.queue = nil
		b.mu.Unlock()
		for _, ev := range queue {
			b.report([]*stages.Event{ev})
		}
	}
}

type quietLog struct{ panics atomic.Int64 }

func (l *quietLog) Panic(stages.StageID, int, any, []byte, string) { l.panics.Add(1) }
func (l *quietLog) Stuck(stages.StageID, int, time.Duration)       {}
func (l *quietLog) Unstuck(stages.StageID, int)                    {}

// gateway is a running one.
type gateway struct {
	t        testing.TB
	server   *Server
	pipeline *pipeline.Pipeline
	broker   *broker
	log      quietLog
	wg       sync.WaitGroup
	conns    []*grpc.ClientConn
	stopped  bool
}

type setup struct {
	config   Config
	pipeline pipeline.Config
	stages   stages.Config
	services Services
	// topics are those beside "events".
	topics []string
	judge  func(p *stages.Partition, ev *stages.Event)
}

func testSetup() setup {
	return setup{
		config: Config{
			GRPCBind: "127.0.0.1", HTTPBind: "127.0.0.1", MaxMessageBytes: 20 * stages.MiB, MaxConcurrentStreams: 256,
			MaxConnections: 4096, MaxConnectionsEach: 1024, MaxHeaderBytes: 16 * stages.KiB, MaxReceive: 256 * stages.MiB, StreamWindow: 256,
			SendTimeout: 10 * time.Second, MetricsPath: "/metrics", MetricsEnabled: true,
			AdmissionTimeout: 250 * time.Millisecond, DeliveryTimeout: 25 * time.Second, MaxBatchEvents: 10_000,
		},
		pipeline: pipeline.Config{
			RingCapacity: 64, MaxInflight: 64 * stages.MiB, ClientMaxInflight: 64 * stages.MiB, PartitionMaxInflight: 64 * stages.MiB,
			AdmissionTimeout: 250 * time.Millisecond, DeliveryTimeout: 25 * time.Second,
		},
		stages: stages.Config{
			MaxEventBytes: 900_000, MaxBatchEvents: 10_000, RateLimitRPS: 1e9, RateLimitBurst: 1e9,
			BatchMaxEvents: 1024, BatchMaxBytes: 900_000,
		},
	}
}

// start runs a gateway; change may be nil. It ends with the test, and then nothing may be left of it.
func start(t testing.TB, change func(*setup)) *gateway {
	t.Helper()
	c := testSetup()
	if change != nil {
		change(&c)
	}
	topics := stages.NewTopics(append([]string{"events"}, c.topics...)...)
	for _, topic := range topics.All {
		topic.SetPartitions(3)
	}
	c.services.Topics = topics
	g := &gateway{t: t}
	p, err := pipeline.New(c.pipeline, pipeline.Parts{Stages: c.stages, Topics: topics, Log: &g.log})
	if err != nil {
		t.Fatal(err)
	}
	g.pipeline = p
	g.broker = &broker{report: p.Report, next: map[*stages.Partition]int64{}, more: make(chan struct{}, 1), quit: make(chan struct{}), judge: c.judge}
	g.wg.Go(g.broker.loop)
	p.Start(g.broker)
	g.server, err = New(c.config, p, c.services, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.server.SetServing(true)
	g.wg.Go(func() {
		if err := g.server.Serve(); err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(g.stop)
	return g
}

// stop ends everything and looks at what is left.
func (g *gateway) stop() {
	if g.stopped {
		return
	}
	g.stopped = true
	g.broker.release()
	for _, c := range g.conns {
		_ = c.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := g.server.Drain(ctx); err != nil {
		g.t.Errorf("drain: %v", err)
	}
	g.server.Stop()
	if err := g.pipeline.AwaitIdle(ctx); err != nil {
		g.t.Errorf("messages are left: %v; %d events in flight", err, g.pipeline.InFlight())
	}
	g.pipeline.Stop()
	close(g.broker.quit)
	g.pipeline.Close()
	g.wg.Wait()
	g.atRest()
}

// atRest checks that no byte of any budget is left.
func (g *gateway) atRest() {
	g.t.Helper()
	g.eventually("receive memory given back", func() bool { return g.server.recv.held() == 0 })
	if n := g.server.recv.holders.Load(); n != 0 {
		g.t.Errorf("%d connections still count as holding memory", n)
	}
	if l := g.server.recv; l.users != 0 || l.queued != 0 || l.shared != 0 || l.waiters.Len() != 0 {
		g.t.Errorf("large bodies: %d users, %d queued, %d shared, %d waiting at rest", l.users, l.queued, l.shared, l.waiters.Len())
	}
	g.eventually("connections closed", func() bool { return g.server.listener.open.Load() == 0 })
	if n := g.server.streams.count(); n != 0 {
		g.t.Errorf("%d streams are left", n)
	}
	totals := g.pipeline.Totals(stages.FromGRPC)
	sum := uint64(0)
	for _, n := range totals.Outcomes {
		sum += n
	}
	if totals.Outcomes[stages.Pending] != 0 || sum != totals.Accepted {
		g.t.Errorf("accounting: accepted %d, outcomes %v", totals.Accepted, totals.Outcomes)
	}
	if n := g.log.panics.Load(); n != 0 {
		g.t.Errorf("%d panics in the pipeline", n)
	}
	if used := metric(g.pipeline.WriteMetrics, "gateway_inflight_bytes"); used != "0" {
		g.t.Errorf("gateway_inflight_bytes %q at rest", used)
	}
}

// metric is the value of a metric without labels.
func metric(write func(io.Writer), name string) string {
	var b strings.Builder
	write(&b)
	for line := range strings.Lines(b.String()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}

func (g *gateway) eventually(what string, ok func() bool) {
	g.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			g.t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// dial returns a connection of its own.
func (g *gateway) dial(options ...grpc.DialOption) *grpc.ClientConn {
	g.t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	c, err := grpc.NewClient(g.server.Addr().String(), options...)
	if err != nil {
		g.t.Fatal(err)
	}
	g.conns = append(g.conns, c)
	return c
}

func (g *gateway) client() gatewayv1.EventGatewayClient {
	return gatewayv1.NewEventGatewayClient(g.dial())
}

func (g *gateway) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	g.t.Cleanup(cancel)
	return ctx
}

// good sends one event on a connection of its own and wants it acknowledged within a second.
func (g *gateway) good() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := g.client()
	begin := time.Now()
	answer, err := c.IngestEvent(ctx, request("good"))
	if err != nil || answer.Outcome != gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED {
		g.t.Fatalf("a good client: %v, %v", answer, err)
	}
	if took := time.Since(begin); took > time.Second {
		g.t.Errorf("a good client waited %v", took)
	}
}

func event(id string) *eventv1.Event {
	return &eventv1.Event{Id: id, Source: "test", Type: "test.event", Data: []byte("data of " + id)}
}

func request(id string) *gatewayv1.IngestEventRequest {
	return &gatewayv1.IngestEventRequest{Event: event(id)}
}

func batchRequest(n int) *gatewayv1.IngestEventBatchRequest {
	r := &gatewayv1.IngestEventBatchRequest{}
	for i := range n {
		r.Events = append(r.Events, event(fmt.Sprintf("e%d", i)))
	}
	return r
}

// beforeDeadline makes a call with a deadline of a second and returns its error, which must come before the deadline.
// The server leaves itself 5 % of it, too little on a machine that is busy with something else: then it is tried again
// with ten seconds.
func beforeDeadline(t *testing.T, call func(ctx context.Context) error) (err error) {
	t.Helper()
	for _, deadline := range []time.Duration{time.Second, 10 * time.Second} {
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		err = call(ctx)
		inTime := ctx.Err() == nil
		cancel()
		if inTime {
			return err
		}
	}
	t.Error("the answer came after the caller's deadline")
	return err
}
