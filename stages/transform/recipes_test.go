package transform

// docs/transforms.md keeps its word: every block of variables in it is one that
// the gateway takes, and the recipes make of their events what stands below them.

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	caarlos "github.com/caarlos0/env/v11"

	"github.com/event-gateway/event-gateway/stages"
)

// block is a fenced block of the document.
type block struct{ heading, language, text string }

func documentBlocks(t *testing.T) (all []block) {
	t.Helper()
	text, err := os.ReadFile("../../docs/transforms.md")
	if err != nil {
		t.Fatal(err)
	}
	heading := ""
	var open *block
	for line := range strings.Lines(string(text)) {
		language, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{heading: heading, language: strings.TrimSpace(language)}
		case fence:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimSpace(strings.TrimLeft(line, "#"))
		}
	}
	return all
}

var assignmentLine = regexp.MustCompile(`(?m)^([A-Z][A-Z0-9_]*)='([^']*)'`)

// variables are those of a block; nil when it is a command.
func (b *block) variables() map[string]string {
	vars := map[string]string{}
	for _, m := range assignmentLine.FindAllStringSubmatch(b.text, -1) {
		vars[m[1]] = m[2]
	}
	return vars
}

// compileVariables compiles the rules of an environment as the gateway does at start.
func compileVariables(t *testing.T, vars map[string]string) (*Rules, []string) {
	t.Helper()
	rules := maps.Clone(vars)
	topics := append([]string{"events"}, strings.FieldsFunc(rules["KAFKA_TOPICS_ALLOWED"], func(r rune) bool { return r == ',' })...)
	options := Options{Topics: topics, MaxEventBytes: 1 << 20, DeadLetters: rules["KAFKA_DLQ_TOPIC"] != ""}
	for _, problem := range CheckNames(rules) {
		t.Error(problem)
	}
	var cfg Config
	if err := caarlos.ParseWithOptions(&cfg, caarlos.Options{Environment: rules}); err != nil {
		t.Fatal(err)
	}
	cfg.Timeout = 10 * time.Second
	compiled, problems := Compile(cfg, options)
	for _, problem := range problems {
		t.Error(problem)
	}
	return compiled, topics
}

// recipeEvent is an event as the dry run takes it, with what only recipes have: who sends it, and where it goes.
type recipeEvent struct {
	ID              string            `json:"id"`
	Type            string            `json:"type"`
	Source          string            `json:"source"`
	Subject         string            `json:"subject"`
	PartitionKey    string            `json:"partition_key"`
	DataContentType string            `json:"data_content_type"`
	Metadata        map[string]string `json:"metadata"`
	DataJSON        json.RawMessage   `json:"data_json"`
	DataText        string            `json:"data_text"`
	Client          string            `json:"client"`
	Topic           string            `json:"topic"`
}

func (e *recipeEvent) stagesEvent() *stages.Event {
	m := &stages.Message{Client: &stages.Client{Name: e.Client}, Received: time.Unix(1_790_000_000, 0)}
	m.Arm(1)
	ev := &stages.Event{Msg: m, Data: e.DataJSON, Size: len(e.DataJSON) + 100, More: true}
	ev.ID.Value, ev.Type.Value, ev.Source.Value = []byte("1"), []byte(e.Type), []byte("/recipes")
	ev.Subject.Value, ev.PartitionKey.Value, ev.DataContentType.Value = []byte(e.Subject), []byte(e.PartitionKey), []byte(e.DataContentType)
	for name, value := range e.Metadata {
		ev.Metadata = append(ev.Metadata, stages.Pair{Name: []byte(name), Value: []byte(value)})
	}
	return ev
}

// become is what the event is afterwards, or how it ended.
func become(ev *stages.Event) (*recipeEvent, string) {
	switch v := ev.Verdict; {
	case ev.Dead:
		return nil, fmt.Sprintf("dead letter %s: %s", ev.Letter.Verdict.Reason, ev.Letter.Verdict.Detail.Message)
	case v.Outcome == stages.Filtered:
		return nil, "filtered"
	case v.Outcome == stages.Refused:
		return nil, fmt.Sprintf("refused %s: %s", v.Reason, v.Detail.Message)
	}
	e := &recipeEvent{
		Type: string(ev.Type.Value), Subject: string(ev.Subject.Value), PartitionKey: string(ev.PartitionKey.Value),
		DataContentType: string(ev.DataContentType.Value), Metadata: map[string]string{},
	}
	for _, pair := range ev.Metadata {
		e.Metadata[string(pair.Name)] = string(pair.Value)
	}
	if ev.Topic != nil {
		e.Topic = ev.Topic.Name
	}
	if json.Valid(ev.Data) {
		e.DataJSON = ev.Data
	} else {
		e.DataText = string(ev.Data)
	}
	return e, ""
}

