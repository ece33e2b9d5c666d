package pipeline

// Ids that were sent before, with DEDUPE_WINDOW (ADR 0015). The first sending of a
// source and id holds a claim from validate until it is retired, when the retirer
// settles it:
//
//	none --validate: the first sending--> claimed --retirer: Kafka has it--> acknowledged --DEDUPE_WINDOW--> none
//	                                         |
//	                                         +--retirer: refused, filtered, unknown--> none
//
// A later sending finds it acknowledged, and is answered there and then with the
// first one's position; or claimed: then it waits for the first one's end. It is
// marked as handed, so that deadlines and cancellations treat it as the first one,
// which may be in Kafka or not: they can only answer unknown. It leaves the graph,
// and the retirer answers and retires it together with the first one.
//
// Answered is not settled: a deadline may answer the first sending unknown long
// before its promise runs. The claim stays until then, so a late acknowledgement
// still makes later sendings duplicates.

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// dedupeStripes is how many locks there are; they are held for some 100 ns.
	dedupeStripes = 64
	// maxWaiting is how many sendings may wait for one claim: a client that sends again each second until
	// DELIVERY_TIMEOUT. More are refused with TOO_MANY_RETRIES.
	maxWaiting = 32
)

// ending is what became of a first sending. topic, partition and offset are its position, if Kafka has it.
type ending struct {
	outcome   stages.Outcome
	topic     *stages.Topic
	partition int32
	offset    int64
}

// dedupe knows the ids in flight and those that were acknowledged not long ago.
type dedupe struct {
	// window is how long an acknowledged id is known, lost how long a claim counts: a Producer that has panicked never
	// reports its events. In nanoseconds of Pipeline.now.
	window, lost int64
	// secret makes keys that nobody outside can find two sendings for.
	secret  [16]byte
	topics  []*stages.Topic
	stripes [dedupeStripes]dedupeStripe
}

// dedupeStripe has the ids whose keys begin alike.
type dedupeStripe struct {
	mu       sync.Mutex // guards the following
	inflight map[[16]byte]*stages.Claim
	known    knownIDs
	free     []*stages.Claim
	_        [64]byte
}

// newDedupe returns nil when ids are not looked at.
func newDedupe(cfg *Config, topics *stages.Topics) *dedupe {
	if cfg.DedupeWindow == 0 {
		return nil
	}
	d := &dedupe{window: int64(cfg.DedupeWindow), lost: int64(cfg.DeliveryTimeout + cfg.DedupeWindow), topics: topics.All}
	_, _ = rand.Read(d.secret[:]) // never fails
	for i := range d.stripes {
		s := &d.stripes[i]
		s.inflight, s.known = make(map[[16]byte]*stages.Claim), newKnownIDs((cfg.DedupeMaxEvents+dedupeStripes-1)/dedupeStripes)
	}
	return d
}

// key stands for the event's source and id: two different ones share a key once in 2^64 ids, and nobody can look for
// such a pair without the secret. It is what is left of SHA-256, because an event that is taken for another one is lost.
func (d *dedupe) key(ev *stages.Event) (key [16]byte) {
	var text [len(d.secret) + 2 + 2*stages.MaxAttributeBytes]byte // validate has bounded both
	b := append(text[:0], d.secret[:]...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(ev.Source.Value)))
	b = append(append(b, ev.Source.Value...), ev.ID.Value...)
	sum := sha256.Sum256(b)
	copy(key[:], sum[:])
	return key
}

func (d *dedupe) stripe(key *[16]byte) *dedupeStripe { return &d.stripes[key[0]%dedupeStripes] }

// sift looks at events that validate passes on, at now. Those that are to wait are taken out; the others stay in order.
func (d *dedupe) sift(burst []*stages.Event, now int64) (on []*stages.Event) {
	on = burst[:0]
	for _, ev := range burst {
		// Of the other origins, a replay sends what was sent before on purpose, and a source keeps its own place.
		if ev.Open() && ev.Msg.Origin == stages.FromGRPC && ev.HasClientID() && ev.Msg.Queued(ev.Index) && d.enter(ev, now) {
			continue
		}
		on = append(on, ev)
	}
	return on
}

