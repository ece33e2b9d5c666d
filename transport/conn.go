package transport

// A connection that knows how many bytes of message data it holds in memory.
//
// It walks the HTTP/2 frame headers (RFC 9113, 4.1) of what grpc-go reads and
// charges the payload of each DATA frame to its stream, before grpc-go has
// it. The handlers take off what they have read. It sits above TLS, so it is
// put in place by the credentials' handshake and not by the listener.
//
// grpc-go's own read buffer is switched off (grpc.ReadBufferSize(0)) and kept
// here instead: so grpc-go has consumed exactly what was handed over, and while
// it handles a HEADERS frame, the stream that it opens is the one whose header
// was handed over last. That is how tap finds a call's account.

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"
)

const (
	frameHeaderLength = 9
	frameTypeData     = 0
	flagPadded        = 0x8
	// frameCost is what a DATA frame takes in memory besides its bytes while its message is read: grpc-go hands
	// over the pieces in which a message came, and a message in frames of one byte took about 30 bytes a frame.
	frameCost = 64
	// prefaceLength is that of the client's "PRI * HTTP/2.0..." before its first frame.
	prefaceLength = 24
	// readBuffer is grpc-go's default for its own.
	readBuffer = 32 << 10
	// pausePoll is how often a paused connection looks whether there is room again.
	pausePoll = 10 * time.Millisecond
)

// maxMeanwhile is how many frames without data are read while one Write to the peer is under way.
const maxMeanwhile = 1000

var errDeafFlood = errors.New("the client sends frames without end and reads nothing")

var errOverShare = errors.New("the connection held more than its share of MAX_RECV_BYTES for too long")

// recvConn is the server's side of one connection. Read is called by one goroutine, grpc-go's reader.
type recvConn struct {
	net.Conn
	limit  *recvLimit
	addr   connAddr
	buffer *bufio.Reader
	closed chan struct{}
	once   sync.Once

	// The walk over the frames; the reader's.
	preface int // bytes of the client preface still to come
	header  [frameHeaderLength]byte
	have    int // bytes of header so far
	payload int // bytes of the frame's payload still to come
	stream  uint32
	padded  bool // the next byte is the length of the padding

	// unread is what the connection's streams hold.
	unread atomic.Int64
	// sending is the account of the answers that the client has not taken.
	sending sending
	// writes is odd while a Write to the peer is under way. lastWrite and meanwhile, the reader's, count the
	// frames without data that came during one and the same Write.
	writes    atomic.Uint64
	lastWrite uint64
	meanwhile int

	mu      sync.Mutex
	streams map[uint32]*recvStream

	// Large bodies; guarded by limit.mu.
	shared       int64
	reservations int
}

// connAddr is the peer's address; grpc hands it to every call (peer.FromContext), and so the connection too.
type connAddr struct {
	net.Addr
	conn *recvConn
	// host is the address without the port.
	host string
}

// recvStream is the account of one ingest call. Its unread bytes are charged by the connection's reader and taken
// off by the handler.
type recvStream struct {
	conn   *recvConn
	id     uint32
	unread atomic.Int64
	// extra is what frameCost has added to unread since the last message was complete.
	extra atomic.Int64
	// watched ends the watch for the end of a call that never reaches its handler.
	watched func() bool
	// out is the account of the call's answers. It must not refer to their outbox.
	out account

	// Large bodies; guarded by limit.mu.
	shared, queued int64
	reservations   int
	// short: the last large body that had to wait for memory has none.
	short bool
}

func newRecvConn(c net.Conn, limit *recvLimit, send *sendLimit) *recvConn {
	r := &recvConn{
		Conn: c, limit: limit, sending: sending{limit: send, first: make(chan struct{}, 1)}, buffer: bufio.NewReaderSize(c, readBuffer), closed: make(chan struct{}),
		preface: prefaceLength, streams: make(map[uint32]*recvStream),
	}
	r.addr = connAddr{Addr: c.RemoteAddr(), conn: r, host: hostOf(c.RemoteAddr())}
	return r
}

// RemoteAddr is the peer's address as a *connAddr.
func (c *recvConn) RemoteAddr() net.Addr { return &c.addr }

