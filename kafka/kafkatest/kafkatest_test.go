//go:build kafka

package kafkatest

// The harness against itself: a real broker answers, freezes, dies and comes back with its data.

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := Main(m)
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
		code = 1
	}
	os.Exit(code)
}

const deadline = 60 * time.Second

func produce(t *testing.T, cl *kgo.Client, topic string, values ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for _, v := range values {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

// readBack reads n records from the start of a one-partition topic.
func readBack(t *testing.T, c *Cluster, topic string, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	cl := c.Client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var got []string
	for len(got) < n {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %d of %d records of %s: %v", len(got), n, topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func wantValues(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("read %q, want %q", got, want)
	}
}

func TestKafkaShared(t *testing.T) {
	c := Shared(t)
	topic := c.Topic(1, "retention.ms", "60000")
	if err := produce(t, c.Client(), topic, "a", "b"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, readBack(t, c, topic, 2), "a", "b")
	if again := Shared(t); again.Addrs()[0] != c.Addrs()[0] {
		t.Fatalf("a second broker at %s, the first is at %s", again.Addrs()[0], c.Addrs()[0])
	}
}

func TestKafkaOneBroker(t *testing.T) {
	c := Start(t)
	topic := c.Topic(1)
	cl := c.Client(kgo.ProducerLinger(0))
	if err := produce(t, cl, topic, "before"); err != nil {
		t.Fatal(err)
	}

	// A paused broker answers nothing; the record is stored when it goes on.
	c.Pause(0)
	done := make(chan error, 1)
	cl.Produce(t.Context(), &kgo.Record{Topic: topic, Value: []byte("while paused")},
		func(_ *kgo.Record, err error) { done <- err })
	select {
	case err := <-done:
		t.Fatalf("a paused broker answered: %v", err)
	case <-time.After(200 * time.Millisecond): // nothing to wait for: that nothing comes is the point
	}
	c.Resume(0)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(deadline):
		t.Fatal("no answer after the broker was resumed")
	}

	// A killed broker comes back on its address with its data, and the same client goes on.
	c.Kill(0)
	began := time.Now()
	c.Restart(0)
	t.Logf("restarted after a kill in %s", time.Since(began).Round(10*time.Millisecond))
	if err := produce(t, cl, topic, "after"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, readBack(t, c, topic, 3), "before", "while paused", "after")

	c.Stop(0)
	c.Restart(0)
	wantValues(t, readBack(t, c, topic, 3), "before", "while paused", "after")
}

func TestKafkaThreeBrokers(t *testing.T) {
	c := Start(t, Brokers(3), Property("broker.session.timeout.ms", "2000"))
	topic := c.Topic(1, "min.insync.replicas", "2")
	cl := c.Client(kgo.ProducerLinger(0), kgo.MetadataMinAge(100*time.Millisecond))
	if err := produce(t, cl, topic, "three"); err != nil {
		t.Fatal(err)
	}
	c.Stop(0)
	if err := produce(t, cl, topic, "two"); err != nil {
		t.Fatalf("with two of three brokers: %v", err)
	}
	// One of three: neither the replicas nor the controllers are enough. The record waits in the client,
	// which gives up neither by its context nor by a delivery timeout while the broker answers
	// REQUEST_TIMED_OUT, until a second broker is back.
	c.Kill(1)
	done := make(chan error, 1)
	cl.Produce(t.Context(), &kgo.Record{Topic: topic, Value: []byte("one")},
		func(_ *kgo.Record, err error) { done <- err })
	select {
	case err := <-done:
		t.Fatalf("answer %v from one of three brokers, for a record that two must have", err)
	case <-time.After(time.Second): // nothing to wait for: that nothing comes is the point
	}
	c.Restart(1)
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(deadline):
		t.Fatal("no answer after the second broker was back")
	}
	c.Restart(0)
	if err := produce(t, cl, topic, "three again"); err != nil {
		t.Fatal(err)
	}
	wantValues(t, readBack(t, c, topic, 4), "three", "two", "one", "three again")
}
