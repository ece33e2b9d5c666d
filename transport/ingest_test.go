package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// wantStatus checks code, reason and the details that must come with it.
func wantStatus(t testing.TB, err error, code codes.Code, reason string) *status.Status {
	t.Helper()
	st, ok := status.FromError(err)
	if err == nil || !ok || st.Code() != code {
		t.Fatalf("error %v, want %v %s", err, code, reason)
	}
	var info *errdetails.ErrorInfo
	retry, quota := false, false
	for _, d := range st.Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = true
		case *errdetails.QuotaFailure:
			quota = true
		}
	}
	if info == nil || info.Reason != reason || info.Domain != "eventgateway" {
		t.Fatalf("status %v: ErrorInfo %v, want reason %s", st, info, reason)
	}
	if code == codes.ResourceExhausted && !quota {
		t.Errorf("%s without QuotaFailure", reason)
	}
	if (code == codes.ResourceExhausted || code == codes.Unavailable) && !retry {
		t.Errorf("%s without RetryInfo", reason)
	}
	return st
}

func TestUnaryAcknowledged(t *testing.T) {
	g := start(t, nil)
	c := g.client()
	answer, err := c.IngestEvent(g.context(), request("one"))
	if err != nil || !answer.Success || answer.EventId != "one" || answer.Topic != "events" || answer.Outcome != gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED {
		t.Fatalf("%v, %v", answer, err)
	}
	answer, err = c.IngestEvent(g.context(), request(""))
	if err != nil || len(answer.EventId) != 36 || answer.EventId[14] != '7' {
		t.Fatalf("assigned id: %v, %v", answer, err)
	}
}

func TestUnaryRefusedIsAStatus(t *testing.T) {
	g := start(t, nil)
	bad := request("bad")
	bad.Event.Source = ""
	_, err := g.client().IngestEvent(g.context(), bad)
	st := wantStatus(t, err, codes.InvalidArgument, "INVALID_EVENT")
	var field string
	for _, d := range st.Details() {
		if b, ok := d.(*errdetails.BadRequest); ok {
			field = b.FieldViolations[0].Field
			if says := b.FieldViolations[0].Description; st.Message() != "source: "+says || strings.HasPrefix(says, "source:") {
				t.Errorf("the status says %q, its BadRequest %q", st.Message(), says)
			}
		}
		if info, ok := d.(*errdetails.ErrorInfo); ok && (info.Metadata["event_id"] != "bad" || info.Metadata["stage"] != "validate") {
			t.Errorf("metadata %v", info.Metadata)
		}
	}
	if field != "source" {
		t.Errorf("BadRequest names %q, want source", field)
	}
}

func TestBatchUnary(t *testing.T) {
	g := start(t, nil)
	r := batchRequest(100)
	r.Events[7].Source = ""
	r.Events[9].Id = ""
	answer, err := g.client().IngestEventBatch(g.context(), r)
	if err != nil || answer.Succeeded != 99 || len(answer.Failures) != 1 || len(answer.AssignedIds) != 1 || len(answer.Results) != 0 {
		t.Fatalf("%v, %v", answer, err)
	}
	if f := answer.Failures[0]; f.Index != 7 || f.Result.EventId != "e7" || f.Result.Reason != "INVALID_EVENT" || f.Result.Code != int32(codes.InvalidArgument) {
		t.Errorf("failure %v", f)
	}
	r.WantResults = true
	answer, err = g.client().IngestEventBatch(g.context(), r)
	if err != nil || len(answer.Results) != 100 || answer.Results[3].EventId != "e3" || answer.Results[7].Success {
		t.Fatalf("%v, %v", answer, err)
	}
}

func TestBatchRefusedAsAWhole(t *testing.T) {
	g := start(t, nil)
	c := g.client()
	_, err := c.IngestEventBatch(g.context(), batchRequest(0))
	wantStatus(t, err, codes.InvalidArgument, "EMPTY_BATCH")
	_, err = c.IngestEventBatch(g.context(), batchRequest(10_001))
	wantStatus(t, err, codes.InvalidArgument, "TOO_MANY_EVENTS")
	if answer, err := c.IngestEventBatch(g.context(), batchRequest(10_000)); err != nil || answer.Succeeded != 10_000 {
		t.Fatalf("10,000 events: %v, %v", answer.GetSucceeded(), err)
	}
}

func TestGzipRequests(t *testing.T) {
	g := start(t, func(c *setup) { c.config.MaxMessageBytes = 2 * stages.MiB })
	c := g.client()
	for _, n := range []int{1, 100, 5000} {
		answer, err := c.IngestEventBatch(g.context(), batchRequest(n), grpc.UseCompressor(gzip.Name))
		if err != nil || int(answer.Succeeded) != n {
			t.Fatalf("%d events: %v, %v", n, answer, err)
		}
	}
	bomb := request("bomb")
	bomb.Event.Data = make([]byte, 3<<20)
	_, err := c.IngestEvent(g.context(), bomb, grpc.UseCompressor(gzip.Name))
	wantStatus(t, err, codes.InvalidArgument, "MESSAGE_TOO_LARGE")
	g.good()
}

// collect reads n answers.
func collect[T any](t testing.TB, recv func() (T, error), n int) []T {
	t.Helper()
	var all []T
	for range n {
		a, err := recv()
		if err != nil {
			t.Fatalf("after %d answers: %v", len(all), err)
		}
		all = append(all, a)
	}
	return all
}