// Close closes the connection and gives back everything that it held.
func (c *recvConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		close(c.closed)
		c.mu.Lock()
		open := slices.Collect(maps.Values(c.streams))
		c.mu.Unlock()
		for _, s := range open {
			s.close()
		}
		c.sending.close()
	})
	return err
}

// Read hands over bytes and walks the frames in them. Between two frames it waits while the gateway's receive
// memory is full and this connection holds too much of it, or while the peer takes nothing of what is written to it.
func (c *recvConn) Read(p []byte) (int, error) {
	if c.have == 0 && c.payload == 0 {
		if c.limit.over(c.unread.Load()) {
			if err := c.waitForRoom(); err != nil {
				return 0, err
			}
		}
		if c.meanwhile > maxMeanwhile {
			if err := c.waitForWrite(); err != nil {
				return 0, err
			}
		}
	}
	n, err := c.buffer.Read(p)
	c.walk(p[:n])
	return n, err
}

// Write writes to the peer, one call at a time.
func (c *recvConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	defer c.writes.Add(1)
	return c.Conn.Write(p)
}

// waitForWrite waits a bounded time until the Write that is under way has ended.
func (c *recvConn) waitForWrite() error {
	deadline := time.NewTimer(c.limit.patience)
	defer deadline.Stop()
	poll := time.NewTicker(pausePoll)
	defer poll.Stop()
	for c.writes.Load() == c.lastWrite {
		select {
		case <-poll.C:
		case <-c.closed:
			return net.ErrClosed
		case <-deadline.C:
			c.limit.cut.Add(1)
			return errDeafFlood
		}
	}
	c.meanwhile = 0
	return nil
}

// control counts a frame without data. grpc-go queues these for the goroutine that writes, most of them without a
// bound: a peer that reads nothing holds that one up, and filled the gateway's memory with WINDOW_UPDATEs.
func (c *recvConn) control() {
	if now := c.writes.Load(); now%2 == 0 || now != c.lastWrite {
		c.lastWrite, c.meanwhile = now, 0
		return
	}
	c.meanwhile++
}

func (c *recvConn) walk(p []byte) {
	if c.preface > 0 {
		n := min(c.preface, len(p))
		c.preface -= n
		p = p[n:]
	}
	for len(p) > 0 {
		if c.payload > 0 {
			if c.padded {
				c.padded = false
				c.data(c.payload - 1 - int(p[0]))
			}
			n := min(c.payload, len(p))
			c.payload -= n
			p = p[n:]
			continue
		}
		n := copy(c.header[c.have:], p)
		c.have += n
		p = p[n:]
		if c.have == frameHeaderLength {
			c.have = 0
			c.frame()
		}
	}
}

// frame notes the frame whose header is complete.
func (c *recvConn) frame() {
	h := &c.header
	c.payload = int(h[0])<<16 | int(h[1])<<8 | int(h[2])
	c.stream = binary.BigEndian.Uint32(h[5:]) & math.MaxInt32
	c.padded = false
	if h[3] != frameTypeData {
		c.control()
		return
	}
	if c.payload == 0 {
		return
	}
	if h[4]&flagPadded != 0 { // grpc-go drops padding, and no handler ever takes it off
		c.padded = true
		return
	}
	c.data(c.payload)
}

// data charges n bytes of message data to the frame's stream.
func (c *recvConn) data(n int) {
	if n <= 0 {
		return
	}
	c.mu.Lock()
	s := c.streams[c.stream]
	c.mu.Unlock()
	if s != nil {
		s.received(n)
	}
}

// waitForRoom waits a bounded time for the others, or this connection's own handlers, to make room.
func (c *recvConn) waitForRoom() error {
	c.limit.paused.Add(1)
	deadline := time.NewTimer(c.limit.patience)
	defer deadline.Stop()
	poll := time.NewTicker(pausePoll)
	defer poll.Stop()
	for c.limit.over(c.unread.Load()) {
		select {
		case <-poll.C:
		case <-c.closed:
			return net.ErrClosed
		case <-deadline.C:
			c.limit.cut.Add(1)
			return errOverShare
		}
	}
	return nil
}

