package stages

// What an event costs in the stages, beside the way one would do the same with
// the usual libraries. An operation is one event. Inputs lie in distinct memory:
// an event that is read a second time from the same bytes is one from the cache.

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// benchInputs is how many distinct events there are: with 450 bytes each, more than a core's first cache holds.
const benchInputs = 1024

// distinctEvents differ in id, subject, key and data.
func distinctEvents() []*eventv1.Event {
	events := make([]*eventv1.Event, benchInputs)
	for i := range events {
		ev := sample()
		ev.Id = fmt.Sprintf("018f2d1e-7c3a-7b61-9a3e-%012d", i)
		ev.Subject, ev.PartitionKey = fmt.Sprintf("order/%04d", i), fmt.Sprintf("customer-%03d", i)
		ev.Data = orderJSON(i)
		events[i] = ev
	}
	return events
}

// BenchmarkDecode is the scan of a 10-field event of about 450 bytes, up to its
// id and shard, beside the generated code; with an id from the client, and with
// one to be made.
func BenchmarkDecode(b *testing.B) {
	for _, id := range []string{"sent", "assigned"} {
		inputs := distinctEvents()
		frames, raw := make([][]byte, benchInputs), make([][]byte, benchInputs)
		for i, ev := range inputs {
			if id == "assigned" {
				ev.Id = ""
			}
			raw[i] = encode(b, ev)
			frames[i] = request(raw[i])
		}
		b.Run("id="+id+"/impl=gateway", func(b *testing.B) {
			d, ev, m := NewDecoder(unbounded, DeadLetters{}, 0), &Event{}, newMessage(Single, nil, 1)
			benchDecode(b, inputs, func(i int) (id, data []byte, hash uint32) {
				m.Frame = frames[i]
				m.Arm(1)
				ev.Reset()
				d.Start(m)
				d.Next(ev)
				if !ev.Live() {
					b.Fatalf("%+v", ev.Verdict)
				}
				return ev.ID.Value, ev.Data, ev.Shard
			})
		})
		b.Run("id="+id+"/impl=plain-proto.Unmarshal", func(b *testing.B) {
			benchDecode(b, inputs, func(i int) (id string, data []byte, hash uint32) {
				ev := &eventv1.Event{}
				if err := proto.Unmarshal(raw[i], ev); err != nil {
					b.Fatal(err)
				}
				if ev.Id == "" {
					ev.Id = uuid.Must(uuid.NewV7()).String()
				}
				return ev.Id, ev.Data, KeyHash([]byte(ev.PartitionKey))
			})
		})
	}
}

// benchDecode decodes the inputs in turn and checks afterwards what came out of all of them together.
func benchDecode[T ~string | ~[]byte](b *testing.B, inputs []*eventv1.Event, decode func(i int) (id T, data []byte, hash uint32)) {
	idBytes, dataBytes, hashes := 0, 0, uint64(0)
	b.SetBytes(int64(proto.Size(inputs[0])))
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		id, data, hash := decode(i % benchInputs)
		idBytes += len(id)
		dataBytes += len(data)
		hashes += uint64(hash)
	}
	b.StopTimer()
	want, wantHashes := 0, uint64(0)
	for i := range b.N {
		want += len(inputs[i%benchInputs].Data)
		wantHashes += uint64(KeyHash([]byte(inputs[i%benchInputs].PartitionKey)))
	}
	if idBytes != 36*b.N || dataBytes != want || hashes != wantHashes {
		b.Fatalf("%d bytes of ids, %d of data (want %d), sum of hashes %d (want %d)", idBytes, dataBytes, want, hashes, wantHashes)
	}
}

// benchBurst is how many events a client sends at once where a figure is an event in a burst.
const benchBurst = 100

// The limits are never reached: what is measured is letting through, and that
// everything was let through is the check. interval 1 ns, burst 18 minutes.
const (
	benchRPS   = 1e9
	benchLimit = 1 << 40
)

