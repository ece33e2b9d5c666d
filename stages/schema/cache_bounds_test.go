package schema

// How much names that clients make up, and many schemas, may cost.

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// TestFlood: names that clients make up are no registry call each, and do not keep known schemas from events.
func TestFlood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		h := start(t, config(), m)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		before := m.asked()
		refused := 0
		for i := range 100_000 {
			ev := h.settle(naming(strconv.Itoa(1000+i), good))
			if ev.Verdict.Reason == stages.SchemaUnavailable {
				refused++
			}
			if i%1000 == 0 {
				later(tick) // 10 s in all
			}
		}
		if n := m.asked() - before; n < newPerSecond*9 || n > newPerSecond*12 {
			t.Fatalf("100000 names in 10 s made %d calls, want about %d", n, newPerSecond*10)
		}
		if refused < 90_000 {
			t.Fatalf("only %d events were refused as unavailable", refused)
		}
		if n := len(*h.entries.Load()); n > maxEntries {
			t.Fatalf("the cache has %d entries", n)
		}
		mustPass(t, h.settle(event(good)), "events-value", 1)
	})
}

// TestFloodWhileSlow: fetches that hang are bounded, and leave room for schemas that are known and must be
// fetched again.
func TestFloodWhileSlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		h := start(t, config(), m)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		later(2 * time.Hour)
		gate := m.hold()
		waiting := 0
		for i := range 1000 {
			if h.worker.Check(naming(strconv.Itoa(1000+i), good)) {
				waiting++
			}
		}
		if waiting != maxNewFetches {
			t.Fatalf("%d events wait, want %d", waiting, maxNewFetches)
		}
		mustPass(t, h.settle(event(good)), "events-value", 1)
		synctest.Wait()
		if m.most != maxNewFetches+1 {
			t.Fatalf("there were %d calls at once, want %d and the refresh", m.most, maxNewFetches)
		}
		close(gate)
	})
}

// TestEviction: names without a schema go first, then the schema that was not used for longest; never the
// subject that the operator named.
func TestEviction(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		cfg := config()
		cfg.CacheTTL = 24 * time.Hour
		h := start(t, cfg, m)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		for i := range maxEntries + 50 {
			m.add("s"+strconv.Itoa(i), JSON, orders)
		}
		visit := func(i int) {
			for {
				ev := h.settle(naming("s"+strconv.Itoa(i)+"/1", good))
				if ev.Live() {
					return
				}
				later(tick)
			}
		}
		mustRefuse(t, h.settle(naming("nothing/1", good)), stages.SchemaNotFound)
		for i := range maxEntries - 2 {
			visit(i)
			later(tick) // so that no two were used at the same time
		}
		mustRefuse(t, h.settle(naming("nothing/1", good)), stages.SchemaNotFound) // used last, and goes first
		later(tick)
		visit(0) // used again, so not the one that goes
		later(time.Second)
		visit(maxEntries)
		before := m.asked()
		visit(0)
		visit(1)
		if n := m.asked() - before; n != 0 {
			t.Fatal("a schema went before a name that has none")
		}
		visit(0)
		later(time.Second)
		visit(maxEntries + 1) // instead of 2, the oldest
		before = m.asked()
		visit(0)
		visit(1)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		if n := m.asked() - before; n != 0 {
			t.Fatal("a schema that was used lately went before an older one")
		}
		visit(2)
		if n := m.asked() - before; n != 1 {
			t.Fatal("the oldest schema is still there")
		}
		if n := len(*h.entries.Load()); n != maxEntries {
			t.Fatalf("the cache has %d entries", n)
		}
	})
}

// TestRefreshesAreBounded: schemas that are all too old at once are not all fetched at once, and are used.
func TestRefreshesAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		h := start(t, config(), m)
		for i := range 2 * maxFetches {
			m.add("s"+strconv.Itoa(i), JSON, orders)
			mustPass(t, h.settle(naming("s"+strconv.Itoa(i)+"/1", good)), "s"+strconv.Itoa(i), 1)
		}
		later(2 * time.Hour)
		gate := m.hold()
		for i := range 2 * maxFetches {
			mustPass(t, h.settle(naming("s"+strconv.Itoa(i)+"/1", good)), "s"+strconv.Itoa(i), 1)
		}
		synctest.Wait()
		if m.most != maxFetches {
			t.Fatalf("there were %d calls at once, want %d", m.most, maxFetches)
		}
		close(gate)
	})
}

// TestWorkersLetGo: a worker does not go on with an entry that the cache does not have any more, or it would miss
// what becomes of the schema.
func TestWorkersLetGo(t *testing.T) {
	for name, ev := range map[string]func() *stages.Event{
		"named":   func() *stages.Event { return naming("order.created/latest", good) },
		"unnamed": func() *stages.Event { return event(good) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := newMemory()
				m.add("order.created", JSON, orders)
				cfg := config()
				cfg.Subject = "{type}"
				h := start(t, cfg, m)
				mustPass(t, h.settle(ev()), "order.created", 1)
				h.mu.Lock()
				table := *h.entries.Load()
				for _, e := range table {
					e.pinned = false
				}
				if !h.evict(table, nil) {
					t.Fatal("nothing was evicted")
				}
				h.mu.Unlock()
				mustPass(t, h.settle(ev()), "order.created", 1)
				if n := m.asked(); n != 2 {
					t.Fatalf("the registry was asked %d times, want again after the eviction", n)
				}
			})
		})
	}
}

func TestMemoryIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		h := start(t, config(), m)
		large := `{"description":"` + strings.Repeat("x", 1<<20-16) + `"}`
		for i := range 10 {
			m.add("s"+strconv.Itoa(i), JSON, large)
			mustPass(t, h.settle(naming("s"+strconv.Itoa(i)+"/1", good)), "s"+strconv.Itoa(i), 1)
			later(time.Second)
		}
		if n := len(*h.entries.Load()); n != 1+maxWeight/weightPerByte>>20 {
			t.Fatalf("the cache has %d entries with a text of 1 MiB each", n)
		}
		if h.weight > maxWeight {
			t.Fatalf("the cache counts %d bytes", h.weight)
		}
	})
}
