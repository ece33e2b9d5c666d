package ledger

// What a subscriber has received. Several millions of events are usual, so one
// takes 8 bytes; where Kafka has it is found out by the judge (reading.go).

import (
	"maps"
	"sync"
)

// Opening says where a call has to begin: in each partition at the first event at or behind From, and not behind the first
// one at or behind To. What lies between may be there or not: it came while the call was begun.
type Opening struct {
	From, To map[int32]int64
	// Since is a time of receipt in Unix milliseconds: it begins at the first event that is not older. 0 = not set.
	Since int64
	// Resumes: right behind what was received before. With To, not behind the first one at or behind To: what lies
	// between is gone, and the subscriber was told so.
	Resumes bool
	// Passed begins behind that many events of each partition, as counted by Counts of one who has them all.
	Passed map[int32]int
}

// Received is one subscriber: all that its calls received, one after the other. One goroutine adds, others may count.
type Received struct {
	Name string
	// Wants is its filter; nil = it wants everything.
	Wants func(p *Producer, seq int) bool
	// From and Until, exclusive, bound the times of receipt that it wants, in Unix milliseconds: a replay; 0 = no bounds.
	From, Until int64

	ledger    *Ledger
	partition func(key string) int32

	mu    sync.Mutex // guards the following
	known map[string]*Producer
	// lanes are the events of each partition, in the order in which they came.
	lanes map[int32][]place
	calls []call
	total int
	gaps  int
}

// place is an event: the producer's number and the event's.
type place uint64

func placeOf(p *Producer, seq int) place { return place(p.number)<<32 | place(uint32(seq)) }

func (e place) seq() int { return int(uint32(e)) }

// call is where a call begins, and how much of each lane had been received before.
type call struct {
	Opening
	before map[int32]int
}

// Subscriber adds a subscriber. Its events are told apart by the partitions of their keys.
func (l *Ledger) Subscriber(name string, partition func(key string) int32) *Received {
	return &Received{Name: name, ledger: l, partition: partition, known: map[string]*Producer{}, lanes: map[int32][]place{}}
}

// Begin notes that a call begins.
func (r *Received) Begin(o Opening) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o.Resumes && o.To != nil {
		r.gaps++
	}
	r.calls = append(r.calls, call{o, r.counts()})
}

// Add notes an event that came. What was never sent, or not with these bytes, is a complaint at once.
func (r *Received) Add(id, key string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, seq, ok := r.producer(id)
	at := Position{Partition: r.partition(key), Offset: -1}
	if !ok || !intact(id, data) {
		r.ledger.Complain(Violation{Property: "P8", Kind: Phantom, ID: id, At: at, Text: r.Name + " received it, and it was never sent, or with other bytes"})
		return
	}
	r.lanes[at.Partition] = append(r.lanes[at.Partition], placeOf(p, seq))
	r.total++
}

// producer is find, while others send.
func (r *Received) producer(id string) (*Producer, int, bool) {
	name, seq, ok := cutID(id)
	if !ok {
		return nil, 0, false
	}
	p := r.known[name]
	if p == nil {
		r.ledger.mu.Lock()
		p = r.ledger.byName[name]
		r.ledger.mu.Unlock()
		r.known[name] = p
	}
	return p, seq, p != nil
}

// Total is how many events came.
func (r *Received) Total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// Gaps is how often it was told that something is gone.
func (r *Received) Gaps() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gaps
}

// Counts is how many events of each partition came.
func (r *Received) Counts() map[int32]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.counts()
}

func (r *Received) counts() map[int32]int {
	n := make(map[int32]int, len(r.lanes))
	for p, lane := range r.lanes {
		n[p] = len(lane)
	}
	return n
}

// Reopen replaces where the first call begins, when that is known only later.
func (r *Received) Reopen(o Opening) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls[0].Opening = o
}

// snapshot is for the judge.
func (r *Received) snapshot() (lanes map[int32][]place, calls []call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.lanes), append([]call(nil), r.calls...)
}
