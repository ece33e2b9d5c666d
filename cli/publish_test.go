package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/event-gateway/event-gateway/kafka"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

var errBroken = status.Error(codes.Unavailable, "the fake breaks the stream")

// run runs the command line and returns its exit code and output.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(Program{Version: "test", Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Serve:        func() int { return 42 },
		Settings:     func() ([]Setting, []error) { return nil, nil },
		AdminAddress: func() (string, error) { return "127.0.0.1:1", nil },
		DeadLetters:  func() kafka.LetterSource { return testLetters },
	}, args)
	return code, out.String(), errs.String()
}

// runJSON publishes with --json and returns the totals.
func runJSON(t *testing.T, want int, stdin string, args ...string) totals {
	t.Helper()
	code, stdout, stderr := run(t, stdin, append([]string{"publish", "--json"}, args...)...)
	if code != want {
		t.Fatalf("exit code %d, want %d: %s%s", code, want, stdout, stderr)
	}
	var result totals
	if err := json.Unmarshal([]byte(stdout), &result); err != nil {
		t.Fatalf("%v: %q %s", err, stdout, stderr)
	}
	return result
}

func refused(reason string, retry time.Duration) *gatewayv1.IngestEventResponse {
	r := &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_REFUSED, Reason: reason,
		ErrorMessage: "no", Stage: "ratelimit"}
	if retry > 0 {
		r.RetryDelay = durationpb.New(retry)
	}
	return r
}

func TestGeneratedEventsArriveOnceWithKeysInOrder(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"", "--streams 3", "--batch 7", "--batch 100 --streams 2 --window 1", "--rate 20000 --streams 2",
		"--unary", "--unary --streams 5", "--unary --batch 7 --streams 2", "--unary --rate 20000 --streams 4",
		"--unary --rate 20000 --batch 30 --streams 2"} {
		t.Run(args, func(t *testing.T) {
			gateway := &fake{}
			address := startFake(t, gateway)
			result := runJSON(t, 0, "", append(strings.Fields(args), "--address", address, "--count", "1000",
				"--keys", "10", "--size", "50", "--metadata", "a=b,c", "--metadata", "d=e")...)
			if result.Sent != 1000 || result.Acknowledged != 1000 || result.Latency == nil {
				t.Fatalf("%+v", result)
			}
			seen := map[string]bool{}
			for _, e := range gateway.received() {
				number, err := strconv.Atoi(e.Id[len(e.Id)-idDigits:])
				if err != nil || seen[e.Id] || number >= 1000 {
					t.Fatalf("id %q: %v, seen %v", e.Id, err, seen[e.Id])
				}
				seen[e.Id] = true
				if want := fmt.Sprintf("key-%08d", number%10); e.PartitionKey != want {
					t.Fatalf("key of %s is %q, want %q", e.Id, e.PartitionKey, want)
				}
				if len(e.Data) != 50 || e.Type != "load.generated" || e.Source != "/gateway/publish" ||
					e.Metadata["a"] != "b,c" || e.Metadata["d"] != "e" {
					t.Fatalf("event %v", e)
				}
			}
			if len(seen) != 1000 {
				t.Fatalf("%d different events", len(seen))
			}
		})
	}
}

func TestOneStreamKeepsTheOrder(t *testing.T) {
	gateway := &fake{}
	address := startFake(t, gateway)
	runJSON(t, 0, "", "--address", address, "--count", "500", "--batch", "9")
	last := ""
	for _, e := range gateway.received() {
		if e.Id <= last {
			t.Fatalf("%s after %s", e.Id, last)
		}
		last = e.Id
	}
}

func TestOutcomesAndReasonsAreCounted(t *testing.T) {
	countsOutcomes(t)
}

// countsOutcomes publishes, with more arguments, to a gateway that gives every outcome in turn.
func countsOutcomes(t *testing.T, more ...string) {
	t.Helper()
	for _, batch := range []string{"0", "10"} {
		number := 0
		gateway := &fake{answer: func(*eventv1.Event, int) *gatewayv1.IngestEventResponse {
			number++
			switch number % 5 {
			case 0:
				return &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_FILTERED, Success: true}
			case 1:
				return &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_DUPLICATE, Success: true}
			case 2:
				return refused("RATE_LIMITED", time.Second)
			case 3:
				return &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_UNKNOWN, Reason: "OUTCOME_UNKNOWN"}
			}
			return nil
		}}
		r := runJSON(t, 1, "", append(more, "--address", startFake(t, gateway), "--count", "1000", "--batch", batch)...)
		if r.Acknowledged != 200 || r.Filtered != 200 || r.Duplicate != 200 || r.Refused != 200 || r.Unknown != 200 ||
			r.RefusedReasons["RATE_LIMITED"] != 200 || r.UnknownReasons["OUTCOME_UNKNOWN"] != 200 || r.NoAnswer != 0 || r.Error != "" {
			t.Fatalf("batch %s: %+v", batch, r)
		}
	}
}