// checkRecipe runs one event of a recipe.
func checkRecipe(t *testing.T, w *Worker, event, result string) {
	t.Helper()
	var in, want recipeEvent
	if err := json.Unmarshal([]byte(event), &in); err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	ev := in.stagesEvent()
	w.Apply(ev)
	got, end := become(ev)
	if !strings.HasPrefix(result, "{") {
		reason, part, _ := strings.Cut(result, ": ")
		if !strings.HasPrefix(end, reason) || !strings.Contains(end, part) {
			t.Errorf("%s\nends with %q (%+v), want %q", event, end, got, result)
		}
		return
	}
	if got == nil {
		t.Fatalf("%s\nends with %q, want %s", event, end, result)
	}
	want = in // what the result does not show is as it was
	want.Client = ""
	if strings.Contains(result, `"data_`) {
		want.DataJSON = nil
	}
	want.Metadata = maps.Clone(in.Metadata)
	if err := json.Unmarshal([]byte(result), &want); err != nil {
		t.Fatalf("%s: %v", result, err)
	}
	if want.Metadata == nil {
		want.Metadata = map[string]string{}
	}
	// What a rule left alone is as it was, space included, and what it made has none: all but that is compared.
	got.DataJSON, want.DataJSON = compact(t, got.DataJSON), compact(t, want.DataJSON)
	if !reflect.DeepEqual(got, &want) {
		t.Errorf("%s\nbecomes %+v with %s,\nwant    %+v with %s", event, *got, got.DataJSON, want, want.DataJSON)
	}
}

// compact takes out space between values, and nothing else.
func compact(t *testing.T, text json.RawMessage) json.RawMessage {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil && len(text) > 0 {
		t.Fatalf("%s: %v", text, err)
	}
	return b.Bytes()
}

func TestRecipes(t *testing.T) {
	var vars map[string]string
	recipes := map[string]bool{}
	for _, b := range documentBlocks(t) {
		t.Run(b.heading, func(t *testing.T) {
			switch b.language {
			case "bash":
				vars = b.variables()
			case "text":
				compiled, topics := compileVariables(t, vars)
				w := compiled.NewWorker(stages.NewTopics(topics...), &heap{})
				lines := strings.Split(strings.TrimSpace(b.text), "\n")
				for i := 0; i+1 < len(lines); i += 2 {
					result, ok := strings.CutPrefix(lines[i+1], "=> ")
					if !ok {
						t.Fatalf("%q does not follow an event", lines[i+1])
					}
					checkRecipe(t, w, lines[i], result)
				}
				recipes[b.heading] = true
			}
		})
	}
	if len(recipes) < 10 {
		t.Errorf("the document has %d recipes: %v", len(recipes), recipes)
	}
}

// The variables beside the recipes compile too, those of the four languages each on its own, and these give the same.
func TestDocumentedRules(t *testing.T) {
	languages := 0
	for _, b := range documentBlocks(t) {
		vars := b.variables()
		if b.language != "bash" || len(vars) == 0 {
			continue
		}
		if !strings.HasPrefix(b.heading, "The four") {
			vars["KAFKA_TOPICS_ALLOWED"], vars["KAFKA_DLQ_TOPIC"] = "orders,users", "dead-letters"
			compileVariables(t, vars)
			continue
		}
		for name, program := range vars {
			compiled, topics := compileVariables(t, map[string]string{name: program})
			ev := newEvent(sampleData)
			compiled.NewWorker(stages.NewTopics(topics...), &heap{}).Apply(ev)
			const want = `{"by":"192.0.2.7","id":"ord-20260918-004711","skus":["A-1001","B-2002"],"total":129.95}`
			if got := sorted(map[string]string{"data": string(ev.Data)})["data"]; got != want {
				t.Errorf("%s gives %s, want %s", name, got, want)
			}
			languages++
		}
	}
	if languages != 4 {
		t.Errorf("%d languages are shown", languages)
	}
}
