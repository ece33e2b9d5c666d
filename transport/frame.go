package transport

// Reads the messages of an ingest call as raw frames, straight from grpc-go's
// transport stream.
//
// Why not ServerStream.RecvMsg: when it fails (a message over the limit, a bad
// compression), it writes a status of its own to the client before the handler
// sees the error (grpc-go 1.85, stream.go), so no reason could be told, and
// the stream is over. Here the length of a message is known before its body is
// asked for: an oversize one is answered and skipped, and a large one waits
// for memory while HTTP/2 flow control holds the client.

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/event-gateway/event-gateway/stages"
)

// wire is what grpc-go's transport stream can do and grpc.ServerTransportStream does not say. A test fails
// when an update of grpc-go takes one of these methods away.
type wire interface {
	// ReadMessageHeader fills header; io.EOF when the client has closed its side before it.
	ReadMessageHeader(header []byte) error
	// Read returns the next n bytes, in the pieces in which they arrived.
	Read(n int) (mem.BufferSlice, error)
	// RecvCompress is the request's grpc-encoding.
	RecvCompress() string
	// WriteStatus ends the stream with st, from any goroutine; the first status wins. It cancels the
	// stream's context, so it also ends a blocked Read or SendMsg.
	WriteStatus(st *status.Status) error
}

// wireOf returns the transport stream under a call.
func wireOf(ctx context.Context) (wire, bool) {
	w, ok := grpc.ServerTransportStreamFromContext(ctx).(wire)
	return w, ok
}

const (
	headerLength = 5
	// largeBody is where messages begin to be charged against MAX_RECV_BYTES before their body is read;
	// smaller ones are let in by the stream's flow-control window anyway.
	largeBody = 64 << 10
	// bodyChunk is how much of a large body is read at a time: the pieces of one chunk are all that exists
	// twice, once in grpc-go's buffers and once in ours.
	bodyChunk = 1 << 20
	// smallPiece: a shorter message that came in a pooled buffer is copied out of it, since other messages of
	// the same 16 KiB HTTP/2 frame may share the buffer and one tiny event would keep all of it.
	smallPiece = 4 << 10
	// A large body must arrive within bodyTime plus a second for each MiB: it holds memory that others wait for.
	bodyTime = 10 * time.Second
)

const receiveMemoryTaken = "the gateway's memory for messages that are being received (MAX_RECV_BYTES) is taken"

// refusal is a message that cannot be taken; the stream itself is good.
type refusal struct {
	verdict stages.Verdict
}

func (r *refusal) Error() string { return r.verdict.Reason.String() }

func refuse(reason stages.Reason, format string, args ...any) *refusal {
	return &refusal{stages.Verdict{
		Outcome: stages.Refused, Reason: reason, Stage: stages.AtAdmission,
		Detail: &stages.Detail{Message: fmt.Sprintf(format, args...)},
	}}
}

// errCut says that the client closed its side in the middle of a message.
var errCut = errors.New("the client ended the call in the middle of a message")

// errTooSlow says that the stream was ended because a body took too long.
var errTooSlow = reasonStatus(stages.SlowClient, "the body of a message took too long").Err()

// frameReader reads the messages of one call. One goroutine uses it.
type frameReader struct {
	wire wire
	// stopped ends the wait for memory: the call's context, or a stream's that ends earlier.
	stopped context.Context
	max     int
	limit   *recvLimit
	// patience is how long a message may wait for receive memory, waited how long the last one did. deadline, if
	// there is one, ends the wait earlier.
	patience, waited time.Duration
	deadline         time.Time
	// charge is the stream's account in the receive limit; nil in calls that are not counted.
	charge *recvStream
	// decompress is nil unless the request says grpc-encoding.
	decompress encoding.Compressor
	// skip is what is left of the body of a refused message.
	skip int
	// wireSize is what the last message took on the wire, 5 bytes of header included.
	wireSize int
	// reserved is what the last message holds of the limit for large bodies.
	reserved int
	header   [headerLength]byte
}

