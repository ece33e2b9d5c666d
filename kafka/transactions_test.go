package kafka

// Events behind a transaction that another producer has open: Kafka has them, and readers get them when it ends.

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// openTransaction writes event number i of partition 0 at a time, in a transaction that end ends.
func (r *readRig) openTransaction(i int, at time.Time) (end func(kgo.TransactionEndTry)) {
	r.t.Helper()
	writer, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.DefaultProduceTopic("events"),
		kgo.TransactionalID("writer"), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableClientMetrics())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(writer.Close)
	if err := writer.BeginTransaction(); err != nil {
		r.t.Fatal(err)
	}
	one := eventRecord(0, i)
	one.Timestamp = at
	if err := writer.ProduceSync(r.t.Context(), one).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
	return func(how kgo.TransactionEndTry) {
		r.t.Helper()
		if err := writer.EndTransaction(r.t.Context(), how); err != nil {
			r.t.Fatal(err)
		}
	}
}

// fetched is closed when somebody fetches: a replay knows by then where it ends.
func (r *readRig) fetched() <-chan struct{} {
	asked := make(chan struct{})
	var once sync.Once
	r.cluster.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		once.Do(func() { close(asked) })
		return nil, nil, false
	})
	return asked
}

// A replay waits for a transaction that is open when it begins, and has all that is behind it.
func TestReplayBesideATransaction(t *testing.T) {
	for name, how := range map[string]kgo.TransactionEndTry{"committed": kgo.TryCommit, "given up": kgo.TryAbort} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReadRig(t, 1, nil)
			r.writeAt(0, 5, second)
			end := r.openTransaction(5, second(5))
			r.writeAt(0, 10, func(i int) time.Time { return second(i) })
			asked := r.fetched()
			var got replayed
			done := make(chan error, 1)
			go func() { done <- r.readers.Replay(t.Context(), got.ask(second(0), second(20))) }()
			select {
			case <-asked:
			case err := <-done:
				t.Fatalf("the replay ended beside the transaction: %v, %+v", err, got.last())
			}
			end(how)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			want := "0/0 0/1 0/2 0/3 0/4 0/5 0/0 0/1 0/2 0/3 0/4 0/5 0/6 0/7 0/8 0/9"
			if how == kgo.TryAbort {
				want = strings.Replace(want, "0/5 ", "", 1)
			}
			if places := strings.Join(got.places, " "); places != want {
				t.Errorf("%s\nwant %s", places, want)
			}
			if at := got.last(); !at.Done || !at.Position.Equal(second(20)) {
				t.Errorf("the end is %+v", at)
			}
		})
	}
}

// A transaction that does not end ends the replay, which says where it is, and has not passed what it has not read.
func TestReplayBesideATransactionThatDoesNotEnd(t *testing.T) {
	r := newReadRig(t, 2, func(c *Config, _ *ReadingConfig) { c.ReadTimeout = time.Second })
	r.writeAt(0, 5, second)
	r.writeAt(1, 20, second)
	r.openTransaction(5, second(5))
	r.writeAt(0, 10, func(i int) time.Time { return second(6 + i) })
	var got replayed
	refused := reasonIs(t, r.readers.Replay(t.Context(), got.ask(second(0), second(30))), stages.KafkaUnavailable)
	if !strings.Contains(refused.Error(), "transaction") || !strings.Contains(refused.Error(), "partition 0, offset 5 ") {
		t.Errorf("%v does not say what holds the replay up", refused)
	}
	position, err := time.Parse(time.RFC3339Nano, refused.Info["position"])
	if err != nil || position.After(second(4)) || got.last().Position.After(second(4)) || got.last().Done {
		t.Errorf("position %q, the progress is %+v, and what came last is of %v", refused.Info["position"], got.last(), second(4))
	}
	// All that it has passed came.
	var later replayed
	_ = reasonIs(t, r.readers.Replay(t.Context(), later.ask(second(6), second(30))), stages.KafkaUnavailable)
	if len(later.places) > 0 || later.last().Position.After(second(6)) {
		t.Errorf("%v came from behind the transaction, and the progress is %+v", later.places, later.last())
	}
	// What is before the transaction does not wait for it: DELIVERY_TIMEOUT further is as far as a replay reads.
	var before replayed
	if err := r.readers.Replay(t.Context(), before.ask(second(0), second(4))); err != nil {
		t.Error(err)
	}
	mustSee(t, "before the transaction", before.places, []int{0, 0}, []int{4, 4}, all)
}

// A start behind an open transaction is where it was asked for, and so is the place to resume from.
func TestStartsBehindATransaction(t *testing.T) {
	r := newReadRig(t, 1, nil)
	end := r.openTransaction(1000, second(0))
	r.writeAt(0, 10, second)
	since := stages.Start{Time: second(5)}
	ps, id, err := r.readers.begin(t.Context(), since)
	if err != nil || ps[0] != 6 {
		t.Fatalf("it begins at %v, %v", ps, err)
	}
	s := r.subscribe(r.readers, stages.Subscription{Start: since}, nil)
	cursor := stages.Start{Cursor: cursorOf(id, ps)}
	resumed := r.subscribe(r.readers, stages.Subscription{Start: cursor}, nil)
	member := r.subscribe(r.readers, group(since), nil)
	for _, one := range []*subscriber{s, resumed, member} {
		one.started(t)
	}
	end(kgo.TryCommit)
	for _, one := range []*subscriber{s, resumed, member} {
		one.await(t, 5)
	}
	r.writeAt(0, 1, func(int) time.Time { return second(20) })
	for who, one := range map[string]*subscriber{"since": s, "by cursor": resumed, "in a group": member} {
		one.await(t, 6)
		if places := strings.Join(one.places, " "); places != "0/5 0/6 0/7 0/8 0/9 0/0" {
			t.Errorf("%s: %s", who, places)
		}
	}
}

// A group whose place in one partition is gone keeps the one that it has behind an open transaction in another.
func TestGroupsKeepTheirPlaceBehindATransaction(t *testing.T) {
	r := newReadRig(t, 2, nil)
	end := r.openTransaction(1000, second(0))
	r.write(0, 0, 10)
	r.write(1, 0, 10)
	r.deleteBefore(1, 5)
	r.place(map[int32]int64{0: 8, 1: 2})
	s := r.subscribe(r.readers, group(stages.Start{}), nil)
	_ = reasonIs(t, s.end(t), stages.EventsExpired)
	if at := r.committed(); at[0] != 8 || at[1] != 5 {
		t.Errorf("the group was moved to %v", at)
	}
	end(kgo.TryCommit)
}
