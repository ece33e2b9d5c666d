package main

// The brokers that runs end in: one that discards, the gateway's own, and Apache Kafka. Each says how many records it
// holds, in Kafka's own way: the end offsets of the topic.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Brokers.
const (
	discarding  = "discard"
	embedded    = "embedded"
	apacheKafka = "Kafka"
)

// broker is where a run's records end.
type broker interface {
	address() string
	topic() string
	stored(ctx context.Context) (int64, error)
	cpu() time.Duration // of its own process; 0 where it is the gateway's
	end() error
}

// startBroker gives a scene its broker, with an empty topic.
func (b *bench) startBroker(ctx context.Context, s scene) (broker, error) {
	switch s.broker {
	case discarding:
		return b.startDiscard(s.partitions)
	case embedded:
		return b.startEmbedded(ctx, s)
	case apacheKafka:
		return b.kafka.newTopic(ctx, s.partitions)
	}
	return nil, fmt.Errorf("no broker is called %q", s.broker)
}

// place is a topic at an address.
type place struct{ addr, name string }

func (p place) address() string { return p.addr }
func (p place) topic() string   { return p.name }

// stored is how many records the topic has taken in.
func (p place) stored(ctx context.Context) (int64, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(p.addr, ",")...))
	if err != nil {
		return 0, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, p.name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, fmt.Errorf("asking %s for the end offsets of %s: %w", p.addr, p.name, err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	return total, nil
}

// discardBroker is bench/discard as a process.
type discardBroker struct {
	place
	*process
}

func (b *bench) startDiscard(partitions int) (broker, error) {
	p, address, err := startListening(b.log("discard"), b.bin.discard, nil, "--partitions", strconv.Itoa(partitions))
	if err != nil {
		return nil, err
	}
	return &discardBroker{place{address, "events"}, p}, nil
}

// embeddedBroker is a gateway with its own broker; where a scene measures a gateway, it is this one.
type embeddedBroker struct {
	place
	server *server
	owned  bool // nobody else ends the process
	data   string
}

func (b *bench) startEmbedded(ctx context.Context, s scene) (broker, error) {
	data, err := os.MkdirTemp(b.dir, "embedded-")
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	env := append([]string{"EMBEDDED_DATA_DIR=" + data, fmt.Sprintf("EMBEDDED_KAFKA_PORT=%d", port),
		fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", s.partitions)}, s.env...)
	v, err := b.startGateway(ctx, env)
	if err != nil {
		return nil, err
	}
	return &embeddedBroker{place{fmt.Sprintf("127.0.0.1:%d", port), "events"}, v, s.server != gateway, data}, nil
}

func (e *embeddedBroker) cpu() time.Duration {
	if e.owned {
		return e.server.cpu()
	}
	return 0
}

func (e *embeddedBroker) end() (err error) {
	if e.owned {
		err = e.server.end()
	}
	return errors.Join(err, os.RemoveAll(e.data))
}

// kafkaBroker is Apache Kafka with one broker, for all runs.
type kafkaBroker struct {
	addr    string
	process *process
	topics  int
}

// startKafka starts Apache Kafka, and says why not where it cannot run: that is no reason to measure nothing.
func (b *bench) startKafka() (*kafkaBroker, error) {
	for _, program := range []string{"java", "mvn"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is not installed (Kafka needs Java 17, and Maven fetches it)", program)
		}
	}
	p, addr, err := startListening(b.log("kafka"), b.bin.kafka, nil)
	if err != nil {
		return nil, fmt.Errorf("%w; its log: %s", err, tail(b.log("kafka")))
	}
	return &kafkaBroker{addr: addr, process: p}, nil
}

func (k *kafkaBroker) end() error { return k.process.end() }

// kafkaTopic is one run's topic.
type kafkaTopic struct {
	place
	broker *kafkaBroker
}

func (k *kafkaBroker) newTopic(ctx context.Context, partitions int) (broker, error) {
	if k == nil {
		return nil, errors.New("Kafka is not here") //nolint:staticcheck // a name
	}
	k.topics++
	t := &kafkaTopic{place{k.addr, fmt.Sprintf("bench-%d", k.topics)}, k}
	err := k.admin(func(a *kadm.Client) error {
		_, err := a.CreateTopic(ctx, int32(partitions), 1, nil, t.name)
		return err
	})
	for err == nil { // a broker says that a topic is created before it knows it
		if _, err := t.stored(ctx); err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return t, fmt.Errorf("topic %s is created and does not appear: %w", t.name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return t, err
}

func (t *kafkaTopic) cpu() time.Duration { return t.broker.process.family() }

// end deletes the topic: its data would fill the disk.
func (t *kafkaTopic) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	return t.broker.admin(func(a *kadm.Client) error {
		_, err := a.DeleteTopic(ctx, t.name)
		return err
	})
}

func (k *kafkaBroker) admin(f func(*kadm.Client) error) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(k.addr))
	if err != nil {
		return err
	}
	defer client.Close()
	return f(kadm.NewClient(client))
}

// log is the file that a program's words go to.
func (b *bench) log(program string) string {
	return filepath.Join(b.dir, filepath.Base(program)+".log")
}

// tail is the end of a file, for an error.
func tail(file string) string {
	raw, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(raw[max(0, len(raw)-2000):])
}
