package ring

// Rings beside a Go channel and beside another published Go ring (xsync's
// SPSCQueue), in the same run.

import (
	"fmt"
	"runtime"
	"sync"
	"testing"

	"github.com/puzpuzpuz/xsync/v4"
)

// BenchmarkTransfer moves one value an operation between two goroutines.
func BenchmarkTransfer(b *testing.B) {
	const capacity = 1024
	for _, burst := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("SPSC/burst=%d", burst), func(b *testing.B) { benchSPSC(b, capacity, burst) })
	}
	b.Run("xsync.SPSCQueue", func(b *testing.B) {
		q := xsync.NewSPSCQueue[uint64](capacity)
		b.ReportAllocs()
		go func() {
			for i := range uint64(b.N) {
				for !q.TryEnqueue(i) {
					runtime.Gosched()
				}
			}
		}()
		for range b.N {
			for {
				if _, ok := q.TryDequeue(); ok {
					break
				}
				runtime.Gosched()
			}
		}
	})
	b.Run("channel", func(b *testing.B) {
		c := make(chan uint64, capacity)
		b.ReportAllocs()
		go func() {
			for i := range uint64(b.N) {
				c <- i
			}
		}()
		for range b.N {
			<-c
		}
	})
}

func benchSPSC(b *testing.B, capacity, burst int) {
	p, c := NewSPSC[uint64](capacity)
	room, values := NewWaiter(), NewWaiter()
	b.ReportAllocs()
	go func() {
		out := make([]uint64, burst)
		for left := b.N; left > 0; {
			n := p.Push(out[:min(burst, left)])
			if n == 0 {
				room.Wait(func() bool { return p.Free() >= p.Cap()/2 })
				continue
			}
			values.Wake()
			left -= n
		}
	}()
	into := make([]uint64, burst)
	for got := 0; got < b.N; {
		n := c.Pop(into)
		if n == 0 {
			values.Wait(func() bool { return c.Len() > 0 })
			continue
		}
		if got += n; c.Cap()-c.Len() >= c.Cap()/2 {
			room.Wake()
		}
	}
}

// BenchmarkMPSC is a lane: 8 producers, one consumer, beside a channel.
func BenchmarkMPSC(b *testing.B) {
	const producers, capacity = 8, 1 << 16
	b.Run("MPSC", func(b *testing.B) {
		q, values := NewMPSC[uint64](capacity), NewWaiter()
		b.ReportAllocs()
		for id := range producers {
			go func() {
				for range share(b.N, producers, id) {
					for !q.TryPush(1) {
						runtime.Gosched()
					}
					values.Wake()
				}
			}()
		}
		into := make([]uint64, 64)
		for got := 0; got < b.N; {
			n := q.Pop(into)
			if n == 0 {
				values.Wait(q.Ready)
			}
			got += n
		}
	})
	b.Run("SPSC+mutex", func(b *testing.B) { // the other candidate for a lane
		var mu sync.Mutex
		p, c := NewSPSC[uint64](capacity)
		values := NewWaiter()
		b.ReportAllocs()
		for id := range producers {
			go func() {
				for range share(b.N, producers, id) {
					for pushed := false; !pushed; {
						mu.Lock()
						pushed = p.TryPush(1)
						mu.Unlock()
					}
					values.Wake()
				}
			}()
		}
		into := make([]uint64, 64)
		for got := 0; got < b.N; {
			n := c.Pop(into)
			if n == 0 {
				values.Wait(func() bool { return c.Len() > 0 })
			}
			got += n
		}
	})
	b.Run("channel", func(b *testing.B) {
		c := make(chan uint64, capacity)
		b.ReportAllocs()
		for id := range producers {
			go func() {
				for range share(b.N, producers, id) {
					c <- 1
				}
			}()
		}
		for range b.N {
			<-c
		}
	})
}

// share splits n operations over producers without remainder.
func share(n, producers, id int) int {
	s := n / producers
	if id < n%producers {
		s++
	}
	return s
}
