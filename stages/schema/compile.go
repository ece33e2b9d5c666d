package schema

// From texts to something that checks data. Compilers run in a fetch's goroutine
// and cannot be told to stop, so what they get is bounded first.

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/event-gateway/event-gateway/stages"
)

// compiled is a schema that events can be held against. Never changed, shared by all workers.
type compiled struct {
	// schema is what events get that say nothing more.
	schema *stages.Schema
	// messages are the messages of a Protobuf file by full name; nil for other languages.
	messages map[string]*stages.Schema
	// weight is about how many bytes of memory all this takes.
	weight int
}

// What schemas take in memory, in bytes, for each byte of their text and for each state of a pattern: 20 to 70,
// and 130, measured for usual schemas and for the largest ones that are let through (limits_test.go).
const (
	weightPerByte  = 60
	weightPerState = 150
)

// checker says what is wrong with an event's data, nil when nothing is.
type checker func(ev *stages.Event) *stages.Detail

// compile makes a schema of a text and its references. framed: data gets Confluent's prefix. Errors are sentences.
func compile(b *bundle, framed bool) (c *compiled, err error) {
	defer func() {
		if p := recover(); p != nil { // the compilers are not ours, and the text is not the operator's
			c, err = nil, fmt.Errorf("its compiler failed: %v", p)
		}
	}()
	switch b.root.Type {
	case JSON:
		check, states, err := compileJSON(b)
		c = single(b, framed, check)
		c.weight += weightPerState * states
		return c, err
	case Avro:
		check, err := compileAvro(b, framed)
		return single(b, framed, check), err
	case Protobuf:
		return compileProtobuf(b, framed)
	}
	return nil, fmt.Errorf("it is in a language that the gateway does not know; JSON Schema, Avro and Protobuf are known")
}

func single(b *bundle, framed bool, check checker) *compiled {
	return &compiled{schema: newSchema(b, framed, nil, check), weight: weightPerByte * b.bytes}
}

// newSchema is what events get. index is the path of a Protobuf message in its file, nil for other languages.
func newSchema(b *bundle, framed bool, index []int, check checker) *stages.Schema {
	s := &stages.Schema{Subject: b.root.Subject, Version: b.root.Version, ID: b.root.ID, Check: check}
	if framed {
		s.Prefix = prefix(b.root.ID, index)
	}
	return s
}

// prefix is Confluent's wire format: a zero byte, the id, and for Protobuf the message's path as zigzag varints:
// how many, then each. The first message of the file is a single 0 for short.
func prefix(id int, index []int) []byte {
	b := binary.BigEndian.AppendUint32([]byte{0}, uint32(id))
	switch {
	case index == nil:
		return b
	case len(index) == 1 && index[0] == 0:
		return append(b, 0)
	}
	b = binary.AppendVarint(b, int64(len(index)))
	for _, i := range index {
		b = binary.AppendVarint(b, int64(i))
	}
	return b
}

// check holds an event's data against the schema.
func (c *compiled) check(ev *stages.Event) {
	s := c.schema
	if c.messages != nil && ev.More && len(ev.DataContentType.Value) > 0 {
		if named := messageType(ev.DataContentType.Value); named != "" {
			if s = c.messages[named]; s == nil {
				ev.Refuse(stages.AtValidate, stages.SchemaViolation, &stages.Detail{Field: "data_content_type",
					Message: "names the message type " + shown(named) + ", which the schema does not have"})
				return
			}
		}
	}
	if d := s.Check(ev); d != nil {
		ev.Refuse(stages.AtValidate, stages.SchemaViolation, d)
		return
	}
	ev.Schema, ev.More = s, true
}

// maxShown bounds what messages repeat of names and texts, in bytes.
const maxShown = 200

// shown is a name as it may stand in a message: short and readable.
func shown(s string) string {
	if len(s) > maxShown {
		s = s[:maxShown] + "..."
	}
	return fmt.Sprintf("%q", s)
}

// maxMessage bounds a message, in bytes.
const maxMessage = 400

// clip keeps a message short, in one line and valid UTF-8.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxMessage {
		s = s[:maxMessage]
		for len(s) > 0 && !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
