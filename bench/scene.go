package main

// One end-to-end run: a broker, one or more servers, a generator, each a process of its own on this machine;
// and what it came to. A run in which an event is refused, lost or stored without being acknowledged is no result.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Servers.
const (
	gateway  = "gateway"
	baseline = "baseline"
	rawGRPC  = "raw gRPC" // receives and answers, and knows no Kafka
	// tunedGRPC is the same with the flow-control windows and the buffer pool of the gateway's server.
	tunedGRPC = "raw gRPC, the gateway's windows"
	franzGo   = "franz-go" // is its own generator
	// consumers are franz-go consumers in a gateway's place.
	consumers = "franz-go consumers"
)

// brokerless servers know no Kafka.
func brokerless(server string) bool { return server == rawGRPC || server == tunedGRPC }

// load is what the generator sends.
type load struct {
	batch   int // events a message; 0 is one, by the methods for single events
	unary   bool
	streams int // with unary: callers
	size    int // bytes of data an event
	keys    int
	rate    float64 // events a second on a fixed schedule; 0 is as fast as answers come
	window  int     // unanswered messages a stream; 0 is the generator's default
	took    time.Duration
}

// scene is one run.
type scene struct {
	server     string
	broker     string
	partitions int
	gateways   int      // 0 is one
	env        []string // settings of the gateway
	burn       float64  // nanoseconds of CPU that franz-go alone burns beside each record
	load       load
	readers    int    // how many read every event back; 0: nobody does
	live       bool   // the time until a reader has an event, instead of what the reading costs
	profile    string // name of the profiles to take, or ""
}

// figures are what one run gave. CPU times are nanoseconds an event, latencies milliseconds.
type figures struct {
	Events  int64   `json:"events"`
	Rate    float64 `json:"events_per_second"`
	Server  float64 `json:"server_cpu_ns"`
	Client  float64 `json:"generator_cpu_ns"`
	Broker  float64 `json:"broker_cpu_ns"`
	P50     float64 `json:"p50_ms"`
	P99     float64 `json:"p99_ms"`
	P999    float64 `json:"p99.9_ms"`
	Late99  float64 `json:"generator_late_p99_ms"`
	PeakMiB float64 `json:"peak_mib"`
	// PerBatch is how many records the gateway put into a batch for Kafka, in the mean; 0 where the server is
	// another.
	PerBatch float64 `json:"records_a_batch,omitempty"`
	// Ack50 and Ack99 are the latency until the answer, where P50 and P99 are until a reader has the event.
	Ack50 float64 `json:"ack_p50_ms,omitempty"`
	Ack99 float64 `json:"ack_p99_ms,omitempty"`
	// Kept is the share of a fixed rate that was sent and answered; 0 without a fixed rate.
	Kept float64 `json:"schedule_kept,omitempty"`
}

// bench holds what the runs share.
type bench struct {
	bin    binaries
	out    string // bench/out
	dir    string // logs and data, thrown away
	rounds int
	span   time.Duration // of one measured run
	kafka  *kafkaBroker  // nil: not here
	// generatorCPU is what the generator takes an event in batches of 100, in nanoseconds; 0 until measured.
	generatorCPU float64
	// kafkaAway is why there is no Apache Kafka.
	kafkaAway error
	runs      *runLog
	loops     closedLoops
	// titles are what the pages call the profiles, by the names of their files.
	titles map[string]string
	// failures are what is no result, in words.
	failures []string
}

const (
	warmUp = 250 * time.Millisecond
	// runLimit is how much longer than planned a run may take.
	runLimit = 30 * time.Second
)

// run sets a scene, plays it and clears up.
func (b *bench) run(ctx context.Context, s scene) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.load.took+runLimit)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", s, err)
		}
		b.runs.write(s, f, err)
	}()
	if s.readers > 0 && !s.live {
		return b.fanOut(ctx, s)
	}
	stage, err := b.set(ctx, s)
	defer func() { err = errors.Join(err, stage.clear()) }()
	if err != nil {
		return f, err
	}
	switch {
	case s.live:
		f, err = b.live(ctx, s, stage)
	case s.server == franzGo:
		f, err = b.produceAlone(ctx, s, stage)
	default:
		f, err = b.play(ctx, s, stage)
	}
	return f, err
}

// String names a scene in errors and on the progress line.
func (s scene) String() string {
	text := s.server
	if s.gateways > 1 {
		text = fmt.Sprintf("%d x %s", s.gateways, s.server)
	}
	if !brokerless(s.server) {
		text += " -> " + s.broker
	}
	if s.readers > 0 {
		text += fmt.Sprintf(", %d readers", s.readers)
	}
	if s.load.streams > 0 {
		text += ", " + s.load.String()
	}
	if len(s.env) > 0 {
		text += ", " + strings.Join(s.env, " ")
	}
	return text
}

func (l load) String() string {
	var text string
	switch {
	case l.unary && l.batch > 0:
		text = fmt.Sprintf("calls of %d, %d callers", l.batch, l.streams)
	case l.unary:
		text = fmt.Sprintf("calls of one event, %d callers", l.streams)
	case l.batch > 0:
		text = fmt.Sprintf("messages of %d on %d streams", l.batch, l.streams)
	default:
		text = fmt.Sprintf("single events on %d streams", l.streams)
	}
	text += fmt.Sprintf(", %d B", l.size)
	if l.rate > 0 {
		text += fmt.Sprintf(", %.0f/s", l.rate)
	}
	return text
}

