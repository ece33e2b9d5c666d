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

	fakeData any
	fakeErr  error
	fakeMeta map[string]string
}

// time is the event's time, now the current one (one look at the clock an event).
func (e *env) time() time.Time { return e.event.Time() }
func (e *env) now() time.Time  { return time.Now() }

// metadata are the event's metadata, built on first use.
func (e *env) metadata() map[string]string { return e.fakeMeta }

// data is the event's data as a JSON value, parsed on first use and shared by all
// rules: nil, bool, string, []any, map[string]any, and numbers so that none loses
// anything: int where it fits, float64 where that is exact, else json.Number.
// Programs must not change it. An error says why it is not JSON.
func (e *env) data() (any, error) { return e.fakeData, e.fakeErr }
