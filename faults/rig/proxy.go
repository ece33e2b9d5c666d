//go:build faults || kafka

package rig

// A bad network: toxiproxy as a library.

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Direction is which bytes a fault is for.
type Direction string

// Upstream is from the client to the server.
const (
	Upstream   Direction = "upstream"
	Downstream Direction = "downstream"
)

// Proxy forwards TCP connections, well or badly.
type Proxy struct {
	Addr string

	t     testing.TB
	mu    sync.Mutex
	proxy *toxiproxy.Proxy
}

var toxiServer = sync.OnceValue(func() *toxiproxy.ApiServer {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics have loggers of their own
	return toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
})

// NewProxy listens on addr and forwards to upstream.
func NewProxy(t testing.TB, addr, upstream string) *Proxy {
	t.Helper()
	p := &Proxy{Addr: addr, t: t, proxy: toxiproxy.NewProxy(toxiServer(), addr, addr, upstream)}
	p.Up()
	t.Cleanup(p.Down)
	return p
}

// Toxic spoils new and open connections until Clear. kind and attributes are toxiproxy's: latency {latency,
// jitter}, bandwidth {rate}, timeout {timeout}, reset_peer {timeout}, slicer {average_size, size_variation,
// delay}, limit_data {bytes}; times in ms, rate in KB/s. share is the part of connections, 1 = all.
func (p *Proxy) Toxic(kind string, d Direction, share float64, attributes map[string]int) {
	p.t.Helper()
	text, err := json.Marshal(map[string]any{"type": kind, "stream": d, "toxicity": share, "attributes": attributes})
	if err == nil {
		_, err = p.proxy.Toxics.AddToxicJson(bytes.NewReader(text))
	}
	if err != nil {
		p.t.Fatalf("toxic %s: %v", kind, err)
	}
}

// Clear takes all toxics away.
func (p *Proxy) Clear() { p.proxy.Toxics.ResetToxics(context.Background()) }

// Down closes the listener and every connection: the server behind it is gone.
func (p *Proxy) Down() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proxy.Stop()
}

// Up listens again.
func (p *Proxy) Up() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.proxy.Start(); err != nil {
		p.t.Fatalf("proxy on %s: %v", p.Addr, err)
	}
}

// Cut breaks every connection once; new ones are taken at once.
func (p *Proxy) Cut() {
	p.Down()
	p.Up()
}
