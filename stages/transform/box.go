package transform

// Values for programs without an allocation each. A Go interface that holds a
// string or a number points at a copy of it on the heap: 25 ns and 16 bytes for
// each value of an event's data. Here the copies lie side by side in slabs that
// are used again for the next event, and the interfaces are made to point there.
// This leans on how Go lays out interfaces, as encoding/json and reflect do;
// TestBoxes holds it.

import "unsafe"

// word is what Go keeps in an interface: the type, and a pointer to the value or the value itself.
type word struct{ typ, data unsafe.Pointer }

func wordOf(v any) word { return *(*word)(unsafe.Pointer(&v)) }

// boxes makes interfaces of a type whose values Go keeps behind a pointer.
type boxes[T any] struct{ typ unsafe.Pointer }

func boxesOf[T any]() boxes[T] {
	var zero T
	return boxes[T]{wordOf(any(zero)).typ}
}

// at is an interface that shows what p points at, also when that changes later.
func (b boxes[T]) at(p *T) any {
	w := word{b.typ, unsafe.Pointer(p)}
	return *(*any)(unsafe.Pointer(&w))
}

// same reports whether two interfaces are copies of one another: the same value at the same place. False says nothing.
func same(a, b any) bool { return wordOf(a) == wordOf(b) }

// mapAt and sliceAt are where a map or the elements of a slice lie: what makes it the same one.
func mapAt(m map[string]any) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&m)) }
func sliceAt(s []any) unsafe.Pointer        { return unsafe.Pointer(unsafe.SliceData(s)) }

// textOf is a view of b: valid as long as b is, and as it is then.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// Slabs keep this many values from event to event; more are given to the collector.
const maxSlab = 4096

// slab hands out places for values of one type.
type slab[T any] struct {
	all  []T
	used int
}

func (s *slab[T]) put(v T) *T {
	if s.used == len(s.all) {
		// Boxes point at the old values: they stay where they are until the event is done.
		s.all, s.used = make([]T, min(max(2*len(s.all), 32), maxSlab)), 0
	}
	p := &s.all[s.used]
	*p = v
	s.used++
	return p
}

// take hands out n places side by side. Appending to them copies. No slice is nil, which gojq's del would make null of.
func (s *slab[T]) take(n int) []T {
	if n > maxSlab/4 {
		return make([]T, n)
	}
	if s.used+n > len(s.all) || s.all == nil {
		s.all, s.used = make([]T, min(max(2*len(s.all), 32, 2*n), maxSlab)), 0
	}
	s.used += n
	return s.all[s.used-n : s.used : s.used]
}

// reset takes everything back, so that nothing keeps an event's memory.
func (s *slab[T]) reset() {
	clear(s.all[:s.used])
	s.used = 0
}
