package schema

import (
	"errors"
	"strings"
	"testing"
)

func TestBoundJSON(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"levels":           {strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth), nil},
		"too deep":         {strings.Repeat(`{"a":[`, maxDepth/2) + "{", errTooDeep},
		"one by one":       {"[" + strings.Repeat("[],", 500) + "1]", nil},
		"values":           {"[" + strings.Repeat("1,", maxValues-2) + "1]", nil},
		"too many":         {"[" + strings.Repeat("1,", maxValues-1) + "1]", errTooMany},
		"commas in text":   {`"` + strings.Repeat(",[{", maxValues) + `"`, nil},
		"text without end": {`["` + strings.Repeat(",[{", maxValues), nil},
		"escapes":          {`"\\\"` + strings.Repeat("[", maxDepth+1) + `\\"`, nil},
		"number":           {"[-1.5e-400," + strings.Repeat("9", maxNumberBytes) + "]", nil},
		"exponent":         {"[1,1E+0401]", errLongNumber},
		"long":             {strings.Repeat("9", maxNumberBytes+1), errLongNumber},
	} {
		if _, err := boundJSON([]byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
