package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/kafka"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// redriven runs gateway dlq redrive --json against the gateway.
func redriven(t *testing.T, want int, address string, args ...string) (redriveTotals, string) {
	t.Helper()
	code, stdout, stderr := run(t, "", append([]string{"dlq", "redrive", "--json", "--address", address}, args...)...)
	if code != want {
		t.Fatalf("%v: exit code %d, want %d: %s%s", args, code, want, stdout, stderr)
	}
	var result redriveTotals
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("%v: %v: %q %s", args, err, stdout, stderr)
	}
	return result, stderr
}

// receivedIDs are the events that the gateway was sent, in the order of their arrival.
func (f *fake) receivedIDs() []string {
	var all []string
	for _, event := range f.received() {
		all = append(all, event.Id)
	}
	return all
}

// fill stores n letters with ids 000, 001, ... of the given number of keys, each key in its partition.
func (d *deadTopic) fill(n, keys int) {
	for i := range n {
		key := i % keys
		d.add(int32(key%3), "INVALID_EVENT", shopEvent(fmt.Sprintf("%03d", i), fmt.Sprintf("key-%d", key)))
	}
}

// checkOrder: every event came once, and those of a key in their order.
func checkOrder(t *testing.T, events []*eventv1.Event, n int) {
	t.Helper()
	last := map[string]string{}
	for _, event := range events {
		if last[event.PartitionKey] >= event.Id {
			t.Fatalf("%s of %s came after %s", event.Id, event.PartitionKey, last[event.PartitionKey])
		}
		last[event.PartitionKey] = event.Id
	}
	if len(events) != n {
		t.Fatalf("%d events came, want %d", len(events), n)
	}
}

func isID(event *eventv1.Event, ids ...string) bool { return slices.Contains(ids, event.Id) }

// permanently is a refusal that no resend can help.
func permanently() *gatewayv1.IngestEventResponse {
	return &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_REFUSED, Reason: "SCHEMA_VIOLATION", Code: int32(codes.InvalidArgument),
		ErrorMessage: "data/total: must be a number", Stage: "validate"}
}

func unknown() *gatewayv1.IngestEventResponse {
	return &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_UNKNOWN, Reason: "OUTCOME_UNKNOWN", ErrorMessage: "nobody knows",
		Stage: "produce", RetryDelay: durationpb.New(time.Second)}
}

func TestRedriveSendsTheBytesOnceAndInOrder(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(100, 7)
	event := shopEvent("100", "key-0")
	event.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 1000, protowire.BytesType), "later version"))
	d.add(0, "INVALID_EVENT", event)
	gateway := &fake{}
	result, stderr := redriven(t, 0, startFake(t, gateway))
	if result.Sent != 101 || result.Acknowledged != 101 || !slices.Equal(result.Next, []string{"0/44", "1/29", "2/28"}) {
		t.Fatalf("%+v", result)
	}
	if !strings.Contains(stderr, "no redrive has committed a position") {
		t.Errorf("stderr: %s", stderr)
	}
	events := gateway.received()
	checkOrder(t, events, 101)
	if i := slices.IndexFunc(events, func(e *eventv1.Event) bool { return e.Id == "100" }); !proto.Equal(events[i], event) {
		t.Errorf("got %v, want %v", events[i], event)
	}
}

func TestRedriveGoesOnWhereItEnded(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(10, 3)
	gateway := &fake{}
	address := startFake(t, gateway)
	redriven(t, 0, address, "--limit", "4")
	redriven(t, 0, address)
	if result, stderr := redriven(t, 0, address); result.Sent != 0 || stderr != "" {
		t.Errorf("%+v%s", result, stderr)
	}
	d.add(2, "INVALID_EVENT", shopEvent("010", "key-2"))
	redriven(t, 0, address)
	if got := gateway.receivedIDs(); len(got) != 11 {
		t.Fatalf("%v", got)
	}
	checkOrder(t, gateway.received(), 11)
	if result, _ := redriven(t, 0, address, "--from-start"); result.Sent != 11 {
		t.Errorf("%+v", result)
	}
	if result, _ := redriven(t, 0, address, "--from-start", "--limit", "3"); result.Sent != 3 {
		t.Errorf("%+v", result)
	}
	if result, _ := redriven(t, 0, address); result.Sent != 8 {
		t.Errorf("after beginning again: %+v", result)
	}
}

