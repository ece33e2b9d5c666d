package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/event-gateway/event-gateway/stages"
)

// rawConn is a client that speaks HTTP/2 frame by frame and keeps the flow control's rules as it likes.
type rawConn struct {
	t      testing.TB
	conn   net.Conn
	framer *http2.Framer
	mu     sync.Mutex // guards writes
	// window is what the server lets us send, for the connection (0) and each stream; waiters are woken by changed.
	windowMu sync.Mutex
	window   map[uint32]int
	changed  *sync.Cond
	closed   bool
}

func (g *gateway) rawHTTP2() *rawConn {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.server.Addr().String())
	if err != nil {
		g.t.Fatal(err)
	}
	c := &rawConn{t: g.t, conn: conn, framer: http2.NewFramer(conn, conn), window: map[uint32]int{0: 65535}}
	c.changed = sync.NewCond(&c.windowMu)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		g.t.Fatal(err)
	}
	if err := c.framer.WriteSettings(); err != nil {
		g.t.Fatal(err)
	}
	g.wg.Go(c.read)
	return c
}

// read follows the server's windows until the connection ends.
func (c *rawConn) read() {
	defer func() {
		c.windowMu.Lock()
		c.closed = true
		c.windowMu.Unlock()
		c.changed.Broadcast()
	}()
	for {
		f, err := c.framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			c.windowMu.Lock()
			c.window[f.StreamID] += int(f.Increment)
			c.windowMu.Unlock()
			c.changed.Broadcast()
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.mu.Lock()
				_ = c.framer.WriteSettingsAck()
				c.mu.Unlock()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				c.mu.Lock()
				_ = c.framer.WritePing(true, f.Data)
				c.mu.Unlock()
			}
		}
	}
}

