package schema

// Avro: twmb/avro reads schemas, and data that is JSON because data_content_type
// says so; see avro_binary.go for binary data.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/twmb/avro"

	"github.com/event-gateway/event-gateway/stages"
)

// compileAvro makes a checker. framed: the data gets a prefix that says binary, so it must be.
func compileAvro(b *bundle, framed bool) (checker, error) {
	nodes := 0
	var known avro.SchemaCache // of the references: a schema may use what those before it define
	for _, r := range b.references {
		if err := boundAvro(r.text.Definition, &nodes); err != nil {
			return nil, err
		}
		if _, err := known.Parse(r.text.Definition); err != nil {
			return nil, fmt.Errorf("its reference %s is not a valid Avro schema: %w", shown(r.name), err)
		}
	}
	if err := boundAvro(b.root.Definition, &nodes); err != nil {
		return nil, err
	}
	s, err := known.Parse(b.root.Definition)
	if err != nil {
		return nil, fmt.Errorf("it is not a valid Avro schema: %w", err)
	}
	types := avroTypes{defined: map[string]*avroType{}}
	of, err := types.convert(s.Root(), "")
	if err != nil {
		return nil, err
	}
	return func(ev *stages.Event) *stages.Detail {
		if !isJSON(ev) {
			return checkAvro(of, ev.Data)
		}
		if framed {
			return jsonInFrame("Avro")
		}
		return checkAvroJSON(s, ev.Data, types.defaults)
	}, nil
}

// boundAvro counts the tokens of a schema, which is cheap, before anybody makes something of them.
func boundAvro(definition string, nodes *int) error {
	decoder := json.NewDecoder(strings.NewReader(definition))
	decoder.UseNumber()
	for {
		_, err := decoder.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return nil // a bare type name, or nonsense: the parser's to judge
		}
		if *nodes++; *nodes > 2*maxNodes {
			return fmt.Errorf("it has more than %d JSON values with its references", maxNodes)
		}
	}
}

// maxDefaults bounds the fields that the library fills with defaults because the data leaves them out.
const maxDefaults = 500_000

// checkAvroJSON holds JSON against the schema. defaults is how many a record may be filled with.
func checkAvroJSON(s *avro.Schema, data []byte, defaults int) *stages.Detail {
	objects, err := boundJSON(data)
	if err != nil {
		return violated(dataField, err.Error())
	}
	if !json.Valid(data) {
		_, _, err := decodeJSON(data)
		return violated(dataField, orElse(err, "is not JSON"))
	}
	if objects*defaults > maxDefaults {
		return violated(dataField, fmt.Sprintf("has %d objects; with up to %d defaults each, these are more than %d fields",
			objects, defaults, maxDefaults))
	}
	var v any
	if err := s.DecodeJSON(bytes.TrimSpace(data), &v); err != nil {
		return avroViolation(err)
	}
	return nil
}

func orElse(err error, otherwise string) string {
	if err == nil {
		return otherwise
	}
	return err.Error()
}

// avroViolation finds the field in the library's error.
func avroViolation(err error) *stages.Detail {
	field := dataField
	var semantic *avro.SemanticError
	if errors.As(err, &semantic) && semantic.Field != "" {
		field = pointer(strings.Split(semantic.Field, "."))
		if semantic.Err != nil {
			err = semantic.Err
		}
	}
	return violated(field, "does not match the Avro schema: "+strings.ReplaceAll(err.Error(), "avro: ", ""))
}

// jsonInFrame: consumers of the wire format would read the JSON as binary.
func jsonInFrame(language string) *stages.Detail {
	return violated("data_content_type", "says JSON; with SCHEMA_WIRE_FORMAT=confluent the data of this schema must be "+
		"binary "+language)
}
