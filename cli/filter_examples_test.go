package cli

// The filters that the command line and the docs recommend are filters.

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/filter"
)

// recommended are the conditions of a text behind --filter in a shell's quotes, or behind the words that introduce one.
var recommended = regexp.MustCompile("(?:--filter[ =]|a CEL condition over the attributes(?:, for example |: `?))'((?:[^']|'\\\\'')*)'")

// TestRecommendedFiltersCompile: a user who copies one is not refused with INVALID_FILTER.
func TestRecommendedFiltersCompile(t *testing.T) {
	texts := map[string]string{
		"subscribe --help": subscribeCommand{}.Help(),
		"replay --help":    replayCommand{}.Help(),
		"get --help":       getCommand{}.Help(),
		"advice":           (&ending{code: codes.InvalidArgument, reason: "INVALID_FILTER"}).advice(),
	}
	docs, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(docs, "../README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	found := map[string]int{}
	for where, text := range texts {
		for _, match := range recommended.FindAllStringSubmatch(text, -1) {
			found[where]++
			compiles(t, where, strings.ReplaceAll(match[1], `'\''`, "'"))
		}
	}
	for _, where := range []string{"subscribe --help", "replay --help", "advice", "../README.md", filepath.Join("..", "docs", "reading-back.md")} {
		if found[where] == 0 {
			t.Errorf("%s: no filter found; this test looks for them in vain", where)
		}
	}
	for _, command := range []any{subscribeCommand{}, replayCommand{}} {
		field, _ := reflect.TypeOf(command).FieldByName("Filter")
		_, example, some := strings.Cut(strings.TrimSuffix(field.Tag.Get("help"), "."), "for example ")
		if !some {
			t.Errorf("%T: --filter has no example", command)
		}
		compiles(t, fmt.Sprintf("%T --filter", command), example)
	}
}

func compiles(t *testing.T, where, expression string) stages.Match {
	t.Helper()
	match, err := filter.Compile(nil, nil, expression)
	if err != nil {
		t.Errorf("%s: %s: %v", where, expression, err)
	}
	return match
}

// TestGetNamesAFilterThatFindsTheEvent: also when the id has what CEL or the shell would read otherwise.
func TestGetNamesAFilterThatFindsTheEvent(t *testing.T) {
	address := startStore(t, &store{})
	for _, id := range []string{"a", "it's", `"`, `a\b`, "ü\t\x01", "\u200b"} {
		_, _, stderr := run(t, "", "get", "--address", address, "--", id)
		match := recommended.FindStringSubmatch(stderr)
		if match == nil {
			t.Errorf("%q: %s", id, stderr)
			continue
		}
		m := compiles(t, "get", strings.ReplaceAll(match[1], `'\''`, "'"))
		if m == nil {
			continue
		}
		if passes, err := m(&eventv1.Event{Id: id}); err != nil || !passes {
			t.Errorf("%q: %s does not find it: %v", id, match[1], err)
		}
	}
}
