package transform

// The jq language is jq's: jq's own tests, as they come with jq 1.8.2, run through
// rules. testdata/jq/README.md says where they are from, and different.txt which
// of them end otherwise here, and why.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/itchyny/gojq"

	"github.com/event-gateway/event-gateway/stages"
)

// suiteCase is a program, its input, and what it gives.
type suiteCase struct {
	// place is file:line.
	place          string
	program, input string
	want           []string
	// refused: the program is none.
	refused bool
}

// suiteCases are those of one file: three lines or more each, with blank lines between.
func suiteCases(t *testing.T, path string) (all []suiteCase) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.ReplaceAll(string(text), "\r", ""), "\n")
	for i := 0; i < len(lines); i++ {
		if strings.TrimSpace(lines[i]) == "" || strings.HasPrefix(strings.TrimSpace(lines[i]), "#") {
			continue
		}
		c := suiteCase{place: fmt.Sprintf("%s:%d", filepath.Base(path), i+1)}
		first := i
		for i < len(lines) && strings.TrimSpace(lines[i]) != "" {
			i++
		}
		block := lines[first:i]
		if strings.HasPrefix(block[0], "%%FAIL") {
			c.refused, c.program = true, block[1]
		} else {
			c.program, c.input = block[0], block[1]
			for _, line := range block[2:] {
				if !strings.HasPrefix(line, "#") {
					c.want = append(c.want, line)
				}
			}
		}
		all = append(all, c)
	}
	return all
}

// suiteDifferences are the reasons why cases end otherwise here, by their places.
func suiteDifferences(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/jq/different.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	reason := ""
	for line := range strings.Lines(string(text)) {
		switch line = strings.TrimSpace(line); {
		case line == "", strings.HasPrefix(line, "#"):
		case strings.HasSuffix(line, ":"):
			reason = strings.TrimSuffix(line, ":")
		default:
			place, _, _ := strings.Cut(line, " ")
			if all[place] != "" {
				t.Errorf("different.txt has %s twice", place)
			}
			all[place] = reason
		}
	}
	return all
}

// run is the case as a rule. An error says how it ends otherwise.
func (c *suiteCase) run() error {
	program := c.program
	if len(c.want) != 1 {
		program = "[" + program + "\n]" // a rule gives one value
	}
	r, problems := Compile(Config{Rules: []RuleConfig{{JQ: program}}, Timeout: 10 * time.Second},
		Options{Topics: someTopics, MaxEventBytes: 1 << 20})
	if c.refused {
		if len(problems) == 0 {
			return errors.New("compiles")
		}
		return nil
	}
	if len(problems) > 0 {
		return problems[0]
	}
	ev := newEvent(c.input)
	r.NewWorker(stages.NewTopics(someTopics...), &heap{}).Apply(ev)
	if !ev.Open() {
		return errors.New(ev.Verdict.Detail.Message)
	}
	return c.check(string(ev.Data))
}

// wanted is what the case should give, as one value.
func (c *suiteCase) wanted() string {
	if len(c.want) == 1 {
		return c.want[0]
	}
	return "[" + strings.Join(c.want, ",") + "]"
}

func (c *suiteCase) check(data string) error {
	got, err := suiteValue(data)
	if err != nil {
		return fmt.Errorf("gives %s: %w", data, err)
	}
	want, err := suiteValue(c.wanted())
	if err != nil {
		return fmt.Errorf("should give what is not JSON, and gives %s", data)
	}
	if !suiteEqual(got, want) {
		return fmt.Errorf("gives %s", data)
	}
	return nil
}

// plain is run by gojq alone.
func (c *suiteCase) plain() error {
	query, err := gojq.Parse(c.program)
	var code *gojq.Code
	if err == nil {
		code, err = gojq.Compile(query)
	}
	if c.refused {
		if err == nil {
			return errors.New("compiles")
		}
		return nil
	}
	if err != nil {
		return err
	}
	input, err := suiteValue(c.input)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var all []string
	for iter := code.RunWithContext(ctx, input); ; {
		v, ok := iter.Next()
		if !ok {
			break
		}
		if _, ok := v.(error); ok {
			break // as in jq's tests, which look at what came before
		}
		b, err := gojq.Marshal(v)
		if err != nil {
			return err
		}
		all = append(all, string(b))
	}
	if len(all) != len(c.want) {
		return fmt.Errorf("gives %d values", len(all))
	}
	for i, data := range all {
		one := suiteCase{want: c.want[i : i+1]}
		if err := one.check(data); err != nil {
			return err
		}
	}
	return nil
}

// suiteValue is JSON as a value.
func suiteValue(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more follows")
	}
	return v, nil
}

// suiteEqual compares as jq's tests do: numbers by their value.
func suiteEqual(a, b any) bool {
	switch a := a.(type) {
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, suiteEqual)
	case map[string]any:
		b, ok := b.(map[string]any)
		return ok && maps.EqualFunc(a, b, suiteEqual)
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		m, isInt := new(big.Int).SetString(string(a), 10)
		n, isToo := new(big.Int).SetString(string(b), 10)
		if isInt && isToo {
			return m.Cmp(n) == 0
		}
		x, err := a.Float64()
		y, problem := b.Float64()
		return err == nil && problem == nil && x == y
	}
	return a == b
}

func TestJQSuite(t *testing.T) {
	skipUnderRace(t)
	different := suiteDifferences(t)
	files, err := filepath.Glob("testdata/jq/*.test")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	cases, same := 0, 0
	for _, file := range files {
		for _, c := range suiteCases(t, file) {
			cases++
			err := c.run()
			reason, known := different[c.place]
			delete(different, c.place)
			switch {
			case err == nil && known:
				t.Errorf("%s is in different.txt (%s), and ends as in jq: %s", c.place, reason, c.program)
			case err != nil && !known:
				t.Errorf("%s %s\n\tof %s should give %v and %v; gojq: %v", c.place, c.program, c.input, c.want, err, c.plain())
			case err == nil:
				same++
			case (c.plain() == nil) != strings.HasPrefix(reason, "ours"):
				t.Errorf("%s is in different.txt as %q; by gojq alone it ends with %v: %s", c.place, reason, c.plain(), c.program)
			}
		}
	}
	if len(different) > 0 {
		t.Errorf("different.txt has what is no case: %v", different)
	}
	t.Logf("%d of %d cases end as in jq", same, cases)
}
