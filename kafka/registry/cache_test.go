package registry

// Scenario R44 of docs/reliability.md in process: the cache over this client,
// and a registry that fails in every way.

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/schema"
)

// orders is a registry of one subject, as far as the cache asks it.
const orders = `{"subject":"events-value","version":3,"id":31,"schemaType":"JSON","schema":"{\"type\":\"object\",\"required\":[\"id\"]}"}`

func settle(t *testing.T, c *schema.Cache, named, data string) *stages.Event {
	t.Helper()
	ev := &stages.Event{Data: []byte(data)}
	if named != "" {
		ev.More, ev.DataSchema.Value = true, []byte(named)
	}
	check(c, ev)
	return ev
}

// check holds the event against its schema, and waits while that is fetched.
func check(c *schema.Cache, ev *stages.Event) {
	woken := make(chan struct{}, 1)
	w := c.NewTrial("", 0, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	for w.Check(ev) {
		<-woken
	}
}

func TestCacheOverAFailingRegistry(t *testing.T) {
	release := make(chan struct{})
	failures := map[string]http.HandlerFunc{
		"slow": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-release: // 30 s and more to whoever would wait
			}
		},
		"500":     func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"garbage": func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "\x00\xff{") },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
		},
		"404 of another server": func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) },
		"closed": func(w http.ResponseWriter, r *http.Request) {
			panic(http.ErrAbortHandler)
		},
	}
	defer close(release)
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			var failing atomic.Bool
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if failing.Load() {
					fail(w, r)
					return
				}
				fmt.Fprint(w, orders)
			}))
			defer s.Close()
			cfg := config(s.URL)
			client := connect(t, cfg)
			c := schema.New(cfg, client, schema.Options{Topic: "events"})
			defer c.Close()
			if ev := settle(t, c, "", `{"id":1}`); ev.Schema == nil || ev.Schema.Version != 3 || ev.Schema.ID != 31 {
				t.Fatalf("%+v, schema %+v", ev.Verdict.Detail, ev.Schema)
			}
			failing.Store(true)
			c.Refresh("events-value")
			began := time.Now()
			for range 3 { // the refresh fails behind the first
				if ev := settle(t, c, "", `{"id":1}`); ev.Schema == nil {
					t.Fatalf("a known schema does not go on: %+v", ev.Verdict.Detail)
				}
			}
			ev := settle(t, c, "", `{}`)
			if ev.Verdict.Reason != stages.SchemaViolation || ev.Verdict.Reason.Code() != stages.InvalidArgument {
				t.Fatalf("a violation is answered %v", ev.Verdict.Reason)
			}
			ev = settle(t, c, "77", `{"id":1}`)
			if ev.Verdict.Reason != stages.SchemaUnavailable || ev.Verdict.Reason.Code() != stages.Unavailable || ev.Verdict.Retry() == 0 {
				t.Fatalf("an unknown schema is answered %v", ev.Verdict.Reason)
			}
			if strings.Contains(ev.Verdict.Detail.Message, s.URL) {
				t.Errorf("the client is told where the registry is: %s", ev.Verdict.Detail.Message)
			}
			ev = settle(t, c, "2147483648", `{"id":1}`)
			if ev.Verdict.Reason != stages.SchemaNotFound || ev.Verdict.Reason.Code() != stages.InvalidArgument || ev.Verdict.Retry() != 0 {
				t.Fatalf("an id that no registry can have is answered %v", ev.Verdict.Reason)
			}
			// Slow is 300 ms here (SCHEMA_TIMEOUT); ten times that is for a busy machine.
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("events waited %v in all", took)
			}
		})
	}
}

// TestDefiniteAnswers: what the registry itself says about a schema is definite, and so is a schema that cannot
// be used.
func TestDefiniteAnswers(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var subject string
		var version int
		_, _ = fmt.Sscanf(r.URL.Path, "/subjects/%1s/versions/%d", &subject, &version)
		switch subject {
		case "a", "b": // each refers to the other
			other := map[string]string{"a": "b", "b": "a"}[subject]
			fmt.Fprintf(w, `{"subject":%q,"version":1,"id":1,"schemaType":"JSON","schema":"{}","references":[{"name":"x","subject":%q,"version":1}]}`, subject, other)
		case "l":
			fmt.Fprint(w, strings.Repeat(" ", 10<<20))
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error_code":40403,"message":"Schema not found"}`)
		}
	}))
	defer s.Close()
	cfg := config(s.URL)
	c := schema.New(cfg, connect(t, cfg), schema.Options{Topic: "events"})
	defer c.Close()
	for named, want := range map[string]stages.Reason{
		"a/1": stages.SchemaInvalid, "l/1": stages.SchemaInvalid, "n/1": stages.SchemaNotFound, "7": stages.SchemaNotFound,
	} {
		if ev := settle(t, c, named, `{}`); ev.Verdict.Reason != want || ev.Verdict.Reason.Code() != stages.InvalidArgument || ev.Verdict.Retry() != 0 {
			t.Errorf("%s is answered %v %+v, want %v", named, ev.Verdict.Reason, ev.Verdict.Detail, want)
		}
	}
}
