package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
)

func TestConfigDefaults(t *testing.T) {
	var c Config
	if err := env.ParseWithOptions(&c, env.Options{Environment: map[string]string{}}); err != nil {
		t.Fatal(err)
	}
	if errs := c.Validate(); len(errs) != 0 {
		t.Error(errs)
	}
	if !c.Embedded() || c.Topic != "events" || c.RequiredAcks != AcksAll || c.WriteTimeout != 10*time.Second || c.EmbeddedMaxBytes != 1<<30 {
		t.Errorf("%+v", c)
	}
	if topics := c.Topics(); len(topics) != 1 {
		t.Error(topics)
	}
}

// TestConfigProblems: each bad value is one line with its variable; good ones are none.
func TestConfigProblems(t *testing.T) {
	for _, c := range []struct{ name, value, also string }{
		{"KAFKA_BROKERS", "localhost", ""},
		{"KAFKA_BROKERS", "localhost:0", ""},
		{"KAFKA_TOPIC", "a/b", ""},
		{"KAFKA_TOPIC", "..", ""},
		{"KAFKA_GROUP_ID", strings.Repeat("g", 250), ""},
		{"KAFKA_NUM_PARTITIONS", "0", ""},
		{"KAFKA_REPLICATION_FACTOR", "0", "KAFKA_BROKERS=a:1"},
		{"KAFKA_REPLICATION_FACTOR", "3", ""},
		{"KAFKA_READ_TIMEOUT", "0s", ""},
		{"KAFKA_WRITE_TIMEOUT", "11m0s", ""},
		{"KAFKA_DIAL_TIMEOUT", "-1s", ""},
		{"KAFKA_REQUIRED_ACKS", "some", ""},
		{"KAFKA_COMPRESSION", "brotli", ""},
		{"KAFKA_RECORD_FORMAT", "json", ""},
		{"EMBEDDED_KAFKA_PORT", "70000", ""},
		{"EMBEDDED_KAFKA_PORT", "9092", "KAFKA_BROKERS=a:1"},
		{"EMBEDDED_RETENTION", "1s", ""},
		{"EMBEDDED_MAX_BYTES", "1KiB", ""},
	} {
		values := map[string]string{c.name: c.value}
		if name, value, ok := strings.Cut(c.also, "="); ok {
			values[name] = value
		}
		var cfg Config
		if err := env.ParseWithOptions(&cfg, env.Options{Environment: values}); err != nil {
			t.Errorf("%s=%s: %v", c.name, c.value, err)
			continue
		}
		errs := cfg.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), c.name+"="+c.value+": ") {
			t.Errorf("%s=%s %s: %q", c.name, c.value, c.also, errs)
		}
	}
}

// The same for reading back, at both ends of what is allowed.
func TestReadingConfigProblems(t *testing.T) {
	parse := func(name, value string) []error {
		var c ReadingConfig
		if err := env.ParseWithOptions(&c, env.Options{Environment: map[string]string{name: value}}); err != nil {
			t.Fatalf("%s=%s: %v", name, value, err)
		}
		return c.Validate()
	}
	for _, c := range []struct{ name, low, least, most, high string }{
		{"SUBSCRIBE_BUFFER_BYTES", "1023KiB", "1MiB", "16GiB", "17GiB"},
		{"SUBSCRIBE_MAX_READERS", "0", "1", "10000", "10001"},
		{"SUBSCRIBE_HEARTBEAT", "99ms", "100ms", "1h0m0s", "1h0m1s"},
		{"REPLAY_MAX_DURATION", "999ms", "1s", "876000h0m0s", "876001h0m0s"},
		{"REPLAY_BATCH_SIZE", "0", "1", "100000", "100001"},
		{"REPLAY_RATE_LIMIT", "0", "1", "1000000000", ""},
	} {
		for _, good := range []string{c.least, c.most} {
			if errs := parse(c.name, good); len(errs) != 0 {
				t.Errorf("%s=%s: %q", c.name, good, errs)
			}
		}
		for _, bad := range []string{c.low, c.high} {
			if bad == "" {
				continue
			}
			if errs := parse(c.name, bad); len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), c.name+"="+bad+": ") {
				t.Errorf("%s=%s: %q", c.name, bad, errs)
			}
		}
	}
}
