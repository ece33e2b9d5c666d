package transport

// Answers in the protobuf wire format, written by hand: one per event at full
// load, so no Go structs are built and nothing is allocated for events that
// were acknowledged. Sizes come first, then bytes, because nested messages
// carry their length in front.

import (
	"encoding/hex"
	"math/bits"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/event-gateway/event-gateway/stages"
)

// Field numbers of proto/gateway/v1/gateway.proto; a property test holds the encoding against the generated types.
const (
	// IngestEventResponse.
	fieldEventID    = 1
	fieldSuccess    = 2
	fieldMessage    = 3
	fieldOutcome    = 4
	fieldCode       = 5
	fieldReason     = 6
	fieldStage      = 7
	fieldRetryDelay = 8
	fieldTopic      = 9
	fieldPartition  = 10
	fieldOffset     = 11
	fieldDead       = 12
	// IngestEventBatchResponse.
	fieldSucceeded   = 1
	fieldFailures    = 2
	fieldAssignedIDs = 3
	fieldFiltered    = 4
	fieldDuplicates  = 5
	fieldResults     = 6
	// Failure and AssignedId.
	fieldIndex  = 1
	fieldResult = 2
	fieldID     = 2
	// google.protobuf.Duration.
	fieldSeconds = 1
	fieldNanos   = 2
)

// uuidLength is that of a UUID in text.
const uuidLength = 36

// encodeSingle encodes the IngestEventResponse of m's first event into a buffer of the pool.
func encodeSingle(m *stages.Message) *[]byte {
	b := buffers.Get(sizeResult(m, 0))
	*b = appendResult((*b)[:0], m, 0)
	return b
}

// encodeBatch encodes the IngestEventBatchResponse of m into a buffer of the pool.
func encodeBatch(m *stages.Message) *[]byte {
	t := tallyBatch(m)
	b := buffers.Get(t.size)
	*b = t.append((*b)[:0], m)
	return b
}

// succeeded reports whether an outcome is a success for the client.
func succeeded(o stages.Outcome) bool {
	return o == stages.Acknowledged || o == stages.Filtered || o == stages.Duplicate
}

// positioned reports whether an outcome comes with a partition and an offset.
func positioned(o stages.Outcome) bool { return o == stages.Acknowledged || o == stages.Duplicate }

// appendEventID appends the id of event i as it is answered: the client's (unless it is too long to be a good
// one, or no text), or the assigned UUID in text.
func appendEventID(b []byte, m *stages.Message, i int) []byte {
	id, assigned := m.EventID(i)
	if assigned {
		return appendUUID(b, &m.Results[i].ID)
	}
	if !echoes(id) {
		return b
	}
	return append(b, id...)
}

func hasAssignedID(m *stages.Message, i int) bool {
	_, assigned := m.EventID(i)
	return assigned
}

// echoes reports whether a client's id can be sent back.
func echoes(id []byte) bool { return len(id) <= maxEcho && utf8.Valid(id) }

func eventIDSize(m *stages.Message, i int) int {
	id, assigned := m.EventID(i)
	switch {
	case assigned:
		return uuidLength
	case !echoes(id):
		return 0
	}
	return len(id)
}

func appendUUID(b []byte, id *[16]byte) []byte {
	b = append(hex.AppendEncode(b, id[0:4]), '-')
	b = append(hex.AppendEncode(b, id[4:6]), '-')
	b = append(hex.AppendEncode(b, id[6:8]), '-')
	b = append(hex.AppendEncode(b, id[8:10]), '-')
	return hex.AppendEncode(b, id[10:16])
}

