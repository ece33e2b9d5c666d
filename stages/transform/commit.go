package transform

// The end of a rule: all that it makes of an event becomes the event's at once,
// or nothing does.

import (
	"bytes"
	"errors"
	"unsafe"

	"github.com/event-gateway/event-gateway/stages"
)

// change is what a rule is about to make of an event, beside Worker.out and workerRule.values.
type change struct {
	newData bool
	topic   *stages.Topic
}

// before is what an event has that rules may change.
type before struct {
	typ, source, subject, key, contentType []byte
	more                                   bool
	metadata                               []stages.Pair
}

func (b *before) save(ev *stages.Event) {
	b.typ, b.source, b.key, b.more, b.metadata = ev.Type.Value, ev.Source.Value, ev.PartitionKey.Value, ev.More, ev.Metadata
	if ev.More {
		b.subject, b.contentType = ev.Subject.Value, ev.DataContentType.Value
	}
}

func (b *before) restore(ev *stages.Event) {
	ev.Type.Value, ev.Source.Value, ev.PartitionKey.Value, ev.Metadata = b.typ, b.source, b.key, b.metadata
	if ev.More {
		ev.Subject.Value, ev.DataContentType.Value = b.subject, b.contentType
	}
	ev.More = b.more
}

// commit makes the change the event's.
func (w *Worker) commit(r *workerRule, ev *stages.Event, c *change) (Result, error) {
	var old before
	var set assigned
	if len(r.set) > 0 {
		old.save(ev)
		if set = w.assign(r, ev); set.any {
			if d := stages.CheckEvent(ev); d != nil {
				old.restore(ev)
				return Failed, errors.New("SET: " + d.Field + " " + d.Message)
			}
		}
	}
	if c.newData {
		set.bytes += len(w.out)
	}
	if set.bytes > 0 {
		memory := w.memory.Take(ev, set.bytes)
		if memory == nil {
			if set.any {
				old.restore(ev)
			}
			return Overloaded, errNoMemory
		}
		if set.any {
			memory = w.keep(r, ev, memory)
		}
		if c.newData {
			copy(memory, w.out)
			ev.Data = memory[:len(w.out):len(w.out)]
			w.env.changedData()
		}
	}
	if set.any {
		w.settle(ev, &old, set.metadata)
		w.env.changed()
	}
	if c.topic != nil && c.topic != ev.Topic {
		ev.Topic = c.topic
	} else if !set.any && !c.newData {
		return Unchanged, nil
	}
	return Changed, nil
}

// assigned says what assign has done.
type assigned struct {
	// any: something is new. metadata: so is some of it.
	any, metadata bool
	// bytes are those of the values that are not constant.
	bytes int
}

// assign sets the attributes to views of the new values, and the metadata to w.pairs.
func (w *Worker) assign(r *workerRule, ev *stages.Event) (done assigned) {
	copied := false
	for i := range r.set {
		a := &r.set[i]
		value := a.constant
		if !a.fixed {
			value = bytesOf(r.values[i])
		}
		if a.target == setMetadata {
			if !copied {
				w.pairs = append(w.pairs[:0], ev.Metadata...)
				copied = true
			}
			if !w.setPair(a, value) {
				r.values[i] = ""
				continue
			}
			done.metadata = true
		} else {
			at := attributeOf(ev, a.target)
			if bytes.Equal(*at, value) {
				r.values[i] = ""
				continue
			}
			*at = value
			ev.More = ev.More || a.target == setSubject || a.target == setContentType
		}
		done.any = true
		done.bytes += len(r.values[i])
	}
	if done.metadata {
		ev.Metadata = w.pairs
	}
	return done
}

func attributeOf(ev *stages.Event, t target) *[]byte {
	switch t {
	case setSource:
		return &ev.Source.Value
	case setSubject:
		return &ev.Subject.Value
	case setPartitionKey:
		return &ev.PartitionKey.Value
	case setContentType:
		return &ev.DataContentType.Value
	}
	return &ev.Type.Value
}

// setPair sets or, with an empty value, removes an entry of w.pairs. It reports whether that changes anything.
func (w *Worker) setPair(a *assignment, value []byte) bool {
	kept := w.pairs[:0]
	found, changed := false, false
	for _, pair := range w.pairs {
		switch {
		case string(pair.Name) != a.key:
		case len(value) == 0 || found:
			changed = true
			continue
		default:
			found = true
			if !bytes.Equal(pair.Value, value) {
				pair.Value, changed = value, true
			}
		}
		kept = append(kept, pair)
	}
	if !found && len(value) > 0 {
		kept = append(kept, stages.Pair{Name: bytesOf(a.key), Value: value})
		changed = true
	}
	w.pairs = kept
	return changed
}

// keep copies the values to memory that is the event's, and returns what is left of it.
func (w *Worker) keep(r *workerRule, ev *stages.Event, memory []byte) []byte {
	for i := range r.set {
		value := r.values[i]
		if value == "" { // constant, or as it was, or absent
			continue
		}
		n := copy(memory, value)
		kept := memory[:n:n]
		memory = memory[n:]
		if a := &r.set[i]; a.target != setMetadata {
			*attributeOf(ev, a.target) = kept
		} else {
			for j := range w.pairs {
				if string(w.pairs[j].Name) == a.key {
					w.pairs[j].Value = kept
				}
			}
		}
	}
	return memory
}

// settle ends what assign began: the event gets its own metadata slice back, and its shard.
func (w *Worker) settle(ev *stages.Event, old *before, metadata bool) {
	if metadata {
		own := old.metadata[:0]
		own = append(own, w.pairs...)
		if len(own) < len(old.metadata) {
			clear(old.metadata[len(own):]) // nothing stale stays behind a slice's length
		}
		ev.Metadata = own
		clear(w.pairs)
	}
	if !bytes.Equal(ev.PartitionKey.Value, old.key) {
		ev.Rekey(ev.PartitionKey.Value)
	}
}

// bytesOf is a view of s, which must not be written to.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
