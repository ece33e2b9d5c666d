package ring

// Edges of the SPSC ring, each by name, and its model.

import (
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestSPSCCapacityIsThePowerOfTwoAbove(t *testing.T) {
	for _, c := range []struct{ asked, got int }{{-1, 1}, {0, 1}, {1, 1}, {2, 2}, {3, 4}, {1000, 1024}, {1024, 1024}} {
		p, q := NewSPSC[int](c.asked)
		if p.Cap() != c.got || q.Cap() != c.got {
			t.Errorf("NewSPSC(%d): capacity %d and %d, want %d", c.asked, p.Cap(), q.Cap(), c.got)
		}
	}
}

func TestSPSCEmptyAndFull(t *testing.T) {
	for _, capacity := range []int{1, 2, 8} {
		p, c := NewSPSC[int](capacity)
		if v, ok := c.TryPop(); ok {
			t.Fatalf("capacity %d: popped %d from a new ring", capacity, v)
		}
		for i := range capacity {
			if !p.TryPush(i) {
				t.Fatalf("capacity %d: push %d did not fit", capacity, i)
			}
		}
		if p.TryPush(99) || p.Push([]int{99}) != 0 || p.Free() != 0 {
			t.Fatalf("capacity %d: a full ring took another value", capacity)
		}
		for i := range capacity {
			if v, ok := c.TryPop(); !ok || v != i {
				t.Fatalf("capacity %d: got %d %v, want %d", capacity, v, ok, i)
			}
		}
		if c.Len() != 0 || c.Pop(make([]int, 4)) != 0 {
			t.Fatalf("capacity %d: values left", capacity)
		}
	}
}

func TestSPSCBurstWraps(t *testing.T) {
	p, c := NewSPSC[int](8)
	into := make([]int, 8)
	next, want := 0, 0
	for range 100 { // 5 a round: every offset of the wrap comes up
		if n := p.Push([]int{next, next + 1, next + 2, next + 3, next + 4}); n != 5 {
			t.Fatalf("pushed %d of 5", n)
		}
		next += 5
		if n := c.Pop(into); n != 5 {
			t.Fatalf("popped %d of 5", n)
		}
		for _, v := range into[:5] {
			if v != want {
				t.Fatalf("got %d, want %d", v, want)
			}
			want++
		}
	}
}

func TestSPSCPartialBurst(t *testing.T) {
	p, c := NewSPSC[int](4)
	if n := p.Push([]int{0, 1, 2, 3, 4, 5}); n != 4 {
		t.Fatalf("pushed %d into a ring of 4", n)
	}
	into := make([]int, 3)
	if n := c.Pop(into); n != 3 || into[2] != 2 {
		t.Fatalf("popped %d %v", n, into)
	}
	if n := p.Push([]int{4, 5, 6, 7}); n != 3 {
		t.Fatalf("pushed %d with 3 free", n)
	}
}

// The producer's copy of readSeq says full while the consumer has made room:
// the push must reload it. And the same for the consumer's copy.
func TestSPSCStaleCursorCopies(t *testing.T) {
	p, c := NewSPSC[int](2)
	p.TryPush(1)
	p.TryPush(2)
	if p.TryPush(3) { // now seenRead is 0 and the ring full
		t.Fatal("pushed into a full ring")
	}
	c.TryPop()
	if !p.TryPush(3) {
		t.Fatal("the producer did not notice the room")
	}
	c.TryPop()
	c.TryPop()
	if _, ok := c.TryPop(); ok {
		t.Fatal("popped from an empty ring")
	}
	p.TryPush(4)
	if v, ok := c.TryPop(); !ok || v != 4 {
		t.Fatal("the consumer did not notice the value")
	}
}

func TestSPSCCloseAfterTheLastValue(t *testing.T) {
	p, c := NewSPSC[int](4)
	p.TryPush(1)
	if c.Drained() {
		t.Fatal("drained before close")
	}
	p.Close()
	if c.Drained() {
		t.Fatal("drained with a value inside")
	}
	c.TryPop()
	if !c.Drained() {
		t.Fatal("closed and empty, but not drained")
	}
}

func TestSPSCGauge(t *testing.T) {
	p, c := NewSPSC[int](4)
	g := c.Gauge()
	p.Push([]int{1, 2, 3})
	if g.Depth() != 3 || g.Cap() != 4 {
		t.Fatalf("depth %d of %d", g.Depth(), g.Cap())
	}
}

// Cursors that start just below a wrap of the low 32 bits behave as any others.
func TestSPSCCursorsAbove32Bits(t *testing.T) {
	p, c := NewSPSC[int](4)
	const start = 1<<32 - 2
	p.next, p.seenRead, c.next, c.seenWrite = start, start, start, start
	p.shared.writeSeq.Store(start)
	p.shared.readSeq.Store(start)
	for i := range 100 {
		if !p.TryPush(i) {
			t.Fatal("full")
		}
		if v, ok := c.TryPop(); !ok || v != i {
			t.Fatalf("got %d %v, want %d", v, ok, i)
		}
	}
}

// Words that different cores write are at least a line pair apart.
func TestLayoutKeepsWrittenWordsApart(t *testing.T) {
	var s cursors
	var q MPSC[int]
	var w Waiter
	offsets := map[string][]uintptr{
		"cursors": {0, unsafe.Offsetof(s.writeSeq), unsafe.Offsetof(s.readSeq), unsafe.Offsetof(s.closed), unsafe.Sizeof(s)},
		"MPSC":    {unsafe.Offsetof(q.mask), unsafe.Offsetof(q.writeSeq), unsafe.Offsetof(q.readSeq), unsafe.Offsetof(q.next)},
		"Waiter":  {0, unsafe.Offsetof(w.state), unsafe.Offsetof(w.token)},
	}
	for name, at := range offsets {
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < padBytes {
				t.Errorf("%s: offsets %v: %d and %d share a line pair", name, at, at[i-1], at[i])
			}
		}
	}
}

