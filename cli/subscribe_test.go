package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// However often and wherever streams break, every event is printed once, and those of a partition in order.
func TestSubscribeGoesOnWithoutGapsAndDoubles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		gateway := &store{random: rand.New(rand.NewPCG(random.Uint64(), 0)), beats: rapid.Bool().Draw(rt, "beats")}
		gateway.fill(rapid.IntRange(1, 200).Draw(rt, "events"), 3, random)
		gateway.ends = randomEnds(random, rapid.IntRange(0, 12).Draw(rt, "breaks"), 40)
		address := startStore(t, gateway)
		var stdout, stderr both
		c := &subscribeCommand{Since: startFlag{earliest: true}, UntilIdle: 20 * time.Millisecond,
			readingGateway: readingGateway{Address: address, Timeout: time.Minute}}
		if rapid.Bool().Draw(rt, "filtered") {
			c.Type = []string{"order.*"}
		}
		want := gateway.ids(func(e *eventv1.Event) bool { return matches(c.Type, e) })
		p := program(&stdout, &stderr)
		conn, err := c.dial("subscribe", p)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		s := newSubscription(c, conn, p)
		s.again.first = time.Millisecond
		if err := s.run(t.Context()); !errors.Is(err, errIdle) {
			rt.Fatalf("%v: %s", err, stderr.String())
		}
		if err := checkOnce(idsIn(t, stdout.String()), want); err != nil {
			rt.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
		}
		if s.shown != s.cursor {
			rt.Fatalf("the cursor shown is %s, the last one %s", s.shown, s.cursor)
		}
	})
}

// What subscribe prints, publish sends as the same events; the cursor stays behind.
func TestSubscribePrintsWhatPublishReads(t *testing.T) {
	from, to := &store{}, &fake{}
	var want []*eventv1.Event
	for i, data := range []string{`{"total":10}`, `{"total": 10}`, "text\n", "\xff\x00", "", `"<&>"`} {
		e := &eventv1.Event{Id: fmt.Sprintf("0/%d", i), Source: "/shop?a,b", Type: "t", Subject: "s\u001b", Data: []byte(data),
			Timestamp: timestamppb.New(base), Metadata: map[string]string{"a": "b"}, PartitionKey: "k"}
		if i%2 == 0 {
			e.DataContentType = "application/json"
		}
		if data == "" {
			e.Data = nil
		}
		from.add(0, e)
		want = append(want, e)
	}
	code, lines, stderr := run(t, "", "subscribe", "--since", "earliest", "--limit", "6", "--address", startStore(t, from))
	if code != 0 || !strings.Contains(lines, `"cursor":"c:3"`) || !strings.Contains(lines, `"data_json":{"total":10}`) {
		t.Fatalf("%d %s%s", code, lines, stderr)
	}
	result := runJSON(t, 0, lines, "--address", startFake(t, to))
	got := to.received()
	if result.Acknowledged != int64(len(want)) || len(got) != len(want) {
		t.Fatalf("%+v", result)
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Errorf("got  %v\nwant %v", got[i], want[i])
		}
	}
}

