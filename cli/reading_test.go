package cli

// A gateway that has stored events: it streams them from a cursor, a time or the
// oldest on, and ends its streams as the test says.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// stored is an event in a partition, with its time of receipt.
type stored struct {
	event *eventv1.Event
	at    time.Time
}

// store is a gateway to read from.
type store struct {
	gatewayv1.UnimplementedEventGatewayServer
	healthpb.UnimplementedHealthServer

	mu         sync.Mutex // guards what follows
	partitions [][]stored
	grown      chan struct{} // closed and made anew when partitions grow
	conns      []net.Conn
	subscribed []*gatewayv1.SubscribeRequest
	replayed   []*gatewayv1.ReplayRequest
	random     *rand.Rand

	// ends gives the end of the n-th call and after how many messages it comes; nil: never.
	ends func(call int) (after int, err error)
	// beats: heartbeats come between the events, and when there are none.
	beats bool
	// reader is closed when a subscription gets a reader, for which it waits; nil: at once.
	reader chan struct{}
	// notServing: the gateway is not well. mute: it does not answer that question.
	notServing, mute bool
	// lost are the first matched events of each replay that are refused; ahead are republished in the first one, which breaks off
	// in the middle of a page.
	lost, ahead int64
}

// errCut: the connection is cut, in place of a status.
var errCut = errors.New("cut")

func startStore(t *testing.T, s *store) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.grown = make(chan struct{})
	if s.random == nil {
		s.random = rand.New(rand.NewPCG(1, 2))
	}
	server := grpc.NewServer()
	gatewayv1.RegisterEventGatewayServer(server, s)
	healthpb.RegisterHealthServer(server, s)
	var group sync.WaitGroup
	group.Go(func() { _ = server.Serve(&noting{listener, s}) })
	t.Cleanup(func() {
		server.Stop()
		group.Wait()
	})
	return listener.Addr().String()
}

// noting notes connections, so that they can be cut.
type noting struct {
	net.Listener
	store *store
}

func (n *noting) Accept() (net.Conn, error) {
	conn, err := n.Listener.Accept()
	if err == nil {
		n.store.mu.Lock()
		n.store.conns = append(n.store.conns, conn)
		n.store.mu.Unlock()
	}
	return conn, err
}

func (s *store) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.conns = nil
}

// base is the time of receipt of the first event; they come one a second.
var base = time.Date(2026, 1, 2, 15, 0, 0, 0, time.UTC)

// add stores an event in a partition.
func (s *store) add(partition int, event *eventv1.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.partitions) <= partition {
		s.partitions = append(s.partitions, nil)
	}
	n := 0
	for _, p := range s.partitions {
		n += len(p)
	}
	s.partitions[partition] = append(s.partitions[partition], stored{event, base.Add(time.Duration(n) * time.Second)})
	if s.grown != nil {
		close(s.grown)
		s.grown = make(chan struct{})
	}
}

// fill stores n events, with ids that say partition and place, in random partitions.
func (s *store) fill(n, partitions int, random *rand.Rand) {
	next := make([]int, partitions)
	for range n {
		p := random.IntN(partitions)
		kind := []string{"order.created", "order.paid", "other"}[random.IntN(3)]
		s.add(p, &eventv1.Event{Id: fmt.Sprintf("%d/%d", p, next[p]), Source: "/shop", Type: kind, Data: []byte(`{"n":1}`),
			DataContentType: "application/json", Timestamp: timestamppb.New(base)})
		next[p]++
	}
}

func (s *store) ids(wanted func(*eventv1.Event) bool) map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := map[string]int{}
	for _, p := range s.partitions {
		for _, e := range p {
			if wanted(e.event) {
				ids[e.event.Id]++
			}
		}
	}
	return ids
}

func cursorOf(next []int) string {
	words := make([]string, len(next))
	for i, n := range next {
		words[i] = strconv.Itoa(n)
	}
	return "c:" + strings.Join(words, ",")
}

func (s *store) begin(in *gatewayv1.SubscribeRequest) ([]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribed = append(s.subscribed, in)
	next := make([]int, len(s.partitions))
	switch {
	case in.Cursor != "":
		text, ok := strings.CutPrefix(in.Cursor, "c:")
		if !ok {
			return nil, reasoned(codes.InvalidArgument, "INVALID_CURSOR", "the cursor is foreign", 0)
		}
		for i, word := range strings.Split(text, ",") {
			next[i], _ = strconv.Atoi(word)
		}
	case in.Start == gatewayv1.SubscribeRequest_START_EARLIEST:
	default:
		for i, p := range s.partitions {
			for _, e := range p {
				if in.StartTimestamp == 0 || e.at.Unix() < in.StartTimestamp {
					next[i]++
				}
			}
		}
	}
	return next, nil
}

