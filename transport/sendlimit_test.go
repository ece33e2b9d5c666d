package transport

// Answers that clients do not take: bounded memory, the others are served.

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
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// framed is a message with its gRPC header.
func framed(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// shut closes the windows of all answers.
func (c *rawConn) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
}

func (c *rawConn) endStream(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.framer.WriteData(id, true, nil)
}

// TestUnreadAnswersAreBounded: a client that takes no answers is cut when they are more than its share, alone.
func TestUnreadAnswersAreBounded(t *testing.T) {
	g := start(t, func(c *setup) { c.config.SendTimeout = 300 * time.Millisecond })
	g.server.send.room = 2 << 20
	r := batchRequest(5000)
	r.WantResults = true
	message := framed(t, r)
	deaf := g.rawHTTP2()
	deaf.shut()
	var quit atomic.Bool
	for i := range uint32(20) {
		method := unaryBatchMethod
		if i%2 == 1 {
			method = batchStreamMethod
		}
		deaf.open(2*i+1, method)
		if !deaf.send(2*i+1, message, &quit) {
			break
		}
		deaf.endStream(2*i + 1)
	}
	g.eventually("the connection was cut", func() bool { return g.server.send.cut.Load() > 0 })
	g.good()
	g.eventually("nothing held", func() bool { return g.server.send.held.Load() == 0 && g.server.send.holders.Load() == 0 })
	_ = deaf.conn.Close()
}

// TestUnreadAnswersOfEndedStreams: what grpc-go drops with a stream is given back while the connection lives.
func TestUnreadAnswersOfEndedStreams(t *testing.T) {
	g := start(t, nil)
	c := g.rawHTTP2()
	c.shut()
	var quit atomic.Bool
	message := framed(t, request("unread"))
	for i := range uint32(10) {
		c.open(2*i+1, []string{unaryMethod, streamMethod}[i%2])
		c.send(2*i+1, message, &quit)
		c.endStream(2*i + 1)
	}
	g.eventually("10 answers held", func() bool { return g.server.send.held.Load() >= 10*(1<<minBufferBits+answerCost) })
	g.good()
	c.mu.Lock()
	for i := range uint32(10) {
		_ = c.framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	c.mu.Unlock()
	g.nothingHeld() // while the connection lives
	_ = c.conn.Close()
}

// TestFloodWithoutReading: while a peer takes nothing, only so many frames of it are read, and then it is cut.
func TestFloodWithoutReading(t *testing.T) {
	here, there := net.Pipe() // a Write waits until it is read
	l := newRecvLimit(1 << 20)
	l.patience = 200 * time.Millisecond
	c := newRecvConn(here, l, &sendLimit{})
	go func() { _, _ = c.Write(make([]byte, 100)) }()
	for c.writes.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	go func() {
		f := http2.NewFramer(there, there)
		_, _ = there.Write([]byte(http2.ClientPreface))
		for f.WriteWindowUpdate(0, 1) == nil {
		}
	}()
	read, err := 0, error(nil)
	for err == nil && read < 1<<20 {
		var n int
		n, err = c.Read(make([]byte, frameHeaderLength+4))
		read += n
	}
	if frames := read / (frameHeaderLength + 4); frames > 2*maxMeanwhile || l.cut.Load() != 1 {
		t.Errorf("%d frames read of a peer that reads nothing, then %v", frames, err)
	}
	_ = c.Close()
	_ = there.Close()
}

// TestAnswersThatWaitTogether: those that wait for room are not in their own way, however large they are together, nor is one
// that is larger than all the room of a connection. A client that takes all that is sent gets all of them.
func TestAnswersThatWaitTogether(t *testing.T) {
	const answers = 24
	for _, size := range []int{900 << 10, maxSendShare + 1} {
		here, there := net.Pipe()
		limit := &sendLimit{room: sendRoom, timeout: patience}
		c := newRecvConn(here, newRecvLimit(1<<20), limit)
		cost := int64(size + answerCost)
		var sent atomic.Int64
		written := make(chan *outbox)
		var all sync.WaitGroup
		for range answers {
			all.Go(func() {
				o := &outbox{&account{conn: c}}
				if err := o.reserve(t.Context(), size); err != nil {
					t.Error(err)
				}
				// Not by the account: who comes now is on it before it waits.
				if sent := sent.Add(cost); sent > maxSendShare+cost {
					t.Errorf("grpc-go holds %d bytes", sent)
				}
				written <- o
			})
		}
		for c.sending.waiting.Load()+sent.Load() < answers*cost { // until each waits, or was let through
			runtime.Gosched()
		}
		for range answers { // grpc-go writes
			o := <-written
			sent.Add(-cost)
			o.charge(-cost)
		}
		all.Wait()
		if held, waiting := limit.held.Load(), c.sending.waiting.Load(); held != 0 || waiting != 0 {
			t.Errorf("%d bytes are held in the end, and %d wait", held, waiting)
		}
		_ = c.Close()
		_ = there.Close()
	}
}

// TestLargeEventsForManyStreams: what the streams of one connection are sent at once may be more than its share, and none of
// those who read is cut.
func TestLargeEventsForManyStreams(t *testing.T) {
	const streams, size, each = 40, 900 << 10, 2
	g := start(t, func(c *setup) {
		big := storedOf(t, "x", size)
		c.services.Reading = &bothWays{subscribe: func(_ context.Context, s *stages.Subscription) error {
			err := s.Begun()
			for n := 0; n < each && err == nil; n++ {
				err = s.Deliver([]*stages.Delivery{big})
			}
			return err
		}}
	})
	client := g.client()
	var all sync.WaitGroup
	for range streams {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			stream, err := client.SubscribeEvents(ctx, &gatewayv1.SubscribeRequest{})
			n := 0
			for err == nil {
				if _, err = stream.Recv(); err == nil {
					n++
				}
			}
			if n != each || !errors.Is(err, io.EOF) {
				t.Errorf("%d events came, then %v", n, err)
			}
		})
	}
	all.Wait()
	g.nothingHeld()
}
