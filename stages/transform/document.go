package transform

// An event's data as JSON: the tree of values that programs get, and beside it
// where each value lies in the data, so that what a program leaves alone is
// written as it was received, byte by byte. jsontext reads it: of the well-kept
// decoders the only one that says where a token lies and has no limit or opinion
// of its own about numbers, names and text (docs/adr/0011).

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"
)

// maxDepth bounds how deep values may nest, in data and in what programs make of it: programs and the encoder
// recurse. encoding/json allows 10,000; nobody writes 100 by hand.
const maxDepth = 1000

// maxNodes bounds the values of one event's data that are built for programs, of some 150 bytes each: 900 KB of "[],"
// would make 50 MB for each worker, and nobody shapes events with as many values. A schema's documents have the same bound.
const maxNodes = 100_000

// node is one value of a document, in the order of the text.
type node struct {
	// value is what programs get.
	value any
	// name is the member's name, when the value is one of an object.
	name string
	// The text: data[at:end], with its name from nameAt.
	nameAt, at, end uint32
	// next is the index of the first node that is not within this one.
	next uint32
	// twice: an object with several members of one name. The last one counts.
	twice bool
}

// lying is where a node's value lies.
type lying struct {
	at   unsafe.Pointer
	node uint32
}

// document is the data of one event. The zero value is ready.
type document struct {
	data  []byte
	nodes []node
	// until is when reading has to end, by clock; 0 for never.
	until time.Duration
	// lie has where objects and arrays lie in memory, so that they are found where a program has put them. moved has
	// the same when they are many; made when first needed.
	lie   []lying
	moved map[unsafe.Pointer]uint32
	// long: lie has numbers of more than maxNumber characters too.
	long bool

	decoder jsontext.Decoder
	reader  bytes.Buffer

	strings slab[string]
	ints    slab[int]
	floats  slab[float64]
	numbers slab[json.Number]
	arrays  slab[[]any]
	values  slab[any]
	// text has strings that are escaped in the data.
	text []byte
	// maps are handed out from the front.
	maps []map[string]any
	used int
	// pending are the elements of the arrays that are being read.
	pending []any
}

var (
	stringBox = boxesOf[string]()
	intBox    = boxesOf[int]()
	floatBox  = boxesOf[float64]()
	numberBox = boxesOf[json.Number]()
	arrayBox  = boxesOf[[]any]()
)

// Maps with more members, longer texts and larger trees are not kept for the next event.
const (
	maxKeptMembers = 64
	maxKeptText    = 64 << 10
)

// readOptions: duplicate names and invalid UTF-8 are the sender's business. Programs see the last member of a
// name, and U+FFFD.
var readOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)}

// read makes the document that of data, which must not change before reset. Members that are not wanted are left out.
func (d *document) read(data []byte, want *wanted) (any, error) {
	d.reset()
	if len(data) == 0 {
		return nil, errors.New("data is empty; JSON is needed")
	}
	if len(data) > math.MaxUint32 {
		return nil, fmt.Errorf("data has %d bytes; programs get at most %d", len(data), uint32(math.MaxUint32))
	}
	d.data = data
	d.reader = *bytes.NewBuffer(data) // which the decoder reads where it is
	d.decoder.Reset(&d.reader, readOptions...)
	err := d.readValue(want, 0)
	if err == nil {
		err = d.readEnd()
	}
	if err != nil {
		d.reset()
		return nil, describe(err)
	}
	return d.nodes[0].value, nil
}

// reset lets go of the data and takes back what was handed out.
func (d *document) reset() {
	if d.data == nil {
		return
	}
	d.data, d.reader = nil, bytes.Buffer{}
	d.decoder.Reset(&d.reader)
	if cap(d.nodes) > maxSlab {
		d.nodes = nil
	}
	clear(d.nodes)
	d.nodes = d.nodes[:0]
	if cap(d.lie) > maxSlab {
		d.lie = nil
	}
	clear(d.lie)
	d.lie, d.moved, d.long = d.lie[:0], nil, false
	d.strings.reset()
	d.ints.reset()
	d.floats.reset()
	d.numbers.reset()
	d.arrays.reset()
	d.values.reset()
	if cap(d.text) > maxKeptText {
		d.text = nil
	}
	d.text = d.text[:0]
	for i, m := range d.maps[:d.used] {
		if len(m) > maxKeptMembers {
			d.maps[i] = map[string]any{}
		}
		clear(m)
	}
	if len(d.maps) > maxSlab {
		d.maps = d.maps[:maxSlab:maxSlab]
	}
	d.used = 0
	if cap(d.pending) > maxSlab {
		d.pending = nil
	}
	clear(d.pending)
	d.pending = d.pending[:0]
}

