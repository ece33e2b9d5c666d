package schema

// Regular expressions of JSON Schemas. Go's engine takes time linear in the
// text, whatever the pattern; but (a{100}){100} is ten thousand states, and
// those are bounded before they are made.

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Bounds of the states (syntax.Prog instructions, give or take) of one pattern and of all patterns of a schema.
const (
	maxPatternStates = 5000
	maxSchemaStates  = 50_000
)

// patterns compiles a schema's patterns. It belongs to one compilation.
type patterns struct {
	states int
	seen   map[string]jsonschema.Regexp
	// spend, if set, is told what a match will cost, in visits.
	spend func(visits int)
}

func newPatterns() *patterns { return &patterns{seen: map[string]jsonschema.Regexp{}} }

// compile is a jsonschema.RegexpEngine.
func (p *patterns) compile(pattern string) (jsonschema.Regexp, error) {
	if re, ok := p.seen[pattern]; ok {
		return re, nil
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	n := states(parsed)
	if n > maxPatternStates {
		return nil, fmt.Errorf("the pattern %s has about %d states; %d are allowed", shown(pattern), n, maxPatternStates)
	}
	if p.states += n; p.states > maxSchemaStates {
		return nil, fmt.Errorf("the patterns of the schema have more than %d states", maxSchemaStates)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	p.seen[pattern] = re
	if p.spend != nil {
		p.seen[pattern] = &metered{Regexp: re, states: n, spend: p.spend}
	}
	return p.seen[pattern], nil
}

// statesPerVisit is how many bytes of text times states cost as much as a visit, some 3 microseconds.
const statesPerVisit = 300

// metered is a pattern that says what it costs before it is matched.
type metered struct {
	*regexp.Regexp
	states int
	spend  func(visits int)
}

func (m *metered) MatchString(s string) bool {
	m.spend(len(s) * m.states / statesPerVisit)
	return m.Regexp.MatchString(s)
}

// states is about how many instructions an expression becomes, without making them. Its depth is bounded by
// syntax.Parse.
func states(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += states(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Max, re.Min, 1)
	}
	return min(n, 1<<30)
}
