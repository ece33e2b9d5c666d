package kafka

// The hub: the newest events of the topic, read from Kafka once for all live
// subscribers.
//
//	tail --push--> [block 7][block 8][block 9] <--next-- subscribers, each at its own place
//
// A block is what came in one go: some events, and the positions before and
// after them. The hub keeps the newest blocks up to its share of memory. A
// subscriber asks for the block that follows its own; when that one is gone, it
// has fallen behind and reads from Kafka by itself until it can join again
// (follow.go). So nobody waits for it, and it holds one block at most.
//
// The tail runs while somebody listens, and a little longer.

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"
)

const (
	// blockEvents and blockBytes bound a block, except that it has one event at least: what a subscriber that does not
	// read keeps from being freed.
	blockEvents = 256
	blockBytes  = 64 << 10
	// tailLinger is how long the tail goes on after the last listener has left: clients come and go, and each start
	// costs Kafka some requests.
	tailLinger = 3 * time.Second
)

// block is read-only once it was pushed.
type block struct {
	seq           uint64
	before, after positions
	events        []*delivery
	bytes         int
}

// hub is shared; everything in it is guarded by mu.
type hub struct {
	readers *Readers
	// room is how many bytes of events the hub keeps.
	room int

	mu sync.Mutex
	// blocks are the newest ones, in order of their numbers, which have no gaps.
	blocks []*block
	bytes  int
	// next is the number of the block to come, head where it begins: nil while there is no tail, or it does not know yet.
	next uint64
	head positions
	// came is closed when a block comes, the tail begins, or ends.
	came chan struct{}
	// run is the tail that fills the hub; failure is why the last one has ended, until the next one starts.
	run     *tail
	failure *tailFailure
	// broken has, by partition, where a tail has ended last because of it.
	broken map[int32]int64
	// listeners are those between listen and leave.
	listeners int
	linger    *time.Timer
}

func newHub(r *Readers, room int) *hub {
	return &hub{readers: r, room: room, came: make(chan struct{}), broken: map[int32]int64{}}
}

// listen keeps the tail running until leave. A tail that has to be started begins at from.
func (h *hub) listen(from positions) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners++
	h.start(from)
}

// start starts a tail when there is none. Called with mu held.
func (h *hub) start(from positions) {
	if h.linger != nil {
		h.linger.Stop()
		h.linger = nil
	}
	if h.run != nil || h.readers.closing.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(h.readers.closing)
	t := &tail{hub: h, readers: h.readers, id: h.readers.identity.Load(), stop: stop, at: from.grown(0)}
	h.run, h.failure, h.head = t, nil, t.at
	h.readers.running.Add(1)
	go func() {
		defer h.readers.running.Done()
		defer stop()
		h.ended(t, t.loop(ctx))
	}()
	h.broadcast()
}

// revive starts a tail for somebody who listens and has nothing left to read below from.
func (h *hub) revive(from positions) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners > 0 {
		h.start(from)
	}
}

// leave ends a listen.
func (h *hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners--; h.listeners > 0 || h.run == nil {
		return
	}
	h.linger = time.AfterFunc(tailLinger, h.stopIdle)
}

// stopIdle ends the tail if still nobody listens.
func (h *hub) stopIdle() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.listeners == 0 && h.run != nil {
		h.run.stop()
		h.forget()
	}
}

// ended notes that a tail has ended, with its events: the next one may begin elsewhere.
func (h *hub) ended(t *tail, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == t {
		if err != nil {
			h.failure = &tailFailure{err: err, at: t.at}
		}
		if failed, ok := errors.AsType[*partitionError](err); ok && failed.topic != "" {
			h.broken[failed.partition] = t.at.at(failed.partition)
		}
		h.forget()
	}
}

// sound moves from, where a tail is to start, to the end of each partition in which the last one ended further on: it
// would end there again, with all who share it.
func (h *hub) sound(from, end positions) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, at := range h.broken {
		if int(p) < len(from) && from[p] <= at {
			from[p] = max(from[p], end.at(p))
		}
	}
}

// tailFailure is why a tail has ended, and where it was.
type tailFailure struct {
	err error
	at  positions
}

// concerns reports whether a reader at ps has before it what the tail could not read. Who has begun behind it, or has got
// over it, goes on by itself.
func (f *tailFailure) concerns(ps positions) bool {
	failed, ok := errors.AsType[*partitionError](f.err)
	return !ok || failed.topic == "" || ps.at(failed.partition) <= f.at.at(failed.partition)
}

// forget empties the hub. Called with mu held.
func (h *hub) forget() {
	clear(h.blocks)
	h.run, h.head, h.blocks, h.bytes = nil, nil, h.blocks[:0], 0
	h.next++ // nobody who waits for the next block gets one of another tail
	h.broadcast()
}

// broadcast wakes all who wait. Called with mu held.
func (h *hub) broadcast() {
	close(h.came)
	h.came = make(chan struct{})
}

// push adds a block of t's. False: t is no longer the hub's tail.
func (h *hub) push(t *tail, b *block) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != t {
		return false
	}
	b.seq = h.next
	h.next++
	h.head = b.after
	h.blocks = append(h.blocks, b)
	h.bytes += b.bytes
	for h.bytes > h.room && len(h.blocks) > 1 {
		h.bytes -= h.blocks[0].bytes
		h.blocks[0] = nil
		h.blocks = h.blocks[1:]
	}
	h.broadcast()
	return true
}

// grow notes that the head has moved without events: partitions were added.
func (h *hub) grow(t *tail, at positions) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == t {
		h.head = at
	}
}

// What next and join find.
type place uint8

const (
	// ready: there is a block.
	ready place = iota
	// wait: there will be one.
	wait
	// behind: it is not in the hub, or there is no hub.
	behind
)

// at finds block seq. came is closed when it is worth asking again. failed is why there will be no more blocks.
func (h *hub) at(seq uint64) (b *block, found place, came <-chan struct{}, failed *tailFailure) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch first := h.next - uint64(len(h.blocks)); {
	case h.run == nil || seq < first || seq > h.next:
		return nil, behind, nil, h.failure
	case seq == h.next:
		return nil, wait, h.came, nil
	default:
		return h.blocks[seq-first], ready, nil, nil
	}
}

// join finds the last block that a reader of the topic id at ps can go on with: it has read all that is before it. False:
// it has not read what is before the first one, or the topic is another one by now.
func (h *hub) join(id *identity, ps positions) (seq uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil || *h.run.id != *id {
		return 0, false
	}
	if ps.covers(h.head) {
		return h.next, true
	}
	// Blocks begin one where the other ends, so who has read what is before one has read what is before all earlier ones.
	n := sort.Search(len(h.blocks), func(i int) bool { return !ps.covers(h.blocks[i].before) })
	if n == 0 {
		return 0, false
	}
	return h.blocks[n-1].seq, true
}

// newest is where the hub stands; nil when it does not run.
func (h *hub) newest() positions {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.head
}

// restart ends the tail, whose topic is not the one any more that it began with.
func (h *hub) restart() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		h.run.stop()
		h.forget()
	}
}
