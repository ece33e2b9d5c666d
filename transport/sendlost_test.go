package transport

// Answers that meet the end of their call on the way into grpc-go, which drops them without giving them back.

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// cancelledStream takes an answer just when its call ends.
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

// An answer that meets the end of its call is off the account once, whether grpc-go gives it back or drops it, and not
// while grpc-go keeps it; those before it are off when they are given back, and those of other calls stay.
func TestLostAnswersAreGivenBack(t *testing.T) {
	for name, before := range map[string]int{"alone": 0, "behind others": 3} {
		for fate, dropped := range map[string]bool{"given back": false, "dropped": true} {
			t.Run(name+" "+fate, func(t *testing.T) {
				t.Run("reset", func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					loseAnswer(t, before, dropped, &cancelledStream{ctx: ctx, cancel: cancel})
				})
				t.Run("deadline", func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					loseAnswer(t, before, dropped, &cancelledStream{ctx: ctx, cancel: func() { <-ctx.Done() }})
				})
			})
		}
	}
}

// loseAnswer sends before answers in order, and one to the stream that ends.
func loseAnswer(t *testing.T, before int, dropped bool, ending *cancelledStream) {
	limit := &sendLimit{room: sendRoom}
	conn := &recvConn{sending: sending{limit: limit}}
	other := outbox{&account{conn: conn}}
	if err := other.reserve(t.Context(), 100_000); err != nil {
		t.Fatal(err)
	}
	others := limit.held.Load()
	r := frameReader{charge: &recvStream{conn: conn, out: account{conn: conn}}}
	ss := &cancelledStream{ctx: t.Context(), cancel: func() {}}
	var kept []mem.BufferSlice
	for i := range before + 1 {
		if i == before {
			ss = ending
		}
		if err := r.answer(ss, buffers.Get(3000)); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, ss.taken)
	}
	all := limit.held.Load()
	if n := all - others; n < int64(before+1)*3000 {
		t.Fatalf("%d bytes held of %d answers", n, before+1)
	}
	collectGarbage()
	if n := limit.held.Load(); n != all {
		t.Errorf("%d bytes held, want %d: grpc-go has all answers", n, all)
	}
	for i, b := range kept {
		if i < before || !dropped {
			b.Free()
		}
	}
	clear(kept)
	ss.taken = nil
	for begin := time.Now(); limit.held.Load() != others && time.Since(begin) < patience; {
		collectGarbage()
	}
	collectGarbage()
	if n := limit.held.Load(); n != others || limit.holders.Load() != 1 {
		t.Errorf("%d bytes held, want %d, those of the other call; %d holders", n, others, limit.holders.Load())
	}
}

// collectGarbage lets the garbage collector find what was dropped: pools keep what they have for two collections.
func collectGarbage() {
	for range 3 {
		runtime.GC()
	}
}

// nothingHeld waits until no answers are on an account; what grpc-go dropped is there until a collection.
func (g *gateway) nothingHeld() {
	g.t.Helper()
	g.eventually("no answers held", func() bool {
		collectGarbage()
		return g.server.send.held.Load() == 0 && g.server.send.holders.Load() == 0
	})
}

// TestAnswersThatMeetTheEndOfTheirCall is the same race with grpc-go itself: about one of 20,000 answers is lost to a
// reset, more to deadlines that come about when the answer does.
func TestAnswersThatMeetTheEndOfTheirCall(t *testing.T) {
	deadlines := []string{"400u", "700u", "1m", "1500u", "2m"}
	for name, calls := range map[string]int{"reset": 2000, "deadline": 30_000} {
		t.Run(name, func(t *testing.T) {
			g := start(t, nil)
			c := g.rawHTTP2()
			c.mu.Lock()
			_ = c.framer.WriteWindowUpdate(0, 1<<30) // room for the answers of all calls that are in time
			c.mu.Unlock()
			var quit atomic.Bool
			message := framed(t, request(name))
			const behind = 8 // calls that are open before the first of them is reset
			for i := range uint32(calls) {
				var headers [][2]string
				if name == "deadline" {
					headers = append(headers, [2]string{"grpc-timeout", deadlines[i%5]})
				}
				c.open(2*i+1, []string{unaryMethod, streamMethod}[i%2], headers...)
				c.send(2*i+1, message, &quit)
				c.endStream(2*i + 1)
				if name == "reset" && i >= behind {
					c.mu.Lock()
					_ = c.framer.WriteRSTStream(2*(i-behind)+1, http2.ErrCodeCancel)
					c.mu.Unlock()
				}
			}
			g.nothingHeld()
			_ = c.conn.Close()
		})
	}
}
