package main

// A client that speaks HTTP/2 frame by frame, so that it can say what no gRPC library says.

import (
	"bytes"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	unaryMethod       = "/gateway.v1.EventGateway/IngestEvent"
	unaryBatchMethod  = "/gateway.v1.EventGateway/IngestEventBatch"
	streamMethod      = "/gateway.v1.EventGateway/IngestEventStream"
	batchStreamMethod = "/gateway.v1.EventGateway/IngestEventBatchStream"
)

// rawClient is one connection. The reader's goroutine follows windows and collects answers; the test's writes.
type rawClient struct {
	t      *testing.T
	conn   net.Conn
	framer *http2.Framer
	block  bytes.Buffer
	coder  *hpack.Encoder
	next   uint32
	mute   bool // the reader acknowledges nothing

	writeMu sync.Mutex // framer's writing side, also the reader's acknowledgements

	mu      sync.Mutex // all below
	changed *sync.Cond
	windows map[uint32]int
	initial int // what the gateway's SETTINGS say of a new stream's window
	answers map[uint32]*rawAnswer
	greeted bool // the gateway's SETTINGS have come
	goaway  string
	closed  bool
}

// rawAnswer is what came back on one stream.
type rawAnswer struct {
	headers, trailers map[string]string
	body              []byte
	ended             bool
	reset             string
}

// dialRaw connects without a word; open says the preface and SETTINGS.
func dialRaw(t *testing.T, address string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c := &rawClient{
		t: t, conn: conn, framer: http2.NewFramer(conn, conn), next: 1, initial: 65535,
		windows: map[uint32]int{0: 65535}, answers: map[uint32]*rawAnswer{},
	}
	c.framer.AllowIllegalWrites = true
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.coder = hpack.NewEncoder(&c.block)
	c.changed = sync.NewCond(&c.mu)
	t.Cleanup(func() { _ = conn.Close() })
	return c
}

// open is a connection that is ready for calls.
func openRaw(t *testing.T, address string, settings ...http2.Setting) *rawClient {
	t.Helper()
	c := dialRaw(t, address)
	c.greet(append([]http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 30}}, settings...)...)
	go c.read()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wait("the gateway's SETTINGS", func() bool { return c.greeted })
	return c
}

// greet says preface and SETTINGS. Answers are kept in windows so large that no row runs into them by accident.
func (c *rawClient) greet(settings ...http2.Setting) {
	c.raw([]byte(http2.ClientPreface))
	c.write(func() error { return c.framer.WriteSettings(settings...) })
	c.write(func() error { return c.framer.WriteWindowUpdate(0, 1<<30) })
}

// read collects what comes until the connection ends.
func (c *rawClient) read() {
	for {
		f, err := c.framer.ReadFrame()
		c.mu.Lock()
		if err != nil {
			c.closed = true
			c.mu.Unlock()
			c.changed.Broadcast()
			return
		}
		reply := c.take(f)
		c.mu.Unlock()
		c.changed.Broadcast()
		if reply != nil && !c.mute {
			c.writeMu.Lock()
			_ = reply()
			c.writeMu.Unlock()
		}
	}
}

// take notes one frame; mu is held. It returns what HTTP/2 wants written for it.
func (c *rawClient) take(f http2.Frame) (reply func() error) {
	a := c.answers[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.WindowUpdateFrame:
		c.windows[f.StreamID] += int(f.Increment)
	case *http2.SettingsFrame:
		if f.IsAck() {
			return nil
		}
		if v, ok := f.Value(http2.SettingInitialWindowSize); ok {
			c.initial = int(v)
		}
		c.greeted = true
		return c.framer.WriteSettingsAck
	case *http2.PingFrame:
		if !f.IsAck() {
			data := f.Data
			return func() error { return c.framer.WritePing(true, data) }
		}
	case *http2.GoAwayFrame:
		debug, _, _ := strings.Cut(string(f.DebugData()), ". ")
		c.goaway = strings.TrimSpace("GOAWAY " + f.ErrCode.String() + " " + debug)
	case *http2.RSTStreamFrame:
		if a != nil && !a.ended { // after the status it only says that the rest of the request is not wanted
			a.reset, a.ended = "RST "+f.ErrCode.String(), true
		}
	case *http2.DataFrame:
		if a != nil {
			a.body = append(a.body, f.Data()...)
			a.ended = a.ended || f.StreamEnded()
		}
	case *http2.MetaHeadersFrame:
		if a == nil {
			return nil
		}
		fields := map[string]string{}
		for _, h := range f.Fields {
			fields[h.Name] = h.Value
		}
		if a.headers == nil {
			a.headers = fields
		}
		if f.StreamEnded() {
			a.trailers, a.ended = fields, true
		}
	}
	return nil
}

// write runs one of the framer's writes. That the gateway has hung up meanwhile is for the row to see in the answer.
func (c *rawClient) write(f func() error) bool {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	return f() == nil
}

