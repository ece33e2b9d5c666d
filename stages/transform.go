package stages

// The transform stage: rules shape the event and may choose its topic; then its
// partition is settled, and it is held against what its topic takes.

import "fmt"

// TransformParts are what the stage works with. The zero value does nothing but settle.
type TransformParts struct {
	// Rules may be nil.
	Rules   Rules
	Letters DeadLetters
	// RecordSize bounds the records of the events that pass rules or get a Prefix; nil: they are not bounded.
	RecordSize RecordSizer
	// Memory is needed with Rules and with Schemas that have a Prefix; else nil.
	Memory Memory
}

// Transform is the stage.
type Transform struct {
	topics *Topics
	parts  TransformParts
}

// NewTransform returns the stage.
func NewTransform(topics *Topics, parts TransformParts) *Transform {
	return &Transform{topics: topics, parts: parts}
}

// Process implements Stage.
func (t *Transform) Process(burst []*Event) {
	topic := t.topics.Default
	partitions, refusal := topic.Partitions(), topic.Refusal() // once a burst
	if t.parts.Memory != nil {
		t.parts.Memory.Begin()
	}
	for _, ev := range burst {
		if t.parts.Memory != nil && ev.Open() {
			t.shape(ev)
		}
		switch {
		case !ev.Live():
		case ev.Dead:
			t.lay(ev)
		case ev.Topic != nil && ev.Topic != topic:
			settle(ev, ev.Topic, ev.Topic.Partitions(), ev.Topic.Refusal())
		default:
			settle(ev, topic, partitions, refusal)
		}
		ev.At = AtTransform
	}
}

// shape runs the rules, puts the wire format's prefix in front of the data, and sees to it that the result fits.
func (t *Transform) shape(ev *Event) {
	before := contentSize(ev)
	changed := t.parts.Rules != nil && t.parts.Rules.Apply(ev)
	if !ev.Open() {
		return
	}
	if to := ev.Msg.options.Topic; to != nil { // whatever rules say
		ev.Topic = to
	}
	if s := ev.schema(); s != nil && s.Prefix != nil {
		if !t.frame(ev, s, changed) {
			return
		}
		changed = true
	}
	size := ev.Size
	if changed {
		size += contentSize(ev) - before
	}
	if d := t.tooLarge(ev, size); d != nil {
		ev.Refuse(AtTransform, EventTooLarge, d)
		return
	}
	ev.Size = size
}

// schema is what the event was held against, nil when there was nothing.
func (e *Event) schema() *Schema {
	if !e.More { // the fourth cache line of the attributes stays where it is
		return nil
	}
	return e.Schema
}

// frame writes the data anew with its prefix. False: the event was refused. Data that rules have made is held
// against the schema again: the record must not claim a schema that its data does not have.
func (t *Transform) frame(ev *Event, s *Schema, changed bool) bool {
	if changed {
		if d := s.Check(ev); d != nil {
			ev.Refuse(AtTransform, SchemaViolation, d)
			t.parts.Letters.take(ev)
			return false
		}
	}
	framed := t.parts.Memory.Take(ev, len(s.Prefix)+len(ev.Data))
	if framed == nil {
		ev.Refuse(AtTransform, Overloaded, &Detail{Message: "the memory for what rules write is taken (MAX_INFLIGHT_BYTES)"})
		return false
	}
	copy(framed[copy(framed, s.Prefix):], ev.Data)
	ev.Data = framed
	return true
}

// contentSize is the bytes of everything that rules may change.
func contentSize(ev *Event) int {
	n := len(ev.Data) + len(ev.Type.Value) + len(ev.Source.Value) + len(ev.PartitionKey.Value)
	if ev.More {
		n += len(ev.Subject.Value) + len(ev.DataContentType.Value) + len(ev.DataSchema.Value)
	}
	for i := range ev.Metadata {
		n += len(ev.Metadata[i].Name) + len(ev.Metadata[i].Value)
	}
	return n
}

// tooLarge says why the record of the event, now of size bytes, does not fit its topic; nil when it does.
func (t *Transform) tooLarge(ev *Event, size int) *Detail {
	topic := ev.Topic
	if topic == nil {
		topic = t.topics.Default
	}
	limit := topic.MaxMessageBytes()
	if t.parts.RecordSize == nil || limit == 0 || RecordBound(size) <= limit {
		return nil
	}
	if size := t.parts.RecordSize(ev); size > limit {
		return &Detail{Message: fmt.Sprintf("after the rules the event makes a record batch of up to %d bytes; the topic %s takes %d (max.message.bytes)",
			size, topic.Name, limit)}
	}
	return nil
}

// lay settles a dead letter. One that its topic cannot take is refused as it would have been without one.
func (t *Transform) lay(ev *Event) {
	if ev.Letter.Topic == nil { // no rule has chosen another one
		ev.Letter.Topic = t.topics.Default
	}
	topic := t.parts.Letters.Topic
	if limit := topic.MaxMessageBytes(); limit > 0 && t.parts.RecordSize != nil && t.parts.RecordSize(ev) > limit {
		letter := ev.Letter
		d := Detail{}
		if letter.Verdict.Detail != nil {
			d = *letter.Verdict.Detail
		}
		if d.Message == "" {
			d.Message = letter.Verdict.Reason.Text()
		}
		d.Message += fmt.Sprintf("; the event is too large to be kept in the dead-letter topic %s", topic.Name)
		ev.Verdict, ev.Dead = letter.Verdict, false
		ev.Verdict.Detail = &d
		return
	}
	settle(ev, topic, topic.Partitions(), topic.Refusal())
}

// settle picks the partition as Kafka's default partitioner does for a key.
// The count is that of the producer's last metadata, so it is never ahead of
// what the producer knows.
func settle(ev *Event, topic *Topic, partitions []*Partition, refusal Reason) {
	switch {
	case refusal != NoReason:
		ev.Refuse(AtTransform, refusal, &Detail{Message: "topic " + topic.Name})
	case len(partitions) == 0:
		ev.Refuse(AtTransform, KafkaUnavailable, nil)
	default:
		ev.Topic = topic
		ev.Partition = partitions[ev.Shard%uint32(len(partitions))]
	}
}

// Route is what fixes the batch and produce worker of an event: the same for
// all events of a topic-partition. Events that were refused before they had a
// partition go by their shard.
func (e *Event) Route() uint32 {
	if e.Partition == nil {
		return e.Shard
	}
	return e.Partition.Route()
}

// Route spreads the partitions of several topics over the workers: partition 0
// of each topic would otherwise meet on worker 0.
func (p *Partition) Route() uint32 { return uint32(p.ID) + uint32(p.Topic.Index)*7919 }
