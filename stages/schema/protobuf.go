package schema

// Protobuf, by bufbuild/protocompile and dynamic messages. Data is binary, or
// protobuf's JSON when data_content_type says so.

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// rootFile is the schema's name among its imports.
	rootFile = "schema.proto"
	// maxMarks bounds the punctuation that begins or ends something in .proto files, and so their declarations
	// and how deep they are.
	maxMarks = 20_000
)

// compileProtobuf makes a schema of each message of the file.
func compileProtobuf(b *bundle, framed bool) (*compiled, error) {
	files := map[string]string{}
	marks := 0
	for _, r := range b.references {
		if files[r.name] == "" {
			marks += countMarks(r.text.Definition)
		}
		files[r.name] = r.text.Definition
	}
	root := freeName(files)
	files[root] = b.root.Definition
	if marks += countMarks(b.root.Definition); marks > maxMarks {
		return nil, fmt.Errorf("it has more than about %d declarations with its references", maxMarks/2)
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(path string) (io.ReadCloser, error) {
				text, ok := files[path]
				if !ok {
					return nil, fmt.Errorf("%s is not among the references that the registry has for the schema", path)
				}
				return io.NopCloser(strings.NewReader(text)), nil
			}}),
		MaxParallelism: 1,
	}
	linked, err := compiler.Compile(context.Background(), root)
	if err != nil {
		return nil, fmt.Errorf("it is not valid Protobuf: %w", err)
	}
	c := &compiled{messages: map[string]*stages.Schema{}, weight: weightPerByte * b.bytes}
	c.addMessages(b, framed, nil, linked[0].Messages())
	if c.schema == nil {
		return nil, fmt.Errorf("it has no message")
	}
	return c, nil
}

// freeName is a name for the schema itself that none of its imports has.
func freeName(files map[string]string) string {
	name := rootFile
	for files[name] != "" {
		name = "_" + name
	}
	return name
}

func countMarks(text string) int {
	n := 0
	for i := range len(text) {
		switch text[i] {
		case ';', '{', '[', '(', '<', ',':
			n++
		}
	}
	return n
}

// addMessages adds messages and those within them. The first one of the file is the schema's default.
func (c *compiled) addMessages(b *bundle, framed bool, path []int, messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		m := messages.Get(i)
		if m.IsMapEntry() {
			continue
		}
		at := slices.Concat(path, []int{i})
		s := newSchema(b, framed, at, protobufChecker(m, framed))
		if c.schema == nil {
			c.schema = s
		}
		c.messages[string(m.FullName())] = s
		c.addMessages(b, framed, at, m.Messages())
	}
}

func protobufChecker(m protoreflect.MessageDescriptor, framed bool) checker {
	return func(ev *stages.Event) *stages.Detail {
		if !isJSON(ev) {
			return checkProtobuf(m, ev.Data)
		}
		if framed {
			return jsonInFrame("Protobuf")
		}
		return checkProtobufJSON(m, ev.Data)
	}
}

// protobufOptions: 100 levels are what other languages' libraries read.
var protobufOptions = proto.UnmarshalOptions{RecursionLimit: 100}

func checkProtobuf(m protoreflect.MessageDescriptor, data []byte) *stages.Detail {
	if countFields(m, data, 0, 0) > maxValues {
		return violated(dataField, errTooMany.Error())
	}
	if err := protobufOptions.Unmarshal(data, dynamicpb.NewMessage(m)); err != nil {
		if path, problem, bad := locate(m, data, nil); bad {
			return violated(pointer(path), fmt.Sprintf("%s; a %s was expected", problem, m.FullName()))
		}
		return protobufViolation(m, err)
	}
	return nil
}

// countFields counts the fields of a message and of those within it, on top of n, until there are more than maxValues:
// an empty message of two bytes becomes some 370 in memory, 163 MiB for 900 kB of them. What cannot be read is left to
// the library.
func countFields(m protoreflect.MessageDescriptor, data []byte, n, depth int) int {
	for len(data) > 0 && n <= maxValues {
		number, kind, size := protowire.ConsumeTag(data)
		if size < 0 {
			return n
		}
		n++
		value := data[size:]
		length := protowire.ConsumeFieldValue(number, kind, value)
		if length < 0 {
			return n
		}
		data = value[length:]
		field := m.Fields().ByNumber(number)
		if field == nil || field.Message() == nil || depth == protobufOptions.RecursionLimit {
			continue
		}
		switch kind {
		case protowire.BytesType:
			inner, _ := protowire.ConsumeBytes(value)
			n = countFields(field.Message(), inner, n, depth+1)
		case protowire.StartGroupType:
			inner, _ := protowire.ConsumeGroup(number, value)
			n = countFields(field.Message(), inner, n, depth+1)
		}
	}
	return n
}

func checkProtobufJSON(m protoreflect.MessageDescriptor, data []byte) *stages.Detail {
	if _, err := boundJSON(data); err != nil {
		return violated(dataField, err.Error())
	}
	if err := (protojson.UnmarshalOptions{RecursionLimit: 100}).Unmarshal(data, dynamicpb.NewMessage(m)); err != nil {
		return protobufViolation(m, err)
	}
	return nil
}

func protobufViolation(m protoreflect.MessageDescriptor, err error) *stages.Detail {
	// The library varies the blanks in its errors, so that nobody relies on them.
	text := strings.TrimPrefix(strings.ReplaceAll(err.Error(), "\u00a0", " "), "proto: ")
	return violated(dataField, fmt.Sprintf("is not a valid %s: %s", m.FullName(), text))
}