func TestSubscribeAsksForWhatTheFlagsSay(t *testing.T) {
	gateway := &store{ends: func(int) (int, error) { return 0, status.Error(codes.FailedPrecondition, "enough") }}
	address := startStore(t, gateway)
	hourAgo := time.Now().Add(-time.Hour).Unix()
	for _, c := range []struct {
		args string
		want *gatewayv1.SubscribeRequest
	}{
		{"", &gatewayv1.SubscribeRequest{}},
		{"--type a,b --type c.* --source /x,y --source z --filter true", &gatewayv1.SubscribeRequest{
			EventTypes: []string{"a", "b", "c.*"}, Sources: []string{"/x,y", "z"}, Filter: "true"}},
		{"--since earliest", &gatewayv1.SubscribeRequest{Start: gatewayv1.SubscribeRequest_START_EARLIEST}},
		{"--since 1969-01-01T00:00:00Z", &gatewayv1.SubscribeRequest{Start: gatewayv1.SubscribeRequest_START_EARLIEST}},
		{"--since 2026-01-02T15:04:05.9Z", &gatewayv1.SubscribeRequest{StartTimestamp: 1767366245}},
		{"--since 1h", &gatewayv1.SubscribeRequest{StartTimestamp: hourAgo}},
		{"--cursor=-x", &gatewayv1.SubscribeRequest{Cursor: "-x"}},
		{"--group g --since earliest", &gatewayv1.SubscribeRequest{GroupId: "g", Start: gatewayv1.SubscribeRequest_START_EARLIEST}},
	} {
		gateway.ends = func(int) (int, error) { return 0, status.Error(codes.FailedPrecondition, "enough") }
		code, _, stderr := run(t, "", append([]string{"subscribe", "--address", address}, strings.Fields(c.args)...)...)
		c.want.Heartbeat = true
		got := gateway.subscribed[len(gateway.subscribed)-1]
		if d := got.StartTimestamp - hourAgo; d > 0 && d < 60 {
			got.StartTimestamp = hourAgo
		}
		if code != exitRefused && c.args != "--cursor=-x" || !proto.Equal(got, c.want) {
			t.Errorf("%s: %d %s\ngot  %v\nwant %v", c.args, code, stderr, got, c.want)
		}
	}
	for args, want := range map[string]string{
		"--cursor c --since 1h": "exclude", "--cursor c --group g": "exclude", "--since tomorrow": "earliest", "--since=-1h": "earliest",
		"--until-idle=-1s": "more than 0", "--limit=-1": "more than 0", "--json --text": "exclude",
	} {
		if code, _, stderr := run(t, "", append([]string{"subscribe"}, strings.Fields(args)...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", args, code, stderr)
		}
	}
}

// An ending for good says what to do, and has its own exit code.
func TestSubscribeEndsForGood(t *testing.T) {
	for _, c := range []struct {
		end  error
		code int
		want []string
	}{
		{reasoned(codes.InvalidArgument, "INVALID_FILTER", "bad filter", 0), exitRefused, []string{"bad filter (INVALID_FILTER)", "mend --filter"}},
		{reasoned(codes.InvalidArgument, "FILTER_LIMIT", "too dear", 0), exitRefused, []string{"mend --filter"}},
		{reasoned(codes.InvalidArgument, "INVALID_CURSOR", "foreign", 0), exitRefused, []string{"--since instead"}},
		{reasoned(codes.InvalidArgument, "INVALID_REQUEST", "a start in the future", 0), exitRefused, []string{"--help"}},
		{reasoned(codes.OutOfRange, "EVENTS_EXPIRED", "gone", 0, earliestCursor, "it's"), exitExpired,
			[]string{"gone", `gateway subscribe --address ADDRESS --type 'a*' --limit 9 '--cursor=it'\''s'`}},
		{reasoned(codes.OutOfRange, "EVENTS_EXPIRED", "gone", 0), exitExpired, []string{"--since earliest"}},
		{reasoned(codes.FailedPrecondition, "READING_DISABLED", "no Kafka", 0), exitRefused, []string{"no Kafka", "operator"}},
		{reasoned(codes.FailedPrecondition, "GROUP_UNUSABLE", "in use", 0), exitRefused, []string{"another --group"}},
		{reasoned(codes.FailedPrecondition, "TOPIC_RECREATED", "new", time.Second), exitRefused, []string{"operator"}},
		{reasoned(codes.PermissionDenied, "NOT_YOURS", "no", 0), exitRefused, []string{"right to read"}},
		{status.Error(codes.Unauthenticated, "who?"), exitRefused, []string{"who? (Unauthenticated)", "credentials"}},
		{status.Error(codes.Unimplemented, "what?"), exitRefused, []string{"older than this command", "--address"}},
		{reasoned(codes.DataLoss, "RECORD_UNREADABLE", "torn", 0), exitRefused, []string{"torn", "operator"}},
		{reasoned(codes.Internal, "INTERNAL", "a bug\x1b[2J", 0), exitRefused, []string{"a bug?[2J", "operator"}},
		{status.Error(codes.NotFound, "none"), exitRefused, []string{"none"}},
	} {
		for _, after := range []int{0, 2} { // before anything, and after an event
			gateway := &store{ends: func(int) (int, error) { return after, c.end }}
			gateway.add(0, &eventv1.Event{Id: "0/0", Source: "s", Type: "a"})
			gateway.add(0, &eventv1.Event{Id: "0/1", Source: "s", Type: "a"})
			address := startStore(t, gateway)
			code, stdout, stderr := run(t, "", "subscribe", "--address", address, "--since", "earliest", "--type", "a*", "--limit", "9")
			stderr = strings.ReplaceAll(stderr, address, "ADDRESS")
			want := c.want
			if after > 0 {
				want = append([]string{"2 events printed", "--cursor=c:2"}, want...)
			}
			for _, want := range want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%v: %q is not in %s", c.end, want, stderr)
				}
			}
			if code != c.code || strings.Count(stdout, "\n") != after || len(gateway.subscribed) != 1 {
				t.Errorf("%v: exit code %d, want %d; %d calls: %s%s", c.end, code, c.code, len(gateway.subscribed), stdout, stderr)
			}
		}
	}
}

