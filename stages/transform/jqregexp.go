package transform

// jq's regular expressions. gojq's own function counts characters from the
// beginning of the text for each match, which takes minutes for a text of a
// megabyte, and keeps every expression that it has ever seen. This one does
// neither; what it gives is the same (TestMatchIsGojqs).

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/itchyny/gojq"
)

// maxPatterns is how many compiled expressions a program keeps. Programs have a few; only expressions that come from
// data could be more.
const maxPatterns = 64

type patterns map[[2]string]*pattern

type pattern struct {
	*regexp.Regexp
	// states are those that matching tries at each byte.
	states int
	// after matches one character and the expression behind it: it finds the empty match at the end of another.
	after *regexp.Regexp
}

// find compiles an expression, or finds it.
func (p *patterns) find(source, flags string, m *meter) (*pattern, error) {
	if found, ok := (*p)[[2]string{source, flags}]; ok {
		return found, nil
	}
	if strings.Trim(flags, "gim") != "" {
		return nil, fmt.Errorf("unsupported regular expression flag: %q", flags)
	}
	source = strings.Clone(source) // it may be the event's, and is kept
	expression := source
	if strings.ContainsRune(flags, 'i') {
		expression = "(?i)" + expression
	}
	if strings.ContainsRune(flags, 'm') {
		expression = "(?s)" + expression
	}
	states, err := patternSteps(expression)
	if err == nil {
		if err := m.work(2 * compileSteps(states)); err != nil { // it, and after
			return nil, err
		}
	}
	r, err := regexp.Compile(expression)
	if err != nil {
		return nil, fmt.Errorf("invalid regular expression %q: %w", expression, err)
	}
	found := &pattern{Regexp: r, states: states}
	found.after, _ = regexp.Compile(`\A(?s:.)(?:` + expression + `)`) // without it there is no such match
	if *p == nil || len(*p) == maxPatterns {
		*p = patterns{}
	}
	(*p)[[2]string{source, strings.Clone(flags)}] = found
	return found, nil
}

// match is _match(expression; flags; testing).
func (r *jqRun) match(v any, args []any) any {
	text, ok := v.(string)
	source, also := args[0].(string)
	flags, given := args[1].(string)
	if !ok || !also || !given && args[1] != nil {
		return fmt.Errorf("match(%s; %s) cannot be applied to: %s (%s)", gojq.Preview(args[0]), gojq.Preview(args[1]), gojq.TypeOf(v), gojq.Preview(v))
	}
	if err := r.meter.work(len(text)); err != nil {
		return err
	}
	p, err := r.patterns.find(source, flags, &r.meter)
	if err != nil {
		return err
	}
	if err := r.meter.work(matchSteps(p.states, len(text))); err != nil {
		return err
	}
	if args[2] == true {
		return p.MatchString(text)
	}
	// A match takes some 600 bytes, with each group once more.
	each, most := 600*(1+p.NumSubexp()), 1
	if strings.ContainsRune(flags, 'g') {
		most = maxMemory/each + 1
	}
	all, err := p.all(text, most, &r.meter)
	if err == nil {
		err = r.meter.take(each * len(all))
	}
	if err != nil {
		return err
	}
	return p.values(text, all)
}

// all finds the places of matches and groups.
func (p *pattern) all(text string, most int, m *meter) ([][]int, error) {
	if most > 1 {
		if err := (&sizedPattern{p.Regexp, p.states}).askMatches(m, text); err != nil {
			return nil, err
		}
	}
	found := p.FindAllStringSubmatchIndex(text, most)
	if len(found) == 0 || most == 1 || p.after == nil {
		return found, m.look()
	}
	// jq has an empty match right behind another one; Go's package leaves it out.
	all := make([][]int, 0, len(found))
	for i, at := range found {
		if err := m.work(50); err != nil {
			return nil, err
		}
		all = append(all, at)
		if at[0] == at[1] || i+1 < len(found) && found[i+1][0] == at[1] {
			continue
		}
		if empty := p.emptyAt(text, at[1]); empty != nil {
			all = append(all, empty)
		}
	}
	return all, nil
}

// emptyAt is the empty match that begins at, after at least one character.
func (p *pattern) emptyAt(text string, at int) []int {
	_, width := utf8.DecodeLastRuneInString(text[:at])
	m := p.after.FindStringSubmatchIndex(text[at-width:])
	if m == nil || m[1] != width {
		return nil
	}
	empty := make([]int, len(m))
	empty[0], empty[1] = at, at
	for i := 2; i < len(m); i++ {
		if empty[i] = m[i]; m[i] >= 0 {
			empty[i] = m[i] + at - width
		}
	}
	return empty
}

// values are the matches as jq has them: offsets and lengths count characters.
func (p *pattern) values(text string, all [][]int) []any {
	names := p.SubexpNames()
	position := runeCounter{text: text}
	result := make([]any, len(all))
	for i, m := range all {
		start := position.of(m[0])
		groups := make([]any, len(m)/2-1)
		for g := range groups {
			var name any
			if n := names[g+1]; n != "" {
				name = n
			}
			from, to := m[2*g+2], m[2*g+3]
			if from < 0 {
				groups[g] = map[string]any{"name": name, "offset": -1, "length": 0, "string": nil}
				continue
			}
			groups[g] = map[string]any{"name": name, "offset": start + runesBetween(text, m[0], from),
				"length": utf8.RuneCountInString(text[from:to]), "string": text[from:to]}
		}
		result[i] = map[string]any{"offset": start, "length": utf8.RuneCountInString(text[m[0]:m[1]]),
			"string": text[m[0]:m[1]], "captures": groups}
	}
	return result
}

// runesBetween counts the characters from one position to another, which may lie before it.
func runesBetween(text string, from, to int) int {
	if to < from {
		return -utf8.RuneCountInString(text[to:from])
	}
	return utf8.RuneCountInString(text[from:to])
}

// runeCounter counts characters up to positions that rise from call to call.
type runeCounter struct {
	text      string
	at, count int
}

func (c *runeCounter) of(at int) int {
	c.count += utf8.RuneCountInString(c.text[c.at:at])
	c.at = at
	return c.count
}
