//go:build faults

package main

// Hostile floods and slowness: what is harmless once, and takes seconds. Good clients are served all the while.

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// flood is a row that wants to look at the gateway while it goes on.
type flood struct {
	id     string
	input  string
	answer string
	do     func(v victim, c *rawClient) string
}

var floods = []flood{
	{"H15", "rapid reset: 20,000 HEADERS and RST_STREAM on one connection, then a good call", "OK", func(_ victim, c *rawClient) string {
		return resets(c, func(id uint32) error { return c.framer.WriteRSTStream(id, http2.ErrCodeCancel) })
	}},
	{"X34", "the same with WINDOW_UPDATE of 0, so that the gateway resets", "OK", func(_ victim, c *rawClient) string {
		return resets(c, func(id uint32) error { return c.framer.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4)) })
	}},
	{"H17l", "50,000 SETTINGS, then a good call", "OK", func(_ victim, c *rawClient) string {
		for i := range 50_000 {
			c.write(func() error {
				return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(1<<30 - i%2)})
			})
		}
		return c.call(fields(unaryMethod), goodFrame())
	}},
	{"X35", "a million empty CONTINUATIONs, then a good call", "OK", emptyContinuations},
	{"X36", "a million PRIORITYs, then a good call", "OK", func(_ victim, c *rawClient) string {
		repeat(c, 1000, http2.FramePriority, 1, []byte{0, 0, 0, 3, 1})
		return c.call(fields(unaryMethod), goodFrame())
	}},
	{"H19a", "a TCP connection that says nothing, 200 times", "200 closed after 10s", silence(nil)},
	{"H19b", "the HTTP/2 preface and no more, 200 times", "200 closed after 10s", silence([]byte(http2.ClientPreface))},
	{"H20a", "slow post: a byte a second of a unary call's body, on 100 connections",
		"100 x RESOURCE_EXHAUSTED SLOW_CLIENT quota retry 1s", slowPosts},
	{"H39a", "a million messages on a stream, no answer is read", "RESOURCE_EXHAUSTED SLOW_CLIENT quota retry 1s", unreadStream},
	{"X37a", "nothing is read of the connection, and WINDOW_UPDATEs come without end", "closed", deafFlood(http2.FrameWindowUpdate, 0, []byte{0, 0, 0, 1})},
	{"X37b", "the same with SETTINGS", "closed", deafFlood(http2.FrameSettings, 0, []byte{0, 3, 0, 0, 0, 9})},
	{"X37c", "the same with RST_STREAM", "closed", deafFlood(http2.FrameRSTStream, 99, []byte{0, 0, 0, 8})},
}

func TestHostileFloods(t *testing.T) {
	v := startVictim(t)
	for _, row := range floods {
		t.Run(row.id, func(t *testing.T) {
			before := v.rss(t)
			c := openRaw(t, v.grpc)
			answer := make(chan string, 1)
			began := time.Now()
			go func() { answer <- row.do(v, c) }()
			got, slowest, most := "", time.Duration(0), int64(0)
			for got == "" {
				select {
				case got = <-answer:
				case <-time.After(20 * time.Millisecond):
					call := time.Now()
					v.good(t)
					slowest, most = max(slowest, time.Since(call)), max(most, v.rss(t)-before)
				}
			}
			if got != row.answer {
				t.Errorf("%s:\n answered %s\n want     %s", row.input, got, row.answer)
			}
			_ = c.conn.Close()
			t.Logf("took %v; slowest good call %v; most memory %d MiB more", time.Since(began).Round(time.Millisecond), slowest, most>>20)
			v.isWell(t, before)
		})
	}
	v.atRest(t)
}

// resets opens 20,000 calls that end at once, one way or another.
func resets(c *rawClient, reset func(uint32) error) string {
	for range 20_000 {
		id := c.begin(fields(streamMethod), false)
		c.write(func() error { return reset(id) })
		c.mu.Lock()
		delete(c.answers, id)
		delete(c.windows, id)
		c.mu.Unlock()
	}
	return c.call(fields(unaryMethod), goodFrame())
}

