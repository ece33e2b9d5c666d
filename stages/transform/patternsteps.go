package transform

// How much work a regular expression is: Go's package tries, at each byte of a
// text, all states of the expression that could match there.

import "regexp/syntax"

// patternSteps is about how many states an expression has, counted on its syntax: compiling "(a{30}){30}" makes them.
func patternSteps(expression string) (int, error) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return 0, err
	}
	return 2 + statesOf(parsed), nil
}

func statesOf(r *syntax.Regexp) int {
	n := 0
	for _, sub := range r.Sub {
		n += statesOf(sub)
	}
	switch r.Op {
	case syntax.OpLiteral:
		return len(r.Rune)
	case syntax.OpCapture:
		return n + 2
	case syntax.OpAlternate:
		return n + len(r.Sub)
	case syntax.OpRepeat:
		if r.Max < 0 {
			return multiply(max(r.Min, 1), n) + 1
		}
		return multiply(r.Max, n) + r.Max - r.Min
	case syntax.OpConcat:
		return n
	}
	return n + 1
}

// matchSteps is the work of matching: 2.5 ns for each state and byte at worst ("(.{0,30}x){20}$" on a megabyte: 3 s).
func matchSteps(states, bytes int) int { return multiply(states, bytes) / 4 }

// compileSteps is the work of compiling, of some 200 ns for each state.
func compileSteps(states int) int { return multiply(20, states) }