// Filters and places send what they choose, and leave the position alone.
func TestRedriveOfChosenLetters(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(6, 3)
	d.add(1, "SCHEMA_VIOLATION", shopEvent("006", "key-1"))
	for _, c := range []struct{ args, want string }{
		{"--reason SCHEMA_VIOLATION", "006"}, {"--partition 0", "000 003"}, {"--type order.00* --limit 2", "000 001"}, {"2/1 0/0 2/1", "000 005"},
		{"--since 1s", ""}, {"1/2 1/0", "001 006"},
	} {
		gateway := &fake{}
		result, _ := redriven(t, 0, startFake(t, gateway), append(strings.Fields(c.args), "--callers", "1")...)
		if got := strings.Join(gateway.receivedIDs(), " "); got != c.want || result.Next != nil {
			t.Errorf("%s: %s, want %s; %+v", c.args, got, c.want, result)
		}
	}
	gateway := &fake{}
	address := startFake(t, gateway)
	if code, _, stderr := run(t, "", "dlq", "redrive", "--address", address, "0/0", "0/9"); code != 1 || !strings.Contains(stderr, "0/9: the partition has the offsets 0 to 1") {
		t.Errorf("%d: %s", code, stderr)
	}
	if got := gateway.receivedIDs(); len(got) != 0 {
		t.Errorf("sent before all places were checked: %v", got)
	}
	redriven(t, 0, address)
	checkOrder(t, gateway.received(), 7)
}

// What is refused again is settled. It comes back as a new letter, which this redrive does not send.
func TestRedriveOfWhatIsRefusedAgain(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(9, 3)
	gateway := &fake{keeps: true}
	gateway.answer = func(event *eventv1.Event, _ int) *gatewayv1.IngestEventResponse {
		if isID(event, "001", "004") {
			d.add(1, "SCHEMA_VIOLATION", event)
			return permanently()
		}
		return nil
	}
	address := startFake(t, gateway)
	result, stderr := redriven(t, 1, address)
	if result.Sent != 9 || result.Refused != 2 || result.DeadLettered != 2 || result.Acknowledged != 7 || result.RefusedReasons["SCHEMA_VIOLATION"] != 2 {
		t.Fatalf("%+v", result)
	}
	if !strings.Contains(stderr, "1/0 is refused again, and a new dead letter: SCHEMA_VIOLATION: data/total: must be a number") {
		t.Errorf("stderr: %s", stderr)
	}
	checkOrder(t, gateway.received(), 9)
	gateway.answer = nil
	code, stdout, _ := run(t, "", "dlq", "redrive", "--address", address)
	if code != 0 || !strings.Contains(stdout, "the next redrive goes on at 0/3, 1/5, 2/3") {
		t.Errorf("%d: %s", code, stdout)
	}
	if got := gateway.receivedIDs()[9:]; !slices.Equal(got, []string{"001", "004"}) {
		t.Errorf("the second redrive sent %v", got)
	}
	gateway.answer = func(*eventv1.Event, int) *gatewayv1.IngestEventResponse { return permanently() }
	code, stdout, _ = run(t, "", "dlq", "redrive", "--address", address, "0/0")
	if words := strings.Join(strings.Fields(stdout), " "); code != 1 || !strings.Contains(words, "refused again 1 1 of them are new letters") {
		t.Errorf("%d: %s", code, stdout)
	}
}

// A refusal for now holds the later ones of the key back until the event has passed.
func TestRedriveWaitsWhenTheGatewaySaysSo(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(60, 2)
	gateway := &fake{}
	var passed []*eventv1.Event
	gateway.answer = func(event *eventv1.Event, sending int) *gatewayv1.IngestEventResponse {
		if sending <= len(event.Id)%3+1 && event.Id > "010" {
			return refused("RATE_LIMITED", time.Millisecond)
		}
		passed = append(passed, event)
		return nil
	}
	result, _ := redriven(t, 0, startFake(t, gateway))
	if result.Sent != 60 || result.Acknowledged != 60 || result.Resent != 49 {
		t.Fatalf("%+v", result)
	}
	checkOrder(t, passed, 60)
}