func TestFilteredAndDuplicateAreSuccess(t *testing.T) {
	gateway := &fake{answer: func(*eventv1.Event, int) *gatewayv1.IngestEventResponse {
		return &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_FILTERED, Success: true}
	}}
	runJSON(t, 0, "", "--address", startFake(t, gateway), "--count", "10", "--batch", "4")
}

func TestResendUntilAcknowledged(t *testing.T) {
	for _, batch := range []string{"0", "8"} {
		gateway := &fake{answer: func(_ *eventv1.Event, sending int) *gatewayv1.IngestEventResponse {
			if sending < 3 {
				return refused("RATE_LIMITED", time.Millisecond)
			}
			return nil
		}}
		r := runJSON(t, 0, "", "--address", startFake(t, gateway), "--count", "100", "--resend", "--batch", batch)
		if r.Sent != 100 || r.Acknowledged != 100 || r.Resent != 200 {
			t.Fatalf("batch %s: %+v", batch, r)
		}
	}
}

func TestResendGivesUpWhereItCannotHelpOrTimeIsUp(t *testing.T) {
	gateway := &fake{answer: func(e *eventv1.Event, _ int) *gatewayv1.IngestEventResponse {
		if strings.HasSuffix(e.Id, "0") {
			return refused("INVALID_EVENT", 0)
		}
		return refused("OVERLOADED", 20*time.Millisecond)
	}}
	r := runJSON(t, 1, "", "--address", startFake(t, gateway), "--count", "20", "--resend", "--timeout", "300ms")
	if r.RefusedReasons["INVALID_EVENT"] != 2 || r.RefusedReasons["OVERLOADED"] != 18 || r.Resent < 18 {
		t.Fatalf("%+v", r)
	}
}

func TestABrokenStreamIsOpenedAgain(t *testing.T) {
	t.Parallel()
	gateway := &fake{breakAfter: 20}
	r := runJSON(t, 1, "", "--address", startFake(t, gateway), "--count", "50", "--window", "1", "--progress")
	if r.Acknowledged+r.NoAnswer != 50 || r.NoAnswer == 0 || r.Acknowledged < 40 || !strings.Contains(r.Error, "breaks") {
		t.Fatalf("%+v", r)
	}
	gateway = &fake{breakAfter: 20}
	r = runJSON(t, 0, "", "--address", startFake(t, gateway), "--count", "50", "--resend")
	if r.Acknowledged != 50 || r.Resent == 0 {
		t.Fatalf("%+v", r)
	}
}

func TestNoGatewayEndsAfterTheTimeout(t *testing.T) {
	code, stdout, stderr := run(t, "", "publish", "--address", "127.0.0.1:1", "--count", "5", "--timeout", "100ms")
	if code != 1 || !strings.Contains(stderr, "127.0.0.1:1") || !strings.Contains(stdout, "not sent") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	if strings.Count(stderr, "\n") != 1 {
		t.Fatalf("want one line, got %q", stderr)
	}
}

func TestAGatewayThatDoesNotAnswerIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	gateway := &fake{answer: func(*eventv1.Event, int) *gatewayv1.IngestEventResponse { <-release; return nil }}
	address := startFake(t, gateway)
	defer close(release)
	r := runJSON(t, 1, "", "--address", address, "--count", "5", "--timeout", "200ms")
	if r.NoAnswer != 5 || !strings.Contains(r.Error, "no answer") {
		t.Fatalf("%+v", r)
	}
}

func TestOneEventFromFlags(t *testing.T) {
	gateway := &fake{}
	address := startFake(t, gateway)
	code, stdout, stderr := run(t, "", "publish", "--address", address, "--type", "order.created", "--source", "/shop",
		"--subject", "s", "--key", "42", "--id", "one", "--data", `{"a":1}`, "--content-type", "application/json",
		"--metadata", "trace=x=y")
	if code != 0 || !strings.Contains(stdout, "acknowledged: one is in events, partition 1, offset 1") {
		t.Fatalf("exit code %d: %s%s", code, stdout, stderr)
	}
	want := &eventv1.Event{Id: "one", Type: "order.created", Source: "/shop", Subject: "s", PartitionKey: "42",
		Data: []byte(`{"a":1}`), DataContentType: "application/json", Metadata: map[string]string{"trace": "x=y"}}
	if got := gateway.received()[0]; !proto.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
	gateway.answer = func(*eventv1.Event, int) *gatewayv1.IngestEventResponse { return refused("RATE_LIMITED", time.Second) }
	code, stdout, _ = run(t, "", "publish", "--address", address, "--type", "t", "--source", "/s")
	if code != 1 || !strings.Contains(stdout, "refused at ratelimit: RATE_LIMITED: no") || !strings.Contains(stdout, "1s") {
		t.Fatalf("exit code %d: %s", code, stdout)
	}
}

