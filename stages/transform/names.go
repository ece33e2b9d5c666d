package transform

// The names of rules' variables. What fills Config stops at the first number that
// has none and ignores names that it does not know: a rule that is left out
// because of a slip would let through what it should stop.

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
)

const namePrefix = "TRANSFORM_"

// CheckNames lists names that begin like those of rules and are none, and gaps in the numbers.
func CheckNames(environ map[string]string) (problems []error) {
	known := ruleNames()
	numbers := map[int]string{}
	for _, name := range slices.Sorted(maps.Keys(environ)) {
		rest, ok := strings.CutPrefix(name, namePrefix)
		if !ok || rest == "TIMEOUT" {
			continue
		}
		digits, variable, _ := strings.Cut(rest, "_")
		n, err := strconv.Atoi(digits)
		switch {
		case err != nil || strconv.Itoa(n) != digits || n < 0:
			problems = append(problems, fmt.Errorf("%s: rules are TRANSFORM_<number>_<name>, numbered from 0%s", oneLine(name),
				suggest(rest, "TIMEOUT")))
			continue
		case !slices.Contains(known, variable):
			problems = append(problems, fmt.Errorf("%s: rules have no %s, only %s%s", oneLine(name), oneLine(variable),
				strings.Join(known, " "), suggest(variable, known...)))
		}
		numbers[n] = name
	}
	for i, n := range slices.Sorted(maps.Keys(numbers)) {
		if n != i {
			return append(problems, fmt.Errorf("%s: there is no TRANSFORM_%d; rules are numbered from 0 without a gap", oneLine(numbers[n]), i))
		}
	}
	return problems
}

// ruleNames are the names of a rule's variables.
func ruleNames() (names []string) {
	t := reflect.TypeFor[RuleConfig]()
	for i := range t.NumField() {
		names = append(names, t.Field(i).Tag.Get("env"))
	}
	return names
}

// suggest asks for the known name with the fewest edits, if those are few.
func suggest(name string, known ...string) string {
	best, least := "", 2+len(name)/4
	for _, k := range known {
		if d := levenshtein.ComputeDistance(name, k); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}
