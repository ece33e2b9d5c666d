package stages

// The states of a message's answers, packed: three processors write one for
// every event, and what that costs is the atomic operations and the cache lines
// that move. Steps of neighbours are taken together, with one operation.

import (
	"math/bits"
	"sync/atomic"
)

// The life of one event's answer. Only these steps exist:
//
//	queued --CAS, produce worker, right before the record is handed over--> handed
//	queued --CAS, whoever refuses: a stage, the deadline, a cancellation, the drain--> answered
//	handed --CAS, the retirer with Kafka's answer, or a deadline with "unknown"--> answered
//
// Whoever wins the step to answered, and nobody else, writes the Result. The
// winner of an acknowledgement says so in the state itself: in a quiet message,
// that is all there is to say.
const (
	stateQueued uint64 = iota
	stateHanded
	stateAnswered     // the Result says how
	stateAcknowledged // answered, too

	stateBits = 2
	stateMask = 1<<stateBits - 1
	// perWord is how many states a word has: the events of a Group.
	perWord = 64 / stateBits
	// lowBits has the lower bit of each state.
	lowBits = 0x5555555555555555
)

// Group is some of the events of a message whose states lie in one word. The
// zero value has none.
type Group struct {
	word int
	bits uint64 // the lower bit of each event's state
}

// just is the group of event i alone.
func just(i int) Group {
	return Group{word: int(uint(i) / perWord), bits: 1 << (uint(i) % perWord * stateBits)}
}

// Add takes event i in. False: it belongs to another group.
func (g *Group) Add(i int) bool {
	e := just(i)
	if g.bits == 0 {
		g.word = e.word
	} else if g.word != e.word {
		return false
	}
	g.bits |= e.bits
	return true
}

// Has reports whether event i is in the group.
func (g Group) Has(i int) bool {
	e := just(i)
	return g.word == e.word && g.bits&e.bits != 0
}

// Len is how many events are in the group.
func (g Group) Len() int { return bits.OnesCount64(g.bits) }

// states has one state an event.
type states []atomic.Uint64

// wordsFor is how many words have the states of n events.
func wordsFor(n int) int { return (n + perWord - 1) / perWord }

// of is the state of event i.
func (s states) of(i int) uint64 {
	return s[i/perWord].Load() >> (uint(i) % perWord * stateBits) & stateMask
}

// step moves the events of g that are in one state to another, all at once, and
// says which they were.
func (s states) step(g Group, from, to uint64) (moved Group) {
	word := &s[g.word]
	for {
		old := word.Load()
		differs := old ^ from*lowBits // a state's bits are 0 where it is from
		g.bits &^= differs | differs>>1
		if g.bits == 0 || word.CompareAndSwap(old, old^g.bits*(from^to)) {
			return g
		}
	}
}
