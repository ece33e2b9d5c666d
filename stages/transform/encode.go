package transform

// What a program made, written as JSON beside the data that it was made of:
// where a value is the one that was there, its bytes are copied. So an object
// keeps the order of its members and all members of one name, a number keeps its
// digits, and a text its escapes, as long as no rule changes them.

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// nowhere is the place of a value that has no counterpart in the data.
const nowhere = math.MaxUint32

// encoder writes one value.
type encoder struct {
	*document
	out []byte
	// limit is the most bytes.
	limit int
}

// encode appends the JSON of v to dst, at most limit bytes. v may hold values of the document, which must not
// have been changed in place.
func (d *document) encode(dst []byte, v any, limit int) ([]byte, error) {
	e := encoder{document: d, out: dst, limit: len(dst) + limit}
	root := uint32(nowhere)
	if len(d.nodes) > 0 {
		root = 0
	}
	err := e.value(v, root, 0)
	if err == nil {
		err = e.fits(0)
	}
	return e.out, err
}

// fits says whether n more bytes are within the limit.
func (e *encoder) fits(n int) error {
	if len(e.out)+n > e.limit {
		return fmt.Errorf("%w: the new data has more than the %d bytes that are allowed", errLimit, e.limit)
	}
	return nil
}

// copyNode writes a value of the data as it is there.
func (e *encoder) copyNode(n *node) error {
	if err := e.fits(int(n.end - n.at)); err != nil {
		return err
	}
	e.out = append(e.out, e.data[n.at:n.end]...)
	return nil
}

// value writes v, whose counterpart in the data is the node at, or nowhere.
func (e *encoder) value(v any, at uint32, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: the new data nests deeper than the %d levels that are allowed", errLimit, maxDepth)
	}
	if at != nowhere && unchanged(v, e.nodes[at].value) {
		return e.copyNode(&e.nodes[at])
	}
	lies := wordOf(v).data
	switch v := v.(type) {
	case map[string]any:
		if n := e.find(mapAt(v)); n != nil {
			return e.copyNode(n)
		}
		return e.object(v, at, depth)
	case []any:
		if len(v) > 0 {
			if n := e.find(sliceAt(v)); n != nil && len(n.value.([]any)) == len(v) {
				return e.copyNode(n)
			}
		}
		return e.array(v, at, depth)
	case string:
		return e.string(v)
	case float64:
		if !e.long {
			break
		}
		if n := e.find(lies); n != nil { // a long number that has been moved
			return e.copyNode(n)
		}
	}
	return e.scalar(v, depth)
}

// unchanged reports whether a program left the old value where it was.
func unchanged(v, old any) bool {
	if same(v, old) {
		return true
	}
	switch v := v.(type) {
	case nil:
		return old == nil
	case bool:
		o, ok := old.(bool)
		return ok && o == v
	case string:
		o, ok := old.(string)
		return ok && o == v
	case int:
		o, ok := old.(int)
		return ok && o == v
	case float64:
		o, ok := old.(float64)
		return ok && o == v && math.Signbit(o) == math.Signbit(v)
	case json.Number:
		o, ok := old.(json.Number)
		return ok && o == v
	case map[string]any:
		o, ok := old.(map[string]any)
		return ok && mapAt(o) == mapAt(v)
	case []any:
		o, ok := old.([]any)
		return ok && len(o) == len(v) && (len(v) == 0 || sliceAt(o) == sliceAt(v))
	}
	return false
}

// fewValues are found sooner one by one than by a map that has to be made first.
const fewValues = 32

// find is the object or array of the data that lies at p in memory, or nil.
func (d *document) find(p unsafe.Pointer) *node {
	if len(d.lie) <= fewValues {
		for i := range d.lie {
			if d.lie[i].at == p {
				return &d.nodes[d.lie[i].node]
			}
		}
		return nil
	}
	if d.moved == nil {
		d.moved = make(map[unsafe.Pointer]uint32, len(d.lie))
		for _, l := range d.lie {
			d.moved[l.at] = l.node
		}
	}
	if i, ok := d.moved[p]; ok {
		return &d.nodes[i]
	}
	return nil
}

// object writes the members that were there in their order, then the new ones by name.
func (e *encoder) object(v map[string]any, at uint32, depth int) error {
	e.out = append(e.out, '{')
	first := len(e.out)
	var old map[string]any
	written := 0
	if at != nowhere {
		old, _ = e.nodes[at].value.(map[string]any)
	}
	if old != nil {
		parent := &e.nodes[at]
		for i := at + 1; i < parent.next; i = e.nodes[i].next {
			member := &e.nodes[i]
			value, ok := v[member.name]
			if !ok {
				continue
			}
			last := !parent.twice || e.isLast(i, parent.next)
			if last {
				written++
			} else if !unchanged(value, old[member.name]) {
				continue // the last one of the name is written, and alone
			}
			if err := e.member(member, value, i, last, first, depth); err != nil {
				return err
			}
		}
	}
	if written < len(v) {
		if err := e.newMembers(v, old, first, depth); err != nil {
			return err
		}
	}
	e.out = append(e.out, '}')
	return e.fits(0)
}

