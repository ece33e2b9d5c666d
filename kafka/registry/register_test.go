package registry

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/event-gateway/event-gateway/stages/schema"
)

func registration(text string) Registration {
	return Registration{Text: schema.Text{Subject: "orders", Type: schema.JSON, Definition: text}}
}

func TestRegister(t *testing.T) {
	r, c := fake(t)
	ctx := t.Context()

	dry := registration(`{"type":"string"}`)
	dry.DryRun = true
	text, created, err := c.Register(ctx, dry)
	if err != nil || !created || text.Version != 0 || text.ID != 0 || r.SubjectExists("orders") {
		t.Fatalf("dry run: %+v %t %v; the subject exists: %t", text, created, err, r.SubjectExists("orders"))
	}

	text, created, err = c.Register(ctx, registration(`{"type":"string"}`))
	if err != nil || !created || text.Version != 1 || text.ID == 0 || text.Type != schema.JSON || text.Subject != "orders" {
		t.Fatalf("%+v %t %v", text, created, err)
	}
	for _, dryRun := range []bool{false, true} {
		again := registration(`{"type":"string"}`)
		again.DryRun = dryRun
		same, created, err := c.Register(ctx, again)
		if err != nil || created || same.Version != 1 || same.ID != text.ID || same.Type != schema.JSON {
			t.Fatalf("again: %+v %t %v", same, created, err)
		}
	}

	next := registration(`{"$ref":"text.json"}`)
	r.SeedSchema("text", 1, 70, jsonSchema(`{"type":"string"} `))
	next.Text.References = []schema.Reference{{Name: "text.json", Subject: "text", Version: 1}}
	next.Compatibility = schema.CompatibilityFullTransitive
	text, created, err = c.Register(ctx, next)
	if err != nil || !created || text.Version != 2 || len(text.References) != 1 {
		t.Fatalf("%+v %t %v", text, created, err)
	}
	if rule, err := c.Compatibility(ctx, "orders"); err != nil || rule != schema.CompatibilityFullTransitive {
		t.Fatalf("rule %v %v", rule, err)
	}
	if rule, err := c.Compatibility(ctx, "text"); err != nil || rule != schema.CompatibilityBackward {
		t.Fatalf("the default rule is %v %v", rule, err)
	}

	dangling := registration(`{"$ref":"nothing.json"}`)
	dangling.Text.References = []schema.Reference{{Name: "nothing.json", Subject: "nothing", Version: 1}}
	if _, _, err := c.Register(ctx, dangling); err == nil {
		t.Fatal("a schema with a reference to nothing was registered")
	}
	nameless := registration(`{}`)
	nameless.Text.Subject = ""
	if _, _, err := c.Register(ctx, nameless); !errors.Is(err, schema.ErrNotFound) {
		t.Fatalf("%v", err)
	}
}

// TestIncompatible: nothing is registered, and the rule is what it was.
func TestIncompatible(t *testing.T) {
	r, c := fake(t)
	if _, _, err := r.RegisterSchema("orders", jsonSchema(`{"type":"string"}`)); err != nil {
		t.Fatal(err)
	}
	if err := r.SetCompat("orders", sr.CompatForward); err != nil {
		t.Fatal(err)
	}
	r.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		switch {
		case req.Method == http.MethodPost && req.URL.Path == "/subjects/orders/versions":
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte(`{"error_code":409,"message":"TYPE_CHANGED: string to array"}`))
			return true
		case req.URL.Path == "/compatibility/subjects/orders/versions":
			_, _ = w.Write([]byte(`{"is_compatible":false,"messages":["TYPE_CHANGED","at /"]}`))
			return true
		}
		return false
	})
	for _, dryRun := range []bool{false, true} {
		breaking := registration(`{"type":"array"}`)
		breaking.DryRun, breaking.Compatibility = dryRun, schema.CompatibilityFull
		_, created, err := c.Register(t.Context(), breaking)
		if !errors.Is(err, schema.ErrIncompatible) || !strings.Contains(err.Error(), "TYPE_CHANGED") || created && !dryRun {
			t.Errorf("dry run %t: created %t, %v", dryRun, created, err)
		}
	}
	if rule, err := c.Compatibility(t.Context(), "orders"); err != nil || rule != schema.CompatibilityForward {
		t.Errorf("the rule was FORWARD and is %v %v", rule, err)
	}
}

// TestRuleIsReset: a subject that had no rule of its own has none after a failure.
func TestRuleIsReset(t *testing.T) {
	r, c := fake(t)
	var mu sync.Mutex
	var asked []string
	r.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		mu.Lock()
		asked = append(asked, req.Method+" "+req.URL.Path)
		mu.Unlock()
		switch req.Method + " " + req.URL.Path {
		case "GET /config/orders": // as Confluent's registry answers
			w.WriteHeader(http.StatusNotFound)
			_ = json.NewEncoder(w).Encode(map[string]any{"error_code": 40408, "message": "no subject-level compatibility"})
			return true
		case "POST /subjects/orders/versions":
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(map[string]any{"error_code": 42201, "message": "invalid"})
			return true
		}
		return false
	})
	bad := registration(`{"type":"nothing"}`)
	bad.Compatibility = schema.CompatibilityNone
	if _, _, err := c.Register(t.Context(), bad); !errors.Is(err, schema.ErrInvalid) {
		t.Fatalf("%v", err)
	}
	want := "POST /subjects/orders,GET /config/orders,PUT /config/orders,POST /subjects/orders/versions,DELETE /config/orders"
	if got := strings.Join(asked, ","); got != want {
		t.Fatalf("asked %s\nwant  %s", got, want)
	}
}
