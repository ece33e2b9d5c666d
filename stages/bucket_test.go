package stages

// The bucket against a plain model in floats, and under concurrent takers.

import (
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelBucket is the textbook token bucket.
type modelBucket struct {
	rate, burst, tokens float64
	last                int64
}

func (m *modelBucket) refill(now int64) {
	m.tokens = min(m.burst, m.tokens+float64(now-m.last)/1e9*m.rate)
	m.last = now
}

// bucketAt is a bucket in the state of another one.
func bucketAt(b *Bucket) *Bucket {
	next := &Bucket{}
	next.arrival.Store(b.arrival.Load())
	return next
}

func TestBucketAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rps := math.Pow(10, rapid.Float64Range(-1, 7).Draw(t, "log rps"))
		burst := rapid.IntRange(1, 5000).Draw(t, "burst")
		limit, bucket := NewLimit(rps, burst), &Bucket{}
		model := modelBucket{rate: rps, burst: float64(burst), tokens: float64(burst)}
		now := rapid.Int64Range(0, 1<<40).Draw(t, "start")
		model.last = now
		for i := range rapid.IntRange(1, 60).Draw(t, "takes") {
			now += int64(rapid.Float64Range(0, 3*float64(burst)).Draw(t, "gap in intervals") / rps * 1e9)
			n := rapid.IntRange(0, 2*burst).Draw(t, "events")
			model.refill(now)
			// Each take rounds up to a whole nanosecond, so we may be that much stricter than the model, never laxer.
			const floats = 1e-6
			strict := float64(i+1)*rps*1e-9 + floats
			most, least := int(model.tokens+floats), int(model.tokens-strict)
			allowed, retry := bucket.Take(limit, now, n)
			if allowed > min(n, most) || allowed < min(n, least) {
				t.Fatalf("take %d of %d events: %d allowed; the model has %v", i, n, allowed, model.tokens)
			}
			model.tokens -= float64(allowed)
			checkRetry(t, bucket, limit, now, n, allowed, retry)
		}
	})
}

// checkRetry: waiting as long as advised is enough, and not longer than needed.
func checkRetry(t *rapid.T, bucket *Bucket, limit Limit, now int64, n, allowed int, retry time.Duration) {
	if (allowed < n) != (retry > 0) {
		t.Fatalf("%d of %d allowed and retry %d ns", allowed, n, retry)
	}
	if allowed == n {
		return
	}
	if got, _ := bucketAt(bucket).Take(limit, now+int64(retry), 1); got != 1 {
		t.Fatalf("after the advised %d ns the next event is refused", retry)
	}
	if early := int64(retry) - 3; early >= 0 {
		if got, _ := bucketAt(bucket).Take(limit, now+early, 1); got != 0 {
			t.Fatalf("%d ns were advised, but the next event is allowed after %d", retry, early)
		}
	}
}

func TestBucketTable(t *testing.T) {
	const second = int64(time.Second)
	limit := NewLimit(10, 5) // one each 100 ms
	type take struct {
		now     int64
		n       int
		allowed int
		retry   time.Duration
	}
	for name, takes := range map[string][]take{
		"a new bucket is full":      {{0, 5, 5, 0}, {0, 1, 0, 100*time.Millisecond + 1}},
		"part of a burst":           {{0, 8, 5, 100*time.Millisecond + 1}},
		"one each interval":         {{0, 5, 5, 0}, {second / 10, 1, 1, 0}, {second / 10, 1, 0, 100*time.Millisecond + 1}},
		"half an interval":          {{0, 5, 5, 0}, {second / 20, 1, 0, 50*time.Millisecond + 1}},
		"saving up ends at a burst": {{0, 5, 5, 0}, {100 * second, 100, 5, 100*time.Millisecond + 1}},
		"nothing asked":             {{0, 0, 0, 0}, {0, 5, 5, 0}},
		"refusals cost nothing":     {{0, 5, 5, 0}, {0, 9, 0, 100*time.Millisecond + 1}, {second / 10, 1, 1, 0}},
		"an older clock gets less":  {{second, 5, 5, 0}, {0, 1, 0, 1100*time.Millisecond + 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var b Bucket
			for i, k := range takes {
				if allowed, retry := b.Take(limit, k.now, k.n); allowed != k.allowed || retry != k.retry {
					t.Fatalf("take %d: %d allowed, retry %v; want %d, %v", i, allowed, retry, k.allowed, k.retry)
				}
			}
		})
	}
	for name, limit := range map[string]Limit{
		"zero value": {}, "no rate": NewLimit(0, 5), "no burst": NewLimit(5, 0), "NaN": NewLimit(math.NaN(), 1), "negative": NewLimit(-1, 1),
	} {
		if allowed, retry := new(Bucket).Take(limit, 0, 3); allowed != 0 || retry != 0 {
			t.Errorf("%s: %d allowed, retry %v; want nothing", name, allowed, retry)
		}
	}
}

// Fractions of a nanosecond add up: at 7 million a second one taker at a time may not get 0.6 % more.
func TestBucketKeepsFastRates(t *testing.T) {
	const rps, burst, seconds = 7e6, 100, 0.05
	limit, total := NewLimit(rps, burst), 0
	var b Bucket
	for now := int64(0); now < seconds*1e9; now += 40 {
		n, _ := b.Take(limit, now, 1)
		total += n
	}
	if most := burst + rps*seconds; float64(total) > most || float64(total) < most*0.998 {
		t.Fatalf("%d events in %v s, want at most %v and hardly less", total, seconds, most)
	}
}

func TestBucketConcurrentTakers(t *testing.T) {
	const takers, takes, burst, rps, step = 4, 20_000, 50, 1e6, 100
	var (
		b       Bucket
		clock   atomic.Int64
		total   atomic.Int64
		running sync.WaitGroup
	)
	limit := NewLimit(rps, burst)
	for range takers {
		running.Go(func() {
			for i := range takes {
				allowed, _ := b.Take(limit, clock.Add(step), 1+i%3)
				total.Add(int64(allowed))
			}
		})
	}
	running.Wait()
	most := burst + rps*float64(clock.Load())/1e9
	if got := float64(total.Load()); got > most || got < 0.95*most {
		t.Fatalf("%v events were allowed, want at most %v and hardly less", got, most)
	}
}

func TestBucketAllocatesNothing(t *testing.T) {
	var b Bucket
	limit, now := NewLimit(1000, 100), int64(0)
	if allocs := testing.AllocsPerRun(1000, func() { now += 1e5; b.Take(limit, now, 1) }); allocs != 0 {
		t.Fatalf("%v allocations a take, want none", allocs)
	}
}
