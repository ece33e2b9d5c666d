package discard

// One request as it comes in: typed reads that stop at the frame's end and keep their first error.

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
)

type frame struct {
	r    *bufio.Reader
	left int // bytes of the request not yet read
	err  error
	buf  [16]byte // what the typed reads return points into: valid until the next
}

// next begins a new request and returns its size.
func (f *frame) next() (int, error) {
	f.left, f.err = 4, nil
	f.left = int(f.int32())
	return f.left, f.err
}

// take returns the next n bytes, at most 16; on an error zeroes.
func (f *frame) take(n int) []byte {
	p := f.buf[:n]
	if f.err == nil && n > f.left {
		f.err = io.ErrUnexpectedEOF
	}
	if f.err == nil {
		_, f.err = io.ReadFull(f.r, p)
		f.left -= n
	}
	if f.err != nil {
		clear(p)
	}
	return p
}

func (f *frame) int16() int16 { return int16(binary.BigEndian.Uint16(f.take(2))) }
func (f *frame) int32() int32 { return int32(binary.BigEndian.Uint32(f.take(4))) }

func (f *frame) uvarint() int {
	var v uint64
	for shift := 0; shift < 35; shift += 7 {
		b := f.take(1)[0]
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int(v)
		}
	}
	f.fail(errors.New("a varint of more than 32 bits"))
	return 0
}

func (f *frame) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// rest reads what is left of the request into buf.
func (f *frame) rest(buf []byte) ([]byte, error) {
	if cap(buf) < f.left {
		buf = make([]byte, f.left)
	}
	buf = buf[:f.left]
	if f.err == nil {
		_, f.err = io.ReadFull(f.r, buf)
		f.left = 0
	}
	return buf, f.err
}
