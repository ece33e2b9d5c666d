package transform

import (
	"strings"
	"testing"
)

// Values that programs rarely give: numbers of Go's own types, and those that no int and no float64 is.
func TestOddValues(t *testing.T) {
	w, _ := newWorker(t, RuleConfig{Expr: `{"month": time.Month()}`, Set: `subject=data.big`})
	ev := newEvent(`{"big":90071992547409931234}`)
	if w.Apply(ev); !ev.Open() {
		t.Fatalf("%+v", ev.Verdict.Detail)
	}
	if !strings.HasPrefix(string(ev.Data), `{"month":`) || string(ev.Subject.Value) != "90071992547409931234" {
		t.Errorf("data %s, subject %s", ev.Data, ev.Subject.Value)
	}
}
