package transport

// What SubscribeEvents and ReplayEvents share: a stream of the server's that
// ends when the client does not read, when it is too old, or with a drain.
//
// Events leave in packs: their frames are encoded already, so several are copied
// behind one another, each with its header, and written at once (pack.go).

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// readPack is how long frames that are written together may be: as much as an HTTP/2 frame holds.
const readPack = stages.DeliverBytes

// readStream is one call that reads back. Its handler's goroutine sends.
type readStream struct {
	server *Server
	ss     grpc.ServerStream
	wire   wire
	out    *outbox // nil where the server has no account for connections
	client *stages.Client
	packer *packer
	// ctx ends with the call, whoever ends it.
	ctx context.Context
	// writes is odd while the handler is in a write; see sendWatch.
	writes atomic.Uint64
	// last is the last event that was sent; of a replay, position is how far it had come with what was sent.
	last     atomic.Pointer[stages.Delivery]
	position atomic.Pointer[time.Time]
}

// reading begins a call that reads back. To be ended with end.
func (s *Server) reading(ss grpc.ServerStream) (rs *readStream, end func(), err error) {
	w, ok := wireOf(ss.Context())
	if !ok {
		return nil, nil, errNoWire
	}
	if s.Reading == nil {
		return nil, nil, reasonStatus(stages.ReadingDisabled, "").Err()
	}
	rs = &readStream{server: s, ss: ss, wire: w, ctx: ss.Context()}
	if c := recvConnOf(rs.ctx); c != nil {
		rs.out = &outbox{&account{conn: c}}
	}
	rs.packer, _ = newPacker(w)
	rs.client = s.clientOf(rs.ctx)
	watch := newSendWatch(&rs.writes, s.config.SendTimeout, rs.cutSlow)
	var age *time.Timer
	if limit := s.streamAge(); limit > 0 {
		age = time.AfterFunc(limit, func() { _ = w.WriteStatus(reasonStatus(stages.StreamAge, streamAgeText)) })
	}
	return rs, func() {
		watch.stop()
		if age != nil {
			age.Stop()
		}
		rs.client.Unhold()
	}, nil
}

// streamAgeText is what a reader hears at its stream's end of life.
const streamAgeText = "the stream reached its maximum age; call again with the last cursor or position"

// request reads the call's request. grpc-go's own RecvMsg would end the call by itself, without a reason, when the
// message is too large or none.
func (rs *readStream) request(m proto.Message) error {
	late := time.AfterFunc(requestTime, func() {
		_ = rs.wire.WriteStatus(reasonStatus(stages.InvalidRequest, fmt.Sprintf("the request has not arrived within %v", requestTime)))
	})
	defer late.Stop()
	r := newFrameReader(rs.ctx, rs.wire, otherMessageBytes, rs.server.recv)
	defer r.close()
	frame, owner, err := r.next()
	if err == nil {
		defer owner.Free()
		if err = proto.Unmarshal(frame, m); err == nil {
			return nil
		}
	}
	if rs.ctx.Err() != nil {
		return err
	}
	return &stages.Refusal{Reason: stages.InvalidRequest, Detail: &stages.Detail{
		Message: fmt.Sprintf("the request is not a valid message of at most %d KiB", otherMessageBytes>>10),
	}}
}

// begun tells the client that the call has begun.
func (rs *readStream) begun() error { return rs.ss.SendHeader(metadata.MD{}) }

// cutSlow ends the call of a client that does not read. The client that reads after all finds the cursor to go on with.
func (rs *readStream) cutSlow() {
	rs.server.metrics.slowClients.Inc()
	f := failure{reason: stages.SlowClient, retry: stages.SlowClient.Retry(), message: "the client did not read its events for SEND_TIMEOUT; what was sent ends with the cursor in the metadata", subject: "client " + rs.client.Name, metadata: map[string]string{}}
	if at := rs.position.Load(); at != nil {
		f.message = "the client did not read its events for SEND_TIMEOUT; a replay from the position in the metadata on goes on behind what was sent"
		f.metadata["position"] = at.UTC().Format(time.RFC3339Nano)
	}
	if d := rs.last.Load(); d != nil {
		ev := &eventv1.Event{}
		if proto.Unmarshal(d.Frame, ev) == nil && ev.Cursor != "" {
			f.metadata["cursor"] = ev.Cursor
		}
	}
	_ = rs.wire.WriteStatus(f.status())
}

