package stages

// The decode stage: turns the bytes of a message into events that are views
// into them, gives ids to events without one, and fixes each event's shard.

import (
	"encoding/hex"
	"fmt"
	"unsafe"

	"github.com/google/uuid"
)

func init() {
	// One read of the system's random source for 16 ids instead of one each.
	uuid.EnableRandPool()
}

// Decoder walks through messages. It can stop after any event and go on later.
type Decoder struct {
	maxEventBytes int
	letters       DeadLetters
	msg           *Message
	at            int // position in msg.Frame of what is not read yet
	index         int // of the next event
	run           uint32
}

// NewDecoder returns the decoder of one lane. Lanes differ in where their runs of events without key start.
func NewDecoder(cfg Config, letters DeadLetters, lane int) *Decoder {
	return &Decoder{maxEventBytes: int(cfg.MaxEventBytes), letters: letters, run: uint32(lane) * 7919}
}

// Start begins a message. The one before must be finished.
func (d *Decoder) Start(m *Message) { d.msg, d.at, d.index = m, 0, 0 }

// Active reports whether a started message has events left.
func (d *Decoder) Active() bool { return d.msg != nil }

// Left is how many events of the started message are not decoded yet.
func (d *Decoder) Left() int { return d.msg.Events() - d.index }

// Answered is the started message if its next event was answered meanwhile, so
// that it is to be skipped; else nil.
func (d *Decoder) Answered() *Message {
	if d.msg.Queued(d.index) {
		return nil
	}
	return d.msg
}

// NextRun ends a run of events without key: those of one run share a shard,
// and so a partition, which makes dense batches; the next run takes the next one.
func (d *Decoder) NextRun() { d.run = (d.run + 1) & 0x7fffffff }

// Skip passes over the next event without decoding it (it was answered meanwhile).
func (d *Decoder) Skip() {
	if d.msg.Kind == Batch {
		_, d.at, _ = nextEvent(d.msg.Frame, d.at)
	}
	d.step()
}

// step goes to the next event. After the last one the message is forgotten: its
// events hold it now, and it may be recycled with the last of them.
func (d *Decoder) step() {
	if d.index++; d.index == d.msg.Events() {
		d.msg = nil
	}
}

// Next decodes the next event of the started message into ev, which must be
// empty. An event that cannot be decoded is refused, not skipped.
func (d *Decoder) Next(ev *Event) {
	m := d.msg
	ev.Msg, ev.Index = m, d.index
	d.step()
	ok := false
	switch m.Kind {
	case Single:
		ok = ev.scanRequest(m.Frame)
	case Batch:
		var b []byte
		b, d.at, ok = nextEvent(m.Frame, d.at)
		ev.Size, ev.rawAt = len(b), uint32(d.at-len(b))
		ok = ok && ev.scanEvent(b)
	case Records:
		ok = d.nextRecord(ev)
	}
	switch {
	case ok && m.options.Refusal != nil:
	case !ok && m.Kind == Records: // refused, with what is wrong
	case !ok:
		ev.Refuse(AtDecode, MalformedEvent, nil)
	case ev.Size > d.maxEventBytes:
		ev.Refuse(AtDecode, EventTooLarge, &Detail{Message: fmt.Sprintf(
			"the event has %d bytes; MAX_EVENT_BYTES allows %d", ev.Size, d.maxEventBytes)})
	}
	ev.plain = ok && isPlain(ev)
	identify(ev)
	if len(ev.PartitionKey.Value) > 0 {
		ev.Shard = KeyHash(ev.PartitionKey.Value)
	} else {
		ev.Shard = d.run
	}
	switch {
	case m.options.Refusal != nil:
		d.condemn(ev, *m.options.Refusal)
	case !ev.Live():
		d.letters.take(ev)
	}
	ev.At = AtDecode
}

// scanRequest reads an IngestEventRequest: all occurrences of its event field merge into one event.
func (ev *Event) scanRequest(frame []byte) bool {
	for i := 0; ; {
		b, end, ok := nextEvent(frame, i)
		if !ok || end == 0 {
			return ok
		}
		ev.Size += len(b)
		if !ev.scanEvent(b) {
			return false
		}
		i = end
	}
}

// identify notes the event's id for the answer; an event that goes on without one gets a UUIDv7.
func identify(ev *Event) {
	switch {
	case ev.Msg.Kind == Records: // the answer's reader has the record
	case len(ev.ID.Value) > 0:
		// ID is a view into Frame, so the distance of the two pointers is its position.
		offset := uintptr(unsafe.Pointer(&ev.ID.Value[0])) - uintptr(unsafe.Pointer(&ev.Msg.Frame[0]))
		ev.Msg.SetClientID(ev.Index, int(offset), len(ev.ID.Value))
	case ev.Live():
		id, err := uuid.NewV7()
		if err != nil {
			ev.Refuse(AtDecode, InternalError, &Detail{Message: "no random bytes for an event id: " + err.Error()})
			return
		}
		ev.ID.Value = AppendUUID(ev.idText[:0], id)
		ev.Msg.SetAssignedID(ev.Index, id)
	}
}

// AppendUUID appends the text form of id (RFC 9562) to b.
func AppendUUID(b []byte, id [16]byte) []byte {
	b = hex.AppendEncode(b, id[:4])
	b = hex.AppendEncode(append(b, '-'), id[4:6])
	b = hex.AppendEncode(append(b, '-'), id[6:8])
	b = hex.AppendEncode(append(b, '-'), id[8:10])
	return hex.AppendEncode(append(b, '-'), id[10:])
}
