package transport

import (
	"compress/gzip"
	"context"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// TestContentionProfiles: what goroutines wait for is recorded while someone asks, and at no other time.
func TestContentionProfiles(t *testing.T) {
	cfg := testSetup().config
	cfg.PprofEnabled = true
	base := startAdmin(t, cfg, AdminParts{Ready: func() ([]string, []string) { return nil, nil }})
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	var contended sync.Mutex
	for range 2 {
		group.Go(func() { waitForEachOther(ctx, &contended) })
	}
	for _, name := range []string{"mutex", "block"} {
		code, body := fetch(t, "GET", base+"/debug/pprof/"+name+"?seconds=1")
		unpacked, err := gzip.NewReader(strings.NewReader(body))
		if code != 200 || err != nil {
			t.Fatalf("%s: %d, %v: %.200s", name, code, err, body)
		}
		raw, err := io.ReadAll(unpacked)
		if err != nil || !strings.Contains(string(raw), "waitForEachOther") {
			t.Errorf("%s: the profile does not name the contended lock's user (%v)", name, err)
		}
		if f := runtime.SetMutexProfileFraction(-1); f != 0 {
			t.Errorf("%s: still recording, 1 of %d", name, f)
		}
	}
	if code, body := fetch(t, "GET", base+"/debug/pprof/mutex?debug=1"); code != 400 || !strings.Contains(body, "seconds=10") {
		t.Errorf("debug=1: %d %s", code, body)
	}
}

// waitForEachOther keeps a lock long enough that the other one comes to wait for it.
func waitForEachOther(ctx context.Context, mu *sync.Mutex) {
	for ctx.Err() == nil {
		mu.Lock()
		for range 100 {
			runtime.Gosched()
		}
		mu.Unlock()
	}
}
