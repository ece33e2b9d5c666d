package recent

// The store against a list that keeps everything; readers that must never see a
// torn or a stale event.

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// model is what the test knows of a store.
type model struct {
	*Store
	added []modelEvent
	// published is how many of added can be found.
	published int
}

type modelEvent struct {
	id      string
	content []byte
	at      Position
	// size is what the record takes in the log; kept: it fits into a segment.
	size int
	kept bool
}

func (m *model) segment() int { return len(m.log.segments[0].bytes) }

func (m *model) add(t *rapid.T, e sent, at Position) {
	ev := decode(t, e)[0]
	content := ev.AppendStored(nil, &stages.Stamp{})
	n := headLength + len(e.id) + ev.StoredBound()
	m.Add(ev, at)
	m.added = append(m.added, modelEvent{e.id, content, at, n + recordAlign, n <= m.segment()})
	if len(m.staged) == 0 || len(m.staged) < len(m.added)-m.published {
		m.published = len(m.added) - len(m.staged) // what filled a burst or a segment was published
	}
}

func (m *model) publish() {
	m.Publish()
	m.published = len(m.added)
}

// check looks for an id and holds what comes back against the list.
func (m *model) check(t *rapid.T, id string) {
	content, found := m.Find(id, []byte("in front"))
	at, located := m.Locate(id)
	content, ok := bytes.CutPrefix(content, []byte("in front"))
	if found != located || !ok {
		t.Fatalf("found %v, located %v, %q", found, located, content)
	}
	behind := 0 // bytes of the events after it
	for i := m.published - 1; i >= 0; i-- {
		e := &m.added[i]
		behind += e.size
		if e.id != id {
			continue
		}
		age := m.published - i
		// All segments but the one that is being written are full, up to one record at the end of each.
		safe := age <= int(m.capacity) && behind < (len(m.log.segments)-1)*m.segment()/2
		switch {
		case found && !e.kept:
			t.Fatalf("%q: an older event than the newest, which was not kept", id)
		case found && age > int(m.capacity):
			t.Fatalf("%q: found, but %d events came after it", id, age-1)
		case found && (!bytes.Equal(content, e.content) || at != e.at):
			t.Fatalf("%q: got %x at %+v, want %x at %+v", id, content, at, e.content, e.at)
		// An event that is not kept empties a chain, which may be the id's.
		case !found && e.kept && safe && m.skipped.Load() == 0:
			t.Fatalf("%q: not found, with %d events and %d bytes since", id, age-1, behind)
		}
		return
	}
	if found {
		t.Fatalf("%q was never added", id)
	}
}

func TestStoreAgainstAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.SampledFrom([]int{1, 2, 3, 50, 1000}).Draw(t, "capacity")
		large := rapid.SampledFrom([]int{10, 2000, 30_000, 70_000}).Draw(t, "large")
		m := &model{Store: New(capacity, MinBytes+int64(rapid.IntRange(0, 3).Draw(t, "more"))*minSegment)}
		ids := rapid.IntRange(1, 40).Draw(t, "ids")
		one := func() string {
			i := rapid.IntRange(0, ids-1).Draw(t, "id")
			return fmt.Sprint("id-", i, strings.Repeat("x", i))
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				size := rapid.IntRange(0, large).Draw(t, "bytes")
				for range rapid.IntRange(1, 70).Draw(t, "n") {
					m.add(t, sent{id: one(), source: "s", kind: "t", data: make([]byte, size)},
						Position{uint16(len(m.added)), int32(len(m.added)), int64(len(m.added)) << 32})
				}
			},
			"publish": func(*rapid.T) { m.publish() },
			"find": func(t *rapid.T) {
				m.publish()
				for i := range ids {
					m.check(t, fmt.Sprint("id-", i, strings.Repeat("x", i)))
				}
				m.check(t, "never")
			},
		})
	})
}

