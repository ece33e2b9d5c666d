package main

// Hostile frames: what breaks HTTP/2 itself, on a connection whose greeting was good.

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// rawFrame is a frame of any type and content.
func rawFrame(kind http2.FrameType, flags http2.Flags, stream uint32, payload ...byte) func(*rawClient) {
	return func(c *rawClient) {
		c.write(func() error { return c.framer.WriteRawFrame(kind, flags, stream, payload) })
	}
}

// frames sends frames and says how the connection ends.
func frames(send ...func(*rawClient)) func(*rawClient) string {
	return func(c *rawClient) string {
		for _, s := range send {
			s(c)
		}
		return c.ended()
	}
}

// framesThen sends frames that are to be survived, and then makes a good call on the same connection.
func framesThen(send ...func(*rawClient)) func(*rawClient) string {
	return func(c *rawClient) string {
		for _, s := range send {
			s(c)
		}
		return c.call(fields(unaryMethod), goodFrame())
	}
}

// inCall opens a stream, sends frames on it and says how it ends.
func inCall(method string, send func(c *rawClient, id uint32)) func(*rawClient) string {
	return func(c *rawClient) string {
		id := c.begin(fields(method), false)
		send(c, id)
		return c.answer(id)
	}
}

func onID(id uint32) func(*rawClient) {
	return func(c *rawClient) {
		block := c.encode(fields(unaryMethod))
		rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, block...)(c)
	}
}

func callOn(c *rawClient) { c.call(fields(unaryMethod), goodFrame()) }