// BenchmarkRateLimiter is a take of one event, alone and with all processors on
// one bucket, where both are given
// the time; and the whole stage over a burst of
// 100 events with one look at the clock. x/time/rate takes such a burst event
// by event, or at once, but then all or nothing: a burst that is one event too
// large would be refused whole.
func BenchmarkRateLimiter(b *testing.B) {
	b.Run("callers=1/events=1/impl=gateway", func(b *testing.B) {
		var bucket Bucket
		limit, allowed := NewLimit(benchRPS, benchLimit), 0
		b.ReportAllocs()
		for i := range b.N {
			n, _ := bucket.Take(limit, int64(i)*10, 1)
			allowed += n
		}
		mustAllow(b, allowed)
	})
	b.Run("callers=1/events=1/impl=plain-x/time/rate", func(b *testing.B) {
		limiter, start, allowed := rate.NewLimiter(benchRPS, benchLimit), time.Now(), 0
		b.ReportAllocs()
		for i := range b.N {
			if limiter.AllowN(start.Add(time.Duration(i)*10), 1) {
				allowed++
			}
		}
		mustAllow(b, allowed)
	})
	b.Run("callers=all/events=1/impl=gateway", func(b *testing.B) {
		var bucket Bucket
		var total atomic.Int64
		limit := NewLimit(benchRPS, benchLimit)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			allowed := 0
			for now := int64(0); pb.Next(); now += 10 {
				n, _ := bucket.Take(limit, now, 1)
				allowed += n
			}
			total.Add(int64(allowed))
		})
		mustAllow(b, int(total.Load()))
	})
	b.Run("callers=all/events=1/impl=plain-x/time/rate", func(b *testing.B) {
		limiter, start := rate.NewLimiter(benchRPS, benchLimit), time.Now()
		var total atomic.Int64
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			allowed := 0
			for now := start; pb.Next(); now = now.Add(10) {
				if limiter.AllowN(now, 1) {
					allowed++
				}
			}
			total.Add(int64(allowed))
		})
		mustAllow(b, int(total.Load()))
	})
	b.Run("callers=1/events=100/impl=gateway", benchRateLimitStage)
	b.Run("callers=1/events=100/impl=plain-x/time/rate", func(b *testing.B) {
		benchRateBursts(b, func(limiter *rate.Limiter, burst []*Event) {
			now := time.Now()
			for _, ev := range burst {
				if ev.Live() && !limiter.AllowN(now, 1) {
					ev.RefuseFor(AtRateLimit, RateLimited, time.Second)
				}
				ev.At = AtRateLimit
			}
		})
	})
	b.Run("callers=1/events=100/impl=plain-x/time/rate-at-once", func(b *testing.B) {
		benchRateBursts(b, func(limiter *rate.Limiter, burst []*Event) {
			live := 0
			for _, ev := range burst {
				if ev.Live() {
					live++
				}
			}
			ok := limiter.AllowN(time.Now(), live)
			for _, ev := range burst {
				if ev.Live() && !ok {
					ev.RefuseFor(AtRateLimit, RateLimited, time.Second)
				}
				ev.At = AtRateLimit
			}
		})
	})
}

func mustAllow(b *testing.B, allowed int) {
	b.Helper()
	if allowed != b.N {
		b.Fatalf("%d of %d events were allowed", allowed, b.N)
	}
}

func benchRateLimitStage(b *testing.B) {
	epoch := time.Now()
	stage := NewRateLimit(Config{RateLimitEnabled: true, RateLimitRPS: benchRPS, RateLimitBurst: benchLimit},
		func() int64 { return int64(time.Since(epoch)) })
	inBursts(b, stage.Process)
}

func benchRateBursts(b *testing.B, process func(limiter *rate.Limiter, burst []*Event)) {
	limiter := rate.NewLimiter(benchRPS, benchLimit)
	inBursts(b, func(burst []*Event) { process(limiter, burst) })
}

