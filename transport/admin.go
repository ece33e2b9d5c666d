package transport

// The HTTP server for operators and their machines: health, readiness,
// metrics, profiles. It takes no events.

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	healthPath = "/health"
	readyPath  = "/ready"
	pprofPath  = "/debug/pprof/"

	httpHeaderTime = 5 * time.Second
	httpReadTime   = 10 * time.Second
	httpWriteTime  = 30 * time.Second
	httpIdleTime   = time.Minute
	httpMaxHeader  = 16 << 10
	// Connections at once, in sum and from one address: those of operators, scrapers and probes are few.
	httpConnections     = 1024
	httpConnectionsEach = 128
	// profileWriteTime leaves room for a CPU profile or trace of up to two minutes.
	profileWriteTime = 150 * time.Second
)

// AdminParts is what the HTTP server shows.
type AdminParts struct {
	// Ready says why the gateway should get no traffic now (starting, draining, no Kafka), and what an operator
	// should know although it works. No reasons: it is ready.
	Ready func() (reasons, warnings []string)
	// Metrics write the Prometheus text format, one after the other.
	Metrics []func(io.Writer)
}

// Admin is the HTTP server.
type Admin struct {
	server   *http.Server
	listener net.Listener
	parts    AdminParts
}

// NewAdmin listens on the HTTP port; nothing is answered before Serve.
func NewAdmin(cfg Config, parts AdminParts) (*Admin, error) {
	address := net.JoinHostPort(cfg.HTTPBind, strconv.Itoa(cfg.HTTPPort))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("HTTP server on %s: %w", address, err)
	}
	a := &Admin{listener: newLimitListener(l, httpConnections, httpConnectionsEach), parts: parts}
	a.server = &http.Server{
		Handler: a.handler(cfg), ReadHeaderTimeout: httpHeaderTime, ReadTimeout: httpReadTime,
		WriteTimeout: httpWriteTime, IdleTimeout: httpIdleTime, MaxHeaderBytes: httpMaxHeader,
	}
	return a, nil
}

func (a *Admin) handler(cfg Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(healthPath, a.health)
	mux.HandleFunc(readyPath, a.ready)
	if cfg.MetricsEnabled {
		mux.HandleFunc(cfg.MetricsPath, a.metrics)
	}
	if cfg.PprofEnabled {
		handleProfiles(mux)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "no such path"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			writeJSON(w, http.StatusMethodNotAllowed, map[string]string{"error": "only GET and HEAD are allowed"})
			return
		}
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

// health says that the process lives. It never depends on Kafka: a restart would not bring Kafka back.
func (a *Admin) health(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// readiness is the body of /ready.
type readiness struct {
	Ready    bool     `json:"ready"`
	Reasons  []string `json:"reasons,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

func (a *Admin) ready(w http.ResponseWriter, _ *http.Request) {
	var body readiness
	body.Reasons, body.Warnings = a.parts.Ready()
	body.Ready = len(body.Reasons) == 0
	code := http.StatusOK
	if !body.Ready {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, body)
}

func (a *Admin) metrics(w http.ResponseWriter, _ *http.Request) {
	var b bytes.Buffer // so that a slow reader holds no lock of a writer
	for _, write := range a.parts.Metrics {
		write(&b)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

// Serve answers requests until Shutdown; nil after it.
func (a *Admin) Serve() error {
	if err := a.server.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("HTTP server on %s: %w", a.Addr(), err)
	}
	return nil
}

// Addr is the address that the server listens on.
func (a *Admin) Addr() net.Addr { return a.listener.Addr() }

// Shutdown lets requests finish until ctx ends, then closes everything.
func (a *Admin) Shutdown(ctx context.Context) error {
	if err := a.server.Shutdown(ctx); err != nil {
		return errors.Join(err, a.server.Close())
	}
	return nil
}
