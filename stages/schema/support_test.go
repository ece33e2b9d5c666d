package schema

// What the tests share: a registry in memory that can be away, slow or wrong,
// and events.

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/event-gateway/event-gateway/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a registry. Its fields may be changed while it is asked, under mu.
type memory struct {
	mu       sync.Mutex
	subjects map[string][]Text
	// err, when set, is the answer to everything.
	err error
	// gate, when set, is what every call waits for: a value each, or its end.
	gate chan struct{}
	// takes is how long each call takes, in a bubble's time.
	takes time.Duration
	// deaf calls do not notice that their context has ended.
	deaf bool
	// calls counts all requests, and most is how many there were at once.
	calls, now, most int
}

func newMemory() *memory { return &memory{subjects: map[string][]Text{}} }

// add registers a text as the subject's next version and returns it.
func (m *memory) add(subject string, language Type, definition string, references ...Reference) Text {
	m.mu.Lock()
	defer m.mu.Unlock()
	id := 1
	for _, versions := range m.subjects {
		id += len(versions)
	}
	t := Text{Subject: subject, Version: len(m.subjects[subject]) + 1, ID: id, Type: language, Definition: definition, References: references}
	m.subjects[subject] = append(m.subjects[subject], t)
	return t
}

func (m *memory) fail(err error) {
	m.mu.Lock()
	m.err = err
	m.mu.Unlock()
}

// hold makes calls wait until the returned channel is closed, or for a value each.
func (m *memory) hold() chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gate = make(chan struct{})
	return m.gate
}

func (m *memory) asked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *memory) enter(ctx context.Context) error {
	m.mu.Lock()
	m.calls++
	m.now++
	m.most = max(m.most, m.now)
	gate, deaf, takes := m.gate, m.deaf, m.takes
	m.mu.Unlock()
	time.Sleep(takes)
	if deaf {
		ctx = context.Background()
	}
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now--
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return m.err
}

func (m *memory) ByID(ctx context.Context, id int) (Text, error) {
	if err := m.enter(ctx); err != nil {
		return Text{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, versions := range m.subjects {
		for _, t := range versions {
			if t.ID == id {
				return t, nil
			}
		}
	}
	return Text{}, fmt.Errorf("%w: id %d", ErrNotFound, id)
}

// Version says what there is when it is asked, however long it takes to say it.
func (m *memory) Version(ctx context.Context, subject string, version int) (Text, error) {
	m.mu.Lock()
	versions := m.subjects[subject]
	m.mu.Unlock()
	if err := m.enter(ctx); err != nil {
		return Text{}, err
	}
	if version == 0 {
		version = len(versions)
	}
	if version < 1 || version > len(versions) {
		return Text{}, fmt.Errorf("%w: %s %d", ErrNotFound, subject, version)
	}
	return versions[version-1], nil
}

func (m *memory) Versions(ctx context.Context, subject string) (numbers []int, err error) {
	if err := m.enter(ctx); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range slices.Backward(m.subjects[subject]) {
		numbers = append(numbers, t.Version)
	}
	if numbers == nil {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, subject)
	}
	return numbers, nil
}

// config is the default configuration, with validation.
func config() Config {
	return Config{Enabled: true, URL: "http://localhost:8081", Timeout: time.Second, CacheTTL: time.Hour,
		Subject: "{topic}-value", OnUnavailable: Stale, WireFormat: Plain}
}

// harness is a cache with one worker, whose wakes are counted in woken.
type harness struct {
	*Cache
	worker *Worker
	woken  chan struct{}
}

func start(t testing.TB, cfg Config, r Registry) *harness {
	t.Helper()
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	return begin(t, cfg, r)
}

// begin is start with settings that nobody can make: a longer timeout, for tests that are not about it.
func begin(t testing.TB, cfg Config, r Registry) *harness {
	t.Helper()
	h := &harness{Cache: New(cfg, r, Options{Topic: "events"}), woken: make(chan struct{}, 1000)}
	h.worker = h.NewWorker(func() { h.woken <- struct{}{} })
	t.Cleanup(h.Close)
	return h
}

// event is an event with that data.
func event(data string) *stages.Event {
	ev := &stages.Event{Data: []byte(data)}
	ev.Type.Value, ev.Source.Value = []byte("order.created"), []byte("/shop")
	return ev
}

// naming is an event that names a schema.
func naming(schema, data string) *stages.Event {
	ev := event(data)
	ev.More, ev.DataSchema.Value = true, []byte(schema)
	return ev
}

// typed is an event with a content type.
func typed(contentType, data string) *stages.Event {
	ev := event(data)
	ev.More, ev.DataContentType.Value = true, []byte(contentType)
	return ev
}

// settle checks an event as the validate stage does: it waits as long as Check says so.
func (h *harness) settle(ev *stages.Event) *stages.Event {
	for h.worker.Check(ev) {
		<-h.woken
	}
	return ev
}

func mustPass(t *testing.T, ev *stages.Event, subject string, version int) {
	t.Helper()
	switch s := ev.Schema; {
	case !ev.Live():
		t.Fatalf("the event was refused: %v %+v", ev.Verdict.Reason, ev.Verdict.Detail)
	case s == nil:
		t.Fatal("the event went unchecked")
	case !ev.More:
		t.Fatal("the event has a schema and does not say More: Reset would leave it")
	case s.Subject != subject || s.Version != version:
		t.Fatalf("the event was held against %s %d, want %s %d", s.Subject, s.Version, subject, version)
	}
}

func mustGoUnchecked(t *testing.T, ev *stages.Event) {
	t.Helper()
	if !ev.Live() || ev.Schema != nil {
		t.Fatalf("the event did not go unchecked: %v %+v, schema %+v", ev.Verdict.Reason, ev.Verdict.Detail, ev.Schema)
	}
}

// mustRefuse returns the refusal's detail.
func mustRefuse(t *testing.T, ev *stages.Event, reason stages.Reason) *stages.Detail {
	t.Helper()
	v := ev.Verdict
	if v.Outcome != stages.Refused || v.Reason != reason || v.Stage != stages.AtValidate || v.Detail == nil || v.Detail.Message == "" {
		t.Fatalf("the event is %v %v at %v (%+v), want refused %v at validate with a message", v.Outcome, v.Reason, v.Stage, v.Detail, reason)
	}
	if ev.Schema != nil {
		t.Fatal("a refused event has a schema")
	}
	return v.Detail
}

// orders is a JSON Schema that good matches and bad does not.
const (
	orders = `{"$id":"https://schemas.example.org/order","type":"object","required":["id"],"properties":{"id":{"type":"integer"}}}`
	good   = `{"id":4711}`
	bad    = `{"id":"4711"}`
)

// tried is the event after a dry run's worker has checked it, with the schema of a subject in place of its own unless
// subject is empty.
func tried(t *testing.T, c *Cache, ev *stages.Event, subject string, version int) *stages.Event {
	t.Helper()
	woken := make(chan struct{}, 1)
	w := c.NewTrial(subject, version, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	for w.Check(ev) {
		<-woken
	}
	return ev
}
