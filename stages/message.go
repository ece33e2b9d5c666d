package stages

// One received gRPC message (or one source record) and the answers of its
// events. A Message is shared: its owner (a handler) waits for it, workers and
// the retirer answer its events. Everything they race for is decided by one
// atomic state per event.

import (
	"sync/atomic"
	"time"
)

// Origin is where a message came from; metrics keep the accounting identity
// (design.md 2.2) for each one.
type Origin uint8

// The origins.
const (
	FromGRPC Origin = iota
	FromSource
	FromReplay

	// Origins is the number of values, for tables indexed by Origin.
	Origins
)

var originNames = [Origins]string{"grpc", "source", "replay"}

// String is the origin's name in metrics.
func (o Origin) String() string { return originNames[o] }

// Kind says how the bytes of a message are to be read.
type Kind uint8

const (
	// Single is an IngestEventRequest: one event in field 1.
	Single Kind = iota
	// Batch is an IngestEventBatchRequest: many events in field 1.
	Batch
	// Malformed could not be scanned: it counts as one event and is refused by decode.
	Malformed
	// Records are stored records, each one event; there is no Frame. See record.go.
	Records
)

// Result is the answer of one event. Its fields are written by the goroutine
// that won the step to answered, before it takes the event off the message's
// pending count, and read by the owner after the count has reached 0. Of an
// acknowledged event of a quiet message nothing is written: ask Message.Outcome.
type Result struct {
	Outcome Outcome
	Reason  Reason
	Stage   StageID
	// Assigned says that the gateway made the id: ID then holds a UUIDv7.
	Assigned bool
	// DeadLettered says that Kafka has the refused event in the topic of the dead letters.
	DeadLettered bool
	// blind: the event was answered while it was queued by someone who does not own it, so decode may be
	// writing its id at this moment and nobody may read it.
	blind bool
	// ID is the assigned UUID. For an id that the client sent, see idOffset.
	ID [16]byte
	// idOffset and idLength locate the client's id in Message.Frame. Written, like ID and Assigned, by decode.
	idOffset, idLength uint32
	Partition          int32
	// RetryAfterMillis is set iff retrying can help.
	RetryAfterMillis uint32
	// Offset in the partition; -1 when Kafka did not say (acks=none).
	Offset int64
	Topic  *Topic
	Detail *Detail
}

// Owner is told when the last event of a message was answered.
type Owner interface {
	// Completed must not block: it runs on a worker or in a promise of the Kafka client, with the
	// retirer's lock held. It is called once for each submission.
	Completed(m *Message)
}

// Freer gives a buffer back to where it came from (grpc's mem.Buffer is one).
type Freer interface{ Free() }

// Message is a received message on its way. It is pooled by the pipeline.
type Message struct {
	// Set by transport before submission, read-only afterwards.

	// Frame is the whole message as received; events are views into it.
	Frame []byte
	// Buffer owns Frame's memory; freed when the last reference goes.
	Buffer Freer
	Kind   Kind
	Origin Origin
	// WantResults asks for a result per event in a batch's answer.
	WantResults bool
	Client      *Client
	Owner       Owner
	// Seq belongs to the owner (a stream's position in its window).
	Seq uint64
	// Received is the time of receipt: it becomes the Kafka record timestamp and the default event time.
	Received time.Time
	// Entered is when admission let the message in, Received if it did not have to wait: the pipeline's. Reading the
	// clock once more would take 40 to 90 ns of each message on a virtual machine.
	Entered time.Time
	// Deadline bounds the wait for an outcome (design.md 2.6).
	Deadline time.Time

	// records and options are those of Kind Records: the event's bytes, and what is to be done with them.
	records []Record
	options RecordOptions

	// Count is the number of events, and Results has one entry for each, in request order. A large message gets
	// its results, 70 bytes an event, only when it is admitted or refused: what waits for admission stays small.
	Count   int
	Results []Result
	// states has the life of each event's answer.
	states states
	// written: some Result was written to. assigned: decode has given some event an id.
	written, assigned atomic.Bool
	// walk is where EventID stands in the Frame of a quiet message; the owner's.
	walk struct{ index, at int }
	// Charge is the bytes of memory that the message pins, and Admitted whether admission took them; the
	// pipeline's.
	Charge   int64
	Admitted bool

	// owned is memory beside Frame; see owned.go.
	owned owned

	// pending counts events without an outcome. At 0 the owner may read Results.
	pending atomic.Int32
	// refs counts events that are not retired, and one for the owner. At 0 the memory goes back.
	refs atomic.Int32
}

