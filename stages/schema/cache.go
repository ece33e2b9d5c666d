package schema

// The cache: a table of names that is replaced as a whole, so that workers read
// it without a lock, and everything that is seldom under one lock: new names,
// fetches, waiting workers, eviction.

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/event-gateway/event-gateway/stages"
)

// Bounds of the cache.
const (
	// maxEntries is how many names are remembered, with and without schemas.
	maxEntries = 1000
	// maxWeight bounds the memory that all compiled schemas take, in bytes, as far as that is known (compiled.weight).
	maxWeight = 256 << 20
	// maxFetches is how many fetches are under way at once; maxNewFetches of them may be for names that came
	// from clients and have no schema yet, so that a flood of those cannot keep known schemas from being
	// fetched again.
	maxFetches    = 16
	maxNewFetches = 12
	// newPerSecond is how many fetches a second are made for such names.
	newPerSecond = 50
	// negativeTTL is how long "not in the registry" and "cannot be used" are believed.
	negativeTTL = 10 * time.Second
	// failedTTL is how long a name without a schema waits after the registry did not answer, and staleRetry one
	// with a schema.
	failedTTL  = time.Second
	staleRetry = 5 * time.Second
	// tick is how exact the cache's clock is.
	tick = 100 * time.Millisecond
)

// Options are what New needs beside the configuration.
type Options struct {
	// Topic is KAFKA_TOPIC.
	Topic string
	// Failed, if set, is told of each fetch that ended without a schema, for the log. Called from the fetch's
	// goroutine; at most some 50 times a second.
	Failed func(name string, err error)
}

// Cache has the compiled schemas of a registry, for all workers.
type Cache struct {
	cfg      Config
	registry Registry
	options  Options
	template template
	// own is the entry of all events that name no schema, when the template has no attributes.
	own *entry

	// now is nanoseconds since epoch, exact to a tick: workers read it for each event.
	now   atomic.Int64
	epoch time.Time

	entries atomic.Pointer[map[string]*entry]
	// fetched counts fetches by what they ended with.
	fetched [fetchResults]atomic.Uint64

	ctx    context.Context
	cancel context.CancelFunc
	// running are the clock and the fetches.
	running sync.WaitGroup

	// mu guards what follows, and replacing entries.
	mu sync.Mutex
	// busy counts fetches, and busyNew those for new names.
	busy, busyNew int
	newNames      *rate.Limiter
	weight        int
	closed        bool
	workers       []*Worker
}

// New returns a cache; Close ends it. cfg must be valid (Config.Validate).
func New(cfg Config, registry Registry, o Options) *Cache {
	t, err := parseTemplate(cfg.Subject, o.Topic)
	if err != nil {
		panic(fmt.Sprintf("BUG: SCHEMA_SUBJECT=%s was not validated: %v", cfg.Subject, err))
	}
	c := &Cache{cfg: cfg, registry: registry, options: o, template: t, epoch: time.Now(),
		newNames: rate.NewLimiter(newPerSecond, newPerSecond)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	table := map[string]*entry{}
	if subject, ok := t.constant(); ok && usableSubject([]byte(subject)) {
		c.own = newEntry(name{form: byLatest, subject: []byte(subject)})
		c.own.pinned = true
		table[c.own.key] = c.own
	}
	c.entries.Store(&table)
	c.running.Go(c.runClock)
	return c
}

// Close ends the clock and the fetches, and wakes all workers that wait.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}

// Refresh has the registry asked again about a subject, at its next event, which waits for it: whoever has registered a
// schema may rely on it.
func (c *Cache) Refresh(subject string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range *c.entries.Load() {
		if string(e.name.subject) != subject {
			continue
		}
		e.again = e.fetching.Load()
		a := e.answer.Load()
		if a == nil {
			continue
		}
		old := *a
		old.until, old.superseded = 0, true
		e.answer.Store(&old)
	}
}

func (c *Cache) runClock() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-ticker.C:
			c.now.Store(c.exactNow())
		}
	}
}

func (c *Cache) exactNow() int64 { return int64(time.Since(c.epoch)) }

// newEntry returns an entry with its own copy of the name.
func newEntry(n name) *entry {
	n.subject, n.uri = append([]byte(nil), n.subject...), append([]byte(nil), n.uri...)
	return &entry{name: n, key: string(n.appendKey(nil))}
}

