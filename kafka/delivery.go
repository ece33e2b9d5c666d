package kafka

// Records as readers get them: the attributes for their filters, and the event
// encoded once for all of them, with the cursor behind it.

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// cursorField is the number of event.v1.Event.cursor.
const cursorField = 10

// delivery is a stages.Delivery in the making. Once it is encoded it keeps nothing of the record, whose memory is that of
// a whole batch.
type delivery struct {
	stages.Delivery
	// body is the length of Frame without the cursor.
	body int
	// ofValue: Event is event, and of a record's value: the names of its metadata are views, too.
	ofValue bool
	// event and time are the memory of Event, except of one that proto.Unmarshal made: its attributes are views of the
	// record, and of Frame once that is there.
	event eventv1.Event
	time  timestamppb.Timestamp
}

// deliveryOf reads a record and encodes its event. Frame has room for a cursor of cursorBytes.
func deliveryOf(r *kgo.Record, cursorBytes int) (*delivery, error) {
	d := &delivery{}
	err := d.read(r, nil)
	if err == nil {
		err = d.encode(cursorBytes)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// read reads a record into d, which is empty, as EventFromRecord does; an event that is not complete is none. What nobody
// wants need not be encoded. metadata is memory for the event's; nil is none.
func (d *delivery) read(r *kgo.Record, metadata map[string]string) error {
	err := d.readAny(r, metadata)
	if err == nil && incomplete(d.Event) {
		return errIncomplete
	}
	return err
}

func (d *delivery) readAny(r *kgo.Record, metadata map[string]string) error {
	headers, err := inHeaders(r)
	if err != nil {
		return err
	}
	d.Topic, d.Partition, d.Offset, d.Stored = r.Topic, r.Partition, r.Offset, r.Timestamp
	d.Event = &d.event
	m := making{event: d.Event, time: &d.time, metadata: metadata, text: view}
	if headers {
		return m.fromHeaders(r)
	}
	if m.fromValue(r.Value) {
		d.ofValue = true
		return nil
	}
	d.event.Reset()
	d.Event, err = eventFromValue(r)
	return err
}

// view is text without a copy, where it can be. What is empty holds no memory.
func view(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if !utf8.Valid(b) {
		return text(b)
	}
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// encode makes the Frame, and lets go of the data, which is a view of the record.
func (d *delivery) encode(cursorBytes int) error {
	if d.Event == &d.event {
		if d.ofValue && d.Event.Metadata != nil {
			d.Event.Metadata = copyNames(d.Event.Metadata)
		}
		d.Frame = encodeEvent(d.Event, cursorBytes)
		d.body, d.Event.Data = len(d.Frame), nil
		return nil
	}
	options := proto.MarshalOptions{}
	frame, err := options.MarshalAppend(make([]byte, 0, options.Size(d.Event)+cursorBytes), d.Event)
	if err != nil {
		return fmt.Errorf("record at offset %d of %s-%d: %w", d.Offset, d.Topic, d.Partition, err)
	}
	d.Frame, d.body, d.Event.Data = frame, len(frame), nil
	return nil
}

const (
	// deliveryBytes is what an event of the hub takes beside its frame and its metadata.
	deliveryBytes = int(unsafe.Sizeof(delivery{})) + 16
	// foreignBytes is about what one takes besides that proto.Unmarshal made: a second Event, with its attributes.
	foreignBytes = 500
	// pairBytes is about what Go's map takes for an entry of the metadata, beside the text. The value is counted twice
	// where it is a view of Frame.
	pairBytes = 80
)

// memory is about what an encoded event holds, in bytes.
func (d *delivery) memory() int {
	size := deliveryBytes + cap(d.Frame)
	if d.Event != &d.event {
		size += foreignBytes
	}
	for name, value := range d.Event.Metadata {
		size += pairBytes + len(name) + len(value)
	}
	return size
}

// setCursor puts a cursor behind the event, in place of the one that is there.
func (d *delivery) setCursor(id *identity, ps positions) {
	d.Frame = appendCursorField(d.Frame[:d.body], id, ps)
}

// withCursor is d with another cursor, a copy.
func (d *delivery) withCursor(id *identity, ps positions) *stages.Delivery {
	other := d.Delivery
	other.Frame = appendCursorField(append(make([]byte, 0, d.body+cursorRoom(len(ps))), d.Frame[:d.body]...), id, ps)
	return &other
}

// cursorRoom is about what a cursor of n partitions takes in a frame, and never much less.
func cursorRoom(n int) int { return 4 + (cursorHead+2+6*n)*4/3 }

// appendCursorField appends the field event.v1.Event.cursor.
func appendCursorField(b []byte, id *identity, ps positions) []byte {
	b = protowire.AppendTag(b, cursorField, protowire.BytesType)
	at := len(b)
	b = appendCursor(append(b, 0), id, ps) // the length takes one byte with up to 15 partitions or so
	n := len(b) - at - 1
	if n < 0x80 {
		b[at] = byte(n)
		return b
	}
	var length [binary.MaxVarintLen64]byte
	size := binary.PutUvarint(length[:], uint64(n))
	b = append(b, length[1:size]...) // room
	copy(b[at+size:], b[at+1:at+1+n])
	copy(b[at:], length[:size])
	return b
}

// cursorOf is a cursor alone.
func cursorOf(id *identity, ps positions) string { return string(appendCursor(nil, id, ps)) }