// enter claims the event's id, or ends the event as a duplicate, or has it wait.
func (d *dedupe) enter(ev *stages.Event, now int64) (waits bool) {
	key := d.key(ev)
	s := d.stripe(&key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.known.find(&key); k != nil && now-k.at <= d.window {
		ev.Topic, ev.Ack.Partition, ev.Ack.Offset = d.topics[k.topic], k.partition, k.offset
		ev.Verdict = stages.Verdict{Outcome: stages.Duplicate, Stage: stages.AtValidate}
		return false
	}
	first := s.inflight[key]
	switch {
	case first == nil || now-first.Since > d.lost:
		s.claim(ev, &key, now)
		return false
	case len(first.Waiting) >= maxWaiting:
		ev.Refuse(stages.AtValidate, stages.TooManyRetries, nil)
		return false
	}
	var g stages.Group
	g.Add(ev.Index)
	ev.Msg.Hand(g) // one that a deadline was faster to answer only waits to be retired
	first.Waiting = append(first.Waiting, ev)
	return true
}

// claim makes ev the first sending. It takes the place of a claim that was lost.
func (s *dedupeStripe) claim(ev *stages.Event, key *[16]byte, now int64) {
	c := &stages.Claim{}
	if n := len(s.free); n > 0 {
		c, s.free = s.free[n-1], s.free[:n-1]
	}
	c.Key, c.Since = *key, now
	ev.Claim, s.inflight[*key] = c, c
}

// settle ends a claim whose event has met its end, and gives the sendings that have waited for it to visit.
func (d *dedupe) settle(c *stages.Claim, f *ending, now int64, visit func(*stages.Event)) {
	s := d.stripe(&c.Key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inflight[c.Key] == c {
		delete(s.inflight, c.Key)
	}
	if f.outcome == stages.Acknowledged {
		s.known.add(knownID{key: c.Key, at: now, offset: f.offset, partition: f.partition, topic: int32(f.topic.Index)})
	}
	for _, ev := range c.Waiting {
		visit(ev)
	}
	clear(c.Waiting)
	c.Waiting = c.Waiting[:0]
	s.free = append(s.free, c)
}

// knownID is an id that was acknowledged.
type knownID struct {
	key [16]byte
	// at is when it was acknowledged, in nanoseconds of Pipeline.now.
	at               int64
	offset           int64
	partition, topic int32
	// previous is the number of the id before this one with the same place in heads.
	previous uint64
}

// knownIDs are the last ids of one stripe in a preallocated ring, found by chains from the newest to the oldest.
// Nothing is taken out: a number that the ring has passed is the end of a chain.
type knownIDs struct {
	// ring has the id with number n at n modulo its length.
	ring []knownID
	// heads are the numbers of the newest ids by their keys; 0: none.
	heads []uint64
	// last is the number of the newest id.
	last uint64
}

func newKnownIDs(n int) knownIDs {
	size := 1
	for size < n {
		size *= 2
	}
	return knownIDs{ring: make([]knownID, n), heads: make([]uint64, size)}
}

func (k *knownIDs) head(key *[16]byte) *uint64 {
	return &k.heads[binary.LittleEndian.Uint64(key[8:])&uint64(len(k.heads)-1)]
}

// find is the newest one with the key, nil when there is none.
func (k *knownIDs) find(key *[16]byte) *knownID {
	for n := *k.head(key); n != 0 && n+uint64(len(k.ring)) > k.last; {
		id := &k.ring[n%uint64(len(k.ring))]
		if id.key == *key {
			return id
		}
		n = id.previous
	}
	return nil
}

// add takes an id in and forgets the oldest.
func (k *knownIDs) add(id knownID) {
	k.last++
	h := k.head(&id.key)
	id.previous = *h
	*h = k.last
	k.ring[k.last%uint64(len(k.ring))] = id
}

// count is how many ids are claimed and known, those included whose time has passed.
func (d *dedupe) count() (claimed, known int) {
	for i := range d.stripes {
		s := &d.stripes[i]
		s.mu.Lock()
		claimed += len(s.inflight)
		known += int(min(s.known.last, uint64(len(s.known.ring))))
		s.mu.Unlock()
	}
	return claimed, known
}

// bytes is what the known ids take.
func (d *dedupe) bytes() (n int64) {
	for i := range d.stripes {
		k := &d.stripes[i].known
		n += int64(len(k.ring))*48 + int64(len(k.heads))*8
	}
	return n
}

// endingOf is what a reported event has come to.
func endingOf(ev *stages.Event) ending {
	switch {
	case inKafka(ev):
		return ending{outcome: stages.Acknowledged, topic: ev.Topic, partition: ev.Ack.Partition, offset: ev.Ack.Offset}
	case ev.Handed && !ev.Dead && ev.Ack.Verdict.Outcome == stages.Unknown:
		return ending{outcome: stages.Unknown}
	case !ev.Handed && ev.Verdict.Outcome == stages.Filtered:
		return ending{outcome: stages.Filtered}
	}
	return ending{outcome: stages.Refused}
}

// echo is a sending that has waited, with the end of the first one.
type echo struct {
	ev *stages.Event
	ending
}

// settleClaim ends the claim of a reported event. Called with r.mu held.
func (r *retirer) settleClaim(ev *stages.Event, f ending, now int64) {
	r.p.dedupe.settle(ev.Claim, &f, now, func(waiting *stages.Event) { r.echoes = append(r.echoes, echo{waiting, f}) })
	ev.Claim = nil
}

// answerEchoes answers and retires the sendings whose wait has ended. Called with r.mu held, when no run is under way.
func (r *retirer) answerEchoes() {
	for i := range r.echoes {
		e := &r.echoes[i]
		m, v := e.ev.Msg, e.verdict()
		if m.WinHanded(e.ev.Index) {
			m.SetVerdict(e.ev.Index, v)
			if v.Outcome == stages.Duplicate {
				m.SetPosition(e.ev.Index, e.topic, e.partition, e.offset)
			}
			r.counts.add(m.Origin, &v, 1)
			m.Settle(1)
		}
		r.p.drop(m, 1)
		h := &r.homes[e.ev.Home]
		h.staged = append(h.staged, e.ev)
	}
	if len(r.echoes) > 0 {
		r.giveBack()
		clear(r.echoes)
		r.echoes = r.echoes[:0]
	}
}

// verdict is what the sending is answered. A refusal of the first one, whose bytes may have been others, says nothing
// about this one, which was never tried: the client is to send it again, whatever the first one was refused for.
func (e *echo) verdict() stages.Verdict {
	v := stages.Verdict{Outcome: e.outcome, Stage: stages.AtValidate}
	switch e.outcome {
	case stages.Acknowledged:
		v.Outcome = stages.Duplicate
	case stages.Unknown:
		v.Reason, v.Stage = stages.OutcomeUnknown, stages.AtProduce
	case stages.Refused:
		v.Reason = stages.OriginalRefused
	}
	return v
}
