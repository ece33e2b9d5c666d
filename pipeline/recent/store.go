package recent

// The index and the log's records: what is written for an event, and how it is
// found again.

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync/atomic"

	"github.com/event-gateway/event-gateway/stages"
)

// Position is where Kafka has an event.
type Position struct {
	// Topic is the topic's stages.Topic.Index.
	Topic     uint16
	Partition int32
	// Offset is -1 when Kafka did not say.
	Offset int64
}

// A record in the log: the head, the id, the encoded event. Each begins at a multiple of recordAlign.
const (
	atPrevious  = 0  // the position of the record before this one with the same hash
	atNumber    = 8  // the event's number
	atHash      = 16 // the upper half of the id's hash
	atIDLength  = 20
	atTopic     = 22
	atPartition = 24
	atLength    = 28 // of the encoded event
	atOffset    = 32
	headLength  = 40

	recordAlign = 8
)

// burst is how many events are written before they can be found, at most.
const burst = 64

// head is one entry of the index. Only position is read by others than the writer.
type head struct {
	// position is that of the newest record; 0: there is none.
	position atomic.Uint64
	// hash is the newest record's.
	hash uint64
}

// Store keeps events. Build it with New.
type Store struct {
	seed     maphash.Seed
	capacity uint64
	heads    []head
	log      log

	// newest is the number of the newest event that can be found; the first one has 1.
	newest atomic.Uint64
	// skipped are events that were not kept.
	skipped atomic.Uint64

	// The writer's: the number of the last event written, and those that cannot be found yet.
	number uint64
	staged []staged
	// received is the time of receipt of the last event.
	received stages.Stamp
}

// staged is a written event that cannot be found yet.
type staged struct {
	hash     uint64
	position uint64
	record   []byte
}

// New returns a store of the last capacity events, or as many of them as fit into bytes.
func New(capacity int, bytes int64) *Store {
	s := &Store{seed: maphash.MakeSeed(), capacity: uint64(capacity), log: newLog(bytes), staged: make([]staged, 0, burst)}
	// Twice the events, so that most searches end at the first record.
	s.heads = make([]head, 1<<bits.Len(uint(2*capacity-1)))
	return s
}

// Bytes is what the store has allocated.
func (s *Store) Bytes() int64 { return int64(len(s.log.memory)) + int64(len(s.heads))*16 }

// Counts are how many events were kept, those included that are gone again, and how many were not: larger than a segment, or
// readers were in all of them.
func (s *Store) Counts() (kept, skipped uint64) {
	skipped = s.skipped.Load()
	return s.newest.Load() - min(skipped, s.newest.Load()), skipped
}

// Add writes an event, which Publish makes findable. Only for the writer, as long as the event's bytes are valid.
func (s *Store) Add(ev *stages.Event, at Position) {
	id := ev.ID.Value
	hash := maphash.Bytes(s.seed, id)
	s.number++
	n := headLength + len(id) + ev.StoredBound()
	if !s.room(n) {
		s.skip(hash)
		return
	}
	record, position := s.log.reserve(n)
	content := record[:headLength] // grows within record
	content = ev.AppendStored(append(content, id...), &s.received)
	binary.LittleEndian.PutUint64(record[atNumber:], s.number)
	binary.LittleEndian.PutUint32(record[atHash:], uint32(hash>>32))
	binary.LittleEndian.PutUint16(record[atIDLength:], uint16(len(id)))
	binary.LittleEndian.PutUint16(record[atTopic:], at.Topic)
	binary.LittleEndian.PutUint32(record[atPartition:], uint32(at.Partition))
	binary.LittleEndian.PutUint32(record[atLength:], uint32(len(content)-headLength-len(id)))
	binary.LittleEndian.PutUint64(record[atOffset:], uint64(at.Offset))
	s.log.wrote(len(content), s.number)
	if s.staged = append(s.staged, staged{hash, position, content}); len(s.staged) == burst {
		s.Publish()
	}
}

// room makes room for a record of n bytes. What is staged lies in the segment that is being written, so it is published
// before another one is taken, which may be any.
func (s *Store) room(n int) bool {
	if s.log.large(n) {
		return false
	}
	if !s.log.full(n) {
		return true
	}
	s.Publish()
	return s.log.next(s.number - min(s.number, s.capacity))
}

// skip forgets what the index has for the hash: an older event of the same id must not be taken for the newest.
func (s *Store) skip(hash uint64) {
	s.Publish()
	s.newest.Store(s.number) // it counts among the last ones all the same
	s.heads[hash&uint64(len(s.heads)-1)].position.Store(0)
	s.skipped.Add(1)
}

// Publish makes the written events findable. Only for the writer.
func (s *Store) Publish() {
	if len(s.staged) == 0 {
		return
	}
	for i := range s.staged {
		e := &s.staged[i]
		h := &s.heads[e.hash&uint64(len(s.heads)-1)]
		previous := h.position.Load()
		if h.hash == e.hash && previous != 0 {
			// The same id again, most likely: it takes the older one's place. Otherwise a client that sends one id all the
			// time would make searches in this chain as long as the store. At worst another event of the same 64-bit
			// hash is forgotten.
			if older := s.log.written(previous); older != nil {
				previous = binary.LittleEndian.Uint64(older[atPrevious:])
			}
		}
		binary.LittleEndian.PutUint64(e.record[atPrevious:], previous)
		h.hash = e.hash
		h.position.Store(e.position)
	}
	s.newest.Store(s.number)
	s.staged = s.staged[:0]
}

// Find appends the newest event with the id, encoded, to b. b comes back as it is when there is none.
func (s *Store) Find(id string, b []byte) ([]byte, bool) {
	v, ok := s.open(id)
	if !ok {
		return b, false
	}
	b = append(b, v.event()...)
	v.close()
	return b, true
}

// Locate says where Kafka has the newest event with the id.
func (s *Store) Locate(id string) (Position, bool) {
	v, ok := s.open(id)
	if !ok {
		return Position{}, false
	}
	at := v.position()
	v.close()
	return at, true
}

// view is a record that a reader has open: it stays as it is until close.
type view struct {
	segment *segment
	record  []byte
}

func (v view) close() { v.segment.leave() }

func (v view) position() Position {
	return Position{
		Topic:     binary.LittleEndian.Uint16(v.record[atTopic:]),
		Partition: int32(binary.LittleEndian.Uint32(v.record[atPartition:])),
		Offset:    int64(binary.LittleEndian.Uint64(v.record[atOffset:])),
	}
}

func (v view) event() []byte {
	begin := headLength + int(binary.LittleEndian.Uint16(v.record[atIDLength:]))
	return v.record[begin : begin+int(binary.LittleEndian.Uint32(v.record[atLength:]))]
}

// open finds the newest record with the id.
func (s *Store) open(id string) (view, bool) {
	hash := maphash.String(s.seed, id)
	position := s.heads[hash&uint64(len(s.heads)-1)].position.Load()
	for position != 0 {
		segment, record := s.log.enter(position)
		if segment == nil {
			break // written anew; everything behind it is older
		}
		if binary.LittleEndian.Uint64(record[atNumber:])+s.capacity <= s.newest.Load() {
			segment.leave()
			break
		}
		n := int(binary.LittleEndian.Uint16(record[atIDLength:]))
		if binary.LittleEndian.Uint32(record[atHash:]) == uint32(hash>>32) && string(record[headLength:headLength+n]) == id {
			return view{segment, record}, true
		}
		position = binary.LittleEndian.Uint64(record[atPrevious:])
		segment.leave()
	}
	return view{}, false
}