func TestJSONLines(t *testing.T) {
	gateway := &fake{}
	address := startFake(t, gateway)
	in := `{"id":"1","type":"a","source":"/s","data":"aGk=","partitionKey":"k"}

{"id":"2","type":"a","source":"/s","data_text":"h\u00e4","partition_key":"k"}
not json
{"id":"3","type":"a","source":"/s","data_json":{"x": [1]},"metadata":{"m":"n"},"timestamp":"2024-01-02T03:04:05Z"}
{"id":"4","data_text":"a","data":"aGk="}
{"id":"5","colour":"red"}`
	code, stdout, stderr := run(t, in, "publish", "--address", address, "--json", "--batch", "10")
	if code != 1 || strings.Count(stderr, "is not sent") != 3 || !strings.Contains(stderr, "line 4 ") {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var result totals
	if err := json.Unmarshal([]byte(stdout), &result); err != nil || result.InvalidLines != 3 || result.Acknowledged != 3 {
		t.Fatalf("%v %+v", err, result)
	}
	got := gateway.received()
	if string(got[0].Data) != "hi" || string(got[1].Data) != "h\u00e4" || string(got[2].Data) != `{"x": [1]}` ||
		got[2].DataContentType != "application/json" || got[2].Timestamp.Seconds != 1704164645 || got[1].PartitionKey != "k" {
		t.Fatalf("%v", got)
	}
}

func TestLinesEndWhenTheGatewayIsGone(t *testing.T) {
	t.Parallel()
	in := strings.Repeat(`{"type":"t","source":"/s"}`+"\n", 5000)
	for _, streams := range []string{"1", "3"} {
		code, stdout, stderr := run(t, in, "publish", "--address", "127.0.0.1:1", "--timeout", "100ms", "--streams", streams)
		if code != 1 {
			t.Errorf("exit code %d: %s%s", code, stdout, stderr)
		}
	}
	address := startFake(t, &fake{})
	for _, in := range []string{"", "\n\n"} {
		if code, stdout, stderr := run(t, in, "publish", "--address", address); code != 0 {
			t.Errorf("empty input: exit code %d: %s%s", code, stdout, stderr)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	for _, args := range []string{
		"publish --type a", "publish --count -1", "publish --count 5 --id x", "publish --count 1 --duration 1s",
		"publish --streams 0 --count 1", "publish --key k", "publish --count 1 --key a --keys 2", "publish --bogus",
		"publish --count 1 --unary --window 4",
		"publish --data x --data-file y --type t --source s", "replay", "get", "token", "publish --timeout 0s --count 1",
	} {
		if code, _, stderr := run(t, "", strings.Fields(args)...); code != 2 || !strings.Contains(stderr, "gateway: ") {
			t.Errorf("%s: exit code %d: %s", args, code, stderr)
		}
	}
}

func TestHelpHasExamplesAndNoLaterCommands(t *testing.T) {
	for _, args := range []string{"--help", "publish --help", "config --help", "healthcheck --help", "version --help", "serve --help",
		"dlq --help", "dlq list --help", "dlq show --help", "dlq redrive --help", "subscribe --help", "replay --help", "get --help"} {
		code, stdout, stderr := run(t, "", strings.Fields(args)...)
		if code != 0 || !strings.Contains(stdout, "Example") || stderr != "" {
			t.Errorf("%s: exit code %d\n%s%s", args, code, stdout, stderr)
		}
		if strings.Contains(stdout, "token") {
			t.Errorf("%s mentions a later command", args)
		}
	}
	if code, _, _ := run(t, ""); code != 42 {
		t.Errorf("without a command it serves; exit code %d", code)
	}
}

// TestOwnCost prints what an event costs publish, against a gateway in another process that discards.
func TestOwnCost(t *testing.T) {
	if os.Getenv("MEASURE") == "" && testing.Short() {
		return
	}
	gateway := exec.Command(os.Args[0])
	gateway.Env = append(os.Environ(), "FAKE_GATEWAY=1")
	stdin, err := gateway.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := gateway.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := gateway.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		_ = gateway.Wait()
	}()
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	single, batch := "10000", "100000"
	if os.Getenv("MEASURE") != "" {
		single, batch = "500000", "5000000"
	}
	for _, args := range []string{"--count " + single, "--count " + single + " --streams 2", "--unary --streams 16 --count " + single,
		"--unary --streams 4 --batch 100 --count " + batch,
		"--count " + batch + " --batch 100 --streams 2", "--count " + batch + " --batch 1000 --streams 2"} {
		r := runJSON(t, 0, "", append(strings.Fields(args), "--address", strings.TrimSpace(address), "--keys", "1000",
			"--size", "300")...)
		if r.Acknowledged != r.Sent || r.Sent == 0 {
			t.Fatalf("%s: %+v", args, r)
		}
		t.Logf("%s: %.0f ns of CPU an event, %.0f events/s, %+v", args, r.CPUNanos, r.Rate, *r.Latency)
	}
}