// NewMessage returns a message with room for n events.
func NewMessage(n int) *Message {
	return &Message{Results: make([]Result, 0, n), states: make(states, 0, wordsFor(n))}
}

// Take gives m, which has not been armed yet, the room that other has.
func (m *Message) Take(other *Message) {
	m.Results, m.states = other.Results, other.states
	other.Results, other.states = nil, nil
}

// Reset makes m empty for its next use. It keeps the memory for events.
func (m *Message) Reset() {
	if m.written.Load() { // else they are as Arm found them
		clear(m.Results)
	}
	*m = Message{Results: m.Results[:0], states: m.states[:0]}
}

// Arm makes m, new or Reset, ready for n events: no answers, n pending, n+1
// references. Called by the pipeline before anyone else can see m.
func (m *Message) Arm(n int) {
	if words := wordsFor(n); cap(m.Results) < n {
		m.Results, m.states = make([]Result, n), make(states, words)
	} else {
		m.Results, m.states = m.Results[:n], m.states[:words]
		clear(m.states)
	}
	m.Count = n
	m.pending.Store(int32(n))
	m.refs.Store(int32(n) + 1)
}

// SetRecords makes m a message of records, which are m's from now on. Called by the pipeline.
func (m *Message) SetRecords(records []Record, o RecordOptions) {
	m.records, m.options, m.Origin = records, o, o.Origin
}

// Records are those of a message of that Kind, else nil.
func (m *Message) Records() []Record { return m.records }

// Position is the place of event i in the message's Flow.
func (m *Message) Position(i int) int64 { return m.options.Position + int64(i) }

// Flow is what keeps the order when records are sent again; may be nil.
func (m *Message) Flow() *Flow { return m.options.Flow }

// Events is the number of events the message counts as.
func (m *Message) Events() int { return m.Count }

// Answered reports whether every event has its outcome; Results may then be read.
func (m *Message) Answered() bool { return m.pending.Load() == 0 }

// Settle takes n freshly answered events off the pending count and tells the
// owner when they were the last ones.
func (m *Message) Settle(n int) {
	if m.pending.Add(int32(-n)) == 0 && m.Owner != nil {
		m.Owner.Completed(m)
	}
}

// Drop gives back n references and reports whether they were the last: the
// caller then owns m alone and must recycle it.
func (m *Message) Drop(n int) bool { return m.refs.Add(int32(-n)) == 0 }

// Hand moves the queued events of g to handed and says which those were. The others
// were answered already and must not be produced.
func (m *Message) Hand(g Group) (won Group) { return m.states.step(g, stateQueued, stateHanded) }

// Queued reports whether event i may still be refused (advisory: a later Hand or Win decides).
func (m *Message) Queued(i int) bool { return m.states.of(i) == stateQueued }

// WinQueued claims the right to answer event i if it was never handed to Kafka.
func (m *Message) WinQueued(i int) bool {
	return m.states.step(just(i), stateQueued, stateAnswered).bits != 0
}

// WinHanded claims the right to answer event i after it was handed to Kafka.
func (m *Message) WinHanded(i int) bool {
	return m.states.step(just(i), stateHanded, stateAnswered).bits != 0
}

// WinAcknowledged is WinHanded for the answer that Kafka has the events of g; it
// says which it won. Only if m is not Quiet, the winner then writes it down.
func (m *Message) WinAcknowledged(g Group) (won Group) {
	return m.states.step(g, stateHanded, stateAcknowledged)
}