// reasoned is a status as the gateway makes it.
func reasoned(code codes.Code, reason, message string, retry time.Duration, metadata ...string) error {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: errorDomain, Metadata: map[string]string{}}
	for i := 0; i+1 < len(metadata); i += 2 {
		info.Metadata[metadata[i]] = metadata[i+1]
	}
	details := []protoadapt.MessageV1{info}
	if retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retry)})
	}
	st, err := status.New(code, message).WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// end carries out the end of a stream.
func (s *store) end(err error) error {
	if errors.Is(err, errCut) {
		s.cut()
		return errBroken
	}
	return err
}

func (s *store) plan(call int) (int, error) {
	if s.ends == nil {
		return -1, nil
	}
	return s.ends(call)
}

func (s *store) SubscribeEvents(in *gatewayv1.SubscribeRequest, out grpc.ServerStreamingServer[eventv1.Event]) error {
	next, err := s.begin(in)
	if err != nil {
		return err
	}
	s.mu.Lock()
	call := len(s.subscribed)
	s.mu.Unlock()
	left, end := s.plan(call)
	if left == 0 {
		return s.end(end)
	}
	if err := out.SendHeader(nil); err != nil {
		return err
	}
	if s.reader != nil {
		<-s.reader
	}
	if in.Heartbeat { // who reads hears so at once
		if err := out.Send(&eventv1.Event{Cursor: in.Cursor}); err != nil {
			return err
		}
	}
	for {
		event, grown := s.next(in, next)
		if event == nil {
			select {
			case <-grown:
				continue
			case <-out.Context().Done():
				return out.Context().Err()
			}
		}
		if err := out.Send(event); err != nil {
			return err
		}
		if left--; left == 0 {
			return s.end(end)
		}
	}
}

// next takes an event from a random partition, or a heartbeat; nil: there is none until grown is closed.
func (s *store) next(in *gatewayv1.SubscribeRequest, next []int) (event *eventv1.Event, grown chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(next) < len(s.partitions) {
		next = append(next, 0)
	}
	for _, p := range s.random.Perm(len(s.partitions)) {
		for next[p] < len(s.partitions[p]) {
			e := s.partitions[p][next[p]].event
			next[p]++
			if matches(in.EventTypes, e) {
				event = &eventv1.Event{Id: e.Id, Source: e.Source, Type: e.Type, Data: e.Data, DataContentType: e.DataContentType,
					Timestamp: e.Timestamp, Subject: e.Subject, Metadata: e.Metadata, PartitionKey: e.PartitionKey, Cursor: cursorOf(next)}
				return event, s.grown
			}
			if s.beats && in.Heartbeat && s.random.IntN(2) == 0 {
				return &eventv1.Event{Cursor: cursorOf(next)}, s.grown
			}
		}
	}
	return nil, s.grown
}

func matches(types []string, e *eventv1.Event) bool { return allows(types, e.Type, isType) }

func (s *store) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	s.mu.Lock()
	mute, notServing := s.mute, s.notServing
	s.mu.Unlock()
	switch {
	case mute:
		return nil, errBroken
	case notServing:
		return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_NOT_SERVING}, nil
	}
	return &healthpb.HealthCheckResponse{Status: healthpb.HealthCheckResponse_SERVING}, nil
}

// ReplayEvents reads the partitions side by side, at random speeds.
func (s *store) ReplayEvents(in *gatewayv1.ReplayRequest, out grpc.ServerStreamingServer[gatewayv1.ReplayResponse]) error {
	s.mu.Lock()
	s.replayed = append(s.replayed, in)
	call := len(s.replayed)
	next := make([]int, len(s.partitions))
	for i, p := range s.partitions {
		for next[i] < len(p) && p[next[i]].at.Before(in.Start.AsTime()) {
			next[i]++
		}
	}
	s.mu.Unlock()
	left, end := s.plan(call)
	if left == 0 {
		return s.end(end)
	}
	progress := &gatewayv1.ReplayResponse_Progress{Position: in.Start}
	if call == 1 && s.ahead > 0 {
		progress.Republished = s.ahead
		if err := out.Send(&gatewayv1.ReplayResponse{Progress: progress}); err != nil {
			return err
		}
		return errBroken
	}
	for !progress.Done {
		response := &gatewayv1.ReplayResponse{Progress: progress}
		s.mu.Lock()
		s.page(in, next, response)
		s.mu.Unlock()
		if err := out.Send(response); err != nil {
			return err
		}
		if left--; left == 0 && !progress.Done {
			return s.end(end)
		}
	}
	return nil
}

