package schema

// JSON from outside, as validators want it: maps, slices, exact numbers. jsontext
// reads it, as for rules (stages/transform): of the well-kept decoders a fast
// one that gives numbers as they are written. What would cost validators out of
// proportion is refused on the way.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of JSON, in data and in schemas.
const (
	// maxDepth is how many objects and arrays may be inside each other: validators recurse.
	maxDepth = 100
	// maxValues bounds the values: each is some hundred bytes when something is wrong with it.
	maxValues = 100_000
	// maxNumberBytes and maxExponent bound numbers: they are compared exactly, and 1e999999 is a megabyte then.
	maxNumberBytes = 1000
	maxExponent    = 400
)

// Where the value would be too much for validators. They are the rest of a sentence, before the byte.
var (
	errTooDeep    = fmt.Errorf("is nested deeper than %d levels", maxDepth)
	errTooMany    = fmt.Errorf("has more than %d values", maxValues)
	errLongNumber = fmt.Errorf("has a number that is longer than %d bytes or has an exponent beyond %d", maxNumberBytes, maxExponent)
)

// decodeJSON reads one JSON value and says how many values are in it. Of members of one name, the last one
// counts. The error says where, and is the rest of a sentence that begins with what was read.
func decodeJSON(data []byte) (v any, values int, err error) {
	if len(data) == 0 {
		return nil, 0, errors.New("is empty; JSON was expected")
	}
	r := readers.Get().(*reader)
	defer readers.Put(r)
	v, err = r.read(data)
	return v, r.values, err
}

// readers are used again: a decoder has a stack that it keeps.
var readers = sync.Pool{New: func() any { return new(reader) }}

// reader makes values of JSON.
type reader struct {
	decoder jsontext.Decoder
	source  bytes.Buffer
	values  int
}

func (r *reader) read(data []byte) (any, error) {
	defer r.reset(nil) // the data is not ours to keep
	r.reset(data)
	v, err := r.value(0)
	switch {
	case err != nil:
		return nil, r.explain(err, len(data))
	case r.decoder.PeekKind() != 0:
		return nil, fmt.Errorf("is not JSON: something follows the value at byte %d", r.decoder.InputOffset())
	}
	if _, err := r.decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("is not JSON: something follows the value at byte %d", r.decoder.InputOffset())
	}
	return v, nil
}

func (r *reader) reset(data []byte) {
	r.source = *bytes.NewBuffer(data) // which the decoder does not copy
	r.decoder.Reset(&r.source, jsontext.AllowDuplicateNames(true))
	if data != nil {
		r.values = 0
	}
}

func (r *reader) value(depth int) (any, error) {
	if r.values++; r.values > maxValues {
		return nil, errTooMany
	}
	kind := r.decoder.PeekKind()
	if (kind == '{' || kind == '[') && depth == maxDepth {
		return nil, errTooDeep
	}
	switch kind {
	case '{':
		return r.object(depth)
	case '[':
		return r.array(depth)
	}
	text, err := r.decoder.ReadValue()
	if err != nil {
		return nil, err
	}
	switch text.Kind() {
	case '"':
		return unquote(text), nil
	case '0':
		if !boundedNumber(text) {
			return nil, errLongNumber
		}
		return json.Number(text), nil
	case 't':
		return true, nil
	case 'f':
		return false, nil
	}
	return nil, nil
}

func (r *reader) object(depth int) (any, error) {
	if _, err := r.decoder.ReadToken(); err != nil {
		return nil, err
	}
	members := map[string]any{}
	for r.decoder.PeekKind() != '}' {
		text, err := r.decoder.ReadValue()
		if err != nil {
			return nil, err
		}
		name := unquote(text)
		if members[name], err = r.value(depth + 1); err != nil {
			return nil, err
		}
	}
	_, err := r.decoder.ReadToken()
	return members, err
}

func (r *reader) array(depth int) (any, error) {
	if _, err := r.decoder.ReadToken(); err != nil {
		return nil, err
	}
	items := []any{}
	for r.decoder.PeekKind() != ']' {
		item, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	_, err := r.decoder.ReadToken()
	return items, err
}

// unquote is the text of a JSON string, which the decoder has checked.
func unquote(text jsontext.Value) string {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1])
	}
	b, _ := jsontext.AppendUnquote(nil, text) // the decoder has checked it
	return string(b)
}

// explain says where and what.
func (r *reader) explain(err error, size int) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, errTooDeep), errors.Is(err, errTooMany), errors.Is(err, errLongNumber):
		return fmt.Errorf("%w, at byte %d", err, r.decoder.InputOffset())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("is not JSON: it ends in the middle, after %d bytes", size)
	case errors.As(err, &syntax):
		return fmt.Errorf("is not JSON: %w, at byte %d", syntax.Err, syntax.ByteOffset)
	}
	return fmt.Errorf("is not JSON: %w", err)
}
