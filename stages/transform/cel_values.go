package transform

// JSON values as CEL sees them, and back: only what a program touches is
// converted, and what it moves comes out as the very value that went in, so that
// the encoder finds untouched parts of the document again.

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// celAdapter makes CEL values of Go values.
type celAdapter struct{ types.Adapter }

// NativeToValue implements types.Adapter.
func (a celAdapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case json.Number:
		return celNumber(string(v))
	case map[string]any:
		return types.NewMap[string, any](a, v)
	case []any:
		return types.NewList[any](a, v)
	case map[string]string:
		return types.NewMap[string, string](a, v)
	case []ref.Val:
		return types.NewList[ref.Val](a, v)
	}
	return a.Adapter.NativeToValue(value)
}

// celNumber is a number that is neither an int nor exactly a double.
func celNumber(text string) ref.Val {
	if u, err := strconv.ParseUint(text, 10, 64); err == nil {
		if u <= math.MaxInt64 {
			return types.Int(u)
		}
		return types.Uint(u)
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range: infinite, which compares as it should
	return exact{Double: types.Double(f), text: text}
}

// exact is a number of which the double that stands for it has lost something. Calls get the double (celDecorators);
// moved, it stays what it was. It equals nothing but itself.
type exact struct {
	types.Double
	text string
}

// ConvertToType implements ref.Val.
func (x exact) ConvertToType(t ref.Type) ref.Val {
	if t == types.StringType {
		return types.String(x.text)
	}
	return x.Double.ConvertToType(t)
}

// ConvertToNative implements ref.Val.
func (x exact) ConvertToNative(t reflect.Type) (any, error) {
	if t == reflect.TypeFor[json.Number]() {
		return json.Number(x.text), nil
	}
	return x.Double.ConvertToNative(t)
}

// Equal implements ref.Val.
func (x exact) Equal(other ref.Val) ref.Val {
	y, ok := other.(exact)
	return types.Bool(ok && x.text == y.text)
}

// Value implements ref.Val.
func (x exact) Value() any { return json.Number(x.text) }

// celWriter makes Go values of CEL values.
type celWriter struct {
	// room is what is left of the output in bytes, counted from below: a value that was not in the event takes at
	// least two.
	room int
	// done is closed when the time is up; may be nil.
	done <-chan struct{}
}

// check is called for each value.
func (w *celWriter) check() error {
	if w.room -= 2; w.room < 0 {
		return fmt.Errorf("%w: the result is too large", errLimit)
	}
	select {
	case <-w.done:
		return fmt.Errorf("%w: the result took too long", errLimit)
	default:
		return nil
	}
}

func (w *celWriter) native(value ref.Val) (any, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case types.Null:
		return nil, nil
	case types.Bool:
		return bool(v), nil
	case types.String:
		w.room -= len(v)
		return string(v), nil
	case types.Int:
		return int(v), nil
	case types.Uint:
		return json.Number(strconv.FormatUint(uint64(v), 10)), nil
	case types.Double:
		if f := float64(v); !math.IsInf(f, 0) && !math.IsNaN(f) {
			return f, nil
		}
		return nil, fmt.Errorf("the result has the number %v, which JSON cannot have", float64(v))
	case exact:
		return json.Number(v.text), nil
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

func (w *celWriter) list(l traits.Lister) (any, error) {
	if n, ok := l.Size().(types.Int); ok && int(n) > w.room/2 { // Value may build the list
		return nil, fmt.Errorf("%w: the result is too large", errLimit)
	}
	switch items := l.Value().(type) {
	case []any:
		return items, nil
	case []ref.Val:
		out := make([]any, len(items))
		for i, item := range items {
			v, err := w.native(item)
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	}
	n := l.Size().(types.Int)
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

func (w *celWriter) object(m traits.Mapper) (map[string]any, error) {
	switch fields := m.Value().(type) {
	case map[string]any:
		return fields, nil
	case map[ref.Val]ref.Val:
		out := make(map[string]any, len(fields))
		for k, item := range fields {
			if err := w.field(out, k, item); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	out := map[string]any{}
	for it := m.Iterator(); it.HasNext() == types.True; {
		k := it.Next()
		if err := w.field(out, k, m.Get(k)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (w *celWriter) field(out map[string]any, key, item ref.Val) error {
	var name string
	switch k := key.(type) {
	case types.String:
		name = string(k)
	case types.Int, types.Uint, types.Bool: // as CEL's mapping to JSON has it
		name = string(k.ConvertToType(types.StringType).(types.String))
	default:
		return fmt.Errorf("the result has an object with a %s for a field's name", key.Type().TypeName())
	}
	w.room -= len(name)
	v, err := w.native(item)
	if err != nil {
		return err
	}
	out[name] = v
	return nil
}
