package stages

// What the transform stage needs of rules (stages/transform has them).

// Rules is what a worker of the transform stage does to events before they are
// routed. Used by one goroutine at a time.
type Rules interface {
	// Apply runs the rules on an open event (Event.Open), and reports whether it changed it. It may set
	// attributes, Data, Metadata and Topic, Filter the event, Refuse it at AtTransform, and Bury it. What it
	// sets keeps the rules of the API (CheckEvent) and MAX_EVENT_BYTES.
	Apply(ev *Event) (changed bool)
}

// Memory is where rules write what they make of events. Each worker has its own.
type Memory interface {
	// Begin is called before each burst.
	Begin()
	// Take returns n bytes that are the event's until it is retired; nil when the memory for what rules write
	// is taken, of all events in flight together.
	Take(ev *Event, n int) []byte
}

// CheckEvent is the first rule of the API that the event breaks, or nil: what validate checks, for those who
// change events.
func CheckEvent(ev *Event) *Detail {
	if !validText(ev) {
		return &Detail{Field: badText(ev), Message: "is not valid UTF-8"}
	}
	return violation(ev)
}

// Rekey sets the partition key, which decides the partition. The order of the old key's events stays what it was:
// they pass one worker up to here, and those of one new key go to one partition.
func (e *Event) Rekey(key []byte) {
	e.PartitionKey.Value = key
	if len(key) > 0 {
		e.Shard = KeyHash(key)
	}
}
