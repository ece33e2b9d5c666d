package schema

// What is said about data that does not match.

import (
	"cmp"
	"slices"
	"strings"

	"github.com/event-gateway/event-gateway/stages"
)

// dataField is the path of the data as a whole.
const dataField = "data"

// violated is a Detail of one violation.
func violated(field, message string) *stages.Detail {
	return details([]stages.Violation{{Field: field, Message: clip(message)}})
}

// details is a Detail of violations, which are sorted so that the same data always gets the same answer.
func details(all []stages.Violation) *stages.Detail {
	slices.SortFunc(all, func(a, b stages.Violation) int {
		return cmp.Or(strings.Compare(a.Field, b.Field), strings.Compare(a.Message, b.Message))
	})
	all = slices.Compact(all)
	if len(all) > stages.MaxViolations {
		all = all[:stages.MaxViolations:stages.MaxViolations]
	}
	return &stages.Detail{Field: all[0].Field, Message: all[0].Message, Violations: all}
}

// maxFieldBytes bounds a path.
const maxFieldBytes = 300

// pointer is data and a JSON pointer (RFC 6901).
func pointer(tokens []string) string {
	b := append(make([]byte, 0, 64), dataField...)
	for _, token := range tokens {
		if len(b) > maxFieldBytes {
			break
		}
		b = append(b, '/')
		b = append(b, escaper.Replace(token)...)
	}
	if len(b) > maxFieldBytes {
		b = append(b[:maxFieldBytes], "..."...)
	}
	return strings.ToValidUTF8(string(b), "?")
}

var escaper = strings.NewReplacer("~", "~0", "/", "~1")
