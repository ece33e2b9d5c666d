package stages

// What the validate stage needs of schemas (stages/schema has them).

// Schemas holds the data of events against their schemas. Each worker has its
// own, which one goroutine uses at a time.
type Schemas interface {
	// Check holds the open event's data against its schema: it sets Event.Schema (and More), or refuses the event
	// at AtValidate, or does nothing when the event has no schema. It never blocks. wait: the schema is being
	// fetched; Check is to be called again after the function that these Schemas were made with was called.
	Check(ev *Event) (wait bool)
}

// Schema is what an event's data was held against. Shared by events and goroutines, never changed.
type Schema struct {
	Subject string
	Version int
	ID      int
	// Prefix is what Confluent's wire format puts in front of the data (SCHEMA_WIRE_FORMAT=confluent); nil:
	// the data is written as it is.
	Prefix []byte
	// Check says what is wrong with the data of an event, nil when nothing is. Safe for concurrent use.
	Check func(ev *Event) *Detail
}

// Refusal is why a request about schemas was not answered.
type Refusal struct {
	Reason Reason
	// Detail may be nil.
	Detail *Detail
	// Info are further entries of the metadata that goes with the reason.
	Info map[string]string
}

// Error implements error.
func (r *Refusal) Error() string {
	if r.Detail == nil || r.Detail.Message == "" {
		return r.Reason.Text()
	}
	if r.Detail.Field != "" {
		return r.Detail.Field + ": " + r.Detail.Message
	}
	return r.Detail.Message
}
