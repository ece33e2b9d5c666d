package cli

// What the commands that read events back share: the connection, and what is
// made of the end of a stream. There are two kinds of ends:
//
//	for good       the gateway refuses the request and would again: say what to do, and end
//	for now        a lost connection, a gateway that restarts, Kafka away: open the stream again, from where it broke off

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

// defaultAddress is that of a gateway on this machine.
const defaultAddress = "localhost:50051"

// The exit codes of reading, beside the shared ones.
const (
	exitRefused = 3
	exitExpired = 4
)

// earliestCursor is where the details of OUT_OF_RANGE name the oldest cursor that works.
const earliestCursor = "earliest_cursor"

// readingGateway is the gateway to read from.
type readingGateway struct {
	Address string        `group:"gateway" default:"localhost:50051" placeholder:"HOST:PORT" help:"The gateway (default ${default})."`
	Timeout time.Duration `group:"gateway" default:"1m" placeholder:"TIME" help:"Give up when no gateway has answered for TIME; 0 = never (default ${default})."`
}

const (
	// connectTimeout bounds an attempt to connect: far more than a connection takes, and several fit into --timeout.
	connectTimeout = 5 * time.Second
	// A connection on which nothing comes is probed after keepaliveTime, which is more often than a gateway forbids (15 s),
	// and is lost when the probe is not answered in keepaliveTimeout.
	keepaliveTime    = 20 * time.Second
	keepaliveTimeout = 10 * time.Second
)

func (c *readingGateway) dial(command string, p *Program) (*grpc.ClientConn, error) {
	conn, err := grpc.NewClient(c.Address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDisableRetry(), // only we know where to go on
		grpc.WithUserAgent("gateway-"+command+"/"+p.Version),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)), // a page has many events
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectTimeout,
			Backoff: backoff.Config{BaseDelay: resumeFirst, Multiplier: 2, Jitter: 0.2, MaxDelay: resumeLast / 2}}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}))
	if err != nil {
		return nil, fmt.Errorf("--address=%s: %w", c.Address, err)
	}
	return conn, nil
}

// ending is why a stream ended.
type ending struct {
	code    codes.Code
	message string
	// reason is the gateway's own word for it, empty when no gateway has said anything; metadata goes with it.
	reason   string
	metadata map[string]string
	// retry is how long the gateway asks to wait; 0: it does not say.
	retry time.Duration
}

// errEnded is a stream that was closed with OK, which a gateway does not do: something between has.
var errEnded = status.Error(codes.Unavailable, "the stream was closed")

func endingOf(err error) ending {
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	st := status.Convert(err)
	e := ending{code: st.Code(), message: st.Message()}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.reason, e.metadata = d.GetReason(), d.GetMetadata()
			}
		case *errdetails.RetryInfo:
			e.retry = d.GetRetryDelay().AsDuration()
		}
	}
	return e
}

// forGood: the same request gets the same again.
func (e *ending) forGood() bool {
	switch e.code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented, codes.DataLoss:
		return true
	case codes.Internal: // without a reason it is a broken connection
		return e.reason != "" && e.retry == 0
	}
	return false
}

// ordinary: a gateway has ended the stream for a cause that is part of its life, or because our output was not read.
func (e *ending) ordinary() bool {
	return e.reason != "" && e.code == codes.Unavailable || e.reason == "SLOW_CLIENT"
}

// exitCode is that of an ending for good.
func (e *ending) exitCode() int {
	if e.code == codes.OutOfRange {
		return exitExpired
	}
	return exitRefused
}

// String is the ending as a person reads it.
func (e *ending) String() string {
	name := e.reason
	if name == "" {
		name = e.code.String()
	}
	return printable(fmt.Sprintf("%s (%s)", e.message, name))
}

// advice is the next step after an ending for good that is the same for all who read; empty: there is none.
func (e *ending) advice() string {
	switch e.code {
	case codes.PermissionDenied:
		return "ask the gateway's operator for the right to read these events"
	case codes.Unauthenticated:
		return "this gateway asks who is there, and this command has no credentials for it: ask its operator"
	case codes.Unimplemented:
		return "this gateway cannot do that: it is older than this command, or the address is not a gateway's; see --address"
	case codes.FailedPrecondition, codes.DataLoss, codes.Internal:
		return "tell the gateway's operator"
	}
	switch e.reason {
	case "INVALID_FILTER", "FILTER_LIMIT":
		return `mend --filter: a CEL condition over the attributes, for example 'subject == "42"'`
	}
	return "mend the request; --help has examples"
}