// describe is a decoder's error in our words: what is wrong, and where.
func describe(err error) error {
	if errors.Is(err, errLimit) {
		return err
	}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		return fmt.Errorf("data is not JSON: %w at byte %d", syntax.Err, syntax.ByteOffset)
	}
	return fmt.Errorf("data is not JSON: %w", err)
}

// offset is where the last token ended.
func (d *document) offset() uint32 { return uint32(d.decoder.InputOffset()) }

// readEnd makes sure that nothing but space follows the value.
func (d *document) readEnd() error {
	rest := d.data[d.offset():]
	for i, c := range rest {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return fmt.Errorf("%q follows the value at byte %d", c, int(d.offset())+i)
		}
	}
	return nil
}

// readValue reads one value into the next node.
func (d *document) readValue(want *wanted, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("values nest deeper than the %d levels that are allowed, at byte %d", maxDepth, d.offset())
	}
	i := len(d.nodes)
	if i%stepsPerLook == stepsPerLook-1 {
		if err := d.look(); err != nil {
			return err
		}
	}
	d.nodes = append(d.nodes, node{})
	var value any
	var at uint32
	var err error
	switch kind := d.decoder.PeekKind(); kind {
	case '{':
		value, at, err = d.readObject(i, want, depth)
	case '[':
		value, at, err = d.readArray(i, want.element(), depth)
	default:
		var raw jsontext.Value
		if raw, err = d.decoder.ReadValue(); err != nil {
			return err
		}
		at = d.offset() - uint32(len(raw))
		if value = d.scalar(kind, raw); kind == '0' && len(raw) > maxNumber {
			d.lie = append(d.lie, lying{wordOf(value).data, uint32(i)})
			d.long = true
		}
	}
	if err != nil {
		return err
	}
	n := &d.nodes[i]
	n.value, n.at, n.end, n.next = value, at, d.offset(), uint32(len(d.nodes))
	return nil
}

// look says whether reading may go on.
func (d *document) look() error {
	if len(d.nodes) > maxNodes {
		return fmt.Errorf("%w: data has more than the %d values that programs can have", errLimit, maxNodes)
	}
	if d.until != 0 && clock() > d.until {
		return fmt.Errorf("%w: reading data takes more than the time for one event (TRANSFORM_TIMEOUT)", errLimit)
	}
	return nil
}

func (d *document) readObject(i int, want *wanted, depth int) (value any, at uint32, err error) {
	if _, err := d.decoder.ReadToken(); err != nil {
		return nil, 0, err
	}
	at = d.offset() - 1
	m := d.newMap()
	members := 0
	for d.decoder.PeekKind() != '}' {
		raw, err := d.decoder.ReadValue()
		if err != nil {
			return nil, 0, err
		}
		end := d.offset()
		name := d.unquote(raw)
		inner, ok := want.member(name)
		if !ok {
			if _, err := d.decoder.ReadValue(); err != nil {
				return nil, 0, err
			}
			continue
		}
		child := len(d.nodes)
		if err := d.readValue(inner, depth+1); err != nil {
			return nil, 0, err
		}
		c := &d.nodes[child]
		c.name, c.nameAt = name, end-uint32(len(raw))
		m[name] = c.value
		members++
	}
	d.nodes[i].twice = len(m) < members
	d.lie = append(d.lie, lying{mapAt(m), uint32(i)})
	_, err = d.decoder.ReadToken()
	return m, at, err
}

func (d *document) readArray(i int, want *wanted, depth int) (value any, at uint32, err error) {
	if _, err := d.decoder.ReadToken(); err != nil {
		return nil, 0, err
	}
	at = d.offset() - 1
	first := len(d.pending)
	for d.decoder.PeekKind() != ']' {
		child := len(d.nodes)
		if err := d.readValue(want, depth+1); err != nil {
			return nil, 0, err
		}
		d.pending = append(d.pending, d.nodes[child].value)
	}
	elements := d.values.take(len(d.pending) - first)
	copy(elements, d.pending[first:])
	clear(d.pending[first:])
	d.pending = d.pending[:first]
	if len(elements) > 0 {
		d.lie = append(d.lie, lying{sliceAt(elements), uint32(i)})
	}
	_, err = d.decoder.ReadToken()
	return arrayBox.at(d.arrays.put(elements)), at, err
}

func (d *document) newMap() map[string]any {
	if d.used == len(d.maps) {
		d.maps = append(d.maps, map[string]any{})
	}
	d.used++
	return d.maps[d.used-1]
}

func (d *document) scalar(kind jsontext.Kind, raw []byte) any {
	switch kind {
	case '"':
		return stringBox.at(d.strings.put(d.unquote(raw)))
	case 't':
		return true
	case 'f':
		return false
	case '0':
		return d.number(textOf(raw))
	}
	return nil
}

