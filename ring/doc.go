// Package ring moves values between goroutines through preallocated memory:
// without locks, without allocation, in bursts.
//
//	SPSC   one producer goroutine -> one consumer goroutine (a link of the graph)
//	MPSC   many producers         -> one consumer           (a lane)
//	Waiter one sleeper            <- any number of wakers   (a worker that has nothing to do)
//
// Rings never block: a push says how many values fitted, a pop how many there
// were. Waiting is the worker's business and lives in Waiter, because a worker
// waits for any of its inputs or for room in its outputs, not for one ring.
//
// # Cursors
//
// A ring of capacity c (a power of two) has two sequence numbers that only
// grow: writeSeq, the number of values ever pushed, and readSeq, the number
// ever popped. The value with sequence s lies in slot s & (c-1).
//
//	Invariant: readSeq <= writeSeq <= readSeq+c
//
// 64 bits do not wrap: at a thousand million values a second it would take
// 584 years. "head" and "tail" are avoided on purpose; the literature does not
// agree which is which.
//
// # Who may touch what (SPSC)
//
//	writeSeq            written by the producer, read by the consumer
//	readSeq             written by the consumer, read by the producer
//	slots [readSeq, writeSeq)      belong to the consumer
//	slots [writeSeq, readSeq+c)    belong to the producer
//	Producer.next, .seenRead       the producer's private copies, plain fields
//	Consumer.next, .seenWrite      the consumer's private copies, plain fields
//
// The private copies are what makes it fast: a side reloads the other side's
// cursor only when its stale copy says "full" (or "empty"). A stale copy is
// always safe, because the other cursor only grows: the producer sees at most
// too few free slots, the consumer at most too few values.
//
// # Memory order (SPSC)
//
// Go's atomics are sequentially consistent and synchronise like this (The Go
// Memory Model, "Atomic values"): if an atomic load observes an atomic store,
// everything before the store happens before everything after the load.
//
//	producer                         consumer
//	P1 slots[s] = v   (plain)        C1 w := writeSeq.Load(), w > s
//	P2 writeSeq.Store(s+1)           C2 v := slots[s]  (plain)
//	                                 C3 readSeq.Store(s+1)
//	P3 r := readSeq.Load(), r > s
//	P4 slots[s+c] = v' (plain, the same memory as P1)
//
// C1 observes P2, so P1 happens before C2: the consumer reads v. P3 observes
// C3, so C2 happens before P4: a slot is not overwritten while it is read. The
// producer reaches P4 only after P3, because the invariant's right side is
// checked against a copy of readSeq that came from such a load. Nothing else
// orders the slots, and nothing else has to: both plain accesses of one slot are
// always separated by one of these two edges, which is also why the race
// detector is silent here and complains when two goroutines share a handle.
//
// One store a burst: on amd64 a sequentially consistent store is an XCHG, 2.2
// to 2.4 ns against 0.3 ns for a load, so Push and Pop publish once for all
// values they move.
//
// # Memory order (MPSC)
//
// Producers claim a sequence number s by a compare-and-swap on writeSeq and
// then own slot s&(c-1) until they publish it by storing s+1 into the slot's
// own turn. The consumer takes slot s when its turn is s+1, and gives it back
// by storing s+c, which is the turn that the claimer of s+c waits for. (This is
// Dmitry Vyukov's bounded queue with a single consumer.) The pairs (turn=s+1
// observed by the consumer) and (turn=s+c observed by the next claimer) are the
// same two edges as above.
//
// A producer may be preempted between claim and publish. The slots after its
// own may be published already; the consumer stops at the hole and sees the
// ring as empty, because it must keep the order of claims. Nothing is lost: the
// late producer wakes the consumer after publishing, as every producer does.
//
// # The sleep handshake
//
//	sleeper                               waker
//	S1 state.Store(parked)                W1 publish (writeSeq or readSeq store)
//	S2 re-check the cursors               W2 if state.Load() == parked { wake }
//	S3 park
//
// Both sides store and then load the other's word. In one total order of all
// four (sequential consistency) either S1 precedes W2, and the waker wakes, or
// W2 precedes S1, hence W1 precedes S2, and the sleeper sees the value and does
// not park. With weaker orders both could miss each other (the store-load
// reordering that C++ and Java need a full fence for); in Go no fence is needed
// beyond the atomics themselves. waiter_model_test.go walks through every
// interleaving of these steps, with and without each of them.
//
// # Lending
//
// Waking a sleeper costs its waker a trip through the scheduler, and what the
// sleeper is to work on then moves to another core's cache. If the sleeper is
// idle, its waker may as well do the work: the values are in its own cache.
// (Flat combining and the direct hand-off of schedulers are relatives.)
//
//	sleeper                      borrower                         another waker
//	L1 state.Store(parked)
//	L2 re-check the cursors
//	L3 CAS parked -> lendable
//	L4 receive the token         B1 CAS lendable -> lent          W1 publish
//	                             B2 turn: take, work, push        W2 CAS lent -> called
//	                             B3 CAS lent -> lendable
//	                             B4 else Store(awake), token
//
// Ownership: the sleeper's private fields are written by the sleeper before L3,
// by a borrower between B1 and B3 or B4, by the sleeper after L4. Each hand-over is
// an atomic store that the next owner's compare-and-swap (or its receive from the
// channel) observes, so each happens before the next. L2 comes before L3, because
// the check reads private fields too.
//
// No lost wake-up: a waker publishes before it looks at the state. Until L3 it sees
// parked and wakes. After L3 it sees lendable and wakes or borrows. While it sees
// lent, its value may come after the turn's last look at the rings; then W2 comes
// before B3, which fails, and the sleeper goes on itself (B4). If W2 comes after
// B3, it saw lendable again.
//
// A turn may Call the next sleeper in turn: the depth is that of the graph. It
// never waits, so a chain of turns ends.
//
// # Layout
//
// Every word that another core writes has a cache line pair (128 bytes:
// adjacent-line prefetch on amd64, line size on several arm64) for itself, with
// padding before and after, because Go does not align objects to lines. Fields
// that are only read (slots, mask) are copied into both handles, so that they
// never lie on a written line.
package ring
