package kafka

// The watcher: one goroutine that follows the topics for as long as the
// producer lives. It creates what is missing at start, reads limits, and keeps
// stages.Topic in step with Kafka: partition count, max.message.bytes, and
// whether the topic can be written to at all.
//
// The partition count comes from franz-go itself, because a record for a
// partition that franz-go has not heard of fails. It does not tell the count,
// but its partitioner is called with it: so the watcher now and then produces
// a sounding, a record that the partitioner declines after noting the count.
// A sounding never leaves the process; the first one also makes franz-go load
// the topic before the first event comes.

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// watchEvery is the rhythm while all is well, watchSoon while something is missing.
	watchEvery = 5 * time.Second
	watchSoon  = 250 * time.Millisecond
	// watchLeast bounds how often errors of records can wake the watcher.
	watchLeast = 50 * time.Millisecond
	// configureEvery is how often a topic's configuration is read again.
	configureEvery = time.Minute
	// sayEvery is how often waiting for Kafka is logged.
	sayEvery = 5 * time.Second
)

// wake makes the watcher look now.
func (p *Producer) wake() {
	select {
	case p.kick <- struct{}{}:
	default: // it is awake already
	}
}

// watch is the watcher's goroutine.
func (p *Producer) watch(ctx context.Context) {
	started, said := time.Now(), time.Now()
	answered := false
	for {
		err := p.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && !answered:
			answered = true
			p.parts.Log.Log(LevelInfo, "Kafka answers", "after", time.Since(started).Round(time.Millisecond))
			p.learnVersions(ctx)
		case err != nil && time.Since(said) >= sayEvery:
			said = time.Now()
			p.parts.Log.Log(LevelWarn, "waiting for Kafka", "brokers", p.cfg.Brokers, "error", err)
		}
		wait := watchEvery
		if err != nil || p.Ready() != nil {
			wait = watchSoon
		}
		if !p.rest(ctx, wait) {
			return
		}
	}
}

// rest waits for the next round: at least watchLeast, at most wait. False: the producer ends.
func (p *Producer) rest(ctx context.Context, wait time.Duration) bool {
	least, most := time.NewTimer(watchLeast), time.NewTimer(wait)
	defer least.Stop()
	defer most.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-most.C:
			return true
		case <-p.kick:
			p.adopt()
			select {
			case <-least.C:
				return true
			case <-ctx.Done():
				return false
			}
		}
	}
}

// round asks Kafka about the topics once.
func (p *Producer) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ReadTimeout)
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	for _, t := range p.topics {
		rt := kmsg.NewMetadataRequestTopic()
		rt.Topic = kmsg.StringPtr(t.Name)
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return err
	}
	for i := range resp.Topics {
		rt := &resp.Topics[i]
		for _, t := range p.topics {
			if rt.Topic != nil && *rt.Topic == t.Name {
				p.follow(ctx, t, rt)
			}
		}
	}
	p.adopt()
	return nil
}

// follow acts on what Kafka says about one topic.
func (p *Producer) follow(ctx context.Context, t *topic, rt *kmsg.MetadataResponseTopic) {
	err := kerr.ErrorForCode(rt.ErrorCode)
	switch classes[rt.ErrorCode] {
	case missing:
		if !t.seen && !errors.Is(err, kerr.InvalidTopicException) {
			p.create(ctx, t)
			return
		}
		t.present = false
		p.setRefusal(t, stages.TopicNotFound, "the topic is gone; its events are refused until it exists again", "error", err)
		return
	case unauthorized:
		t.present = false
		p.setRefusal(t, stages.KafkaUnauthorized, "the gateway may not use the topic; its events are refused", "error", err)
		return
	}
	if err != nil {
		return // leaders being elected, and the like: franz-go rides it out
	}
	if changed := t.id != [16]byte{} && t.id != rt.TopicID; changed || t.stale.Load() {
		p.forget(t)
	}
	t.id, t.present, t.seen = rt.TopicID, true, true
	if time.Since(t.configured) >= configureEvery {
		p.configure(ctx, t, rt)
	}
	if len(rt.Partitions) > len(t.Partitions()) && len(t.Partitions()) > 0 {
		p.client.ForceMetadataRefresh() // somebody added partitions; franz-go would look in a minute
	}
	p.sound(t)
}

