package transform

// What rules did to an event, told step by step: for the dry run.

import (
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// Result is what a rule did to an event.
type Result uint8

// The results.
const (
	// Unmatched: the rule is not for the event.
	Unmatched Result = iota
	// Unchanged: it was applied, and the event is what it was.
	Unchanged
	// Changed: it changed the event or chose its topic.
	Changed
	// Filtered: it dropped the event.
	Filtered
	// Failed: it could not be applied; ON_ERROR says what became of the event.
	Failed
	// Limited: it would have taken more time, memory or output than it may.
	Limited
	// Misrouted: it chose a topic that is not allowed.
	Misrouted
	// Overloaded: the memory for what rules write is taken.
	Overloaded

	results
)

var resultNames = [results]string{"unmatched", "unchanged", "changed", "filtered", "failed", "limit", "topic_not_allowed", "overloaded"}

// String is the result's name in metrics.
func (r Result) String() string { return resultNames[r] }

// Step is what one rule did to the event.
type Step struct {
	// Rule is its name: TRANSFORM_0.
	Rule   string
	Result Result
	Took   time.Duration
	// Changes are what the event has now and did not have before.
	Changes []Change
	// Problem says why the rule could not be applied.
	Problem string
}

// Change is one thing that a rule changed: an attribute, metadata.x, topic or data.
type Change struct{ Name, Value string }

// trace tells about one step.
func (w *Worker) trace(r *workerRule, ev *stages.Event, result Result, took time.Duration, err error) {
	s := Step{Rule: r.name, Result: result, Took: took}
	if err != nil {
		s.Problem = message(err)
	}
	if result == Changed {
		s.Changes = changesOf(r, ev)
	}
	w.Trace(s)
}

// changesOf lists what the rule has set, whether it was that before or not.
func changesOf(r *workerRule, ev *stages.Event) (all []Change) {
	for i := range r.set {
		a := &r.set[i]
		value, _ := entry(ev, a.key)
		if a.target != setMetadata {
			value = string(*attributeOf(ev, a.target))
		}
		all = append(all, Change{a.name, string([]byte(value))})
	}
	if r.route != nil {
		all = append(all, Change{"topic", ev.Topic.Name})
	}
	if r.data != nil {
		all = append(all, Change{"data", string(ev.Data)})
	}
	return all
}
