//go:build kafka

package main

// The gateway's own publish command as load: what it says was acknowledged is
// what Kafka has, event by event.

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
)

// publishedNumbers reads the topic: which of the numbers 0 to count-1 of one publish run it has.
func publishedNumbers(t *testing.T, c *kafkatest.Cluster, topic string, count int) (found int) {
	t.Helper()
	seen, theRun := make([]bool, count), ""
	scanTopic(t, c, topic, func(r *kgo.Record) {
		id := eventID(r)
		run, digits, _ := strings.Cut(id, "-")
		n, err := strconv.Atoi(digits)
		if theRun == "" {
			theRun = run
		}
		switch {
		case err != nil || n < 0 || n >= count || run != theRun:
			t.Errorf("offset %d of partition %d holds %q, which was not published", r.Offset, r.Partition, id)
		case seen[n]:
			t.Errorf("%s is stored twice", id)
		case string(r.Key) != fmt.Sprintf("key-%08d", n%1000):
			t.Errorf("the key of %s is %q", id, r.Key)
		default:
			seen[n] = true
			found++
		}
	})
	return found
}

// TestKafkaMillion publishes 200,000 events; a million with LONG=1.
func TestKafkaMillion(t *testing.T) {
	c := kafkatest.Shared(t)
	count := 200_000
	if os.Getenv("LONG") != "" {
		count = 1_000_000
	}
	p, topic := kafkaGateway(t, c)
	totals := publish(t, p, 0, "--count", fmt.Sprint(count), "--batch", "100", "--streams", "2", "--keys", "1000")
	if totals.Sent != int64(count) || totals.Acknowledged != int64(count) {
		t.Errorf("%+v", totals)
	}
	if found := publishedNumbers(t, c, topic, count); found != count {
		t.Errorf("%d acknowledged, %d of them in Kafka", totals.Acknowledged, found)
	}
	checkIdentity(t, p, int64(count))
}

// TestKafkaRateLimited: with the limit that is on by default, what is too much is refused, counted and named.
func TestKafkaRateLimited(t *testing.T) {
	c := kafkatest.Shared(t)
	const count = 20_000
	p, topic := kafkaGateway(t, c, "RATE_LIMIT_ENABLED=") // empty: the default
	totals := publish(t, p, 1, "--count", fmt.Sprint(count), "--batch", "100", "--streams", "2", "--keys", "1000")
	if totals.Acknowledged < 100 || totals.Refused < 1 || totals.Acknowledged+totals.Refused != count ||
		totals.Reasons["RATE_LIMITED"] != totals.Refused || len(totals.Reasons) != 1 {
		t.Errorf("%+v", totals)
	}
	if found := publishedNumbers(t, c, topic, count); int64(found) != totals.Acknowledged {
		t.Errorf("%d acknowledged, %d in Kafka", totals.Acknowledged, found)
	}
	checkIdentity(t, p, count)
	_, text := p.get("/metrics")
	want := fmt.Sprintf(`gateway_event_reasons_total{stage="ratelimit",reason="RATE_LIMITED"} %d`, totals.Refused)
	if !strings.Contains(text, want) {
		t.Errorf("no line %s in /metrics", want)
	}
}
