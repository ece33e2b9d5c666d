package transform

// What the functions of templates do with values of JSON.

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// text is a value as it prints: a string as it is, everything else as JSON.
func (r *templateRun) text(o operand) (string, error) {
	if !o.ok {
		return "", errMissing
	}
	switch v := o.v.(type) {
	case string:
		return v, nil
	case json.Number:
		return string(v), nil
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	}
	b, err := r.appendJSON(nil, o.v)
	if err == nil {
		err = r.meter.take(len(b))
	}
	return string(b), err
}

// appendText appends what text gives.
func (r *templateRun) appendText(dst []byte, o operand) ([]byte, error) {
	if !o.ok {
		return dst, errMissing
	}
	switch v := o.v.(type) {
	case string:
		return append(dst, v...), nil
	case time.Time:
		return v.AppendFormat(dst, time.RFC3339Nano), nil
	}
	return r.appendJSON(dst, o.v)
}

// appendJSON appends a value as JSON. What is as it was in the event's data is copied.
func (r *templateRun) appendJSON(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		if len(v) > r.program.limits.output { // escaped, it may be six times as long
			r.meter.spent = fmt.Errorf("%w: JSON of a string of %d bytes", errLimit, len(v))
			return dst, r.meter.spent
		}
		dst, _ = jsontext.AppendQuote(dst, v) // an error tells of what became U+FFFD
		return dst, nil
	case int:
		return strconv.AppendInt(dst, int64(v), 10), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	}
	return r.env.document.encode(dst, v, r.program.limits.output)
}

