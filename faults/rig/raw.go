//go:build faults || kafka

package rig

// HTTP/2 without a client's manners, frame by frame: rapid resets and slow posts.

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is one connection. One goroutine writes; the answers are read and thrown away by another.
type raw struct {
	net.Conn
	out    *bufio.Writer
	mu     sync.Mutex // guards out and framer's writes: answers to SETTINGS and PING come from the reader
	framer *http2.Framer
	block  bytes.Buffer
	fields *hpack.Encoder
	reset  atomic.Int64 // RST_STREAM and trailers that the server sent
	pong   atomic.Int64 // answers to our PINGs
	closed chan struct{}
}

func newRaw(address string) (*raw, error) {
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	r := &raw{Conn: conn, out: bufio.NewWriterSize(conn, 64<<10), closed: make(chan struct{})}
	r.framer = http2.NewFramer(r.out, conn)
	r.fields = hpack.NewEncoder(&r.block)
	_, err = r.out.WriteString(http2.ClientPreface)
	if err == nil {
		err = r.framer.WriteSettings()
	}
	if err == nil {
		err = r.out.Flush()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	go r.read()
	return r, nil
}

// read owns the connection's reading side and ends with the connection.
func (r *raw) read() {
	defer close(r.closed)
	for {
		frame, err := r.framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = r.write(func() error { return r.framer.WriteSettingsAck() }) // reading ends with what is wrong
			}
		case *http2.PingFrame:
			if f.IsAck() {
				r.pong.Add(1)
				continue
			}
			_ = r.write(func() error { return r.framer.WritePing(true, f.Data) })
		case *http2.RSTStreamFrame:
			r.reset.Add(1)
		case *http2.HeadersFrame:
			if f.StreamEnded() {
				r.reset.Add(1)
			}
		}
	}
}

func (r *raw) write(frame func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := frame(); err != nil {
		return err
	}
	return r.out.Flush()
}

// headers writes the head of a call; the caller holds the lock or is the only writer.
func (r *raw) headers(stream uint32, method, address string) error {
	r.block.Reset()
	for _, field := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", "/gateway.v1.EventGateway/" + method},
		{":authority", address}, {"content-type", "application/grpc+proto"}, {"te", "trailers"}} {
		if err := r.fields.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return err
		}
	}
	return r.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: r.block.Bytes(), EndHeaders: true})
}

// RapidResets opens n streams on one connection and resets each at once. It returns how many it could write.
func RapidResets(t testing.TB, address string, n int) (written int) {
	t.Helper()
	r, err := newRaw(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { r.Close(); <-r.closed }()
	for i := range n {
		stream := uint32(2*i + 1)
		r.mu.Lock()
		err := r.headers(stream, "IngestEventStream", address)
		if err == nil {
			err = r.framer.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
		r.mu.Unlock()
		if err != nil {
			return i
		}
	}
	// What was written is read when the PING behind it is answered.
	if err := r.write(func() error { return r.framer.WritePing(false, [8]byte{}) }); err != nil {
		return n - 1
	}
	Within(Patience, func() bool {
		select {
		case <-r.closed:
			return true
		default:
			return r.pong.Load() > 0
		}
	})
	return n
}

// SlowPosts holds n connections on each of which a unary call sends a byte of its message now and then. stop ends
// them and returns how many calls the gateway had ended by itself.
func SlowPosts(t testing.TB, address string, n int, every time.Duration) (stop func() (ended int)) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var posts sync.WaitGroup
	var ended atomic.Int64
	for range n {
		r, err := newRaw(address)
		if err != nil {
			cancel()
			t.Fatal(err)
		}
		posts.Go(func() {
			defer func() { r.Close(); <-r.closed }()
			_ = r.slowPost(ctx, address, every)
			if r.reset.Load() > 0 {
				ended.Add(1)
			}
		})
	}
	return func() int {
		cancel()
		posts.Wait()
		return int(ended.Load())
	}
}

// slowPost announces 1,000 bytes and never comes to their end.
func (r *raw) slowPost(ctx context.Context, address string, every time.Duration) error {
	err := r.write(func() error {
		if err := r.headers(1, "IngestEvent", address); err != nil {
			return err
		}
		return r.framer.WriteData(1, false, []byte{0, 0, 0, 3, 232})
	})
	for err == nil && r.reset.Load() == 0 {
		pause(ctx, every)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		err = r.write(func() error { return r.framer.WriteData(1, false, []byte{0}) })
	}
	if err != nil {
		return fmt.Errorf("slow post: %w", err)
	}
	return nil
}
