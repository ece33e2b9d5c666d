package schema

// The bounds of JSON that other libraries read by themselves: Avro's and
// Protobuf's, whose JSON only the schema explains.

import (
	"bytes"
	"fmt"
)

// boundJSON looks for what is too deep or too large, and counts objects. It does not check the syntax: the
// decoder does.
func boundJSON(data []byte) (objects int, err error) {
	depth, values := 0, 1
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			i = endOfString(data, i)
		case c == ',':
			values++
		case c == '{' || c == '[':
			values++
			if c == '{' {
				objects++
			}
			if depth++; depth > maxDepth {
				return 0, fmt.Errorf("%w, at byte %d", errTooDeep, i)
			}
		case c == '}' || c == ']':
			depth--
		case c >= '0' && c <= '9' || c == '-':
			end := endOfNumber(data, i)
			if !boundedNumber(data[i:end]) {
				return 0, fmt.Errorf("%w, at byte %d", errLongNumber, i)
			}
			i = end - 1
		}
	}
	if values > maxValues {
		return 0, errTooMany
	}
	return objects, nil
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
