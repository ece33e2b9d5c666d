package cli

import (
	"context"
	"errors"
	"fmt"
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

// However often and wherever a replay breaks off, every event of the range is printed once.
func TestReplayGoesOnWithoutGapsAndDoubles(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		gateway := &store{random: rand.New(rand.NewPCG(random.Uint64(), 0))}
		n := rapid.IntRange(1, 200).Draw(rt, "events")
		gateway.fill(n, 3, random)
		// An event that Kafka has twice is printed twice, when nothing breaks.
		breaks := rapid.IntRange(0, 12).Draw(rt, "breaks")
		if breaks == 0 {
			gateway.add(0, &eventv1.Event{Id: "9/1", Source: "s", Type: "order.x"})
			gateway.add(0, &eventv1.Event{Id: "9/1", Source: "s", Type: "order.x"})
		}
		gateway.ends = randomEnds(random, breaks, 60)
		c := &replayCommand{From: sinceFlag{base.Add(time.Duration(rapid.IntRange(0, n-1).Draw(rt, "from")) * time.Second)}, To: sinceFlag{base.Add(time.Hour)},
			readingGateway: readingGateway{Address: startStore(t, gateway), Timeout: time.Minute}}
		if rapid.Bool().Draw(rt, "filtered") {
			c.Type = []string{"order.*"}
		}
		want := map[string]int{}
		for _, p := range gateway.partitions {
			for _, e := range p {
				if matches(c.Type, e.event) && !e.at.Before(c.From.Time) {
					want[e.event.Id]++
				}
			}
		}
		var stdout, stderr both
		p := program(&stdout, &stderr)
		conn, err := c.dial("replay", p)
		if err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		r := newReplayRun(c, conn, p)
		r.again.first = time.Millisecond
		if err := r.run(t.Context()); err != nil {
			rt.Fatalf("%v: %s", err, stderr.String())
		}
		if err := checkOnce(idsIn(t, stdout.String()), want); err != nil {
			rt.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
		}
	})
}

// The whole command: the totals, and the output in the form that publish reads.
func TestReplayPrintsTheRange(t *testing.T) {
	gateway := &store{ends: func(call int) (int, error) {
		if call == 1 {
			return 3, errBroken
		}
		return -1, nil
	}}
	gateway.fill(50, 3, rand.New(rand.NewPCG(1, 1)))
	to := &fake{}
	code, lines, stderr := run(t, "", "replay", "--from", "2026-01-02T15:00:00Z", "--to", "2026-01-02T15:00:40Z", "--address", startStore(t, gateway))
	if code != 0 || strings.Count(lines, "\n") != 40 || !strings.Contains(stderr, "done: printed 40 events; matched") ||
		!strings.Contains(stderr, "broken off and gone on with 1 time") || !strings.Contains(stderr, "trying again, to go on from 2026-01-02T15:") {
		t.Fatalf("%d %s%s", code, lines, stderr)
	}
	if result := runJSON(t, 0, lines, "--address", startFake(t, to)); result.Acknowledged != 40 {
		t.Errorf("%+v", result)
	}
}

