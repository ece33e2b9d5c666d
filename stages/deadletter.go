package stages

// Dead letters: events that the gateway refuses and keeps in a topic of their
// own. Such an event rides on through the graph, as it was when it came, to that
// topic, and is answered with its refusal only when Kafka has it. If it does not
// get there, it is answered with what stood in its way instead: nobody has been
// told anything before, and the client's resend tries again.

import "time"

// DeadLetter is what is said about a dead event beside its bytes.
type DeadLetter struct {
	// Verdict is the refusal.
	Verdict Verdict
	// Raw is the encoded event as it was received, valid as long as the event's views. It may be no valid event.
	// Of a Record it is the value.
	Raw []byte
	// Record is what the event was, if it came as one: kept with its key and headers.
	Record *Record
	// Topic is what the event was meant for: transform fills in KAFKA_TOPIC where no rule has chosen another one.
	Topic *Topic
	// At is when it was refused.
	At time.Time
}

// DeadLetters says which refusals are kept, and where. The zero value keeps none.
type DeadLetters struct {
	// Topic is KAFKA_DLQ_TOPIC; nil: none are kept.
	Topic *Topic
	// On has the stages of DLQ_ON.
	On [StageIDs]bool
}

// letterStages are the names that DLQ_ON may have.
var letterStages = map[string]StageID{"decode": AtDecode, "validate": AtValidate, "transform": AtTransform}

// NewDeadLetters returns what c and the topic say; topic may be nil.
func NewDeadLetters(c Config, topic *Topic) DeadLetters {
	d := DeadLetters{Topic: topic}
	for _, name := range c.DeadLetterStages {
		d.On[letterStages[name]] = true
	}
	return d
}

// Keeps reports whether refusals of a stage are kept.
func (d *DeadLetters) Keeps(at StageID) bool { return d.Topic != nil && d.On[at] }

// take makes a refused event a dead letter if its stage's are kept, and if sending the event again cannot help.
func (d *DeadLetters) take(ev *Event) {
	v := &ev.Verdict
	if v.Outcome == Refused && d.keeps(ev) && v.Reason.Code() == InvalidArgument && v.Reason != EventTooLarge && v.Retry() == 0 {
		ev.Bury()
	}
}

// keeps is Keeps for a refused event.
func (d *DeadLetters) keeps(ev *Event) bool {
	switch ev.Msg.options.Letters {
	case AllLetters:
		return d.Topic != nil
	case NoLetters:
		return false
	}
	return d.Keeps(ev.Verdict.Stage)
}

// Retry is the advice of the verdict; 0 says that sending the event again cannot help.
func (v *Verdict) Retry() time.Duration {
	if v.RetryAfter != 0 {
		return v.RetryAfter
	}
	return v.Reason.Retry()
}

// Bury makes the refused event a dead letter: it is Live again, on its way to the
// topic of the dead letters. What rules have made of it is undone. Its Size must
// still be that of what was received.
func (e *Event) Bury() {
	letter := &DeadLetter{Verdict: e.Verdict, Raw: e.raw(), Topic: e.Topic, At: time.Now().UTC()}
	msg, index, at, shard, rawAt, id := e.Msg, e.Index, e.At, e.Shard, e.rawAt, e.ID.Value
	e.More = true // so that Reset clears everything
	e.Reset()
	e.Msg, e.Index, e.At, e.Shard, e.rawAt = msg, index, at, shard, rawAt
	if e.Size = len(letter.Raw); msg.Kind == Records {
		letter.Record = &msg.records[index]
		e.readRecord(letter.Record)
		e.Size = letter.Record.bytes()
	} else {
		e.scanEvent(letter.Raw) // as far as it can be read
	}
	if len(e.ID.Value) == 0 {
		e.ID.Value = id
	}
	if len(e.PartitionKey.Value) > 0 {
		e.Shard = KeyHash(e.PartitionKey.Value)
	}
	e.Dead, e.More, e.Letter = true, true, letter
}

// raw are the event's bytes as they were received.
func (e *Event) raw() []byte {
	frame := e.Msg.Frame
	switch e.Msg.Kind {
	case Single:
		return requestEvent(frame)
	case Batch:
		return frame[e.rawAt : int(e.rawAt)+e.Size]
	case Records:
		return e.Msg.records[e.Index].Value
	}
	return frame
}

// requestEvent is the event of an IngestEventRequest: the one occurrence of its field, or all of them, one
// behind the other, which is how protobuf merges. As far as the frame can be read.
func requestEvent(frame []byte) []byte {
	var all []byte
	for i := 0; ; {
		b, end, ok := nextEvent(frame, i)
		switch {
		case !ok && all == nil:
			return frame
		case !ok || end == 0:
			return all
		case all == nil:
			all = b[:len(b):len(b)] // so that append copies
		default:
			all = append(all, b...)
		}
		i = end
	}
}
