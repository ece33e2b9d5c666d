//go:build unix

package kafkatest

// What tests use: Start, Shared, and a Cluster whose methods fail or skip the test instead of returning
// errors.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// EnvBrokers names the variable that points tests at a cluster that is there.
const EnvBrokers = "KAFKA_TEST_BROKERS"

// Cluster is a running Kafka as one test sees it. Broker i has node id i+1.
type Cluster struct {
	t        testing.TB
	external []string // set: somebody else's cluster, cl is nil
	cl       *cluster
}

// Start starts a cluster of the test's own and ends it with the test.
func Start(t testing.TB, opts ...Option) *Cluster {
	t.Helper()
	conf, err := newConfig(opts)
	if err != nil {
		t.Fatal(err)
	}
	if c := external(t, conf); c != nil {
		return c
	}
	began := time.Now()
	cl, err := launch(t.TempDir(), conf)
	if err != nil {
		t.Fatalf("start Kafka: %v", err)
	}
	t.Logf("Kafka %s: %d broker(s) at %s after %s", version, conf.brokers, strings.Join(cl.addrs(), ","),
		time.Since(began).Round(10*time.Millisecond))
	c := &Cluster{t: t, cl: cl}
	t.Cleanup(func() {
		c.logOnFailure()
		if err := cl.close(); err != nil {
			t.Errorf("end Kafka: %v", err)
		}
	})
	return c
}

// shared is the cluster of a package's tests: started by the first that asks, ended by Main.
var shared struct {
	sync.Mutex // guards the following
	inMain     bool
	opts       []Option
	dir        string
	cl         *cluster
	err        error // a failed start is not tried again by each test
}

// Main runs a package's tests and ends the shared cluster after them. TestMain calls it:
//
//	func TestMain(m *testing.M) { os.Exit(kafkatest.Main(m)) }
func Main(m *testing.M, opts ...Option) int {
	shared.Lock()
	shared.inMain, shared.opts = true, opts
	shared.Unlock()
	code := m.Run()
	shared.Lock()
	defer shared.Unlock()
	if shared.cl != nil {
		if err := shared.cl.close(); err != nil {
			fmt.Fprintln(os.Stderr, "end Kafka:", err)
			code = max(code, 1)
		}
	}
	if shared.dir != "" {
		_ = os.RemoveAll(shared.dir) // a leftover in the temporary folder fails nothing
	}
	return code
}

// Shared returns the package's one cluster (see Main). Its brokers must not be stopped, killed or paused.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if !shared.inMain {
		t.Fatal("kafkatest.Shared without kafkatest.Main in TestMain: nobody would end the broker")
	}
	conf, err := newConfig(shared.opts)
	if err != nil {
		t.Fatal(err)
	}
	if c := external(t, conf); c != nil {
		return c
	}
	if shared.cl == nil && shared.err == nil {
		began := time.Now()
		if shared.dir, shared.err = os.MkdirTemp("", "kafkatest-"); shared.err == nil {
			shared.cl, shared.err = launch(shared.dir, conf)
		}
		t.Logf("Kafka %s for this package's tests after %s", version, time.Since(began).Round(10*time.Millisecond))
	}
	if shared.err != nil {
		t.Fatalf("start Kafka: %v", shared.err)
	}
	c := &Cluster{t: t, cl: shared.cl}
	t.Cleanup(c.logOnFailure)
	return c
}

// external returns the cluster of KAFKA_TEST_BROKERS if one is named and can stand in for conf.
func external(t testing.TB, conf config) *Cluster {
	t.Helper()
	env := os.Getenv(EnvBrokers)
	if env == "" {
		return nil
	}
	addrs := strings.Split(env, ",")
	if len(conf.properties) > 0 {
		t.Skipf("needs brokers with settings of its own, %s names a cluster that is there", EnvBrokers)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	n, err := countBrokers(ctx, addrs[0])
	if err != nil {
		t.Fatalf("%s=%s: %v", EnvBrokers, env, err)
	}
	if n < conf.brokers {
		t.Skipf("needs %d brokers, the cluster that %s names has %d", conf.brokers, EnvBrokers, n)
	}
	return &Cluster{t: t, external: addrs}
}

// Addrs returns the brokers' addresses, host:port.
func (c *Cluster) Addrs() []string {
	if c.external != nil {
		return c.external
	}
	return c.cl.addrs()
}

// Client returns a franz-go client of the cluster that is closed with the test.
func (c *Cluster) Client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Addrs()...)}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