func (p *Producer) setRefusal(t *topic, reason stages.Reason, why string, keyvals ...any) {
	if t.Refusal() == reason {
		return
	}
	t.SetRefusal(reason)
	p.parts.Log.Log(LevelError, why, append([]any{"topic", t.Name, "reason", reason.String()}, keyvals...)...)
}

// forget makes franz-go drop a topic that was deleted and created again: it
// would fail the topic's records for ever. What it still holds of the topic
// ends as unknown.
func (p *Producer) forget(t *topic) {
	p.setRefusal(t, stages.TopicRecreated, "the topic was deleted and created again: what it held is gone; writing to the new one")
	p.metrics.topicRecreated.Add(1)
	t.known.Store(0)
	t.batchBytes.Store(0)
	t.configured = time.Time{}
	p.client.PurgeTopicsFromProducing(t.Name)
	t.stale.Store(false)
}

// create makes a topic that is missing at start.
func (p *Producer) create(ctx context.Context, t *topic) {
	_, err := kadm.NewClient(p.client).CreateTopic(ctx, p.cfg.NumPartitions, p.cfg.ReplicationFactor, nil, t.Name)
	switch {
	case err == nil:
		p.parts.Log.Log(LevelInfo, "created topic", "topic", t.Name, "partitions", p.cfg.NumPartitions, "replicas", p.cfg.ReplicationFactor)
		p.wake()
	case errors.Is(err, kerr.TopicAlreadyExists):
		p.wake() // another gateway was faster
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
		p.setRefusal(t, stages.KafkaUnauthorized, "the topic does not exist and the gateway may not create it", "error", err)
	default:
		p.setRefusal(t, stages.TopicNotFound, "the topic does not exist and could not be created", "error", err)
	}
}

// configure reads what the topic allows, and warns of what can lose acknowledged events.
func (p *Producer) configure(ctx context.Context, t *topic, rt *kmsg.MetadataResponseTopic) {
	first := t.MaxMessageBytes() == 0
	t.configured = time.Now()
	limit, values := defaultMaxMessageBytes, map[string]string{}
	all, err := kadm.NewClient(p.client).DescribeTopicConfigs(ctx, t.Name)
	var one kadm.ResourceConfig
	if err == nil {
		one, err = all.On(t.Name, nil)
	}
	if err == nil {
		err = one.Err
	}
	if err != nil && !first {
		return // keep what was read before
	}
	for _, c := range one.Configs {
		values[c.Key] = c.MaybeValue()
	}
	if n, convErr := strconv.Atoi(values["max.message.bytes"]); convErr == nil && n > 0 {
		limit = n
	} else if first {
		p.parts.Log.Log(LevelWarn, "max.message.bytes of the topic could not be read; assuming Kafka's default",
			"topic", t.Name, "max.message.bytes", limit, "error", err)
	}
	p.setLimit(t, limit, first)
	if first && !p.cfg.Embedded() {
		p.warn(t, rt, values)
	}
}

// setLimit keeps the smaller of the topic's limit and the bound that franz-go took when it first saw the topic.
func (p *Producer) setLimit(t *topic, limit int, first bool) {
	limit = min(limit, maxBatchBytes)
	if taken := int(t.batchBytes.Load()); taken > 0 && limit != taken {
		if limit > taken {
			limit = taken // records above it would be failed by franz-go itself
		} else if limit < t.MaxMessageBytes() {
			p.parts.Log.Log(LevelWarn, "max.message.bytes of the topic became smaller: full batches may be rejected until the gateway is restarted",
				"topic", t.Name, "from", taken, "to", limit)
		}
	}
	t.SetMaxMessageBytes(limit)
	if first {
		p.parts.Log.Log(LevelInfo, "topic", "topic", t.Name, "max.message.bytes", limit)
	}
}

