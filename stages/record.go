package stages

// Records that enter the graph beside what clients send: those of source topics
// (KAFKA_SOURCE_TOPICS), and stored events that a replay publishes again. This
// file has what they are made of; decode_record.go reads them.

import (
	"math"
	"sync/atomic"
	"time"
)

// Record is a stored record in a form of our own, so that the graph knows no
// Kafka client. All bytes are views that nobody changes any more; the graph keeps
// them as long as the record's event.
type Record struct {
	// Key and Value are nil where Kafka has null.
	Key, Value []byte
	// Headers are the record's, in its order. Names may repeat, and may be anything.
	Headers []Attribute
	// Timestamp becomes the event's time when the record does not say one. The zero value: Kafka has none.
	Timestamp time.Time
	// Topic, Partition and Offset are where the record lies.
	Topic     string
	Partition int32
	Offset    int64
	// Marks are metadata entries that the event gets, in place of those of the same names. They do not count
	// for what the API allows an event. At most MaxMarks.
	Marks []Pair
}

// bytes is the memory that the record pins.
func (r *Record) bytes() int {
	const header = 40 // a name and a value, without their bytes
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += header + len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	for i := range r.Marks {
		n += header + len(r.Marks[i].Name) + len(r.Marks[i].Value)
	}
	return n
}

// RecordBytes is the memory that records pin, without what an event costs.
func RecordBytes(records []Record) (n int) {
	for i := range records {
		n += records[i].bytes()
	}
	return n
}

// RecordOptions are what records have in common that enter as one message.
type RecordOptions struct {
	// Origin is FromSource or FromReplay.
	Origin Origin
	// Topic is where the events go, one of the gateway's Topics, whatever rules say; nil: where rules say, else
	// KAFKA_TOPIC. Rules apply either way.
	Topic *Topic
	// Flow may be nil: then an event that is to be sent again does not hold back the later ones of its key.
	Flow *Flow
	// Position is the first record's in the Flow; the others follow.
	Position int64
	// Letters says which refusals are kept as dead letters. Those that a rule with ON_ERROR=dead_letter makes
	// always are.
	Letters LetterPolicy
	// Refusal makes dead letters of the records at once, for this reason: they were refused by an earlier
	// sending that the graph could not keep. Needs a topic for dead letters.
	Refusal *Verdict
}

// LetterPolicy says which refused records are kept in the topic of the dead letters.
type LetterPolicy uint8

// The policies.
const (
	// LettersOfStages: as for events of clients, by DLQ_ON.
	LettersOfStages LetterPolicy = iota
	// AllLetters: whatever the stage, as far as the graph can.
	AllLetters
	// NoLetters: none.
	NoLetters
)

// Flow keeps the order of records that are sent again: of one source partition,
// in the order of their positions. When one is refused that may be sent again, or
// is in doubt, the later ones that have not been handed to Kafka are refused, too
// (NOT_SENT). So when everything in flight has its outcome, all can be sent again
// from the first one on that is not settled, and no record has passed an earlier
// one of its key. What was handed to Kafka already may have: the client library
// starts newer records before the failures of older ones are known.
//
// Safe for concurrent use.
type Flow struct {
	// Strict: any refusal holds back what follows, because nothing is to pass a record that stops its partition.
	strict bool
	// broken is the position of the first record that stopped, math.MaxInt64 while there is none.
	broken atomic.Int64
}

// NewFlow returns an unbroken flow. With strict, every refusal breaks it, not only those that a resend can help.
func NewFlow(strict bool) *Flow {
	f := &Flow{strict: strict}
	f.Mend()
	return f
}

// Break stops everything behind position at.
func (f *Flow) Break(at int64) {
	for {
		old := f.broken.Load()
		if old <= at || f.broken.CompareAndSwap(old, at) {
			return
		}
	}
}

// Broken reports whether something is held back.
func (f *Flow) Broken() bool { return f.broken.Load() != math.MaxInt64 }

// Mend lets everything pass again. Only when every record of the flow has its outcome.
func (f *Flow) Mend() { f.broken.Store(math.MaxInt64) }

// stops reports whether the record at a position must not pass.
func (f *Flow) stops(at int64) bool { return at > f.broken.Load() }

// note breaks the flow if the outcome of the record at a position says so.
func (f *Flow) note(at int64, v *Verdict) {
	if v.Outcome == Unknown || v.Outcome == Refused && (f.strict || v.Retry() != 0 || v.Reason.Standing(v.Stage)) {
		f.Break(at)
	}
}

// PartitionKey is the partition key of the record's event, before any rule; nil when it has none, or is no event.
func (r *Record) PartitionKey() []byte {
	var e Event
	e.readRecord(r)
	return e.PartitionKey.Value
}