// raw writes bytes that are no frames, or no legal ones.
func (c *rawClient) raw(b []byte) bool {
	return c.write(func() error {
		_, err := c.conn.Write(b)
		return err
	})
}

// fields are the headers of a good call; edit changes them as "name: value", "-name" and "+name: value".
func fields(method string, edit ...string) (list []hpack.HeaderField) {
	list = []hpack.HeaderField{{Name: ":method", Value: "POST"}, {Name: ":scheme", Value: "http"},
		{Name: ":path", Value: method}, {Name: ":authority", Value: "test"},
		{Name: "content-type", Value: "application/grpc"}, {Name: "te", Value: "trailers"}}
	for _, e := range edit {
		if name, ok := strings.CutPrefix(e, "-"); ok {
			list = slices.DeleteFunc(list, func(f hpack.HeaderField) bool { return f.Name == name })
			continue
		}
		more := strings.HasPrefix(e, "+")
		name, value, _ := strings.Cut(strings.TrimPrefix(e, "+"), ": ")
		i := slices.IndexFunc(list, func(f hpack.HeaderField) bool { return f.Name == name })
		if more || i < 0 {
			list = append(list, hpack.HeaderField{Name: name, Value: value})
			continue
		}
		list[i].Value = value
	}
	return list
}

// encode is the header block of fields.
func (c *rawClient) encode(list []hpack.HeaderField) []byte {
	c.block.Reset()
	for _, f := range list {
		_ = c.coder.WriteField(f)
	}
	return bytes.Clone(c.block.Bytes())
}

// begin opens the next stream and returns its number.
func (c *rawClient) begin(list []hpack.HeaderField, end bool) uint32 {
	id := c.next
	c.next += 2
	c.mu.Lock()
	c.answers[id] = &rawAnswer{}
	c.windows[id] = c.initial
	c.mu.Unlock()
	block := c.encode(list)
	c.write(func() error {
		first := block[:min(len(block), 16<<10)]
		rest := block[len(first):]
		err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end,
			EndHeaders: len(rest) == 0})
		for err == nil && len(rest) > 0 {
			next := rest[:min(len(rest), 16<<10)]
			rest = rest[len(next):]
			err = c.framer.WriteContinuation(id, len(rest) == 0, next)
		}
		return err
	})
	return id
}

// send writes b as DATA within the gateway's windows. False: the connection or the stream has ended.
func (c *rawClient) send(id uint32, b []byte, end bool) bool {
	for {
		n := c.room(id, len(b))
		if n < 0 {
			return false
		}
		last := n == len(b)
		if !c.write(func() error { return c.framer.WriteData(id, end && last, b[:n]) }) {
			return false
		}
		if b = b[n:]; last {
			return true
		}
	}
}

// room waits until a stream may send, and takes up to n bytes of the windows; -1 when it has ended.
func (c *rawClient) room(id uint32, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	have, over := 0, false
	c.wait("room in the gateway's windows", func() bool {
		over = c.answers[id].ended
		have = min(n, c.windows[0], c.windows[id], 16<<10)
		return over || have > 0 || n == 0
	})
	if over || c.closed || have <= 0 && n > 0 {
		return -1
	}
	c.windows[0] -= have
	c.windows[id] -= have
	return have
}

// call makes one call with that body and returns its answer as text.
func (c *rawClient) call(list []hpack.HeaderField, body []byte) string {
	id := c.begin(list, false)
	c.send(id, body, true)
	return c.answer(id)
}

// wait waits under mu until is holds or the connection has ended.
func (c *rawClient) wait(what string, is func() bool) {
	timer := time.AfterFunc(patience, c.changed.Broadcast)
	defer timer.Stop()
	for began := time.Now(); !is() && !c.closed; c.changed.Wait() {
		if time.Since(began) >= patience {
			c.t.Errorf("not within %v: %s", patience, what)
			return
		}
	}
}

// answer waits for the end of a stream and says how it was: events' answers, then the call's.
func (c *rawClient) answer(id uint32) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.answers[id]
	c.wait(fmt.Sprintf("the end of stream %d", id), func() bool { return a.ended })
	if !a.ended {
		return c.connection()
	}
	return a.text()
}

// ended waits for the end of the connection and says how it was.
func (c *rawClient) ended() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wait("the end of the connection", func() bool { return false })
	return c.connection()
}

// connection says what became of the connection; mu is held.
func (c *rawClient) connection() string {
	switch {
	case c.closed && c.goaway != "":
		return c.goaway + ", closed"
	case c.closed:
		return "closed"
	case c.goaway != "":
		return c.goaway
	}
	return "open"
}

// messages waits for n answers of events on a stream that stays open.
func (c *rawClient) messages(id uint32, n int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.answers[id]
	c.wait(fmt.Sprintf("%d answers on stream %d", n, id), func() bool { return a.ended || len(a.frames()) >= n })
	return a.text()
}
