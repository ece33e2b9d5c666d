package recent

// What an event costs the retirer, and a search its caller while the retirer is
// at work. An operation is one event of 450 bytes.

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// The defaults of EVENT_STORE_CAPACITY and EVENT_STORE_BYTES.
	benchCapacity = 65_536
	benchBytes    = 64 << 20
	benchBatch    = 100
)

// source has events as the retirer gets them: not long ago in the graph, so in a cache, but each with an id of its own.
type source struct {
	events []*stages.Event
}

func newSource(tb testing.TB) *source {
	s := &source{}
	for range 1000 / benchBatch {
		var batch []sent
		for range benchBatch {
			batch = append(batch, sent{id: benchID, source: "/bench/source", kind: "order.created", key: "customer-0001", data: make([]byte, 370)})
		}
		s.events = append(s.events, decode(tb, batch...)...)
	}
	return s
}

const benchID = "........-0000-7000-8000-000000000000"

// stamp makes id the one of event i.
func stamp(id []byte, i int) { binary.LittleEndian.PutUint64(id, uint64(i)) }

// event is event i; its id is a view into its bytes, so those change too.
func (s *source) event(i int) *stages.Event {
	ev := s.events[i%len(s.events)]
	stamp(ev.ID.Value, i)
	return ev
}

// add writes the events from one number to another, a batch at a time.
func (s *source) add(store *Store, from, to int) {
	for i := from; i < to; i++ {
		store.Add(s.event(i), Position{Topic: 1, Partition: 2, Offset: int64(i)})
		if i%benchBatch == benchBatch-1 {
			store.Publish()
		}
	}
	store.Publish()
}

// BenchmarkAdd, beside a copy of the same bytes into as much memory, which is the least that it could take, and a map
// with a lock.
func BenchmarkAdd(b *testing.B) {
	const before = 4 * benchCapacity // every segment in use was written, more than once
	b.Run("impl=gateway", func(b *testing.B) {
		from, s := newSource(b), New(benchCapacity, benchBytes)
		from.add(s, 0, before)
		b.ReportAllocs()
		b.ResetTimer()
		from.add(s, before, before+b.N)
	})
	b.Run("impl=plain-copy", func(b *testing.B) {
		from := newSource(b)
		const size = 512
		memory := make([]byte, benchCapacity*size)
		add := func(i int) {
			ev := from.event(i)
			copy(memory[i%benchCapacity*size:], unsafe.Slice(&ev.ID.Value[0], ev.Size-2))
		}
		for i := range before {
			add(i)
		}
		b.ReportAllocs()
		b.ResetTimer()
		for i := range b.N {
			add(i)
		}
	})
	b.Run("impl=plain-map", func(b *testing.B) { benchMap(b, newSource(b), before) })
}

// benchMap keeps copies in a map, the oldest made room for by a ring of ids.
func benchMap(b *testing.B, from *source, before int) {
	type kept struct {
		at    Position
		event []byte
	}
	var mu sync.RWMutex
	events, ring := make(map[string]kept, benchCapacity), make([]string, benchCapacity)
	add := func(i int) {
		ev := from.event(i)
		id := string(ev.ID.Value)
		k := kept{Position{Topic: 1, Partition: 2, Offset: int64(i)}, ev.AppendStored(make([]byte, 0, ev.StoredBound()), &stages.Stamp{})}
		mu.Lock()
		delete(events, ring[i%benchCapacity])
		events[id], ring[i%benchCapacity] = k, id
		mu.Unlock()
	}
	for i := range before {
		add(i)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		add(before + i)
	}
}

// benchReads reads while another goroutine writes as fast as it can.
func benchReads(b *testing.B, window int, read func(s *Store, id string) bool) {
	from, s := newSource(b), New(benchCapacity, benchBytes)
	var newest atomic.Int64
	const before = 4 * benchCapacity
	from.add(s, 0, before)
	newest.Store(before)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := before; ; i += benchBatch {
			select {
			case <-stop:
				return
			default:
				from.add(s, i, i+benchBatch)
				newest.Store(int64(i + benchBatch))
			}
		}
	}()
	rng := rand.New(rand.NewPCG(1, 1))
	order := make([]int, 4096)
	for i := range order {
		order[i] = rng.IntN(window)
	}
	id, found := []byte(benchID), 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		stamp(id, int(newest.Load())-1-order[i%len(order)])
		if read(s, unsafe.String(&id[0], len(id))) {
			found++
		}
	}
	b.StopTimer()
	close(stop)
	<-done
	if found < b.N-b.N/10 {
		b.Fatalf("%d of %d found", found, b.N)
	}
}

// One of the last 1,000 events, where a client looks that has just been told of it; and any.
func BenchmarkLocate(b *testing.B) {
	locate := func(s *Store, id string) bool {
		_, ok := s.Locate(id)
		return ok
	}
	b.Run("of=1000", func(b *testing.B) { benchReads(b, 1000, locate) })
	b.Run("of=all", func(b *testing.B) { benchReads(b, benchCapacity/2, locate) })
}

// With a copy of the event.
func BenchmarkFind(b *testing.B) {
	buffer := make([]byte, 0, 1024)
	find := func(s *Store, id string) bool {
		_, ok := s.Find(id, buffer)
		return ok
	}
	b.Run("of=1000", func(b *testing.B) { benchReads(b, 1000, find) })
	b.Run("of=all", func(b *testing.B) { benchReads(b, benchCapacity/2, find) })
}