// joined is the text of several values, one after the other.
func joined(r *templateRun, args []operand, between string) (string, error) {
	var b strings.Builder
	for i, a := range args {
		text, err := r.text(a)
		if err == nil {
			err = firstError(r.meter.take(len(text)), r.meter.work(templateText))
		}
		if err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString(between)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func decodeBase64(r *templateRun, s []string) (any, error) {
	if err := firstError(r.meter.take(len(s[0])), r.meter.work(len(s[0])/4)); err != nil {
		return nil, err
	}
	b, err := base64.StdEncoding.DecodeString(s[0])
	return string(b), err
}

// What functions take for a part, in steps of the meter (10 ns).
const (
	templatePart = 6  // that split makes
	templateSwap = 2  // that replace finds
	templateText = 10 // that join and print add
)

// replaceText is replace old new text.
func replaceText(r *templateRun, s []string) (any, error) {
	old, with, text := s[0], s[1], s[2]
	times := strings.Count(text, old)
	if err := r.meter.take(len(text) + multiply(times, max(0, len(with)-len(old)))); err != nil {
		return nil, err
	}
	if err := r.meter.work(len(text)/4 + templateSwap*times); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(text, old, with), nil
}

// splitText is split separator text.
func splitText(r *templateRun, s []string) (any, error) {
	const header = 32 // bytes of a string and of what points to it
	n := 1 + strings.Count(s[1], s[0])
	if err := r.meter.take(multiply(header, n)); err != nil {
		return nil, err
	}
	if err := r.meter.work(len(s[1])/8 + templatePart*n); err != nil {
		return nil, err
	}
	parts := strings.Split(s[1], s[0])
	all := make([]any, len(parts))
	for i, part := range parts {
		all[i] = part
	}
	return all, nil
}

// joinList is join separator list.
func joinList(r *templateRun, args []operand) (any, error) {
	separator, ok := args[0].v.(string)
	list, isList := args[1].v.([]any)
	if !ok || !isList {
		return nil, fmt.Errorf("it takes a string and an array, and has %s and %s", a(args[0].v), a(args[1].v))
	}
	if err := r.meter.take(multiply(len(list), len(separator))); err != nil {
		return nil, err
	}
	items := make([]operand, len(list))
	for i, item := range list {
		items[i] = operand{item, true}
	}
	return joined(r, items, separator)
}

// formatDate is date layout time.
func formatDate(r *templateRun, args []operand) (any, error) {
	layout, ok := args[0].v.(string)
	if !ok {
		return nil, fmt.Errorf("the layout is %s; a string is wanted", a(args[0].v))
	}
	var at time.Time
	switch v := args[1].v.(type) {
	case time.Time:
		at = v
	case string:
		t, err := time.Parse(time.RFC3339Nano, v)
		if err != nil {
			return nil, errors.New("the time is not like 2006-01-02T15:04:05Z")
		}
		at = t
	case int:
		at = time.Unix(int64(v), 0).UTC()
	default:
		return nil, fmt.Errorf("the time is %s; .time, .now, a string like 2006-01-02T15:04:05Z or seconds since 1970 are wanted", a(v))
	}
	if err := r.meter.take(4 * len(layout)); err != nil { // "Jan" may be "September"
		return nil, err
	}
	return at.Format(layout), nil
}

// templatePatterns are compiled patterns of regexReplace by their text.
type templatePatterns map[string]*sizedPattern

// maxPattern bounds patterns in bytes.
const maxPattern = 1000

// regexReplace is regexReplace pattern replacement text, where $1 is what the first group has matched.
func regexReplace(r *templateRun, s []string) (any, error) {
	pattern, with, text := s[0], s[1], s[2]
	compiled := r.program.patterns[pattern]
	if compiled == nil {
		if len(pattern) > maxPattern {
			return nil, fmt.Errorf("the pattern has %d bytes; %d are the most", len(pattern), maxPattern)
		}
		var err error
		if compiled, err = patternOf(&r.meter, pattern); err != nil {
			return nil, err
		}
	}
	if !strings.Contains(with, "$") {
		return compiled.replaceEach(&r.meter, text, func(string) (string, error) { return with, r.meter.take(len(with)) })
	}
	return r.expand(compiled, with, text)
}

// expand replaces what p matches by what has groups of it.
func (r *templateRun) expand(p *sizedPattern, with, text string) (any, error) {
	if err := p.askMatches(&r.meter, text); err != nil {
		return nil, err
	}
	var out []byte
	last := 0
	for _, m := range p.FindAllStringSubmatchIndex(text, maxMatches) {
		before := len(out)
		out = append(out, text[last:m[0]]...)
		out = p.ExpandString(out, with, text, m)
		if err := r.meter.take(len(out) - before); err != nil {
			return nil, err
		}
		last = m[1]
	}
	return string(append(out, text[last:]...)), nil
}

func itemsOf(_ *templateRun, args []operand) (any, error) {
	switch v := args[0].v.(type) {
	case string:
		return len(v), nil
	case []any:
		return len(v), nil
	case map[string]any:
		return len(v), nil
	case map[string]string:
		return len(v), nil
	}
	return nil, fmt.Errorf("%s has no length", a(args[0].v))
}

// itemOf is index value key ...; a name that an object does not have gives null.
func itemOf(_ *templateRun, args []operand) (any, error) {
	v := args[0].v
	for _, key := range args[1:] {
		switch in := v.(type) {
		case map[string]any:
			name, ok := key.v.(string)
			if !ok {
				return nil, fmt.Errorf("an object has names for its values, and %s is none", a(key.v))
			}
			v = in[name]
		case map[string]string:
			name, _ := key.v.(string)
			text, ok := in[name]
			if v = nil; ok {
				v = text
			}
		case []any:
			i, ok := key.v.(int)
			if !ok || i < 0 || i >= len(in) {
				return nil, fmt.Errorf("an array of %d items has no item %v", len(in), shortOf(key.v))
			}
			v = in[i]
		default:
			return nil, fmt.Errorf("%s has no items", a(v))
		}
	}
	return v, nil
}

// shortOf is a value for an error.
func shortOf(v any) any {
	switch v.(type) {
	case int, float64, bool, nil:
		return v
	}
	return a(v)
}

// sliceOf is slice value from to: bytes of a string, or items of a list.
func sliceOf(_ *templateRun, args []operand) (any, error) {
	length := 0
	text, isText := args[0].v.(string)
	list, isList := args[0].v.([]any)
	switch {
	case isText:
		length = len(text)
	case isList:
		length = len(list)
	default:
		return nil, fmt.Errorf("%s cannot be sliced", a(args[0].v))
	}
	bounds := [2]int{0, length}
	for i, a := range args[1:] {
		n, ok := a.v.(int)
		if !ok || n < 0 || n > length {
			return nil, fmt.Errorf("%v is not within 0 to %d", shortOf(a.v), length)
		}
		bounds[i] = n
	}
	if bounds[0] > bounds[1] {
		return nil, fmt.Errorf("from %d to %d is backwards", bounds[0], bounds[1])
	}
	if isText {
		return text[bounds[0]:bounds[1]], nil
	}
	return list[bounds[0]:bounds[1]], nil
}

// equalToAny is eq first others ...: equal to any of them.
func equalToAny(_ *templateRun, args []operand) (any, error) {
	for _, other := range args[1:] {
		if is, err := equal(args[0].v, other.v); is || err != nil {
			return is, err
		}
	}
	return false, nil
}

// equal compares scalars. Those of different kinds differ; null is what is missing.
func equal(x, y any) (bool, error) {
	if isContainer(x) || isContainer(y) {
		return false, fmt.Errorf("%s and %s cannot be compared", a(x), a(y))
	}
	m, isExact := x.(json.Number)
	n, isToo := y.(json.Number)
	if isExact && isToo {
		return m == n, nil
	}
	if order, ok := orderOf(x, y); ok {
		return order == 0 && !isExact && !isToo, nil
	}
	return x == y, nil
}

func isContainer(v any) bool {
	switch v.(type) {
	case []any, map[string]any, map[string]string:
		return true
	}
	return false
}

// ordered is a comparison.
func ordered(holds func(order int) bool) function {
	return function{least: 2, most: 2, call: func(_ *templateRun, args []operand) (any, error) {
		order, ok := orderOf(args[0].v, args[1].v)
		if !ok {
			return nil, fmt.Errorf("%s and %s have no order", a(args[0].v), a(args[1].v))
		}
		return holds(order), nil
	}}
}

// orderOf compares two numbers, strings or times.
func orderOf(x, y any) (int, bool) {
	switch x := x.(type) {
	case string:
		if y, ok := y.(string); ok {
			return strings.Compare(x, y), true
		}
	case time.Time:
		if y, ok := y.(time.Time); ok {
			return x.Compare(y), true
		}
	case int:
		if y, ok := y.(int); ok {
			return cmp.Compare(x, y), true
		}
	}
	m, isNumber := floatOf(x)
	n, isToo := floatOf(y)
	return cmp.Compare(m, n), isNumber && isToo
}

// floatOf is a number as the nearest float64.
func floatOf(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	case json.Number:
		f, _ := v.Float64() // out of range: infinite, which compares as it should
		return f, true
	}
	return 0, false
}

// truth is what if and with ask: whether a value is there and not empty.
func truth(o operand) bool {
	switch v := o.v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case int:
		return v != 0
	case float64:
		return v != 0
	case json.Number:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	case map[string]string:
		return len(v) > 0
	}
	return true
}

