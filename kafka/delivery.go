package kafka

// Records as readers get them: the attributes for their filters, and the event
// encoded once for all of them, with the cursor behind it.

import (
	"encoding/binary"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/event-gateway/event-gateway/stages"
)

// cursorField is the number of event.v1.Event.cursor.
const cursorField = 10

// delivery is a stages.Delivery in the making. It keeps nothing of the record, whose memory is that of a whole batch.
type delivery struct {
	stages.Delivery
	// body is the length of Frame without the cursor.
	body int
}

// deliveryOf reads a record and encodes its event. Frame has room for a cursor of cursorBytes.
func deliveryOf(r *kgo.Record, cursorBytes int) (*delivery, error) {
	d, err := readDelivery(r)
	if err == nil {
		err = d.encode(cursorBytes)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// readDelivery reads a record. What nobody wants need not be encoded.
func readDelivery(r *kgo.Record) (*delivery, error) {
	ev, err := EventFromRecord(r)
	if err != nil {
		return nil, err
	}
	return &delivery{Delivery: stages.Delivery{
		Event: ev, Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Stored: r.Timestamp,
	}}, nil
}

// encode makes the Frame, and lets go of the data, which is a view of the record.
func (d *delivery) encode(cursorBytes int) error {
	options := proto.MarshalOptions{}
	frame, err := options.MarshalAppend(make([]byte, 0, options.Size(d.Event)+cursorBytes), d.Event)
	if err != nil {
		return fmt.Errorf("record at offset %d of %s-%d: %w", d.Offset, d.Topic, d.Partition, err)
	}
	d.Frame, d.body, d.Event.Data = frame, len(frame), nil
	return nil
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
