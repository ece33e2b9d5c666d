package schema

// Avro, by twmb/avro. Data is binary, or Avro's JSON when data_content_type says
// so.

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
	var types avro.SchemaCache // of the references: a schema may use what those before it define
	for _, r := range b.references {
		if err := boundAvro(r.text.Definition, &nodes); err != nil {
			return nil, err
		}
		if _, err := types.Parse(r.text.Definition); err != nil {
			return nil, fmt.Errorf("its reference %s is not a valid Avro schema: %w", shown(r.name), err)
		}
	}
	if err := boundAvro(b.root.Definition, &nodes); err != nil {
		return nil, err
	}
	s, err := types.Parse(b.root.Definition)
	if err != nil {
		return nil, fmt.Errorf("it is not a valid Avro schema: %w", err)
	}
	return func(ev *stages.Event) *stages.Detail {
		if !isJSON(ev) {
			return checkAvro(s, ev.Data)
		}
		if framed {
			return jsonInFrame("Avro")
		}
		return checkAvroJSON(s, ev.Data)
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

func checkAvro(s *avro.Schema, data []byte) *stages.Detail {
	var v any
	rest, err := s.Decode(data, &v, avro.AliasInput())
	if err != nil {
		return avroViolation(err, len(data))
	}
	if len(rest) > 0 {
		return violated(dataField, fmt.Sprintf("is longer than its schema says: the value ends at byte %d of %d",
			len(data)-len(rest), len(data)))
	}
	return nil
}

func checkAvroJSON(s *avro.Schema, data []byte) *stages.Detail {
	if err := boundJSON(data); err != nil {
		return violated(dataField, err.Error())
	}
	if !json.Valid(data) {
		_, _, err := decodeJSON(data)
		return violated(dataField, orElse(err, "is not JSON"))
	}
	var v any
	if err := s.DecodeJSON(bytes.TrimSpace(data), &v); err != nil {
		return avroViolation(err, len(data))
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
func avroViolation(err error, size int) *stages.Detail {
	field := dataField
	var semantic *avro.SemanticError
	if errors.As(err, &semantic) && semantic.Field != "" {
		field = pointer(strings.Split(semantic.Field, "."))
		if semantic.Err != nil {
			err = semantic.Err
		}
	}
	var short *avro.ShortBufferError
	if errors.As(err, &short) {
		return violated(field, fmt.Sprintf("ends in the middle of a %s, after %d bytes of data", short.Type, size))
	}
	return violated(field, "does not match the Avro schema: "+strings.ReplaceAll(err.Error(), "avro: ", ""))
}

// jsonInFrame: consumers of the wire format would read the JSON as binary.
func jsonInFrame(language string) *stages.Detail {
	return violated("data_content_type", "says JSON; with SCHEMA_WIRE_FORMAT=confluent the data of this schema must be "+
		"binary "+language)
}