// An event without a cursor cannot be gone on from: better an end than a double.
func TestSubscribeRefusesEventsWithoutCursor(t *testing.T) {
	s := &subscription{command: &subscribeCommand{}, events: newEventPrinter(io.Discard, true, false)}
	var refused refusedError
	if err := s.take(arrival{event: &eventv1.Event{Source: "s", Type: "t"}}); !errors.As(err, &refused) || refused.reason != "NO_CURSOR" {
		t.Errorf("%v", err)
	}
	s.command.Group = "g"
	if err := s.take(arrival{event: &eventv1.Event{Source: "s", Type: "t"}}); err != nil {
		t.Errorf("in a group: %v", err)
	}
}

// What is part of a gateway's life is not said, a lost connection is.
func TestSubscribeSaysWhatIsNews(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ends  []error
		said  []string
		quiet bool
	}{
		{[]error{reasoned(codes.Unavailable, "STREAM_AGE", "old", time.Millisecond)}, nil, true},
		{[]error{reasoned(codes.Unavailable, "DRAINING", "going", time.Millisecond)}, nil, true},
		{[]error{reasoned(codes.ResourceExhausted, "SLOW_CLIENT", "slow", time.Millisecond)}, nil, true},
		{[]error{errCut}, []string{"trying again", "connected again"}, false},
		{[]error{errBroken}, []string{"breaks the stream", "to go on behind the last event", "connected again"}, false},
		{[]error{nil}, []string{"the stream was closed", "connected again"}, false},
	} {
		gateway := &store{ends: func(call int) (int, error) {
			if call > len(c.ends) {
				return -1, nil
			}
			return 1, c.ends[call-1]
		}}
		gateway.fill(3, 1, rand.New(rand.NewPCG(1, 1)))
		code, stdout, stderr := run(t, "", "subscribe", "--since", "earliest", "--limit", "3", "--address", startStore(t, gateway))
		if code != 0 || strings.Count(stdout, "\n") != 3 || c.quiet && strings.Count(stderr, "\n") != 1 {
			t.Errorf("%v: %d %s%s", c.ends, code, stdout, stderr)
		}
		for _, want := range c.said {
			if strings.Count(stderr, want) != 1 {
				t.Errorf("%v: %q is not in %s once", c.ends, want, stderr)
			}
		}
	}
}

