package kafka

// Metrics of reading back, and the log of records that are no events.

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// shownFollowers bounds the subscribers with a line of their own: those that are furthest behind.
	shownFollowers = 20
	// skipLogEvery is how often the log says that records were skipped.
	skipLogEvery = 10 * time.Second
)

// readMetrics are safe for concurrent use.
type readMetrics struct {
	// fromHub, fromReaders and fromGroups are events sent, by how they were read.
	fromHub, fromReaders, fromGroups atomic.Uint64
	tailErrors, skipped              atomic.Uint64
	// readers are clients of single readings, members subscriptions with a group.
	readers, members atomic.Int64
	// replays are those at work; replayRead and replayMatched what they have read, and what of it matched.
	replays                   atomic.Int64
	replayRead, replayMatched atomic.Uint64
	// skipLogged is when the log last said that something was skipped, in Unix nanoseconds.
	skipLogged atomic.Int64

	mu        sync.Mutex
	followers map[*follower]uint64
	// last is the number of the follower that came last.
	last uint64
}

func (m *readMetrics) follow(f *follower) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.followers == nil {
		m.followers = map[*follower]uint64{}
	}
	m.last++
	m.followers[f] = m.last
	ps := f.ps
	f.at.Store(&ps)
}

func (m *readMetrics) unfollow(f *follower) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.followers, f)
}

// skipped counts a record that is no event, and says so now and then.
func (r *Readers) skipped(record *kgo.Record, err error) {
	r.metrics.skipped.Add(1)
	now, last := time.Now().UnixNano(), r.metrics.skipLogged.Load()
	if now-last >= int64(skipLogEvery) && r.metrics.skipLogged.CompareAndSwap(last, now) {
		r.parts.Log.Log(LevelWarn, "a record that is not an event is left out for readers", "topic", record.Topic,
			"partition", record.Partition, "offset", record.Offset, "error", err)
	}
}

// behindBy is a subscriber and how many events there are that it has not had.
type behindBy struct {
	subscriber string
	number     uint64
	events     int64
}

// behind lists the subscribers without a group, the furthest behind first, as far as the hub knows.
func (r *Readers) behind() (all []behindBy) {
	head := r.hub.newest()
	r.metrics.mu.Lock()
	defer r.metrics.mu.Unlock()
	for f, number := range r.metrics.followers {
		b := behindBy{subscriber: f.sub.Name, number: number}
		at := *f.at.Load()
		for p, offset := range head {
			b.events += max(offset-at.at(int32(p)), 0)
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b behindBy) int {
		if a.events != b.events {
			return int(min(max(b.events-a.events, -1), 1))
		}
		return int(int64(a.number) - int64(b.number))
	})
	return all
}

// WriteMetrics writes in the Prometheus text format.
func (r *Readers) WriteMetrics(w io.Writer) {
	var b strings.Builder
	all, m := r.behind(), &r.metrics
	fmt.Fprintf(&b, "gateway_subscribers{kind=\"own\"} %d\ngateway_subscribers{kind=\"group\"} %d\n", len(all), m.members.Load())
	fmt.Fprintf(&b, "gateway_subscribe_readers %d\ngateway_subscribe_readers_max %d\n", m.readers.Load(), r.slots.most)
	for _, c := range []struct {
		from string
		n    uint64
	}{{"hub", m.fromHub.Load()}, {"reader", m.fromReaders.Load()}, {"group", m.fromGroups.Load()}} {
		fmt.Fprintf(&b, "gateway_subscribe_events_total{from=%q} %d\n", c.from, c.n)
	}
	fmt.Fprintf(&b, "gateway_subscribe_tail_errors_total %d\ngateway_subscribe_skipped_records_total %d\n", m.tailErrors.Load(), m.skipped.Load())
	fmt.Fprintf(&b, "gateway_replays %d\ngateway_replay_events_total{what=\"read\"} %d\ngateway_replay_events_total{what=\"matched\"} %d\n",
		m.replays.Load(), m.replayRead.Load(), m.replayMatched.Load())
	fmt.Fprintf(&b, "gateway_subscribe_filter_turns_total %d\ngateway_subscribe_filter_waits_total %d\ngateway_subscribe_filter_wait_seconds_total %g\n",
		r.turns.given.Load(), r.turns.waited.Load(), time.Duration(r.turns.waitedNanos.Load()).Seconds())
	var most int64
	for i, one := range all {
		if i == 0 {
			most = one.events
		}
		if i < shownFollowers && one.events > 0 {
			fmt.Fprintf(&b, "gateway_subscriber_behind_events{subscriber=\"%s#%d\"} %d\n", strings.Map(labelRune, one.subscriber), one.number, one.events)
		}
	}
	fmt.Fprintf(&b, "gateway_subscriber_behind_events_max %d\n", most)
	_, _ = io.WriteString(w, b.String())
}

// labelRune keeps a label's value readable without quoting.
func labelRune(r rune) rune {
	if r == '"' || r == '\\' || r < ' ' {
		return '_'
	}
	return r
}
