package explore

// The model of ring.Waiter (ring/waiter.go), used alone by ring's tests and as a
// part of the models of the lane and of the links. Every atomic access is a step.

// Waiter is the shared memory of a ring.Waiter.
type Waiter struct {
	State State
	Token uint8 // values in the channel, at most 1
}

// AtRest reports that nobody sleeps and that no token is left for the next one.
func (w Waiter) AtRest() bool { return w == Waiter{} }

// State is the word that sleeper and wakers share, with the values of waiter.go.
type State uint8

// The states.
const (
	IsAwake State = iota
	IsParked
	IsLendable
	IsLent
	IsCalled
)

// Kind is which function waits.
type Kind uint8

// The kinds of waits.
const (
	Plain   Kind = iota // Wait
	Until               // WaitUntil
	Lending             // WaitLending
)

// Wait is where a goroutine is inside Wait, WaitUntil or WaitLending.
type Wait uint8

// The places in a wait. At Poll, Recheck, Again and Last the caller evaluates its own condition, load by load, and
// then goes on with Evaluated; at the others it takes the steps that Waiter.Wait gives.
const (
	Awake       Wait = iota // not waiting: the wait has returned
	Poll                    // soon has polled and yielded for the last time; WaitLending looks once
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
	Lend                    // about to lend its work
	Lent                    // sleeps, lending: only here may somebody else own what is the sleeper's
)

// Broken are ways to break the waiter; the explorer must find each.
type Broken struct {
	NoRecheck    bool // the condition is not evaluated after parked was set
	LateStore    bool // parked is set after the condition was evaluated again, not before
	TokenLeft    bool // a sleeper that need not sleep does not take the token of the waker that was faster
	LateLeft     bool // the same after a time-out
	NoCAS        bool // wakers look at the state, but do not agree on who wakes
	NeverRetract bool // a sleeper that need not sleep leaves parked set

	LendBlind     bool // WaitLending becomes lendable without looking again
	LendStored    bool // it stores lendable, whether or not a waker was faster
	LendTokenLeft bool // it does not take the token of the waker that was faster
	LendNoWait    bool // it returns while its work is lendable
	LentIgnored   bool // Wake does not turn lent into called
	BorrowNoCAS   bool // callers do not agree on who borrows
	ReturnStored  bool // a borrower stores lendable, called or not
	KeepToken     bool // a borrower hands back without the token
}

// Evaluates reports whether the caller evaluates its condition here.
func (p Wait) Evaluates() bool { return p == Poll || p == Recheck || p == Again || p == Last }

// asleep is where a wait goes that has found nothing when it looked again.
func (k Kind) asleep() Wait {
	if k == Lending {
		return Lend
	}
	return Parked
}

// Evaluated is where the wait goes on with the condition's value.
func (p Wait) Evaluated(ready bool, k Kind, b Broken) Wait {
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
		return k.asleep()
	case ready || p == Last:
		return Awake
	case b.LateStore:
		return Recheck
	case k == Until:
		return Deadline
	}
	return Sleep
}

// Wait takes the steps of a wait between evaluations. timeout: the timer can fire. late: the deadline has passed.
func (w Waiter) Wait(p Wait, k Kind, timeout, late bool, b Broken, take func(line string, w Waiter, p Wait)) {
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
		w.State = IsParked
		next, where := Recheck, "park"
		if k == Lending {
			where = "WaitLending"
		}
		if b.NoRecheck || b.LateStore || b.LendBlind && k == Lending {
			next = k.asleep()
		}
		take("waiter.go:"+where+": w.state.Store(parked)", w, next)
	case Retract:
		w.rise("need not sleep", Collect, Awake, b.TokenLeft, take)
	case Collect:
		w.collect("waiter.go:rise: <-w.token // need not sleep", Awake, take)
	case Parked:
		w.collect("waiter.go: case <-w.token:", Again, take)
		if timeout {
			take("waiter.go: case <-timeout:", w, TimedOut)
		}
	case TimedOut:
		w.rise("timed out", CollectLate, Again, b.LateLeft, take)
	case CollectLate:
		w.collect("waiter.go:rise: <-w.token // timed out", Again, take)
	case Lend:
		w.lend(b, take)
	case Lent:
		w.collect("waiter.go:WaitLending: <-w.token", Awake, take)
	}
}

// rise makes the sleeper awake, unless a waker has: then its token must be collected.
func (w Waiter) rise(why string, collect, done Wait, leave bool, take func(string, Waiter, Wait)) {
	next := done
	if w.State == IsParked {
		w.State = IsAwake
	} else if !leave {
		next = collect
	}
	take("waiter.go:rise: if !w.state.CompareAndSwap(parked, awake) { // "+why, w, next)
}

// collect takes the token, if there is one; else it blocks: there is no step.
func (w Waiter) collect(line string, next Wait, take func(string, Waiter, Wait)) {
	if w.Token > 0 {
		w.Token--
		take(line, w, next)
	}
}