var topics atomic.Int64

// Topic creates a topic with a name of its own, replicated as far as the cluster has brokers (3 at most), and
// returns the name. On an external cluster it is deleted with the test. Settings are topic configs as key,
// value, key, value ...
func (c *Cluster) Topic(partitions int32, settings ...string) string {
	c.t.Helper()
	if len(settings)%2 != 0 {
		c.t.Fatalf("topic settings %q: want key, value pairs", settings)
	}
	configs := map[string]*string{}
	for i := 0; i < len(settings); i += 2 {
		configs[settings[i]] = &settings[i+1]
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
	if err != nil {
		c.t.Fatal(err)
	}
	adm := kadm.NewClient(cl)
	c.t.Cleanup(adm.Close)
	ctx, cancel := context.WithTimeout(c.t.Context(), startTimeout)
	defer cancel()
	brokers, err := adm.ListBrokers(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	// The process id keeps test packages apart that share an external cluster.
	name := fmt.Sprintf("test-%d-%d", os.Getpid(), topics.Add(1))
	resp, err := adm.CreateTopic(ctx, partitions, int16(min(len(brokers), 3)), configs, name)
	if err = errors.Join(err, resp.Err); err != nil {
		c.t.Fatalf("create topic %s: %v", name, err)
	}
	if c.external != nil {
		c.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
			defer cancel()
			if _, err := adm.DeleteTopic(ctx, name); err != nil {
				c.t.Logf("delete topic %s: %v", name, err)
			}
		})
	}
	return name
}

// Stop ends broker i in order (SIGTERM): it hands its partitions over first.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	c.do("stop", i, func(b *broker) error { return b.stop(stopTimeout) })
}

// Kill ends broker i at once (SIGKILL). A restart waits until the controllers have given the dead broker up:
// 6 s, or what Property("broker.session.timeout.ms", ...) says.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	c.do("kill", i, func(b *broker) error { return b.kill() })
}

// Pause freezes broker i (SIGSTOP): connections stay open, nothing is answered.
func (c *Cluster) Pause(i int) {
	c.t.Helper()
	c.do("pause", i, func(b *broker) error { return b.pause() })
}

// Resume lets a paused broker go on (SIGCONT).
func (c *Cluster) Resume(i int) {
	c.t.Helper()
	c.do("resume", i, func(b *broker) error { return b.resume() })
}

// Restart starts broker i again after Stop or Kill, on the same address and data, and waits until it answers.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	c.do("restart", i, func(*broker) error { return c.cl.restart(i) })
}

func (c *Cluster) do(what string, i int, f func(*broker) error) {
	c.t.Helper()
	if c.external != nil {
		c.t.Skipf("needs to %s a broker, %s names a cluster that is not ours to stop", what, EnvBrokers)
	}
	if err := f(c.cl.brokers[i]); err != nil {
		c.t.Fatalf("%s broker %d: %v", what, i, err)
	}
}

func (c *Cluster) logOnFailure() {
	if !c.t.Failed() {
		return
	}
	for i, b := range c.cl.brokers {
		c.t.Logf("the end of the log of broker %d at %s:\n%s", i, b.addr, b.logTail(tailLines))
	}
}

// Serve runs a cluster for people: it starts one with its data below dir, writes the addresses on one line to
// out, and ends it when ctx is done.
func Serve(ctx context.Context, dir string, out io.Writer, opts ...Option) error {
	conf, err := newConfig(opts)
	if err != nil {
		return err
	}
	conf.fullJIT = true
	cl, err := launch(dir, conf)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(cl.addrs(), ","))
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, cl.close())
}