// stage is a scene that is set.
type stage struct {
	broker  broker
	servers []*server
}

// server is a process that takes events.
type server struct {
	*process
	grpc, http string
}

func (b *bench) set(ctx context.Context, s scene) (st *stage, err error) {
	st = &stage{}
	if !brokerless(s.server) {
		if st.broker, err = b.startBroker(ctx, s); err != nil {
			return st, err
		}
	}
	if s.server == franzGo {
		return st, nil
	}
	for range max(s.gateways, 1) {
		v, err := b.startServer(ctx, s, st.broker)
		if err != nil {
			return st, err
		}
		st.servers = append(st.servers, v)
	}
	return st, nil
}

// clear ends what runs, servers before the broker.
func (st *stage) clear() (err error) {
	for _, v := range st.servers {
		if e := v.end(); e != nil {
			err = errors.Join(err, fmt.Errorf("ending a server: %w", e))
		}
	}
	if st.broker != nil {
		err = errors.Join(err, st.broker.end())
	}
	return err
}

// startServer starts what a scene measures.
func (b *bench) startServer(ctx context.Context, s scene, to broker) (*server, error) {
	if e, ok := to.(*embeddedBroker); ok && s.server == gateway {
		return e.server, nil
	}
	switch s.server {
	case gateway:
		return b.startGateway(ctx, append([]string{"KAFKA_BROKERS=" + to.address(), "KAFKA_TOPIC=" + to.topic()}, s.env...))
	case baseline:
		return b.startPlain(b.bin.baseline, append([]string{"KAFKA_BROKERS=" + to.address(), "KAFKA_TOPIC=" + to.topic(), "GRPC_PORT=0"}, s.env...))
	case rawGRPC, tunedGRPC:
		return b.startPlain(b.bin.rawgrpc, nil, "--batch", fmt.Sprint(max(s.load.batch, 1)), fmt.Sprintf("--tuned=%t", s.server == tunedGRPC))
	}
	return nil, fmt.Errorf("no server is called %q", s.server)
}

// plainCollector has the programs beside the gateway collect garbage as rarely as the gateway does, which waits for 32 MiB: with
// their live heaps of 5 to 15 MB, GOGC=400 lets them allocate 20 to 60.
const plainCollector = "GOGC=400"

// startPlain starts a server that prints its address.
func (b *bench) startPlain(program string, env []string, args ...string) (*server, error) {
	p, address, err := startListening(b.log(program), program, append([]string{plainCollector}, env...), args...)
	if err != nil {
		return nil, err
	}
	return &server{process: p, grpc: address}, nil
}

// play warms up, sends the load and compares what was acknowledged with what the broker has.
func (b *bench) play(ctx context.Context, s scene, st *stage) (f figures, err error) {
	warm := s.load
	warm.took, warm.rate = warmUp, 0
	if _, err := b.generate(ctx, warm, st.servers); err != nil {
		return f, fmt.Errorf("warming up: %w", err)
	}
	stored, brokerCPU := int64(0), time.Duration(0)
	if st.broker != nil {
		if stored, err = st.broker.stored(ctx); err != nil {
			return f, err
		}
		brokerCPU = st.broker.cpu()
	}
	before, err := st.batches(ctx)
	if err != nil {
		return f, err
	}
	cpu := st.cpu() // last, so that it counts the load alone
	profiled := b.profiles(ctx, s, st)
	sum, err := b.generate(ctx, s.load, st.servers)
	if e := <-profiled; err == nil {
		err = e
	}
	if err != nil {
		return f, err
	}
	n := float64(sum.Acknowledged)
	f = figures{Events: sum.Acknowledged, Rate: sum.Rate, Client: sum.CPUNanos, Server: float64(st.cpu()-cpu) / n,
		P50: sum.Latency.P50, P99: sum.Latency.P99, P999: sum.Latency.P999, Late99: sum.Late.P99, PeakMiB: st.peak()}
	after, err := st.batches(ctx)
	if err != nil {
		return f, err
	}
	f.PerBatch = after.since(before)
	if f.Server <= 0 || f.PeakMiB <= 0 {
		return f, errors.New("this system does not tell a process's CPU and memory (/proc/PID/task/*/schedstat, /proc/PID/status): not a result")
	}
	if s.load.rate > 0 {
		f.Kept = sum.Rate / s.load.rate
	}
	if st.broker == nil {
		return f, nil
	}
	f.Broker = float64(st.broker.cpu()-brokerCPU) / n
	now, err := st.broker.stored(ctx)
	if err == nil && now-stored != sum.Acknowledged {
		err = fmt.Errorf("%d events were acknowledged, the broker has %d more records: not a result", sum.Acknowledged, now-stored)
	}
	return f, err
}

// cpu is the processor time of all servers so far.
func (st *stage) cpu() (total time.Duration) {
	for _, v := range st.servers {
		total += v.cpu()
	}
	return total
}

// peak is the largest resident size of a server, in MiB.
func (st *stage) peak() float64 {
	largest := int64(0)
	for _, v := range st.servers {
		largest = max(largest, v.peak())
	}
	return float64(largest) / (1 << 20)
}

// together runs f for every server at the same time and joins the errors.
func together(servers []*server, f func(i int, v *server) error) error {
	failures := make([]error, len(servers))
	var group sync.WaitGroup
	for i, v := range servers {
		group.Go(func() { failures[i] = f(i, v) })
	}
	group.Wait()
	return errors.Join(failures...)
}
