package kafka

// The embedded broker: franz-go's kfake with a data directory, wrapped for
// what it lacks as a server. The gateway reaches it in memory; other clients
// only through the gate (embedded_gate.go). It is one copy on one machine.
//
// Measured faults of kfake and what stands against each:
//
//	a request with an unknown API key panics the process     -> gate: keys and versions are checked first
//	four bytes make it allocate up to 4 GiB                  -> gate: sizes are checked first
//	two processes on one directory lose events               -> the directory is locked
//	a damaged file silently drops the rest of a segment      -> files are checked before it starts (embedded_check.go)
//	retention stops after a restart, or never runs           -> our own clock calls it
//	it keeps segments of 100 MiB, files readable by all      -> smaller segments; directory 0700
//	its log is silent                                        -> its log is ours

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Embedded is a running embedded broker.
type Embedded struct {
	cfg     *Config
	log     Logger
	cluster *kfake.Cluster
	network *kfake.VirtualNetwork
	addr    string
	lock    *os.File
	gate    *gate

	stop    context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
	err     error
}

const (
	// memoryPort is the broker's port in the in-memory network; nothing outside sees it.
	memoryPort = 9092
	// retentionEvery is how often old events are dropped.
	retentionEvery = 10 * time.Second
	// segmentShare: a partition's bytes are kept in about this many files, because retention frees whole files.
	segmentShare                 = 8
	minSegment, maxSegment       = 1 << 20, 64 << 20
	assumedPartitions      int64 = 3
)

// StartEmbedded starts the embedded broker in cfg.EmbeddedDataDir.
func StartEmbedded(cfg *Config, log Logger) (*Embedded, error) {
	if log == nil {
		log = discardLog{}
	}
	dir := cfg.EmbeddedDataDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("EMBEDDED_DATA_DIR=%s: %w", dir, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("EMBEDDED_DATA_DIR=%s: %w", dir, err)
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{cfg: cfg, log: log, lock: lock, network: &kfake.VirtualNetwork{}}
	if err := e.start(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return e, nil
}

func (e *Embedded) start() error {
	store := filepath.Join(e.cfg.EmbeddedDataDir, "broker")
	if err := e.check(store); err != nil {
		return err
	}
	var listener net.Listener
	e.addr = "127.0.0.1:" + strconv.Itoa(memoryPort)
	if e.cfg.EmbeddedPort > 0 {
		var err error
		listener, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(e.cfg.EmbeddedPort))
		if err != nil {
			return fmt.Errorf("EMBEDDED_KAFKA_PORT=%d: %w", e.cfg.EmbeddedPort, err)
		}
		e.addr = listener.Addr().String()
	}
	cluster, err := kfake.NewCluster(e.options(store)...)
	if err != nil {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
		return fmt.Errorf("the embedded broker does not start on %s: %w", store, err)
	}
	e.cluster = cluster
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	if listener != nil {
		if e.gate, err = newGate(listener, e.dialMemory, e.log); err != nil {
			stop()
			e.cluster.Close()
			return errors.Join(fmt.Errorf("EMBEDDED_KAFKA_PORT=%d: %w", e.cfg.EmbeddedPort, err), listener.Close())
		}
		e.running.Go(e.gate.serve)
	}
	e.running.Go(func() { e.retain(ctx) })
	e.log.Log(LevelWarn, "embedded Kafka broker: one copy on this machine; for development and small installations",
		"dir", e.cfg.EmbeddedDataDir, "retention", e.cfg.EmbeddedRetention, "max.bytes", e.cfg.EmbeddedMaxBytes.String(),
		"survives", e.survives(), "port", e.cfg.EmbeddedPort)
	return nil
}

func (e *Embedded) survives() string {
	if e.cfg.EmbeddedSyncWrites {
		return "a crash of the process or of the host"
	}
	return "a crash of the process, not of the host (EMBEDDED_SYNC_WRITES)"
}

// check looks at the files before the broker does, because the broker repairs by throwing away.
func (e *Embedded) check(store string) error {
	damages, err := checkStore(store)
	if err != nil {
		return fmt.Errorf("EMBEDDED_DATA_DIR=%s: %w", e.cfg.EmbeddedDataDir, err)
	}
	if len(damages) == 0 {
		return nil
	}
	if e.cfg.EmbeddedAllowDataLoss {
		for _, d := range damages {
			e.log.Log(LevelError, "damaged file of the embedded broker: going on without what it held", "damage", d)
		}
		return nil
	}
	return fmt.Errorf("files of the embedded broker are damaged; starting would lose acknowledged events:\n  %s\n"+
		"Restore the files from a copy, or set EMBEDDED_ALLOW_DATA_LOSS=true to go on without what they held",
		strings.Join(damages, "\n  "))
}

func (e *Embedded) options(store string) []kfake.Opt {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("event-gateway-embedded"),
		kfake.DataDir(store),
		kfake.DefaultNumPartitions(int(e.cfg.NumPartitions)),
		kfake.Ports(memoryPort),
		kfake.ListenFn(e.listen),
		kfake.WithLogger(brokerLog{e.log}),
		kfake.BrokerConfigs(e.limits()),
	}
	if e.cfg.EmbeddedSyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	return opts
}

