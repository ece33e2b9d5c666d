package schema

// One name, and the answer that the registry last gave about it.

import (
	"crypto/sha256"
	"sync/atomic"

	"github.com/event-gateway/event-gateway/stages"
)

// answerKind is what an answer says.
type answerKind uint8

const (
	usable  answerKind = iota // there is a schema
	missing                   // the registry does not have it
	invalid                   // it cannot be used
	failed                    // the registry did not say
	crowded                   // the registry was not asked
)

// answer is what is known about a name. Never changed once it is in an entry.
type answer struct {
	// superseded: the gateway itself has registered something newer, so nobody is given this while it is fetched.
	superseded bool
	kind       answerKind
	// compiled is set when kind is usable.
	compiled *compiled
	// detail says why, when there is no schema.
	detail *stages.Detail
	// until is the cache's time at which the registry is to be asked again.
	until int64
	// stale: the registry was asked again when the answer was too old, and did not say.
	stale bool
}

// weight is about how many bytes of memory the answer's schema takes.
func (a *answer) weight() int {
	if a.compiled == nil {
		return 0
	}
	return a.compiled.weight
}

// digest tells whether a text is the one that was compiled before.
type digest [sha256.Size]byte

// entry is a name in the cache. Workers read the first group of fields without a lock.
type entry struct {
	answer atomic.Pointer[answer]
	// fetching: a fetch is under way, which ends with another answer.
	fetching atomic.Bool
	// evicted: the cache has let go of the entry, and so do workers.
	evicted atomic.Bool
	// used is the cache's time at which a worker last asked for it.
	used atomic.Int64
	// ended counts fetches.
	ended atomic.Uint64

	name name // with bytes of its own
	key  string
	// pinned: the one subject of a template without attributes; it is never evicted.
	pinned bool

	// known and knownDigest are what was last compiled, and gone is since when the registry has said, every time that
	// it was asked, that it does not have it; 0 = it has it. They belong to the fetch that is under way.
	known       *answer
	knownDigest digest
	gone        int64

	// again: the answer of the fetch under way may be old already. overdue: it takes too long to wait for.
	// waiting are the workers to wake. All three are under the cache's lock.
	again, overdue bool
	// weight is what the schema counts for in the cache's memory, under the cache's lock.
	weight  int
	waiting []*Worker
}
