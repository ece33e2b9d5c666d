package transform

// How much work a regular expression is: Go's package tries, at each byte of a
// text, all states of the expression that could match there.

import (
	"fmt"
	"regexp/syntax"
)

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

// matchSteps is the work of matching: 5 ns for each state and byte. It is 3 to 6 when about half of the states may match, and
// 9 to 10 when all of them do ("a{300}b" on "aaa...", "(.)(.*)@", "a?a?a?aaab"). That would refuse "(a+)+$" on 800 KB (H75a),
// which takes 50 ms.
func matchSteps(states, bytes int) int { return multiply(states, bytes) / 2 }

// compileSteps is the work of compiling, of some 200 ns for each state.
func compileSteps(states int) int { return multiply(20, states) }

// maxMatches bounds what is replaced in one text: each match takes some 100 bytes while it works.
const maxMatches = 100_000

// stopMatching ends the search of replaceEach.
type stopMatching struct{}

// replaceEach replaces what p matches. It asks m at each match, since any of them may take as long as all of the text:
// "(a*b)?" looks for b to the end of "aaa..." at each letter.
func (p *sizedPattern) replaceEach(m *meter, text string, with func(match string) (string, error)) (out string, err error) {
	if err := m.work(matchSteps(p.states, len(text))); err != nil {
		return "", err
	}
	defer func() { // Go's package has no other way out
		if v := recover(); v != nil {
			if _, ok := v.(stopMatching); !ok {
				panic(v)
			}
		}
	}()
	n := 0
	out = p.ReplaceAllStringFunc(text, func(match string) (replaced string) {
		if n++; n > maxMatches {
			m.spent = fmt.Errorf("%w: there are more than %d matches", errLimit, maxMatches)
		}
		if err = m.look(); err == nil {
			replaced, err = with(match)
		}
		if err != nil {
			panic(stopMatching{})
		}
		return replaced
	})
	return out, nil
}

// askMatches asks for the work of finding all matches, where it is more than that of one by far.
func (p *sizedPattern) askMatches(m *meter, text string) error {
	one := matchSteps(p.states, len(text))
	if multiply(one, len(text)) < fewMatchSteps {
		return m.work(one)
	}
	_, err := p.replaceEach(m, text, func(string) (string, error) { return "", nil })
	return err
}

// fewMatchSteps are 10 ms.
const fewMatchSteps = 1_000_000
