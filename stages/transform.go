package stages

// The transform stage: settles the event's topic and partition. (The rules
// that filter, enrich and route events run here too, before that.)

// Transform is the stage.
type Transform struct{ topics *Topics }

// NewTransform returns the stage.
func NewTransform(topics *Topics) *Transform { return &Transform{topics: topics} }

// Process implements Stage.
func (t *Transform) Process(burst []*Event) {
	topic := t.topics.Default
	partitions, refusal := topic.Partitions(), topic.Refusal() // once a burst
	for _, ev := range burst {
		if ev.Live() {
			settle(ev, topic, partitions, refusal)
		}
		ev.At = AtTransform
	}
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
