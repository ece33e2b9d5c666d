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