// An unknown outcome, and a refusal for now that lasts, keep the event and the later ones of its key for the next
// redrive, which sends nothing that was acknowledged.
func TestRedriveKeepsWhatIsNotSettled(t *testing.T) {
	for name, c := range map[string]struct {
		answer  *gatewayv1.IngestEventResponse
		refused int64
	}{
		"unknown":        {unknown(), 0},
		"for too long":   {refused("BREAKER_OPEN", time.Hour), 1},
		"not permitted":  {&gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_REFUSED, Reason: "TOPIC_NOT_ALLOWED", Code: int32(codes.PermissionDenied)}, 1},
		"internal error": {&gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_REFUSED, Reason: "INTERNAL", Code: int32(codes.Internal)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDeadTopic(t)
			d.fill(12, 6) // two keys a partition
			gateway := &fake{keeps: true, answer: func(event *eventv1.Event, _ int) *gatewayv1.IngestEventResponse {
				if isID(event, "001") {
					return c.answer
				}
				return nil
			}}
			address := startFake(t, gateway)
			result, stderr := redriven(t, 1, address)
			if result.Sent != 11 || result.Acknowledged != 10 || result.Refused != c.refused || result.Unknown != 1-c.refused || result.HeldBack != 1 {
				t.Fatalf("%+v", result)
			}
			if result.Next[1] != "1/0" || !strings.Contains(stderr, "1/0 is not settled: "+c.answer.Reason) {
				t.Errorf("%v %s", result.Next, stderr)
			}
			gateway.answer = nil
			if result, _ := redriven(t, 0, address); result.Sent != 2 || !slices.Equal(result.Next, []string{"0/4", "1/4", "2/4"}) {
				t.Errorf("the next redrive: %+v", result)
			}
			if got := gateway.receivedIDs()[11:]; !slices.Equal(got, []string{"001", "007"}) {
				t.Errorf("the next redrive sent %v", got)
			}
		})
	}
}

// A redrive that is interrupted and continued, again and again, sends every event once.
func TestRedriveThatIsInterrupted(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(200, 20)
	gateway := &fake{}
	address := startFake(t, gateway)
	rounds := 0
	for ; len(gateway.received()) < 200; rounds++ {
		stop, interrupt := context.WithCancel(t.Context())
		var calls atomic.Int64
		gateway.before = func() {
			if calls.Add(1) == 30 {
				interrupt()
			}
		}
		var stdout, stderr bytes.Buffer
		p := &Program{Stdout: &stdout, Stderr: &stderr, DeadLetters: func() kafka.LetterSource { return testLetters }}
		c := &dlqRedriveCommand{Callers: 8, Address: address, Timeout: 20 * time.Second}
		err := c.redrive(t.Context(), stop, p)
		interrupt()
		if interrupted := calls.Load() >= 30; interrupted != (err != nil) {
			t.Fatalf("round %d: %v: %s%s", rounds, err, stdout.String(), stderr.String())
		}
	}
	checkOrder(t, gateway.received(), 200)
	if rounds < 5 {
		t.Errorf("only %d rounds", rounds)
	}
}

// Calls that break leave it open whether the event is stored: they, and only they, are sent again by the next redrive.
func TestRedriveWithBrokenCalls(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(30, 30)
	gateway := &fake{breakAfter: 9}
	address := startFake(t, gateway)
	result, _ := redriven(t, 1, address)
	if result.Sent != 30 || result.Acknowledged != 27 || result.NoAnswer != 3 || !strings.Contains(result.Error, "breaks") {
		t.Fatalf("%+v", result)
	}
	gateway.breakAfter = 0
	if result, _ := redriven(t, 0, address); result.Sent != 3 {
		t.Fatalf("%+v", result)
	}
	if got := gateway.receivedIDs(); len(got) != 30 {
		t.Fatalf("%d events", len(got))
	}
}

// A status that no gateway has written says nothing about an event, whatever its code.
func TestRedriveThroughAProxyThatRefuses(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(3, 1)
	gateway := &fake{status: status.Error(codes.InvalidArgument, "says a proxy")}
	address := startFake(t, gateway)
	result, _ := redriven(t, 1, address)
	if result.Sent != 1 || result.Refused != 1 || result.NotSent+result.HeldBack == 0 && !result.StoppedEarly || result.Next[0] != "0/0" {
		t.Fatalf("%+v", result)
	}
}

