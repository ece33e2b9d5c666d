package schema

// An Avro schema as a walk over binary data needs it: named types are resolved,
// and everything that says nothing about bytes is gone. twmb/avro has read and
// checked the schema before.

import (
	"fmt"
	"strings"

	"github.com/twmb/avro"
)

// avroKind is what a type is in the data.
type avroKind uint8

const (
	avroNull avroKind = iota + 1
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroBytes
	avroString
	avroFixed
	avroEnum
	avroArray
	avroMap
	avroUnion
	avroRecord
)

// avroKinds are the kinds by their names in schemas. error is a record (protocols have those).
var avroKinds = map[string]avroKind{"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong, "float": avroFloat,
	"double": avroDouble, "bytes": avroBytes, "string": avroString, "fixed": avroFixed, "enum": avroEnum, "array": avroArray,
	"map": avroMap, "union": avroUnion, "record": avroRecord, "error": avroRecord}

// avroType is one type. Types refer to each other, in circles if the schema is recursive.
type avroType struct {
	kind avroKind
	// label is the type's name in messages.
	label  string
	fields []avroField
	// items are those of an array, or the values of a map.
	items    *avroType
	branches []*avroType
	symbols  int
	size     int
}

type avroField struct {
	name string
	of   *avroType
}

// avroTypes makes types of a schema's nodes.
type avroTypes struct {
	defined map[string]*avroType
	// defaults is the largest number of fields with defaults that a record has.
	defaults int
}

// convert makes a type of a node. namespace is that of the type around it.
func (t *avroTypes) convert(n *avro.SchemaNode, namespace string) (*avroType, error) {
	of := &avroType{kind: avroKinds[n.Type], label: n.Type}
	var err error
	switch of.kind {
	case avroRecord, avroEnum, avroFixed:
		return of, t.define(of, n)
	case avroArray:
		of.items, err = t.convert(n.Items, namespace)
		return of, err
	case avroMap:
		of.items, err = t.convert(n.Values, namespace)
		return of, err
	case avroUnion:
		for i := range n.Branches {
			branch, err := t.convert(&n.Branches[i], namespace)
			if err != nil {
				return nil, err
			}
			of.branches = append(of.branches, branch)
		}
		return of, nil
	case 0:
		return t.named(n.Type, namespace)
	}
	return of, nil // a primitive
}

// named finds a type that was defined before.
func (t *avroTypes) named(name, namespace string) (*avroType, error) {
	for _, full := range []string{fullName(name, namespace), name} {
		if of := t.defined[full]; of != nil {
			return of, nil
		}
	}
	return nil, fmt.Errorf("it uses the type %s, which is not defined", shown(name))
}

// define completes a named type. It is known by its name before its fields are, which may refer to it.
func (t *avroTypes) define(of *avroType, n *avro.SchemaNode) error {
	full := fullName(n.Name, n.Namespace)
	namespace := ""
	if dot := strings.LastIndexByte(full, '.'); dot >= 0 {
		namespace = full[:dot]
	}
	of.label += " " + shown(full)
	of.symbols, of.size = len(n.Symbols), n.Size
	t.defined[full] = of
	defaults := 0
	for i := range n.Fields {
		f := &n.Fields[i]
		if f.HasDefault {
			defaults++
		}
		field, err := t.convert(&f.Type, namespace)
		if err != nil {
			return err
		}
		of.fields = append(of.fields, avroField{f.Name, field})
	}
	t.defaults = max(t.defaults, defaults)
	return nil
}

func fullName(name, namespace string) string {
	if namespace == "" || strings.Contains(name, ".") {
		return name
	}
	return namespace + "." + name
}
