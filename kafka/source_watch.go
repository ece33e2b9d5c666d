package kafka

// The watcher of the source: how far the partitions are behind, also those that
// are not fetched at the moment, and topics that are missing, deleted, or
// deleted and created again. It only looks now and then.

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	lookEvery   = 5 * time.Second
	lookTimeout = 5 * time.Second
)

// topicWatch is what the watcher knows of the topics; its goroutine's.
type topicWatch struct {
	missing map[string]bool
	// strange is since when brokers do not know the id by which a topic is fetched.
	strange map[string]time.Time
}

// watch is the watcher's goroutine.
func (s *Source) watch(ctx context.Context) {
	s.topics = topicWatch{missing: map[string]bool{}, strange: map[string]time.Time{}}
	admin := kadm.NewClient(s.client)
	admin.SetTimeoutMillis(int32(lookTimeout.Milliseconds()))
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		s.lookAround(ctx, admin)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookAround asks Kafka once.
func (s *Source) lookAround(ctx context.Context, admin *kadm.Client) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	details, err := admin.ListTopics(ctx, s.cfg.Topics...)
	if err != nil {
		return // franz-go says that it does not reach Kafka
	}
	for _, topic := range s.cfg.Topics {
		s.lookAt(topic, details[topic])
	}
	ends, err := admin.ListCommittedOffsets(ctx, s.cfg.Topics...)
	if err != nil {
		return
	}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			return
		}
		for _, p := range s.find(map[string][]int32{o.Topic: {o.Partition}}) {
			p.mu.Lock()
			p.end = max(p.end, o.Offset)
			p.mu.Unlock()
		}
	})
}

// lookAt notes what there is to know of a topic.
func (s *Source) lookAt(name string, d kadm.TopicDetail) {
	w := &s.topics
	if d.Err != nil {
		if errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
			w.missing[name] = true
			s.troubled.say("missing "+name, "a source topic does not exist; waiting for it", "topic", name)
		} else {
			s.troubled.say("unreadable "+name, "a source topic cannot be read", "topic", name, "error", d.Err)
		}
		return
	}
	if d.Topic == "" {
		return
	}
	if w.missing[name] {
		delete(w.missing, name)
		s.client.ForceMetadataRefresh()
		s.parts.Log.Log(LevelInfo, "a source topic is there now", "topic", name)
	}
	was, known := s.ids.Swap(name, d.ID)
	before, _ := was.(kadm.TopicID)
	if s.isStrange(name, known) || known && before != d.ID && before != (kadm.TopicID{}) {
		delete(w.strange, name)
		s.recreated(name)
	}
}

// strangeFor is how long a broker may not know a topic's id before it is another topic: brokers that have just started
// learn of topics a moment later.
const strangeFor = 2 * lookEvery

// isStrange reports whether the topic must be another one by now. One that is seen for the first time was another one.
func (s *Source) isStrange(name string, known bool) bool {
	w := &s.topics
	if _, told := s.strangers.LoadAndDelete(name); !told {
		delete(w.strange, name)
		return false
	}
	since, before := w.strange[name]
	if !before {
		w.strange[name] = time.Now()
		return !known
	}
	return time.Since(since) > strangeFor
}

// recreated makes the source begin anew with a topic that was deleted and created again: franz-go would ask for the old
// one for ever. Offsets of the old one are not committed any more.
func (s *Source) recreated(name string) {
	s.parts.Log.Log(LevelWarn, "a source topic was deleted and created again: what had not been read of the old one is gone; reading the new one from its start", "topic", name)
	s.mu.Lock()
	ids := make([]int32, 0, len(s.partitions[name]))
	for id := range s.partitions[name] {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	s.remove(map[string][]int32{name: ids})
	s.anew.Store(name, time.Now())
	s.client.PurgeTopicsFromConsuming(name)
	s.client.AddConsumeTopics(name)
}

// anewFor is how long partitions of a topic that was made again begin at its start.
const anewFor = time.Minute

// startOffsets changes the offsets that the group has committed, if they are of a topic that was deleted and made again.
// Kafka forgets those with the topic, but a commit that was under way may have come after that: up to version 9 of the
// request, only the name says which topic it is about.
func (s *Source) startOffsets(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, partitions := range offsets {
		if at, some := s.anew.Load(topic); some && time.Since(at.(time.Time)) < anewFor {
			for id := range partitions {
				partitions[id] = kgo.NewOffset().AtStart()
			}
		}
		s.expect(topic, partitions)
	}
	return offsets, nil
}

// expect notes where partitions begin, to notice what was deleted before it was read.
func (s *Source) expect(topic string, partitions map[int32]kgo.Offset) {
	for id, o := range partitions {
		for _, p := range s.find(map[string][]int32{topic: {id}}) {
			p.mu.Lock()
			p.expected = o.EpochOffset().Offset // below 0: the group has committed nothing
			p.mu.Unlock()
		}
	}
}

// fetchFailed hears of what could not be fetched.
func (s *Source) fetchFailed(topic string, partition int32, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	s.metrics.fetchErrors.Add(1)
	var loss *kgo.ErrDataLoss
	if errors.As(err, &loss) {
		s.metrics.dataLoss.Add(1)
		s.parts.Log.Log(LevelError, "records of a source partition are gone before they were read (retention, or data loss in Kafka); going on at what is left",
			"topic", topic, "partition", partition, "error", err)
		return
	}
	if errors.Is(err, kerr.UnknownTopicID) {
		s.strangers.Store(topic, true)
	}
	if kerr.IsRetriable(err) && !errors.Is(err, kerr.UnknownTopicOrPartition) && !errors.Is(err, kerr.UnknownTopicID) {
		return // leaders move; franz-go rides it out
	}
	if topic == "" {
		s.troubled.say("group"+errorText(err), "the source's consumer group cannot be used; trying again", "group", s.kafka.GroupID, "error", err)
		return
	}
	s.troubled.say("fetch "+topic+errorText(err), "a source topic cannot be fetched; trying again", "topic", topic, "partition", partition, "error", err)
}

// errorText groups lines by Kafka's name of the error.
func errorText(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return " " + known.Message
	}
	return ""
}
