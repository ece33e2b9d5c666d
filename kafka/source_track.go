package kafka

// How far a source partition has come: its records from the first one without an
// outcome on, and the offset that may be committed, which never passes that one.

import (
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// trackedState is where a record stands.
type trackedState uint8

const (
	// waits: to be sent, for the first time or again.
	waits trackedState = iota
	// waitsAsLetter: to be sent to the topic of the dead letters.
	waitsAsLetter
	// inFlight: sent, no outcome yet.
	inFlight
	// failed: to be sent again when everything in flight has its outcome.
	failed
	// written: in its topic, or left out by a rule.
	written
	// handled: refused, and dealt with by KAFKA_SOURCE_ON_REFUSED.
	handled
)

func (s trackedState) settled() bool { return s == written || s == handled }

// tracked is a record with what is known about it.
type tracked struct {
	record stages.Record
	// epoch is the leader's, for the commit.
	epoch int32
	state trackedState
	// cut: Kafka has lost the record since it was read. It is sent all the same, but its offset is another record's now
	// and says nothing of what may be committed.
	cut bool
	// alone: Kafka has rejected a batch that it was in. Only what was by itself tells whether it is the one at fault.
	alone bool
	bytes int32
	// refusal is why it becomes a dead letter.
	refusal *stages.Verdict
}

// trackedOverhead is about what a record takes beside its bytes.
const trackedOverhead = 512

// tracker is used by one goroutine at a time. A position is the number of a record since the partition was
// assigned; offsets have gaps.
type tracker struct {
	items []tracked
	// base is the position of items[0], next the first position that may wait.
	base, next int64
	bytes      int
	failures   int

	// done is the offset that may be committed: the one behind the last record that left items, with its epoch; -1: none
	// has. told is the one that advance has returned last.
	done, told int64
	doneEpoch  int32
	// last is the offset of the newest record, lastEpoch that of the leader that wrote it; epochs never fall within a log.
	last      int64
	lastEpoch int32
}

func newTracker() tracker { return tracker{done: -1, told: -1, last: -1, lastEpoch: -1} }

// truncate looks at the offset of a fetched record before it is added. An old offset by a newer leader is another record
// than the one that was read: an unclean election has cut the partition back, and it was written to since. Everything
// from there on is new then, and what may be committed falls back in front of it.
func (t *tracker) truncate(offset int64, epoch int32) (truncated bool) {
	if offset > t.last || epoch <= t.lastEpoch {
		return false
	}
	for i := range t.items {
		if t.items[i].record.Offset >= offset {
			t.items[i].cut = true
		}
	}
	if t.done > offset {
		t.done, t.doneEpoch = offset, epoch // with the old epoch, franz-go would not let the mark fall
	}
	t.last, t.lastEpoch = offset-1, epoch
	return true
}

// add takes a record in. One that is not newer than the last is left out: false.
func (t *tracker) add(r stages.Record, epoch int32) bool {
	if r.Offset <= t.last {
		return false
	}
	t.last, t.lastEpoch = r.Offset, max(epoch, t.lastEpoch)
	n := stages.RecordBytes([]stages.Record{r}) + trackedOverhead
	t.items = append(t.items, tracked{record: r, epoch: epoch, bytes: int32(min(n, 1<<30))})
	t.bytes += n
	return true
}

// pass takes in the offset of a record that is none for us, and needs no outcome.
func (t *tracker) pass(offset int64, epoch int32) {
	if t.add(stages.Record{Offset: offset}, epoch) {
		t.items[len(t.items)-1].state = handled
	}
}

func (t *tracker) at(position int64) *tracked { return &t.items[position-t.base] }

// take finds the next records to send, neighbours, at most so many records and bytes but at least one, and copies
// them; they are in flight from now on. A dead letter comes alone, with its refusal. None: nothing waits.
func (t *tracker) take(most, mostBytes int) (position int64, records []stages.Record, refusal *stages.Verdict) {
	end := t.base + int64(len(t.items))
	t.skip()
	position = t.next
	for size := 0; t.next < end && len(records) < most; t.next++ {
		item := t.at(t.next)
		letter := item.state == waitsAsLetter
		if item.state != waits && !letter || (letter || item.alone) && len(records) > 0 {
			break
		}
		if size += int(item.bytes); size > mostBytes && len(records) > 0 {
			break
		}
		records = append(records, item.record)
		if item.state = inFlight; letter || item.alone {
			refusal = item.refusal
			t.next++
			break
		}
	}
	return position, records, refusal
}

// skip moves next on to a record that waits, or behind all of them.
func (t *tracker) skip() {
	end := t.base + int64(len(t.items))
	t.next = max(t.next, t.base)
	for t.next < end && t.at(t.next).state != waits && t.at(t.next).state != waitsAsLetter {
		t.next++
	}
}

// alone reports whether the next record to send is to be in flight by itself.
func (t *tracker) alone() bool {
	t.skip()
	return t.next < t.base+int64(len(t.items)) && t.at(t.next).alone
}

// set notes an outcome of a record in flight.
func (t *tracker) set(position int64, state trackedState) {
	if t.at(position).state = state; state == failed {
		t.failures++
	}
}

// bury makes a dead letter of a record.
func (t *tracker) bury(position int64, refusal *stages.Verdict) {
	item := t.at(position)
	item.state, item.refusal = waitsAsLetter, refusal
	t.next = min(t.next, position)
}

// rewind lets everything that has failed wait again, when nothing is in flight: from the first failure on, and with
// it later records of the same keys that were stored already, so that the last one of a key stays the last.
func (t *tracker) rewind() (again int) {
	keys := map[string]bool{}
	for i := range t.items {
		item := &t.items[i]
		switch {
		case item.state == failed:
			item.state = waits
			if item.refusal != nil {
				item.state = waitsAsLetter
			} else if key := item.record.PartitionKey(); len(key) > 0 {
				keys[string(key)] = true
			}
			again++
		case item.state == written && item.refusal == nil && len(keys) > 0 && keys[string(item.record.PartitionKey())]:
			item.state = waits
			again++
		}
	}
	t.next, t.failures = t.base, 0
	return again
}

// advance lets go of the records at the front that are settled. It returns the offset that may be committed, and
// false when that has not changed. It falls when the partition was cut back.
func (t *tracker) advance() (offset int64, epoch int32, moved bool) {
	n := 0
	for n < len(t.items) && t.items[n].state.settled() {
		item := &t.items[n]
		if !item.cut {
			t.done, t.doneEpoch = item.record.Offset+1, item.epoch
		}
		t.bytes -= int(item.bytes)
		*item = tracked{} // the memory of the record goes
		n++
	}
	t.items = t.items[n:]
	t.base += int64(n)
	moved = t.done != t.told
	t.told = t.done
	return t.done, t.doneEpoch, moved
}

// first is the first record without an outcome that Kafka still has; nil when all have one.
func (t *tracker) first() *stages.Record {
	for i := range t.items {
		if !t.items[i].cut {
			return &t.items[i].record
		}
	}
	return nil
}

// retryWait is how long to wait before records are sent again, from the longest advice among their answers.
func retryWait(advice time.Duration) time.Duration {
	const least, most = 50 * time.Millisecond, 5 * time.Second
	return min(max(advice, least), most)
}