// page takes a few events of one partition.
func (s *store) page(in *gatewayv1.ReplayRequest, next []int, response *gatewayv1.ReplayResponse) {
	progress := response.Progress
	inRange := func(p int) bool {
		return next[p] < len(s.partitions[p]) && (in.End == nil || s.partitions[p][next[p]].at.Before(in.End.AsTime()))
	}
	p := s.random.IntN(len(next))
	for range 1 + s.random.IntN(4) {
		if !inRange(p) {
			break
		}
		e := s.partitions[p][next[p]].event
		next[p]++
		progress.Read++
		if !matches(in.EventTypes, e) {
			continue
		}
		progress.Matched++
		if in.RepublishTopic == "" {
			response.Events = append(response.Events, e)
		} else {
			progress.Refused = min(progress.Matched, s.lost)
			progress.Republished = progress.Matched - progress.Refused
			if progress.Refused > 0 {
				progress.LastRefusal = "orders/3/42: EVENT_TOO_LARGE: \x1b[1mtoo large"
			}
		}
	}
	progress.Done = true
	position := in.End.AsTime()
	for p := range next {
		if inRange(p) {
			if at := s.partitions[p][next[p]].at; progress.Done || at.Before(position) {
				position = at
			}
			progress.Done = false
		}
	}
	progress.Position = timestamppb.New(position)
}

func (s *store) GetEvent(_ context.Context, in *gatewayv1.GetEventRequest) (*eventv1.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.partitions {
		for _, e := range p {
			if e.event.Id == in.Id {
				return e.event, nil
			}
		}
	}
	return nil, reasoned(codes.NotFound, "EVENT_NOT_FOUND", "the event is not there", 0)
}

// idsIn are the ids of JSON lines, in order.
func idsIn(t testing.TB, lines string) []string {
	var ids []string
	for line := range strings.Lines(lines) {
		var e struct{ ID string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ID == "" {
			t.Errorf("%v: %q", err, line)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// checkOnce holds ids against those there should be: each as often, and those of a partition in order.
func checkOnce(ids []string, want map[string]int) error {
	got := map[string]int{}
	last := map[string]int{}
	for _, id := range ids {
		if got[id]++; got[id] > want[id] {
			return fmt.Errorf("%s was printed %d times, and should be %d times", id, got[id], want[id])
		}
		partition, place, _ := strings.Cut(id, "/")
		n, _ := strconv.Atoi(place)
		if n < last[partition] {
			return fmt.Errorf("%s after %s/%d", id, partition, last[partition])
		}
		last[partition] = n
	}
	for id, n := range want {
		if got[id] < n {
			return fmt.Errorf("%s was printed %d times, and should be %d times", id, got[id], n)
		}
	}
	return nil
}

// randomEnds breaks streams at random places, in every way that is gone on from.
func randomEnds(random *rand.Rand, calls, longest int) func(int) (int, error) {
	kinds := []error{errBroken, errCut, nil, reasoned(codes.Unavailable, "STREAM_AGE", "old", time.Millisecond),
		reasoned(codes.Unavailable, "DRAINING", "going", time.Millisecond), status.Error(codes.Internal, "RST_STREAM"),
		reasoned(codes.ResourceExhausted, "TOO_MANY_READERS", "full", time.Millisecond), status.Error(codes.Unknown, "?"),
		reasoned(codes.Unavailable, "KAFKA_UNAVAILABLE", "away", time.Millisecond)}
	var mu sync.Mutex
	return func(call int) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		if call > calls {
			return -1, nil
		}
		return random.IntN(longest), kinds[random.IntN(len(kinds))]
	}
}

// both is an output that two goroutines use.
type both struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *both) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *both) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// await waits until the output has a text.
func (b *both) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(b.String(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%q has not come: %s", text, b.String())
		}
	}
}

// program is one with outputs that can be watched.
func program(stdout, stderr io.Writer) *Program {
	return &Program{Version: "test", Stdin: strings.NewReader(""), Stdout: stdout, Stderr: stderr}
}
