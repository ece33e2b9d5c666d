package schema

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// bubble runs a test in time of its own.
func bubble(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

// later lets time pass, and the cache's clock with it.
func later(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

var errAway = fmt.Errorf("%w: connection refused", ErrUnavailable)

func TestMissWaitsAndIsWoken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		gate := m.hold()
		h := start(t, config(), m)
		ev := event(good)
		for range 3 {
			if !h.worker.Check(ev) {
				t.Fatal("Check does not wait for a schema that is being fetched")
			}
		}
		if !ev.Live() || ev.Schema != nil {
			t.Fatal("an event that waits was touched")
		}
		close(gate)
		<-h.woken
		if h.worker.Check(ev) {
			t.Fatal("Check waits once more after its wake")
		}
		mustPass(t, ev, "events-value", 1)
		mustRefuse(t, h.settle(event(bad)), stages.SchemaViolation)
		if n := m.asked(); n != 1 {
			t.Fatalf("the registry was asked %d times, want once", n)
		}
	})
}

func TestOneFetchForManyWorkers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		gate := m.hold()
		h := start(t, config(), m)
		var workers sync.WaitGroup
		for range 50 {
			workers.Go(func() {
				woken := make(chan struct{}, 10)
				w := h.NewWorker(func() { woken <- struct{}{} })
				ev := event(good)
				for w.Check(ev) {
					<-woken
				}
				if ev.Schema == nil {
					t.Errorf("an event is %v %+v", ev.Verdict.Reason, ev.Verdict.Detail)
				}
			})
		}
		synctest.Wait()
		close(gate)
		workers.Wait()
		if n := m.asked(); n != 1 {
			t.Fatalf("the registry was asked %d times, want once", n)
		}
	})
}

func TestExpiredSchemaIsServedWhileOneRefreshRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		h := start(t, config(), m)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		m.add("events-value", JSON, `{"type":"string"}`)
		later(50 * time.Minute)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		if n := m.asked(); n != 1 {
			t.Fatalf("the registry was asked %d times before the TTL was over", n)
		}
		later(10*time.Minute + tick)
		gate := m.hold()
		for range 100 {
			mustPass(t, h.settle(event(good)), "events-value", 1)
		}
		synctest.Wait()
		if n := m.asked(); n != 2 {
			t.Fatalf("the registry was asked %d times, want one refresh", n)
		}
		close(gate)
		synctest.Wait()
		mustRefuse(t, h.settle(event(good)), stages.SchemaViolation)
		mustPass(t, h.settle(event(`"text"`)), "events-value", 2)
	})
}

// TestRegistryAway is SCHEMA_ON_UNAVAILABLE: what a known and an unknown schema come to when the registry has
// been away for longer than the TTL.
func TestRegistryAway(t *testing.T) {
	for _, c := range []struct {
		mode           Unavailable
		known, unknown string
	}{
		{Stale, "valid", "refused"},
		{Reject, "refused", "refused"},
		{Pass, "valid", "unchecked"},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := newMemory()
				m.add("order.created-value", JSON, orders)
				cfg := config()
				cfg.Subject, cfg.OnUnavailable = "{type}-value", c.mode
				h := start(t, cfg, m)
				mustPass(t, h.settle(event(good)), "order.created-value", 1)
				later(2 * cfg.CacheTTL)
				m.fail(errAway)
				unknown := event(good)
				unknown.Type.Value = []byte("order.deleted")
				mustBe(t, h.settle(unknown), c.unknown)
				mustBe(t, h.settle(event(good)), c.known) // it starts the refresh
				synctest.Wait()
				mustBe(t, h.settle(event(good)), c.known)

				m.fail(nil)
				later(staleRetry + tick)
				h.settle(event(good))
				synctest.Wait()
				mustPass(t, h.settle(event(good)), "order.created-value", 1)
			})
		})
	}
}

