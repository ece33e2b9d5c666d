package kafka

// Members that leave while their group is about to share out its partitions.

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// rejoining counts the members that ask to be let in, from now on.
func (r *readRig) rejoining() func() int {
	var mu sync.Mutex
	members := map[string]bool{}
	r.cluster.ControlKey(int16(kmsg.JoinGroup), func(request kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
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
	n := 0
	for ; leaving.had() == 0; n++ { // then each of them has one of the partitions
		r.write(0, n, n+1)
		r.write(1, n, n+1)
		time.Sleep(50 * time.Millisecond) // not too many; nothing depends on it
		if n > 1000 {
			t.Fatal("the second member gets no partition")
		}
	}
	awaitUnion(t, 2*n, slow, leaving)
	leaving.mu.Lock()
	theirs := int32(leaving.places[0][0] - '0')
	leaving.mu.Unlock()
	hold.Store(true)
	r.write(1-theirs, n, n+1)
	<-blocked
	joined := r.rejoining()
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
