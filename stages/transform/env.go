package transform

// What programs see of an event: the same in all languages, documented in
// docs/transforms.md.

import (
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// env shows one event to programs. Each worker has one. Strings are views into
// the event: programs may keep them only within one eval.
type env struct {
	id, source, typ, subject, contentType, partitionKey string
	gateway, client                                     string
	event                                               *stages.Event

	// shown says that the attributes above are those of event.
	shown bool
	// pairs are the metadata when paired is set. Always the same map.
	pairs  map[string]string
	paired bool
	// document has the data, value is it as a JSON value or dataErr says why it is none, when parsed is set.
	document document
	// want is what the worker's programs look at of data.
	want    *wanted
	value   any
	dataErr error
	parsed  bool
	// timeout is for one rule and event.
	timeout time.Duration
	// started is when the rule began, by clock; 0 when nobody has looked.
	started time.Duration
	// present is now once somebody has asked.
	present time.Time
}

// show makes ev the event that programs see. Nothing is looked at before a program runs.
func (e *env) show(ev *stages.Event) {
	e.event = ev
	e.changed()
	e.changedData()
	e.present = time.Time{}
}

// changed says that the event's attributes or metadata are not what they were.
func (e *env) changed() { e.shown, e.paired = false, false }

// changedData says that the event's data is not what it was, and lets go of it.
func (e *env) changedData() {
	if e.parsed {
		e.document.reset()
		e.value, e.dataErr, e.parsed = nil, nil, false
	}
}

// forget lets go of the event.
func (e *env) forget() {
	e.changedData()
	if e.paired {
		clear(e.pairs)
	}
	e.id, e.source, e.typ, e.subject, e.contentType, e.partitionKey, e.client = "", "", "", "", "", "", ""
	e.event, e.shown, e.paired = nil, false, false
}

// attributes fills the strings. Called before a program runs.
func (e *env) attributes() {
	if e.shown {
		return
	}
	ev := e.event
	e.id, e.source, e.typ = textOf(ev.ID.Value), textOf(ev.Source.Value), textOf(ev.Type.Value)
	e.partitionKey = textOf(ev.PartitionKey.Value)
	e.subject, e.contentType, e.client = subjectOf(ev), contentTypeOf(ev), clientOf(ev)
	e.shown = true
}

// time is the event's time, now the current one (one look at the clock an event).
func (e *env) time() time.Time { return e.event.Time() }
func (e *env) now() time.Time {
	if e.present.IsZero() {
		e.present = time.Now().UTC()
	}
	return e.present
}

// metadata are the event's metadata, built on first use. Of an entry that is there twice the last one counts.
func (e *env) metadata() map[string]string {
	if !e.paired {
		if e.pairs == nil {
			e.pairs = map[string]string{}
		}
		clear(e.pairs)
		for i := range e.event.Metadata {
			pair := &e.event.Metadata[i]
			e.pairs[textOf(pair.Name)] = textOf(pair.Value)
		}
		e.paired = true
	}
	return e.pairs
}

// data is the event's data as a JSON value, parsed on first use and shared by all
// rules: nil, bool, string, []any, map[string]any, and numbers so that none loses
// anything: int where it fits, float64 where that is exact, else json.Number.
// Programs must not change it. An error says why it is not JSON.
func (e *env) data() (any, error) {
	if !e.parsed {
		if e.document.until = 0; e.started != 0 && e.timeout != 0 {
			e.document.until = e.started + e.timeout
		}
		e.value, e.dataErr = e.document.read(e.event.Data, e.want)
		e.parsed = true
	}
	return e.value, e.dataErr
}
