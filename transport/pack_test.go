package transport

import (
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// answeredSingles are answered messages of one event each, with ids of that length; every third one is refused.
func answeredSingles(n, idLength int) (all []*stages.Message) {
	for i := range n {
		id := fmt.Sprint(i) + strings.Repeat("x", idLength)
		m := &stages.Message{Kind: stages.Single, Frame: []byte(id)}
		m.Arm(1)
		m.SetClientID(0, 0, len(id))
		v := stages.Verdict{Outcome: stages.Acknowledged, Stage: stages.AtProduce}
		if i%3 == 2 {
			v = stages.Verdict{Outcome: stages.Refused, Reason: stages.RateLimited, Stage: stages.AtRateLimit}
		}
		m.WinQueued(0)
		m.SetVerdict(0, v)
		m.Settle(1)
		all = append(all, m)
	}
	return all
}

// unpack cuts packed answers at their headers.
func unpack(t *testing.T, b []byte) (answers [][]byte) {
	t.Helper()
	for len(b) > 0 {
		if len(b) < headerLength || b[0] != 0 || int(binary.BigEndian.Uint32(b[1:])) > len(b)-headerLength {
			t.Fatalf("%d bytes that are no message: % x", len(b), b[:min(len(b), 16)])
		}
		end := headerLength + int(binary.BigEndian.Uint32(b[1:]))
		answers, b = append(answers, b[headerLength:end]), b[end:]
	}
	return answers
}

// TestEncodePacked: what is packed is what single answers are, in order, and no more than fits.
func TestEncodePacked(t *testing.T) {
	for _, c := range []struct{ messages, idLength, packed int }{
		{1, 10, 1}, {32, 10, 32}, {32, 900, 8}, {2, 1020, 2},
	} {
		messages := answeredSingles(c.messages, c.idLength)
		b, n := encodePacked(messages)
		answers := unpack(t, *b)
		if n != c.packed || len(answers) != n || len(*b) > packBytes {
			t.Errorf("%+v: %d packed, %d answers, %d bytes", c, n, len(answers), len(*b))
		}
		for i, a := range answers {
			if want := *encodeSingle(messages[i]); string(a) != string(want) {
				t.Errorf("%+v: answer %d is % x, alone % x", c, i, a, want)
			}
		}
	}
}

type otherWrites struct{}

func (otherWrites) Write(b []byte) (int, error) { return len(b), nil }

type optionsByValue struct{}

func (optionsByValue) Write([]byte, mem.BufferSlice, struct{}) error { return nil }

// TestPackerOfOthers: a stream without such a method has its answers sent one by one.
func TestPackerOfOthers(t *testing.T) {
	for _, w := range []any{struct{}{}, otherWrites{}, optionsByValue{}, &playedStream{}} {
		if _, ok := newPacker(w); ok {
			t.Errorf("%T has a packer", w)
		}
	}
}

// TestPackerFitsGRPC: this grpc-go's transport stream has the method, and a client takes packed answers apart.
func TestPackerFitsGRPC(t *testing.T) {
	const n = 20
	handler := func(_ any, ss grpc.ServerStream) error {
		w, ok := wireOf(ss.Context())
		if !ok {
			return errNoWire
		}
		p, ok := newPacker(w)
		if !ok {
			return fmt.Errorf("this grpc-go does not fit pack.go: %T", w)
		}
		for range 2 { // the first one sends the headers, too
			b, _ := encodePacked(answeredSingles(n, 10))
			if err := p.send(b, &buffers); err != nil {
				return err
			}
		}
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(handler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	s, err := gatewayv1.NewEventGatewayClient(conn).IngestEventStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range collect(t, s.Recv, 2*n) {
		want := &gatewayv1.IngestEventResponse{}
		if err := proto.Unmarshal(*encodeSingle(answeredSingles(n, 10)[i%n]), want); err != nil || !proto.Equal(a, want) {
			t.Fatalf("answer %d: %v, want %v (%v)", i, a, want, err)
		}
	}
}

// TestAnswersThatAreReadyTogether come in order, whether they were packed or not.
func TestAnswersThatAreReadyTogether(t *testing.T) {
	g := start(t, nil)
	s, err := g.client().IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		g.broker.hold()
		n := 1 + round*7%100
		for i := range n {
			if err := s.Send(request(fmt.Sprint(round, "-", i))); err != nil {
				t.Fatal(err)
			}
		}
		g.broker.release()
		for i, a := range collect(t, s.Recv, n) {
			if a.EventId != fmt.Sprint(round, "-", i) || !a.Success {
				t.Fatalf("round %d, answer %d of %d: %v", round, i, n, a)
			}
		}
	}
	if err := s.CloseSend(); err != nil {
		t.Fatal(err)
	}
}
