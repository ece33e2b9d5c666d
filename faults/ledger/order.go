package ledger

// Order. Two rules, both about acknowledged sendings with one key:
//
//   - of one stream: a later sending lies behind an earlier one. What was refused or is unknown has no place in
//     that order; its resend is a sending of its own, from which on it is held again.
//   - of one producer, whatever it sent over: what was sent after an answer had come lies behind what that
//     answer acknowledged. (So callers that wait for each answer are ordered, and so are two streams one after
//     the other.)
//
// A key that is in two partitions is itself a violation, unless the partition count has changed; then each
// partition is judged by itself.

import (
	"fmt"
	"slices"
)

func (j *Judge) order(p *Producer) {
	type sent struct {
		*sending
		seq int
	}
	byKey := map[uint32][]sent{}
	for seq := range p.events {
		e := &p.events[seq]
		e.each(func(s *sending) {
			if s.outcome == Acknowledged && s.era >= j.rules.GoneBefore {
				byKey[e.key] = append(byKey[e.key], sent{s, seq})
			}
		})
	}
	for key, all := range byKey {
		slices.SortFunc(all, func(a, b sent) int { return int(a.order) - int(b.order) })
		last := map[lane]sent{} // the one with the highest offset so far, of a stream
		for _, s := range all {
			at := Position{s.partition, s.offset}
			in := lane{stream: s.stream, partition: s.partition}
			if before, ok := last[in]; ok && p.Method != Unary && s.offset <= before.offset {
				j.disorder(p, s.seq, at, "%s, sent before it on the same stream with the same key, is at offset %d", p.ID(before.seq), before.offset)
			}
			if before, ok := last[in]; !ok || s.offset > before.offset {
				last[in] = s
			}
			floors := p.floors[key][:0]
			if s.sent == uint8(j.ledger.era.Load()) { // those of earlier eras are gone
				floors = p.floors[key][:s.floors]
			}
			if floor, ok := highest(floors, s.partition); ok && s.offset <= floor {
				j.disorder(p, s.seq, at, "when it was sent, offset %d of its key had already been acknowledged", floor)
			}
			if first := all[0]; s.partition != first.partition && !j.rules.PartitionsGrow {
				j.disorder(p, s.seq, at, "%s with the same key is in partition %d", p.ID(first.seq), first.partition)
			}
		}
	}
}

// lane is what order holds in.
type lane struct {
	stream, partition int32
}

// highest is the highest offset of the partition among the answers of a key.
func highest(answers []Position, partition int32) (offset int64, ok bool) {
	// The answers of a key come nearly in order: the last few decide. Looking at 64 keeps this linear.
	for i := len(answers) - 1; i >= max(0, len(answers)-64); i-- {
		if at := answers[i]; at.Partition == partition && (!ok || at.Offset > offset) {
			offset, ok = at.Offset, true
		}
	}
	return offset, ok
}

func (j *Judge) disorder(p *Producer, seq int, at Position, text string, args ...any) {
	j.verdict.Add(Violation{Property: "P4", Kind: Reordered, Method: p.Method, ID: p.ID(seq), At: at, Text: fmt.Sprintf(text, args...)})
}
