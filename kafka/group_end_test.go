package kafka

// Members, and a source, that leave while their group is about to share out its partitions.

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// rejoining counts the members that ask to be let in, from now on.
func rejoining(cluster *kfake.Cluster) func() int {
	var mu sync.Mutex
	members := map[string]bool{}
	cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if id := request.(*kmsg.JoinGroupRequest).MemberID; id != "" {
			members[id] = true
		}
		return nil, nil, false
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(members)
	}
}

// newest is the place of the last event.
func (s *subscriber) newest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.places) == 0 {
		return ""
	}
	return s.places[len(s.places)-1]
}

// A member that leaves while the group waits for another one, which does not read, leaves in bounded time, and what it
// was sent does not come again.
func TestMembersLeaveWhileTheirGroupWaits(t *testing.T) {
	t.Parallel()
	const more = 100
	r := newReadRig(t, 2, nil)
	r.readers.handOver = time.Hour // the one that does not read holds the group up until it is let go
	var hold atomic.Bool
	blocked, letGo := make(chan struct{}, 1), make(chan struct{})
	release := sync.OnceFunc(func() { close(letGo) })
	slow := r.subscribe(r.readers, group(stages.Start{Earliest: true}), func() {
		if hold.Load() {
			signal(blocked)
			<-letGo
		}
	})
	t.Cleanup(release)
	slow.started(t)
	leaving := r.subscribe(r.open(nil), group(stages.Start{}), nil)
	n, theirs := 0, int32(-1)
	for ; theirs < 0; time.Sleep(50 * time.Millisecond) { // not too many; nothing depends on it
		r.write(0, n, n+1)
		r.write(1, n, n+1)
		n++
		awaitUnion(t, 2*n, slow, leaving)
		// Once each of them has one of the newest two, each has one of the partitions.
		for p := range int32(2) {
			if slow.newest() == fmt.Sprintf("%d/%d", 1-p, n-1) && leaving.newest() == fmt.Sprintf("%d/%d", p, n-1) {
				theirs = p
			}
		}
		if n > 1000 {
			t.Fatal("the second member gets no partition")
		}
	}
	hold.Store(true)
	r.write(1-theirs, n, n+1)
	<-blocked
	joined := rejoining(r.cluster)
	third := r.subscribe(r.open(nil), group(stages.Start{}), nil)
	eventually(t, "the group waits for one member only", func() bool { return joined() == 2 })

	had := leaving.had()
	r.write(theirs, n, n+more)
	leaving.await(t, had+more)
	began := time.Now()
	leaving.cancel()
	_ = leaving.end(t)
	if took := time.Since(began); took > commitPatience+leavePatience {
		t.Errorf("the end took %v", took)
	}
	if at := r.committed()[theirs]; at != int64(n+more) {
		t.Errorf("committed %d, and %d were sent", at, n+more)
	}
	release()
	r.write(theirs, n+more, n+more+1)
	if doubles := awaitUnion(t, 2*n+1+more+1, slow, leaving, third); doubles > 0 {
		t.Errorf("%d events came twice", doubles)
	}
}

// newHog is a member of the source's group that has got a partition, does not read, and holds the group up until its end.
func (b *sourceBroker) newHog() (hog *kgo.Client, partition int32) {
	b.t.Helper()
	alive, kill := context.WithCancel(context.Background())
	hog, err := kgo.NewClient(kgo.WithContext(alive), kgo.SeedBrokers("localhost:9092"), kgo.Dialer(b.network.DialContext), kgo.ConsumerGroup("test"), kgo.ConsumeTopics("in"),
		kgo.Balancers(kgo.CooperativeStickyBalancer()), kgo.BlockRebalanceOnPoll(), kgo.HeartbeatInterval(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		kill() // else it waits for those that have gone without a good-bye
		hog.CloseAllowingRebalance()
	})
	for {
		fetches := hog.PollFetches(b.t.Context())
		if records := fetches.Records(); len(records) > 0 {
			return hog, records[0].Partition
		}
		if b.t.Context().Err() != nil {
			b.t.Fatal("no record came")
		}
		hog.AllowRebalance()
	}
}

// A source that is drained while its group waits for another member, which does not read, has committed what was acknowledged, and
// ends in bounded time.
func TestSourcesLeaveWhileTheirGroupWaits(t *testing.T) {
	t.Parallel()
	b := newSourceBroker(t, 2)
	p := newHeldPipeline()
	s, _ := b.source(p, nil)
	eventually(t, "the source has both partitions", func() bool { return s.assigned.Load() == 2 })
	write := func(partition int32, first, n int) { b.write(partition, first, n, oneKey) }
	stop := make(chan struct{})
	var answering sync.WaitGroup
	answering.Go(func() { // until the hog has its partition
		for {
			select {
			case m := <-p.messages:
				p.answer(m)
			case <-stop:
				return
			}
		}
	})
	write(0, 0, 10)
	write(1, 0, 10)
	eventually(t, "all is committed", func() bool { return b.committed(0) == 10 && b.committed(1) == 10 })
	var fed sync.WaitGroup
	hogged := make(chan struct{})
	fed.Go(func() { // whichever partition it gets
		for n := 10; ; n++ {
			select {
			case <-hogged:
				return
			case <-time.After(50 * time.Millisecond):
				write(0, n, 1)
				write(1, n, 1)
			}
		}
	})
	hog, theirs := b.newHog()
	close(hogged)
	fed.Wait()
	ours := 1 - theirs
	eventually(t, "all of the source's is committed", func() bool {
		end := s.endOf("in", ours)
		return s.assigned.Load() == 1 && end > 0 && b.committed(ours) == end
	})
	close(stop)
	answering.Wait()

	joined := rejoining(b.cluster)
	third, _ := b.source(newHeldPipeline(), nil)
	eventually(t, "the group waits for the hog only", func() bool { return joined() == 2 })
	at := b.committed(ours)
	write(ours, int(at), 2)
	m, _ := p.next(t)
	p.answer(m)
	eventually(t, "the outcomes are known", func() bool { return s.flying.Load() == 0 })
	began := time.Now()
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if took := time.Since(began); took > commitWait+2*leavePatience {
		t.Errorf("the end took %v", took)
	}
	if n := b.committed(ours); n != at+2 {
		t.Errorf("committed %d, and %d were acknowledged", n, at+2)
	}
	began = time.Now()
	third.Close() // it was never let in, and is not drained
	if took := time.Since(began); took > 2*leavePatience {
		t.Errorf("the end of a source that was not let in took %v", took)
	}
	hog.AllowRebalance()
}

// endOf is the high watermark of a partition that the source has, 0 if it has not.
func (s *Source) endOf(topic string, id int32) (end int64) {
	for _, p := range s.find(map[string][]int32{topic: {id}}) {
		p.mu.Lock()
		end = p.end
		p.mu.Unlock()
	}
	return end
}