func TestRedriveWithoutAGateway(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(20, 3)
	result, stderr := redriven(t, 1, "127.0.0.1:1", "--timeout", "500ms", "--callers", "2")
	if result.Sent != 0 || result.NotSent == 0 || !result.StoppedEarly || !strings.Contains(result.Error, "refused") || !strings.Contains(stderr, "127.0.0.1:1") {
		t.Fatalf("%+v %s", result, stderr)
	}
	if result.Next[0] != "0/0" {
		t.Errorf("%v", result.Next)
	}
}

func TestRedriveSkipsWhatIsNoEvent(t *testing.T) {
	d := newDeadTopic(t)
	d.add(0, "INVALID_EVENT", shopEvent("000", "k"))
	d.write(0, nil, []byte("\xff"), "content-type", "application/octet-stream", "dlq_reason", "MALFORMED_EVENT", "dlq_message", "the bytes are no event")
	d.write(1, nil, []byte("{}"), "ce_specversion", "1.0")
	d.write(2, nil, []byte("\xff"), "content-type", eventType, "dlq_reason", "INVALID_EVENT")
	d.add(0, "INVALID_EVENT", shopEvent("001", "k"))
	gateway := &fake{}
	address := startFake(t, gateway)
	result, stderr := redriven(t, 1, address)
	if result.Sent != 2 || result.Acknowledged != 2 || result.Skipped != 3 {
		t.Fatalf("%+v", result)
	}
	for _, want := range []string{"0/1 is skipped: it is no event, and can never pass (MALFORMED_EVENT: the bytes are no event)",
		"1/0 is skipped: it is no dead letter", "2/0 is skipped: it is no event"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in %s", want, stderr)
		}
	}
	if result, _ := redriven(t, 0, address); result.Sent != 0 || result.Skipped != 0 {
		t.Errorf("again: %+v", result)
	}
}

func TestRedriveDryRun(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(5, 5)
	d.write(1, nil, []byte("\xff"), "dlq_reason", "MALFORMED_EVENT")
	gateway := &fake{}
	address := startFake(t, gateway)
	for range 2 { // the second one begins where the first did
		code, stdout, stderr := run(t, "", "dlq", "redrive", "--dry-run", "--address", address)
		if code != 0 || strings.Count(stdout, "\n") != 5 || !strings.Contains(stdout, `"id":"003"`) ||
			!strings.Contains(stderr, "5 events would be sent to "+address+", 1 letters skipped") || !strings.Contains(stderr, "1/2 is skipped") {
			t.Errorf("%d: %s%s", code, stdout, stderr)
		}
	}
	if got := gateway.received(); len(got) != 0 {
		t.Errorf("sent %v", got)
	}
	if _, stdout, _ := run(t, "", "dlq", "redrive", "--dry-run", "--limit", "2", "2/0", "0/0", "1/0"); strings.Count(stdout, "\n") != 2 {
		t.Errorf("with --limit: %s", stdout)
	}
}

func TestRedriveOnASchedule(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(21, 7)
	began := time.Now()
	redriven(t, 0, startFake(t, &fake{}), "--rate", "100")
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("20 intervals of 10 ms took %v", took)
	}
}

// A position that cannot be committed is told, and the letters are sent again.
func TestRedriveWithoutCommit(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(3, 1)
	d.cluster.ControlKey(int16(kmsg.OffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		d.cluster.KeepControl()
		r := request.(*kmsg.OffsetCommitRequest)
		response := r.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range r.Topics {
			answer := kmsg.NewOffsetCommitResponseTopic()
			answer.Topic, answer.TopicID = topic.Topic, topic.TopicID
			for _, partition := range topic.Partitions {
				answered := kmsg.NewOffsetCommitResponseTopicPartition()
				answered.Partition, answered.ErrorCode = partition.Partition, kerr.GroupAuthorizationFailed.Code
				answer.Partitions = append(answer.Partitions, answered)
			}
			response.Topics = append(response.Topics, answer)
		}
		return response, nil, true
	})
	gateway := &fake{}
	address := startFake(t, gateway)
	for range 2 {
		result, stderr := redriven(t, 1, address)
		if result.Acknowledged != 3 || result.Next != nil || !strings.Contains(stderr, "GROUP_AUTHORIZATION_FAILED") || !strings.Contains(stderr, "may send letters again") {
			t.Fatalf("%+v %s", result, stderr)
		}
	}
}