// limits are the broker's settings for retention. They are per partition, our
// bound is for all: each gets an equal share of three quarters of it, the rest
// is for the files that retention cannot free yet (embedded_retention.go).
func (e *Embedded) limits() map[string]string {
	partitions := max(int64(e.cfg.NumPartitions)*int64(len(e.cfg.Topics())), assumedPartitions)
	share := int64(e.cfg.EmbeddedMaxBytes) / partitions
	segment := min(max(share/segmentShare, minSegment), maxSegment)
	return map[string]string{
		"log.retention.ms":    strconv.FormatInt(e.cfg.EmbeddedRetention.Milliseconds(), 10),
		"log.retention.bytes": strconv.FormatInt(share*3/4, 10),
		"log.segment.bytes":   strconv.FormatInt(segment, 10),
	}
}

// listen gives the broker its in-memory listener, under the address that clients are to be told.
func (e *Embedded) listen(network, address string) (net.Listener, error) {
	inner, err := e.network.Listen(network, address)
	if err != nil {
		return nil, err
	}
	return &advertised{Listener: inner, addr: e.addr}, nil
}

// advertised is a listener that calls itself something else.
type advertised struct {
	net.Listener
	addr string
}

// Addr is what the broker tells clients to connect to.
func (a *advertised) Addr() net.Addr { return brokerAddr(a.addr) }

type brokerAddr string

func (brokerAddr) Network() string  { return "tcp" }
func (a brokerAddr) String() string { return string(a) }

// Seeds is the broker's address for kgo.SeedBrokers, together with Dial.
func (e *Embedded) Seeds() []string { return []string{e.addr} }

// Dial connects in memory, whatever address the broker advertises. For kgo.Dialer.
func (e *Embedded) Dial(ctx context.Context, _, _ string) (net.Conn, error) { return e.dialMemory(ctx) }

func (e *Embedded) dialMemory(ctx context.Context) (net.Conn, error) {
	return e.network.DialContext(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(memoryPort))
}

// Close stops the broker and writes its state. Close its clients first.
func (e *Embedded) Close() error {
	e.once.Do(func() {
		e.stop()
		if e.gate != nil {
			e.gate.close()
		}
		e.running.Wait()
		e.cluster.Close()
		e.err = e.lock.Close() // closing gives the lock back
	})
	return e.err
}

// brokerLog passes the broker's log on. Its warnings are about data it could
// not read or write: errors for us.
type brokerLog struct{ log Logger }

// Logf implements kfake.Logger.
func (l brokerLog) Logf(level kfake.LogLevel, format string, args ...any) {
	if level <= kfake.LogLevelWarn {
		l.log.Log(LevelError, "embedded broker: "+fmt.Sprintf(format, args...))
	}
}
