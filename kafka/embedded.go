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
	"runtime/debug"
	"strconv"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
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
	// partitions is what the disk was shared out for; the retention goroutine's.
	partitions int

	stop    context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
	err     error
}

// startGCPercent is GOGC while the broker reads its files.
const startGCPercent = 10

// memoryPort is the broker's port in the in-memory network; nothing outside sees it.
const memoryPort = 9092

// embeddedCluster is the cluster id that clients see.
const embeddedCluster = "event-gateway-embedded"

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
	// The broker reads files of up to maxSegment whole, one of each partition at a time; the garbage would double that.
	percent := debug.SetGCPercent(startGCPercent)
	cluster, err := kfake.NewCluster(e.options(store)...)
	debug.SetGCPercent(percent)
	if err != nil {
		if listener != nil {
			err = errors.Join(err, listener.Close())
		}
		return fmt.Errorf("the embedded broker does not start on %s: %w", store, err)
	}
	e.cluster = cluster
	ctx, stop := context.WithCancel(context.Background())
	e.stop = stop
	client, err := kgo.NewClient(kgo.SeedBrokers(e.addr), kgo.Dialer(e.Dial), kgo.ClientID("retention"))
	if err == nil && listener != nil {
		if e.gate, err = newGate(listener, e.dialMemory, client, e.log); err == nil {
			e.running.Go(e.gate.serve)
		} else {
			err = errors.Join(err, listener.Close())
			client.Close()
		}
	}
	if err != nil {
		return errors.Join(fmt.Errorf("the embedded broker does not start: %w", err), e.shut())
	}
	e.running.Go(func() { e.retain(ctx, client) })
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
	damages, err := checkStore(store, e.log)
	if err != nil {
		return fmt.Errorf("EMBEDDED_DATA_DIR=%s: %w", e.cfg.EmbeddedDataDir, err)
	}
	if len(damages) == 0 {
		return nil
	}
	if !e.cfg.EmbeddedAllowDataLoss {
		lines := make([]string, len(damages))
		for i, d := range damages {
			lines[i] = d.text
		}
		return fmt.Errorf("files of the embedded broker are damaged; going on would lose acknowledged events:\n  %s\n"+
			"Restore the files from a copy, or set EMBEDDED_ALLOW_DATA_LOSS=true to go on without what they held",
			strings.Join(lines, "\n  "))
	}
	for _, d := range damages {
		e.log.Log(LevelError, "damaged file of the embedded broker: going on without what it held", "damage", d.text)
	}
	if err := repairStore(store, damages, e.log); err != nil {
		return fmt.Errorf("EMBEDDED_DATA_DIR=%s: %w", e.cfg.EmbeddedDataDir, err)
	}
	return nil
}

func (e *Embedded) options(store string) []kfake.Opt {
	e.partitions = int(e.cfg.NumPartitions) * len(e.cfg.Topics())
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID(embeddedCluster),
		kfake.DataDir(store),
		kfake.DefaultNumPartitions(int(e.cfg.NumPartitions)),
		kfake.Ports(memoryPort),
		kfake.ListenFn(e.listen),
		kfake.WithLogger(brokerLog{e.log}),
		kfake.BrokerConfigs(e.limits(e.partitions)),
	}
	if e.cfg.EmbeddedSyncWrites {
		opts = append(opts, kfake.SyncWrites())
	}
	return opts
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
		e.err = errors.Join(e.shut(), e.lock.Close()) // closing gives the lock back
	})
	return e.err
}

// shut ends everything but the lock, in the reverse order of start.
func (e *Embedded) shut() error {
	e.stop()
	var err error
	if e.gate != nil {
		err = e.gate.close()
	}
	e.running.Wait()
	e.cluster.Close()
	return err
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
