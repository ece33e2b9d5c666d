package schema

// What is wrong with JSON data, in words.

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/event-gateway/event-gateway/stages"
)

// maxCollected bounds what is put into words before it is sorted: the validator finds members in no order.
const maxCollected = 200

// jsonViolations are the causes at the ends of the tree.
func jsonViolations(err *jsonschema.ValidationError) *stages.Detail {
	var all []stages.Violation
	collect(err, &all)
	if len(all) == 0 { // a validator that has nothing to say; never seen
		return violated(dataField, "does not match the schema")
	}
	return details(all)
}

func collect(err *jsonschema.ValidationError, all *[]stages.Violation) {
	if len(*all) >= maxCollected {
		return
	}
	if len(err.Causes) == 0 || isChoice(err.ErrorKind) {
		*all = append(*all, stages.Violation{Field: pointer(err.InstanceLocation), Message: clip(inWords(err.ErrorKind))})
	}
	for _, cause := range err.Causes {
		collect(cause, all)
	}
}

// isChoice: its causes are why each alternative did not match, which does not say that one of them had to.
func isChoice(k jsonschema.ErrorKind) bool {
	switch k.(type) {
	case *kind.AnyOf, *kind.OneOf, *kind.Contains, *kind.MinContains:
		return true
	}
	return false
}

// inWords says what was expected and what is there. Values are shown as far as they are short.
func inWords(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return fmt.Sprintf("is of type %s; %s was expected", k.Got, strings.Join(k.Want, " or "))
	case *kind.Required:
		return "lacks " + list(k.Missing)
	case *kind.AdditionalProperties:
		return "has " + list(k.Properties) + ", which the schema does not have"
	case *kind.Enum:
		return fmt.Sprintf("is %s; one of %s was expected", value(k.Got), values(k.Want))
	case *kind.Const:
		return fmt.Sprintf("is %s; %s was expected", value(k.Got), value(k.Want))
	case *kind.Pattern:
		return fmt.Sprintf("is %s, which does not match the pattern %s", value(k.Got), shown(k.Want))
	case *kind.Format:
		return fmt.Sprintf("is %s, which is not a valid %s", value(k.Got), k.Want)
	case *kind.Minimum:
		return bound(k.Got, "at least", k.Want)
	case *kind.Maximum:
		return bound(k.Got, "at most", k.Want)
	case *kind.ExclusiveMinimum:
		return bound(k.Got, "more than", k.Want)
	case *kind.ExclusiveMaximum:
		return bound(k.Got, "less than", k.Want)
	case *kind.MultipleOf:
		return bound(k.Got, "a multiple of", k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("has %d characters; at least %d were expected", k.Got, k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("has %d characters; at most %d were expected", k.Got, k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("has %d items; at least %d were expected", k.Got, k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("has %d items; at most %d were expected", k.Got, k.Want)
	case *kind.FalseSchema:
		return "is not allowed here"
	case *kind.AnyOf:
		return "matches none of the alternatives (anyOf)"
	case *kind.OneOf:
		if len(k.Subschemas) > 1 {
			return fmt.Sprintf("matches more than one alternative (oneOf: %d and %d)", k.Subschemas[0], k.Subschemas[1])
		}
		return "matches none of the alternatives (oneOf)"
	}
	return k.LocalizedString(message.NewPrinter(language.English))
}

func bound(got *big.Rat, relation string, want *big.Rat) string {
	return fmt.Sprintf("is %s; %s %s was expected", decimal(got), relation, decimal(want))
}

// decimal is the number as people write it, exact if that is short.
func decimal(r *big.Rat) string {
	digits, exact := r.FloatPrec()
	if exact && digits <= 20 && r.Num().BitLen() < 200 {
		return r.FloatString(digits)
	}
	f, _ := r.Float64()
	return fmt.Sprint(f)
}

const maxListed = 5

func list(names []string) string {
	var b strings.Builder
	for i, n := range names {
		switch {
		case i == maxListed:
			fmt.Fprintf(&b, " and %d more", len(names)-i)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(shown(n))
	}
	return b.String()
}

func values(all []any) string {
	var b strings.Builder
	for i, v := range all {
		switch {
		case i == 2*maxListed:
			fmt.Fprintf(&b, " and %d more", len(all)-i)
			return b.String()
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(value(v))
	}
	return b.String()
}

// value is a JSON value, if it is a short one.
func value(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return shown(v)
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	}
	return fmt.Sprint(v)
}
