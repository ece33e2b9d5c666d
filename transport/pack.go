package transport

// Several answers of a stream in one write. A gRPC stream is a row of messages,
// each behind five bytes of header, and HTTP/2 cuts it where it likes; so answers
// that are ready together need not each be a message that grpc-go queues, schedules
// and frames by itself. With single events on a stream that was a seventh of the
// gateway's CPU, and a tenth of the client's (ADR 0005).
//
// grpc-go's transport stream has a method for it, which SendMsg calls, too. Its
// last parameter is of a type that only grpc-go can name, hence reflection, at
// about a microsecond a call: one answer alone goes through SendMsg. A test fails
// when an update of grpc-go changes the method; then everything goes through SendMsg.

import (
	"encoding/binary"
	"reflect"

	"google.golang.org/grpc/mem"

	"github.com/event-gateway/event-gateway/stages"
)

// packBytes is how long answers that are written together may be: half of what a DATA frame
// holds, so that one is written at once.
const packBytes = 8 << 10

// packer writes bytes to a transport stream as they are.
type packer struct {
	write reflect.Value
	// args are those of write; one goroutine uses them.
	args [3]reflect.Value
}

// newPacker finds the method Write(hdr []byte, data mem.BufferSlice, opts *T) error; false when w has none like it.
func newPacker(w any) (*packer, bool) {
	write := reflect.ValueOf(w).MethodByName("Write")
	if !write.IsValid() {
		return nil, false
	}
	t := write.Type()
	if t.NumIn() != 3 || t.NumOut() != 1 || t.In(0) != reflect.TypeFor[[]byte]() || t.In(1) != reflect.TypeFor[mem.BufferSlice]() ||
		t.In(2).Kind() != reflect.Pointer || t.Out(0) != reflect.TypeFor[error]() {
		return nil, false
	}
	p := &packer{write: write}
	p.args[0], p.args[2] = reflect.Zero(t.In(0)), reflect.Zero(t.In(2)) // no header, no options
	return p, true
}

// send writes b, which goes back to pool when grpc-go is done with it.
func (p *packer) send(b *[]byte, pool mem.BufferPool) error {
	data := mem.BufferSlice{mem.NewBuffer(b, pool)}
	defer data.Free() // grpc-go takes a reference of its own
	p.args[1] = reflect.ValueOf(data)
	err, _ := p.write.Call(p.args[:])[0].Interface().(error)
	p.args[1] = reflect.Value{} // grpc-go uses its buffer objects again: this would be another call's answer
	return err
}

// encodePacked encodes the answers of the first n messages as a stream has them, into a buffer of the pool.
func encodePacked(messages []*stages.Message) (b *[]byte, n int) {
	size := 0
	for n < len(messages) {
		more := headerLength + sizeResult(messages[n], 0)
		if n > 0 && size+more > packBytes {
			break
		}
		size, n = size+more, n+1
	}
	b = buffers.Get(size)
	*b = (*b)[:0]
	for _, m := range messages[:n] {
		start := len(*b)
		*b = appendResult(append(*b, 0, 0, 0, 0, 0), m, 0) // 0: not compressed
		binary.BigEndian.PutUint32((*b)[start+1:], uint32(len(*b)-start-headerLength))
	}
	return b, n
}