func TestReplayAsksForWhatTheFlagsSay(t *testing.T) {
	gateway := &store{ends: func(int) (int, error) { return 0, status.Error(codes.FailedPrecondition, "enough") }}
	address := startStore(t, gateway)
	from := timestamppb.New(base.Add(5))
	for args, want := range map[string]*gatewayv1.ReplayRequest{
		"": {Start: from},
		"--to 2026-01-02T16:00:00Z --type a --type b.* --filter true --rate 5": {Start: from, End: timestamppb.New(base.Add(time.Hour)),
			EventTypes: []string{"a", "b.*"}, Filter: "true", MaxEventsPerSecond: 5},
		"--republish t --allow-same-topic": {Start: from, RepublishTopic: "t", AllowSameTopic: true},
	} {
		code, _, stderr := run(t, "", append([]string{"replay", "--address", address, "--from", "2026-01-02T15:00:00.000000005Z"}, strings.Fields(args)...)...)
		if got := gateway.replayed[len(gateway.replayed)-1]; code != exitRefused || !proto.Equal(got, want) {
			t.Errorf("%s: %d %s\ngot  %v\nwant %v", args, code, stderr, got, want)
		}
	}
	for args, want := range map[string]string{
		"": "--from", "--from yesterday": "neither", "--from 1h --to 2h": "before --to", "--from 1969-01-01T00:00:00Z": "1970",
		"--from 2999-01-01T00:00:00Z": "has not been", "--from 1h --rate=-1": "--rate", "--from 1h --rate 9999999999": "--rate",
		"--from 1h --allow-same-topic": "--republish", "--from 1h --timeout=-1s": "more than 0",
	} {
		if code, _, stderr := run(t, "", append([]string{"replay"}, strings.Fields(args)...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", args, code, stderr)
		}
	}
}

func TestReplayEndsForGood(t *testing.T) {
	for _, c := range []struct {
		end  error
		code int
		want []string
	}{
		{reasoned(codes.InvalidArgument, "INVALID_FILTER", "bad filter", 0), exitRefused, []string{"bad filter (INVALID_FILTER)", "mend --filter"}},
		{reasoned(codes.InvalidArgument, "INVALID_REQUEST", "too long", 0), exitRefused, []string{"too long", "--help"}},
		{reasoned(codes.OutOfRange, "EVENTS_EXPIRED", "gone", 0), exitExpired, []string{"a later --from"}},
		{reasoned(codes.FailedPrecondition, "READING_DISABLED", "no Kafka", 0), exitRefused, []string{"operator"}},
		{reasoned(codes.PermissionDenied, "TOPIC_NOT_ALLOWED", "no", 0), exitRefused, []string{"no (TOPIC_NOT_ALLOWED)", "KAFKA_TOPICS_ALLOWED"}},
		{status.Error(codes.Unauthenticated, "who?"), exitRefused, []string{"credentials"}},
		{status.Error(codes.Unimplemented, "what?"), exitRefused, []string{"older than this command"}},
	} {
		for _, after := range []int{0, 1} {
			gateway := &store{ends: func(int) (int, error) { return after, c.end }}
			gateway.fill(20, 1, rand.New(rand.NewPCG(1, 1)))
			code, _, stderr := run(t, "", "replay", "--address", startStore(t, gateway), "--from", "2026-01-02T15:00:00Z")
			want := c.want
			if after > 0 {
				want = append([]string{"so far: printed"}, want...)
			}
			for _, want := range want {
				if !strings.Contains(stderr, want) {
					t.Errorf("%v: %q is not in %s", c.end, want, stderr)
				}
			}
			if code != c.code || len(gateway.replayed) != 1 {
				t.Errorf("%v: exit code %d, want %d; %d calls: %s", c.end, code, c.code, len(gateway.replayed), stderr)
			}
		}
	}
}

// republishing prints nothing but progress, and is a failure when something is not in the topic.
func TestReplayRepublishes(t *testing.T) {
	for _, gateway := range []*store{{}, {lost: 2}, {ahead: 20}, {ahead: 20, lost: 2}} {
		gateway.fill(30, 2, rand.New(rand.NewPCG(1, 1)))
		code, stdout, stderr := run(t, "", "replay", "--address", startStore(t, gateway), "--from", "2026-01-02T15:00:00Z", "--to", "2026-01-02T16:00:00Z", "--republish", "fixed")
		want, wantCode := fmt.Sprintf("done: republished %d events; matched 30 of 30 read", 30+gateway.ahead), exitOK
		if gateway.lost > 0 {
			want, wantCode = "2 events are not in fixed: rules have filtered 0, and 2 were refused, the last one orders/3/42: EVENT_TOO_LARGE: ?[1mtoo large", exitFailed
		}
		if code != wantCode || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%d %s%s", code, stdout, stderr)
		}
	}
}