// repeat writes a frame 1,000 times at once, n times. False: the gateway has hung up.
func repeat(c *rawClient, n int, kind http2.FrameType, stream uint32, payload []byte) bool {
	var b bytes.Buffer
	f := http2.NewFramer(&b, nil)
	for range 1000 {
		_ = f.WriteRawFrame(kind, 0, stream, payload)
	}
	for range n {
		if !c.raw(b.Bytes()) {
			return false
		}
	}
	return true
}

func emptyContinuations(_ victim, c *rawClient) string {
	block := c.encode(fields(streamMethod))
	id := c.next
	c.next += 2
	rawFrame(http2.FrameHeaders, 0, id, block...)(c)
	repeat(c, 1000, http2.FrameContinuation, id, nil)
	rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, id)(c)
	return c.call(fields(unaryMethod), goodFrame())
}

// silence opens connections that stop talking, and says when they were closed.
func silence(first []byte) func(victim, *rawClient) string {
	return func(v victim, c *rawClient) string {
		began := time.Now()
		var all []*rawClient
		for range 200 {
			s := dialRaw(c.t, v.grpc)
			s.mute = true
			go s.read()
			s.raw(first)
			all = append(all, s)
		}
		closed := 0
		for _, s := range all {
			if s.ended() == "closed" {
				closed++
			}
		}
		return fmt.Sprintf("%d closed after %v", closed, time.Since(began).Truncate(10*time.Second))
	}
}

func slowPosts(v victim, c *rawClient) string {
	var wg sync.WaitGroup
	answers := make([]string, 100)
	for i := range answers {
		s := openRaw(c.t, v.grpc)
		wg.Go(func() {
			id := s.begin(fields(unaryMethod), false)
			s.send(id, frameHeader(0, 1000), false)
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for s.send(id, []byte{0}, false) {
				<-tick.C
			}
			answers[i] = s.answer(id)
		})
	}
	wg.Wait()
	for i := range answers {
		if answers[i] != answers[0] {
			return answers[0] + ", but also " + answers[i]
		}
	}
	return fmt.Sprintf("%d x %s", len(answers), answers[0])
}

// unreadStream sends a million messages and lets answers in only when the gateway has given up.
func unreadStream(v victim, c *rawClient) string {
	rawFrame(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0xff, 0xff)(c)
	id := c.begin(fields(streamMethod), false)
	messages := bytes.Repeat(goodFrame(), 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 1000 {
			if !c.send(id, messages, false) {
				return
			}
		}
	}()
	eventually(c.t, "a slow client is counted", func() bool {
		_, text := v.get("/metrics")
		return strings.Contains(text, "\ngateway_grpc_slow_clients_total 1\n")
	})
	c.write(func() error { return c.framer.WriteWindowUpdate(id, 1<<30) })
	answer := c.answer(id)
	<-done
	return answer[strings.LastIndex(answer, "; ")+2:]
}

// deafFlood asks for more than it reads until the gateway cannot write, and then sends one kind of frame on and on.
func deafFlood(kind http2.FrameType, stream uint32, payload []byte) func(victim, *rawClient) string {
	return func(v victim, c *rawClient) string {
		f := dialRaw(c.t, v.grpc)
		_ = f.conn.(*net.TCPConn).SetReadBuffer(4096)
		f.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		f.windows[0], f.initial = 1<<20, 256<<10
		for range 10 {
			f.send(f.begin(fields(unaryBatchMethod), false), batchOf(10_000, 2<<3, 1), true)
		}
		for repeat(f, 100, kind, stream, payload) {
		}
		return "closed"
	}
}

// init adds floods to the tables, for the page that lists all rows.
func init() {
	var rows []hostileRow
	for _, f := range floods {
		rows = append(rows, hostileRow{id: f.id, input: f.input, answer: f.answer})
	}
	newHostileTable("TestHostileFloods", nil, rows)
}
