package ledger

// What was sent and what was answered. A million events are usual, so an event
// takes 40 bytes and its id, key and payload are computed, not stored.

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Method is how a producer sends.
type Method uint8

// The methods; unary batches count as Batch.
const (
	Unary Method = iota
	Stream
	Batch

	Methods
)

func (m Method) String() string { return [...]string{"unary", "stream", "batch"}[m] }

// Outcome is what the client knows about one sending.
type Outcome uint8

// Pending sendings are judged like NoAnswer.
const (
	Pending Outcome = iota
	Acknowledged
	Refused
	Unknown  // the gateway said so
	NoAnswer // the connection, the call or the process ended before the answer came
)

func (o Outcome) String() string {
	return [...]string{"pending", "acknowledged", "refused", "unknown", "no answer"}[o]
}

// Position is a place in Kafka.
type Position struct {
	Partition int32
	Offset    int64
}

func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Partition, p.Offset) }

// Ledger is one run. Its methods are safe for concurrent use.
type Ledger struct {
	Seed uint64

	mu        sync.Mutex
	producers []*Producer
	byName    map[string]*Producer
	complaint []Violation // answers that contradict themselves; found while running
	era       atomic.Uint32
	clock     func() time.Time
}

// New returns an empty ledger; payloads follow from seed and id.
func New(seed uint64) *Ledger {
	return &Ledger{Seed: seed, byName: map[string]*Producer{}, clock: time.Now}
}

// Producer adds a client with that many partition keys of its own; size is the bytes of data an event has.
func (l *Ledger) Producer(name string, method Method, keys, size int) *Producer {
	names := make([]string, max(keys, 1))
	for i := range names {
		names[i] = fmt.Sprintf("%s-key-%d", name, i)
	}
	return l.ProducerWithKeys(name, method, names, size)
}

// ProducerWithKeys is Producer with given keys, which no other producer may have.
func (l *Ledger) ProducerWithKeys(name string, method Method, keys []string, size int) *Producer {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byName[name] != nil || strings.Contains(name, "|") {
		panic("ledger: the name " + name + " is taken or has a |")
	}
	p := &Producer{Name: name, Method: method, ledger: l, number: len(l.producers), keys: keys, size: max(size, minPayload),
		random: rand.New(rand.NewPCG(l.Seed, uint64(len(l.producers)))), floors: map[uint32][]Position{},
		reasons: map[string]int{}}
	l.producers, l.byName[name] = append(l.producers, p), p
	return p
}

// Producers are all of them, in the order in which they were added.
func (l *Ledger) Producers() []*Producer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*Producer(nil), l.producers...)
}

// NewEra begins another era, which it returns: the topic is about to be recreated or truncated on purpose, and
// what was acknowledged before is not missed (Rules.GoneBefore). Nothing may be in flight.
func (l *Ledger) NewEra() (era uint8) {
	for _, p := range l.Producers() {
		p.mu.Lock()
		p.floors = map[uint32][]Position{}
		p.mu.Unlock()
	}
	return uint8(l.era.Add(1))
}

// event is what one id became; sends is nearly always 1.
type event struct {
	key   uint32
	bad   bool // sent so that it must be refused
	size  int32
	first sending
	more  []sending
}

// sending is one attempt to send an event.
type sending struct {
	outcome   Outcome
	sent, era uint8 // the eras in which it was sent and answered
	partition int32
	stream    int32  // incarnation of the producer's stream
	order     uint32 // in which the producer sent, over all events
	offset    int64
	// floors is how many answers of the key had come when it was sent: all these must lie before it.
	floors int32
}

func (e *event) each(visit func(s *sending)) {
	visit(&e.first)
	for i := range e.more {
		visit(&e.more[i])
	}
}

func (e *event) sending(attempt int) *sending {
	if attempt == 0 {
		return &e.first
	}
	return &e.more[attempt-1]
}

// Producer is one client. One goroutine sends, others may answer.
type Producer struct {
	Name   string
	Method Method

	ledger *Ledger
	number int // among the ledger's producers
	keys   []string
	size   int
	random *rand.Rand

	mu     sync.Mutex // guards the following
	events []event
	stream int32
	order  uint32
	// floors has, for each key, the positions acknowledged so far: the last of each partition, as a history.
	floors  map[uint32][]Position
	reasons map[string]int
	counts  [NoAnswer + 1]int
	resent  int
	service timeline
}

// Sending identifies one attempt.
type Sending struct {
	Seq     int
	Attempt int
}

// Event is what to send.
type Event struct {
	Sending
	ID, Key string
	Data    []byte
	Bad     bool // leave the source out: the gateway has to refuse it
}

// ID is the id of a producer's event.
func (p *Producer) ID(seq int) string { return p.Name + "|" + strconv.Itoa(seq) }

func (p *Producer) keyName(key uint32) string { return p.keys[key] }