// Who republishes prints no events, and needs nobody who reads them.
func TestReplayRepublishesWithoutAReader(t *testing.T) {
	t.Parallel()
	gateway := &store{ends: func(call int) (int, error) {
		if call == 1 {
			time.Sleep(readerPoll + readerPoll/2) // long enough for a look at the output
			return 0, errBroken
		}
		return 1 << 30, nil
	}}
	gateway.fill(30, 2, rand.New(rand.NewPCG(1, 1)))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = write.Close() }()
	_ = read.Close()
	var stderr both
	c := &replayCommand{From: sinceFlag{base}, To: sinceFlag{base.Add(time.Hour)}, Republish: "fixed",
		readingGateway: readingGateway{Address: startStore(t, gateway)}}
	if err := c.replay(t.Context(), program(write, &stderr)); err != nil || !strings.Contains(stderr.String(), "done: republished 30 events") {
		t.Errorf("%v %s", err, stderr.String())
	}
}

func TestInterruptedReplaySaysHowToGoOn(t *testing.T) {
	started := make(chan struct{})
	gateway := &store{ends: func(call int) (int, error) {
		if call == 1 {
			return 5, errBroken
		}
		if call == 2 {
			close(started)
		}
		return 0, errBroken
	}}
	gateway.fill(50, 1, rand.New(rand.NewPCG(1, 1)))
	address := startStore(t, gateway)
	var stdout, stderr both
	ctx, stop := context.WithCancel(t.Context())
	c := &replayCommand{From: sinceFlag{base}, To: sinceFlag{base.Add(time.Hour)}, Republish: "a b", AllowSameTopic: true, Rate: 7,
		readingGateway: readingGateway{Address: address}}
	ended := make(chan error, 1)
	go func() { ended <- c.replay(ctx, program(&stdout, &stderr)) }()
	<-started
	stop()
	var exit exitError
	err := <-ended
	position := gateway.replayed[1].Start.AsTime()
	want := fmt.Sprintf("gateway replay --address %s --from %s --to 2026-01-02T16:00:00Z --rate 7 --republish 'a b' --allow-same-topic\n", address, stamp(position))
	if !errors.As(err, &exit) || exit.code != exitFailed || !position.After(base) || !strings.Contains(stderr.String(), want) ||
		!strings.Contains(stderr.String(), "may be in a b twice") {
		t.Errorf("%v: %s", err, stderr.String())
	}
}

func TestReplayGivesUpWithoutGateway(t *testing.T) {
	code, _, stderr := run(t, "", "replay", "--address", "127.0.0.1:1", "--timeout", "300ms", "--from", "1h")
	if code != exitFailed || !strings.Contains(stderr, "no gateway answers") {
		t.Errorf("%d %s", code, stderr)
	}
}

func TestReplayEndsWithItsReader(t *testing.T) {
	gateway := &store{}
	gateway.fill(3000, 1, rand.New(rand.NewPCG(1, 1)))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = write.Close() }()
	var stderr both
	c := &replayCommand{From: sinceFlag{base}, To: sinceFlag{base.Add(time.Hour)}, readingGateway: readingGateway{Address: startStore(t, gateway)}}
	ended := make(chan error, 1)
	go func() {
		ended <- untilAbort(t.Context(), func() error { return c.replay(t.Context(), program(write, &stderr)) })
	}()
	if _, err := read.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	if err := <-ended; err != nil || stderr.String() != "" {
		t.Errorf("%v %s", err, stderr.String())
	}
}

// The window is bounded, and knows when it has forgotten.
func TestPrintedEventsAreForgottenInOrder(t *testing.T) {
	seen := newPrintedEvents(3)
	add := func(id string) bool {
		fresh, err := seen.add(&eventv1.Event{Id: id, Source: "s", Type: "t", Cursor: id, Metadata: map[string]string{"a": "1", "b": "2", "c": "3"}})
		if err != nil {
			t.Fatal(err)
		}
		return fresh
	}
	for _, id := range []string{"a", "b", "b", "c", "d"} { // a and one b are forgotten
		if !add(id) {
			t.Errorf("%s is not fresh in the first stream", id)
		}
	}
	if !seen.forgot || len(seen.times) != 3 || len(seen.ring) != 3 {
		t.Errorf("%+v", seen)
	}
	seen.again()
	for id, want := range map[string]bool{"c": false, "d": false, "b": false} {
		if add(id) != want {
			t.Errorf("%s fresh: %v", id, !want)
		}
	}
	if !add("a") || !add("e") {
		t.Error("what is new or forgotten is not printed")
	}
	for range 100 {
		add("x")
		seen.again()
		add("y")
	}
	if len(seen.times) > 3 || len(seen.ring) > 3 {
		t.Errorf("it grows: %d, %d", len(seen.times), len(seen.ring))
	}
}

