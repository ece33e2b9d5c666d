package stages

// Events that Kafka has, reported together. Whoever takes the report reads nothing
// of the events but the first one's Home: their cache lines stay with the decode
// worker that uses them next.

// AcknowledgedRun is events of one quiet message and one partition that Kafka has.
// Whoever reports it keeps it, and uses it again.
type AcknowledgedRun struct {
	Msg       *Message
	Partition *Partition
	// Events are in the order in which they were handed over.
	Events []*Event
	// Groups are the answers of Events.
	Groups []Group
	// Cost is the sum of their Costs.
	Cost int64
}

// Add takes in an event with its place in the message and its Cost.
func (a *AcknowledgedRun) Add(ev *Event, index int, cost int64) {
	a.Events = append(a.Events, ev)
	a.Cost += cost
	if n := len(a.Groups); n == 0 || !a.Groups[n-1].Add(index) {
		var g Group
		g.Add(index)
		a.Groups = append(a.Groups, g)
	}
}

// Reset makes a empty; it keeps its memory.
func (a *AcknowledgedRun) Reset() {
	a.Msg, a.Partition, a.Cost = nil, nil, 0
	a.Events, a.Groups = a.Events[:0], a.Groups[:0]
}
