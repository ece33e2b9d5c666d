package kafka

// What a reader of its own wants of the records that it reads. A record is read
// into the same memory as the one before until one is wanted, which keeps it:
// one that is not wanted allocates nothing. See BenchmarkFilter.

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kgo"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// spareEntries bounds the metadata whose memory is used again: to empty a large map takes as long for every record.
const spareEntries = 32

// recordFilter belongs to the goroutine that reads.
type recordFilter struct {
	readers *Readers
	match   stages.Match
	// call is the context of the call, client whose it is, and turn its place among those whose filters take long.
	call   context.Context
	client string
	turn   *turn
	// costly counts the events that took a turn.
	costly int
	// spare is empty, metadata too: nothing holds the memory of a fetch while there is no next record. Each may be nil.
	spare    *delivery
	metadata map[string]string
}

// filter is that of one call, of client.
func (r *Readers) filter(call context.Context, client string, match stages.Match) *recordFilter {
	return &recordFilter{readers: r, match: match, call: call, client: client}
}

// wants says whether an event is wanted. An error ends the call: the filter's, or the call's own when it ends while an
// event waits for its turn.
func (f *recordFilter) wants(ev *eventv1.Event) (bool, error) {
	wanted, err := f.match(ev)
	if err == nil {
		return wanted, nil
	}
	costly, ok := errors.AsType[*stages.Costly](err)
	if !ok {
		return false, err
	}
	if f.turn == nil {
		f.turn = newTurn()
	}
	turns := f.readers.turns
	if err := turns.take(f.call, f.client, f.turn); err != nil {
		return false, err
	}
	defer turns.give()
	f.costly++
	return costly.Decide(ev)
}

// take is the event of a record, encoded with room for a cursor of cursorBytes; nil when it is not wanted, or is no event,
// which is counted. An error is the filter's.
func (f *recordFilter) take(r *kgo.Record, cursorBytes int) (*delivery, error) {
	d, metadata := f.spare, f.metadata
	if d == nil {
		d = &delivery{}
	}
	f.spare, f.metadata = nil, nil
	err := d.read(r, metadata)
	if d.Event == &d.event && d.event.Metadata == nil {
		f.metadata = metadata
	}
	if err != nil {
		f.readers.skipped(r, err)
		f.putBack(d)
		return nil, nil
	}
	wanted, err := f.wants(d.Event)
	if err != nil || !wanted {
		f.putBack(d)
		return nil, err
	}
	if err := d.encode(cursorBytes); err != nil {
		f.readers.skipped(r, err)
		return nil, nil
	}
	return d, nil
}

// putBack keeps the memory of d for the next record, and nothing of this one.
func (f *recordFilter) putBack(d *delivery) {
	if used := d.event.Metadata; used != nil && len(used) <= spareEntries {
		clear(used)
		f.metadata = used
	}
	d.Delivery, d.ofValue = stages.Delivery{}, false
	d.event.Reset()
	d.time.Seconds, d.time.Nanos = 0, 0
	f.spare = d
}
