package ring

// Edges of the MPSC ring, each by name, and its model.

import (
	"runtime"
	"slices"
	"testing"
	"weak"

	"pgregory.net/rapid"
)

func TestMPSCEmptyAndFull(t *testing.T) {
	for _, capacity := range []int{1, 2, 8} {
		q := NewMPSC[int](capacity)
		into := make([]int, 16)
		if q.Ready() || q.Pop(into) != 0 {
			t.Fatalf("capacity %d: a new ring is not empty", capacity)
		}
		for lap := range 3 {
			for i := range q.Cap() {
				if !q.TryPush(lap*100 + i) {
					t.Fatalf("capacity %d: push %d did not fit", capacity, i)
				}
			}
			if q.TryPush(99) || q.Depth() != q.Cap() {
				t.Fatalf("capacity %d: a full ring took another value", capacity)
			}
			if n := q.Pop(into); n != q.Cap() {
				t.Fatalf("capacity %d: popped %d", capacity, n)
			}
			for i, v := range into[:q.Cap()] {
				if v != lap*100+i {
					t.Fatalf("capacity %d: got %d, want %d", capacity, v, lap*100+i)
				}
			}
		}
	}
}

// A producer preempted between claim and publish: what others publish behind
// it stays invisible until it publishes, and then everything comes in the order
// of the claims.
func TestMPSCHoleIsEmptyUntilPublished(t *testing.T) {
	q := NewMPSC[int](8)
	claimed, publish, published := make(chan struct{}), make(chan struct{}), make(chan struct{})
	q.afterClaim = func(seq uint64) {
		if seq == 1 {
			close(claimed)
			<-publish
		}
	}
	q.TryPush(0)
	go func() {
		q.TryPush(1)
		close(published)
	}()
	<-claimed
	q.TryPush(2)
	into := make([]int, 8)
	if n := q.Pop(into); n != 1 || into[0] != 0 {
		t.Fatalf("before the hole: %v", into[:n])
	}
	if q.Ready() || q.Pop(into) != 0 {
		t.Fatal("popped past a hole")
	}
	close(publish)
	<-published
	if n := q.Pop(into); n != 2 || into[0] != 1 || into[1] != 2 {
		t.Fatalf("after the hole: %v", into[:n])
	}
}

// What was popped is not kept reachable by its slot.
func TestMPSCForgetsWhatWasPopped(t *testing.T) {
	q := NewMPSC[*[1 << 16]byte](1024)
	value := new([1 << 16]byte)
	kept := weak.Make(value)
	q.TryPush(value)
	q.Pop(make([]*[1 << 16]byte, 1))
	runtime.GC() // value is not used below
	if kept.Value() != nil {
		t.Fatal("the ring keeps a value that was popped")
	}
	runtime.KeepAlive(q)
}

// Random operations on one goroutine against a slice, written as for the SPSC ring.
func TestMPSCModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkMPSC(t, rapid.Byte().Draw(t, "capacity"), rapid.SliceOf(rapid.Byte()).Draw(t, "operations"))
	})
}

func FuzzMPSCModel(f *testing.F) {
	f.Fuzz(func(t *testing.T, capacity byte, operations []byte) { checkMPSC(t, capacity, operations) })
}

func checkMPSC(t failer, capacity byte, operations []byte) {
	q := NewMPSC[int](int(capacity) % 17)
	var model []int
	next := 0
	for _, op := range operations {
		n := int(op & 31)
		if op>>5 < 2 {
			for range n {
				ok := q.TryPush(next)
				if ok != (len(model) < q.Cap()) {
					t.Fatalf("TryPush %v with %d of %d inside", ok, len(model), q.Cap())
				}
				if ok {
					model = append(model, next)
					next++
				}
			}
		} else {
			into := make([]int, n)
			got := q.Pop(into)
			if want := min(n, len(model)); got != want || !slices.Equal(into[:got], model[:got]) {
				t.Fatalf("popped %v, want %v", into[:got], model[:want])
			}
			model = model[got:]
		}
		if q.Ready() != (len(model) > 0) || q.Depth() != len(model) {
			t.Fatalf("ready %v, depth %d, want %d", q.Ready(), q.Depth(), len(model))
		}
	}
}
