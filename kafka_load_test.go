//go:build kafka

package main

// Load against a gateway in front of Apache Kafka, and the ledger of it: what
// was sent, with a payload that follows from the id, and what was answered.

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// sent is one event and its answer.
type sent struct {
	id, stream, key string
	seq, size       int
	bad             bool // has no source, so it must be refused
	left            bool // its caller went away; what became of it is not known to him
	answered        bool
	outcome         gatewayv1.Outcome
	reason          string
	partition       int32
	offset          int64
}

// ledger is kept outside the gateway. Safe for concurrent use.
type ledger struct {
	t      *testing.T
	client gatewayv1.EventGatewayClient
	// ending: from now on calls may end without an answer.
	ending  atomic.Bool
	senders sync.WaitGroup

	mu     sync.Mutex // guards the following
	events map[string]*sent
	counts map[gatewayv1.Outcome]int
	why    map[string]int
}

func newLedger(t *testing.T, p *process) *ledger {
	t.Helper()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &ledger{t: t, client: gatewayv1.NewEventGatewayClient(conn), events: map[string]*sent{},
		counts: map[gatewayv1.Outcome]int{}, why: map[string]int{}}
}

// payload follows from the id alone: bytes of another event never pass for it.
func payload(id string, size int) []byte {
	sum := sha256.Sum256([]byte(id))
	return bytes.Repeat(sum[:], size/len(sum)+1)[:size]
}

// traffic is what one sender sends.
type traffic struct {
	name  string
	keys  int
	size  int             // bytes of data, at the least; every eighth event has 40 times as much with mixed
	mixed bool            // sizes of one HTTP/2 frame and of several
	bad   int             // every bad-th event has no source; 0: none
	batch int             // events a batch
	count int             // messages; 0: until stop
	every time.Duration   // pause between two messages; 0: as fast as it goes
	stop  <-chan struct{} // ends it early; may be nil
}

func (tr *traffic) key(seq int) string { return fmt.Sprint("key-", seq*7%tr.keys) }

// write notes a new event of the traffic and returns it.
func (l *ledger) write(tr *traffic, seq int) *eventv1.Event {
	s := &sent{id: fmt.Sprintf("%s-%06d", tr.name, seq), stream: tr.name, key: tr.key(seq), seq: seq, size: tr.size}
	if tr.mixed && seq%8 == 5 {
		s.size *= 40
	}
	s.bad = tr.bad > 0 && seq%tr.bad == tr.bad/2
	ev := &eventv1.Event{Id: s.id, Source: "/load/" + tr.name, Type: "load", PartitionKey: s.key, Data: payload(s.id, s.size)}
	if s.bad {
		ev.Source = ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events[s.id] = s
	return ev
}

// answer notes what the gateway said of an event; saying it twice is a fault.
func (l *ledger) answer(id string, r *gatewayv1.IngestEventResponse) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.events[id]
	// What is refused before it is decoded, while draining, has no id in its answer: its place answers for it.
	unread := r.EventId == "" && r.Outcome == refused && (r.Stage == "admission" || r.Reason == "NOT_SENT")
	switch {
	case s == nil || r.EventId != id && !unread:
		l.t.Errorf("answer for %q where %q was sent", r.EventId, id)
		return
	case s.answered:
		l.t.Errorf("%s got a second answer: %v %s", id, r.Outcome, r.Reason)
	case r.Success != (r.Outcome == gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED), r.Success != (r.Reason == "" && r.Code == 0),
		(r.Outcome == gatewayv1.Outcome_OUTCOME_UNKNOWN) != (r.Reason == "OUTCOME_UNKNOWN"):
		l.t.Errorf("the answer contradicts itself: %v", r)
	}
	s.answered, s.outcome, s.reason, s.partition, s.offset = true, r.Outcome, r.Reason, r.Partition, r.Offset
	l.counts[r.Outcome]++
	l.why[r.Reason]++
}

// refusal notes what a status says of one event, or of all events of a batch.
func (l *ledger) refusal(err error, leaves bool, ids ...string) {
	info := (*errdetails.ErrorInfo)(nil)
	for _, detail := range status.Convert(err).Details() {
		if i, ok := detail.(*errdetails.ErrorInfo); ok {
			info = i
		}
	}
	code := status.Code(err)
	for _, id := range ids {
		switch {
		case info != nil:
			r := &gatewayv1.IngestEventResponse{EventId: id, Outcome: gatewayv1.Outcome_OUTCOME_REFUSED, Reason: info.Reason, Code: int32(code)}
			if info.Reason == "OUTCOME_UNKNOWN" {
				r.Outcome = gatewayv1.Outcome_OUTCOME_UNKNOWN
			}
			l.answer(id, r)
		case leaves && (code == codes.Canceled || code == codes.DeadlineExceeded):
			l.mu.Lock()
			l.events[id].left = true
			l.mu.Unlock()
		case !l.ending.Load():
			l.t.Errorf("%s: a status without ErrorInfo: %v", id, err)
		}
	}
}

// count is the number of events with that answer so far.
func (l *ledger) count(o gatewayv1.Outcome) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[o]
}

