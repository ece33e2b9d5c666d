package kafka

// What opens the breaker and what does not, against brokers that are partly or
// wholly silent. The clock is the test's own.

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// pulseRig has three brokers, partition i led by broker i, and a clock that stands still.
func pulseRig(t *testing.T) (r *rig, clock *atomic.Int64, opened *atomic.Int64) {
	clock, opened = &atomic.Int64{}, &atomic.Int64{}
	r = newPreparedRig(t, func(c *kfake.Cluster) {
		if err := c.CreateTopic("events", 3, nil); err != nil {
			t.Fatal(err)
		}
		for i := range int32(3) {
			if err := c.MoveTopicPartition("events", i, i); err != nil {
				t.Fatal(err)
			}
		}
	}, func(_ *Config, p *Parts) {
		p.DeliveryTimeout = time.Minute
		p.Now = clock.Load
		p.Breaker = stages.NewBreaker(time.Second, func(_, to stages.BreakerState) {
			if to == stages.BreakerIsOpen {
				opened.Add(1)
			}
		})
	}, kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094))
	r.breaker = r.producer.parts.Breaker
	return r.ready(), clock, opened
}

// outlast makes silence last for longer than the breaker bears, and waits for what comes of it.
func (r *rig) outlast(clock, opened *atomic.Int64) {
	r.t.Helper()
	was := opened.Load()
	now := clock.Add(int64(1500 * time.Millisecond))
	r.eventually("the breaker has looked at the silence", func() bool {
		return opened.Load() > was || !r.breaker.Silent(now, true)
	})
}

// TestOneStuckPartition: its leader takes no produce request, or answers nothing
// at all. The other brokers answer, so the breaker stays closed and their
// partitions go on.
func TestOneStuckPartition(t *testing.T) {
	t.Parallel()
	const leader = 0
	for name, keys := range map[string][]kmsg.Key{
		"connections closed": {kmsg.Produce},
		"frozen":             {kmsg.Produce, kmsg.ApiVersions, kmsg.Metadata},
	} {
		t.Run(name, func(t *testing.T) {
			r, clock, opened := pulseRig(t)
			var hit atomic.Bool
			for _, key := range keys {
				r.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
					r.cluster.KeepControl()
					if r.cluster.CurrentNode() != leader {
						return nil, nil, false
					}
					hit.Store(true)
					if len(keys) > 1 {
						return nil, nil, true // never answers
					}
					return nil, errors.New("closed"), true
				})
			}
			r.produce(r.partition(leader), "stuck")
			r.eventually("the leader was asked", hit.Load)
			for range 3 {
				r.outlast(clock, opened)
				if opened.Load() > 0 {
					t.Fatal("the breaker opened although brokers answer")
				}
			}
			r.produce(r.partition(1), "healthy")
			r.want("healthy", stages.Acknowledged, stages.NoReason)
			r.outlast(clock, opened)
			if n := opened.Load(); n > 0 || r.breaker.State() != stages.BreakerClosed {
				t.Errorf("the breaker is %v and was opened %d times", r.breaker.State(), n)
			}
		})
	}
}

// TestDeadBrokersOpen: nobody is left to answer.
func TestDeadBrokersOpen(t *testing.T) {
	t.Parallel()
	r, clock, opened := pulseRig(t)
	r.produce(r.partition(0), "a")
	r.want("a", stages.Acknowledged, stages.NoReason)
	r.cluster.Close()
	r.produce(r.partition(0), "b")
	r.outlast(clock, opened)
	if opened.Load() != 1 || r.producer.Ready() == nil {
		t.Errorf("the breaker is %v without any broker", r.breaker.State())
	}
}
