package cli

// Where published events come from: a template (generated load) or encoded
// events that a reader hands over (flags, JSON lines).

import (
	"context"
	"math/rand/v2"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// source yields the events of one stream, each encoded with its tag and length.
type source interface {
	// next appends at most n events to dst and says how many; 0 = there are no more. It waits for the
	// first event only, and not longer than ctx.
	next(ctx context.Context, dst []byte, n int) ([]byte, int)
}

// The digits of a generated event's number in its id, and of its key.
const (
	idDigits  = 12
	keyDigits = 8
)

// template is what all generated events of a run have in common.
type template struct {
	// head is tag, lengths and all fields up to data, tail the fields after it.
	head, tail []byte
	// idAt and keyAt are where the digits go, in head and tail; keyAt < 0 = the key does not change.
	idAt, keyAt int
	keys        int64
	// letters is random text that every event takes its data from, at a place of its own, so that
	// compression finds no two events alike.
	letters []byte
	size    int
}

// letterPool is the length of the random text beyond one event's data: large enough that an event and
// its twin are some hundred events apart, small enough to stay in the L2 cache.
const letterPool = 64 << 10

// eventFields are the attributes that generated events share.
type eventFields struct {
	eventType, source, subject, key, contentType, run string
	metadata                                          map[string]string
}

func newTemplate(f eventFields, keys, size int) *template {
	t := &template{keys: int64(keys), size: size, keyAt: -1}
	fields := appendString(nil, 1, f.run+"-")
	fields[1] += idDigits // the length of the id: below 128, so one byte
	idAt := len(fields)
	fields = append(fields, strings.Repeat("0", idDigits)...)
	fields = appendString(fields, 2, f.source)
	fields = appendString(fields, 3, f.eventType)
	fields = appendString(fields, 4, f.subject)
	if size > 0 {
		fields = protowire.AppendTag(fields, 5, protowire.BytesType)
		fields = protowire.AppendVarint(fields, uint64(size))
	}
	t.tail = appendString(nil, 6, f.contentType)
	for name, value := range f.metadata {
		entry := appendString(appendString(nil, 1, name), 2, value)
		t.tail = appendString(t.tail, 9, string(entry))
	}
	if keys > 0 {
		t.tail = appendString(t.tail, 12, "key-00000000")
		t.keyAt = len(t.tail) - keyDigits
	} else {
		t.tail = appendString(t.tail, 12, f.key)
	}
	t.head = protowire.AppendTag(nil, 1, protowire.BytesType)
	t.head = protowire.AppendVarint(t.head, uint64(len(fields)+size+len(t.tail)))
	t.idAt = len(t.head) + idAt
	t.head = append(t.head, fields...)

	random := rand.New(rand.NewPCG(1, 2)) // the same text in every run
	t.letters = make([]byte, letterPool+size)
	for i := range t.letters {
		t.letters[i] = 'a' + byte(random.IntN(26))
	}
	return t
}

// appendString appends a string field, nothing when it is empty.
func appendString(dst []byte, field protowire.Number, value string) []byte {
	if value == "" {
		return dst
	}
	dst = protowire.AppendTag(dst, field, protowire.BytesType)
	return protowire.AppendString(dst, value)
}

// append appends event number n.
func (t *template) append(dst []byte, n int64) []byte {
	from := len(dst)
	dst = append(dst, t.head...)
	putDigits(dst[from+t.idAt:from+t.idAt+idDigits], n)
	at := int(n * 131 % letterPool)
	dst = append(dst, t.letters[at:at+t.size]...)
	from = len(dst)
	dst = append(dst, t.tail...)
	if t.keyAt >= 0 {
		putDigits(dst[from+t.keyAt:from+t.keyAt+keyDigits], n%t.keys)
	}
	return dst
}

// putDigits writes n into dst, which is all '0'.
func putDigits(dst []byte, n int64) {
	for i := len(dst) - 1; n > 0 && i >= 0; i-- {
		dst[i] = '0' + byte(n%10)
		n /= 10
	}
}

// generator yields the events first, first+step, ... below end.
type generator struct {
	template *template
	number   int64
	step     int64
	end      int64
}

func (g *generator) next(_ context.Context, dst []byte, n int) ([]byte, int) {
	count := 0
	for ; count < n && g.number < g.end; count++ {
		dst = g.template.append(dst, g.number)
		g.number += g.step
	}
	return dst, count
}

// queue yields events that a reader puts into a channel.
type queue chan []byte

func (q queue) next(ctx context.Context, dst []byte, n int) ([]byte, int) {
	select {
	case event, open := <-q:
		if !open {
			return dst, 0
		}
		dst = append(dst, event...)
	case <-ctx.Done():
		return dst, 0
	}
	for count := 1; count < n; count++ {
		select {
		case event, open := <-q:
			if !open {
				return dst, count // the next call finds it closed, too
			}
			dst = append(dst, event...)
		default:
			return dst, count
		}
	}
	return dst, n
}
