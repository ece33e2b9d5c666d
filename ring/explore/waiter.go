package explore

// The model of ring.Waiter (ring/waiter.go), used alone by ring's tests and as a
// part of the models of the lane and of the links. Every atomic access is a step.

// Waiter is the shared memory of a ring.Waiter.
type Waiter struct {
	Sleeping uint8
	Token    uint8 // values in the channel, at most 1
}

// AtRest reports that nobody sleeps and that no token is left for the next one.
func (w Waiter) AtRest() bool { return w == Waiter{} }

// Wait is where a goroutine is inside Wait or WaitUntil.
type Wait uint8

// The places in a wait. At Poll, Recheck, Again and Last the caller evaluates its own condition, load by load, and
// then goes on with Evaluated; at the others it takes the steps that Waiter.Wait gives.
const (
	Awake       Wait = iota // not waiting: the wait has returned
	Poll                    // soon has polled and yielded for the last time
	Deadline                // WaitUntil looks at the clock
	Sleep                   // about to say that it sleeps
	Recheck                 // and looks again
	Retract                 // it need not sleep after all
	Collect                 // but a waker was faster: its token is on its way
	Parked                  // sleeps
	TimedOut                // the timer was faster
	CollectLate             // but not faster than a waker
	Again                   // woken: looks again
	Last                    // the deadline has passed: looks a last time
)

// Broken are ways to break the waiter; the explorer must find each.
type Broken struct {
	NoRecheck    bool // the condition is not evaluated after sleeping was set
	LateStore    bool // sleeping is set after the condition was evaluated again, not before
	TokenLeft    bool // a sleeper that need not sleep does not take the token of the waker that was faster
	LateLeft     bool // the same after a time-out
	NoCAS        bool // wakers look at sleeping, but do not agree on who wakes
	NeverRetract bool // a sleeper that need not sleep leaves sleeping set
}

// Evaluates reports whether the caller evaluates its condition here.
func (p Wait) Evaluates() bool { return p == Poll || p == Recheck || p == Again || p == Last }

// Evaluated is where the wait goes on with the condition's value. until: it is a WaitUntil.
func (p Wait) Evaluated(ready, until bool, b Broken) Wait {
	idle := Sleep
	if until {
		idle = Deadline
	}
	switch {
	case p == Recheck && b.LateStore:
		if ready {
			return Awake
		}
		return Sleep
	case p == Recheck && ready && b.NeverRetract:
		return Awake
	case p == Recheck && ready:
		return Retract
	case p == Recheck:
		return Parked
	case ready || p == Last:
		return Awake
	case b.LateStore:
		return Recheck
	}
	return idle
}

// Wait takes the steps of a wait between evaluations. timeout: the timer can fire. late: the deadline has passed.
func (w Waiter) Wait(p Wait, timeout, late bool, b Broken, take func(line string, w Waiter, p Wait)) {
	switch p {
	case Deadline: // park begins, or the wait ends
		next := Sleep
		if late {
			next = Last
		} else if b.LateStore {
			next = Recheck
		}
		take("waiter.go: left := time.Until(deadline)", w, next)
	case Sleep:
		w.Sleeping = 1
		next := Recheck
		if b.NoRecheck || b.LateStore {
			next = Parked
		}
		take("waiter.go: w.sleeping.Store(1)", w, next)
	case Retract:
		w.retract("waiter.go: if !w.sleeping.CompareAndSwap(1, 0) { // need not sleep", Collect, Awake, b.TokenLeft, take)
	case Collect:
		w.collect("waiter.go: <-w.token // need not sleep", Awake, take)
	case Parked:
		w.collect("waiter.go: case <-w.token:", Again, take)
		if timeout {
			take("waiter.go: case <-timeout:", w, TimedOut)
		}
	case TimedOut:
		w.retract("waiter.go: if !w.sleeping.CompareAndSwap(1, 0) { // timed out", CollectLate, Again, b.LateLeft, take)
	case CollectLate:
		w.collect("waiter.go: <-w.token // timed out", Again, take)
	}
}

// retract clears sleeping, unless a waker has: then its token must be collected.
func (w Waiter) retract(line string, collect, done Wait, leave bool, take func(string, Waiter, Wait)) {
	if w.Sleeping == 1 {
		w.Sleeping = 0
		take(line, w, done)
	} else if leave {
		take(line, w, done)
	} else {
		take(line, w, collect)
	}
}

// collect takes the token, if there is one; else it blocks: there is no step.
func (w Waiter) collect(line string, next Wait, take func(string, Waiter, Wait)) {
	if w.Token > 0 {
		w.Token--
		take(line, w, next)
	}
}

// Wake is where a goroutine is inside Wake.
type Wake uint8

// The places in Wake.
const (
	Woken Wake = iota // not in Wake: it has returned
	Look              // first step
	Claim
	Send
)

// Wake takes the next step of a waker. The channel holds one token: a second send would block.
func (w Waiter) Wake(p Wake, b Broken, take func(line string, w Waiter, p Wake)) {
	switch p {
	case Look:
		next := Woken
		if w.Sleeping == 1 {
			next = Claim
		}
		take("waiter.go: if w.sleeping.Load() == 1", w, next)
	case Claim:
		next := Woken
		if w.Sleeping == 1 || b.NoCAS {
			next = Send
		}
		w.Sleeping = 0
		take("waiter.go: w.sleeping.CompareAndSwap(1, 0) {", w, next)
	case Send:
		if w.Token == 0 {
			w.Token = 1
			take("waiter.go: w.token <- struct{}{}", w, Woken)
		}
	}
}

// WaiterCode are the functions that this model stands for.
var WaiterCode = []string{"waiter.go:WaitUntil", "waiter.go:park", "waiter.go:Wake"}
