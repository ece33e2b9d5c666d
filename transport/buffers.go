package transport

// Size-classed byte buffers that are used again: for received frames, for
// messages put together from several frames, and for encoded answers.
//
// grpc-go's own pool clears every buffer it hands out and knows only the
// sizes 256 B, 4 KiB, 16 KiB, 32 KiB and 1 MiB, so that a 17 KiB message pins
// 32 KiB and a 40 KiB one a whole MiB. Here there are four classes to each
// doubling: at most a quarter is wasted.

import (
	"math/bits"
	"sync"
)

const (
	// minBuffer must be above grpc's pooling threshold of 1 KiB: mem.NewBuffer treats smaller buffers as
	// garbage and never gives them back.
	minBufferBits = 11
	// Buffers above 64 MiB are left to the garbage collector.
	maxBufferBits = 26
	bufferClasses = (maxBufferBits-minBufferBits)*4 + 1
)

// buffers is shared by all servers of the process: its pools hold only what nobody uses.
var buffers bufferPool

// bufferPool hands out buffers with old bytes in them. The zero value is ready. It is a grpc mem.BufferPool.
type bufferPool struct {
	classes [bufferClasses]sync.Pool
}

// bufferClass returns the class whose buffers hold n bytes, and their capacity.
// Class 0 holds 2 KiB, then each doubling has four steps.
func bufferClass(n int) (class, capacity int) {
	if n <= 1<<minBufferBits {
		return 0, 1 << minBufferBits
	}
	top := bits.Len(uint(n - 1)) // 2^(top-1) < n <= 2^top
	low := 1 << (top - 1)
	step := low / 4
	quarter := (n - 1 - low) / step
	return (top-1-minBufferBits)*4 + quarter + 1, low + (quarter+1)*step
}

// bufferCapacity is the capacity of the buffer that Get returns for n bytes.
func bufferCapacity(n int) int {
	class, capacity := bufferClass(n)
	if class >= bufferClasses {
		return n
	}
	return capacity
}

// Get returns a buffer of n bytes. Its content is arbitrary.
func (p *bufferPool) Get(n int) *[]byte {
	class, capacity := bufferClass(n)
	if class >= bufferClasses {
		b := make([]byte, n)
		return &b
	}
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		*b = (*b)[:n]
		return b
	}
	b := make([]byte, n, capacity)
	return &b
}

// Put takes a buffer back. One of a foreign capacity is left to the garbage collector.
func (p *bufferPool) Put(b *[]byte) {
	class, capacity := bufferClass(cap(*b))
	if class < bufferClasses && capacity == cap(*b) {
		p.classes[class].Put(b)
	}
}

// ownBuffer is a buffer of the pool as a stages.Freer, without another allocation.
type ownBuffer []byte

// Free gives the buffer back to the pool.
func (b *ownBuffer) Free() { buffers.Put((*[]byte)(b)) }

// noBuffer is the Freer of a frame that owns no pooled memory.
type noBuffer struct{}

// Free does nothing.
func (noBuffer) Free() {}