// inBursts runs process over bursts of live events that it must leave alive.
func inBursts(b *testing.B, process func(burst []*Event)) {
	const bursts = 64
	events := liveEvents(bursts * benchBurst)
	b.ReportAllocs()
	b.ResetTimer()
	at := 0
	for n := 0; n < b.N; n += benchBurst {
		process(events[at : at+min(benchBurst, b.N-n)])
		if at += benchBurst; at == len(events) {
			at = 0
		}
	}
	b.StopTimer()
	for i, ev := range events {
		if !ev.Live() || (i < b.N) != (ev.At == AtRateLimit) {
			b.Fatalf("event %d of %d: %v at %v", i, b.N, ev.Verdict, ev.At)
		}
	}
}

// BenchmarkBreaker is the closed breaker. For a burst, what the gateway does with
// it: one question before the batch is handed over, with a look at the clock, and
// a note of every acknowledgement. The plain way asks and notes for every event,
// or, at best, once for the burst: then one lost record fails all.
func BenchmarkBreaker(b *testing.B) {
	settings := gobreaker.Settings{Timeout: 5 * time.Second}
	b.Run("events=1/impl=gateway", func(b *testing.B) {
		breaker, allowed := NewBreaker(5*time.Second, nil), 0
		b.ReportAllocs()
		for i := range b.N {
			if breaker.Allow(int64(i)) {
				breaker.Acknowledged()
				allowed++
			}
		}
		mustAllow(b, allowed)
	})
	b.Run("events=1/impl=plain-gobreaker", func(b *testing.B) {
		breaker, allowed := gobreaker.NewTwoStepCircuitBreaker[struct{}](settings), 0
		b.ReportAllocs()
		for range b.N {
			if done, err := breaker.Allow(); err == nil {
				done(nil)
				allowed++
			}
		}
		mustAllow(b, allowed)
	})
	b.Run("events=100/impl=gateway", func(b *testing.B) {
		breaker, allowed, epoch := NewBreaker(5*time.Second, nil), 0, time.Now()
		b.ReportAllocs()
		for n := 0; n < b.N; n += benchBurst {
			if !breaker.Allow(int64(time.Since(epoch))) {
				b.Fatal("a closed breaker refuses")
			}
			for range min(benchBurst, b.N-n) {
				breaker.Acknowledged()
				allowed++
			}
		}
		mustAllow(b, allowed)
	})
	b.Run("events=100/impl=plain-gobreaker", func(b *testing.B) {
		breaker, allowed := gobreaker.NewCircuitBreaker[int](settings), 0
		b.ReportAllocs()
		for range b.N {
			n, err := breaker.Execute(func() (int, error) { return 1, nil })
			if err != nil {
				b.Fatal(err)
			}
			allowed += n
		}
		mustAllow(b, allowed)
	})
	b.Run("events=100/impl=plain-gobreaker-once", func(b *testing.B) {
		breaker, allowed := gobreaker.NewCircuitBreaker[int](settings), 0
		b.ReportAllocs()
		for n := 0; n < b.N; n += benchBurst {
			got, err := breaker.Execute(func() (int, error) { return min(benchBurst, b.N-n), nil })
			if err != nil {
				b.Fatal(err)
			}
			allowed += got
		}
		mustAllow(b, allowed)
	})
}

// orderJSON is the data of event i: 220 bytes of JSON, no two alike.
func orderJSON(i int) []byte {
	var text [8]byte
	binary.BigEndian.PutUint64(text[:], uint64(i)*0x9e3779b97f4a7c15)
	return fmt.Appendf(nil, `{"order":%010d,"customer":"%x","currency":"EUR","total":%06d.25,"paid":true,`+
		`"items":[{"sku":"A-%06d","quantity":2,"price":19.95},{"sku":"B-%06d","quantity":1,"price":4.50}],`+
		`"note":"leave it with the neighbours, please"}`, 1_000_000_000+i, text, 100_000+i, i, i+7)
}