// sortedNames are an object's names in the order in which range goes over them.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// formatText is printf format values ...: without what takes widths from values or values by their number, and with
// numbers of either kind for %d and %f.
func formatText(r *templateRun, args []operand) (any, error) {
	format, ok := args[0].v.(string)
	if !ok {
		return nil, fmt.Errorf("the format is %s; a string is wanted", a(args[0].v))
	}
	verbs, size, err := parseFormat(format)
	if err != nil {
		return nil, err
	}
	if len(verbs) != len(args)-1 {
		return nil, fmt.Errorf("the format has %d verbs for %d values", len(verbs), len(args)-1)
	}
	values := make([]any, len(verbs))
	for i, verb := range verbs {
		v, err := r.forVerb(verb, args[i+1])
		if err != nil {
			return nil, err
		}
		if s, ok := v.(string); ok {
			size += 4 * len(s) // %q and %x
		}
		values[i] = v
	}
	if err := r.meter.take(size); err != nil {
		return nil, err
	}
	return fmt.Sprintf(format, values...), nil
}

// maxWidth bounds the widths and precisions of a format.
const maxWidth = 1000

// parseFormat finds the verbs of a format, and how much they take beside their values.
func parseFormat(format string) (verbs []byte, size int, err error) {
	size = len(format)
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		i++
		number := 0
		for ; i < len(format) && strings.IndexByte("+-# 0123456789.", format[i]) >= 0; i++ {
			number = 10*number + int(format[i]-'0')
			if format[i] < '0' {
				number = 0
			}
			if number > maxWidth {
				return nil, 0, fmt.Errorf("%w: the format has a width or a precision of more than %d", errLimit, maxWidth)
			}
			size += number
		}
		switch {
		case i == len(format):
			return nil, 0, errors.New("the format ends within a verb")
		case format[i] == '%':
		case strings.IndexByte("vsqdxXcboeEfFgGt", format[i]) < 0:
			return nil, 0, fmt.Errorf("the format has %%%c, which printf does not have here", format[i])
		default:
			size += 330 // %f of the largest float
			verbs = append(verbs, format[i])
		}
	}
	return verbs, size, nil
}

// forVerb is a value as a verb wants it.
func (r *templateRun) forVerb(verb byte, o operand) (any, error) {
	switch v := o.v.(type) {
	case int:
		if strings.IndexByte("eEfFgG", verb) >= 0 {
			return float64(v), nil
		}
		return v, nil
	case float64:
		if verb == 'd' && v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int(v), nil
		}
		if verb != 'v' {
			return v, nil
		}
	case json.Number:
		if f, ok := floatOf(v); ok && strings.IndexByte("eEfFgG", verb) >= 0 {
			return f, nil
		}
	case bool:
		return v, nil
	}
	return r.text(o)
}

// a is what a value is, for errors.
func a(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case []any:
		return "an array"
	case map[string]any, map[string]string:
		return "an object"
	case time.Time:
		return "a time"
	}
	return "a " + kindOf(v)
}
