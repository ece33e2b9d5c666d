package transport

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
)

func startAdmin(t *testing.T, cfg Config, parts AdminParts) string {
	t.Helper()
	a, err := NewAdmin(cfg, parts)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- a.Serve() }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return "http://" + a.Addr().String()
}

func fetch(t *testing.T, method, url string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = a.Body.Close() }()
	body, err := io.ReadAll(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(body)
}

func TestAdmin(t *testing.T) {
	reasons := []string{"starting"}
	parts := AdminParts{
		Ready: func() ([]string, []string) { return reasons, []string{"KAFKA_REQUIRED_ACKS=leader"} },
		Metrics: []func(io.Writer){
			func(w io.Writer) { _, _ = fmt.Fprintln(w, "one 1") }, func(w io.Writer) { _, _ = fmt.Fprintln(w, "two 2") },
		},
	}
	base := startAdmin(t, testSetup().config, parts)
	if code, body := fetch(t, "GET", base+"/health"); code != 200 || !strings.Contains(body, `"ok"`) {
		t.Errorf("/health: %d %s", code, body)
	}
	code, body := fetch(t, "GET", base+"/ready")
	var got readiness
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 503 || got.Ready || !slices.Equal(got.Reasons, reasons) || len(got.Warnings) != 1 {
		t.Errorf("/ready: %d %s", code, body)
	}
	reasons = nil
	if code, body := fetch(t, "GET", base+"/ready"); code != 200 || !strings.Contains(body, "KAFKA_REQUIRED_ACKS=leader") {
		t.Errorf("/ready: %d %s", code, body)
	}
	if code, body := fetch(t, "GET", base+"/metrics"); code != 200 || body != "one 1\ntwo 2\n" {
		t.Errorf("/metrics: %d %q", code, body)
	}
	if code, body := fetch(t, "HEAD", base+"/ready"); code != 200 || body != "" {
		t.Errorf("HEAD: %d %q", code, body)
	}
	for path, want := range map[string]int{"/": 404, "/debug/pprof/": 404, "/metrics/x": 404} {
		if code, body := fetch(t, "GET", base+path); code != want || !json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	if code, body := fetch(t, "POST", base+"/health"); code != 405 || !json.Valid([]byte(body)) {
		t.Errorf("POST: %d %s", code, body)
	}
}

func TestAdminSwitches(t *testing.T) {
	cfg := testSetup().config
	cfg.MetricsEnabled, cfg.PprofEnabled = false, true
	base := startAdmin(t, cfg, AdminParts{Ready: func() ([]string, []string) { return nil, nil }})
	if code, _ := fetch(t, "GET", base+"/metrics"); code != 404 {
		t.Errorf("/metrics is on: %d", code)
	}
	if code, _ := fetch(t, "GET", base+"/debug/pprof/goroutine?debug=1"); code != 200 {
		t.Errorf("/debug/pprof/ is off: %d", code)
	}
}

func TestConfigDefaultsAreValid(t *testing.T) {
	cfg, err := env.ParseAsWithOptions[Config](env.Options{Environment: map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	if errs := cfg.Validate(); len(errs) != 0 {
		t.Errorf("%v", errs)
	}
	if cfg.GRPCPort != 50051 || cfg.MaxMessageBytes != 20<<20 || cfg.StreamWindow != 256 || cfg.MetricsPath != "/metrics" {
		t.Errorf("%+v", cfg)
	}
}

func TestConfigProblemsNameVariableValueAndBound(t *testing.T) {
	cases := map[string]func(*Config){
		"GRPC_PORT=70000: a port from 0 to 65535":                   func(c *Config) { c.GRPCPort = 70000 },
		"HTTP_PORT=9: another port than GRPC_PORT":                  func(c *Config) { c.GRPCPort, c.HTTPPort = 9, 9 },
		"GRPC_BIND=localhost: an IP address, or empty for all":      func(c *Config) { c.GRPCBind = "localhost" },
		"MAX_RECV_BYTES=8MiB: at least 4 times":                     func(c *Config) { c.MaxReceive = 8 << 20 },
		"STREAM_WINDOW=0: 1 to 1048576":                             func(c *Config) { c.StreamWindow = 0 },
		"SEND_TIMEOUT=0s: 100ms and more":                           func(c *Config) { c.SendTimeout = 0 },
		"METRICS_PATH=metrics: a path that begins with /":           func(c *Config) { c.MetricsPath = "metrics" },
		"METRICS_PATH=/ready: a path other than /health and /ready": func(c *Config) { c.MetricsPath = "/ready" },
		"METRICS_PATH=/health: a path other than":                   func(c *Config) { c.MetricsPath = "/health" },
		"METRICS_PATH=/debug/pprof/cmdline: a path other than /health and /ready and not below /debug/pprof/": func(c *Config) {
			c.MetricsPath, c.PprofEnabled = "/debug/pprof/cmdline", true
		},
		"METRICS_PATH=/debug/pprof: a path other":                   func(c *Config) { c.MetricsPath = "/debug/pprof" },
		"METRICS_PATH=/debug/pprof/: a path other":                  func(c *Config) { c.MetricsPath = "/debug/pprof/" },
		"METRICS_PATH=/{x}: a path that begins":                     func(c *Config) { c.MetricsPath = "/{x}" },
		"METRICS_PATH=/x/../health: a path that begins":             func(c *Config) { c.MetricsPath = "/x/../health" },
		"METRICS_PATH=/a\tb: a path that begins":                    func(c *Config) { c.MetricsPath = "/a\tb" },
		"GRPC_MAX_CONNECTION_AGE=1ms: 0 (for ever), or 1s and more": func(c *Config) { c.MaxConnectionAge = 1e6 },
	}
	for want, change := range cases {
		cfg := testSetup().config
		change(&cfg)
		errs := cfg.Validate()
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("%v, want %s", errs, want)
		}
	}
}

// TestMetricsPaths: what Validate lets through, the HTTP server can serve, with everything switched on.
func TestMetricsPaths(t *testing.T) {
	for _, path := range []string{"/metrics", "/metrics/", "/health/", "/a/b.c", "/debug", "/debug/pprofiles", "/-/m:1", "/~a&b=c"} {
		cfg := testSetup().config
		cfg.MetricsPath, cfg.PprofEnabled = path, true
		if errs := cfg.Validate(); len(errs) != 0 {
			t.Errorf("%s: %v", path, errs)
			continue
		}
		base := startAdmin(t, cfg, AdminParts{Metrics: []func(io.Writer){func(w io.Writer) { _, _ = fmt.Fprintln(w, "one 1") }}})
		if code, body := fetch(t, "GET", base+path); code != 200 || body != "one 1\n" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
}

func TestTakenPortIsAnErrorThatNamesIt(t *testing.T) {
	g := start(t, nil)
	cfg := testSetup().config
	_, port, _ := strings.Cut(g.server.Addr().String(), ":")
	_, _ = fmt.Sscan(port, &cfg.GRPCPort)
	if _, err := New(cfg, g.pipeline, Services{}, nil); err == nil || !strings.Contains(err.Error(), "127.0.0.1:"+port) {
		t.Errorf("%v", err)
	}
}

func TestMetricsAreBoundedAndThere(t *testing.T) {
	g := start(t, nil)
	g.good()
	var b strings.Builder
	g.server.WriteMetrics(&b)
	for _, want := range []string{
		`gateway_grpc_calls_total{method="/gateway.v1.EventGateway/IngestEvent",code="OK"} 1`,
		`gateway_grpc_calls_total{method="unknown",code="Unimplemented"} 0`,
		"gateway_grpc_connections 1", "gateway_receive_memory_limit_bytes 268435456", "gateway_grpc_connections_refused_total 0",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
	}
}
