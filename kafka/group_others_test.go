package kafka

// Groups with members that are not as one would like them: of another kind, or with a client that does not read.

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// occupy makes a member of a group that some other program has: its protocol type and its only protocol.
func (r *readRig) occupy(group, protocolType, protocol string) {
	r.t.Helper()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.SessionTimeoutMillis, join.RebalanceTimeoutMillis, join.ProtocolType = group, 30_000, 30_000, protocolType
	one := kmsg.NewJoinGroupRequestProtocol()
	one.Name = protocol
	join.Protocols = append(join.Protocols, one)
	var joined *kmsg.JoinGroupResponse
	for range 2 { // the first answer only gives an id
		var err error
		if joined, err = join.RequestWith(r.t.Context(), r.client); err != nil {
			r.t.Fatal(err)
		}
		join.MemberID = joined.MemberID
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = group, joined.MemberID, joined.Generation
	sync.ProtocolType, sync.Protocol = &protocolType, &protocol
	mine := kmsg.NewSyncGroupRequestGroupAssignment()
	mine.MemberID = joined.MemberID
	sync.GroupAssignment = append(sync.GroupAssignment, mine)
	synced, err := sync.RequestWith(r.t.Context(), r.client)
	if err == nil {
		err = errors.Join(kerr.ErrorForCode(joined.ErrorCode), kerr.ErrorForCode(synced.ErrorCode))
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// had is how many events came.
func (s *subscriber) had() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.places)
}

// A group whose name belongs to another program cannot be joined: the caller hears which group and why, and nobody else
// hears anything.
func TestGroupsOfAnotherKind(t *testing.T) {
	for name, kind := range map[string][2]string{
		"connect": {"connect", "sessioned"}, "another assignor": {"consumer", "our-own-assignor"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReadRig(t, 2, nil)
			r.occupy("test.sub.g", kind[0], kind[1])
			live := r.subscribe(r.readers, stages.Subscription{}, nil)
			live.started(t)
			other := group(stages.Start{})
			other.Group = "h"
			member := r.subscribe(r.readers, other, nil)
			member.started(t)
			s := r.subscribe(r.readers, group(stages.Start{Earliest: true}), nil)
			refused := reasonIs(t, s.end(t), stages.GroupUnusable)
			for _, part := range []string{"test.sub.g", "INCONSISTENT_GROUP_PROTOCOL", "choose another group_id"} {
				if !strings.Contains(refused.Error(), part) {
					t.Errorf("%q does not say %s", refused.Error(), part)
				}
			}
			if strings.Contains(refused.Error(), "partition") {
				t.Errorf("%q blames a partition", refused.Error())
			}
			r.write(0, 0, 10)
			r.write(1, 0, 10)
			live.await(t, 20)
			member.await(t, 20)
			if len(s.places) > 0 || r.readers.slots.inUse() != 1 {
				t.Errorf("%d events were sent, %d readers are in use", len(s.places), r.readers.slots.inUse())
			}
		})
	}
}

// A member whose client takes nothing is blocked in one write until SEND_TIMEOUT cuts it. Until then the group waits with
// handing out partitions anew, and the others go on with theirs; then all that it was not sent is theirs.
func TestGroupsGoOnBesideAClientThatDoesNotRead(t *testing.T) {
	const partitions = 4
	r := newReadRig(t, partitions, nil)
	written := 0
	write := func() {
		for p := range int32(partitions) {
			r.write(p, written, written+1)
		}
		written++
	}
	var deaf atomic.Bool
	blocked, cut := make(chan struct{}), make(chan struct{})
	sub := group(stages.Start{Earliest: true})
	s := &subscriber{done: make(chan struct{}), begun: make(chan struct{}), more: make(chan struct{}, 1)}
	sub.Match = func(*eventv1.Event) (bool, error) { return true, nil }
	sub.Begun = func() error { close(s.begun); return nil }
	sub.Deliver = func(events []*stages.Delivery) error {
		if !deaf.Load() {
			return s.take(events, "")
		}
		close(blocked)
		select {
		case <-cut:
			return refuse(stages.SlowClient, "")
		case <-t.Context().Done(): // the test has failed
			return t.Context().Err()
		}
	}
	go func() {
		defer close(s.done)
		s.err = r.readers.Subscribe(t.Context(), &sub)
	}()
	s.started(t)
	reads := r.subscribe(r.open(nil), group(stages.Start{}), nil)
	reads.started(t)
	for s.had() == 0 || reads.had() == 0 { // until both have partitions
		write()
		awaitUnion(t, partitions*written, s, reads)
	}
	awaitUnion(t, partitions*written, s, reads)
	deaf.Store(true)
	write()
	select {
	case <-blocked:
	case <-time.After(patience):
		t.Fatal("nothing is sent to the member that does not read")
	}
	late := r.subscribe(r.open(nil), group(stages.Start{}), nil)
	if !r.awaitLog("a rebalance waits") {
		t.Fatal("the group does not wait for the member that is blocked")
	}
	had := reads.had()
	for range 10 {
		write()
	}
	reads.await(t, had+10) // of one partition at least
	close(cut)
	_ = reasonIs(t, s.end(t), stages.SlowClient)
	if doubles := awaitUnion(t, partitions*written, s, reads, late); doubles > 0 {
		t.Errorf("%d events came twice", doubles)
	}
}