func mustBe(t *testing.T, ev *stages.Event, want string) {
	t.Helper()
	switch want {
	case "refused":
		if d := mustRefuse(t, ev, stages.SchemaUnavailable); strings.Contains(d.Message, "connection refused") {
			t.Fatalf("the client is told of the operator's network: %s", d.Message)
		}
		if ev.Verdict.Retry() <= 0 {
			t.Fatal("no retry is advised, and the registry may be back in a second")
		}
	case "unchecked":
		mustGoUnchecked(t, ev)
	default:
		mustPass(t, ev, "order.created-value", 1)
	}
}

// TestAwayIsNoCallPerEvent holds that a registry that is away is asked once a second at most, for a name
// without a schema, and every five seconds for one with.
func TestAwayIsNoCallPerEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.fail(errAway)
		h := start(t, config(), m)
		for range 100 {
			mustRefuse(t, h.settle(event(good)), stages.SchemaUnavailable)
			later(tick)
		}
		if n := m.asked(); n < 8 || n > 12 {
			t.Fatalf("the registry was asked %d times in 10 s, want about 10", n)
		}
		m.fail(nil)
		m.add("events-value", JSON, orders)
		later(failedTTL + tick)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		later(2 * time.Hour)
		m.fail(errAway)
		before := m.asked()
		for range 100 {
			mustPass(t, h.settle(event(good)), "events-value", 1)
			later(tick)
		}
		if n := m.asked() - before; n < 1 || n > 3 {
			t.Fatalf("the registry was asked %d times in 10 s about a known schema, want 2", n)
		}
	})
}

func TestSlowRegistry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		gate := m.hold() // for longer than SCHEMA_TIMEOUT
		h := start(t, config(), m)
		began := time.Now()
		d := mustRefuse(t, h.settle(event(good)), stages.SchemaUnavailable)
		if waited := time.Since(began); waited != config().Timeout {
			t.Fatalf("the event waited %v, want SCHEMA_TIMEOUT", waited)
		}
		if !strings.Contains(d.Message, "within 1s") {
			t.Fatalf("message %q does not say how long was waited", d.Message)
		}
		close(gate)
	})
}

// TestDeafFetch is about a fetch that cannot be stopped, such as a compiler: nobody waits longer than
// SCHEMA_TIMEOUT and a little, no second one is begun beside it, and its late result counts.
func TestDeafFetch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		m.deaf = true
		gate := m.hold()
		h := start(t, config(), m)
		began := time.Now()
		mustRefuse(t, h.settle(event(good)), stages.SchemaUnavailable)
		if waited := time.Since(began); waited != config().Timeout+grace {
			t.Fatalf("the event waited %v", waited)
		}
		for range 30 {
			later(time.Second)
			mustRefuse(t, h.settle(event(good)), stages.SchemaUnavailable)
		}
		if n := m.asked(); n != 1 {
			t.Fatalf("the registry was asked %d times beside a fetch that was under way", n)
		}
		close(gate)
		synctest.Wait()
		mustPass(t, h.settle(event(good)), "events-value", 1)
	})
}

// TestWaitEnds: an event whose fetch has failed is answered even if its worker comes back long after.
func TestWaitEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.fail(errAway)
		h := start(t, config(), m)
		ev := event(good)
		if !h.worker.Check(ev) {
			t.Fatal("no wait")
		}
		later(time.Minute) // the failure is not believed any more
		if h.worker.Check(ev) {
			t.Fatal("Check waits a second time")
		}
		mustRefuse(t, ev, stages.SchemaUnavailable)
		if !h.worker.Check(event(good)) {
			t.Fatal("the next event does not have the registry asked again")
		}
		synctest.Wait()
	})
}

func TestMissingSchema(t *testing.T) {
	for _, required := range []bool{false, true} {
		t.Run(fmt.Sprintf("required=%t", required), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				m := newMemory()
				cfg := config()
				cfg.Required = required
				h := start(t, cfg, m)
				if required {
					mustRefuse(t, h.settle(event(good)), stages.SchemaNotFound)
				} else {
					mustGoUnchecked(t, h.settle(event(good)))
				}
				d := mustRefuse(t, h.settle(naming("events-value/1", good)), stages.SchemaNotFound)
				if d.Field != "data_schema" || !strings.Contains(d.Message, "events-value") {
					t.Fatalf("detail %+v does not say what is missing", d)
				}
				asked := m.asked()
				for range 50 {
					h.settle(event(good))
					h.settle(naming("events-value/1", good))
				}
				if n := m.asked(); n != asked {
					t.Fatalf("the registry was asked %d times more within 10 s", n-asked)
				}
				m.add("events-value", JSON, orders)
				later(negativeTTL + tick)
				h.settle(event(good))
				synctest.Wait()
				mustPass(t, h.settle(event(good)), "events-value", 1)
				mustPass(t, h.settle(naming("events-value/1", good)), "events-value", 1)
			})
		})
	}
}

