package transport

// Profiles of the running process under /debug/pprof/, for PPROF_ENABLED.

import (
	"net/http"
	"net/http/pprof"
	"runtime"
	"strconv"
	"sync"
	"time"
)

const (
	// blockRate is the mean of nanoseconds blocked a sample, mutexFraction the contended unlocks a sample: coarse enough to
	// leave the gateway's speed as it is.
	blockRate, mutexFraction = 10_000, 10
	// contentionSeconds is what a profile of blocking takes when the request does not say.
	contentionSeconds = 10
)

func handleProfiles(mux *http.ServeMux) {
	c := &contention{}
	for name, h := range map[string]http.HandlerFunc{
		"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace,
		"block": c.record(pprof.Handler("block")), "mutex": c.record(pprof.Handler("mutex")),
	} {
		mux.HandleFunc(pprofPath+name, profiles(h))
	}
}

// profiles gives a profile handler the time that a profile takes.
func profiles(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(profileWriteTime))
		h(w, r)
	}
}

// contention counts the requests that record where goroutines wait. Go records it only when told to, and it costs
// something: so it is on while someone asks.
type contention struct {
	mu      sync.Mutex
	readers int // guarded by mu
}

// record turns recording on for the seconds that the request asks for, and serves what came in them.
func (c *contention) record(profile http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		if query.Has("debug") && query.Get("debug") != "0" {
			http.Error(w, "this profile is recorded while it is asked for, and in its binary form only: leave debug out, add seconds=10", http.StatusBadRequest)
			return
		}
		if !query.Has("seconds") {
			query.Set("seconds", strconv.Itoa(contentionSeconds))
			r.URL.RawQuery = query.Encode()
		}
		c.enter()
		defer c.leave()
		profile.ServeHTTP(w, r)
	}
}

func (c *contention) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readers++; c.readers == 1 {
		runtime.SetBlockProfileRate(blockRate)
		runtime.SetMutexProfileFraction(mutexFraction)
	}
}

func (c *contention) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.readers--; c.readers == 0 {
		runtime.SetBlockProfileRate(0)
		runtime.SetMutexProfileFraction(0)
	}
}
