package stages

// The unit that travels through the graph: one event as views into its
// message's bytes, owned by exactly one goroutine at a time.

import (
	"time"
	"unsafe"
)

// Pair is one metadata entry.
type Pair struct{ Name, Value []byte }

// Event is one event in flight. A push into a ring hands it over: after that
// the pusher does not touch it. Events are allocated in slabs by the pipeline
// and recycled when they are retired.
//
// All byte slices are views into Msg.Frame (or into buffers that the event
// itself owns) and are valid until the event is retired.
type Event struct {
	// What every stage looks at comes first, in one cache line: the stages in the middle then touch little
	// else, and with several processors each line that they touch moves from one to the other. The sizes in
	// this struct are those of 64-bit machines; TestEventLayout holds them.

	// Msg and Index say whose answer this is.
	Msg   *Message
	Index int
	// Verdict is the first decision that ended the event; the zero value while it goes on.
	Verdict Verdict
	// Shard fixes the worker of every stage from validate to transform: murmur2 of the
	// partition key, or the lane's run counter for events without one. 31 bits.
	Shard uint32
	// At is the last stage that has finished with the event; set by the stage itself, event by event,
	// so that after a panic the worker knows which event of the burst was at fault.
	At StageID
	// Answered: the worker has already turned Verdict into an answer (or found the event answered).
	Answered bool
	// Handed: the event was handed to the Producer, so only its report retires it.
	Handed bool
	// Dead: the event was refused and rides on to the topic of the dead letters; see Letter.
	Dead bool
	// Topic and Partition are settled by transform.
	Topic     *Topic
	Partition *Partition

	// The second line: the way through the end of the graph.

	// Size is the length of the encoded event.v1.Event in bytes: as received, from transform on as it is written.
	Size int
	// Cost is what the event counts for in its partition's bytes in flight; 0 until batch took it in.
	Cost int32
	// rawAt is where the encoded event begins in the Frame of a Batch; decode's.
	rawAt uint32
	// Home is the decode worker whose free ring the event goes back to.
	Home int16
	// Shaped: the event is not what was received any more: rules, or a schema's prefix, have changed it.
	Shaped bool
	// HasTime tells whether the client sent a timestamp; Seconds and Nanos are it, as sent.
	HasTime bool
	// More: something is set behind PartitionKey (DataContentType, Subject, ..., Schema). Who sets one of those
	// says so. Else they are empty and nobody needs to look, so that their three cache lines stay where they are.
	More bool
	// nonASCII: a text attribute has a byte above 0x7f. plain: see isPlain. Both are decode's.
	nonASCII, plain bool
	// Ack is set by the Producer before it reports the event, except in an AcknowledgedRun.
	Ack Ack

	// The third line: what the Producer needs beside the attributes.

	// Sink belongs to the Producer: it keeps its record here and reuses it when the event is recycled.
	Sink any
	// Data is the payload.
	Data []byte
	// Metadata are the other attributes and headers.
	Metadata []Pair

	Attributes

	Seconds int64
	Nanos   int32
	// idText holds an id that the gateway made; ID is then a view into it.
	idText [36]byte
	// Cursor belongs to events that are read back; validate refuses it.
	Cursor []byte
	// Letter is what is said about a Dead event beside its bytes.
	Letter *DeadLetter
	// Schema is what validate has held the data against; nil when there was nothing to hold it against.
	Schema *Schema
	// Claim is the pipeline's: the event is the first sending of its id, and later ones may wait for its outcome. It is
	// set and taken away again by who keeps the claims, so Reset leaves it alone.
	Claim *Claim
	_     [56]byte
}

// Claim is the hold of an event in flight on its id (pipeline/dedupe.go). Whoever keeps the claims owns it.
type Claim struct {
	// Key stands for source and id as they were received.
	Key [16]byte
	// Since is when the event came, in nanoseconds of the pipeline's clock.
	Since int64
	// Waiting are later sendings; they belong to the claim until it is settled.
	Waiting []*Event
}

// Ack is what a Producer reports about one event.
type Ack struct {
	// Verdict.Outcome is Acknowledged, Refused or Unknown.
	Verdict Verdict
	// Partition and Offset are the position, with Acknowledged; Offset is -1 when Kafka did not say.
	Partition int32
	Offset    int64
}

// Live reports whether no stage has ended the event yet.
func (e *Event) Live() bool { return e.Verdict.Outcome == Pending }

