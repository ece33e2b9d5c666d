package stages

// The attributes of an event in the memory layout that a Kafka client wants for
// headers, so that what decode finds on the wire is handed to Kafka where it is.

// Attribute is one text attribute of an event. Its layout is that of a header in
// Kafka clients: a name and bytes.
type Attribute struct {
	// Name belongs to the Producer: how it stores the attribute. It writes it once, when it first sees the
	// (recycled) event, and Reset leaves it alone.
	Name string
	// Value is a view into the message. nil and empty mean absent.
	Value []byte
}

// Attributes are the CloudEvents attributes of an event. They lie in one
// array's layout and in this order on purpose: the first five are in every
// event, and of the others the likeliest come first, so that for most events the
// attributes that are present have no gap, and a slice over them can be passed
// to Kafka as it is. The Producer owns SpecVersion, and TimeText from when the event
// was handed to it.
type Attributes struct {
	SpecVersion, ID, Source, Type, TimeText            Attribute
	PartitionKey, DataContentType, Subject, DataSchema Attribute
}