// A topic that was deleted and made anew has lower offsets than the position.
func TestRedriveOfATopicMadeAnew(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(2, 1)
	l, err := kafka.OpenLetters(t.Context(), kafka.LetterSource{Brokers: testLetters.Brokers, Topic: "dead", Group: testLetters.Group, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Commit(t.Context(), map[int32]kafka.Position{0: {Next: 50, Through: 50}}); err != nil {
		t.Fatal(err)
	}
	result, stderr := redriven(t, 0, startFake(t, &fake{}))
	if result.Sent != 2 || result.Next[0] != "0/2" || !strings.Contains(stderr, "made anew") {
		t.Fatalf("%+v %s", result, stderr)
	}
}

func TestRedriveSecondSignal(t *testing.T) {
	d := newDeadTopic(t)
	d.fill(50, 50)
	gateway := &fake{}
	abort, kill := context.WithCancel(t.Context())
	defer kill()
	var calls atomic.Int64
	gateway.before = func() {
		if calls.Add(1) == 20 {
			kill()
		}
	}
	var stdout, stderr bytes.Buffer
	p := &Program{Stdout: &stdout, Stderr: &stderr, DeadLetters: func() kafka.LetterSource { return testLetters }}
	c := &dlqRedriveCommand{Callers: 4, Address: startFake(t, gateway), Timeout: 20 * time.Second}
	var exit exitError
	if err := c.redrive(abort, t.Context(), p); !errors.As(err, &exit) || exit.code != 130 {
		t.Fatalf("%v: %s%s", err, stdout.String(), stderr.String())
	}
}

// settledLetters against a set of offsets, over several redrives of one partition that each end anywhere.
func TestSettledLetters(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const letters = 40
		missing := rapid.SliceOfN(rapid.Bool(), letters, letters).Draw(rt, "missing") // offsets without a letter
		settled := [letters]bool{}
		var old kafka.Position
		for range rapid.IntRange(1, 5).Draw(rt, "redrives") {
			s := newSettledLetters()
			s.begin(kafka.Span{Start: old.Next, End: letters}, old)
			end := rapid.Int64Range(old.Next, letters).Draw(rt, "end")
			for offset := old.Next; offset < end; offset++ {
				at := letterAt{0, offset}
				if missing[offset] {
					continue
				}
				if s.has(at) {
					if !settled[offset] {
						rt.Fatalf("%d counts as settled and is not", offset)
					}
					continue
				}
				if settled[offset] {
					rt.Fatalf("%d would be sent again", offset)
				}
				s.open(at)
				if rapid.Bool().Draw(rt, "settles") {
					s.settle(at)
					settled[offset] = true
				}
			}
			if end == letters {
				s.end([]kafka.Span{{End: letters}})
			}
			old = s.positions()[0]
			for offset := range int64(letters) {
				if old.Settled(offset) && !settled[offset] && !missing[offset] {
					rt.Fatalf("position %+v loses %d", old, offset)
				}
				if settled[offset] && !old.Settled(offset) {
					rt.Fatalf("position %+v sends %d again", old, offset)
				}
			}
		}
	})
}

// What could not be committed is committed with what comes after it, or without.
func TestSettledLettersThatAreNotCommitted(t *testing.T) {
	s := newSettledLetters()
	s.begin(kafka.Span{End: 5}, kafka.Position{})
	s.open(letterAt{0, 0})
	if got := s.changed(); len(got) != 0 {
		t.Fatalf("nothing is settled, but %v", got)
	}
	s.settle(letterAt{0, 0})
	first := s.changed()
	if first[0].Next != 1 || len(s.changed()) != 0 {
		t.Fatalf("%v", first)
	}
	s.touch(first)
	if again := s.changed(); again[0].Next != 1 {
		t.Fatalf("%v", again)
	}
}

// An event that was sent without an id keeps the one that its client was told, at every redrive.
func TestRedriveKeepsTheAssignedID(t *testing.T) {
	d := newDeadTopic(t)
	event := shopEvent("", "key")
	raw, err := proto.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	d.write(0, []byte("key"), raw, "content-type", eventType, "dlq_reason", "TRANSFORM_FAILED", "dlq_stage", "transform", "dlq_id", "told")
	gateway := &fake{}
	if result, stderr := redriven(t, 0, startFake(t, gateway)); result.Acknowledged != 1 {
		t.Fatalf("%+v %s", result, stderr)
	}
	event.Id = "told"
	if got := gateway.received(); len(got) != 1 || !proto.Equal(got[0], event) {
		t.Errorf("got %v, want %v", got, event)
	}
}