// TestMissingIsNotDefiniteWhileAway: that the registry did not have a schema is no answer any more when it
// cannot be asked again.
func TestMissingIsNotDefiniteWhileAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		h := start(t, config(), m)
		mustRefuse(t, h.settle(naming("7", good)), stages.SchemaNotFound)
		later(negativeTTL + tick)
		m.fail(errAway)
		mustRefuse(t, h.settle(naming("7", good)), stages.SchemaUnavailable)
	})
}

// TestStartingRegistry: a registry that has not read its schemas yet says that it does not have them. What is known is used
// for a while longer, and not beyond: subjects are deleted, too.
func TestStartingRegistry(t *testing.T) {
	for _, required := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			m := newMemory()
			m.add("events-value", JSON, orders)
			cfg := config()
			cfg.Required = required
			h := start(t, cfg, m)
			ask := func() *stages.Event {
				h.settle(event(good)) // has the registry asked again
				synctest.Wait()
				return h.settle(event(good))
			}
			mustPass(t, ask(), "events-value", 1)
			later(2 * time.Hour)
			m.fail(fmt.Errorf("%w: it starts", ErrNotFound))
			mustPass(t, ask(), "events-value", 1)
			later(forgetAfter - 2*tick)
			mustPass(t, ask(), "events-value", 1)
			m.fail(nil)
			later(staleRetry + tick)
			mustPass(t, ask(), "events-value", 1)

			later(2 * time.Hour)
			m.fail(fmt.Errorf("%w: it was deleted", ErrNotFound))
			mustPass(t, ask(), "events-value", 1)
			later(forgetAfter + tick)
			if ev := ask(); required {
				mustRefuse(t, ev, stages.SchemaNotFound)
			} else {
				mustGoUnchecked(t, ev)
			}
		})
	}
}

// TestSameTextIsNotCompiledAgain: what events get stays the same object.
func TestSameTextIsNotCompiledAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		h := start(t, config(), m)
		first := h.settle(event(good)).Schema
		later(2 * time.Hour)
		h.settle(event(good))
		synctest.Wait()
		if again := h.settle(event(good)).Schema; again != first || m.asked() != 2 {
			t.Fatalf("after %d calls the schema is %p, was %p", m.asked(), again, first)
		}
	})
}

func TestRefresh(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		h := start(t, config(), m)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		m.add("events-value", JSON, `{"type":"string"}`)
		h.Refresh("events-value")
		h.settle(event(good))
		synctest.Wait()
		mustPass(t, h.settle(event(`"x"`)), "events-value", 2)

		// A fetch that began before may bring what is old already.
		later(2 * time.Hour)
		gate := m.hold()
		h.settle(event(`"x"`))
		synctest.Wait()
		h.Refresh("events-value")
		m.add("events-value", JSON, `{"type":"array"}`)
		close(gate)
		synctest.Wait()
		h.settle(event(`[]`))
		synctest.Wait()
		mustPass(t, h.settle(event(`[]`)), "events-value", 3)
	})
}

func TestClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.hold()
		h := start(t, config(), m)
		ev := event(good)
		if !h.worker.Check(ev) {
			t.Fatal("no wait")
		}
		h.Close()
		<-h.woken
		if h.worker.Check(ev) {
			t.Fatal("Check waits for a cache that is closed")
		}
		mustRefuse(t, ev, stages.SchemaUnavailable)
		asked := m.asked()
		mustRefuse(t, h.settle(naming("7", good)), stages.SchemaUnavailable)
		later(time.Minute)
		mustRefuse(t, h.settle(event(good)), stages.SchemaUnavailable)
		if n := m.asked(); n != asked {
			t.Fatal("a closed cache asks the registry")
		}
	})
}

