package kafka

// The headers of a record: for most events a view of the event's own
// attributes, where decode has put them; else a list that is written here.

import (
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// nameAttributes gives the attributes their names as headers, once for each (recycled) event.
func nameAttributes(a *stages.Attributes) {
	a.SpecVersion = stages.Attribute{Name: headerSpecVersion, Value: specVersion}
	a.ID.Name, a.Source.Name, a.Type.Name, a.TimeText.Name = headerID, headerSource, headerType, headerTime
	a.PartitionKey.Name, a.DataContentType.Name = headerPartitionKey, headerContentType
	a.Subject.Name, a.DataSchema.Name = headerSubject, headerDataSchema
}

// Attributes are passed to franz-go as headers without a copy: an array of one
// is an array of the other. These constants do not compile when either type's
// layout changes.
const (
	_ = -(unsafe.Sizeof(stages.Attribute{}) - unsafe.Sizeof(kgo.RecordHeader{}))
	_ = -(unsafe.Sizeof(kgo.RecordHeader{}) - unsafe.Sizeof(stages.Attribute{}))
	_ = -(unsafe.Offsetof(stages.Attribute{}.Value) - unsafe.Offsetof(kgo.RecordHeader{}.Value))
	_ = -(unsafe.Offsetof(kgo.RecordHeader{}.Value) - unsafe.Offsetof(stages.Attribute{}.Value))
	_ = -(unsafe.Offsetof(stages.Attributes{}.DataSchema) - (attributes-1)*unsafe.Sizeof(kgo.RecordHeader{}))
)

const (
	// attributes is how many stages.Attributes has, required how many of them are in every event, and common how
	// many there may be without Event.More.
	attributes = 9
	required   = 5
	common     = 6
)

// views are the event's attributes as headers, absent ones included.
func views(a *stages.Attributes) *[attributes]kgo.RecordHeader {
	return (*[attributes]kgo.RecordHeader)(unsafe.Pointer(a))
}

// headersOf are the headers of the event's record. It writes them into
// spare memory only if there is a gap between the attributes that are present, or
// metadata. Either way they are valid until the event is retired.
func (r *record) headersOf(ev *stages.Event) []kgo.RecordHeader {
	all := views(&ev.Attributes)
	last := common
	if ev.More {
		last = attributes
	}
	n := required
	for n < last && len(all[n].Value) > 0 {
		n++
	}
	gap := len(ev.Metadata) > 0
	for i := n; i < last; i++ {
		gap = gap || len(all[i].Value) > 0
	}
	if !gap {
		return all[:n:n]
	}
	s := r.makeSpare()
	s.headers = append(s.headers[:0], all[:n]...)
	for i := n; i < last; i++ {
		if len(all[i].Value) > 0 {
			s.headers = append(s.headers, all[i])
		}
	}
	for i := range ev.Metadata {
		m := &ev.Metadata[i]
		s.headers = append(s.headers, kgo.RecordHeader{Key: s.headerName(m.Name), Value: m.Value})
	}
	return s.headers
}