// charge adds n bytes, which may be negative, to the connection's and the gateway's unread bytes.
func (c *recvConn) charge(n int64) {
	if n == 0 {
		return
	}
	switch after := c.unread.Add(n); after {
	case n: // it was 0
		c.limit.holders.Add(1)
	case 0:
		c.limit.holders.Add(-1)
	}
	c.limit.unread.Add(n)
}

// received charges a DATA frame. After close it charges nothing: grpc-go drops the bytes of ended streams.
func (s *recvStream) received(n int) {
	if s.unread.Add(int64(n)+frameCost) > 0 {
		s.conn.charge(int64(n) + frameCost)
		s.extra.Add(frameCost)
	}
}

// delivered takes n bytes off that the handler has passed on. After close there is nothing left to take them from.
func (s *recvStream) delivered(n int) {
	if s.unread.Add(int64(-n)) >= 0 {
		s.conn.charge(int64(-n))
	}
}

// complete takes off what the frames of the messages so far have cost. Frames of the next message may be among them:
// what waits unread is put together by grpc-go and costs less.
func (s *recvStream) complete() {
	if n := s.extra.Swap(0); n > 0 {
		s.delivered(int(n))
	}
}

// streamClosed is so far below 0 that no further frames bring it back above.
const streamClosed = math.MinInt64 / 2

// release is close by the handler.
func (s *recvStream) release() {
	s.watched()
	s.close()
}

// close gives back what the stream's handler has not read. Further calls do nothing.
//
// Interleaving with received: the swap and received's addition are atomic, so the bytes of a frame are either
// in what the swap returns, and then received has seen a sum above 0 and charges them too, or come after it and
// are charged nowhere. Between the two charges the connection's sum may be off for a moment, never for good.
func (s *recvStream) close() {
	if left := s.unread.Swap(streamClosed); left > 0 {
		s.conn.charge(-left)
	}
	s.conn.mu.Lock()
	delete(s.conn.streams, s.id)
	s.conn.mu.Unlock()
}

type recvStreamKey struct{}

// tap opens the account of an ingest call. grpc-go calls it from the connection's reader, in the middle of
// handling the HEADERS frame, so the connection's current stream is the call's.
func tapFrames(ctx context.Context, info *tap.Info) (context.Context, error) {
	if !readsFrames(info.FullMethodName) {
		return ctx, nil
	}
	p, ok := peer.FromContext(ctx)
	if !ok || ctx.Err() != nil { // with its deadline already over, the call never reaches a handler
		return ctx, nil
	}
	addr, ok := p.Addr.(*connAddr)
	if !ok {
		return ctx, nil
	}
	c := addr.conn
	s := &recvStream{conn: c, id: c.stream, out: account{conn: c}}
	c.mu.Lock()
	c.streams[s.id] = s
	c.mu.Unlock()
	// Not every call comes to a handler: grpc-go itself refuses an unknown grpc-encoding, or a deadline that has
	// just passed. Their accounts would stay as long as the connection.
	s.watched = context.AfterFunc(ctx, s.close)
	return context.WithValue(ctx, recvStreamKey{}, s), nil
}

// recvStreamOf is the account of the call, or nil.
func recvStreamOf(ctx context.Context) *recvStream {
	s, _ := ctx.Value(recvStreamKey{}).(*recvStream)
	return s
}

// recvConnOf is the connection of the call, or nil.
func recvConnOf(ctx context.Context) *recvConn {
	if p, ok := peer.FromContext(ctx); ok {
		if addr, ok := p.Addr.(*connAddr); ok {
			return addr.conn
		}
	}
	return nil
}

// recvCredentials puts a recvConn on top of the connection that the inner handshake has made.
type recvCredentials struct {
	credentials.TransportCredentials
	limit *recvLimit
	send  *sendLimit
}

// ServerHandshake is the inner one's, counted.
func (c recvCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	return newRecvConn(conn, c.limit, c.send), info, nil
}

// Clone keeps the counting.
func (c recvCredentials) Clone() credentials.TransportCredentials {
	return recvCredentials{c.TransportCredentials.Clone(), c.limit, c.send}
}