func (l *ledger) reasons() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d sent, answers by reason %v", len(l.events), l.why)
}

// each calls send with rising numbers as the traffic wants it.
func (tr *traffic) each(send func(n int) bool) {
	ticker := time.NewTicker(max(tr.every, time.Nanosecond))
	defer ticker.Stop()
	for n := 0; tr.count == 0 || n < tr.count; n++ {
		select {
		case <-tr.stop:
			return
		default:
		}
		if !send(n) {
			return
		}
		if tr.every > 0 {
			select {
			case <-ticker.C:
			case <-tr.stop:
			}
		}
	}
}

// unary sends one call after the other. With leave, every other caller goes away after 1 to 12 ms.
func (l *ledger) unary(tr traffic, leave bool) {
	l.senders.Go(func() {
		tr.each(func(n int) bool {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			leaves := leave && n%2 == 0
			if leaves {
				time.AfterFunc(time.Duration(1+n%12)*time.Millisecond, cancel)
			}
			ev := l.write(&tr, n)
			r, err := l.client.IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: ev})
			if err != nil {
				l.refusal(err, leaves, ev.Id)
				return !l.ending.Load()
			}
			l.answer(ev.Id, r)
			return true
		})
	})
}

func (l *ledger) batchOf(tr *traffic, n int) (request *gatewayv1.IngestEventBatchRequest, ids []string) {
	request = &gatewayv1.IngestEventBatchRequest{WantResults: true}
	for i := range tr.batch {
		ev := l.write(tr, n*tr.batch+i)
		request.Events, ids = append(request.Events, ev), append(ids, ev.Id)
	}
	return request, ids
}

func (l *ledger) batchAnswer(ids []string, r *gatewayv1.IngestEventBatchResponse) {
	if len(r.Results) != len(ids) || int(r.Succeeded)+len(r.Failures) != len(ids) {
		l.t.Errorf("%d results, %d succeeded, %d failures for a batch of %d", len(r.Results), r.Succeeded, len(r.Failures), len(ids))
		return
	}
	for i, id := range ids {
		l.answer(id, r.Results[i])
	}
	for _, f := range r.Failures {
		if f.Result.EventId != r.Results[f.Index].EventId || r.Results[f.Index].Success {
			l.t.Errorf("failure %v of %s, whose result is %v", f, ids[f.Index], r.Results[f.Index])
		}
	}
}

// unaryBatch sends one batch call after the other.
func (l *ledger) unaryBatch(tr traffic) {
	l.senders.Go(func() {
		tr.each(func(n int) bool {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			request, ids := l.batchOf(&tr, n)
			r, err := l.client.IngestEventBatch(ctx, request)
			if err != nil {
				l.refusal(err, false, ids...)
				return !l.ending.Load()
			}
			l.batchAnswer(ids, r)
			return true
		})
	})
}

// window bounds the messages of a stream without an answer.
const window = 512

// stream sends events on one stream; the n-th answer must answer the n-th of them.
func (l *ledger) stream(tr traffic) {
	call, err := l.client.IngestEventStream(context.Background())
	if err != nil {
		l.t.Error(err)
		return
	}
	exchange(l, tr, func(n int) (string, error) {
		ev := l.write(&tr, n)
		return ev.Id, call.Send(&gatewayv1.IngestEventRequest{Event: ev})
	}, call.CloseSend, call.Recv, l.answer)
}

// batchStream sends batches on one stream.
func (l *ledger) batchStream(tr traffic) {
	call, err := l.client.IngestEventBatchStream(context.Background())
	if err != nil {
		l.t.Error(err)
		return
	}
	exchange(l, tr, func(n int) ([]string, error) {
		request, ids := l.batchOf(&tr, n)
		return ids, call.Send(request)
	}, call.CloseSend, call.Recv, l.batchAnswer)
}

// exchange runs both directions of a stream until all is answered or the gateway ends it.
func exchange[ID, Answer any](l *ledger, tr traffic, send func(int) (ID, error), done func() error,
	receive func() (Answer, error), note func(ID, Answer),
) {
	ids, room, ended := make(chan ID, window), make(chan struct{}, window), make(chan struct{})
	l.senders.Go(func() {
		defer close(ids)
		tr.each(func(n int) bool {
			select {
			case room <- struct{}{}:
			case <-ended:
				return false
			}
			id, err := send(n)
			ids <- id // never waits: room has been taken
			return err == nil
		})
		_ = done()
	})
	l.senders.Go(func() {
		defer close(ended)
		for {
			answer, err := receive()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				if !l.ending.Load() {
					l.t.Errorf("%s: the gateway ended the stream: %v", tr.name, err)
				}
				return
			}
			id, ok := <-ids
			if !ok {
				l.t.Errorf("%s: an answer to nothing: %v", tr.name, answer)
				return
			}
			note(id, answer)
			<-room
		}
		if id, ok := <-ids; ok && !l.ending.Load() {
			l.t.Errorf("%s: the stream ended without an answer to %v", tr.name, id)
		}
	})
}
