package ring

// Two and more goroutines, both sides parking at random: nothing lost, doubled
// or reordered, and no wake-up lost (a lost one hangs the test, which ends with
// the goroutines' stacks at its deadline).

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func transfers() int {
	if testing.Short() {
		return 100_000
	}
	if raceEnabled {
		return 400_000
	}
	return 3_000_000
}

// deadline ends the process with all stacks when a wake-up was lost.
func deadline(t *testing.T) {
	timer := time.AfterFunc(2*time.Minute, func() {
		buf := make([]byte, 1<<20)
		panic(fmt.Sprintf("%s hangs: a wake-up was lost\n%s", t.Name(), buf[:runtime.Stack(buf, true)]))
	})
	t.Cleanup(func() { timer.Stop() })
}

// eachGOMAXPROCS runs f on 1, 2 and 4 processors. Who sets GOMAXPROCS, as `make test` does in its passes, chooses
// between 1, where a waiter that spins starves its peer, and the others.
func eachGOMAXPROCS(t *testing.T, f func(t *testing.T)) {
	each := []int{1, 2, 4}
	switch os.Getenv("GOMAXPROCS") {
	case "":
	case "1":
		each = each[:1]
	default:
		each = each[1:]
	}
	for _, procs := range each {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			f(t)
		})
	}
}

func TestSPSCTorture(t *testing.T) {
	eachGOMAXPROCS(t, func(t *testing.T) {
		for _, capacity := range []int{1, 2, 64, 1024} {
			t.Run(fmt.Sprintf("capacity=%d", capacity), func(t *testing.T) { tortureSPSC(t, capacity) })
		}
	})
}

func tortureSPSC(t *testing.T, capacity int) {
	deadline(t)
	total := uint64(transfers())
	if capacity < 64 {
		total /= 10 // nearly every value costs a park
	}
	p, c := NewSPSC[uint64](capacity)
	room, values := NewWaiter(), NewWaiter()
	var wg sync.WaitGroup
	wg.Go(func() {
		rng := rand.New(rand.NewPCG(1, uint64(capacity)))
		burst := make([]uint64, 100)
		for next := uint64(0); next < total; {
			n := min(uint64(rng.IntN(len(burst))+1), total-next)
			for i := range n {
				burst[i] = next + i
			}
			for rest := burst[:n]; len(rest) > 0; {
				pushed := p.Push(rest)
				if pushed == 0 {
					room.Wait(func() bool { return p.Free() >= max(1, p.Cap()/2) })
					continue
				}
				values.Wake()
				rest = rest[pushed:]
			}
			next += n
			loiter(rng)
		}
		p.Close()
		values.Wake()
	})
	rng := rand.New(rand.NewPCG(2, uint64(capacity)))
	into := make([]uint64, 100)
	want := uint64(0)
	for {
		n := c.Pop(into[:rng.IntN(len(into))+1])
		if n == 0 {
			if c.Drained() {
				break
			}
			values.Wait(func() bool { return c.Len() > 0 || c.Drained() })
			continue
		}
		room.Wake()
		for _, v := range into[:n] {
			if v != want {
				t.Fatalf("got %d, want %d", v, want)
			}
			want++
		}
		loiter(rng)
	}
	wg.Wait()
	if want != total {
		t.Fatalf("%d of %d values arrived", want, total)
	}
}

// loiter makes a side late at random, so that the other one parks.
func loiter(rng *rand.Rand) {
	switch rng.IntN(64) {
	case 0:
		runtime.Gosched()
	case 1:
		for range rng.IntN(2000) {
			_ = rng.Uint64()
		}
	}
}

func TestMPSCTorture(t *testing.T) {
	eachGOMAXPROCS(t, func(t *testing.T) {
		for _, capacity := range []int{2, 4, 1024} {
			t.Run(fmt.Sprintf("capacity=%d", capacity), func(t *testing.T) { tortureMPSC(t, capacity) })
		}
	})
}

func tortureMPSC(t *testing.T, capacity int) {
	deadline(t)
	const producers = 4
	each := transfers() / producers / 2
	q := NewMPSC[[2]int](capacity)
	values := NewWaiter()
	q.afterClaim = func(seq uint64) {
		if seq%97 == 0 {
			runtime.Gosched() // preempted between claim and publish
		}
	}
	var wg sync.WaitGroup
	for id := range producers {
		wg.Go(func() {
			for i := range each {
				for !q.TryPush([2]int{id, i}) {
					runtime.Gosched()
				}
				values.Wake()
			}
		})
	}
	var want [producers]int
	into := make([][2]int, 64)
	for got := 0; got < producers*each; {
		n := q.Pop(into)
		if n == 0 {
			values.Wait(q.Ready)
			continue
		}
		got += n
		for _, v := range into[:n] {
			if v[1] != want[v[0]] {
				t.Fatalf("producer %d: got %d, want %d", v[0], v[1], want[v[0]])
			}
			want[v[0]]++
		}
	}
	wg.Wait()
	if q.Ready() || q.Depth() != 0 {
		t.Fatal("something is left")
	}
}