// sizeResult is the length of the IngestEventResponse of event i.
func sizeResult(m *stages.Message, i int) int {
	r := &m.Results[i]
	n := sizeText(fieldEventID, eventIDSize(m, i))
	n += sizeVarint(fieldOutcome, uint64(r.Outcome))
	if r.Topic != nil {
		n += sizeText(fieldTopic, len(r.Topic.Name))
	}
	if positioned(r.Outcome) {
		n += sizeVarint(fieldPartition, uint64(int64(r.Partition)))
		n += sizeVarint(fieldOffset, uint64(r.Offset))
	}
	if succeeded(r.Outcome) {
		return n + sizeVarint(fieldSuccess, 1)
	}
	n += sizeText(fieldMessage, len(messageOf(r)))
	n += sizeVarint(fieldCode, uint64(r.Reason.Code()))
	n += sizeText(fieldReason, len(r.Reason.String()))
	n += sizeText(fieldStage, len(r.Stage.String()))
	if r.RetryAfterMillis > 0 {
		n += sizeText(fieldRetryDelay, sizeDuration(r.RetryAfterMillis))
	}
	if r.DeadLettered {
		n += sizeVarint(fieldDead, 1)
	}
	return n
}

// appendResult appends the IngestEventResponse of event i, fields in rising order.
func appendResult(b []byte, m *stages.Message, i int) []byte {
	r := &m.Results[i]
	if n := eventIDSize(m, i); n > 0 {
		b = appendLength(b, fieldEventID, n)
		b = appendEventID(b, m, i)
	}
	success := succeeded(r.Outcome)
	if success {
		b = appendVarint(b, fieldSuccess, 1)
		b = appendVarint(b, fieldOutcome, uint64(r.Outcome))
	} else {
		b = appendText(b, fieldMessage, messageOf(r))
		b = appendVarint(b, fieldOutcome, uint64(r.Outcome))
		b = appendVarint(b, fieldCode, uint64(r.Reason.Code()))
		b = appendText(b, fieldReason, r.Reason.String())
		b = appendText(b, fieldStage, r.Stage.String())
		if r.RetryAfterMillis > 0 {
			b = appendLength(b, fieldRetryDelay, sizeDuration(r.RetryAfterMillis))
			b = appendDuration(b, r.RetryAfterMillis)
		}
	}
	if r.Topic != nil {
		b = appendText(b, fieldTopic, r.Topic.Name)
	}
	if positioned(r.Outcome) {
		b = appendVarint(b, fieldPartition, uint64(int64(r.Partition)))
		b = appendVarint(b, fieldOffset, uint64(r.Offset))
	}
	if r.DeadLettered {
		b = appendVarint(b, fieldDead, 1)
	}
	return b
}

// messageOf is the error_message: the field at fault in front, when there is one, and all that is wrong with data,
// since this answer has no BadRequest.
func messageOf(r *stages.Result) string {
	message := withField(detailOf(r.Reason, r.Detail))
	if r.Detail == nil || len(r.Detail.Violations) < 2 {
		return message
	}
	for _, v := range shownViolations(r.Detail.Violations)[1:] {
		message += "; " + withField(validText(v.Field), validText(v.Message))
	}
	return message
}

// batchTally is what the first pass over a batch's results finds out.
type batchTally struct {
	succeeded            int
	filtered, duplicates int // bytes of the packed indexes
	size                 int
}

func tallyBatch(m *stages.Message) batchTally {
	var t batchTally
	someAssigned := m.Assigned()
	for i := range m.Results {
		outcome := m.Outcome(i)
		ok := succeeded(outcome)
		switch {
		case !ok:
			t.size += sizeText(fieldFailures, sizeIndexed(i, sizeText(fieldResult, sizeResult(m, i))))
		case outcome == stages.Filtered:
			t.filtered += varintSize(uint64(i))
		case outcome == stages.Duplicate:
			t.duplicates += varintSize(uint64(i))
		}
		if ok {
			t.succeeded++
		}
		if someAssigned && hasAssignedID(m, i) {
			t.size += sizeText(fieldAssignedIDs, sizeIndexed(i, sizeText(fieldID, uuidLength)))
		}
		if m.WantResults {
			t.size += sizeMessage(fieldResults, sizeResult(m, i))
		}
	}
	t.size += sizeVarint(fieldSucceeded, uint64(t.succeeded))
	t.size += sizeText(fieldFiltered, t.filtered)
	t.size += sizeText(fieldDuplicates, t.duplicates)
	return t
}

