package schema

// What a worker of the validate stage has: its last schema, so that a run of
// events of one schema finds it by one comparison, and its counters.

import (
	"bytes"

	"github.com/event-gateway/event-gateway/stages"
)

// Worker holds events against their schemas. It implements stages.Schemas: used by one goroutine at a time.
type Worker struct {
	cache *Cache
	wake  func()
	// as is the name to go by in place of the event's; nil outside of dry runs.
	as *name

	// last is the entry of the last event, which named it by the bytes lastNamed, or whose subject was the
	// rest of lastKey.
	last      *entry
	lastNamed []byte
	lastKey   []byte
	// key and subject are scratch.
	key, subject []byte
	// awaited has the entries that Check has answered wait for, with their number of fetches until then.
	awaited map[*entry]uint64

	counts *counts
}

// maxAwaited bounds what a worker remembers of waits that nobody came back for.
const maxAwaited = 64

var _ stages.Schemas = (*Worker)(nil)

// NewWorker returns a worker's part. wake is called, from a fetch's goroutine, when a fetch has ended that Check
// answered wait for; it must be quick.
func (c *Cache) NewWorker(wake func()) *Worker {
	w := &Worker{cache: c, wake: wake, counts: new(counts)}
	c.mu.Lock()
	c.workers = append(c.workers, w)
	c.mu.Unlock()
	return w
}

// NewTrial is NewWorker for a dry run, which nobody counts: with the schema of that subject and version (0: the latest)
// in place of the event's own, unless subject is empty.
func (c *Cache) NewTrial(subject string, version int, wake func()) stages.Schemas {
	w := &Worker{cache: c, wake: wake, counts: new(counts)}
	if subject != "" {
		w.as = nameOf(subject, version)
	}
	return w
}

func nameOf(subject string, version int) *name {
	n := &name{form: byLatest, subject: []byte(subject)}
	if version != 0 {
		n.form, n.number = byVersion, version
	}
	return n
}

// Check implements stages.Schemas.
func (w *Worker) Check(ev *stages.Event) (wait bool) {
	named := ev.More && len(ev.DataSchema.Value) > 0 || w.as != nil
	e, refusal := w.entry(ev, named)
	if refusal != nil {
		w.apply(ev, refusal, named)
		return false
	}
	c := w.cache
	now := c.now.Load()
	a := e.answer.Load()
	if a == nil || a.until <= now {
		if a, wait = c.renew(w, e, named); wait {
			w.counts.waits.add()
			return true
		}
	}
	if e.used.Load() != now {
		e.used.Store(now)
	}
	if len(w.awaited) > 0 {
		delete(w.awaited, e)
	}
	w.apply(ev, a, named)
	return false
}

// entry finds the event's entry, or the answer to an event that cannot have one.
func (w *Worker) entry(ev *stages.Event, named bool) (*entry, *answer) {
	if !named {
		if w.cache.own != nil {
			return w.cache.own, nil
		}
		w.key = w.cache.template.append(append(w.key[:0], byte(byLatest)), ev)
		if !usableSubject(w.key[1:]) {
			return nil, unknownName
		}
		if w.last != nil && bytes.Equal(w.key, w.lastKey) && !w.last.evicted.Load() {
			return w.last, nil
		}
		return w.find(&name{form: byLatest, subject: w.key[1:]}, nil)
	}
	if w.as != nil {
		if !usableSubject(w.as.subject) {
			return nil, unknownName
		}
		w.key = w.as.appendKey(w.key[:0])
		return w.find(w.as, nil)
	}
	text := ev.DataSchema.Value
	if w.last != nil && w.last.name.form != byURI && bytes.Equal(text, w.lastNamed) && !w.last.evicted.Load() {
		return w.last, nil
	}
	w.subject = w.cache.template.append(w.subject[:0], ev)
	n, ok := parseName(text, w.subject)
	if !ok {
		return nil, unknownName
	}
	w.key = n.appendKey(w.key[:0])
	return w.find(&n, text)
}

// find looks w.key up and remembers what it found.
func (w *Worker) find(n *name, named []byte) (*entry, *answer) {
	if w.last == nil || !bytes.Equal(w.key, w.lastKey) || w.last.evicted.Load() {
		e := w.cache.find(n, w.key)
		if e == nil {
			return nil, tooMany
		}
		w.last = e
		w.lastKey = append(w.lastKey[:0], w.key...)
	}
	w.lastNamed = append(w.lastNamed[:0], named...)
	return w.last, nil
}

// remember notes that an event waits for the entry. The cache's lock is held.
func (w *Worker) remember(e *entry) {
	if w.awaited == nil || len(w.awaited) >= maxAwaited {
		w.awaited = map[*entry]uint64{}
	}
	w.awaited[e] = e.ended.Load()
}

var unknownName = &answer{kind: missing, detail: &stages.Detail{Message: "no registry can have a schema of that name"}}

// apply gives the event its answer.
func (w *Worker) apply(ev *stages.Event, a *answer, named bool) {
	cfg := &w.cache.cfg
	switch {
	case a.kind == usable:
		w.counts.hits.add()
		if a.stale {
			w.counts.stale.add()
		}
		a.compiled.check(ev)
		if !ev.Live() {
			w.counts.violations.add()
		}
	case a.kind == missing && !named && !cfg.required(), a.kind == failed && cfg.OnUnavailable == Pass:
		w.counts.unchecked.add()
	case a.kind == missing && !a.stale:
		w.refuse(ev, stages.SchemaNotFound, a, named)
	case a.kind == invalid:
		w.refuse(ev, stages.SchemaInvalid, a, named)
	default:
		w.refuse(ev, stages.SchemaUnavailable, a, named)
	}
}

func (w *Worker) refuse(ev *stages.Event, reason stages.Reason, a *answer, named bool) {
	w.counts.refused.add()
	detail := *a.detail
	if named {
		detail.Field = "data_schema"
	}
	ev.Refuse(stages.AtValidate, reason, &detail)
}
