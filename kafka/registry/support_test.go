package registry

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"go.uber.org/goleak"

	"github.com/event-gateway/event-gateway/stages/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is a configuration for the registry at that URL, in a hurry.
func config(url string) schema.Config {
	return schema.Config{Enabled: true, URL: url, Timeout: 300 * time.Millisecond, CacheTTL: time.Hour, Subject: "{topic}-value",
		OnUnavailable: schema.Stale, WireFormat: schema.Plain}
}

func connect(t testing.TB, cfg schema.Config) *Client {
	t.Helper()
	if problems := cfg.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// fake is franz-go's registry, which can be made to answer otherwise.
func fake(t testing.TB) (*srfake.Registry, *Client) {
	t.Helper()
	r := srfake.New()
	t.Cleanup(r.Close)
	return r, connect(t, config(r.URL()))
}

// server answers everything with that handler.
func server(t testing.TB, handle http.HandlerFunc) *Client {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return connect(t, config(s.URL))
}

func jsonSchema(text string) sr.Schema { return sr.Schema{Schema: text, Type: sr.TypeJSON} }
