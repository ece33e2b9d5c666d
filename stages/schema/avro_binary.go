package schema

// A walk over Avro's binary encoding, which makes nothing of it. Libraries make a
// map of each record, and a record may be a byte, or none: a megabyte of data
// was hundreds of them. FuzzAvroBinary holds the walk against twmb/avro.

import (
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// maxAvroDepth is how many types may be inside each other in the data, as in twmb/avro.
	maxAvroDepth = 1000
	// maxAvroValues bounds the values, a few nanoseconds each: null takes no byte.
	maxAvroValues = 2_000_000
)

// avroWalk is where a walk is. The zero value but for data is its start.
type avroWalk struct {
	data          []byte
	at            int
	depth, values int
}

// avroProblem is what is wrong, and where: path has its end first.
type avroProblem struct {
	message string
	path    []string
}

func (p *avroProblem) within(token string) *avroProblem {
	p.path = append(p.path, token)
	return p
}

// checkAvro holds binary data against a type.
func checkAvro(of *avroType, data []byte) *stages.Detail {
	w := avroWalk{data: data}
	p := w.value(of)
	if p == nil && w.at < len(data) {
		p = &avroProblem{message: fmt.Sprintf("is longer than its schema says: the value ends at byte %d of %d", w.at, len(data))}
	}
	if p == nil {
		return nil
	}
	tokens := make([]string, 0, len(p.path))
	for i := len(p.path) - 1; i >= 0; i-- {
		tokens = append(tokens, p.path[i])
	}
	return violated(pointer(tokens), p.message)
}

func (w *avroWalk) value(of *avroType) *avroProblem {
	if w.values++; w.values > maxAvroValues {
		return &avroProblem{message: fmt.Sprintf("has more than %d values", maxAvroValues)}
	}
	switch of.kind {
	case avroNull:
		return nil
	case avroBoolean:
		return w.boolean()
	case avroInt:
		_, p := w.whole(of, 32)
		return p
	case avroLong:
		_, p := w.whole(of, 64)
		return p
	case avroFloat:
		return w.bytes(of, 4)
	case avroDouble:
		return w.bytes(of, 8)
	case avroFixed:
		return w.bytes(of, of.size)
	case avroString, avroBytes:
		return w.text(of)
	case avroEnum:
		return w.enum(of)
	}
	if w.depth++; w.depth > maxAvroDepth {
		return &avroProblem{message: fmt.Sprintf("is nested deeper than %d levels", maxAvroDepth)}
	}
	p := w.compound(of)
	w.depth--
	return p
}

func (w *avroWalk) compound(of *avroType) *avroProblem {
	switch of.kind {
	case avroRecord:
		for i := range of.fields {
			if p := w.value(of.fields[i].of); p != nil {
				return p.within(of.fields[i].name)
			}
		}
		return nil
	case avroUnion:
		branch, p := w.whole(of, 32)
		if p != nil {
			return p
		}
		if branch < 0 || branch >= int64(len(of.branches)) {
			return w.wrong("has the union's branch %d; 0 to %d were expected", branch, len(of.branches)-1)
		}
		return w.value(of.branches[branch])
	}
	return w.blocks(of)
}

// blocks are those of an array or a map: a count and as many items, until a count of 0. A negative count is
// followed by the block's size in bytes, for those who skip it.
func (w *avroWalk) blocks(of *avroType) *avroProblem {
	for index := 0; ; {
		count, p := w.whole(of, 64)
		if p != nil || count == 0 {
			return p
		}
		end := -1
		if count < 0 {
			size, p := w.whole(of, 64)
			switch {
			case p != nil:
				return p
			case count == math.MinInt64 || size < 0 || size > int64(len(w.data)-w.at):
				return w.wrong("has a block of %d items in %d bytes, with %d left", count, size, len(w.data)-w.at)
			}
			count, end = -count, w.at+int(size)
		}
		for ; count > 0; count-- {
			if p := w.item(of, index); p != nil {
				return p
			}
			index++
		}
		if end >= 0 && w.at != end {
			return w.wrong("has a block that says it ends at byte %d, not here", end)
		}
	}
}

func (w *avroWalk) item(of *avroType, index int) *avroProblem {
	if of.kind == avroArray {
		if p := w.value(of.items); p != nil {
			return p.within(strconv.Itoa(index))
		}
		return nil
	}
	from := w.at
	if p := w.text(stringType); p != nil {
		return p
	}
	if p := w.value(of.items); p != nil {
		key := avroWalk{data: w.data, at: from}
		length, _ := key.whole(stringType, 64)
		return p.within(string(w.data[key.at : key.at+int(length)]))
	}
	return nil
}

var (
	stringType  = &avroType{kind: avroString, label: "string"}
	booleanType = &avroType{kind: avroBoolean, label: "boolean"}
)

func (w *avroWalk) boolean() *avroProblem {
	if w.at < len(w.data) && w.data[w.at] > 1 {
		return w.wrong("is %d; a boolean is 0 or 1", w.data[w.at])
	}
	return w.bytes(booleanType, 1)
}

// whole is a number, or an enum's or a union's index. bits is 32 or 64: longer encodings are wrong, whatever the
// number.
func (w *avroWalk) whole(of *avroType, bits int) (int64, *avroProblem) {
	var u uint64
	for shift := 0; w.at < len(w.data); shift += 7 {
		b := w.data[w.at]
		if last := bits - shift; last < 7 && b >= 1<<last {
			return 0, w.wrong("has a number of more than %d bits", bits)
		}
		w.at++
		u |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(u>>1) ^ -int64(u&1), nil
		}
	}
	return 0, w.wrong("ends in the middle of a %s", of.label)
}

func (w *avroWalk) enum(of *avroType) *avroProblem {
	symbol, p := w.whole(of, 32)
	if p == nil && (symbol < 0 || symbol >= int64(of.symbols)) {
		return w.wrong("has the symbol %d of %s; 0 to %d were expected", symbol, of.label, of.symbols-1)
	}
	return p
}

func (w *avroWalk) text(of *avroType) *avroProblem {
	length, p := w.whole(of, 64)
	if p != nil {
		return p
	}
	if length < 0 || length > int64(len(w.data)-w.at) {
		return w.wrong("says that its %s has %d bytes, of which %d are there", of.label, length, len(w.data)-w.at)
	}
	if of.kind == avroString && !utf8.Valid(w.data[w.at:w.at+int(length)]) {
		return w.wrong("is not valid UTF-8")
	}
	w.at += int(length)
	return nil
}

func (w *avroWalk) bytes(of *avroType, n int) *avroProblem {
	if n > len(w.data)-w.at {
		w.at = len(w.data)
		return w.wrong("ends in the middle of a %s", of.label)
	}
	w.at += n
	return nil
}

// wrong is a problem at the byte where the walk is.
func (w *avroWalk) wrong(format string, args ...any) *avroProblem {
	return &avroProblem{message: fmt.Sprintf(format, args...) + fmt.Sprintf(", at byte %d", w.at)}
}
