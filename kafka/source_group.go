package kafka

// The source as a member of its consumer group: partitions come and go, and
// offsets are committed. franz-go calls the functions here one at a time, and
// never between a poll and the hand-over of its records.

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// revokeWait is how long the outcomes of partitions are awaited that go to another member. The whole group waits
	// for it, so it is well below the rebalance timeout of a minute.
	revokeWait = 5 * time.Second
	// commitWait bounds the commit after it.
	commitWait = 5 * time.Second
)

// onAssigned begins partitions; their records come after it.
func (s *Source) onAssigned(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
	<-s.begun
	s.metrics.rebalances.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, ids := range assigned {
		if s.clients[topic] == nil {
			continue
		}
		if s.partitions[topic] == nil {
			s.partitions[topic] = map[int32]*sourcePartition{}
		}
		for _, id := range ids {
			if s.partitions[topic][id] != nil {
				continue
			}
			p := s.newPartition(topic, id)
			s.partitions[topic][id] = p
			s.assigned.Add(1)
			s.feeders.Go(p.feed)
		}
		s.client.ResumeFetchPartitions(map[string][]int32{topic: ids}) // an earlier assignment may have been paused
	}
	if len(assigned) > 0 {
		s.parts.Log.Log(LevelInfo, "source partitions assigned", "partitions", assigned)
	}
}

// onRevoked waits for the outcomes of partitions that another member gets, and commits how far they have come. What
// has no outcome then is read again by that member.
func (s *Source) onRevoked(ctx context.Context, client *kgo.Client, revoked map[string][]int32) {
	if len(revoked) == 0 {
		return
	}
	going := s.find(revoked)
	for _, p := range going {
		p.cancel()
	}
	wait, cancel := context.WithTimeout(ctx, revokeWait)
	defer cancel()
	unsettled := 0
	for _, p := range going {
		if !p.awaitQuiet(wait) {
			unsettled++
		}
	}
	commit, cancelCommit := context.WithTimeout(ctx, commitWait)
	defer cancelCommit()
	if err := client.CommitMarkedOffsets(commit); err != nil {
		s.metrics.commitErrors.Add(1)
		s.parts.Log.Log(LevelWarn, "offsets of revoked source partitions could not be committed: their newest records are read twice", "error", err)
	}
	s.remove(revoked)
	s.parts.Log.Log(LevelInfo, "source partitions revoked", "partitions", revoked, "with_records_in_flight", unsettled)
}

// onLost drops partitions that have another owner already.
func (s *Source) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	if len(lost) == 0 {
		return
	}
	s.metrics.lost.Add(1)
	s.remove(lost)
	s.parts.Log.Log(LevelWarn, "source partitions lost: the group has given them to others; their newest records are read twice", "partitions", lost)
}

// find are the partitions of ours among some.
func (s *Source) find(some map[string][]int32) (found []*sourcePartition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic, ids := range some {
		for _, id := range ids {
			if p := s.partitions[topic][id]; p != nil {
				found = append(found, p)
			}
		}
	}
	return found
}

// remove takes partitions out. Those with messages in flight stay known until they have landed, for their deadlines.
func (s *Source) remove(some map[string][]int32) {
	for _, p := range s.find(some) {
		p.leave()
		s.mu.Lock()
		if s.partitions[p.topic][p.id] == p { // the watcher and franz-go may both have found it
			delete(s.partitions[p.topic], p.id)
			s.assigned.Add(-1)
			s.left = append(s.left, p)
		}
		s.mu.Unlock()
	}
	signal(s.kick)
}

// orphans are the partitions that were removed and still have messages in flight. Called with mu held.
func (s *Source) orphans() []*sourcePartition {
	kept := s.left[:0]
	for _, p := range s.left {
		p.mu.Lock()
		if len(p.flights) > 0 || p.sending {
			kept = append(kept, p)
		}
		p.mu.Unlock()
	}
	clear(s.left[len(kept):])
	s.left = kept
	return append([]*sourcePartition(nil), kept...)
}

// mark lets an offset be committed. Called with the partition's mu held, while it is ours.
func (s *Source) mark(topic string, id int32, offset int64, epoch int32) {
	s.client.MarkCommitOffsets(map[string]map[int32]kgo.EpochOffset{topic: {id: {Epoch: epoch, Offset: offset}}})
}

// committed hears of every commit.
func (s *Source) committed(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
	if err == nil {
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				if err == nil {
					err = kerr.ErrorForCode(p.ErrorCode)
				}
			}
		}
	}
	if err != nil {
		s.metrics.commitErrors.Add(1)
		s.troubled.say("commit", "source offsets could not be committed", "error", err)
		return
	}
	s.metrics.commits.Add(1)
}
