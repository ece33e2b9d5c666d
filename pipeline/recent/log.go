package recent

// The log's memory: segments, their laps, and positions in them.

import (
	"slices"
	"sync/atomic"
)

const (
	// mostSegments is how many segments a log has, unless they would be smaller than minSegment bytes. An event that
	// is larger than a segment is not kept.
	mostSegments = 64
	minSegment   = 64 << 10
	// MinBytes is the least that a store may have, in bytes.
	MinBytes = 4 * minSegment
	// MaxBytes is the most.
	MaxBytes = 64 << 30
)

// A position has, from the top, a lap of 30 bits, a segment of 6 bits and an offset of 28 bits in units of recordAlign
// bytes. Laps begin at 1, so that no position is 0. At 450 MB/s the default log's come round after four years.
const (
	offsetBits  = 28
	segmentBits = 6
	lapShift    = offsetBits + segmentBits
	lapMask     = 1<<(64-lapShift) - 1
)

// segment is a piece of the log.
type segment struct {
	// state is the lap above readersBits, below it how many readers are in the segment.
	state atomic.Uint64
	bytes []byte
	_     [96]byte // readers write state: two segments share no pair of cache lines
}

const readersBits = 32

// enter lets a reader in, if the segment is still in that lap.
func (s *segment) enter(lap uint64) bool {
	if s.state.Add(1)>>readersBits == lap {
		return true
	}
	s.leave()
	return false
}

func (s *segment) leave() { s.state.Add(^uint64(0)) }

// renew begins a new lap, unless readers are in the segment.
func (s *segment) renew() bool {
	old := s.state.Load()
	lap := max((old>>readersBits+1)&lapMask, 1)
	return old&(1<<readersBits-1) == 0 && s.state.CompareAndSwap(old, lap<<readersBits)
}

// log is the segments with what the writer knows of them.
type log struct {
	memory   []byte
	segments []segment
	// used are the segments that have events, oldest first; the last one is being written. The others are fresh: their
	// memory has never been touched, so it takes no place.
	used []int
	// last has for each segment the number of the last event in it.
	last []uint64
	// at is where the next record begins in the segment that is being written.
	at int
}

func newLog(bytes int64) log {
	bytes = min(max(bytes, MinBytes), MaxBytes)
	n := int(min(mostSegments, bytes/minSegment))
	size := int(bytes) / n / recordAlign * recordAlign
	l := log{memory: make([]byte, n*size), segments: make([]segment, n), used: make([]int, 0, n), last: make([]uint64, n)}
	for i := range l.segments {
		l.segments[i].bytes = l.memory[i*size : (i+1)*size : (i+1)*size]
	}
	return l
}

// large reports whether a record of n bytes fits into no segment.
func (l *log) large(n int) bool { return n > len(l.segments[0].bytes) }

// full reports whether a record of n bytes needs another segment than the one that is being written.
func (l *log) full(n int) bool { return len(l.used) == 0 || l.at+n > len(l.segments[0].bytes) }

// reserve is room for a record of n bytes in the segment that is being written, and its position.
func (l *log) reserve(n int) (record []byte, position uint64) {
	i := l.used[len(l.used)-1]
	s := &l.segments[i]
	lap := s.state.Load() >> readersBits
	return s.bytes[l.at : l.at+n : l.at+n], lap<<lapShift | uint64(i)<<offsetBits | uint64(l.at/recordAlign)
}

// wrote ends the record that was reserved last, of n bytes, of the event with the number.
func (l *log) wrote(n int, number uint64) {
	l.at += (n + recordAlign - 1) / recordAlign * recordAlign
	l.last[l.used[len(l.used)-1]] = number
}

// next takes another segment to write: the oldest one if its events need not be kept, else a fresh one, else the
// oldest that nobody reads. Events up to the number gone need not be kept.
func (l *log) next(gone uint64) bool {
	fresh := len(l.used) < len(l.segments)
	if fresh && (len(l.used) == 0 || l.last[l.used[0]] > gone) {
		return l.take(len(l.used), -1)
	}
	for place, i := range l.used {
		if l.take(i, place) {
			return true
		}
	}
	return fresh && l.take(len(l.used), -1)
}

// take begins a new lap of segment i, which has the given place among the used ones, -1 if it is fresh.
func (l *log) take(i, place int) bool {
	if !l.segments[i].renew() {
		return false
	}
	if place >= 0 {
		l.used = slices.Delete(l.used, place, place+1)
	}
	l.used, l.at = append(l.used, i), 0
	return true
}

// enter opens the record at a position for a reader, who leaves the segment; nil when it was written anew.
func (l *log) enter(position uint64) (*segment, []byte) {
	s := &l.segments[position>>offsetBits&(1<<segmentBits-1)]
	if !s.enter(position >> lapShift) {
		return nil, nil
	}
	return s, s.bytes[position&(1<<offsetBits-1)*recordAlign:]
}

// written is the record at a position for the writer; nil when it was written anew.
func (l *log) written(position uint64) []byte {
	s := &l.segments[position>>offsetBits&(1<<segmentBits-1)]
	if s.state.Load()>>readersBits != position>>lapShift {
		return nil
	}
	return s.bytes[position&(1<<offsetBits-1)*recordAlign:]
}