const (
	// The wait before a broken stream is opened again doubles from resumeFirst to resumeLast with each failure, and is
	// half of that to all of it by chance, so that those whom a gateway has left do not come back all at once.
	resumeFirst = 100 * time.Millisecond
	resumeLast  = 5 * time.Second
)

// resumption decides when a broken stream is opened again, and what is said of it.
type resumption struct {
	stderr  io.Writer
	address string
	// timeout is how long no gateway may answer; 0 = for ever. heard is when one last did.
	timeout time.Duration
	heard   time.Time
	// first is the wait after the first failure.
	first time.Duration
	// failures are the ends since the stream last brought something.
	failures int
	// said is what was said of this outage; empty: nothing.
	said string
}

func newResumption(c *readingGateway, stderr io.Writer) resumption {
	return resumption{stderr: stderr, address: c.Address, timeout: c.Timeout, heard: time.Now(), first: resumeFirst}
}

// begun notes that the gateway has taken the request.
func (r *resumption) begun() {
	r.heard = time.Now()
	if r.said != "" {
		say(r.stderr, "gateway: %s: connected again\n", r.address)
		r.said = ""
	}
}

// alive notes that the stream has brought something.
func (r *resumption) alive() { r.heard, r.failures = time.Now(), 0 }

// errGaveUp: no gateway has answered for too long.
var errGaveUp = errors.New("no gateway answers")

// pause waits until the stream may be opened again. what it will do then is said when it is worth it.
func (r *resumption) pause(stop context.Context, e ending, what string) error {
	if e.reason != "" {
		r.heard = time.Now()
	}
	r.failures++
	wait := time.Duration(math.Min(float64(r.first)*math.Pow(2, float64(r.failures-1)), float64(resumeLast)))
	wait = wait/2 + rand.N(wait/2)
	if e.retry > 0 {
		wait = max(wait, e.retry+rand.N(e.retry/4+1))
	}
	silent := time.Since(r.heard)
	if r.timeout > 0 && silent >= r.timeout {
		return fmt.Errorf("%w: %s: nothing for %v: %s", errGaveUp, r.address, silent.Round(time.Second), e.String())
	}
	if r.timeout > 0 {
		wait = min(wait, r.timeout-silent+time.Millisecond)
	}
	// What is part of a gateway's life is no news, unless it lasts. One line says it, and one more what the gateway itself
	// says then: the errors of connections change as it comes back.
	text := e.String()
	if news := r.said == "" || e.reason != "" && text != r.said; news && (!e.ordinary() || r.failures > 1) {
		r.said = text
		say(r.stderr, "gateway: %s: %s; %s\n", r.address, text, what)
	}
	select {
	case <-time.After(wait):
		return nil
	case <-stop.Done():
		return stop.Err()
	}
}

// pingTimeout bounds a probe of a gateway.
const pingTimeout = 5 * time.Second

// ready asks on the connection of the stream whether the gateway is ready, which includes its Kafka. An error says that
// nobody has answered.
func ready(ctx context.Context, health healthpb.HealthClient) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	answer, err := health.Check(ctx, &healthpb.HealthCheckRequest{})
	switch status.Code(err) {
	case codes.OK:
		return answer.GetStatus() == healthpb.HealthCheckResponse_SERVING, nil
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return false, err
	}
	return true, nil // it answers, and does not know the question
}

func countEvents(n int64) string {
	if n == 1 {
		return "1 event"
	}
	return grouped(n) + " events"
}

// flagWords are a flag and its value as the command line takes them: a value that begins with a dash is taken for a flag unless it
// is in the same word.
func flagWords(flag, value string) []string {
	if strings.HasPrefix(value, "-") {
		return []string{flag + "=" + value}
	}
	return []string{flag, value}
}

// shellLine writes a command so that a shell reads the same words.
func shellLine(words ...string) string {
	quoted := make([]string, len(words))
	for i, word := range words {
		quoted[i] = shellWord(word)
	}
	return strings.Join(quoted, " ")
}

const plainInShell = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,+@%"

func shellWord(word string) string {
	switch {
	case word != "" && strings.Trim(word, plainInShell) == "":
		return word
	case printable(word) == word:
		return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
	}
	var b strings.Builder // what a terminal would obey is spelt out
	b.WriteString("$'")
	for _, c := range []byte(word) {
		if c < ' ' || c >= 0x7f || c == '\'' || c == '\\' {
			fmt.Fprintf(&b, `\x%02x`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