func TestTrial(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		m.add("other:x/y", JSON, `{"type":"string"}`)
		h := start(t, config(), m)
		mustPass(t, tried(t, h.Cache, event(good), "", 0), "events-value", 1)
		mustPass(t, tried(t, h.Cache, naming("7", `"x"`), "other:x/y", 0), "other:x/y", 1)
		mustRefuse(t, tried(t, h.Cache, naming("7", good), "other:x/y", 1), stages.SchemaViolation)
		mustRefuse(t, tried(t, h.Cache, event(good), "other:x/y", 2), stages.SchemaNotFound)
	})
}

func TestFailedIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.fail(errAway)
		told := make(chan error, 1)
		c := New(config(), m, Options{Topic: "events", Failed: func(name string, err error) {
			if name != `subject "events-value"` {
				t.Errorf("told of %s", name)
			}
			told <- err
		}})
		defer c.Close()
		tried(t, c, event(good), "", 0)
		if err := <-told; !errors.Is(err, errAway) {
			t.Fatalf("told of %v", err)
		}
	})
}

func TestMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.takes = time.Millisecond // an answer that is there at once is waited for by nobody
		m.add("events-value", JSON, orders)
		h := start(t, config(), m)
		h.settle(event(good))
		h.settle(event(good))
		h.settle(event(bad))
		h.settle(naming("77", good))
		later(2 * time.Hour)
		m.fail(errAway)
		h.settle(event(good))
		later(2 * m.takes)
		h.settle(event(good))
		var b strings.Builder
		h.WriteMetrics(&b)
		for _, want := range []string{
			`gateway_schema_events_total{result="valid"} 4`,
			`gateway_schema_events_total{result="violation"} 1`,
			`gateway_schema_events_total{result="unchecked"} 0`,
			`gateway_schema_events_total{result="no_schema"} 1`,
			`gateway_schema_stale_served_total 1`,
			`gateway_schema_waits_total 2`,
			`gateway_schema_fetches_total{result="new"} 1`,
			`gateway_schema_fetches_total{result="missing"} 1`,
			`gateway_schema_fetches_total{result="failed"} 1`,
			`gateway_schema_fetches_in_flight 0`,
			`gateway_schema_entries{kind="schema"} 1`,
			`gateway_schema_entries{kind="none"} 1`,
		} {
			if !strings.Contains(b.String(), want+"\n") {
				t.Errorf("the metrics lack %s", want)
			}
		}
		if t.Failed() {
			t.Log(b.String())
		}
	})
}

// TestBadNewVersion holds that a version which nobody can use takes the one before it away from nobody.
func TestBadNewVersion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		cfg := config()
		h := start(t, cfg, m)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		m.add("events-value", JSON, `{"type": "nonsense"}`)
		for range 3 {
			later(cfg.CacheTTL + tick)
			h.settle(event(good)) // starts the refresh
			synctest.Wait()
			mustPass(t, h.settle(event(good)), "events-value", 1)
		}
		m.add("events-value", JSON, `{"type": "string"}`)
		later(cfg.CacheTTL + tick)
		h.settle(event(good))
		synctest.Wait()
		mustPass(t, h.settle(event(`"text"`)), "events-value", 3)
	})
}

// TestRegisteredSchemaIsUsedAtOnce holds that the first event after a registration meets the new schema, and the old
// one when the registry is away at that moment.
func TestRegisteredSchemaIsUsedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		m := newMemory()
		m.add("events-value", JSON, orders)
		h := start(t, config(), m)
		mustPass(t, h.settle(event(good)), "events-value", 1)
		m.add("events-value", JSON, `{"type": "string"}`)
		h.Refresh("events-value")
		mustPass(t, h.settle(event(`"text"`)), "events-value", 2)
		m.fail(errAway)
		h.Refresh("events-value")
		for range 3 {
			mustPass(t, h.settle(event(`"text"`)), "events-value", 2)
		}
	})
}
