package stages

// Reading back: what those who serve SubscribeEvents and ReplayEvents ask of
// those who hold the stored events. Kafka's side is in package kafka, gRPC's in
// package transport; neither knows the other.

import (
	"context"
	"time"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// Match says whether an event is wanted. An error is a *Refusal, which ends the call that asked, or a *Costly. It is called
// by one goroutine at a time, and the event is shared: Match must not change or keep it.
type Match func(ev *eventv1.Event) (bool, error)

// Costly is what a Match gives as its error for an event that takes long to decide. Whoever asked waits until few others
// decide at the same time, and has the event decided then.
type Costly struct {
	// Decide is Match without a *Costly.
	Decide Match
}

// Error is for those who did not expect it.
func (*Costly) Error() string { return "the filter takes long for this event, and was not decided" }

// Start says where reading begins. The zero value is the end of the topic: only what comes from now on. At most one of
// the fields is set.
type Start struct {
	// Earliest is the oldest event that Kafka still holds.
	Earliest bool
	// Time is the first time of receipt that counts.
	Time time.Time
	// Cursor is right behind the event that carried it.
	Cursor string
}

// Delivery is a stored event on its way to a reader. It is shared between readers: nobody changes it.
type Delivery struct {
	// Event has the attributes; the data is in Frame only.
	Event *eventv1.Event
	// Frame is the whole event as an encoded event.v1.Event, with its cursor where it has one.
	Frame []byte
	// Topic, Partition and Offset are where Kafka has it.
	Topic     string
	Partition int32
	Offset    int64
	// Stored is the record's timestamp: the time of receipt by the gateway that wrote it.
	Stored time.Time
}

// DeliverBytes is how much leaves in one write: events whose frames, with 5 bytes more for each, are not longer together
// are sent all or none.
const DeliverBytes = 16 << 10

// Subscription is one call of SubscribeEvents.
type Subscription struct {
	// Name is the client's: for metrics, and for its share of the readers.
	Name  string
	Start Start
	// Group is the consumer group to share the events with; empty: all events are this subscriber's.
	Group string
	Match Match
	// Heartbeat asks for Idle from time to time while nothing matches.
	Heartbeat bool
	// Begun is called once, when it is settled which event is the first; everything that is acknowledged from then on
	// is delivered.
	Begun func() error
	// Deliver sends events, in order. It may block as long as the client does not read. What it is given is read-only; the
	// slice is the caller's again when it returns.
	Deliver func(events []*Delivery) error
	// Idle sends a cursor without an event.
	Idle func(cursor string) error
}

// Replay is one call of ReplayEvents.
type Replay struct {
	// Name is the client's, for its share of the readers.
	Name string
	// From is the first time of receipt, To the end of the range, exclusive.
	From, To time.Time
	Match    Match
	// PerSecond bounds the events that match. At least 1.
	PerSecond int
	// Page is called with at most REPLAY_BATCH_SIZE events that match, in order by partition, and how far the replay has
	// come with them; without events too, so that a caller hears of progress once a second. An error ends the replay.
	Page func(events []*Delivery, at ReplayProgress) error
}

// ReplayProgress is how far a replay has come, in totals since its start.
type ReplayProgress struct {
	// Read are the events that were read, Matched those that matched.
	Read, Matched int64
	// Position is the time of receipt up to which, without it, everything is done.
	Position time.Time
	// Done: the range has ended.
	Done bool
}

// Reading serves subscriptions and replays. Safe for concurrent use; every call runs on the caller's goroutine and ends
// with its context, at the latest when the reading side is closed. Errors are *Refusal where the reason is known.
type Reading interface {
	Subscribe(ctx context.Context, s *Subscription) error
	Replay(ctx context.Context, r *Replay) error
}