// renew decides about an entry that has no answer, or one that is too old to be believed: it starts a fetch
// unless one is under way. It returns the answer to give, or says that the worker is to wait. With
// SCHEMA_ON_UNAVAILABLE=reject nobody uses a schema whose time is over, so the worker waits for the fetch.
func (c *Cache) renew(w *Worker, e *entry, named bool) (a *answer, wait bool) {
	a = e.answer.Load()
	lasts := a != nil && !a.superseded && (a.kind == usable && c.cfg.OnUnavailable != Reject || a.kind == missing && !named && !c.cfg.required())
	if lasts && e.fetching.Load() {
		return a, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := e.answer.Load(); now != a {
		return now, false // a fetch has just ended
	}
	if seen, ok := w.awaited[e]; ok && a != nil && e.ended.Load() > seen {
		return a, false // this one has waited for it: no second time
	}
	started := e.fetching.Load() || c.start(e)
	switch {
	case lasts || e.overdue:
		return a, false
	case c.closed:
		return shuttingDown, false
	case !started:
		return tooMany, false
	}
	e.await(w)
	return nil, true
}

// await has the worker woken when the fetch ends. The cache's lock is held.
func (e *entry) await(w *Worker) {
	for _, other := range e.waiting {
		if other == w {
			return
		}
	}
	e.waiting = append(e.waiting, w)
	w.remember(e)
}

// start begins a fetch if there is room for it. The cache's lock is held.
func (c *Cache) start(e *entry) bool {
	fresh := !e.pinned && e.known == nil
	switch {
	case c.closed:
		return false
	case e.pinned && e.known == nil:
		// The one subject that nobody but the operator has named always goes first.
	case c.busy >= maxFetches:
		return false
	case fresh && (c.busyNew >= maxNewFetches || !c.newNames.Allow()):
		return false
	}
	c.busy++
	if fresh {
		c.busyNew++
	}
	e.fetching.Store(true)
	c.running.Go(func() {
		c.fetch(e)
		c.mu.Lock()
		c.busy--
		if fresh {
			c.busyNew--
		}
		c.mu.Unlock()
	})
	return true
}

// find returns the entry of a name, made if there is room for its fetch; nil when there is not.
func (c *Cache) find(n *name, key []byte) *entry {
	if e := (*c.entries.Load())[string(key)]; e != nil {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	table := *c.entries.Load()
	if e := table[string(key)]; e != nil {
		return e
	}
	e := newEntry(*n)
	if !c.start(e) {
		return nil
	}
	e.used.Store(c.now.Load())
	table = maps.Clone(table)
	table[e.key] = e
	for len(table) > maxEntries && c.evict(table, e) {
	}
	c.entries.Store(&table)
	return e
}

// evict takes the least useful entry out of the table: those without a schema go first, then the one that was
// not used for longest. The cache's lock is held. false: there is none that may go.
func (c *Cache) evict(table map[string]*entry, but *entry) bool {
	var worst *entry
	for _, e := range table {
		if e == but || e.pinned || e.fetching.Load() {
			continue
		}
		if worst == nil || lessUseful(e, worst) {
			worst = e
		}
	}
	if worst == nil {
		return false
	}
	delete(table, worst.key)
	worst.evicted.Store(true)
	c.weight -= worst.weight
	worst.weight = 0
	return true
}

func lessUseful(e, than *entry) bool {
	hasSchema := func(e *entry) bool { a := e.answer.Load(); return a != nil && a.kind == usable }
	if a, b := hasSchema(e), hasSchema(than); a != b {
		return b
	}
	return e.used.Load() < than.used.Load()
}

// publish ends a fetch, or what is waited for of it: the answer is there for everybody, and the workers that
// wait for it are woken.
func (c *Cache) publish(e *entry, a *answer, weight int, over bool) {
	c.mu.Lock()
	if over && e.again {
		e.again = false
		old := *a
		old.until, old.superseded = 0, true
		a = &old
	}
	e.answer.Store(a)
	e.ended.Add(1)
	if e.overdue = !over; over {
		e.fetching.Store(false)
		c.account(e, weight)
	}
	waiting := e.waiting
	e.waiting = nil
	c.mu.Unlock()
	for _, w := range waiting {
		w.wake()
	}
}

// account keeps the weight of all entries within its bound. The cache's lock is held.
func (c *Cache) account(e *entry, weight int) {
	if e.evicted.Load() {
		return
	}
	c.weight += weight - e.weight
	e.weight = weight
	if c.weight <= maxWeight {
		return
	}
	table := maps.Clone(*c.entries.Load())
	for c.weight > maxWeight && c.evict(table, e) {
	}
	c.entries.Store(&table)
}

// Answers when the registry is not asked.
var (
	tooMany = &answer{kind: crowded, detail: &stages.Detail{
		Message: "too many schemas that the gateway does not know yet are asked for at once"}}
	shuttingDown = &answer{kind: crowded, detail: &stages.Detail{Message: "the gateway is shutting down"}}
)
