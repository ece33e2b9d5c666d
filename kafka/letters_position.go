package kafka

// How far the letters of a partition are settled. Letters are settled out of
// order, and a consumer group commits one offset. What is settled beyond it goes
// into the commit's metadata, so that a redrive that goes on there sends none of it
// again:
//
//	through=120 open=17,80     all below 120 is settled, but the committed offset, 17 and 80

import (
	"slices"
	"strconv"
	"strings"
)

// Position is how far the letters of a partition are settled.
type Position struct {
	// Next is the first offset that is not settled; what a group commits.
	Next int64
	// Through is the first offset that nothing is known about; at least Next.
	Through int64
	// Open are the offsets between them, beside Next, that are not settled, rising.
	Open []int64
}

// Settled reports whether the letter at an offset is settled.
func (p *Position) Settled(offset int64) bool {
	if offset <= p.Next || offset >= p.Through {
		return offset < p.Next
	}
	_, open := slices.BinarySearch(p.Open, offset)
	return !open
}

// maxPositionText is what a commit's metadata may have; brokers take 4,096 bytes (offset.metadata.max.bytes).
const maxPositionText = 4000

// metadata is what a commit says beside Next. When not all fits, it knows of fewer settled letters.
func (p *Position) metadata() string {
	if p.Through <= p.Next+1 {
		return ""
	}
	through, open := p.Through, ""
	for _, o := range p.Open {
		next := strconv.FormatInt(o, 10)
		if len(open)+len(next)+len("through= open=,")+19 > maxPositionText {
			through = o
			break
		}
		if open != "" {
			open += ","
		}
		open += next
	}
	if open != "" {
		open = " open=" + open
	}
	return "through=" + strconv.FormatInt(through, 10) + open
}

// parsePosition reads a commit. Anybody may commit for a group: metadata that is not ours says nothing.
func parsePosition(next int64, metadata string) Position {
	none := Position{Next: next, Through: next}
	rest, ours := strings.CutPrefix(metadata, "through=")
	if !ours || len(metadata) > maxPositionText {
		return none
	}
	head, list, some := strings.Cut(rest, " open=")
	p := Position{Next: next}
	var err error
	if p.Through, err = strconv.ParseInt(head, 10, 64); err != nil || p.Through <= next {
		return none
	}
	if !some {
		return p
	}
	last := next
	for item := range strings.SplitSeq(list, ",") {
		o, err := strconv.ParseInt(item, 10, 64)
		if err != nil || o <= last || o >= p.Through {
			return none
		}
		p.Open, last = append(p.Open, o), o
	}
	return p
}
