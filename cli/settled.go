package cli

// Which letters of a redrive are settled. Partitions are read in the order of
// their offsets, and letters are settled in any order.

import (
	"slices"
	"sync"

	"github.com/event-gateway/event-gateway/kafka"
)

// settledLetters is safe for concurrent use.
type settledLetters struct {
	mu         sync.Mutex // guards what follows
	partitions map[int32]*settledPartition
}

// settledPartition is about the letters of one partition.
type settledPartition struct {
	// old is where the redrive before ended; it still holds from read on.
	old kafka.Position
	// read is the first offset that was not read yet.
	read int64
	// open are the offsets before it that are not settled, rising.
	open []int64
	// dirty: something has changed since the last commit.
	dirty bool
}

func newSettledLetters() *settledLetters {
	return &settledLetters{partitions: map[int32]*settledPartition{}}
}

// begin starts a partition. Of one that was not begun, nothing is kept.
func (s *settledLetters) begin(span kafka.Span, old kafka.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.partitions[span.Partition] = &settledPartition{old: old, read: span.Start}
}

// has reports whether the redrive before has settled the letter.
func (s *settledLetters) has(at letterAt) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[at.partition]
	return p != nil && p.old.Settled(at.offset)
}

// open notes that a letter was read. Offsets between it and the one before have none.
func (s *settledLetters) open(at letterAt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.partitions[at.partition]; p != nil {
		p.read = at.offset + 1
		p.open = append(p.open, at.offset)
	}
}

// settle notes that an open letter is settled.
func (s *settledLetters) settle(at letterAt) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.partitions[at.partition]
	if p == nil {
		return
	}
	if i, ok := slices.BinarySearch(p.open, at.offset); ok {
		p.open, p.dirty = slices.Delete(p.open, i, i+1), true
	}
}

// end notes that the spans were read to their ends.
func (s *settledLetters) end(spans []kafka.Span) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range spans {
		if p := s.partitions[span.Partition]; p != nil && p.read < span.End {
			p.read, p.dirty = span.End, true
		}
	}
}

// changed are the positions that have changed since it was last asked.
func (s *settledLetters) changed() map[int32]kafka.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	positions := map[int32]kafka.Position{}
	for partition, p := range s.partitions {
		if p.dirty {
			positions[partition], p.dirty = p.position(), false
		}
	}
	return positions
}

// touch makes positions count as changed again: they could not be committed.
func (s *settledLetters) touch(positions map[int32]kafka.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for partition := range positions {
		s.partitions[partition].dirty = true
	}
}

// positions are those of all partitions.
func (s *settledLetters) positions() map[int32]kafka.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	positions := map[int32]kafka.Position{}
	for partition, p := range s.partitions {
		positions[partition] = p.position()
	}
	return positions
}

// position joins what this redrive has read and what the one before knew of the rest.
func (p *settledPartition) position() kafka.Position {
	open := slices.Clone(p.open)
	if p.old.Next < p.old.Through {
		for _, offset := range append([]int64{p.old.Next}, p.old.Open...) {
			if offset >= p.read {
				open = append(open, offset)
			}
		}
	}
	through := max(p.read, p.old.Through)
	if len(open) == 0 {
		return kafka.Position{Next: through, Through: through}
	}
	return kafka.Position{Next: open[0], Through: through, Open: open[1:]}
}