var hostileFrames = newHostileTable("TestHostileFrames", nil, []hostileRow{
	{"H14", "400 streams at once, the limit is 256", "144 x RST REFUSED_STREAM", func(c *rawClient) string {
		return tooManyStreams(c, 400)
	}},
	{"H16", "1,000 PINGs at once", "GOAWAY ENHANCE_YOUR_CALM too_many_pings, closed", func(c *rawClient) string {
		for range 1000 {
			c.write(func() error { return c.framer.WritePing(false, [8]byte{1}) })
		}
		return c.ended()
	}},
	{"H17a", "WINDOW_UPDATE of 0 on the connection", "closed", frames(rawFrame(http2.FrameWindowUpdate, 0, 0, 0, 0, 0, 0))},
	{"H17b", "WINDOW_UPDATE of 0 on an open stream", "RST PROTOCOL_ERROR", inCall(streamMethod, func(c *rawClient, id uint32) {
		rawFrame(http2.FrameWindowUpdate, 0, id, 0, 0, 0, 0)(c)
	})},
	{"H17c", "WINDOW_UPDATEs above 2^31-1 together; then a good call", "OK", framesThen(
		func(c *rawClient) { c.write(func() error { return c.framer.WriteWindowUpdate(0, 1<<31-1) }) },
		func(c *rawClient) { c.write(func() error { return c.framer.WriteWindowUpdate(0, 1<<31-1) }) })},
	{"H17d", "DATA on a stream that has ended; then a good call", "OK", framesThen(callOn, func(c *rawClient) {
		c.write(func() error { return c.framer.WriteData(1, true, []byte("more")) })
	})},
	{"H17e", "DATA on a stream that never was; then a good call", "OK", framesThen(func(c *rawClient) {
		c.write(func() error { return c.framer.WriteData(99, true, []byte("more")) })
	})},
	{"H17f", "DATA on stream 0", "closed", frames(rawFrame(http2.FrameData, 0, 0, 1, 2, 3))},
	{"H17g", "HEADERS on stream 0", "closed", frames(onID(0))},
	{"H17h", "HEADERS on an even stream", "GOAWAY PROTOCOL_ERROR received an illegal stream id: 2, closed", frames(onID(2))},
	{"H17i", "HEADERS on a stream number below an earlier one", "GOAWAY PROTOCOL_ERROR received an illegal stream id: 5, closed", frames(onID(7), onID(5))},
	{"H17j", "HEADERS twice on one stream", "GOAWAY PROTOCOL_ERROR received an illegal stream id: 7, closed", frames(onID(7), onID(7))},
	{"H17k", "RST_STREAM on a stream that never was; then a good call", "OK", framesThen(rawFrame(http2.FrameRSTStream, 0, 99, 0, 0, 0, 8))},
	{"X01", "CONTINUATION without HEADERS", "closed", frames(rawFrame(http2.FrameContinuation, 0, 1, 'a'))},
	{"X02", "another frame between HEADERS and CONTINUATION", "closed", frames(
		rawFrame(http2.FrameHeaders, 0, 1, 0x83), rawFrame(http2.FramePing, 0, 0, make([]byte, 8)...))},
	{"X03", "CONTINUATIONs without end", "closed", func(c *rawClient) string {
		block := c.encode(fields(unaryMethod, "x: "+strings.Repeat("a", 4<<10)))
		rawFrame(http2.FrameHeaders, 0, 1, block...)(c)
		for rawOK(c, http2.FrameContinuation, 1, c.encode(fields(unaryMethod, "y: "+strings.Repeat("b", 4<<10)))) {
		}
		return c.ended()
	}},
	{"X04", "a frame of 17 KiB; 16 KiB are the limit", "closed", frames(rawFrame(http2.FrameData, 0, 1, make([]byte, 17<<10)...))},
	{"X05", "a frame of 16 MiB announced", "closed", func(c *rawClient) string {
		c.raw([]byte{0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0})
		return c.ended()
	}},
	{"X06", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", "closed", frames(rawFrame(http2.FrameSettings, 0, 0, 0, 4, 0x80, 0, 0, 0))},
	{"X07", "SETTINGS of 5 bytes", "closed", frames(rawFrame(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0))},
	{"X08", "SETTINGS acknowledged with a payload", "closed", frames(rawFrame(http2.FrameSettings, http2.FlagSettingsAck, 0, 0, 4, 0, 0, 0, 0))},
	{"X09", "SETTINGS_HEADER_TABLE_SIZE of 4 GB; then a good call", "OK", framesThen(
		rawFrame(http2.FrameSettings, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff))},
	{"X10", "PUSH_PROMISE from the client; then a good call", "OK", framesThen(
		rawFrame(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 1, 0, 0, 0, 2))},
	{"X11", "frames of unknown types; then a good call", "OK", framesThen(rawFrame(0x42, 0xff, 0, 1, 2, 3), rawFrame(0xff, 0, 7))},
	{"X12", "PRIORITY of a stream on itself; then a good call", "OK", framesThen(rawFrame(http2.FramePriority, 0, 1, 0, 0, 0, 1, 255))},
	{"X13", "more DATA than a stream's window of 384 KiB lets in", "RST FLOW_CONTROL_ERROR", inCall(streamMethod, func(c *rawClient, id uint32) {
		rawFrame(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0)(c) // no answer gets out, so the stream is soon not read
		for range 40 {
			c.write(func() error { return c.framer.WriteData(id, false, make([]byte, 16<<10)) })
		}
	})},
	{"X13b", "DATA behind END_STREAM", "RST STREAM_CLOSED", inCall(streamMethod, func(c *rawClient, id uint32) {
		// No answer gets out, and after 64 KiB of them the handler waits with them: were it fast enough to end the call
		// between the two frames, the stream would be done and what comes behind it ignored.
		rawFrame(http2.FrameSettings, 0, 0, 0, 4, 0, 0, 0, 0)(c)
		events := bytes.Repeat(goodFrame(), (16<<10)/len(goodFrame()))
		for range 16 {
			c.write(func() error { return c.framer.WriteData(id, false, events) })
		}
		c.write(func() error { return c.framer.WriteData(id, true, goodFrame()) })
		c.write(func() error { return c.framer.WriteData(id, true, goodFrame()) })
	})},
	{"X14", "padding longer than its frame", "closed", inCall(streamMethod, func(c *rawClient, id uint32) {
		rawFrame(http2.FrameData, http2.FlagDataPadded, id, 200, 1, 2)(c)
	})},
	{"X15", "GOAWAY from the client; then a good call", "OK", framesThen(rawFrame(http2.FrameGoAway, 0, 0, make([]byte, 8)...))},
	{"X16", "bad HPACK", "closed", frames(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff))},
	{"X17", "trailers after the request's body", "GOAWAY PROTOCOL_ERROR received an illegal stream id: 1, closed", func(c *rawClient) string {
		id := c.begin(fields(unaryMethod), false)
		c.send(id, goodFrame(), false)
		block := c.encode(fields(unaryMethod))
		rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, id, block...)(c)
		return c.answer(id)
	}},
	{"X18", "SETTINGS_MAX_HEADER_LIST_SIZE of 1, so that no answer fits", "RST INTERNAL_ERROR", func(c *rawClient) string {
		rawFrame(http2.FrameSettings, 0, 0, 0, 6, 0, 0, 0, 1)(c)
		return c.call(fields(unaryMethod), goodFrame())
	}},
	{"X19", "SETTINGS_MAX_FRAME_SIZE of 1; then a good call", "OK", framesThen(rawFrame(http2.FrameSettings, 0, 0, 0, 5, 0, 0, 0, 1))},
})

func rawOK(c *rawClient, kind http2.FrameType, stream uint32, payload []byte) bool {
	return c.write(func() error { return c.framer.WriteRawFrame(kind, 0, stream, payload) })
}

// tooManyStreams opens n streams and says how many were refused.
func tooManyStreams(c *rawClient, n int) string {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = c.begin(fields(streamMethod), false)
	}
	c.write(func() error { return c.framer.WriteWindowUpdate(0, 1) })
	last, refused := "", 0
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wait("the last streams are refused", func() bool { return c.answers[ids[n-1]].ended })
	for _, id := range ids {
		if a := c.answers[id]; a.ended {
			last = a.text()
			refused++
		}
	}
	return fmt.Sprintf("%d x %s", refused, last)
}

func TestHostileFrames(t *testing.T) { hostileFrames.run(t) }