// member writes a member that was there. One that is not the last of its name is written as it was.
func (e *encoder) member(n *node, value any, at uint32, last bool, first, depth int) error {
	if len(e.out) > first {
		e.out = append(e.out, ',')
	}
	if !last || unchanged(value, n.value) {
		if err := e.fits(int(n.end - n.nameAt)); err != nil {
			return err
		}
		e.out = append(e.out, e.data[n.nameAt:n.end]...)
		return nil
	}
	if err := e.string(n.name); err != nil {
		return err
	}
	e.out = append(e.out, ':')
	return e.value(value, at, depth+1)
}

// isLast reports whether no later member has the name of the node i. end is where the object's nodes end.
func (e *encoder) isLast(i, end uint32) bool {
	name := e.nodes[i].name
	for j := e.nodes[i].next; j < end; j = e.nodes[j].next {
		if e.nodes[j].name == name {
			return false
		}
	}
	return true
}

// newMembers writes the members of v whose names old does not have.
func (e *encoder) newMembers(v, old map[string]any, first, depth int) error {
	var few [16]string
	names := few[:0]
	for name := range v {
		if _, ok := old[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if len(e.out) > first {
			e.out = append(e.out, ',')
		}
		if err := e.string(name); err != nil {
			return err
		}
		e.out = append(e.out, ':')
		if err := e.value(v[name], nowhere, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) array(v []any, at uint32, depth int) error {
	e.out = append(e.out, '[')
	child, end := uint32(nowhere), uint32(0)
	if at != nowhere {
		if _, ok := e.nodes[at].value.([]any); ok {
			child, end = at+1, e.nodes[at].next
		}
	}
	for i, element := range v {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if child >= end {
			child = nowhere
		}
		if err := e.value(element, child, depth+1); err != nil {
			return err
		}
		if child != nowhere {
			child = e.nodes[child].next
		}
	}
	e.out = append(e.out, ']')
	return e.fits(0)
}

func (e *encoder) string(s string) error {
	if err := e.fits(len(s) + 2); err != nil {
		return err
	}
	e.out, _ = jsontext.AppendQuote(e.out, s) // an error tells of what became U+FFFD
	return e.fits(0)
}

// scalar writes what is neither object, array nor text, and brings other types of Go to these.
func (e *encoder) scalar(v any, depth int) error {
	switch v := v.(type) {
	case nil:
		e.out = append(e.out, "null"...)
	case bool:
		e.out = strconv.AppendBool(e.out, v)
	case int:
		e.out = strconv.AppendInt(e.out, int64(v), 10)
	case float64:
		e.out = appendFloat(e.out, v)
	case json.Number:
		if !jsontext.Value(v).IsValid() {
			return fmt.Errorf("%q is not a number of JSON", string(v))
		}
		e.out = append(e.out, v...)
	case *big.Int:
		if err := e.fits(v.BitLen() / 4); err != nil { // a digit takes 3.3 bits
			return err
		}
		e.out = v.Append(e.out, 10)
	case time.Time:
		return e.string(v.Format(time.RFC3339Nano))
	case time.Duration:
		return e.string(v.String())
	default:
		return e.foreign(reflect.ValueOf(v), depth)
	}
	return e.fits(0)
}

// foreign writes the types that some language's own functions give: expr's split makes a []string.
func (e *encoder) foreign(v reflect.Value, depth int) error {
	switch v.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.out = strconv.AppendInt(e.out, v.Int(), 10)
		return e.fits(0)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.out = strconv.AppendUint(e.out, v.Uint(), 10)
		return e.fits(0)
	case reflect.Float32:
		e.out = appendFloat(e.out, v.Float())
		return e.fits(0)
	case reflect.Slice, reflect.Array:
		if err := e.fits(v.Len()); err != nil {
			return err
		}
		values := make([]any, v.Len())
		for i := range values {
			values[i] = v.Index(i).Interface()
		}
		return e.array(values, nowhere, depth)
	case reflect.Map:
		members := make(map[string]any, v.Len())
		for _, key := range v.MapKeys() {
			members[fmt.Sprint(key.Interface())] = v.MapIndex(key).Interface()
		}
		return e.object(members, nowhere, depth)
	}
	return fmt.Errorf("a value of the type %s cannot be written as JSON", v.Type())
}

// appendFloat writes f as JavaScript and encoding/json do. What JSON has no number for is written as jq does: not
// a number as null, infinity as the largest float.
func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "null"...)
	case math.IsInf(f, 0):
		f = math.Copysign(math.MaxFloat64, f)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		text := strconv.FormatFloat(f, 'e', -1, 64)
		return append(dst, strings.Replace(text, "e-0", "e-", 1)...)
	}
	return strconv.AppendFloat(dst, f, 'f', -1, 64)
}