func (t *batchTally) append(b []byte, m *stages.Message) []byte {
	b = appendVarint(b, fieldSucceeded, uint64(t.succeeded))
	if t.succeeded < len(m.Results) {
		for i := range m.Results {
			if !succeeded(m.Outcome(i)) {
				size := sizeResult(m, i)
				b = appendLength(b, fieldFailures, sizeIndexed(i, sizeText(fieldResult, size)))
				b = appendVarint(b, fieldIndex, uint64(i))
				b = appendLength(b, fieldResult, size)
				b = appendResult(b, m, i)
			}
		}
	}
	for i := range m.Results {
		if !m.Assigned() {
			break
		}
		if hasAssignedID(m, i) {
			b = appendLength(b, fieldAssignedIDs, sizeIndexed(i, sizeText(fieldID, uuidLength)))
			b = appendVarint(b, fieldIndex, uint64(i))
			b = appendLength(b, fieldID, uuidLength)
			b = appendUUID(b, &m.Results[i].ID)
		}
	}
	b = appendIndexes(b, fieldFiltered, t.filtered, m, stages.Filtered)
	b = appendIndexes(b, fieldDuplicates, t.duplicates, m, stages.Duplicate)
	if m.WantResults {
		for i := range m.Results {
			b = appendLength(b, fieldResults, sizeResult(m, i))
			b = appendResult(b, m, i)
		}
	}
	return b
}

// appendIndexes appends the packed indexes of the events with one outcome.
func appendIndexes(b []byte, field protowire.Number, size int, m *stages.Message, o stages.Outcome) []byte {
	if size == 0 {
		return b
	}
	b = appendLength(b, field, size)
	for i := range m.Results {
		if m.Outcome(i) == o {
			b = protowire.AppendVarint(b, uint64(i))
		}
	}
	return b
}

// sizeIndexed is the size of a message of an index and rest bytes; proto3 leaves an index of 0 out.
func sizeIndexed(i, rest int) int { return sizeVarint(fieldIndex, uint64(i)) + rest }

// sizeVarint and appendVarint leave zero values out, as proto3 does.
func sizeVarint(field protowire.Number, v uint64) int {
	if v == 0 {
		return 0
	}
	return 1 + varintSize(v) // all field numbers here are below 16: one byte of tag
}

func appendVarint(b []byte, field protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(append(b, byte(field)<<3|byte(protowire.VarintType)), v)
}

// sizeText is the size of a string, or of anything else with its length in front; nothing when it is empty.
func sizeText(field protowire.Number, n int) int {
	if n == 0 {
		return 0
	}
	return sizeMessage(field, n)
}

// sizeMessage is sizeText for elements of a repeated field: an empty one counts too.
func sizeMessage(_ protowire.Number, n int) int { return 1 + varintSize(uint64(n)) + n }

func appendLength(b []byte, field protowire.Number, n int) []byte {
	return protowire.AppendVarint(append(b, byte(field)<<3|byte(protowire.BytesType)), uint64(n))
}

func appendText(b []byte, field protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return append(appendLength(b, field, len(s)), s...)
}

func durationParts(millis uint32) (seconds, nanos uint64) {
	return uint64(millis / 1000), uint64(millis%1000) * uint64(time.Millisecond)
}

func sizeDuration(millis uint32) int {
	seconds, nanos := durationParts(millis)
	return sizeVarint(fieldSeconds, seconds) + sizeVarint(fieldNanos, nanos)
}

func appendDuration(b []byte, millis uint32) []byte {
	seconds, nanos := durationParts(millis)
	b = appendVarint(b, fieldSeconds, seconds)
	return appendVarint(b, fieldNanos, nanos)
}

// varintSize is protowire.SizeVarint, small enough to be inlined.
func varintSize(v uint64) int { return (bits.Len64(v|1) + 6) / 7 }
