package transform

// What a CEL program gives, as Go values. Values of the event are passed on as
// they are; lists and objects that the program made are converted in place.

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// celWriter makes Go values of CEL values.
type celWriter struct {
	// room is what is left of the output in bytes, counted from below: a value that was not in the event takes at
	// least two.
	room  int
	meter *meter
}

// take counts what a value takes.
func (w *celWriter) take(bytes int) error {
	if w.room -= bytes; w.room < 0 {
		return fmt.Errorf("%w: the result is too large", errLimit)
	}
	return w.meter.step()
}

func (w *celWriter) native(value ref.Val) (any, error) {
	if err := w.take(2); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case *celObject:
		return w.madeObject(v)
	case *celList:
		return w.madeList(v)
	case types.String:
		w.room -= len(v)
		return string(v), nil
	case types.Bool:
		return bool(v), nil
	case types.Int:
		return int(v), nil
	case types.Double:
		if f := float64(v); !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f, nil
		}
		return nil, fmt.Errorf("the result has the number %v, which JSON cannot have", float64(v))
	case exact:
		return json.Number(v.text), nil
	case types.Uint:
		return json.Number(strconv.FormatUint(uint64(v), 10)), nil
	case types.Null:
		return nil, nil
	case types.Bytes:
		w.room -= len(v)
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.UTC().Format(time.RFC3339Nano), nil
	case types.Duration:
		return strconv.FormatFloat(v.Seconds(), 'f', -1, 64) + "s", nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, fmt.Errorf("the result has an optional without a value; give it one with orValue")
		}
		return w.native(v.GetValue())
	case traits.Lister:
		return w.list(v)
	case traits.Mapper:
		return w.object(v)
	}
	return nil, fmt.Errorf("the result has a %s, which JSON cannot have", value.Type().TypeName())
}

// madeList converts each list once, however often the result has it; each time counts.
func (w *celWriter) madeList(l *celList) (any, error) {
	if l.open {
		before := w.room
		l.open = false
		for i, item := range l.items {
			value, ok := item.(ref.Val)
			if !ok {
				continue
			}
			v, err := w.native(value)
			if err != nil {
				return nil, err
			}
			l.items[i] = v
		}
		l.weight += before - w.room
		w.room = before
	}
	return l.items, w.take(l.weight)
}

// madeObject is madeList of objects.
func (w *celWriter) madeObject(o *celObject) (any, error) {
	if o.open {
		before := w.room
		o.open = false
		if err := w.close(o); err != nil {
			return nil, err
		}
		o.weight += before - w.room
		w.room = before
	}
	return o.all(), w.take(o.weight)
}

// close converts the fields that are CEL values.
func (w *celWriter) close(o *celObject) error {
	if o.fields == nil {
		for i, field := range o.vals {
			if value, ok := field.(ref.Val); ok {
				v, err := w.native(value)
				if err != nil {
					return err
				}
				o.vals[i] = v
			}
		}
		return nil
	}
	for name, field := range o.fields {
		if value, ok := field.(ref.Val); ok {
			v, err := w.native(value)
			if err != nil {
				return err
			}
			o.fields[name] = v
		}
	}
	return nil
}

// list is a list as cel-go makes them.
func (w *celWriter) list(l traits.Lister) (any, error) {
	n := l.Size().(types.Int)
	if int(n) > w.room/2 {
		return nil, fmt.Errorf("%w: the result is too large", errLimit)
	}
	out := make([]any, n)
	for i := range n {
		v, err := w.native(l.Get(i))
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

// object is an object as cel-go makes them.
func (w *celWriter) object(m traits.Mapper) (any, error) {
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		k := it.Next()
		name, err := celFieldName(k)
		if err != nil {
			return nil, err
		}
		w.room -= len(name)
		if out[name], err = w.native(m.Get(k)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// celFieldName is a key as CEL's mapping to JSON has it.
func celFieldName(key ref.Val) (string, error) {
	switch k := key.(type) {
	case types.String:
		return string(k), nil
	case types.Int, types.Uint, types.Bool:
		return string(k.ConvertToType(types.StringType).(types.String)), nil
	}
	return "", fmt.Errorf("the result has an object with a %s for a field's name", key.Type().TypeName())
}
