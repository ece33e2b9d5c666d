package schema

// JSON from outside, as validators want it: maps, slices, exact numbers. What
// would cost out of proportion is refused first.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Bounds of JSON, in data and in schemas.
const (
	// maxDepth is how many objects and arrays may be inside each other: validators recurse.
	maxDepth = 100
	// maxValues bounds the values, about: each is some hundred bytes when something is wrong with it.
	maxValues = 100_000
	// maxNumberBytes and maxExponent bound numbers: they are compared exactly, and 1e999999 is a megabyte then.
	maxNumberBytes = 1000
	maxExponent    = 400
)

// decodeJSON reads one JSON value. Of members of one name, the last one counts. The error says where, and is
// the rest of a sentence that begins with what was read. values is about how many values there are, or more.
func decodeJSON(data []byte) (v any, values int, err error) {
	if len(data) == 0 {
		return nil, 0, errors.New("is empty; JSON was expected")
	}
	if !utf8.Valid(data) {
		return nil, 0, errors.New("is not JSON: it is not valid UTF-8")
	}
	if values, err = boundJSON(data); err != nil {
		return nil, 0, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return nil, 0, notJSON(err, len(data))
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, 0, fmt.Errorf("is not JSON: something follows the value at byte %d", decoder.InputOffset())
	}
	return v, values, nil
}

func notJSON(err error, size int) error {
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("is not JSON: %w, at byte %d", syntax, syntax.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fmt.Errorf("is not JSON: it ends in the middle, after %d bytes", size)
	}
	return fmt.Errorf("is not JSON: %w", err)
}

// boundJSON looks for what is too deep or too large, and counts values, or a few more. It does not check the
// syntax: the decoder does.
func boundJSON(data []byte) (values int, err error) {
	depth := 0
	values = 1
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			i = endOfString(data, i)
		case c == ',':
			values++
		case c == '{' || c == '[':
			values++
			if depth++; depth > maxDepth {
				return 0, fmt.Errorf("is nested deeper than %d levels at byte %d", maxDepth, i)
			}
		case c == '}' || c == ']':
			depth--
		case c >= '0' && c <= '9' || c == '-':
			end := endOfNumber(data, i)
			if !boundedNumber(data[i:end]) {
				return 0, fmt.Errorf("has a number at byte %d that is longer than %d bytes or has an exponent beyond %d",
					i, maxNumberBytes, maxExponent)
			}
			i = end - 1
		}
	}
	if values > maxValues {
		return 0, fmt.Errorf("has more than %d values", maxValues)
	}
	return values, nil
}

// endOfString is the index of the closing quote, or of the last byte.
func endOfString(data []byte, open int) int {
	for i := open + 1; ; {
		quote := bytes.IndexByte(data[i:], '"')
		if quote < 0 {
			return len(data)
		}
		end := i + quote
		escapes := 0
		for data[end-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return end
		}
		i = end + 1
	}
}

func endOfNumber(data []byte, i int) int {
	for ; i < len(data); i++ {
		switch c := data[i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return i
		}
	}
	return i
}

func boundedNumber(number []byte) bool {
	if len(number) < 5 { // 1e99
		return true
	}
	if len(number) > maxNumberBytes {
		return false
	}
	e := bytes.IndexAny(number, "eE")
	if e < 0 {
		return true
	}
	exponent := 0
	for _, c := range number[e+1:] {
		if c >= '0' && c <= '9' {
			exponent = exponent*10 + int(c-'0')
		}
		if exponent > maxExponent {
			return false
		}
	}
	return true
}
