package cli

// What only unary calls have: refusals that come as the status of the call, and codes that leave it open whether
// the events are stored.

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func TestUnaryOutcomesAndReasonsAreCounted(t *testing.T) {
	countsOutcomes(t, "--unary", "--streams", "4")
}

// A status is about every event of its call.
func TestUnaryStatusOfABatch(t *testing.T) {
	gateway := &fake{status: statusOf(refused("OVERLOADED", time.Second))}
	r := runJSON(t, 1, "", "--unary", "--address", startFake(t, gateway), "--count", "25", "--batch", "10")
	if r.Sent != 25 || r.Refused != 25 || r.RefusedReasons["OVERLOADED"] != 25 || r.NoAnswer != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestUnaryCodesWithoutReason(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code codes.Code
		// refused: nothing is stored. goesOn: the next call may be answered otherwise.
		refused, goesOn bool
	}{
		{codes.Unavailable, false, true}, {codes.DeadlineExceeded, false, true}, {codes.Internal, false, true},
		{codes.ResourceExhausted, false, true}, {codes.Canceled, false, true}, {codes.Unknown, false, true},
		{codes.Aborted, false, false}, {codes.DataLoss, false, false},
		{codes.Unimplemented, true, false}, {codes.Unauthenticated, true, false}, {codes.PermissionDenied, true, false},
		{codes.InvalidArgument, true, false}, {codes.FailedPrecondition, true, false},
	} {
		gateway := &fake{status: status.Error(c.code, "says a proxy")}
		r := runJSON(t, 1, "", "--unary", "--address", startFake(t, gateway), "--count", "6", "--batch", "3", "--timeout", "10s")
		events := int64(3)
		if c.goesOn {
			events = 6
		}
		bad := r.NoAnswer != events || r.Refused != 0
		if c.refused {
			bad = r.Refused != events || r.NoAnswer != 0 || r.RefusedReasons[code.Code(c.code).String()] != events
		}
		if bad || r.Sent != events || r.NotSent != 6-events || !strings.Contains(r.Error, "says a proxy") {
			t.Errorf("%v: %+v", c.code, r)
		}
	}
}

func TestUnaryResendUntilAcknowledged(t *testing.T) {
	t.Parallel()
	for _, batch := range []string{"0", "8"} {
		gateway := &fake{answer: func(_ *eventv1.Event, sending int) *gatewayv1.IngestEventResponse {
			if sending < 3 {
				return refused("RATE_LIMITED", time.Millisecond)
			}
			return nil
		}}
		r := runJSON(t, 0, "", "--unary", "--streams", "3", "--address", startFake(t, gateway), "--count", "100", "--resend", "--batch", batch)
		if r.Sent != 100 || r.Acknowledged != 100 || r.Resent != 200 {
			t.Fatalf("batch %s: %+v", batch, r)
		}
	}
	gateway := &fake{breakAfter: 20}
	r := runJSON(t, 0, "", "--unary", "--address", startFake(t, gateway), "--count", "50", "--resend")
	if r.Acknowledged != 50 || r.Resent == 0 || !strings.Contains(r.Error, "breaks") {
		t.Fatalf("%+v", r)
	}
}

func TestUnaryResendGivesUpWhereItCannotHelp(t *testing.T) {
	gateway := &fake{answer: func(e *eventv1.Event, _ int) *gatewayv1.IngestEventResponse {
		if strings.HasSuffix(e.Id, "0") {
			return refused("INVALID_EVENT", 0)
		}
		return refused("OVERLOADED", 20*time.Millisecond)
	}}
	r := runJSON(t, 1, "", "--unary", "--address", startFake(t, gateway), "--count", "20", "--resend", "--timeout", "300ms")
	if r.RefusedReasons["INVALID_EVENT"] != 2 || r.RefusedReasons["OVERLOADED"] != 18 || r.Resent < 18 {
		t.Fatalf("%+v", r)
	}
}

