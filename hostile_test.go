package main

// Hostile and broken inputs against the real gateway with its own broker: each row is one input and the exact
// answer; after it a good client is served within a second and the gateway's memory is as small as before.
// docs/hostile-inputs.md has the same rows for people, and a test that both agree.

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// grownAtMost is how much more memory the gateway may hold after a row than before it.
const grownAtMost = 32 << 20

// hostileRow is one input.
type hostileRow struct {
	id     string
	input  string
	answer string
	// do sends the input over c, a new connection that is ready for calls, and returns the answer as text.
	do func(c *rawClient) string
}

// hostileTable is all rows of one theme; settings are what its gateway is started with.
type hostileTable struct {
	test     string
	settings []string
	rows     []hostileRow
}

// hostileTables is filled by the files of the themes, for the page that lists them.
var hostileTables []*hostileTable

func newHostileTable(test string, settings []string, rows []hostileRow) *hostileTable {
	h := &hostileTable{test, settings, rows}
	hostileTables = append(hostileTables, h)
	return h
}

// run starts a gateway, sends it the rows, one after the other, and returns it.
func (h *hostileTable) run(t *testing.T) victim {
	t.Helper()
	v := startVictim(t, h.settings...)
	for _, row := range h.rows {
		t.Run(row.id, func(t *testing.T) {
			before := v.rss(t)
			c := openRaw(t, v.grpc)
			if got := row.do(c); got != row.answer {
				t.Errorf("%s:\n answered %s\n want     %s", row.input, got, row.answer)
			}
			_ = c.conn.Close()
			v.isWell(t, before)
		})
	}
	v.atRest(t)
	return v
}

// victim is a gateway that hostile inputs are sent to.
type victim struct{ *process }

// startVictim starts a gateway and lets it serve for a moment, so that its memory is that of a gateway at work.
func startVictim(t *testing.T, settings ...string) victim {
	t.Helper()
	v := victim{startGateway(t, append([]string{"EMBEDDED_DATA_DIR=" + t.TempDir(), "PPROF_ENABLED=true"}, settings...)...).ready()}
	publish(t, v.process, 0, "--count", "20000", "--batch", "100", "--streams", "4")
	v.good(t)
	return v
}

// rss is the gateway's resident memory in bytes.
func (v victim) rss(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", v.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("the gateway is gone: %v", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// otherAddress is where good clients come from: limits of one address are the attacker's own.
var otherAddress = &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}

// good sends one event on a connection of its own and wants it acknowledged within a second.
func (v victim) good(t *testing.T) {
	t.Helper()
	conn, err := grpc.NewClient(v.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return otherAddress.DialContext(ctx, "tcp", address)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	answer, err := gatewayv1.NewEventGatewayClient(conn).IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: goodEvent()})
	if err != nil || answer.Outcome != gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED {
		t.Fatalf("a good client: %v, %v", answer, err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("a good client waited %v", took)
	}
}

// isWell checks the gateway after an input. Memory that is in the way is first collected: Go would do so within two
// minutes by itself.
func (v victim) isWell(t *testing.T, before int64) {
	t.Helper()
	v.good(t)
	peak := v.rss(t) - before
	grown := peak
	for deadline := time.Now().Add(patience); grown > grownAtMost && time.Now().Before(deadline); grown = v.rss(t) - before {
		v.get("/debug/pprof/heap?gc=1")
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("memory grown by %d KiB, before a collection %d KiB", grown>>10, peak>>10)
	if grown > grownAtMost {
		t.Errorf("memory has grown by %d MiB", grown>>20)
	}
}

// atRest checks that nothing is left of all the inputs: no stream, no message, no panic.
func (v victim) atRest(t *testing.T) {
	t.Helper()
	for _, name := range []string{"gateway_grpc_ingest_streams", "gateway_receive_memory_bytes", "gateway_inflight_bytes"} {
		eventually(t, name+" at 0", func() bool {
			_, text := v.get("/metrics")
			return strings.Contains(text, "\n"+name+" 0\n")
		})
	}
	if log := v.out.String(); strings.Contains(log, "panic") {
		t.Errorf("a panic:\n%s", log)
	}
}

// goodEvent breaks no rule.
func goodEvent() *eventv1.Event {
	return &eventv1.Event{Source: "/hostile", Type: "test.good", Data: []byte("data")}
}

// frameOf is a gRPC message: flag, length, bytes.
func frameOf(b []byte) []byte { return append(frameHeader(0, len(b)), b...) }

func frameHeader(flag byte, length int) []byte {
	return []byte{flag, byte(length >> 24), byte(length >> 16), byte(length >> 8), byte(length)}
}

// requestOf is an IngestEventRequest of an encoded event; as a batch of one it has the same bytes.
func requestOf(event []byte) []byte { return protowire.AppendBytes([]byte{1<<3 | 2}, event) }

// eventWith is a frame of a request of a good event, changed.
func eventWith(change func(*eventv1.Event)) []byte {
	e := goodEvent()
	change(e)
	b, err := proto.Marshal(e)
	if err != nil {
		panic(err)
	}
	return frameOf(requestOf(b))
}

// eventAnd is a frame of a request of a good event with bytes behind it.
func eventAnd(more ...byte) []byte {
	b, _ := proto.Marshal(goodEvent())
	return frameOf(requestOf(append(b, more...)))
}

func goodFrame() []byte { return eventAnd() }

// eventText is an IngestEventResponse as text.
func eventText(frame []byte) string {
	var r gatewayv1.IngestEventResponse
	if proto.Unmarshal(frame, &r) != nil || len(r.ProtoReflect().GetUnknown()) > 0 || r.Outcome == 0 {
		return batchText(frame)
	}
	if r.Success {
		return "OK"
	}
	words := []string{codeName(codes.Code(r.Code)), r.Reason}
	if field, _, ok := strings.Cut(r.ErrorMessage, ": "); ok && !strings.Contains(field, " ") {
		words = append(words, field)
	}
	if r.RetryDelay != nil {
		words = append(words, "retry "+r.RetryDelay.AsDuration().String())
	}
	return strings.Join(words, " ")
}

// batchText is an IngestEventBatchResponse as text: how many were OK, and the first failure.
func batchText(frame []byte) string {
	var r gatewayv1.IngestEventBatchResponse
	if proto.Unmarshal(frame, &r) != nil {
		return "an unreadable answer"
	}
	text := fmt.Sprintf("%d OK", r.Succeeded)
	if len(r.Failures) > 0 {
		first, _ := proto.Marshal(r.Failures[0].Result)
		text += fmt.Sprintf(", %d %s", len(r.Failures), eventText(first))
	}
	return text
}

// TestHostileInputsAreDocumented: docs/hostile-inputs.md has every row, word by word, and each id is there once.
func TestHostileInputsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("docs/hostile-inputs.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, table := range hostileTables {
		for _, row := range table.rows {
			line := fmt.Sprintf("| %s | %s | `%s` | `%s` |", row.id, row.input, row.answer, table.test)
			if !strings.Contains(string(page), "\n"+line+"\n") {
				t.Errorf("docs/hostile-inputs.md lacks the line\n%s", line)
			}
			if seen[row.id] {
				t.Errorf("%s is there twice", row.id)
			}
			seen[row.id] = true
		}
	}
}
