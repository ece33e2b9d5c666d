package ring

// Edges of the MPSC ring, each by name, and its model.

import (
	"runtime"
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

func TestMPSCModel(t *testing.T) { rapid.Check(t, modelMPSC) }

func FuzzMPSCModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(modelMPSC)) }

func modelMPSC(t *rapid.T) {
	q := NewMPSC[int](rapid.IntRange(1, 16).Draw(t, "capacity"))
	var model []int
	next := 0
	t.Repeat(map[string]func(*rapid.T){
		"push": func(t *rapid.T) {
			if ok := q.TryPush(next); ok != (len(model) < q.Cap()) {
				t.Fatalf("TryPush %v with %d of %d inside", ok, len(model), q.Cap())
			} else if ok {
				model = append(model, next)
				next++
			}
		},
		"pop": func(t *rapid.T) {
			into := make([]int, rapid.IntRange(0, 20).Draw(t, "n"))
			n := q.Pop(into)
			if want := min(len(into), len(model)); n != want {
				t.Fatalf("popped %d, want %d", n, want)
			}
			for i, v := range into[:n] {
				if v != model[i] {
					t.Fatalf("value %d is %d, want %d", i, v, model[i])
				}
			}
			model = model[n:]
		},
		"": func(t *rapid.T) {
			if q.Ready() != (len(model) > 0) || q.Depth() != len(model) {
				t.Fatalf("ready %v, depth %d, want %d", q.Ready(), q.Depth(), len(model))
			}
		},
	})
}
