package cli

// gateway transform: rule by rule what happens to an event.

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/transform"
)

// runTransform runs the command with rules.
func runTransform(t *testing.T, stdin string, rules []transform.RuleConfig, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(Program{Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, DryRun: func() (*DryRun, []error) {
		topics := []string{"events", "orders"}
		compiled, problems := transform.Compile(transform.Config{Rules: rules, Timeout: time.Second, Instance: "g"},
			transform.Options{Topics: topics, MaxEventBytes: 10_000, DeadLetters: true})
		return &DryRun{Config: stages.Config{MaxEventBytes: 10_000, DeadLetterStages: []string{"validate", "transform"}}, Rules: compiled,
			Topics: topics, DeadLetter: "dead"}, problems
	}}, append([]string{"transform"}, args...))
	return code, out.String(), errs.String()
}

const trialEvent = `{"id":"1","type":"order.created","source":"/s","data_json":{"total":10}}`

func TestTransformShowsEveryRule(t *testing.T) {
	rules := []transform.RuleConfig{
		{Match: `type == "x"`, Set: `subject="never"`},
		{Expr: `{"cents": data.total * 100}`, Set: `metadata.tenant=client`, Topic: "orders"},
		{Filter: `data.cents > 5`},
	}
	code, stdout, stderr := runTransform(t, trialEvent, rules, "--event", "-", "--client", "shop", "--repeat", "3")
	if code != 0 || stderr != "" {
		t.Fatalf("%d %s%s", code, stdout, stderr)
	}
	at := 0
	for _, want := range []string{"TRANSFORM_0   unmatched", "TRANSFORM_1   changed", "metadata.tenant      shop", "topic                orders",
		`data                 {"cents":1000}`, "TRANSFORM_2   unchanged", "goes to the topic orders", `"tenant": "shop"`, `"cents": 1000`} {
		found := strings.Index(stdout[at:], want)
		if found < 0 {
			t.Fatalf("%q is not there, or not in its place:\n%s", want, stdout)
		}
		at += found
	}
	if strings.Count(stdout, "TRANSFORM_1") != 1 {
		t.Errorf("a repeated run shows a rule more than once:\n%s", stdout)
	}
}

func TestTransformAsJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(trialEvent), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		rule    transform.RuleConfig
		code    int
		outcome string
		result  string
		dead    bool
	}{
		{transform.RuleConfig{Set: `subject="s"`}, 0, "acknowledged", "changed", false},
		{transform.RuleConfig{Filter: `false`}, 0, "filtered", "filtered", false},
		{transform.RuleConfig{Expr: `data.total.x.y`}, 1, "refused", "failed", false},
		{transform.RuleConfig{Expr: `data.total.x.y`, OnError: transform.DeadLetter}, 1, "refused", "failed", true},
		{transform.RuleConfig{Expr: `data.total.x.y`, OnError: transform.Pass}, 0, "acknowledged", "failed", false},
	} {
		code, stdout, stderr := runTransform(t, "", []transform.RuleConfig{c.rule}, "--event", file, "--json")
		var got trialResult
		if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != c.code {
			t.Fatalf("%+v: %d %v %s%s", c.rule, code, err, stdout, stderr)
		}
		if got.Outcome != c.outcome || got.Dead != c.dead || len(got.Rules) != 1 || got.Rules[0].Result != c.result || got.Rules[0].Nanos <= 0 {
			t.Errorf("%+v: %s", c.rule, stdout)
		}
		if (got.Event != nil) != (c.outcome == "acknowledged") {
			t.Errorf("%+v: the event is %v", c.rule, got.Event)
		}
	}
}

func TestTransformRefusesWhatItCannotRead(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		rules []transform.RuleConfig
		args  []string
		want  string
	}{
		"no event":    {"", nil, nil, "--event"},
		"no JSON":     {"{", nil, []string{"--event", "-"}, "the event in -: not a JSON object"},
		"no file":     {"", nil, []string{"--event", "/does/not/exist"}, "reading the event: open /does/not/exist"},
		"a bad rule":  {trialEvent, []transform.RuleConfig{{Filter: "("}}, []string{"--event", "-"}, "TRANSFORM_0_FILTER=("},
		"a bad count": {trialEvent, nil, []string{"--event", "-", "--repeat", "0"}, "--repeat=0: 1 to 1000000"},
	} {
		code, stdout, stderr := runTransform(t, c.stdin, c.rules, c.args...)
		if code != exitUsage || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: %d %s%s", name, code, stdout, stderr)
		}
	}
	code, stdout, _ := runTransform(t, `{"type":"t"}`, nil, "--event", "-")
	if code != exitFailed || !strings.Contains(stdout, "refused at validate: INVALID_EVENT: source: is required") || !strings.Contains(stdout, "kept in the dead-letter topic dead") {
		t.Errorf("an invalid event: %d %s", code, stdout)
	}
}