// deliver sends events.
func (rs *readStream) deliver(events []*stages.Delivery) error {
	for len(events) > 0 {
		size, n := packSize(events)
		b, err := rs.buffer(size)
		if err != nil {
			return err
		}
		packEvents(b, events[:n])
		if err := rs.write(b); err != nil {
			return err
		}
		rs.last.Store(events[n-1])
		events = events[n:]
	}
	return nil
}

// send sends one message.
func (rs *readStream) send(m proto.Message) error {
	size := proto.Size(m)
	b, err := rs.buffer(headerLength + size)
	if err != nil {
		return err
	}
	*b = append((*b)[:0], 0, 0, 0, 0, 0)
	binary.BigEndian.PutUint32((*b)[1:], uint32(size))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(*b, m)
	if err != nil {
		rs.pool().Put(b)
		return err
	}
	*b = out
	return rs.write(b)
}

// packSize is how many of the first events go out together, and how long they are with their headers.
func packSize(events []*stages.Delivery) (size, n int) {
	for n < len(events) {
		more := headerLength + len(events[n].Frame)
		if n > 0 && size+more > readPack {
			break
		}
		size, n = size+more, n+1
	}
	return size, n
}

// packEvents puts events behind one another into b as a stream has them.
func packEvents(b *[]byte, events []*stages.Delivery) {
	*b = (*b)[:0]
	for _, d := range events {
		*b = binary.BigEndian.AppendUint32(append(*b, 0), uint32(len(d.Frame))) // 0: not compressed
		*b = append(*b, d.Frame...)
	}
}

// pool is where the buffers of this call's messages go back to, and off the connection's account.
func (rs *readStream) pool() mem.BufferPool {
	if rs.out == nil {
		return &buffers
	}
	return rs.out
}

// buffer is one of n bytes for messages with their headers, when the client has taken enough of those before. It is
// charged before it exists: readers that wait hold nothing. To be filled up to n bytes, and written or put into pool.
func (rs *readStream) buffer(n int) (*[]byte, error) {
	if rs.out == nil {
		return buffers.Get(n), nil
	}
	rs.writes.Add(1)
	defer rs.writes.Add(1)
	size := bufferCapacity(n)
	if err := rs.out.reserve(rs.ctx, size); err != nil {
		rs.out.charge(-int64(size) - answerCost)
		return nil, err
	}
	return buffers.Get(n), nil
}

// write sends messages with their headers, in a buffer of buffer.
func (rs *readStream) write(b *[]byte) error {
	rs.writes.Add(1)
	defer rs.writes.Add(1)
	if rs.packer == nil {
		return rs.writeOneByOne(b)
	}
	err := rs.packer.send(b, rs.pool())
	if rs.out != nil {
		rs.out.handed(rs.ctx)
	}
	return err
}

// writeOneByOne is write by SendMsg.
func (rs *readStream) writeOneByOne(b *[]byte) error {
	defer rs.pool().Put(b)
	for rest := *b; len(rest) > 0; {
		end := headerLength + int(binary.BigEndian.Uint32(rest[1:]))
		one := append([]byte(nil), rest[headerLength:end]...)
		if err := rs.ss.SendMsg(&answer{bytes: &one}); err != nil {
			return err
		}
		rest = rest[end:]
	}
	return nil
}

// status is what the call ends with.
func (rs *readStream) status(err error) error {
	if err == nil || rs.ctx.Err() != nil { // the client is gone, or has its status already
		if err == nil {
			return nil
		}
		return goneStatus(err)
	}
	if errors.Is(err, errUnread) { // the connection is closed already; this is for what counts statuses
		return reasonStatus(stages.SlowClient, "").Err()
	}
	if r, ok := errors.AsType[*stages.Refusal](err); ok {
		f := failure{reason: r.Reason, retry: r.Reason.Retry(), subject: "client " + rs.client.Name, metadata: map[string]string{}}
		f.about(r.Detail)
		for name, value := range r.Info {
			f.metadata[name] = value
		}
		return f.status().Err()
	}
	return reasonStatus(stages.KafkaUnavailable, validText(err.Error())).Err()
}
