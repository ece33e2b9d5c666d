package transform

// Long numbers in data take no more time than other text of their length, and are
// written as they were received.

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

func TestLongNumbersAreFloats(t *testing.T) {
	zeros := strings.Repeat("0", maxNumber)
	for text, want := range map[string]float64{
		"1" + zeros: math.MaxFloat64, "-1" + zeros: -math.MaxFloat64, "1." + zeros + "1": 1, "0." + zeros + "1": 0,
		"1" + zeros + "e-1000": 1, "-0." + zeros + "1": math.Copysign(0, -1), "2.5e" + zeros + "1": 25,
	} {
		var d document
		if got, err := d.read([]byte(text), nil); err != nil || got != any(want) || math.Signbit(got.(float64)) != math.Signbit(want) {
			t.Errorf("%.20s... of %d characters is %v (%v), want %v", text, len(text), got, err, want)
		}
	}
}

// Each language leaves one long number where it is and moves another, or takes it for a float.
func TestLongNumbersKeepTheirDigits(t *testing.T) {
	long := strings.Repeat("7", 880_000)
	few := strings.Repeat("["+strings.Repeat("8", 44_000)+"],", 19) + "[1e400]"
	for _, c := range []struct{ language, program, data, want string }{
		{"JQ", "if .amount > 100 then .big = true else . end", `{"amount":` + long + `}`, `{"amount":` + long + `,"big":true}`},
		{"JQ", "{b: .a, c: .l}", `{"a":` + long + `,"l":[-` + long[:9000] + `]}`, `{"b":` + long + `,"c":[-` + long[:9000] + `]}`},
		{"JQ", ".a += 0.5 | .b = (.l | unique | length) | .c = (.l | min | .[0])", `{"a":` + long + `,"l":[` + few + `]}`,
			`{"a":` + long + `,"l":[` + few + `],"b":2,"c":` + strings.Repeat("8", 44_000) + `}`},
		{"EXPR", "data.a > 100 ? {a: data.a, l: data.l} : nil", `{"a":` + long + `,"l":[` + few + `]}`, `{"a":` + long + `,"l":[` + few + `]}`},
		{"CEL", "data.a > 100 ? {'a': data.a, 'l': data.l} : {}", `{"a":` + long + `,"l":[` + few + `]}`, `{"a":` + long + `,"l":[` + few + `]}`},
		{"TEMPLATE", `{"a":{{if gt .data.a 100}}{{.data.a}}{{end}},"l":{{json .data.l}}}`, `{"a":` + long + `,"l":[` + few + `]}`,
			`{"a":` + long + `,"l":[` + few + `]}`},
	} {
		rule := RuleConfig{Filter: "data.a == nil || data.a > 100"}
		switch c.language {
		case "JQ":
			rule.JQ = c.program
		case "EXPR":
			rule.Expr = c.program
		case "CEL":
			rule.CEL = c.program
		case "TEMPLATE":
			rule.Template = c.program
		}
		r, problems := Compile(Config{Rules: []RuleConfig{rule}, Timeout: time.Second}, Options{Topics: someTopics, MaxEventBytes: 4_000_000})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		ev := newEvent(c.data)
		r.NewWorker(stages.NewTopics(someTopics...), &heap{}).Apply(ev)
		if !ev.Open() || string(ev.Data) != c.want {
			t.Errorf("%s %s: %v, %d bytes %.60q... %.60q, want %d bytes", c.language, c.program, ev.Verdict, len(ev.Data), ev.Data,
				ev.Data[max(0, len(ev.Data)-60):], len(c.want))
		}
	}
}

func TestReadingEndsInTime(t *testing.T) {
	d := document{until: clock()}
	_, err := d.read([]byte("["+strings.Repeat("1,", stepsPerLook)+"1]"), nil)
	if !errors.Is(err, errLimit) || !strings.Contains(err.Error(), "TRANSFORM_TIMEOUT") {
		t.Errorf("read: %v", err)
	}
	d.until = 0
	if v, err := d.read([]byte("["+strings.Repeat("1,", maxNodes-100)+"1]"), nil); err != nil || len(v.([]any)) != maxNodes-99 {
		t.Errorf("read: %v", err)
	}
	// Rules give reading their own time.
	r, problems := Compile(Config{Rules: []RuleConfig{{JQ: "length"}}, Timeout: time.Nanosecond}, Options{Topics: someTopics, MaxEventBytes: 900_000})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ev := newEvent("[" + strings.Repeat("1,", stepsPerLook) + "1]")
	r.NewWorker(stages.NewTopics(someTopics...), &heap{}).Apply(ev)
	mustEnd(t, ev, Reject, stages.TransformLimit, "JQ: limit: reading data")
}
