package ledger

// P8: what subscribers received, against what Kafka holds. In each partition a
// subscriber must have received exactly what its filter wants of what lies
// behind its start, in the order of offsets, up to the end of the log, over all
// of its calls. Nothing else is asked of an event than that it has its place:
// cursors stay opaque here.
//
// What retention took since is known from its acknowledgements.

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
)

// The kinds of P8.
const (
	Skipped  Kind = "skipped"
	Repeated Kind = "received again"
)

// stored is an event in a partition's history.
type stored struct {
	offset int64
	place  place
	// millis is the record's time; 0 = gone from the log.
	millis int64
}

// history completes what the log still has of each partition with what was acknowledged before its beginning.
func (j *Judge) history() map[int32][]stored {
	if j.past != nil {
		return j.past
	}
	j.past = map[int32][]stored{}
	for p, log := range j.log {
		j.past[p] = log
	}
	gone := map[int32][]stored{}
	for _, p := range j.ledger.Producers() {
		p.mu.Lock()
		for seq := range p.events {
			p.events[seq].each(func(s *sending) {
				if s.outcome != Acknowledged || s.era < j.rules.GoneBefore {
					return
				}
				if log := j.log[s.partition]; len(log) == 0 || s.offset < log[0].offset {
					gone[s.partition] = append(gone[s.partition], stored{offset: s.offset, place: placeOf(p, seq)})
				}
			})
		}
		p.mu.Unlock()
	}
	for p, early := range gone {
		slices.SortFunc(early, func(a, b stored) int { return cmp.Compare(a.offset, b.offset) })
		j.past[p] = append(early, j.log[p]...)
	}
	return j.past
}

// Arrived tells whether a subscriber has come to the end of every partition.
func (j *Judge) Arrived(r *Received) bool {
	lanes, calls := r.snapshot()
	for p, past := range j.history() {
		from := 0
		for _, c := range calls {
			if !c.Resumes { // it may have begun more than once before anything came
				_, from = c.bounds(p, past, 0)
			}
		}
		last := len(past) - 1
		for last >= from && !j.wants(r, past[last]) {
			last--
		}
		if lane := lanes[p]; last >= from && (len(lane) == 0 || lane[len(lane)-1] != past[last].place) {
			return false
		}
	}
	return true
}

// Received judges a subscriber without a group. Records must have been shown before.
func (j *Judge) Received(r *Received) {
	lanes, calls := r.snapshot()
	past := j.history()
	for p := range lanes {
		if len(past[p]) == 0 {
			j.reading(Phantom, r, lanes[p][0], Position{p, -1}, "the partition has nothing")
		}
	}
	for p, all := range past {
		f := &following{judge: j, who: r, partition: p, past: all}
		lane := lanes[p]
		for n, c := range calls {
			end := len(lane)
			if n+1 < len(calls) {
				end = calls[n+1].before[p]
			}
			f.begin(c)
			for _, e := range lane[c.before[p]:end] {
				f.came(e)
			}
		}
		f.end()
	}
}

func (j *Judge) wants(r *Received, s stored) bool {
	if r.Until > 0 && (s.millis < r.From || s.millis >= r.Until) {
		return false
	}
	return r.Wants == nil || r.Wants(j.ledger.at(s.place), s.place.seq())
}

// reading adds a finding about a subscriber.
func (j *Judge) reading(kind Kind, r *Received, e place, at Position, text string, args ...any) {
	p := j.ledger.at(e)
	j.verdict.Add(Violation{Property: "P8", Kind: kind, Method: p.Method, ID: p.ID(e.seq()), At: at,
		Text: "subscriber " + r.Name + ": " + fmt.Sprintf(text, args...)})
}

// bounds are the first and the last place in a partition's history at which the call may begin; at is behind what was received.
func (c *call) bounds(p int32, past []stored, at int) (from, to int) {
	index := func(offset int64) int {
		return sort.Search(len(past), func(i int) bool { return past[i].offset >= offset })
	}
	switch {
	case c.Resumes && c.To != nil:
		return at, max(at, index(c.To[p]))
	case c.Resumes:
		return at, at
	case c.Since > 0:
		for from < len(past) && past[from].millis < c.Since {
			from++
		}
		return from, from
	case c.Passed != nil:
		return c.Passed[p], c.Passed[p]
	}
	from = index(c.From[p])
	return from, max(from, index(c.To[p]))
}

// following goes through one partition beside a subscriber.
type following struct {
	judge     *Judge
	who       *Received
	partition int32
	past      []stored
	// next is the first event that it has not received; up to, without it, open they may be left out.
	next, open int
}