// What was never sent is not counted as sent, so nobody looks for it in Kafka.
func TestUnaryWithoutAGateway(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"", "--resend", "--batch 2 --streams 2"} {
		r := runJSON(t, 1, "", append(strings.Fields(args), "--unary", "--address", "127.0.0.1:1", "--count", "5", "--timeout", "100ms")...)
		if r.Sent != 0 || r.NotSent != 5 || r.NoAnswer != 0 || !strings.Contains(r.Error, "127.0.0.1:1") {
			t.Fatalf("%s: %+v", args, r)
		}
	}
}

// A connection that is accepted and never answered: connecting takes as long as the deadline of the call.
func TestUnaryWithADeafGateway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	r := runJSON(t, 1, "", "--unary", "--address", listener.Addr().String(), "--count", "5", "--timeout", "200ms")
	if r.Sent != 0 || r.NotSent != 5 {
		t.Fatalf("%+v", r)
	}
}

// The deadline of a call passes: no answer. Others go on as long as somebody is answered.
func TestUnaryDeadline(t *testing.T) {
	t.Parallel()
	release, stuck := make(chan struct{}), make(chan struct{}, 1)
	stuck <- struct{}{}
	gateway := &fake{before: func() {
		select {
		case <-stuck:
			<-release
		default:
		}
	}}
	address := startFake(t, gateway)
	defer close(release)
	r := runJSON(t, 1, "", "--unary", "--streams", "2", "--rate", "50", "--address", address, "--count", "50", "--timeout", "200ms")
	if r.NoAnswer != 1 || r.Acknowledged != 49 || !strings.Contains(strings.ToLower(r.Error), "deadline") {
		t.Fatalf("%+v", r)
	}
	address = startFake(t, &fake{before: func() { <-release }})
	r = runJSON(t, 1, "", "--unary", "--address", address, "--count", "5", "--timeout", "200ms")
	if r.NoAnswer != 1 || r.NotSent != 4 {
		t.Fatalf("nobody is answered: %+v", r)
	}
}

func TestUnaryOneEventFromFlags(t *testing.T) {
	gateway := &fake{}
	address := startFake(t, gateway)
	args := []string{"publish", "--unary", "--address", address, "--type", "order.created", "--source", "/shop", "--id", "one"}
	code, stdout, stderr := run(t, "", args...)
	if code != 0 || !strings.Contains(stdout, "acknowledged: one is in events, partition 1, offset 1") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	gateway.answer = func(*eventv1.Event, int) *gatewayv1.IngestEventResponse { return refused("RATE_LIMITED", time.Second) }
	code, stdout, _ = run(t, "", args...)
	if code != 1 || !strings.Contains(stdout, "refused at ratelimit: RATE_LIMITED: no") || !strings.Contains(stdout, "1s") {
		t.Fatalf("exit code %d: %s", code, stdout)
	}
	gateway.status = errBroken
	code, stdout, _ = run(t, "", args...)
	if code != 1 || !strings.Contains(stdout, "no answer") || !strings.Contains(stdout, "breaks") {
		t.Fatalf("exit code %d: %s", code, stdout)
	}
}

func TestUnaryJSONLines(t *testing.T) {
	gateway := &fake{}
	address := startFake(t, gateway)
	var in strings.Builder
	for i := range 300 {
		fmt.Fprintf(&in, `{"id":"%04d","type":"a","source":"/s","data_text":"x","partitionKey":"k%d"}`+"\n", i, i%7)
	}
	r := runJSON(t, 0, in.String(), "--unary", "--streams", "4", "--address", address)
	if r.Acknowledged != 300 {
		t.Fatalf("%+v", r)
	}
	last := map[string]string{}
	for _, e := range gateway.received() {
		if e.Id <= last[e.PartitionKey] {
			t.Fatalf("%s comes after %s", e.Id, last[e.PartitionKey])
		}
		last[e.PartitionKey] = e.Id
	}
}