// Open reports whether the event may still become a record of its topic: it is Live, and not a dead letter.
func (e *Event) Open() bool { return e.Verdict.Outcome == Pending && !e.Dead }

// Filter ends the event as one that a rule has dropped: a success for the client.
func (e *Event) Filter(at StageID) { e.Verdict = Verdict{Outcome: Filtered, Stage: at} }

// Refuse ends the event with a reason. detail may be nil.
func (e *Event) Refuse(at StageID, reason Reason, detail *Detail) {
	e.Verdict = Verdict{Outcome: Refused, Reason: reason, Stage: at, Detail: detail}
}

// RefuseFor is Refuse with the stage's own retry advice.
func (e *Event) RefuseFor(at StageID, reason Reason, retry time.Duration) {
	e.Verdict = Verdict{Outcome: Refused, Reason: reason, Stage: at, RetryAfter: retry}
}

// HasClientID reports whether the client has sent the event's id; else the gateway has made it.
func (e *Event) HasClientID() bool {
	return len(e.ID.Value) > 0 && unsafe.SliceData(e.ID.Value) != &e.idText[0]
}

// Time is the event's time: the client's timestamp, else the time of receipt.
func (e *Event) Time() time.Time {
	if e.HasTime {
		return time.Unix(e.Seconds, int64(e.Nanos)).UTC()
	}
	return e.Msg.Received.UTC()
}

// maxKeptMetadata bounds what a recycled event keeps of its metadata slice:
// 64 entries at 48 bytes would be 3 KiB for each of tens of thousands of events.
const maxKeptMetadata = 16

// Touch reads a word of each of the event's cache lines that most events use.
// Events come back from other processors, so their lines are not in this one's
// cache; a tight loop of Touch over the next few events fetches them side by
// side, where the work itself would wait for one after the other. The sum only
// keeps the loads alive.
func (e *Event) Touch() int {
	return e.Index + int(e.Cost) + len(e.Data) + len(e.ID.Value) + len(e.Source.Value) + len(e.TimeText.Value) +
		len(e.PartitionKey.Value)
}

// Releaser is what a Producer may keep in Event.Sink: Release lets go of the
// event's bytes.
type Releaser interface{ Release() }

// Forget makes an idle event let go of the message that it had last. An event
// that is used again at once is only Reset: what Forget clears is overwritten
// then anyway.
func (e *Event) Forget() {
	if e.Msg == nil {
		return
	}
	e.Reset()
	e.Msg = nil
	if r, ok := e.Sink.(Releaser); ok {
		r.Release()
	}
}

// Reset makes a recycled event empty. It keeps Home, Sink, the attributes' names
// and a small metadata slice; and Msg, so that Forget knows what there is to forget.
func (e *Event) Reset() {
	if e.Metadata != nil {
		if cap(e.Metadata) > maxKeptMetadata {
			e.Metadata = nil
		}
		clear(e.Metadata) // stale views must not keep a dead message's memory; behind its length there never are any
		e.Metadata = e.Metadata[:0]
	}
	e.Index, e.Verdict, e.Shard = 0, Verdict{}, 0
	e.At, e.Answered, e.Handed, e.Dead = 0, false, false, false
	e.nonASCII, e.plain, e.Shaped = false, false, false
	e.Topic, e.Partition, e.Size, e.Cost = nil, nil, 0, 0
	e.Data, e.Ack = nil, Ack{}
	e.ID.Value, e.Source.Value, e.Type.Value, e.PartitionKey.Value = nil, nil, nil, nil
	if e.More {
		e.More, e.HasTime = false, false
		e.DataContentType.Value, e.Subject.Value, e.DataSchema.Value = nil, nil, nil
		e.Seconds, e.Nanos, e.Cursor = 0, 0, nil
		e.Letter, e.Schema = nil, nil
	}
}

// Stage is one step of single-goroutine code. Each worker has its own instance.
type Stage interface {
	// Process works through the burst in place and in order: it ends events by setting Verdict, skips
	// those that are not Live, and sets At on each one that it has finished with.
	Process(burst []*Event)
}

// Producer hands events to where they are to be stored.
type Producer interface {
	// Produce takes the events over, all of one partition, in order, already marked as handed. It reports each
	// one exactly once through the functions that it was built with: with its Ack set, or, acknowledged and of
	// a quiet message, in an AcknowledgedRun. It must not touch the event after that. It never blocks on
	// Kafka. Called by one goroutine at a time per partition.
	Produce(p *Partition, events []*Event)
}