func TestReplayBar(t *testing.T) {
	var out strings.Builder
	bar := newReplayBar(&out, true, true, base, base.Add(time.Hour), true)
	r := &replayRun{position: base.Add(15 * time.Minute), now: counts{read: 4000, matched: 1000, republished: 900}, began: time.Now().Add(-time.Minute)}
	bar.since = time.Now().Add(-time.Second)
	bar.show(r)
	for _, want := range []string{"[#####---------------]", " 25%", "at 2026-01-02T15:15:00Z", "read 4,000  matched 1,000  republished 900"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in %q", want, out.String())
		}
	}
	if bar.rate < 500 || bar.rate > 1000 {
		t.Errorf("%v events a second", bar.rate)
	}
	out.Reset()
	bar.beforeOutput()
	bar.beforeOutput()
	if out.String() != "\r\x1b[K" {
		t.Errorf("%q", out.String())
	}
	for _, c := range []struct {
		at   time.Time
		want string
	}{{base, "  0%"}, {base.Add(-time.Hour), "  0%"}, {base.Add(2 * time.Hour), "100%"}} {
		if line := newReplayBar(&out, true, true, base, base.Add(time.Hour), true).line(counts{}, c.at, base); !strings.HasPrefix(line, c.want) || strings.Contains(line, "left") {
			t.Errorf("%q", line)
		}
	}
	out.Reset()
	quiet := newReplayBar(&out, false, true, base, base.Add(time.Hour), false)
	quiet.show(r)
	quiet.clear()
	if quiet.period() != linePeriod || strings.ContainsAny(out.String(), "\r\x1b[") || !strings.HasSuffix(out.String(), "\n") {
		t.Errorf("%q", out.String())
	}
}

// The estimate follows the pace of the last seconds.
func TestReplayBarEstimates(t *testing.T) {
	bar := newReplayBar(nil, true, false, base, base.Add(time.Hour), false)
	now := base.Add(24 * time.Hour)
	position := base
	at := func(seconds, minutes int, want time.Duration) {
		t.Helper()
		now, position = now.Add(time.Duration(seconds)*time.Second), position.Add(time.Duration(minutes)*time.Minute)
		if left := bar.left(position, now).Round(time.Second); left != want {
			t.Errorf("at %v: %v left, want %v", position, left, want)
		}
	}
	at(5, 0, 0)
	at(5, 10, 0)             // the first sign: the range begins with ten minutes of nothing
	at(5, 5, 45*time.Second) // a minute a second
	at(5, 5, 40*time.Second)
	at(10, 1, 390*time.Second) // a minute in ten seconds
}

func TestGet(t *testing.T) {
	gateway := &store{}
	gateway.add(0, &eventv1.Event{Id: "a", Source: "s", Type: "t", Data: []byte(`{"n":1}`), DataContentType: "application/json"})
	address := startStore(t, gateway)
	if code, stdout, stderr := run(t, "", "get", "a", "--address", address); code != 0 ||
		stdout != `{"id":"a","source":"s","type":"t","dataContentType":"application/json","data_json":{"n":1}}`+"\n" {
		t.Errorf("%d %s%s", code, stdout, stderr)
	}
	if code, _, stderr := run(t, "", "get", "it's", "--address", address); code != exitFailed || !strings.Contains(stderr, "EVENT_NOT_FOUND") ||
		!strings.Contains(stderr, `--filter 'id == "it'\''s"'`) {
		t.Errorf("%d %s", code, stderr)
	}
	if code, _, stderr := run(t, "", "get", "a", "--address", "127.0.0.1:1"); code != exitFailed {
		t.Errorf("%d %s", code, stderr)
	}
	if code, _, stderr := run(t, "", "get", "a", "--address", startFake(t, &fake{})); code != exitRefused || !strings.Contains(stderr, "older than this command") {
		t.Errorf("%d %s", code, stderr)
	}
}