// newFrameReader also says that the call's answers are not compressed: they are small, and grpc-go would give their
// counted buffers back before the compressed ones are written.
func newFrameReader(ctx context.Context, w wire, maxBytes int, limit *recvLimit) frameReader {
	r := frameReader{
		wire: w, stopped: ctx, max: maxBytes, limit: limit, patience: limit.patience, charge: recvStreamOf(ctx),
	}
	if name := w.RecvCompress(); name != "" && name != encoding.Identity {
		r.decompress = encoding.GetCompressor(name)
		_ = grpc.SetSendCompressor(ctx, encoding.Identity)
	}
	return r
}

// next returns the next message: its bytes and who owns them. Errors: io.EOF at the clean end, *refusal for a
// message that is to be answered and does not end the stream, errCut, else the stream is gone.
// The caller says admitted() when the message is in the pipeline's account (or dropped).
func (r *frameReader) next() (frame []byte, owner stages.Freer, err error) {
	if err := r.skipBody(); err != nil {
		return nil, nil, err
	}
	if err := r.wire.ReadMessageHeader(r.header[:]); err != nil {
		return nil, nil, readError(err)
	}
	length := int(binary.BigEndian.Uint32(r.header[1:]))
	r.wireSize, r.waited = headerLength, 0
	if length > r.max {
		r.skip = length
		return nil, nil, refuse(stages.MessageTooLarge,
			"the message has %d bytes; GRPC_MAX_MESSAGE_BYTES allows %d", length, r.max)
	}
	compressed := r.header[0] == 1
	switch {
	case r.header[0] > 1:
		r.skip = length
		return nil, nil, refuse(stages.MalformedEvent,
			"the compression flag of the message is %d; 0 and 1 are allowed", r.header[0])
	case compressed && r.decompress == nil:
		r.skip = length
		return nil, nil, refuse(stages.MalformedEvent,
			"the message is marked as compressed, but the call says no grpc-encoding")
	}
	if length == 0 && !compressed {
		return nil, noBuffer{}, nil
	}
	if length > largeBody {
		frame, owner, err = r.large(length)
	} else {
		frame, owner, err = r.small(length)
	}
	if err != nil || !compressed {
		return frame, owner, err
	}
	return r.inflate(frame, owner)
}

// admitted gives back what the last message took of the receive memory.
func (r *frameReader) admitted() {
	if r.charge != nil {
		r.charge.delivered(r.wireSize)
		r.charge.complete()
	}
	r.wireSize = 0
	r.unreserve()
}

// reserve waits for n bytes of the receive memory for large bodies, within what is left of the message's patience.
func (r *frameReader) reserve(n int) bool {
	began := time.Now()
	wait := r.patience - r.waited
	if !r.deadline.IsZero() {
		wait = min(wait, r.deadline.Sub(began))
	}
	ok := r.limit.reserve(r.stopped, r.charge, n, wait)
	r.waited += time.Since(began)
	if ok {
		r.reserved += n
	}
	return ok
}

func (r *frameReader) unreserve() {
	if r.reserved > 0 {
		r.limit.release(r.charge, r.reserved)
		r.reserved = 0
	}
}

// close ends the stream's accounts.
func (r *frameReader) close() {
	r.unreserve()
	if r.charge != nil {
		r.charge.release()
	}
}

// small reads a body that the window lets in as a whole. In one piece it stays where it is.
func (r *frameReader) small(length int) ([]byte, stages.Freer, error) {
	pieces, err := r.wire.Read(length)
	if err != nil {
		return nil, nil, bodyError(err)
	}
	r.wireSize += length
	if len(pieces) == 1 {
		piece := pieces[0]
		if _, own := piece.(mem.SliceBuffer); own || length >= smallPiece {
			return piece.ReadOnlyData(), piece, nil
		}
	}
	b := buffers.Get(length)
	pieces.CopyTo(*b)
	pieces.Free()
	return *b, (*ownBuffer)(b), nil
}

