package kafka

import (
	"fmt"
	"os"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

const childDirectory = "KAFKA_TEST_CHILD_DIR"

func childMain(dir string) { fmt.Println(dir); os.Exit(0) }

// startEmbedded starts a broker and a producer on it.
func startEmbedded(t testing.TB, change func(*Config)) (*rig, *Embedded) {
	t.Helper()
	var broker *Embedded
	r := startRig(t, func(c *Config, p *Parts) {
		if change != nil {
			change(c)
		}
		var err error
		if broker, err = StartEmbedded(c, p.Log); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := broker.Close(); err != nil {
				t.Error(err)
			}
		})
		p.Embedded = broker
	})
	return r.ready(), broker
}

func TestEmbeddedEndToEnd(t *testing.T) {
	r, broker := startEmbedded(t, nil)
	p := r.partition(1)
	r.produce(p, "a", "b", "c")
	for i, id := range []string{"a", "b", "c"} {
		ev := r.want(id, stages.Acknowledged, stages.NoReason)
		if ev.Ack.Partition != 1 || ev.Ack.Offset != int64(i) {
			t.Errorf("%s: position %d@%d, want 1@%d", id, ev.Ack.Partition, ev.Ack.Offset, i)
		}
	}
	for i, rec := range stored(t, 3, "events", 1, kgo.SeedBrokers(broker.Seeds()...), kgo.Dialer(broker.Dial)) {
		ev, err := EventFromRecord(rec)
		if err != nil || ev.Id != string("abc"[i]) || string(ev.Data) != "data of "+ev.Id {
			t.Errorf("record %d: %v, %v", i, ev, err)
		}
	}
	if n := r.producer.InFlight(); n != 0 {
		t.Errorf("%d records in flight at rest", n)
	}
}
