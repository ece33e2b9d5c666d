package cli

// Which events a replay has printed. An event is known by all of itself: an id
// that a producer has used twice does not make two events one.
//
// An event that a stream brings for the n-th time is printed if it has been
// printed fewer than n times. So within one stream everything is printed, also
// what Kafka has twice; of a stream that goes on, only what the ones before it
// have not brought.

import (
	"crypto/sha256"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// printedWindow is how many printed events are remembered, 83 bytes each (measured). The gateway's position lies
// DELIVERY_TIMEOUT (25 s) before what it has sent, so this is enough for ranges with up to 40,000 events a second.
const printedWindow = 1_000_000

// fingerprint is 128 bits of an event's SHA-256: no two events have the same.
type fingerprint [16]byte

// printedEvents are the last ones.
type printedEvents struct {
	times map[fingerprint]times
	// ring has the fingerprints in the order printed; the oldest is at next, once it is full.
	ring []fingerprint
	size int
	next int
	// stream counts the streams.
	stream uint32
	// forgot: one that might come again has left the window.
	forgot bool
}

// times is how often an event was printed, and how often the stream has brought it.
type times struct{ printed, brought, stream uint32 }

func newPrintedEvents(size int) *printedEvents {
	return &printedEvents{times: map[fingerprint]times{}, size: size}
}

// again says that another stream begins.
func (p *printedEvents) again() { p.stream++ }

// add notes an event that the stream has brought, and reports whether it is to be printed.
func (p *printedEvents) add(event *eventv1.Event) (bool, error) {
	key, err := fingerprintOf(event)
	if err != nil {
		return false, err
	}
	t := p.times[key]
	if t.stream != p.stream {
		t.brought, t.stream = 0, p.stream
	}
	t.brought++
	fresh := t.brought > t.printed
	if fresh {
		t.printed++
	}
	p.times[key] = t
	if fresh {
		p.remember(key)
	}
	return fresh, nil
}

// remember puts a fingerprint into the ring, and forgets the oldest for it.
func (p *printedEvents) remember(key fingerprint) {
	if len(p.ring) < p.size {
		p.ring = append(p.ring, key)
		return
	}
	oldest := p.ring[p.next]
	p.ring[p.next] = key
	p.next = (p.next + 1) % p.size
	p.forgot = true
	t := p.times[oldest]
	if t.printed <= 1 {
		delete(p.times, oldest)
		return
	}
	t.printed--
	if t.brought > 0 {
		t.brought--
	}
	p.times[oldest] = t
}

// fingerprintOf leaves the cursor out: it is about the reading.
func fingerprintOf(event *eventv1.Event) (fingerprint, error) {
	cursor := event.Cursor
	event.Cursor = ""
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(event)
	event.Cursor = cursor
	if err != nil {
		return fingerprint{}, err
	}
	sum := sha256.Sum256(encoded)
	return fingerprint(sum[:16]), nil
}
