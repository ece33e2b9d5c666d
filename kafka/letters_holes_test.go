package kafka

// Dead letters of a compacted topic: the offsets without records are no reason to wait, and no letter is passed over.

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// numberedLetter is letter number i.
func numberedLetter(partition int32, i int) *kgo.Record {
	return letterRecord(partition, int64(i), strconv.Itoa(i))
}

func ids(numbers ...int) (all []string) {
	for _, i := range numbers {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

// fill writes letters from up to, without it, to, to a partition.
func (r *letterRig) fill(partition int32, from, to int) {
	r.t.Helper()
	var records []*kgo.Record
	for i := from; i < to; i++ {
		records = append(records, numberedLetter(partition, i))
	}
	r.write(records...)
}

func (r *letterRig) policy(policy string) {
	r.t.Helper()
	setPolicy(r.t, kadm.NewClient(r.client), "dead", policy)
}

// asks counts requests.
func (r *letterRig) asks(key kmsg.Key) *atomic.Int64 {
	var asked atomic.Int64
	r.cluster.ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	return &asked
}

// newHoledRig has a hundred letters in partition 0, of which pieces are left. The last stable offset is stable.
func newHoledRig(t *testing.T, policy string, stable int64, pieces ...piece) (*letterRig, *Letters) {
	r := newLetterRig(t, 1)
	r.policy(policy)
	r.fill(0, 0, 100)
	brokerOfHoles(t, r.cluster, numberedLetter, 100, stable, pieces...)
	return r, r.open()
}

func TestLettersOverACompactedTail(t *testing.T) {
	for name, pieces := range tails {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, l := newHoledRig(t, "compact", 100, pieces...)
			if got, want := r.read(l, l.Spans()), ids(offsetsIn(pieces)...); !slices.Equal(got, want) {
				t.Errorf("%v\nwant %v", got, want)
			}
		})
	}
}

// A redrive goes on in a hole, and somebody looks at a letter that is gone.
func TestSpansOfLettersInAHole(t *testing.T) {
	t.Parallel()
	r, l := newHoledRig(t, "compact,delete", 100, tails["the end of a batch"]...)
	for _, s := range []Span{{Start: 95, End: 100}, {Start: 92, End: 93}} {
		if got := r.read(l, []Span{s}); len(got) > 0 {
			t.Errorf("%v came from %+v", got, s)
		}
	}
}

// A transaction that is open holds up no letters, and no end of them.
func TestLettersOverATailBehindATransaction(t *testing.T) {
	t.Parallel()
	r, l := newHoledRig(t, "compact", 5, tails["nothing from 90 on"]...)
	if got := r.read(l, l.Spans()); !slices.Equal(got, ids(numbers(0, 90)...)) {
		t.Errorf("%v came", got)
	}
}

// The hole is passed although another partition has letters for as long.
func TestLettersOverAHoleBesideOthers(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t, 2)
	r.policy("compact")
	r.fill(0, 0, 100)
	r.fill(1, 0, 3000) // more than a poll takes over
	brokerOfHoles(t, r.cluster, numberedLetter, 100, 100, tails["nothing from 90 on"]...)
	if got, want := r.read(r.open(), []Span{{Partition: 0, Start: 90, End: 100}, {Partition: 1, Start: 0, End: 3000}}), ids(numbers(0, 3000)...); !slices.Equal(got, want) {
		t.Errorf("%d letters came", len(got))
	}
}

// Of a topic that is not compacted, nothing does not mean that there is nothing.
func TestLettersOfATopicThatHasNoHoles(t *testing.T) {
	t.Parallel()
	r := newLetterRig(t, 1)
	r.source.Timeout = 2 * time.Second
	r.fill(0, 0, 100)
	brokerOfHoles(t, r.cluster, numberedLetter, 100, 100, tails["nothing from 90 on"]...)
	l := r.open()
	var got []string
	began := time.Now()
	err := l.Read(t.Context(), l.Spans(), func(l Letter, err error) error { got = append(got, string(l.Raw)); return err })
	if err == nil || !strings.Contains(err.Error(), "partition 0: nothing has come from offset 90 on within 2s") || time.Since(began) < r.source.Timeout {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if !slices.Equal(got, ids(numbers(0, 90)...)) {
		t.Errorf("%v came", got)
	}
}

// Who gets all that there is asks nothing about the topic.
func TestLettersThatComeAskForNoHoles(t *testing.T) {
	r := newLetterRig(t, 3)
	r.policy("compact")
	for p := range int32(3) {
		r.fill(p, 0, 3000)
	}
	configs, starts := r.asks(kmsg.DescribeConfigs), r.asks(kmsg.ListOffsets)
	l := r.open()
	before := starts.Load()
	if got := r.read(l, l.Spans()); len(got) != 9000 {
		t.Errorf("%d letters came", len(got))
	}
	if configs.Load() > 0 || starts.Load() > before {
		t.Errorf("Kafka was asked for the policy %d times, and %d times for offsets", configs.Load(), starts.Load()-before)
	}
}

// Letters of a transaction that was given up, or is open, are read like others: they are nothing to pass over.
func TestLettersInTransactionsAreNoHoles(t *testing.T) {
	r := newLetterRig(t, 1)
	r.policy("compact")
	plain := r.client
	r.client = r.newClient(kgo.TransactionalID("t"))
	begin := func() {
		if err := r.client.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		r.fill(0, 0, 5)
	}
	begin()
	if err := r.client.EndTransaction(t.Context(), kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
	begin()
	l := r.open()
	readers := &holes{client: plain, admin: l.admin, topic: "dead", batches: l.holes.batches, committed: true}
	// 0 to 4 were given up, 5 is the mark of that, 6 to 10 are open.
	for at, want := range map[int64]int64{0: 5, 3: 5, 5: 5, 6: 6, 8: 8} {
		if got := l.holes.behind(t.Context(), &l.id, 0, at, 11); got != at {
			t.Errorf("letters from %d on begin at %d", at, got)
		}
		if got := readers.behind(t.Context(), &l.id, 0, at, 11); got != want {
			t.Errorf("events from %d on begin at %d, want %d", at, got, want)
		}
	}
	if got := r.read(l, l.Spans()); !slices.Equal(got, ids(0, 1, 2, 3, 4, 0, 1, 2, 3, 4)) {
		t.Errorf("%v came", got)
	}
	if err := r.client.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
}

// All partitions get over their holes together, also those of which letters still wait; one that has enough is left alone.
func TestHolesOfAllPartitionsAreSkippedAtOnce(t *testing.T) {
	_, l := newHoledRig(t, "compact", 100, tails["nothing from 90 on"]...)
	for name, c := range map[string]struct {
		next int64
		// waits, paused: of the queue.
		waits, paused bool
		want          int64
	}{
		"nothing waits":     {next: 90, want: 100},
		"a letter waits":    {next: 90, waits: true, want: 100},
		"it has enough":     {next: 90, waits: true, paused: true, want: 90},
		"there is more yet": {next: 80, want: 80},
	} {
		m := newMerge([]Span{{Start: c.next, End: 100}}, queueBytes)
		m.queues[0].paused = c.paused
		if c.waits {
			m.queues[0].records = []*kgo.Record{numberedLetter(0, 89)}
		}
		moved := l.holes.skip(t.Context(), &l.id, m)
		if at := m.queues[0].next; at != c.want || moved != (c.want != c.next) {
			t.Errorf("%s: it goes on from %d, want %d; moved: %v", name, at, c.want, moved)
		}
	}
}
