package stages

// Events that Kafka has, reported together. Unless recent events are kept or ids
// are held, whoever takes the report reads nothing of the events but the first one's
// Home: their cache lines stay with the decode worker that uses them next.

// AcknowledgedRun is events of one quiet message and one partition that Kafka has.
// Whoever reports it keeps it, and uses it again.
type AcknowledgedRun struct {
	Msg       *Message
	Partition *Partition
	// Events are in the order in which they were handed over.
	Events []*Event
	// Offsets are where the Partition has them, -1 when Kafka did not say.
	Offsets []int64
	// Groups are the answers of Events.
	Groups []Group
	// Cost is the sum of their Costs.
	Cost int64
}

// Add takes in an event with its place in the message, its Cost and its offset.
func (a *AcknowledgedRun) Add(ev *Event, index int, cost, offset int64) {
	a.Events, a.Offsets = append(a.Events, ev), append(a.Offsets, offset)
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
	a.Events, a.Offsets, a.Groups = a.Events[:0], a.Offsets[:0], a.Groups[:0]
}