// minBatchBytes is the least that franz-go takes.
const minBatchBytes = 512

// batchBytes is franz-go's question when it first sees a topic. The watcher has read the limit before that.
func batchBytes(t *topic) int32 {
	limit := defaultMaxMessageBytes
	if t != nil {
		if n := t.MaxMessageBytes(); n > 0 {
			limit = n
		}
		if taken := t.batchBytes.Load(); taken > 0 {
			limit = int(taken)
		}
	}
	n := int32(max(min(limit, maxBatchBytes), minBatchBytes))
	if t != nil {
		t.batchBytes.CompareAndSwap(0, n)
	}
	return n
}

// warn names the settings with which Kafka itself can lose acknowledged events.
func (p *Producer) warn(t *topic, rt *kmsg.MetadataResponseTopic, values map[string]string) {
	say := func(msg string, value any) {
		p.parts.Log.Log(LevelWarn, msg, "topic", t.Name, "value", value)
	}
	replicas := 0
	for i := range rt.Partitions {
		if n := len(rt.Partitions[i].Replicas); i == 0 || n < replicas {
			replicas = n
		}
	}
	if replicas < 3 {
		say("the topic has fewer than 3 replicas: acknowledged events are lost with the brokers that hold them", replicas)
	}
	if n, err := strconv.Atoi(values["min.insync.replicas"]); err == nil && n < 2 {
		say("min.insync.replicas is below 2: one broker alone may acknowledge events, and lose them", n)
	}
	if values["unclean.leader.election.enable"] == "true" {
		say("unclean.leader.election.enable is true: a replica that misses acknowledged events may become leader", true)
	}
}

// sound asks franz-go for its partition count; the answer comes to sounded.
func (p *Producer) sound(t *topic) {
	if t.sounding.CompareAndSwap(false, true) {
		p.client.TryProduce(p.background, &kgo.Record{Topic: t.Name, Context: p.background}, p.promise)
	}
}

// sounded runs in a promise.
func (p *Producer) sounded(kr *kgo.Record) {
	for _, t := range p.topics {
		if t.Name == kr.Topic {
			t.sounding.Store(false)
			if n := int(t.known.Load()); n > 0 && (n != len(t.Partitions()) || t.Refusal() != stages.NoReason) {
				p.wake()
			}
		}
	}
}

// adopt takes over the counts that soundings have brought.
func (p *Producer) adopt() {
	for _, t := range p.topics {
		n, before := int(t.known.Load()), len(t.Partitions())
		if n == 0 || !t.present || t.stale.Load() {
			continue
		}
		if n != before {
			t.grow(n)
			t.SetPartitions(n)
			if before > 0 {
				p.metrics.partitionGrowth.Add(1)
				p.parts.Log.Log(LevelWarn, "the topic's partition count changed: a key may now go to another partition than its earlier events",
					"topic", t.Name, "from", before, "to", n)
			}
		}
		if t.Refusal() != stages.NoReason {
			t.SetRefusal(stages.NoReason)
			p.parts.Log.Log(LevelInfo, "the topic can be written to again", "topic", t.Name)
		}
	}
}

// learnVersions finds out whether produce requests carry topic ids.
func (p *Producer) learnVersions(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.ReadTimeout)
	defer cancel()
	resp, err := p.apiVersions(ctx, p.client)
	if err != nil {
		return
	}
	const withTopicIDs = 13
	for _, k := range resp.ApiKeys {
		if k.ApiKey == produceKey {
			p.topicIDs.Store(k.MaxVersion >= withTopicIDs)
		}
	}
}

func (p *Producer) apiVersions(ctx context.Context, to kmsg.Requestor) (*kmsg.ApiVersionsResponse, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "event-gateway", "1"
	resp, err := req.RequestWith(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("asking a broker for its API versions: %w", err)
	}
	return resp, nil
}