// Quiet reports whether the answer lists only what failed: nobody will read the
// Results of acknowledged events.
func (m *Message) Quiet() bool {
	return (m.Kind == Batch || m.Kind == Records) && !m.WantResults
}

// Outcome is what became of event i, after m was answered.
func (m *Message) Outcome(i int) Outcome {
	if m.states.of(i) == stateAcknowledged {
		return Acknowledged
	}
	return m.Results[i].Outcome
}

// Write is the Result of event i for somebody who may write it.
func (m *Message) Write(i int) *Result {
	if !m.written.Load() {
		m.written.Store(true)
	}
	return &m.Results[i]
}

// SetVerdict writes v as the answer of event i. Only for the goroutine that won it.
func (m *Message) SetVerdict(i int, v Verdict) {
	if f := m.options.Flow; f != nil {
		f.note(m.Position(i), &v)
	}
	r := m.Write(i)
	r.Outcome, r.Reason, r.Stage, r.Detail = v.Outcome, v.Reason, v.Stage, v.Detail
	retry := v.Retry()
	r.RetryAfterMillis = uint32((retry + time.Millisecond - 1) / time.Millisecond)
}

// SetBlindVerdict is SetVerdict for a goroutine that won a queued event from
// outside the graph (a deadline, a cancellation): decode may be writing the
// event's id at the same time, so the answer goes without it.
func (m *Message) SetBlindVerdict(i int, v Verdict) {
	m.Write(i).blind = true
	m.SetVerdict(i, v)
}

// SetClientID notes where the client's id of event i lies, unless m is Quiet: few
// answers of those have ids, and EventID finds them in the Frame. Called by decode.
func (m *Message) SetClientID(i, offset, length int) {
	if !m.Quiet() {
		r := m.Write(i)
		r.idOffset, r.idLength = uint32(offset), uint32(length)
	}
}

// SetAssignedID notes the id that the gateway made for event i. Called by decode.
func (m *Message) SetAssignedID(i int, id [16]byte) {
	m.assigned.Store(true)
	r := m.Write(i)
	r.Assigned, r.ID = true, id
}

// Assigned reports whether the gateway made an id for any event of m.
func (m *Message) Assigned() bool { return m.assigned.Load() }

// EventID is the id of event i after it was answered: the client's bytes, or
// nil with assigned set when the gateway made one (see Result.ID), or nil when
// it is not known because the event was answered before it was decoded. Only the
// owner may call it; quick when i rises from call to call.
func (m *Message) EventID(i int) (id []byte, assigned bool) {
	r := &m.Results[i]
	switch {
	case r.blind: // first: the other fields are not safe to look at
		return m.scanClientID(i), false
	case r.Assigned:
		return nil, true
	case r.idLength == 0: // not noted, or without an id
		return m.scanClientID(i), false
	}
	return m.Frame[r.idOffset : r.idOffset+r.idLength], false
}

// scanClientID reads the id of event i from the message's bytes.
func (m *Message) scanClientID(i int) []byte {
	var e Event
	switch m.Kind {
	case Single:
		e.scanRequest(m.Frame)
	case Batch:
		e.scanEvent(m.eventBytes(i)) // as far as it can be read
	case Records:
		if e.readRecord(&m.records[i]); len(e.ID.Value) == 0 {
			return AppendUUID(nil, m.records[i].id())
		}
	}
	return e.ID.Value
}

// eventBytes are the bytes of event i of a batch. It walks on from the event that it found last.
func (m *Message) eventBytes(i int) []byte {
	w := &m.walk
	if i < w.index {
		w.index, w.at = 0, 0
	}
	for {
		b, end, ok := nextEvent(m.Frame, w.at)
		if !ok || end == 0 {
			return nil
		}
		if w.index == i {
			return b
		}
		w.index, w.at = w.index+1, end
	}
}
