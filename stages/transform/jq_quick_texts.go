package transform

// The functions of quick jq programs that take a value as their argument.

import "strings"

var jqFunctionsOf = map[string]func(r *jqRun, v, argument any) (any, error){
	"has": func(_ *jqRun, v, key any) (any, error) {
		switch key := key.(type) {
		case string:
			if m, ok := v.(map[string]any); ok {
				_, has := m[key]
				return has, nil
			}
		case int:
			if elements, ok := v.([]any); ok {
				return 0 <= key && key < len(elements), nil
			}
		}
		return nil, errGojq
	},
	"startswith": ofTexts(func(_ *jqRun, s, prefix string) (any, error) { return strings.HasPrefix(s, prefix), nil }),
	"endswith":   ofTexts(func(_ *jqRun, s, suffix string) (any, error) { return strings.HasSuffix(s, suffix), nil }),
	"ltrimstr":   ofTexts(func(r *jqRun, s, prefix string) (any, error) { return r.string(strings.TrimPrefix(s, prefix)), nil }),
	"rtrimstr":   ofTexts(func(r *jqRun, s, suffix string) (any, error) { return r.string(strings.TrimSuffix(s, suffix)), nil }),
	"split":      ofTexts(splitJQ),
	"join":       joinJQ,
}

// ofTexts is a function of two texts, and an error of anything else.
func ofTexts(f func(r *jqRun, s, argument string) (any, error)) func(r *jqRun, v, argument any) (any, error) {
	return func(r *jqRun, v, argument any) (any, error) {
		s, ok := v.(string)
		x, also := argument.(string)
		if !ok || !also {
			return nil, errFails
		}
		return f(r, s, x)
	}
}

func splitJQ(r *jqRun, s, separator string) (any, error) {
	if err := r.meter.take(24 * len(s)); err != nil { // what the guard asks for
		return nil, err
	}
	if s == "" {
		return r.newArray(0), nil
	}
	parts := strings.Split(s, separator)
	made := r.document.values.take(len(parts))
	for i, part := range parts {
		made[i] = r.string(part)
	}
	return r.array(made), nil
}

// joinJQ is join of an array of texts.
func joinJQ(r *jqRun, v, separator any) (any, error) {
	elements, ok := v.([]any)
	between, also := separator.(string)
	if !ok || !also {
		return nil, errGojq
	}
	first, size := len(r.texts), 0
	var err error
	for _, element := range elements {
		s, isText := element.(string)
		if !isText {
			err = errGojq
			break
		}
		if err = r.meter.step(); err != nil {
			break
		}
		size += len(s) + len(between)
		r.texts = append(r.texts, s)
	}
	if err == nil {
		err = r.meter.take(size)
	}
	var made any
	if err == nil {
		made = r.string(strings.Join(r.texts[first:], between))
	}
	clear(r.texts[first:])
	r.texts = r.texts[:first]
	return made, err
}