// lend makes the sleeper lendable, unless a waker was faster.
func (w Waiter) lend(b Broken, take func(string, Waiter, Wait)) {
	next := Lent
	if w.State == IsParked || b.LendStored {
		w.State = IsLendable
		if b.LendNoWait {
			next = Awake
		}
	} else if b.LendTokenLeft {
		next = Awake
	}
	take("waiter.go:WaitLending: w.state.CompareAndSwap(parked, lendable)", w, next)
}

// Wake is where a goroutine is inside Wake, WakeParked or Call.
type Wake uint8

// The places in them. At Turn, the caller of Call does the sleeper's work, step by step, and then goes on with Turned;
// at the others it takes the steps that Waiter.Wake gives.
const (
	Woken      Wake = iota // not in any: it has returned
	Look                   // first step of Wake
	LookParked             // first step of WakeParked
	LookCall               // first step of Call
	Claim                  // it has seen a sleeper that is parked
	ClaimLent              // or lendable
	Mark                   // or lent
	ClaimRoom              // WakeParked has seen one that is parked
	Borrow                 // Call has seen one that is lendable
	Turn                   // and works for it
	Return                 // the turn has left nothing
	HandBack               // the sleeper is to go on itself
	Send
)

// Turned is where Call goes on after a turn.
func Turned(handBack bool) Wake {
	if handBack {
		return HandBack
	}
	return Return
}

// Owns reports whether a goroutine there owns what is the sleeper's.
func (p Wake) Owns() bool { return p == Turn || p == Return || p == HandBack }

// Wake takes the next step of a waker. The channel holds one token: a second send would block.
func (w Waiter) Wake(p Wake, b Broken, take func(line string, w Waiter, p Wake)) {
	switch p {
	case Look:
		next := [...]Wake{IsAwake: Woken, IsParked: Claim, IsLendable: ClaimLent, IsLent: Mark, IsCalled: Woken}[w.State]
		if next == Mark && b.LentIgnored {
			next = Woken
		}
		take("waiter.go:Wake: switch s := w.state.Load(); s {", w, next)
	case Mark:
		w.swap("waiter.go:Wake: if w.state.CompareAndSwap(lent, called) {", IsLent, IsCalled, Woken, Look, false, take)
	case Claim:
		w.swap("waiter.go:Wake: if w.state.CompareAndSwap(s, awake) {", IsParked, IsAwake, Send, Look, b.NoCAS, take)
	case ClaimLent:
		w.swap("waiter.go:Wake: if w.state.CompareAndSwap(s, awake) {", IsLendable, IsAwake, Send, Look, b.NoCAS, take)
	case LookParked:
		next := Woken
		if w.State == IsParked {
			next = ClaimRoom
		}
		take("waiter.go:WakeParked: if w.state.Load() == parked", w, next)
	case ClaimRoom:
		w.swap("waiter.go:WakeParked: w.state.CompareAndSwap(parked, awake) {", IsParked, IsAwake, Send, Woken, b.NoCAS, take)
	case Send:
		if w.Token == 0 {
			w.Token = 1
			take("waiter.go: w.token <- struct{}{}", w, Woken)
		}
	default:
		w.call(p, b, take)
	}
}

// call takes the next step of Call, its turn apart.
func (w Waiter) call(p Wake, b Broken, take func(line string, w Waiter, p Wake)) {
	switch p {
	case LookCall:
		next := Look
		if w.State == IsLendable {
			next = Borrow
		}
		take("waiter.go:Call: if w.state.Load() != lendable // waiter.go:Call: w.Wake()", w, next)
	case Borrow:
		w.swap("waiter.go:Call: !w.state.CompareAndSwap(lendable, lent) {", IsLendable, IsLent, Turn, Look, b.BorrowNoCAS, take)
	case Return:
		w.swap("waiter.go:Call: !w.state.CompareAndSwap(lent, lendable) {", IsLent, IsLendable, Woken, HandBack, b.ReturnStored, take)
	case HandBack:
		w.State = IsAwake
		next := Send
		if b.KeepToken {
			next = Woken
		}
		take("waiter.go:Call: w.state.Store(awake)", w, next)
	}
}

// swap is a compare-and-swap, or, if blind, a store.
func (w Waiter) swap(line string, from, to State, done, failed Wake, blind bool, take func(string, Waiter, Wake)) {
	if w.State == from || blind {
		w.State = to
		take(line, w, done)
	} else {
		take(line, w, failed)
	}
}

// WaiterCode are the functions that this model stands for.
var WaiterCode = []string{"waiter.go:WaitLending", "waiter.go:WaitUntil", "waiter.go:park", "waiter.go:rise", "waiter.go:Wake",
	"waiter.go:WakeParked", "waiter.go:Call"}