func TestPushAndPopDoNotAllocate(t *testing.T) {
	p, c := NewSPSC[*int](64)
	q := NewMPSC[*int](64)
	in, out := make([]*int, 16), make([]*int, 16)
	if n := testing.AllocsPerRun(100, func() {
		p.Push(in)
		c.Pop(out)
		q.TryPush(in[0])
		q.Pop(out)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Random operations on one goroutine against a slice. An operation is a byte: what (3 bits) and how many (5 bits).
func TestSPSCModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		checkSPSC(t, rapid.Byte().Draw(t, "capacity"), rapid.SliceOf(rapid.Byte()).Draw(t, "operations"))
	})
}

func FuzzSPSCModel(f *testing.F) {
	f.Fuzz(func(t *testing.T, capacity byte, operations []byte) { checkSPSC(t, capacity, operations) })
}

// failer is *testing.T or *rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// spscModel is a ring and the slice that it must behave like.
type spscModel struct {
	failer
	p      *Producer[int]
	c      *Consumer[int]
	model  []int
	next   int // the next value to push
	closed bool
}

func checkSPSC(t failer, capacity byte, operations []byte) {
	m := &spscModel{failer: t}
	m.p, m.c = NewSPSC[int](int(capacity) % 17)
	for _, op := range operations {
		n := int(op & 31)
		switch op >> 5 {
		case 0:
			m.push(n)
		case 1:
			m.tryPush()
		case 2:
			m.pop(n)
		case 3:
			m.tryPop()
		case 4:
			m.p.Close()
			m.closed = true
		}
		m.check()
	}
}

func (m *spscModel) push(n int) {
	if m.closed {
		return
	}
	values := make([]int, n)
	for i := range values {
		values[i] = m.next + i
	}
	got := m.p.Push(values)
	if want := min(n, m.p.Cap()-len(m.model)); got != want {
		m.Fatalf("pushed %d, want %d", got, want)
	}
	m.model = append(m.model, values[:got]...)
	m.next += got
}

func (m *spscModel) tryPush() {
	if m.closed {
		return
	}
	ok := m.p.TryPush(m.next)
	if ok != (len(m.model) < m.p.Cap()) {
		m.Fatalf("TryPush %v with %d of %d inside", ok, len(m.model), m.p.Cap())
	}
	if ok {
		m.model = append(m.model, m.next)
		m.next++
	}
}

func (m *spscModel) pop(n int) {
	into := make([]int, n)
	got := m.c.Pop(into)
	if want := min(n, len(m.model)); got != want || !slices.Equal(into[:got], m.model[:got]) {
		m.Fatalf("popped %v, want %v", into[:got], m.model[:want])
	}
	m.model = m.model[got:]
}

func (m *spscModel) tryPop() {
	v, ok := m.c.TryPop()
	if ok != (len(m.model) > 0) || ok && v != m.model[0] {
		m.Fatalf("TryPop %d %v, want %v", v, ok, m.model)
	}
	if ok {
		m.model = m.model[1:]
	}
}

// check holds what can be asked of the ring against the slice.
func (m *spscModel) check() {
	n := len(m.model)
	if known := m.c.Backlog(); known > n {
		m.Fatalf("the consumer knows of %d values, there are %d", known, n)
	}
	if m.c.Len() != n || m.p.Free() != m.p.Cap()-n || m.c.Gauge().Depth() != n || m.c.Backlog() != n {
		m.Fatalf("len %d, free %d, depth %d, want len %d", m.c.Len(), m.p.Free(), m.c.Gauge().Depth(), n)
	}
	if m.c.Drained() != (m.closed && n == 0) {
		m.Fatalf("drained %v", m.c.Drained())
	}
}