func TestSubscribeGivesUpWithoutGateway(t *testing.T) {
	code, _, stderr := run(t, "", "subscribe", "--address", "127.0.0.1:1", "--timeout", "300ms", "--cursor", "c:1")
	if code != exitFailed || !strings.Contains(stderr, "no gateway answers") || !strings.Contains(stderr, "--cursor=c:1") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestUntilIdle(t *testing.T) {
	gateway := &store{}
	gateway.fill(5, 2, rand.New(rand.NewPCG(1, 1)))
	address := startStore(t, gateway)
	code, stdout, stderr := run(t, "", "subscribe", "--since", "earliest", "--until-idle", "20ms", "--address", address)
	if code != 0 || strings.Count(stdout, "\n") != 5 || !strings.Contains(stderr, "no event for 20ms; 5 events printed") {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
}

// A gateway that is well and does not read yet is not idle.
func TestUntilIdleWaitsForTheReader(t *testing.T) {
	t.Parallel()
	for _, events := range []int{0, 5} {
		gateway := &store{reader: make(chan struct{})}
		gateway.fill(events, 2, rand.New(rand.NewPCG(1, 1)))
		var stdout, stderr both
		ended := make(chan error, 1)
		c := &subscribeCommand{Since: startFlag{earliest: true}, UntilIdle: 20 * time.Millisecond, readingGateway: readingGateway{Address: startStore(t, gateway)}}
		go func() { ended <- c.subscribe(t.Context(), program(&stdout, &stderr)) }()
		select {
		case err := <-ended:
			t.Errorf("%v: %s", err, stderr.String())
			close(gateway.reader)
			continue
		case <-time.After(200 * time.Millisecond): // many times --until-idle
		}
		close(gateway.reader)
		if err := <-ended; err != nil || strings.Count(stdout.String(), "\n") != events || !strings.Contains(stderr.String(), "no event for 20ms") {
			t.Errorf("%v: %s%s", err, stdout.String(), stderr.String())
		}
	}
}

// A gateway that is not well, or does not answer, is not idle; a heartbeat shows that the stream lives.
func TestUntilIdleTellsIdleFromDead(t *testing.T) {
	for _, dead := range []func(*store){func(s *store) { s.notServing = true }, func(s *store) { s.mute = true }} {
		gateway := &store{beats: true}
		dead(gateway)
		gateway.add(0, &eventv1.Event{Id: "0/0", Source: "s", Type: "wanted"})
		address := startStore(t, gateway)
		var stdout, stderr both
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		c := &subscribeCommand{Since: startFlag{earliest: true}, UntilIdle: time.Millisecond, Type: []string{"wanted"},
			readingGateway: readingGateway{Address: address}}
		go func() { ended <- c.subscribe(ctx, program(&stdout, &stderr)) }()
		stdout.await(t, "0/0")
		select {
		case err := <-ended:
			t.Fatalf("%v: %s", err, stderr.String())
		case <-time.After(100 * time.Millisecond): // many times --until-idle
		}
		gateway.mu.Lock()
		if strings.Count(stderr.String(), "not ready") != 1 && gateway.notServing {
			t.Errorf("it does not say once that the gateway is not ready: %s", stderr.String())
		}
		mute := gateway.mute
		gateway.notServing = false
		gateway.mu.Unlock()
		for i := 0; mute && i < 1000; i++ { // some of them become heartbeats
			gateway.add(0, &eventv1.Event{Source: "s", Type: "other"})
			select {
			case err := <-ended:
				ended <- err
				mute = false
			case <-time.After(time.Millisecond):
			}
		}
		if err := <-ended; err != nil || !strings.Contains(stderr.String(), "no event for 1ms; 1 event printed") {
			t.Errorf("%v: %s", err, stderr.String())
		}
		stop()
	}
}

// A heartbeat moves the place to go on from, so that what does not match is not read again.
func TestSubscribeGoesOnFromHeartbeats(t *testing.T) {
	gateway := &store{beats: true, ends: func(call int) (int, error) {
		if call == 1 {
			return 1, reasoned(codes.Unavailable, "DRAINING", "going", time.Millisecond)
		}
		return 0, status.Error(codes.FailedPrecondition, "enough")
	}}
	for range 100 { // one of them becomes a heartbeat
		gateway.add(0, &eventv1.Event{Source: "s", Type: "other"})
	}
	code, stdout, stderr := run(t, "", "subscribe", "--since", "earliest", "--type", "wanted", "--address", startStore(t, gateway))
	if code != exitRefused || stdout != "" || len(gateway.subscribed) != 2 || !strings.HasPrefix(gateway.subscribed[1].Cursor, "c:") ||
		!strings.Contains(stderr, "to go on: ") || !strings.Contains(stderr, "--cursor="+gateway.subscribed[1].Cursor) {
		t.Errorf("%d %v %s%s", code, gateway.subscribed, stdout, stderr)
	}
}

func TestInterruptedSubscribeSaysHowToGoOn(t *testing.T) {
	gateway := &store{}
	gateway.fill(4, 1, rand.New(rand.NewPCG(1, 1)))
	address := startStore(t, gateway)
	for _, c := range []struct {
		command subscribeCommand
		code    int
		want    string
	}{
		{subscribeCommand{Since: startFlag{earliest: true}}, exitOK, "--cursor=c:4"},
		{subscribeCommand{Since: startFlag{earliest: true}, Filter: `a == "b"`, Source: []string{"/x y"}}, exitOK,
			`--source '/x y' --filter 'a == "b"' --cursor=c:4`},
		{subscribeCommand{Since: startFlag{earliest: true}, Limit: 9}, exitFailed, "--limit 9 --cursor=c:4"},
		{subscribeCommand{Since: startFlag{earliest: true}, Group: "g"}, exitOK, "the group goes on with: gateway subscribe --address ADDRESS --group g --since earliest\n"},
		{subscribeCommand{Since: startFlag{sinceFlag: sinceFlag{base}}, Group: "-g", Filter: "-1 < 2"}, exitOK,
			"'--filter=-1 < 2' --group=-g --since 2026-01-02T15:00:00Z\n"},
	} {
		var stdout, stderr both
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		c.command.readingGateway = readingGateway{Address: address}
		go func() { ended <- c.command.subscribe(ctx, program(&stdout, &stderr)) }()
		stdout.await(t, "0/3")
		stop()
		err := <-ended
		var exit exitError
		if errors.As(err, &exit); exit.code != c.code {
			t.Errorf("%v: %d, want %d", err, exit.code, c.code)
		}
		if text := strings.ReplaceAll(stderr.String(), address, "ADDRESS"); !strings.Contains(text, c.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%q is not in %s", c.want, text)
		}
	}
}

// A reader that has had enough ends it quietly, also while nothing comes.
func TestSubscribeEndsWithItsReader(t *testing.T) {
	t.Parallel()
	for _, waiting := range []bool{true, false} {
		gateway := &store{}
		gateway.fill(3, 1, rand.New(rand.NewPCG(1, 1)))
		if !waiting {
			for range 50_000 { // more than fits into the pipe and the buffers
				gateway.add(0, &eventv1.Event{Id: "x", Source: "s", Type: "t"})
			}
		}
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var stderr both
		c := &subscribeCommand{Since: startFlag{earliest: true}, readingGateway: readingGateway{Address: startStore(t, gateway)}}
		ended := make(chan error, 1)
		go func() {
			ended <- untilAbort(t.Context(), func() error { return c.subscribe(t.Context(), program(write, &stderr)) })
		}()
		if _, err := read.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		_ = read.Close()
		if err := <-ended; err != nil || stderr.String() != "" {
			t.Errorf("waiting %v: %v %s", waiting, err, stderr.String())
		}
		_ = write.Close()
	}
}

// An output that fails is not a gateway that fails; the cursor is that of what was surely written.
func TestSubscribeSaysThatTheOutputFails(t *testing.T) {
	gateway := &store{}
	gateway.fill(1, 1, rand.New(rand.NewPCG(1, 1)))
	var stderr both
	c := &subscribeCommand{Cursor: "c:0", readingGateway: readingGateway{Address: startStore(t, gateway)}}
	err := c.subscribe(t.Context(), program(failing{}, &stderr))
	var exit exitError
	if !errors.As(err, &exit) || exit.code != exitFailed || !strings.Contains(stderr.String(), "the disk is full") ||
		!strings.Contains(stderr.String(), "--cursor=c:0") {
		t.Errorf("%v %s", err, stderr.String())
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

func TestLinesFitTheTerminal(t *testing.T) {
	now := time.Date(2026, 1, 2, 16, 0, 0, 0, time.Local)
	for _, columns := range []int{40, 80, 120, 200} {
		var out strings.Builder
		printer := newEventPrinter(&out, false, true).(*textEvents)
		printer.columns, printer.now = func() int { return columns }, func() time.Time { return now }
		for _, data := range []string{`{"total":10}`, strings.Repeat("x", 1000), strings.Repeat("\u6f22", 1000), "a\x1b[2Jb\n\tc", "\xff\x00",
			strings.Repeat("e\u0301", 500)} {
			if err := printer.print(&eventv1.Event{Id: "1", Source: "/s", Type: "order.created", Data: []byte(data), Timestamp: timestamppb.New(now)}); err != nil {
				t.Fatal(err)
			}
		}
		_ = printer.flush()
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		for i, want := range []string{`16:00:00.000  order.created  /s  -  1  {"total":10}`, "x...", "\u6f22...", "(9 bytes)", "(2 bytes)", "e\u0301..."} {
			if !strings.HasSuffix(lines[i], want) || cellsOf(lines[i]) > max(columns, 39+minData) {
				t.Errorf("%d columns: %d cells: %s", columns, cellsOf(lines[i]), lines[i])
			}
		}
		if len(lines) != 6 || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%d lines: %q", len(lines), out.String())
		}
	}
	var out strings.Builder
	printer := newEventPrinter(&out, false, true).(*textEvents)
	printer.colour = true
	_ = printer.print(&eventv1.Event{Id: "1", Source: "/s", Type: "t", Timestamp: timestamppb.New(now.AddDate(-1, 0, 0))})
	_ = printer.flush()
	if !strings.Contains(out.String(), "2025-01-02 16:00:00.000") || !strings.Contains(out.String(), colourType+"t"+colourOff) {
		t.Errorf("%q", out.String())
	}
}

// Whatever an event has in it, it is one line that no terminal obeys.
func FuzzTextLine(f *testing.F) {
	f.Add("order.created", "/shop", "42", "1", []byte(`{"total":10}`), 80)
	f.Add("\x1b[2J", "\u202e", "\r\n", "\u6f22\u0301", []byte("\xf0\x9f\x98\x80 \x1b]0;x\x07\n"), 40)
	f.Add("", "", "", "", []byte("\xff\xc3"), -1)
	f.Fuzz(func(t *testing.T, kind, source, subject, id string, data []byte, columns int) {
		var out strings.Builder
		printer := newEventPrinter(&out, false, true).(*textEvents)
		printer.columns = func() int { return columns }
		if err := printer.print(&eventv1.Event{Type: kind, Source: source, Subject: subject, Id: id, Data: data}); err != nil {
			t.Fatal(err)
		}
		if err := printer.flush(); err != nil {
			t.Fatal(err)
		}
		line, rest, ended := strings.Cut(out.String(), "\n")
		fixed := 12 // the time
		for _, w := range printer.widths {
			fixed += 2 + w
		}
		if !ended || rest != "" || printable(line) != line || cellsOf(line) > max(columns, fixed+2+minData) {
			t.Errorf("%d columns, %d cells: %q", columns, cellsOf(line), out.String())
		}
	})
}

func TestShellLine(t *testing.T) {
	got := shellLine("a", "", "b c", "it's", "x*", "\x1b\n'\\\u202e")
	if want := `a '' 'b c' 'it'\''s' 'x*' $'\x1b\x0a\x27\x5c\xe2\x80\xae'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
