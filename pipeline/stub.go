package pipeline

import (
	"context"
	"io"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

type Pipeline struct{}

// New builds the graph; nothing runs yet.
func New(cfg Config, parts Parts) (*Pipeline, error) { panic("stub") }

// Start starts every goroutine; producer takes what the produce workers hand over and calls Report for each event.
func (p *Pipeline) Start(producer stages.Producer) {}

// Report is what a Producer calls, once an event, after setting ev.Ack. Never blocks; any goroutine.
func (p *Pipeline) Report(ev *stages.Event) {}

// NewClient returns a client with its own share of the in-flight memory.
func (p *Pipeline) NewClient(name string) *stages.Client { panic("stub") }

// Lane picks the entrance for a new stream or unary call (round robin).
func (p *Pipeline) Lane() Lane { return 0 }

// Receive takes a message from the pool and counts its events as accepted.
// n is the number of events from stages.Scan (1 for Single and Malformed).
// Received is set to now and Deadline to now + DELIVERY_TIMEOUT; the caller may shorten Deadline.
func (p *Pipeline) Receive(client *stages.Client, frame []byte, buffer stages.Freer, kind stages.Kind, n int) *stages.Message {
	panic("stub")
}

// Admit waits, first come first served, until the client's share and the gateway's budget have room for m.
// wait < 0 waits as long as ctx and the drain allow (streams); else at most wait (unary: ADMISSION_TIMEOUT).
// nil = admitted. Otherwise the verdict to pass to Refuse: OVERLOADED, CLIENT_OVERLOADED, DRAINING, NOT_SENT (ctx ended).
func (p *Pipeline) Admit(ctx context.Context, m *stages.Message, wait time.Duration) *stages.Verdict {
	panic("stub")
}

// Submit puts an admitted m into a lane. Never waits.
func (p *Pipeline) Submit(lane Lane, m *stages.Message) {}

// Refuse answers every event of a message that was not submitted. Completed is not called.
func (p *Pipeline) Refuse(m *stages.Message, v stages.Verdict) {}

// Expire ends the wait for a submitted m: what is still queued is refused (reason, normally stages.NotSent;
// stages.Draining in a drain), what is handed to Kafka is answered unknown. m is answered when it returns.
func (p *Pipeline) Expire(m *stages.Message, reason stages.Reason) {}

// Abandon ends the owner's interest in a submitted m (caller gone): what is queued is refused, what is handed is
// counted as what becomes of it, unknown at the deadline. Takes the owner's reference; m must not be touched after it.
func (p *Pipeline) Abandon(m *stages.Message) {}

// Release gives the owner's reference back; m, m.Frame and m.Results must not be touched after it.
func (p *Pipeline) Release(m *stages.Message) {}

// StartDrain makes Admit refuse with DRAINING from now on, waiters included.
func (p *Pipeline) StartDrain() {}

// Draining is closed when StartDrain was called.
func (p *Pipeline) Draining() <-chan struct{} { return nil }

// AwaitIdle returns when no event is in flight (every one answered and retired), or with ctx's error.
func (p *Pipeline) AwaitIdle(ctx context.Context) error { return nil }

// ExpireAll answers every message in flight as Expire does (the hard end of a drain) and says how many events
// were refused and how many became unknown.
func (p *Pipeline) ExpireAll(reason stages.Reason) (refused, unknown int) { return 0, 0 }

// Stop ends every goroutine of the graph, in the order of the graph, after what is in it was passed on.
func (p *Pipeline) Stop() {}

// InFlight is the number of events without an outcome.
func (p *Pipeline) InFlight() int64 { return 0 }

// WriteMetrics writes the pipeline's metrics in the Prometheus text format.
func (p *Pipeline) WriteMetrics(w io.Writer) {}