// large waits for memory, then puts the body together chunk by chunk.
func (r *frameReader) large(length int) ([]byte, stages.Freer, error) {
	if !r.reserve(length) {
		if r.stopped.Err() != nil {
			return nil, nil, r.stopped.Err()
		}
		r.skip = length
		return nil, nil, refuse(stages.Overloaded, receiveMemoryTaken)
	}
	patience := bodyTime + time.Duration(length>>20)*time.Second
	watch := time.AfterFunc(patience, func() {
		_ = r.wire.WriteStatus(reasonStatus(stages.SlowClient,
			fmt.Sprintf("the %d bytes of a message did not arrive within %v", length, patience)))
	})
	defer watch.Stop()
	b := buffers.Get(length)
	for have := 0; have < length; {
		pieces, err := r.wire.Read(min(bodyChunk, length-have))
		if err != nil {
			buffers.Put(b)
			r.unreserve()
			return nil, nil, bodyError(err)
		}
		n := pieces.CopyTo((*b)[have:])
		pieces.Free()
		have += n
		if r.charge != nil { // from here on the reservation stands for them
			r.charge.delivered(n)
			r.charge.complete()
		}
	}
	if !watch.Stop() { // at the last moment, but the client was told so
		buffers.Put(b)
		r.unreserve()
		return nil, nil, errTooSlow
	}
	return *b, (*ownBuffer)(b), nil
}

// answer sends b, the encoded answer of a unary call.
func (r *frameReader) answer(ss grpc.ServerStream, b *[]byte) error {
	if r.charge == nil {
		return ss.SendMsg(&answer{bytes: b})
	}
	out := &outbox{&r.charge.out}
	if err := out.send(ss.Context(), b); err != nil {
		out.Put(b)
		return reasonStatus(stages.SlowClient, err.Error()).Err()
	}
	err := ss.SendMsg(&answer{b, out})
	out.handed(ss.Context())
	return err
}

// skipBody reads over the body of a refused message, without keeping any of it.
func (r *frameReader) skipBody() error {
	for r.skip > 0 {
		pieces, err := r.wire.Read(min(largeBody, r.skip))
		if err != nil {
			return bodyError(err)
		}
		n := pieces.Len()
		pieces.Free()
		r.skip -= n
		if r.charge != nil {
			r.charge.delivered(n)
			r.charge.complete()
		}
	}
	return nil
}

// inflate decompresses a message. One that outgrows the first guess has its bytes counted, and is decompressed again
// into memory for just that many, reserved when they are more than largeBody: so a bomb takes time, but no memory.
func (r *frameReader) inflate(frame []byte, owner stages.Freer) ([]byte, stages.Freer, error) {
	defer owner.Free()
	b := buffers.Get(min(max(8*len(frame), 1<<minBufferBits), largeBody, r.max))
	*b = (*b)[:cap(*b)]
	n, err := r.decompressed(frame, *b)
	if err == nil && n > len(*b) {
		buffers.Put(b)
		if extra := n - r.reserved; n > largeBody && extra > 0 && !r.reserve(extra) {
			if r.stopped.Err() != nil {
				return nil, nil, r.stopped.Err()
			}
			return nil, nil, refuse(stages.Overloaded, receiveMemoryTaken)
		}
		b = buffers.Get(n)
		n, err = r.decompressed(frame, *b)
	}
	if err != nil {
		buffers.Put(b)
		return nil, nil, err
	}
	*b = (*b)[:n]
	return *b, (*ownBuffer)(b), nil
}

// decompressed puts what frame decompresses to into b and returns its length; if that is more than b holds, b has
// nothing of use.
func (r *frameReader) decompressed(frame, b []byte) (int, error) {
	source, err := r.decompress.Decompress(bytes.NewReader(frame))
	if err != nil {
		return 0, refuse(stages.MalformedEvent, "the message cannot be decompressed: %v", err)
	}
	for have, total := 0, 0; ; {
		if have == len(b) {
			have = 0
		}
		n, err := source.Read(b[have:])
		have += n
		total += n
		switch {
		case total > r.max:
			return 0, refuse(stages.MessageTooLarge,
				"the message has more than %d bytes after decompression, the bound of GRPC_MAX_MESSAGE_BYTES", r.max)
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil:
			return 0, refuse(stages.MalformedEvent, "the message cannot be decompressed: %v", err)
		}
	}
}

// readError tells the clean end from a cut message and from a stream that is gone.
func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}

// bodyError is readError inside a message, where even the clean end is a cut.
func bodyError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errCut
	}
	return err
}
