//go:build unix

package kafkatest

// A cluster of broker processes: ports, settings, start, readiness and the end of each. No *testing.T here.

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// startTimeout: one broker answers after about 2 s on two idle cores, three after about 5 s; a busy
	// machine takes many times that.
	startTimeout = 60 * time.Second
	stopTimeout  = 30 * time.Second
	tailLines    = 40
)

type config struct {
	brokers    int
	properties map[string]string
	fullJIT    bool
}

// Option changes what Start starts.
type Option func(*config)

// Brokers sets how many brokers the cluster has (default 1); each is also a controller, so 3 survive the loss
// of one.
func Brokers(n int) Option { return func(c *config) { c.brokers = n } }

// Property sets one line of every broker's server.properties, over the defaults of this package.
func Property(key, value string) Option { return func(c *config) { c.properties[key] = value } }

func newConfig(opts []Option) (config, error) {
	c := config{brokers: 1, properties: map[string]string{}}
	for _, opt := range opts {
		opt(&c)
	}
	if c.brokers < 1 {
		return c, fmt.Errorf("a cluster of %d brokers: at least 1", c.brokers)
	}
	return c, nil
}

type broker struct {
	addr, controller string
	dir              string
	*process
}

// cluster is owned by one goroutine at a time, like the test that it belongs to.
type cluster struct {
	conf    config
	jars    string
	brokers []*broker
}

// launch starts a cluster below dir and returns when every broker answers and knows all others.
func launch(dir string, conf config) (*cluster, error) {
	jars, err := distribution()
	if err != nil {
		return nil, err
	}
	if err := findJava(); err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		c := &cluster{conf: conf, jars: jars}
		err := c.start(filepath.Join(dir, strconv.Itoa(attempt)))
		if err == nil {
			return c, nil
		}
		retry := attempt < 2 && c.lostPort() // between our look and the broker's listen somebody took a port
		if closeErr := c.close(); closeErr != nil || !retry {
			return nil, errors.Join(err, closeErr)
		}
	}
}

func (c *cluster) start(dir string) error {
	addrs, err := FreeAddrs(2 * c.conf.brokers)
	if err != nil {
		return err
	}
	for i := range c.conf.brokers {
		c.brokers = append(c.brokers, &broker{
			addr: addrs[2*i], controller: addrs[2*i+1], dir: filepath.Join(dir, fmt.Sprintf("broker-%d", i)),
		})
	}
	for i, b := range c.brokers {
		if err := c.format(i); err != nil {
			return err
		}
		if b.process, err = c.exec(b); err != nil {
			return err
		}
	}
	return c.waitReady()
}

