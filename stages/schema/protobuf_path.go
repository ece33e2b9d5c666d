package schema

// Where Protobuf data stops being readable. The library does not say, so data
// that it has refused is walked once more, along the descriptor.

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// locate returns the path of the field whose bytes cannot be read, and what is wrong with them; bad is false when
// the walk finds nothing wrong.
func locate(m protoreflect.MessageDescriptor, data []byte, path []string) (at []string, problem string, bad bool) {
	if len(path) > 2*protobufOptions.RecursionLimit { // a repeated field has a name and an index
		return path, "is nested too deeply", true
	}
	seen := map[protowire.Number]int{}
	for len(data) > 0 {
		number, wire, n := protowire.ConsumeTag(data)
		if n < 0 {
			return path, "has something that is not a field", true
		}
		data = data[n:]
		field := m.Fields().ByNumber(number)
		at = slices.Clone(path)
		switch {
		case field == nil:
			at = append(at, strconv.Itoa(int(number)))
		case field.IsList():
			at = append(at, string(field.Name()), strconv.Itoa(seen[number]))
			seen[number]++
		default:
			at = append(at, string(field.Name()))
		}
		if n = protowire.ConsumeFieldValue(number, wire, data); n < 0 {
			return at, "ends in the middle, or is no " + wireName(wire), true
		}
		if field != nil && wire == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(data)
			if at, problem, bad := locateIn(field, value, at); bad {
				return at, problem, true
			}
		}
		data = data[n:]
	}
	return path, "", false
}

func locateIn(field protoreflect.FieldDescriptor, value []byte, path []string) (at []string, problem string, bad bool) {
	switch {
	case field.Kind() == protoreflect.MessageKind:
		return locate(field.Message(), value, path)
	case field.Kind() == protoreflect.StringKind && !utf8.Valid(value):
		return path, "is not valid UTF-8", true
	}
	return path, "", false
}

func wireName(t protowire.Type) string {
	switch t {
	case protowire.VarintType:
		return "varint"
	case protowire.BytesType:
		return "length and as many bytes"
	case protowire.StartGroupType, protowire.EndGroupType:
		return "group"
	}
	return "fixed number"
}