// Readers that are in a segment keep it as it is; what comes meanwhile goes elsewhere, or is not kept.
func TestAReaderKeepsItsSegment(t *testing.T) {
	s := New(1_000_000, MinBytes)
	add := func(id string) {
		s.Add(decode(t, sent{id: id, source: "s", kind: "t", data: bytes.Repeat([]byte(id[:1]), 30_000)})[0], Position{Offset: 7})
		s.Publish()
	}
	add("a")
	v, ok := s.open("a")
	if !ok {
		t.Fatal("not found")
	}
	event := bytes.Clone(v.event())
	for i := range 40 { // several times around
		id := fmt.Sprint("b", i)
		add(id)
		if _, ok := s.Locate(id); !ok {
			t.Fatalf("%s was not kept while one segment of four is read", id)
		}
	}
	if !bytes.Equal(v.event(), event) || v.position() != (Position{Offset: 7}) {
		t.Error("an event changed while it was read")
	}
	if _, ok := s.Locate("a"); !ok {
		t.Error("the event that is read is gone")
	}
	var views []view
	for i := 39; len(views) < 3 && i >= 0; i-- { // one in each of the others
		w, ok := s.open(fmt.Sprint("b", i))
		if ok && (len(views) == 0 || views[len(views)-1].segment != w.segment) {
			views = append(views, w)
		} else if ok {
			w.close()
		}
	}
	if len(views) != 3 {
		t.Fatalf("%d other segments are read", len(views))
	}
	add("a") // the room that is left in the segment that is written
	add("a")
	add("a")
	if _, ok := s.Locate("a"); ok {
		t.Error("an older event is found in place of one that was not kept")
	}
	if _, skipped := s.Counts(); skipped == 0 {
		t.Error("nothing was skipped while all segments were read")
	}
	for _, w := range append(views, v) {
		w.close()
	}
	add("a")
	if b, ok := s.Find("a", nil); !ok || !bytes.Equal(b, event) {
		t.Error("not kept when nobody reads any more")
	}
	for i := range s.log.segments {
		if n := s.log.segments[i].state.Load() & (1<<readersBits - 1); n != 0 {
			t.Errorf("%d readers are left in segment %d", n, i)
		}
	}
}

func TestMemoryIsTouchedOnlyAsFarAsItIsNeeded(t *testing.T) {
	s := New(100, 64*minSegment)
	for i := range 10_000 {
		s.Add(decode(t, sent{id: fmt.Sprint(i), source: "s", kind: "t", data: make([]byte, 1000)})[0], Position{})
	}
	s.Publish()
	if n := len(s.log.used); n > 4 { // 100 events take two segments, where they end and begin
		t.Errorf("%d segments of 64 KiB are in use for 100 events of 1 KB", n)
	}
}

func TestOneWriterManyReaders(t *testing.T) {
	for _, procs := range []int{1, 4} {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			readWhileWriting(t)
		})
	}
}

const (
	sharedIDs     = 64
	sharedReaders = 4
)

// signed is data with its number, of a size that depends on it, and its checksum.
func signed(number int) []byte {
	b := bytes.Repeat([]byte{byte(number)}, 16+number*7919%9000)
	binary.LittleEndian.PutUint64(b, uint64(number))
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func readWhileWriting(t *testing.T) {
	rounds := 6000
	if testing.Short() {
		rounds = 1500
	}
	s := New(400, MinBytes) // around in about 60 events, so that readers meet the writer all the time
	done := make(chan struct{})
	var wg sync.WaitGroup
	for r := range sharedReaders {
		wg.Go(func() { readSigned(t, s, r, done) })
	}
	for number := 1; number <= rounds; number++ {
		s.Add(decode(t, sent{id: fmt.Sprint("id", number%sharedIDs), source: "s", kind: "t", data: signed(number)})[0],
			Position{Partition: int32(number), Offset: int64(number)})
		if number%5 == 0 {
			s.Publish()
			runtime.Gosched()
		}
	}
	close(done)
	wg.Wait()
}

// readSigned reads until done: each event is whole, belongs to its id, and is not older than the one before.
func readSigned(t *testing.T, s *Store, r int, done chan struct{}) {
	var last [sharedIDs]int
	found := 0
	for i := r; ; i++ {
		select {
		case <-done:
			if found == 0 {
				t.Error("a reader has found nothing at all")
			}
			return
		default:
		}
		which := i % sharedIDs
		id := fmt.Sprint("id", which)
		b, ok := s.Find(id, nil)
		if !ok {
			runtime.Gosched()
			continue
		}
		found++
		var ev eventv1.Event
		if err := proto.Unmarshal(b, &ev); err != nil || ev.Id != id || len(ev.Data) < 12 {
			t.Errorf("%v: id %q, want %q, %d bytes of data", err, ev.Id, id, len(ev.Data))
			return
		}
		body := ev.Data[:len(ev.Data)-4]
		number := int(binary.LittleEndian.Uint64(body))
		if crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(ev.Data[len(body):]) || number%sharedIDs != which {
			t.Errorf("%s: a torn event, number %d", id, number)
			return
		}
		if at, ok := s.Locate(id); ok && int64(at.Partition) != at.Offset {
			t.Errorf("%s: a torn position %+v", id, at)
			return
		}
		if number < last[which] {
			t.Errorf("%s: number %d after %d", id, number, last[which])
			return
		}
		last[which] = number
	}
}
