package ring

// Rings beside a Go channel and beside another published Go ring (xsync's
// SPSCQueue), in the same run. An operation is one value. Whoever receives adds
// the values up: a ring that loses or repeats one is not fast, it is broken.

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/puzpuzpuz/xsync/v4"
)

// benchCapacity is the default of RING_CAPACITY. Channels get the same.
const benchCapacity = 1024

// mustSum checks that the n values 0 to n-1 have arrived, once each.
func mustSum(b *testing.B, sum uint64, n int) {
	b.Helper()
	if want := uint64(n) * uint64(n-1) / 2; sum != want {
		b.Fatalf("the sum of %d values is %d, want %d", n, sum, want)
	}
}

// onCores runs f with GOMAXPROCS n.
func onCores(n int, f func(b *testing.B)) func(b *testing.B) {
	return func(b *testing.B) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(n))
		b.ReportAllocs()
		b.ResetTimer()
		f(b)
	}
}

// BenchmarkSPSC moves values from one goroutine to another: on one core, where
// they take turns, and on two, where a value's cache line has to move. Neither
// a channel nor xsync's queue takes several values at once; where the ring does,
// the second plain way does so too, with slices over a channel.
func BenchmarkSPSC(b *testing.B) {
	for cores := 1; cores <= min(2, runtime.NumCPU()); cores++ {
		for _, burst := range []int{1, 16, 64} {
			run := func(impl string, f func(b *testing.B)) {
				b.Run(fmt.Sprintf("cores=%d/burst=%d/impl=%s", cores, burst, impl), onCores(cores, f))
			}
			run("gateway", func(b *testing.B) { benchSPSC(b, burst) })
			run("plain-channel", benchChannel)
			if burst == 1 {
				run("plain-xsync.SPSCQueue", benchXsync)
			} else {
				run("plain-channel-of-slices", func(b *testing.B) { benchSlices(b, burst) })
			}
		}
	}
}

func benchSPSC(b *testing.B, burst int) {
	p, c := NewSPSC[uint64](benchCapacity)
	room, values := NewWaiter(), NewWaiter()
	go func() {
		out := make([]uint64, burst)
		for next := 0; next < b.N; {
			chunk := out[:min(burst, b.N-next)]
			for i := range chunk {
				chunk[i] = uint64(next + i)
			}
			next += len(chunk)
			for len(chunk) > 0 {
				n := p.Push(chunk)
				if n == 0 {
					room.Wait(func() bool { return p.Free() >= p.Cap()/2 })
					continue
				}
				chunk = chunk[n:]
				values.Wake()
			}
		}
	}()
	into, sum := make([]uint64, burst), uint64(0)
	for got := 0; got < b.N; {
		n := c.Pop(into)
		if n == 0 {
			values.Wait(func() bool { return c.Len() > 0 })
			continue
		}
		for _, v := range into[:n] {
			sum += v
		}
		if got += n; c.Backlog() <= c.Cap()/2 {
			room.Wake()
		}
	}
	mustSum(b, sum, b.N)
}

func benchXsync(b *testing.B) {
	q := xsync.NewSPSCQueue[uint64](benchCapacity)
	go func() {
		for i := range uint64(b.N) {
			for !q.TryEnqueue(i) {
				runtime.Gosched()
			}
		}
	}()
	sum := uint64(0)
	for got := 0; got < b.N; {
		v, ok := q.TryDequeue()
		if !ok {
			runtime.Gosched()
			continue
		}
		sum += v
		got++
	}
	mustSum(b, sum, b.N)
}

func benchChannel(b *testing.B) {
	c := make(chan uint64, benchCapacity)
	go func() {
		for i := range uint64(b.N) {
			c <- i
		}
	}()
	sum := uint64(0)
	for range b.N {
		sum += <-c
	}
	mustSum(b, sum, b.N)
}

// benchSlices sends bursts as slices. Each is a new one: to use it again, it
// would have to come back, over a second channel.
func benchSlices(b *testing.B, burst int) {
	c := make(chan []uint64, benchCapacity/burst)
	go func() {
		for next := 0; next < b.N; {
			chunk := make([]uint64, min(burst, b.N-next))
			for i := range chunk {
				chunk[i] = uint64(next + i)
			}
			next += len(chunk)
			c <- chunk
		}
	}()
	sum := uint64(0)
	for got := 0; got < b.N; {
		chunk := <-c
		for _, v := range chunk {
			sum += v
		}
		got += len(chunk)
	}
	mustSum(b, sum, b.N)
}

// BenchmarkMPSC is a lane: 8 producers, one consumer.
func BenchmarkMPSC(b *testing.B) {
	const producers, capacity = 8, 1 << 16
	// produce runs push for all values, spread over the producers.
	produce := func(n int, push func(v uint64)) {
		for id := range producers {
			go func() {
				for v := id; v < n; v += producers {
					push(uint64(v))
				}
			}()
		}
	}
	// consume pops until all values are there.
	consume := func(b *testing.B, values *Waiter, pop func(into []uint64) int, ready func() bool) {
		into, sum := make([]uint64, 64), uint64(0)
		for got := 0; got < b.N; {
			n := pop(into)
			if n == 0 {
				values.Wait(ready)
			}
			for _, v := range into[:n] {
				sum += v
			}
			got += n
		}
		mustSum(b, sum, b.N)
	}
	b.Run("impl=gateway", func(b *testing.B) {
		q, values := NewMPSC[uint64](capacity), NewWaiter()
		b.ReportAllocs()
		b.ResetTimer()
		produce(b.N, func(v uint64) {
			for !q.TryPush(v) {
				runtime.Gosched()
			}
			values.Wake()
		})
		consume(b, values, q.Pop, q.Ready)
	})
	b.Run("impl=plain-channel", func(b *testing.B) {
		c := make(chan uint64, capacity)
		b.ReportAllocs()
		b.ResetTimer()
		produce(b.N, func(v uint64) { c <- v })
		sum := uint64(0)
		for range b.N {
			sum += <-c
		}
		mustSum(b, sum, b.N)
	})
	b.Run("impl=plain-SPSC+mutex", func(b *testing.B) { // the other candidate for a lane
		var mu sync.Mutex
		p, c := NewSPSC[uint64](capacity)
		values := NewWaiter()
		b.ReportAllocs()
		b.ResetTimer()
		produce(b.N, func(v uint64) {
			for pushed := false; !pushed; {
				mu.Lock()
				pushed = p.TryPush(v)
				mu.Unlock()
				if !pushed {
					runtime.Gosched()
				}
			}
			values.Wake()
		})
		consume(b, values, c.Pop, func() bool { return c.Len() > 0 })
	})
}