// Next is a new event with a key drawn from the seed. bad ones are to be sent without a source.
func (p *Producer) Next(bad bool) Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, event{key: uint32(p.random.IntN(len(p.keys))), bad: bad, size: int32(p.size)})
	return p.sent(len(p.events)-1, 0)
}

// NextSize is Next with that many bytes of data.
func (p *Producer) NextSize(size int) Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, event{key: uint32(p.random.IntN(len(p.keys))), size: int32(max(size, minPayload))})
	return p.sent(len(p.events)-1, 0)
}

// Again sends an event once more, with the same id.
func (p *Producer) Again(seq int) Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := &p.events[seq]
	e.more = append(e.more, sending{})
	p.resent++
	return p.sent(seq, len(e.more))
}

func (p *Producer) sent(seq, attempt int) Event {
	e := &p.events[seq]
	s := e.sending(attempt)
	p.order++
	s.stream, s.order, s.floors, s.sent = p.stream, p.order, int32(len(p.floors[e.key])), uint8(p.ledger.era.Load())
	id := p.ID(seq)
	return Event{Sending: Sending{seq, attempt}, ID: id, Key: p.keyName(e.key), Bad: e.bad,
		Data: Payload(p.ledger.Seed, id, int(e.size))}
}

// NewStream notes that what is sent from now on goes over another stream: order is promised within one.
func (p *Producer) NewStream() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stream++
}

// Acknowledge notes an acknowledgement.
func (p *Producer) Acknowledge(s Sending, at Position) { p.answer(s, Acknowledged, at, "") }

// Refuse notes a definite refusal with its reason.
func (p *Producer) Refuse(s Sending, reason string) { p.answer(s, Refused, Position{}, reason) }

// Doubt notes that the gateway answered that it does not know.
func (p *Producer) Doubt(s Sending, reason string) { p.answer(s, Unknown, Position{}, reason) }

// GiveUp notes that no answer will come, and why.
func (p *Producer) GiveUp(s Sending, why string) { p.answer(s, NoAnswer, Position{}, why) }

func (p *Producer) answer(s Sending, o Outcome, at Position, reason string) {
	now := p.ledger.clock()
	p.mu.Lock()
	e := &p.events[s.Seq]
	is := e.sending(s.Attempt)
	before := is.outcome
	if before == Pending {
		is.outcome, is.partition, is.offset, is.era = o, at.Partition, at.Offset, uint8(p.ledger.era.Load())
		p.counts[o]++
		if reason != "" {
			p.reasons[reason]++
		}
		if o == Acknowledged {
			p.floors[e.key] = append(p.floors[e.key], at)
			p.service.tick(now)
		}
	}
	p.mu.Unlock()
	if before != Pending {
		p.ledger.Complain(Violation{Property: "P2", Kind: Contradiction, Method: p.Method, ID: p.ID(s.Seq), At: at,
			Text: fmt.Sprintf("answered %v (%s) after it was answered %v", o, reason, before)})
	}
}

// Complain adds what was found wrong with an answer while the run was going on.
func (l *Ledger) Complain(v Violation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.complaint = append(l.complaint, v)
}

// minPayload is the crc and the seed of the filling.
const minPayload = 12

// Payload is the data of an event: filling that follows from seed and id, and a checksum over it. Bytes of
// another event never pass for it.
func Payload(seed uint64, id string, size int) []byte {
	size = max(size, minPayload)
	data := make([]byte, size)
	state := uint64(crc32.ChecksumIEEE([]byte(id)))<<32 ^ uint64(len(id)) ^ seed*0x9e3779b97f4a7c15
	for i := 4; i < size; i += 8 {
		state = state*6364136223846793005 + 1442695040888963407
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], state^state>>29)
		copy(data[i:], word[:])
	}
	binary.LittleEndian.PutUint32(data, crc32.Update(crc32.ChecksumIEEE([]byte(id)), crc32.IEEETable, data[4:]))
	return data
}

// intact tells whether data carries the checksum that goes with the id, whatever was sent.
func intact(id string, data []byte) bool {
	return len(data) >= minPayload &&
		binary.LittleEndian.Uint32(data) == crc32.Update(crc32.ChecksumIEEE([]byte(id)), crc32.IEEETable, data[4:])
}

// find is the producer and number of an id.
func (l *Ledger) find(id string) (*Producer, int, bool) {
	name, seq, ok := cutID(id)
	p := l.byName[name]
	if !ok || p == nil || seq >= len(p.events) || p.ID(seq) != id {
		return nil, 0, false
	}
	return p, seq, true
}

// cutID is a producer's name and the number of its event.
func cutID(id string) (name string, seq int, ok bool) {
	name, number, ok := strings.Cut(id, "|")
	seq, err := strconv.Atoi(number)
	return name, seq, ok && err == nil && seq >= 0
}

// at is the producer of an event.
func (l *Ledger) at(e place) *Producer { return l.producers[e>>32] }

// id is the event's.
func (l *Ledger) id(e place) string { return l.at(e).ID(e.seq()) }