func (f *following) begin(c call) {
	open := f.open
	f.next, f.open = c.bounds(f.partition, f.past, f.next)
	if c.Resumes { // with a cursor from before anything came, the first call's start may still be any of those
		f.open = max(f.open, open)
	}
}

// came is an event that was received: the next one that it wants, or something is wrong.
func (f *following) came(e place) {
	for i := f.next; i < len(f.past); i++ {
		s := f.past[i]
		if s.place == e {
			if !f.judge.wants(f.who, s) {
				f.judge.reading(Phantom, f.who, e, f.at(i), "it does not match the filter")
			}
			f.next, f.open = i+1, 0
			return
		}
		if i >= f.open && f.judge.wants(f.who, s) {
			break
		}
	}
	f.astray(e)
}

// astray says what is wrong with an event that is not the next one, and goes on behind it.
func (f *following) astray(e place) {
	is := func(s stored) bool { return s.place == e }
	if later := slices.IndexFunc(f.past[f.next:], is); later >= 0 {
		missed := 0
		first := -1
		for i := f.next; i < f.next+later; i++ {
			if i >= f.open && f.judge.wants(f.who, f.past[i]) {
				missed++
				if first < 0 {
					first = i
				}
			}
		}
		f.judge.reading(Skipped, f.who, f.past[first].place, f.at(first), "it and the %d after it did not come; %s at offset %d did",
			missed-1, f.judge.ledger.id(e), f.past[f.next+later].offset)
		f.next, f.open = f.next+later+1, 0
		return
	}
	if earlier := slices.IndexFunc(f.past[:f.next], is); earlier >= 0 {
		f.judge.reading(Repeated, f.who, e, f.at(earlier), "everything before offset %d had come before it", f.offset(f.next))
		return
	}
	f.judge.reading(Phantom, f.who, e, Position{f.partition, -1}, "Kafka does not have it in this partition")
}

// end finds what did not come at all.
func (f *following) end() {
	missed, first := 0, -1
	for i := max(f.next, f.open); i < len(f.past); i++ {
		if f.judge.wants(f.who, f.past[i]) {
			missed++
			if first < 0 {
				first = i
			}
		}
	}
	if missed > 0 {
		f.judge.reading(Skipped, f.who, f.past[first].place, f.at(first), "it and the %d after it never came", missed-1)
	}
}

func (f *following) at(i int) Position { return Position{f.partition, f.past[i].offset} }

func (f *following) offset(i int) int64 {
	if i < len(f.past) {
		return f.past[i].offset
	}
	return f.past[len(f.past)-1].offset + 1
}

// Shared judges the members of a group: what Kafka holds behind the group's start came to one of them at least, and to
// each in the order of offsets. twice is how many deliveries there were beyond the first of each event.
func (j *Judge) Shared(start Opening, members ...*Received) (twice int) {
	missing, twice := j.shared(start, members)
	for p, all := range missing {
		for _, s := range all {
			j.reading(Skipped, members[0], s.place, Position{p, s.offset}, "no member of the group received it")
		}
	}
	for p, past := range j.history() {
		for _, r := range members {
			j.ascends(r, p, past)
		}
	}
	return twice
}

// SharedArrived tells whether the members of a group have all there is together.
func (j *Judge) SharedArrived(start Opening, members ...*Received) bool {
	missing, _ := j.shared(start, members)
	return len(missing) == 0
}

func (j *Judge) shared(start Opening, members []*Received) (missing map[int32][]stored, twice int) {
	came := map[place]int{}
	for _, r := range members {
		lanes, _ := r.snapshot()
		for _, lane := range lanes {
			for _, e := range lane {
				came[e]++
			}
		}
	}
	missing = map[int32][]stored{}
	for p, past := range j.history() {
		_, from := (&call{Opening: start}).bounds(p, past, 0)
		for _, s := range past[from:] {
			if came[s.place]--; came[s.place] < 0 && j.wants(members[0], s) {
				missing[p] = append(missing[p], s)
			}
		}
	}
	for _, n := range came {
		twice += max(n, 0)
	}
	return missing, twice
}

// ascends finds events of one call that came after later ones of their partition.
func (j *Judge) ascends(r *Received, p int32, past []stored) {
	lanes, calls := r.snapshot()
	lane, where := lanes[p], make(map[place]int, len(past))
	for i, s := range past {
		where[s.place] = i // of doubles, the last one
	}
	for n, c := range calls {
		end := len(lane)
		if n+1 < len(calls) {
			end = calls[n+1].before[p]
		}
		last := -1
		for _, e := range lane[c.before[p]:end] {
			i, ok := where[e]
			if !ok || i < last {
				j.reading(Repeated, r, e, Position{p, -1}, "it came behind later events of its partition, on one stream")
			}
			last = max(last, i)
		}
	}
}
