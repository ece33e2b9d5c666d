package transform

// JSON values as CEL sees them. Lists and objects keep Go values and convert what
// a program touches; what it only moves comes out as the very value that went in,
// so that the encoder finds untouched parts of the document again.

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// celAdapter makes CEL values of Go values. rest does the types that are not here.
type celAdapter struct{ rest types.Adapter }

// NativeToValue implements types.Adapter.
func (a *celAdapter) NativeToValue(value any) ref.Val {
	switch v := value.(type) {
	case ref.Val:
		return v
	case string:
		return types.String(v)
	case map[string]any:
		return &celObject{adapter: a, fields: v}
	case []any:
		return &celList{adapter: a, items: v}
	case json.Number:
		return celNumber(string(v))
	case map[string]string:
		return types.NewMap[string, string](a, v)
	case []ref.Val:
		return types.NewList[ref.Val](a, v)
	case []string:
		return types.NewList[string](a, v)
	}
	return a.rest.NativeToValue(value)
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

// exact is a number of which the double that stands for it has lost something. Calls that count get the double
// (celDouble); moved, it stays what it was. It equals nothing but itself.
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

// Equal implements ref.Val.
func (x exact) Equal(other ref.Val) ref.Val {
	y, ok := other.(exact)
	return types.Bool(ok && x.text == y.text)
}

// Value implements ref.Val.
func (x exact) Value() any { return json.Number(x.text) }

// celList is a list: one of the event, or one that the program makes.
type celList struct {
	adapter *celAdapter
	// items are Go values, or CEL values.
	items []any
	// weight is what the list takes in JSON at least, in bytes, beside open items; 0 for lists of the event.
	weight int
	// open: some items are CEL values, which celWriter converts in place. Only in lists that the program makes.
	open bool
	// growing: only the comprehension that makes the list knows it.
	growing bool
}

// put is append.
func (l *celList) put(v any) {
	v, weight := plain(v)
	l.items = append(l.items, v)
	l.weight += weight
	l.open = l.open || weight == 0
}

// slow is the list as cel-go has it.
func (l *celList) slow() traits.Lister { return types.NewList[any](l.adapter, l.items) }

// Add implements traits.Adder.
func (l *celList) Add(other ref.Val) ref.Val { return l.slow().Add(other) }

// Contains implements traits.Container.
func (l *celList) Contains(value ref.Val) ref.Val {
	text, isText := value.(types.String)
	for _, item := range l.items {
		if s, ok := item.(string); ok && isText {
			if s == string(text) {
				return types.True
			}
		} else if types.Equal(l.adapter.NativeToValue(item), value) == types.True {
			return types.True
		}
	}
	return types.False
}

// ConvertToNative implements ref.Val.
func (l *celList) ConvertToNative(t reflect.Type) (any, error) { return l.slow().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (l *celList) ConvertToType(t ref.Type) ref.Val {
	if t == types.ListType {
		return l
	}
	return l.slow().ConvertToType(t)
}

// Equal implements ref.Val.
func (l *celList) Equal(other ref.Val) ref.Val {
	o, ok := other.(traits.Lister)
	if !ok || o.Size() != l.Size() {
		return types.False
	}
	for i, item := range l.items {
		if types.Equal(l.adapter.NativeToValue(item), o.Get(types.Int(i))) != types.True {
			return types.False
		}
	}
	return types.True
}

// Fold implements traits.Foldable.
func (l *celList) Fold(f traits.Folder) {
	for i, item := range l.items {
		if !f.FoldEntry(i, item) {
			return
		}
	}
}

// Get implements traits.Indexer.
func (l *celList) Get(index ref.Val) ref.Val {
	i, err := types.GetOrError(index)
	if err != nil {
		return types.WrapErr(err)
	}
	if i < 0 || i >= len(l.items) {
		return types.NewErr("index out of bounds: %d", i)
	}
	return l.adapter.NativeToValue(l.items[i])
}

// GetInt64Index is how cel-go asks for an item without converting it.
func (l *celList) GetInt64Index(i int64) (any, bool) {
	if i < 0 || i >= int64(len(l.items)) {
		return nil, false
	}
	return l.items[i], true
}

// IsZeroValue implements traits.Zeroer.
func (l *celList) IsZeroValue() bool { return len(l.items) == 0 }

// Iterator implements traits.Iterable.
func (l *celList) Iterator() traits.Iterator { return l.slow().Iterator() }

// Size implements traits.Sizer.
func (l *celList) Size() ref.Val { return types.Int(len(l.items)) }

// Type implements ref.Val.
func (l *celList) Type() ref.Type { return types.ListType }

// Value implements ref.Val.
func (l *celList) Value() any { return l.items }

// celObject is an object: one of the event, or one that the program makes.
type celObject struct {
	adapter *celAdapter
	// fields are Go values, or CEL values.
	fields map[string]any
	// names and vals are what a literal has until somebody asks for fields.
	names []string
	vals  []any
	// weight is what the object takes in JSON at least, in bytes, beside open fields; 0 for objects of the event.
	weight int
	// open: some fields are CEL values, which celWriter converts in place. Only in objects that the program makes.
	open bool
}

// count adds a field's value to what the writer needs to know.
func (o *celObject) count(name string, v any) any {
	v, weight := plain(v)
	o.weight += weight + len(name)
	o.open = o.open || weight == 0
	return v
}

// all are the fields.
func (o *celObject) all() map[string]any {
	if o.fields == nil {
		o.fields = make(map[string]any, len(o.names))
		for i, name := range o.names {
			o.fields[name] = o.vals[i]
		}
	}
	return o.fields
}

// plain makes a Go value of a CEL value if that is a matter of a few ns, and says what it takes in JSON at least,
// in bytes; 0 when it does not.
func plain(v any) (any, int) {
	switch x := v.(type) {
	case string:
		return v, 2 + len(x) // not x, which would be allocated
	case nil, bool, int, float64, json.Number, map[string]any, []any:
		return v, 2
	case types.String:
		return string(x), 2 + len(x)
	case types.Bool:
		return bool(x), 2
	case types.Int:
		return int(x), 2
	case types.Null:
		return nil, 2
	}
	return v, 0
}

// slow is the object as cel-go has it.
func (o *celObject) slow() traits.Mapper { return types.NewMap[string, any](o.adapter, o.all()) }

// Contains implements traits.Container.
func (o *celObject) Contains(key ref.Val) ref.Val {
	k, ok := key.(types.String)
	if ok {
		_, ok = o.all()[string(k)]
	}
	return types.Bool(ok)
}

// ConvertToNative implements ref.Val.
func (o *celObject) ConvertToNative(t reflect.Type) (any, error) { return o.slow().ConvertToNative(t) }

// ConvertToType implements ref.Val.
func (o *celObject) ConvertToType(t ref.Type) ref.Val {
	if t == types.MapType {
		return o
	}
	return o.slow().ConvertToType(t)
}

// Equal implements ref.Val.
func (o *celObject) Equal(other ref.Val) ref.Val {
	m, ok := other.(traits.Mapper)
	if !ok || m.Size() != o.Size() {
		return types.False
	}
	for k, field := range o.all() {
		v, found := m.Find(types.String(k))
		if !found || types.Equal(o.adapter.NativeToValue(field), v) != types.True {
			return types.False
		}
	}
	return types.True
}

// Find implements traits.Mapper.
func (o *celObject) Find(key ref.Val) (ref.Val, bool) {
	if k, ok := key.(types.String); ok {
		if v, ok := o.all()[string(k)]; ok {
			return o.adapter.NativeToValue(v), true
		}
	}
	return nil, false
}

// FindStringKey is how cel-go asks for a field without converting it.
func (o *celObject) FindStringKey(k string) (any, bool) {
	v, ok := o.all()[k]
	return v, ok
}

// Fold implements traits.Foldable, in the order of the names: the same event gives the same result each time.
func (o *celObject) Fold(f traits.Folder) {
	for _, k := range slices.Sorted(maps.Keys(o.all())) {
		if !f.FoldEntry(types.String(k), o.all()[k]) {
			return
		}
	}
}

// Get implements traits.Indexer.
func (o *celObject) Get(key ref.Val) ref.Val {
	v, ok := o.Find(key)
	if !ok {
		return types.NewErr("no such key: %v", key)
	}
	return v
}

// IsZeroValue implements traits.Zeroer.
func (o *celObject) IsZeroValue() bool { return len(o.all()) == 0 }

// Iterator implements traits.Iterable.
func (o *celObject) Iterator() traits.Iterator { return o.slow().Iterator() }

// Size implements traits.Sizer.
func (o *celObject) Size() ref.Val { return types.Int(len(o.all())) }

// Type implements ref.Val.
func (o *celObject) Type() ref.Type { return types.MapType }

// Value implements ref.Val.
func (o *celObject) Value() any { return o.all() }
