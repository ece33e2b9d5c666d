package filter

import (
	"errors"
	"testing"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// What most filters ask is decided at once, from the first event on.
func TestQuickFilters(t *testing.T) {
	for _, expression := range []string{
		`subject == "42"`, `metadata["tenant"] == "acme" && type.startsWith("order.")`, `subject.matches("^order/[0-9]+$")`,
		`hash(partition_key) % 4 == 0`, `metadata.exists(k, k.startsWith("x-"))`, `type.split(".").exists(part, part == "created")`,
		`time > timestamp("2026-09-18T10:11:06Z")`, `subject in ["1", "2", "3", "4"]`,
	} {
		match, err := Compile(nil, nil, expression)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := match(order()); err != nil {
				t.Errorf("%s, event %d: %v", expression, i, err)
			}
		}
	}
}

// What takes long is left to whoever waits for a turn, by what it takes of each event.
func TestCostlyFilters(t *testing.T) {
	const ten = `[0,1,2,3,4,5,6,7,8,9]`
	for name, long := range map[string]string{
		"units":           ten + `.exists(a, ` + ten + `.exists(b, a + b < 0))`,
		"a heavy pattern": `(subject + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").matches("(a|b){50}c$")`,
		"a time zone":     `time.getHours("Europe/Berlin") > 30`,
		"behind an or":    `(subject + "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa").matches("(a|b){50}c$") || subject == "none"`,
		"a long text":     `[subject].map(a, a + a + a + a).map(a, a + a + a + a).map(a, a + a + a + a).exists(a, a.replace("o", "") == "")`,
	} {
		var match stages.Match
		compile := func() {
			var err error
			if match, err = Compile([]string{"order.*"}, nil, `subject != "quick" && (`+long+`)`); err != nil {
				t.Fatal(err)
			}
		}
		compile()
		is := func(subject string, want bool) {
			t.Helper()
			ev := order()
			ev.Subject = subject
			wanted, err := match(ev)
			costly, ok := errors.AsType[*stages.Costly](err)
			if ok != want || !ok && (wanted || err != nil) {
				t.Errorf("%s: %s: costly %v: %v, %v", name, subject, ok, wanted, err)
			}
			if ok {
				if wanted, err := costly.Decide(ev); wanted || err != nil {
					t.Errorf("%s: %s: %v, %v", name, subject, wanted, err)
				}
			}
		}
		is("long", true) // the first one, too
		compile()
		is("quick", false)
		is("long", true)
		for range 8 { // so often it is not tried whether the next one is quick
			is("quick", true)
		}
		is("quick", false)
		is("long", true)
		if wanted, err := match(&eventv1.Event{Type: "user.created"}); wanted || err != nil {
			t.Errorf("%s: another type: %v, %v", name, wanted, err)
		}
	}
}

// What is too much is not begun, also where exists goes on behind the error of each round. One of these patterns takes 160 KiB.
func TestPatternsAreWeighedBeforeTheyAreMade(t *testing.T) {
	const ten = `[0,1,2,3,4,5,6,7,8,9]`
	match, err := Compile(nil, nil, ten+`.exists(a, `+ten+`.exists(b, "x".matches("(a{30}){20}" + string(a))))`)
	if err != nil {
		t.Fatal(err)
	}
	bytes, _ := measured(func() { _, err = decide(match, order()) })
	t.Logf("%d KiB", bytes>>10)
	if refusal := asRefusal(t, "patterns", err); refusal == nil || bytes > 3<<20 {
		t.Errorf("%d KiB were made: %v", bytes>>10, err)
	}
}
