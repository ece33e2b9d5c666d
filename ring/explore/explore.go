// Package explore walks through every order in which goroutines can take their
// steps, for models of the protocols in ring and pipeline. Only tests use it.
//
// A model is a comparable struct (the shared words and where each goroutine is)
// and a function that lists the steps possible in it. The walk is breadth
// first, so a counterexample is as short as there is one. Three things are
// checked: no state is Bad; nobody is stuck before the End; and from every state
// the End can still be reached, which also finds goroutines that only turn in
// circles.
package explore

import (
	"fmt"
	"strings"
)

// Model is what is explored. S holds values only: two equal states are the same state.
type Model[S comparable] struct {
	Start S
	// Steps calls take for each step that some goroutine can make in s, with a readable name for traces.
	Steps func(s S, take func(step string, next S))
	// Bad says what is wrong with s, or "".
	Bad func(s S) string
	// End reports whether everything is done, as it should be.
	End func(s S) bool
}

// Report is what was seen.
type Report struct {
	States int
	// Steps counts how often each step was taken.
	Steps map[string]int
}

// Violation is a counterexample.
type Violation struct {
	What  string
	Trace []string // the steps from the start
	State string   // where they lead
}

// Error prints the steps, one a line.
func (v *Violation) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, after %d steps:\n", v.What, len(v.Trace))
	for i, step := range v.Trace {
		fmt.Fprintf(&b, "%4d  %s\n", i+1, step)
	}
	fmt.Fprintf(&b, "      %s", v.State)
	return b.String()
}

// walk is one exploration. The three slices are parallel: a state, the state it was first reached from, and by which step.
type walk[S comparable] struct {
	Model[S]
	index  map[S]int32
	states []S
	from   []int32
	by     []string
	// edges are all steps as (from, to), for the way back from the end.
	edges  [][2]int32
	report Report
}

// Explore visits every state; more than most of them is an error, as is a Violation.
func (m Model[S]) Explore(most int) (Report, error) {
	w := &walk[S]{Model: m, index: map[S]int32{}, report: Report{Steps: map[string]int{}}}
	w.visit(m.Start, -1, "")
	for at := int32(0); int(at) < len(w.states); at++ {
		s := w.states[at]
		if bad := m.Bad(s); bad != "" {
			return w.report, w.violation(bad, at)
		}
		moved := false
		m.Steps(s, func(step string, next S) {
			moved = true
			w.report.Steps[step]++
			w.edges = append(w.edges, [2]int32{at, w.visit(next, at, step)})
		})
		if !moved && !m.End(s) {
			return w.report, w.violation("nobody can go on, and it is not the end", at)
		}
		if len(w.states) > most {
			return w.report, fmt.Errorf("more than %d states: make the model smaller", most)
		}
	}
	return w.report, w.mustReachEnd()
}

// visit returns the number of a state, new or known.
func (w *walk[S]) visit(s S, from int32, by string) int32 {
	if i, known := w.index[s]; known {
		return i
	}
	i := int32(len(w.states))
	w.index[s] = i
	w.states, w.from, w.by = append(w.states, s), append(w.from, from), append(w.by, by)
	w.report.States++
	return i
}

// mustReachEnd goes backwards from all ends; what it does not meet cannot reach any.
func (w *walk[S]) mustReachEnd() error {
	// into[starts[i]:starts[i+1]] are the states with a step to i.
	starts := make([]int32, len(w.states)+1)
	for _, e := range w.edges {
		starts[e[1]+1]++
	}
	for i := range w.states {
		starts[i+1] += starts[i]
	}
	into, filled := make([]int32, len(w.edges)), make([]int32, len(w.states))
	for _, e := range w.edges {
		into[starts[e[1]]+filled[e[1]]] = e[0]
		filled[e[1]]++
	}
	reaches := make([]bool, len(w.states))
	var next []int32
	for i, s := range w.states {
		if w.End(s) {
			reaches[i] = true
			next = append(next, int32(i))
		}
	}
	for len(next) > 0 {
		at := next[len(next)-1]
		next = next[:len(next)-1]
		for _, before := range into[starts[at]:starts[at+1]] {
			if !reaches[before] {
				reaches[before] = true
				next = append(next, before)
			}
		}
	}
	for i, ok := range reaches {
		if !ok {
			return w.violation("the end cannot be reached any more", int32(i))
		}
	}
	return nil
}

func (w *walk[S]) violation(what string, at int32) *Violation {
	v := &Violation{What: what, State: fmt.Sprintf("%+v", w.states[at])}
	for i := at; w.from[i] >= 0; i = w.from[i] {
		v.Trace = append(v.Trace, w.by[i])
	}
	for i, j := 0, len(v.Trace)-1; i < j; i, j = i+1, j-1 {
		v.Trace[i], v.Trace[j] = v.Trace[j], v.Trace[i]
	}
	return v
}