// open begins a call.
func (c *rawConn) open(id uint32, method string, more ...[2]string) {
	var block writeBuffer
	e := hpack.NewEncoder(&block)
	for _, f := range append([][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", method}, {":authority", "test"},
		{"content-type", "application/grpc"}, {"te", "trailers"}}, more...) {
		_ = e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c.windowMu.Lock()
	c.window[id] = streamWindow
	c.windowMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
}

type writeBuffer []byte

func (b *writeBuffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// send sends data on a stream as far as the windows let it. False: the connection is closed or quit is.
func (c *rawConn) send(id uint32, data []byte, quit *atomic.Bool) bool {
	for len(data) > 0 {
		c.windowMu.Lock()
		for !c.closed && !quit.Load() && (c.window[0] <= 0 || c.window[id] <= 0) {
			c.changed.Wait()
		}
		n := min(len(data), 16384, c.window[0], c.window[id])
		c.window[0] -= n
		c.window[id] -= n
		end := c.closed || quit.Load()
		c.windowMu.Unlock()
		if end {
			return false
		}
		c.mu.Lock()
		err := c.framer.WriteData(id, false, data[:n])
		c.mu.Unlock()
		if err != nil {
			return false
		}
		data = data[n:]
	}
	return true
}

func (c *rawConn) quit(flag *atomic.Bool) {
	c.windowMu.Lock()
	flag.Store(true)
	c.windowMu.Unlock()
	c.changed.Broadcast()
}

// TestUnfinishedLargeMessages: 200 messages of 20 MiB, of each all bytes but the last as far as the gateway takes
// them. They must not take 4 GB, nor hold up anybody else.
func TestUnfinishedLargeMessages(t *testing.T) {
	g := start(t, func(c *setup) { c.config.AdmissionTimeout = recvPatience }) // unary calls wait as streams do
	g.good()
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)

	const length = 20<<20 - 1024
	body := make([]byte, 1<<20)
	header := binary.BigEndian.AppendUint32([]byte{0}, length)
	var conns []*rawConn
	var quit atomic.Bool
	var senders sync.WaitGroup
	for range 4 {
		c := g.rawHTTP2()
		conns = append(conns, c)
		for i := range 50 {
			id := uint32(2*i + 1)
			c.open(id, []string{streamMethod, unaryMethod, batchStreamMethod, unaryBatchMethod}[i%4])
			senders.Go(func() {
				if !c.send(id, header, &quit) {
					return
				}
				for left := length - 1; left > 0; {
					n := min(left, len(body))
					if !c.send(id, body[:n], &quit) {
						return
					}
					left -= n
				}
			})
		}
	}
	g.eventually("the part for large bodies is full", func() bool {
		g.server.recv.mu.Lock()
		defer g.server.recv.mu.Unlock()
		return g.server.recv.waiters.Len() > 100
	})
	g.eventually("the windows of the others are full", func() bool { return g.server.recv.unread.Load() > 40<<20 })
	limit := int64(testSetup().config.MaxReceive)
	for range 20 {
		if held := g.server.recv.held(); held > limit {
			t.Errorf("%d bytes of receive memory in use, more than MAX_RECV_BYTES: unread %d, queued %d, shared %d, holders %d", held, g.server.recv.unread.Load(), g.server.recv.queued, g.server.recv.shared, g.server.recv.holders.Load())
		}
		g.good()
	}
	begin := time.Now()
	answer, err := g.client().IngestEventBatch(g.context(), batchRequest(10_000)) // a large message of another client
	if err != nil || answer.Succeeded != 10_000 {
		t.Errorf("a large message of a good client: %v, %v", answer, err)
	}
	if took := time.Since(begin); took > 3*time.Second { // well below recvPatience: it did not queue
		t.Errorf("a large message of a good client took %v", took)
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapInuse) - int64(before.HeapInuse); grown > 2*limit {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	} else {
		t.Logf("heap grown by %d MiB, receive memory %d MiB", grown>>20, g.server.recv.held()>>20)
	}
	for _, c := range conns {
		c.quit(&quit)
		_ = c.conn.Close()
	}
	senders.Wait()
	g.eventually("everything given back", func() bool { return g.server.recv.held() == 0 && g.server.streams.count() == 0 })
}

// TestConnectionOverItsShareIsCut: streams that are not read fill the gateway's receive memory; the connection that
// fills it is made to wait, then closed, and the others go on.
func TestConnectionOverItsShareIsCut(t *testing.T) {
	g := start(t, func(c *setup) {
		c.config.MaxMessageBytes, c.config.MaxReceive = stages.MiB, 4*stages.MiB
		c.config.StreamWindow = 1
	})
	g.server.recv.patience = 300 * time.Millisecond
	g.broker.hold() // no answers, so nothing is read after each stream's first message
	frame, _ := proto.Marshal(request("x"))
	message := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(frame))), frame...)
	many := make([]byte, 0, streamWindow)
	for len(many)+len(message) <= streamWindow {
		many = append(many, message...)
	}
	c := g.rawHTTP2()
	var quit atomic.Bool
	var senders sync.WaitGroup
	for i := range 100 { // 100 windows of 256 KiB are far more than the 2 MiB for them
		id := uint32(2*i + 1)
		c.open(id, streamMethod)
		senders.Go(func() { c.send(id, many, &quit) })
	}
	g.eventually("the connection is paused", func() bool { return g.server.recv.paused.Load() > 0 })
	if held := g.server.recv.unread.Load(); held > int64(2*stages.MiB)+32<<10 {
		t.Errorf("%d bytes unread", held)
	}
	g.eventually("the connection is cut", func() bool { return g.server.recv.cut.Load() > 0 })
	g.broker.release()
	g.good()
	c.quit(&quit)
	senders.Wait()
	_ = c.conn.Close()
}

