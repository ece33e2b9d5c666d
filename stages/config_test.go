package stages

// The defaults that operators start from.

import (
	"reflect"
	"testing"
	"time"

	"github.com/caarlos0/env/v11"
)

func TestConfigDefaults(t *testing.T) {
	var cfg Config
	if err := env.ParseWithOptions(&cfg, env.Options{Environment: map[string]string{}}); err != nil {
		t.Fatal(err)
	}
	want := Config{
		MaxEventBytes: 900_000, MaxBatchEvents: 10_000,
		RateLimitEnabled: true, RateLimitRPS: 1000, RateLimitBurst: 100,
		BatchMaxEvents: 1024, BatchMaxBytes: 900_000, BatchLinger: 0,
		BreakerOpenAfter: 5 * time.Second, DeadLetterStages: []string{"decode", "validate", "transform"},
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Fatalf("the defaults are %+v, want %+v", cfg, want)
	}
	if err := env.ParseWithOptions(&cfg, env.Options{Environment: map[string]string{"MAX_EVENT_BYTES": "1MiB"}}); err != nil || cfg.MaxEventBytes != MiB {
		t.Fatalf("MAX_EVENT_BYTES=1MiB is %d (%v)", int64(cfg.MaxEventBytes), err)
	}
	if err := env.ParseWithOptions(&cfg, env.Options{Environment: map[string]string{"MAX_EVENT_BYTES": "much"}}); err == nil {
		t.Fatal("MAX_EVENT_BYTES=much is a size")
	}
}