// format writes what Kafka's StorageTool writes into an empty data directory.
func (c *cluster) format(i int) error {
	b := c.brokers[i]
	data := filepath.Join(b.dir, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	records, err := os.ReadFile(filepath.Join(c.jars, checkpoint))
	if err != nil {
		return err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f           // Kafka refuses ids whose text begins with '-'
	meta := fmt.Sprintf("version=1\ncluster.id=%s\nnode.id=%d\ndirectory.id=%s\n",
		clusterID, i+1, base64.RawURLEncoding.EncodeToString(id[:]))
	return errors.Join(
		os.WriteFile(filepath.Join(data, checkpoint), records, 0o644),
		os.WriteFile(filepath.Join(data, "meta.properties"), []byte(meta), 0o644),
		os.WriteFile(filepath.Join(b.dir, "server.properties"), []byte(c.properties(i)), 0o644))
}

// properties is the broker's server.properties: Kafka's defaults, but small internal topics (they are created
// on first use, one directory a partition) and a dead broker noticed after 6 s instead of 9.
func (c *cluster) properties(i int) string {
	n, b := c.conf.brokers, c.brokers[i]
	var voters []string
	for j, v := range c.brokers {
		voters = append(voters, fmt.Sprintf("%d@%s", j+1, v.controller))
	}
	replicas, inSync := strconv.Itoa(min(n, 3)), strconv.Itoa(min(n, 2))
	props := map[string]string{
		"process.roles":                                    "broker,controller",
		"node.id":                                          strconv.Itoa(i + 1),
		"controller.quorum.voters":                         strings.Join(voters, ","),
		"listeners":                                        "PLAINTEXT://" + b.addr + ",CONTROLLER://" + b.controller,
		"advertised.listeners":                             "PLAINTEXT://" + b.addr,
		"controller.listener.names":                        "CONTROLLER",
		"listener.security.protocol.map":                   "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                                         filepath.Join(b.dir, "data"),
		"auto.create.topics.enable":                        "false",
		"default.replication.factor":                       replicas,
		"min.insync.replicas":                              inSync,
		"group.initial.rebalance.delay.ms":                 "0",
		"offsets.topic.num.partitions":                     "3",
		"offsets.topic.replication.factor":                 replicas,
		"transaction.state.log.num.partitions":             "3",
		"transaction.state.log.replication.factor":         replicas,
		"transaction.state.log.min.isr":                    inSync,
		"share.coordinator.state.topic.num.partitions":     "3",
		"share.coordinator.state.topic.replication.factor": replicas,
		"share.coordinator.state.topic.min.isr":            inSync,
		"broker.heartbeat.interval.ms":                     "500",
		"broker.session.timeout.ms":                        "6000",
	}
	maps.Copy(props, c.conf.properties)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(props)) {
		fmt.Fprintf(&text, "%s=%s\n", key, props[key])
	}
	return text.String()
}

// exec starts the broker's process. The serial collector and the quick compiler alone make it answer after
// 1.4 s instead of 2.8 s (two cores); a broker that is to be measured gets the full compiler.
func (c *cluster) exec(b *broker) (*process, error) {
	heap := "-Xmx512m"
	if c.conf.brokers > 1 {
		heap = "-Xmx384m"
	}
	args := []string{heap, "-XX:+UseSerialGC"}
	if !c.conf.fullJIT {
		args = append(args, "-XX:TieredStopAtLevel=1")
	}
	args = append(args,
		"-Djava.awt.headless=true",
		"-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
		"-Dorg.slf4j.simpleLogger.log.org.apache.kafka.common.config=warn", // 700 lines of settings
		"-cp", filepath.Join(c.jars, "lib", "*"), "kafka.Kafka", filepath.Join(b.dir, "server.properties"))
	return startProcess(filepath.Join(b.dir, "log"), "java", args...)
}

// waitReady returns when each running broker answers a metadata request that lists all running brokers.
func (c *cluster) waitReady() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	running := 0
	for _, b := range c.brokers {
		if b.alive() {
			running++
		}
	}
	for i, b := range c.brokers {
		if !b.alive() {
			continue
		}
		if err := b.waitAnswer(ctx, running); err != nil {
			return fmt.Errorf("broker %d at %s: %w; the end of its log:\n%s", i, b.addr, err, b.logTail(tailLines))
		}
	}
	return nil
}

func (b *broker) waitAnswer(ctx context.Context, brokers int) error {
	// The connection is dialled anew for each question: what is closed at first opens in a moment.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		n, err := countBrokers(ctx, b.addr)
		if err == nil && n >= brokers {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("it knows %d of %d brokers", n, brokers)
		}
		last = err
		select {
		case <-b.exited:
			return errors.New("its process has ended: " + b.cmd.ProcessState.String())
		case <-ctx.Done():
			return fmt.Errorf("no answer within %s: %w", startTimeout, last)
		case <-tick.C:
		}
	}
}

// countBrokers asks one broker how many are registered and alive.
func countBrokers(ctx context.Context, addr string) (int, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0), kgo.DialTimeout(time.Second))
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // none; nil would be all
	resp, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return 0, err
	}
	return len(resp.(*kmsg.MetadataResponse).Brokers), nil
}

func (c *cluster) addrs() []string {
	var addrs []string
	for _, b := range c.brokers {
		addrs = append(addrs, b.addr)
	}
	return addrs
}

// restart starts a stopped or killed broker on its old ports with its old data.
func (c *cluster) restart(i int) error {
	b := c.brokers[i]
	if b.alive() {
		return fmt.Errorf("broker %d is running: stop or kill it first", i)
	}
	p, err := c.exec(b)
	if err != nil {
		return err
	}
	b.process = p
	return c.waitReady()
}

// close kills what runs: the data is thrown away, so there is nothing to shut down in order for.
func (c *cluster) close() error {
	var errs []error
	for _, b := range c.brokers {
		if b.process != nil && b.cmd.Process != nil {
			errs = append(errs, b.kill())
		}
	}
	return errors.Join(errs...)
}

func (c *cluster) lostPort() bool {
	for _, b := range c.brokers {
		if b.process != nil && bytes.Contains(b.logTail(1000), []byte("Address already in use")) {
			return true
		}
	}
	return false
}