// TestReserve: the even share lets small users past a full queue; the queue is first come first served.
func TestReserve(t *testing.T) {
	l := newRecvLimit(40 * stages.MiB) // parts of 10 MiB
	l.patience = 50 * time.Millisecond
	conn := func() *recvStream { return &recvStream{conn: &recvConn{limit: l}} }
	greedy, modest := conn(), conn()
	ctx := context.Background()
	for i := range 2 { // its share of 10 MiB while alone, then the queue's 10 MiB
		if !l.reserve(ctx, greedy, 10<<20, l.patience) {
			t.Fatalf("reservation %d refused", i)
		}
	}
	if l.reserve(ctx, greedy, 10<<20, l.patience) {
		t.Error("a third part granted")
	}
	if !l.reserve(ctx, modest, 5<<20, l.patience) {
		t.Error("the share of another connection refused")
	}
	waiting := make(chan bool)
	l.patience = patience
	go func() { waiting <- l.reserve(ctx, modest, 8<<20, l.patience) }()
	for deadline := time.Now().Add(patience); ; {
		l.mu.Lock()
		n := l.waiters.Len()
		l.mu.Unlock()
		if n == 1 || time.Now().After(deadline) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	l.release(greedy, 10<<20)
	l.release(greedy, 10<<20)
	if !<-waiting {
		t.Error("not granted after a release")
	}
	l.release(modest, 5<<20)
	l.release(modest, 8<<20)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if l.reserve(cancelled, greedy, 30<<20, l.patience) {
		t.Error("more than a part granted")
	}
	if l.held() != 0 || l.users != 0 || l.refused != 2 {
		t.Errorf("held %d, users %d, refused %d", l.held(), l.users, l.refused)
	}
}

func TestConnectionLimitRefuses(t *testing.T) {
	g := start(t, func(c *setup) { c.config.MaxConnections = 2 })
	g.good()
	g.good()
	c, err := net.Dial("tcp", g.server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.ReadAll(c); err != nil { // closed: the end comes at once; a reset is fine too
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Fatal("the third connection was not closed")
		}
	}
	if n := g.server.listener.refused.Load(); n != 1 {
		t.Errorf("%d connections refused", n)
	}
	_ = g.conns[0].Close()
	g.eventually("a place is free", func() bool { return g.server.listener.open.Load() < 2 })
	g.good()
}

// TestConnectionsFromOneAddress: one address cannot take all places.
func TestConnectionsFromOneAddress(t *testing.T) {
	g := start(t, func(c *setup) { c.config.MaxConnectionsEach = 20 })
	from := func(host string) net.Conn {
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).Dial("tcp", g.server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range 100 {
		from("127.0.0.2")
	}
	g.eventually("80 refused", func() bool { return g.server.listener.refused.Load() == 80 })
	if n := g.server.listener.open.Load(); n != 20 {
		t.Errorf("%d connections open", n)
	}
	g.good() // from 127.0.0.1
}

func TestSilentBodyIsNotCountedForEver(t *testing.T) {
	g := start(t, nil)
	c := g.rawHTTP2()
	c.open(1, streamMethod)
	var quit atomic.Bool
	c.send(1, append(binary.BigEndian.AppendUint32([]byte{0}, 1000), make([]byte, 500)...), &quit)
	g.eventually("half a message counted", func() bool { return g.server.recv.unread.Load() == 505+frameCost })
	c.mu.Lock()
	_ = c.framer.WriteRSTStream(1, http2.ErrCodeCancel)
	c.mu.Unlock()
	g.eventually("given back", func() bool { return g.server.recv.unread.Load() == 0 })
	_ = c.conn.Close()
}

// TestCallsWithoutHandlerLeaveNothing: grpc-go refuses an unknown grpc-encoding, and a deadline that is over at once,
// before a handler could close the call's account.
func TestCallsWithoutHandlerLeaveNothing(t *testing.T) {
	g := start(t, nil)
	c := g.rawHTTP2()
	var quit atomic.Bool
	for i := range uint32(100) {
		header, value := "grpc-encoding", "unknown"
		if i%2 == 0 {
			header, value = "grpc-timeout", "1u"
		}
		c.open(2*i+1, unaryMethod, [2]string{header, value})
		c.send(2*i+1, make([]byte, 200), &quit)
	}
	good, err := proto.Marshal(request("after them"))
	if err != nil {
		t.Fatal(err)
	}
	c.open(999, streamMethod)
	c.send(999, append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(good))), good...), &quit)
	g.eventually("all were read", func() bool { return g.pipeline.Totals(stages.FromGRPC).Outcomes[stages.Acknowledged] == 1 })
	g.eventually("nothing counted", func() bool { return g.server.recv.unread.Load() == 0 })
	_ = c.conn.Close()
}

// TestFramesOfOneByteAreCharged: a message in tiny frames takes more memory than it has bytes, until it is complete.
func TestFramesOfOneByteAreCharged(t *testing.T) {
	g := start(t, nil)
	c := g.rawHTTP2()
	c.open(1, streamMethod)
	var quit atomic.Bool
	for _, b := range []byte{0, 0, 0, 1, 0, 9, 9, 9} {
		c.send(1, []byte{b}, &quit)
	}
	g.eventually("8 frames counted", func() bool { return g.server.recv.unread.Load() == 8*(1+frameCost) })
	c.send(1, make([]byte, 253), &quit) // the message is complete, and no event
	g.eventually("given back", func() bool { return g.server.recv.unread.Load() == 0 })
	_ = c.conn.Close()
}
