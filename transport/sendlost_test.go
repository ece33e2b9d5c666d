package transport

// Answers that meet the end of their call on the way into grpc-go, which drops them without giving them back.

import (
	"context"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// cancelledStream takes an answer just when its client cancels the call.
type cancelledStream struct {
	grpc.ServerStream
	ctx    context.Context
	cancel context.CancelFunc
	taken  mem.BufferSlice
}

func (s *cancelledStream) Context() context.Context { return s.ctx }

func (s *cancelledStream) SendMsg(m any) (err error) {
	s.taken, err = newCodec().Marshal(m)
	s.cancel()
	return err
}

// An answer is off the account once, whether grpc-go gives it back or not; those before it are, too, and those of other
// calls stay.
func TestLostAnswersAreGivenBack(t *testing.T) {
	for name, before := range map[string]int{"alone": 0, "behind others": 3} {
		t.Run(name, func(t *testing.T) {
			limit := &sendLimit{room: sendRoom}
			conn := &recvConn{sending: sending{limit: limit}}
			other := outbox{conn: conn}
			if err := other.reserve(t.Context(), 100_000); err != nil {
				t.Fatal(err)
			}
			others := limit.held.Load()
			r := frameReader{charge: &recvStream{conn: conn, out: outbox{conn: conn}}}
			var earlier []*[]byte
			for range before {
				b := buffers.Get(5000)
				if err := r.charge.out.send(t.Context(), b); err != nil {
					t.Fatal(err)
				}
				r.charge.out.handed(t.Context())
				earlier = append(earlier, b)
			}
			if n := limit.held.Load() - others; n < int64(before)*5000 {
				t.Fatalf("%d bytes held of %d answers", n, before)
			}
			ss := &cancelledStream{}
			ss.ctx, ss.cancel = context.WithCancel(t.Context())
			if err := r.answer(ss, buffers.Get(3000)); err != nil {
				t.Fatal(err)
			}
			if n := limit.held.Load(); n != others {
				t.Errorf("%d bytes held, want %d, those of the other call", n, others)
			}
			for _, b := range earlier {
				r.charge.out.Put(b)
			}
			ss.taken.Free() // grpc-go has given it back after all
			if n := limit.held.Load(); n != others || limit.holders.Load() != 1 {
				t.Errorf("given back twice: %d bytes held, want %d; %d holders", n, others, limit.holders.Load())
			}
		})
	}
}

// TestAnswersThatMeetTheEndOfTheirCall is the same race with grpc-go itself: about one of 20,000 answers is lost.
func TestAnswersThatMeetTheEndOfTheirCall(t *testing.T) {
	g := start(t, nil)
	c := g.rawHTTP2()
	var quit atomic.Bool
	message := framed(t, request("cancelled"))
	const calls, behind = 2000, 8 // calls that are open before the first of them is cancelled
	for i := range uint32(calls) {
		c.open(2*i+1, []string{unaryMethod, streamMethod}[i%2])
		c.send(2*i+1, message, &quit)
		c.endStream(2*i + 1)
		if i >= behind {
			c.mu.Lock()
			_ = c.framer.WriteRSTStream(2*(i-behind)+1, http2.ErrCodeCancel)
			c.mu.Unlock()
		}
	}
	g.eventually("given back", func() bool { return g.server.send.held.Load() == 0 && g.server.send.holders.Load() == 0 })
	_ = c.conn.Close()
}