func TestStreamAnswersInRequestOrder(t *testing.T) {
	g := start(t, nil)
	s, err := g.client().IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 5000
	go func() {
		for i := range n {
			r := request(fmt.Sprint(i))
			if i%10 == 3 {
				r.Event.Source = ""
			}
			if s.Send(r) != nil {
				return
			}
		}
		_ = s.CloseSend()
	}()
	for i, a := range collect(t, s.Recv, n) {
		if a.EventId != fmt.Sprint(i) || a.Success == (i%10 == 3) {
			t.Fatalf("answer %d: %v", i, a)
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

func TestBatchStream(t *testing.T) {
	g := start(t, nil)
	s, err := g.client().IngestEventBatchStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{1, 1000, 0, 10_001, 10, 10_000, 3}
	go func() {
		for _, n := range sizes {
			if s.Send(batchRequest(n)) != nil {
				return
			}
		}
		_ = s.CloseSend()
	}()
	for i, a := range collect(t, s.Recv, len(sizes)) {
		switch sizes[i] {
		case 0:
			if len(a.Failures) != 1 || a.Failures[0].Result.Reason != "EMPTY_BATCH" {
				t.Errorf("empty batch: %v", a)
			}
		case 10_001:
			if len(a.Failures) != 1 || a.Failures[0].Result.Reason != "TOO_MANY_EVENTS" {
				t.Errorf("too many events: %v", a)
			}
		default:
			if int(a.Succeeded) != sizes[i] {
				t.Errorf("batch %d of %d: %v succeeded", i, sizes[i], a.Succeeded)
			}
		}
	}
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		t.Fatalf("at the end: %v", err)
	}
}

func TestDeadlineIsAnsweredBeforeTheCallers(t *testing.T) {
	g := start(t, nil)
	g.broker.hold()
	c := g.client()
	err := beforeDeadline(t, func(ctx context.Context) error {
		_, err := c.IngestEvent(ctx, request("late"))
		return err
	})
	wantStatus(t, err, codes.Unavailable, "OUTCOME_UNKNOWN")
	var answer *gatewayv1.IngestEventBatchResponse
	err = beforeDeadline(t, func(ctx context.Context) (err error) {
		answer, err = c.IngestEventBatch(ctx, batchRequest(10))
		return err
	})
	if err != nil || len(answer.Failures) != 10 || answer.Failures[0].Result.Outcome != gatewayv1.Outcome_OUTCOME_UNKNOWN {
		t.Fatalf("batch: %v, %v", answer, err)
	}
	g.broker.release()
}

func TestStreamDeliveryTimeout(t *testing.T) {
	g := start(t, func(c *setup) { c.config.DeliveryTimeout = 300 * time.Millisecond; c.config.StreamWindow = 64 })
	g.broker.hold()
	s, err := g.client().IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i := range 64 {
		if err := s.Send(request(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range collect(t, s.Recv, 64) {
		if a.Outcome != gatewayv1.Outcome_OUTCOME_UNKNOWN || a.Reason != "OUTCOME_UNKNOWN" || a.EventId != fmt.Sprint(i) {
			t.Fatalf("answer %d: %v", i, a)
		}
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	g.broker.release()
	if err := s.Send(request("after")); err != nil {
		t.Fatal(err)
	}
	if a := collect(t, s.Recv, 1)[0]; !a.Success {
		t.Errorf("after the stall: %v", a)
	}
}

func TestOverloadedUnaryIsRefused(t *testing.T) {
	g := start(t, func(c *setup) {
		c.pipeline.MaxInflight, c.pipeline.ClientMaxInflight, c.pipeline.PartitionMaxInflight = stages.MiB, stages.MiB, stages.MiB
	})
	g.broker.hold()
	big := request("big")
	big.Event.Data = make([]byte, 800_000)
	first := make(chan error, 1)
	c := g.client()
	go func() {
		_, err := c.IngestEvent(g.context(), big)
		first <- err
	}()
	g.eventually("the first event is at the broker", func() bool { return g.broker.taken.Load() == 1 })
	_, err := c.IngestEvent(g.context(), big)
	if st, _ := status.FromError(err); st.Code() != codes.ResourceExhausted {
		t.Fatalf("over the budget: %v", err)
	}
	g.broker.release()
	if err := <-first; err != nil {
		t.Fatalf("the first: %v", err)
	}
}

// TestNoLostWakeUps: the sender's tick would find a lost wake-up after 50 ms, so answers would still come, slowly.
func TestNoLostWakeUps(t *testing.T) {
	g := start(t, nil)
	s, err := g.client().IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	slowest, late := time.Duration(0), 0
	const rounds = 1000
	for i := range rounds {
		begin := time.Now()
		n := 1 + i%3
		for range n {
			if err := s.Send(request("x")); err != nil {
				t.Fatal(err)
			}
		}
		collect(t, s.Recv, n)
		took := time.Since(begin)
		slowest = max(slowest, took)
		if took > 40*time.Millisecond {
			late++
		}
	}
	if late > rounds/100 { // a busy machine may delay a few
		t.Errorf("%d of %d rounds took longer than 40 ms, the slowest %v", late, rounds, slowest)
	}
}
