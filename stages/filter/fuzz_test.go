package filter

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/event-gateway/event-gateway/stages"
)

// FuzzFilter: whatever a request says, it is refused with a field, or each event gets an answer, soon.
func FuzzFilter(f *testing.F) {
	f.Add("order.*,user.created", "/shop", `metadata["tenant"] == "acme"`)
	f.Add("", "", `subject.matches("^a+$") || type.split(".").exists(p, p == "x")`)
	f.Add("*", "", `int(metadata.n) > 3 && time > timestamp("2026-01-01T00:00:00Z")`)
	for _, expression := range hostile() {
		f.Add("a*", "", expression)
	}
	f.Fuzz(func(t *testing.T, types, sources, expression string) {
		list := func(s string) []string {
			if s == "" {
				return nil
			}
			return strings.Split(s, ",")
		}
		started := time.Now()
		match, err := Compile(list(types), list(sources), expression)
		if err == nil {
			for range 2 {
				if _, err = decide(match, order()); err != nil {
					break
				}
			}
		}
		if took := time.Since(started); took > 5*time.Second {
			t.Errorf("%v", took)
		}
		var refusal *stages.Refusal
		if err == nil {
			return
		}
		if !errors.As(err, &refusal) || refusal.Detail == nil || refusal.Detail.Field == "" ||
			refusal.Reason != stages.InvalidFilter && refusal.Reason != stages.FilterLimit {
			t.Fatalf("%v is no refusal with a field", err)
		}
		if m := refusal.Detail.Message; len(m) > 500 || !utf8.ValidString(m) || strings.Contains(m, "\n") {
			t.Errorf("the message is unwieldy: %q", m)
		}
	})
}
