package main

// Hostile requests: HTTP/2 headers that are wrong, large, or not gRPC's. Most of these are answered by the gRPC
// library before the gateway's own code; the rows hold what an update of it must not change unseen.

import (
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// goodCall sends a good event under these headers.
func goodCall(edit ...string) func(*rawClient) string {
	return func(c *rawClient) string { return c.call(fields(unaryMethod, edit...), goodFrame()) }
}

var hostileRequests = newHostileTable("TestHostileRequests", nil, []hostileRow{
	{"H00", "a good call, for comparison", "OK", goodCall()},
	{"H01a", "unknown service", "UNIMPLEMENTED NOT_IMPLEMENTED", goodCall(":path: /no.such.Service/IngestEvent")},
	{"H01b", "unknown method", "UNIMPLEMENTED NOT_IMPLEMENTED", goodCall(":path: /gateway.v1.EventGateway/Ingest")},
	{"H02a", "`:path` empty", `UNIMPLEMENTED (malformed method name: "")`, goodCall(":path: ")},
	{"H02b", "`:path` `//svc/m`", "UNIMPLEMENTED NOT_IMPLEMENTED", goodCall(":path: //svc/m")},
	{"H02c", "no `:path`", `UNIMPLEMENTED (malformed method name: "")`, goodCall("-:path")},
	{"H02d", "`:path` twice", "RST PROTOCOL_ERROR", goodCall("+:path: /x/y")},
	{"H02e", "`:path` of 9 KB with quotes, percent signs and Unicode", "UNIMPLEMENTED NOT_IMPLEMENTED",
		goodCall(":path: /" + strings.Repeat("%s\"'\\\u00fc", 1200) + "/x")},
	{"H02f", "an escape character in `:path`", "RST PROTOCOL_ERROR", goodCall(":path: /a\x1b[31m/b")},
	{"H03", "`:method GET`", `HTTP 405 INTERNAL (Received a HEADERS frame with :method "GET" which should be POST)`, goodCall(":method: GET")},
	{"H04", "`:path` without leading slash", `UNIMPLEMENTED (malformed method name: "gateway.v1.EventGateway/IngestEvent")`, goodCall(":path: gateway.v1.EventGateway/IngestEvent")},
	{"H05a", "`content-type: text/html`", `HTTP 415 INVALID_ARGUMENT (invalid gRPC request content-type "text/html")`, goodCall("content-type: text/html")},
	{"H05b", "no `content-type`", `HTTP 415 INVALID_ARGUMENT (invalid gRPC request content-type "")`, goodCall("-content-type")},
	{"H06", "`content-type: application/grpc+json`, a protobuf message", "OK", goodCall("content-type: application/grpc+json")},
	{"H07a", "no `:authority`", "HTTP 400 INTERNAL (no host or :authority header present)", goodCall("-:authority")},
	{"H07b", "two `host`", "HTTP 400 INTERNAL (num values of :authority: 1, num values of host: 2, both must only have 1 value as per HTTP/2 spec)", goodCall("+host: a", "+host: b")},
	{"H08a", "a `connection` header", "RST PROTOCOL_ERROR", goodCall("connection: close")},
	{"H08b", "an uppercase header name", "RST PROTOCOL_ERROR", goodCall("X-Upper: 1")},
	{"H08c", "a NUL in a header value", "RST PROTOCOL_ERROR", goodCall("x: a\x00b")},
	{"H09a", "`grpc-timeout: 1century`", `HTTP 400 INTERNAL (malformed grpc-timeout: transport: timeout unit is not recognized: "1century")`, goodCall("grpc-timeout: 1century")},
	{"H09b", "`grpc-timeout: -1S`", `HTTP 400 INTERNAL (malformed grpc-timeout: strconv.ParseUint: parsing "-1": invalid syntax)`, goodCall("grpc-timeout: -1S")},
	{"H10", "`grpc-timeout: 0n`", "DEADLINE_EXCEEDED (context deadline exceeded)", goodCall("grpc-timeout: 0n")},
	{"H11", "`grpc-timeout: 99999999H`", "OK", goodCall("grpc-timeout: 99999999H")},
	{"H12", "bad base64 in a `-bin` header", `HTTP 400 INTERNAL (malformed binary metadata "!!!" in header "x-bin": illegal base64 data at input byte 0)`, goodCall("x-bin: !!!")},
	{"H13a", "a header of 20 KB", "closed", goodCall("x: " + strings.Repeat("a", 20<<10))},
	{"H13b", "a header of 1 MB by CONTINUATION", "closed", goodCall("x: " + strings.Repeat("~", 1<<20))},
	{"H13c", "500 small headers, together above GRPC_MAX_HEADER_BYTES", "RST FRAME_SIZE_ERROR", goodCall(manyHeaders(500)...)},
	{"H13d", "one header of 3 KB, 8,000 times by its number in the HPACK table", "RST FRAME_SIZE_ERROR", hpackBomb},
})

func manyHeaders(n int) (edit []string) {
	for range n {
		edit = append(edit, "+x: y")
	}
	return edit
}

// hpackBomb names a large header of the table over and over: 8 KB on the wire, 24 MB when decoded.
func hpackBomb(c *rawClient) string {
	first := c.begin(fields(unaryMethod, "x: "+strings.Repeat("a", 3000)), true)
	c.answer(first)
	list := fields(unaryMethod)
	for range 8000 {
		list = append(list, hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 3000)})
	}
	return c.answer(c.begin(list, true))
}

func TestHostileRequests(t *testing.T) { hostileRequests.run(t) }