// unquote is the text of a JSON string: a view into the data where nothing is escaped or invalid.
func (d *document) unquote(raw []byte) string {
	inner := raw[1 : len(raw)-1]
	if verbatim(inner) {
		return textOf(inner)
	}
	first := len(d.text)
	d.text, _ = jsontext.AppendUnquote(d.text, raw) // an error tells of what became U+FFFD
	return textOf(d.text[first:])
}

// verbatim reports whether nothing in b is escaped or invalid. Most texts are short: calls of bytes.IndexByte and
// utf8.Valid for each would take twice as long.
func verbatim(b []byte) bool {
	all := byte(0)
	for _, c := range b {
		if c == '\\' {
			return false
		}
		all |= c
	}
	return all < utf8.RuneSelf || utf8.Valid(b)
}

// maxNumber is the most characters of a number that programs get as it is. gojq makes a big.Int of its text at each
// use, in time that grows with the square of it: 1,000 digits take some 10 us, 880,000 took seconds. Numbers that mean
// something are shorter: a key of 2,048 bits has 617 digits.
const maxNumber = 1000

// longNumber is the float that is nearest; beyond all floats it is the largest, as with the literals of jq.
func longNumber(text string) float64 {
	// Not the text itself: of more than 800 digits before an exponent strconv forgets how many there are.
	digits, exponent := decimal(text)
	f, _ := strconv.ParseFloat("0."+digits+"e"+strconv.Itoa(exponent), 64)
	return math.Copysign(min(f, math.MaxFloat64), float64(1-2*strings.Count(text[:1], "-")))
}

// number is a number of JSON as one that loses nothing: int, float64, or its text. Only those longer than maxNumber are
// the nearest float.
func (d *document) number(text string) any {
	n, digits, fraction := plainNumber(text)
	switch {
	case digits == 0: // neither int nor a short float
	case fraction < 0:
		return intBox.at(d.ints.put(n))
	default: // both parts are exact, so their quotient is the float that is nearest to the number
		return floatBox.at(d.floats.put(float64(n) / tens[fraction]))
	}
	if len(text) > maxNumber {
		return floatBox.at(d.floats.put(longNumber(text)))
	}
	if n, err := strconv.Atoi(text); err == nil && n != 0 { // -0 as an int would lose its sign
		return intBox.at(d.ints.put(n))
	}
	if f, ok := exactFloat(text); ok {
		return floatBox.at(d.floats.put(f))
	}
	return numberBox.at(d.numbers.put(json.Number(text)))
}

// Numbers of up to this many digits are read here, the others by strconv: as ints they fit, and as floats they are
// exact, and survive the way to a float64 and back.
const (
	maxIntDigits   = 18
	maxFloatDigits = 15
)

var tens = [maxFloatDigits + 1]float64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15}

// plainNumber reads digits with a point or without: the number without its point, how many digits that are, and how
// many of them are behind the point, or -1. It returns 0 digits for what it does not read.
func plainNumber(text string) (n, digits, fraction int) {
	negative, fraction := text[0] == '-', -1
	for i := range len(text) {
		switch c := text[i]; {
		case c-'0' <= 9:
			n = 10*n + int(c-'0')
			if digits++; fraction >= 0 {
				fraction++
			}
		case c == '.':
			fraction = 0
		case c == '-' && i == 0:
		default: // an exponent
			return 0, 0, 0
		}
		if digits > maxIntDigits {
			return 0, 0, 0
		}
	}
	if fraction >= 0 && digits > maxFloatDigits || negative && n == 0 {
		return 0, 0, 0
	}
	if negative {
		n = -n
	}
	return n, digits, fraction
}

// exactFloat reads a number for which the float64 stands: the shortest text that means the float means the number.
func exactFloat(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, false
	}
	digits, exponent := decimal(text)
	if f == 0 {
		return f, digits == ""
	}
	back, backExponent := decimal(strconv.FormatFloat(f, 'e', -1, 64))
	return f, digits == back && exponent == backExponent
}

// maxPower is more than a number's digits can make up for.
const maxPower = 1 << 40

// decimal takes a number apart: its digits without zeros at the ends, and the power of ten before the first one.
func decimal(text string) (digits string, exponent int) {
	mantissa, power := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		mantissa = text[:i]
		power, _ = strconv.Atoi(text[i+1:])          // the nearest int if it does not fit
		power = max(-maxPower, min(power, maxPower)) // beyond which a float is 0 or none at all
	}
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	exponent = power + len(whole) - (len(whole) + len(fraction) - len(digits))
	return strings.TrimRight(digits, "0"), exponent
}
