package kafka

// The false acknowledgement of franz-go v1.22.1, which this project's version
// floor exists for: A is appended, its answer is lost, its retries are
// answered NOT_LEADER until A's delivery timeout; the next record, B, then
// went out under A's sequence number, the broker took it for a repetition of
// A, and B was acknowledged without being stored.

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// answerDropper loses the answer of the next produce request after arm.
type answerDropper struct {
	dial  dialFunc
	armed atomic.Bool
	// lost runs when the answer is lost, before the client learns that the connection is gone.
	lost func()
}

func (d *answerDropper) dialContext(ctx context.Context, network, host string) (net.Conn, error) {
	conn, err := d.dial(ctx, network, host)
	if err != nil {
		return nil, err
	}
	return &droppingConn{Conn: conn, dropper: d}, nil
}

type droppingConn struct {
	net.Conn
	dropper *answerDropper
	drop    atomic.Bool
}

func (c *droppingConn) Write(b []byte) (int, error) {
	if len(b) >= 6 && binary.BigEndian.Uint16(b[4:]) == produceKey && c.dropper.armed.CompareAndSwap(true, false) {
		c.drop.Store(true)
	}
	return c.Conn.Write(b)
}

func (c *droppingConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err == nil && c.drop.Load() { // the answer is here, so the broker has stored the record
		c.dropper.lost()
		c.Close()
		return 0, io.EOF
	}
	return n, err
}

func TestNoFalseAcknowledgement(t *testing.T) {
	t.Parallel()
	dropper := &answerDropper{}
	r := newRig(t, func(_ *Config, p *Parts) {
		dropper.dial, p.dial = p.dial, dropper.dialContext
		p.DeliveryTimeout = time.Second
	}).ready()
	p := r.partition(0)
	r.produce(p, "warm")
	r.want("warm", stages.Acknowledged, stages.NoReason)

	var fault *kfake.FaultHandle
	dropper.lost = func() {
		fault = r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
	}
	dropper.armed.Store(true)
	r.produce(p, "A")
	r.want("A", stages.Unknown, stages.OutcomeUnknown) // and it is stored
	fault.Remove()
	r.produce(p, "B")
	b := r.want("B", stages.Acknowledged, stages.NoReason)
	r.produce(p, "C")
	r.want("C", stages.Acknowledged, stages.NoReason)

	records := r.stored(4, 0)
	for i, want := range []string{"warm", "A", "B", "C"} {
		if ev, err := EventFromRecord(records[i]); err != nil || ev.Id != want {
			t.Errorf("offset %d: %v, want %s (%v)", i, ev.GetId(), want, err)
		}
	}
	if b.Ack.Offset != 2 {
		t.Errorf("B was acknowledged at offset %d", b.Ack.Offset)
	}
}
