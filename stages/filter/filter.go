// Package filter compiles what clients want to read into one question that each
// stored event is asked: types and sources by name, and a condition over the
// attributes. It is written by clients, so it is bounded in size before it is
// compiled, and in work for each event.
package filter

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/transform"
)

// MaxNames bounds event_types and sources, entries each.
const MaxNames = 100

// Compile returns whether an event is wanted: its type is one of types (exact, or a prefix with a trailing *), its source
// one of sources, and expression is true. What is empty wants everything. An error is a *stages.Refusal that
// names the field of the request. Like every Match, the result is for one goroutine at a time; it gives a *stages.Costly
// when the expression takes long.
func Compile(types, sources []string, expression string) (stages.Match, error) {
	ofType, err := compileTypes(types)
	if err != nil {
		return nil, err
	}
	ofSource, err := compileNames("sources", sources)
	if err != nil {
		return nil, err
	}
	if expression == "" {
		return func(ev *eventv1.Event) (bool, error) { return ofType.has(ev.Type) && ofSource.has(ev.Source), nil }, nil
	}
	condition, err := transform.CompileCondition(expression)
	if err != nil {
		return nil, invalid("filter", err.Error())
	}
	costly := &stages.Costly{Decide: func(ev *eventv1.Event) (bool, error) {
		holds, err := condition.Holds(ev)
		if err != nil {
			return false, &stages.Refusal{Reason: stages.FilterLimit, Detail: &stages.Detail{
				Field: "filter", Message: fmt.Sprintf("for the event %q: %v", clip(ev.Id), err),
			}}
		}
		return holds, nil
	}}
	return func(ev *eventv1.Event) (bool, error) {
		if !ofType.has(ev.Type) || !ofSource.has(ev.Source) {
			return false, nil
		}
		holds, decided := condition.HoldsQuickly(ev)
		if !decided {
			return false, costly
		}
		return holds, nil
	}, nil
}

// clip bounds what is repeated of an event or a request.
func clip(s string) string {
	const longest = 80
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "..."
}

func invalid(field, message string) error {
	return &stages.Refusal{Reason: stages.InvalidFilter, Detail: &stages.Detail{Field: field, Message: message}}
}

// names are those that are wanted.
type names struct {
	// all: there was no entry.
	all   bool
	exact map[string]struct{}
	// prefixes are sorted, and none begins with another: the only one that a text can begin with is the last that is
	// not behind it.
	prefixes []string
}

func (n *names) has(name string) bool {
	if n.all {
		return true
	}
	if _, ok := n.exact[name]; ok {
		return true
	}
	if len(n.prefixes) == 0 {
		return false
	}
	behind := sort.SearchStrings(n.prefixes, name)
	if behind < len(n.prefixes) && n.prefixes[behind] == name {
		return true
	}
	return behind > 0 && strings.HasPrefix(name, n.prefixes[behind-1])
}

// compileNames takes exact names.
func compileNames(field string, entries []string) (*names, error) {
	if len(entries) > MaxNames {
		return nil, invalid(field, fmt.Sprintf("%d entries; %d are the most", len(entries), MaxNames))
	}
	n := &names{all: len(entries) == 0, exact: make(map[string]struct{}, len(entries))}
	for i, entry := range entries {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case entry == "":
			return nil, invalid(at, "is empty; leave it out to want everything")
		case len(entry) > stages.MaxAttributeBytes:
			return nil, invalid(at, fmt.Sprintf("has %d bytes; %d are the most", len(entry), stages.MaxAttributeBytes))
		}
		n.exact[entry] = struct{}{}
	}
	return n, nil
}

// compileTypes takes exact names, and prefixes with a trailing *.
func compileTypes(entries []string) (*names, error) {
	const field = "event_types"
	n, err := compileNames(field, entries)
	if err != nil {
		return nil, err
	}
	for i, entry := range entries {
		star := strings.IndexByte(entry, '*')
		if star < 0 {
			continue
		}
		if star != len(entry)-1 {
			return nil, invalid(fmt.Sprintf("%s[%d]", field, i), fmt.Sprintf("%q: a * can only be its end", clip(entry)))
		}
		delete(n.exact, entry)
		n.prefixes = append(n.prefixes, entry[:star])
	}
	slices.Sort(n.prefixes)
	last := ""
	n.prefixes = slices.DeleteFunc(n.prefixes, func(p string) bool {
		covered := last != "" && strings.HasPrefix(p, last)
		if !covered {
			last = p
		}
		return covered
	})
	if len(n.prefixes) > 0 && n.prefixes[0] == "" {
		n.all = true
	}
	return n, nil
}
