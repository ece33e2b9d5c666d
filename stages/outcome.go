package stages

// What can become of an event: outcomes, the stages that decide them, and the
// stable reasons that clients branch on. One table holds everything that is
// said about a reason, so that code, docs and metrics cannot disagree.

import "time"

// Outcome is what became of one event. The values are those of the Outcome
// enum in proto/gateway/v1/gateway.proto.
type Outcome uint8

// Every event gets exactly one of these (Pending is "none yet").
const (
	Pending Outcome = iota
	// Acknowledged: Kafka has the event at the configured acks.
	Acknowledged
	// Filtered: a rule dropped it; it is not in Kafka.
	Filtered
	// Duplicate: an earlier sending was acknowledged; answered with its position.
	Duplicate
	// Refused: definite. It is not in Kafka and never will be by this sending.
	Refused
	// Unknown: handed to Kafka, no definite answer in time. It may be stored once.
	Unknown

	// Outcomes is the number of values, for tables indexed by Outcome.
	Outcomes
)

var outcomeNames = [Outcomes]string{"pending", "acknowledged", "filtered", "duplicate", "refused", "unknown"}

// String is the outcome's name in metrics and logs.
func (o Outcome) String() string { return outcomeNames[o] }

// StageID names the step that decided something about an event.
type StageID uint8

// The stations of an event, in the order of the graph.
const (
	AtAdmission StageID = iota
	AtDecode
	AtValidate
	AtRateLimit
	AtTransform
	AtBatch
	AtProduce

	// StageIDs is the number of values, for tables indexed by StageID.
	StageIDs
)

var stageNames = [StageIDs]string{"admission", "decode", "validate", "ratelimit", "transform", "batch", "produce"}

// String is the stage's name in answers, metrics and logs.
func (s StageID) String() string { return stageNames[s] }

// Code is a google.rpc.Code. The numbers are those of gRPC; stages does not
// import grpc for five constants.
type Code int32

// The codes that answers use (google/rpc/code.proto).
const (
	OK                 Code = 0
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	DataLoss           Code = 15
)

// Reason is why an event was refused or its outcome is unknown. Its name is
// part of the API: clients branch on it, so names never change.
type Reason uint8

// The reasons. See reasonTable for code, retry advice and text of each.
const (
	NoReason Reason = iota
	MalformedEvent
	InvalidEvent
	EventTooLarge
	EmptyBatch
	TooManyEvents
	MessageTooLarge
	RateLimited
	Overloaded
	ClientOverloaded
	TopicNotAllowed
	TopicNotFound
	TopicRecreated
	KafkaUnavailable
	KafkaUnauthorized
	BreakerOpen
	PartitionStalled
	BufferFull
	RecordRejected
	BatchRejected
	OutcomeUnknown
	NotSent
	Draining
	StreamAge
	InternalError
	NotImplemented
	SlowClient
	TransformFailed
	TransformLimit
	SchemaViolation
	SchemaNotFound
	SchemaInvalid
	SchemaUnavailable
	SchemasDisabled
	SchemaIncompatible
	RegistrationDisabled
	InvalidRequest
	InvalidCursor
	InvalidFilter
	FilterLimit
	EventsExpired
	RecordUnreadable
	TooManyReaders
	GroupUnusable
	EventNotFound
	StoreDisabled
	ReadingDisabled
	OriginalRefused
	TooManyRetries

	// Reasons is the number of values, for tables indexed by Reason.
	Reasons
)

// reasonInfo is all that is said about a reason.
type reasonInfo struct {
	name string
	code Code
	// retry is the advice when the deciding stage knows no better one; 0 = retrying cannot help.
	retry time.Duration
	text  string
}

var reasonTable = [Reasons]reasonInfo{
	NoReason:          {"", OK, 0, ""},
	MalformedEvent:    {"MALFORMED_EVENT", InvalidArgument, 0, "the bytes are not a valid event message"},
	InvalidEvent:      {"INVALID_EVENT", InvalidArgument, 0, "the event breaks a rule of the API"},
	EventTooLarge:     {"EVENT_TOO_LARGE", InvalidArgument, 0, "the event is larger than the gateway accepts"},
	EmptyBatch:        {"EMPTY_BATCH", InvalidArgument, 0, "the batch has no events"},
	TooManyEvents:     {"TOO_MANY_EVENTS", InvalidArgument, 0, "the batch has more events than MAX_BATCH_EVENTS"},
	MessageTooLarge:   {"MESSAGE_TOO_LARGE", InvalidArgument, 0, "the message is larger than GRPC_MAX_MESSAGE_BYTES"},
	RateLimited:       {"RATE_LIMITED", ResourceExhausted, time.Second, "the client sends more events a second than it may"},
	Overloaded:        {"OVERLOADED", ResourceExhausted, time.Second, "the gateway's memory for events in flight is taken"},
	ClientOverloaded:  {"CLIENT_OVERLOADED", ResourceExhausted, time.Second, "the client's share of the memory for events in flight is taken"},
	TopicNotAllowed:   {"TOPIC_NOT_ALLOWED", PermissionDenied, 0, "the topic is not one that the gateway may write to"},
	TopicNotFound:     {"TOPIC_NOT_FOUND", FailedPrecondition, 0, "Kafka does not have the topic"},
	TopicRecreated:    {"TOPIC_RECREATED", FailedPrecondition, 2 * time.Second, "the topic was deleted and created again"},
	KafkaUnavailable:  {"KAFKA_UNAVAILABLE", Unavailable, time.Second, "Kafka has not answered yet"},
	KafkaUnauthorized: {"KAFKA_UNAUTHORIZED", Internal, 0, "Kafka refuses the gateway's own credentials for this topic; tell the operator"},
	BreakerOpen:       {"BREAKER_OPEN", Unavailable, time.Second, "no Kafka broker answers; nothing was handed to Kafka"},
	PartitionStalled:  {"PARTITION_STALLED", Unavailable, time.Second, "the event's partition takes no more records for now"},
	BufferFull:        {"BUFFER_FULL", ResourceExhausted, time.Second, "the producer's buffer is full"},
	RecordRejected:    {"RECORD_REJECTED", InvalidArgument, 0, "Kafka rejected the record"},
	BatchRejected:     {"BATCH_REJECTED", Unavailable, 100 * time.Millisecond, "Kafka rejected the record batch that held this record; send the event again"},
	OutcomeUnknown:    {"OUTCOME_UNKNOWN", Unavailable, time.Second, "the event was handed to Kafka and no answer came in time: it may be stored, once; sending it again may duplicate it"},
	NotSent:           {"NOT_SENT", Unavailable, time.Second, "the deadline passed, or the caller left, before the event was handed to Kafka"},
	Draining:          {"DRAINING", Unavailable, time.Second, "the gateway is shutting down; send to another instance"},
	StreamAge:         {"STREAM_AGE", Unavailable, 10 * time.Millisecond, "the stream reached its maximum age; every message was answered; reconnect"},
	InternalError:     {"INTERNAL", Internal, 0, "a bug in the gateway; it was logged with the event's coordinates"},
	NotImplemented:    {"NOT_IMPLEMENTED", Unimplemented, 0, "this version of the gateway does not have the method"},
	SlowClient:        {"SLOW_CLIENT", ResourceExhausted, time.Second, "the client did not read its answers in time"},

	TransformFailed:      {"TRANSFORM_FAILED", InvalidArgument, 0, "a rule of the operator cannot be applied to the event"},
	TransformLimit:       {"TRANSFORM_LIMIT", InvalidArgument, 0, "a rule of the operator takes more time, memory or output for the event than it may"},
	SchemaViolation:      {"SCHEMA_VIOLATION", InvalidArgument, 0, "the event's data does not match its schema"},
	SchemaNotFound:       {"SCHEMA_NOT_FOUND", InvalidArgument, 0, "the registry does not have the event's schema"},
	SchemaInvalid:        {"SCHEMA_INVALID", InvalidArgument, 0, "the event's schema cannot be used"},
	SchemaUnavailable:    {"SCHEMA_UNAVAILABLE", Unavailable, time.Second, "the event's schema could not be fetched from the registry"},
	SchemasDisabled:      {"SCHEMAS_DISABLED", FailedPrecondition, 0, "the gateway has no schema registry; the operator sets SCHEMA_VALIDATION_ENABLED=true"},
	SchemaIncompatible:   {"SCHEMA_INCOMPATIBLE", FailedPrecondition, 0, "the schema breaks the subject's compatibility rule"},
	InvalidRequest:       {"INVALID_REQUEST", InvalidArgument, 0, "the request breaks a rule of the API"},
	InvalidCursor:        {"INVALID_CURSOR", InvalidArgument, 0, "the cursor is not one of this gateway's for this topic"},
	InvalidFilter:        {"INVALID_FILTER", InvalidArgument, 0, "the filter is not a CEL condition over the event's attributes"},
	FilterLimit:          {"FILTER_LIMIT", InvalidArgument, 0, "the filter fails on an event, or takes more for it than it may"},
	EventsExpired:        {"EVENTS_EXPIRED", OutOfRange, 0, "Kafka no longer has all events from there on"},
	RecordUnreadable:     {"RECORD_UNREADABLE", DataLoss, 0, "Kafka has a record there that cannot be read; tell the operator"},
	TooManyReaders:       {"TOO_MANY_READERS", ResourceExhausted, time.Second, "as many readers as SUBSCRIBE_MAX_READERS allows read the past at the moment"},
	GroupUnusable:        {"GROUP_UNUSABLE", FailedPrecondition, 0, "the consumer group cannot be joined"},
	EventNotFound:        {"EVENT_NOT_FOUND", NotFound, 0, "the event is not among the recent ones of this instance"},
	StoreDisabled:        {"STORE_DISABLED", FailedPrecondition, 0, "the gateway keeps no recent events; the operator sets EVENT_STORE_CAPACITY"},
	ReadingDisabled:      {"READING_DISABLED", FailedPrecondition, 0, "the gateway has no Kafka to read from (SINK)"},
	OriginalRefused:      {"ORIGINAL_REFUSED", Unavailable, 10 * time.Millisecond, "an earlier sending of the event, whose outcome this one has waited for, was refused; send the event again"},
	TooManyRetries:       {"TOO_MANY_RETRIES", ResourceExhausted, time.Second, "as many sendings of the event as may wait for the outcome of the first one do"},
	RegistrationDisabled: {"REGISTRATION_DISABLED", PermissionDenied, 0, "schemas are not registered through this gateway; the operator sets SCHEMA_REGISTRATION_ENABLED=true"},
}

// String is the reason's stable name.
func (r Reason) String() string { return reasonTable[r].name }

// Code is the google.rpc.Code that goes with the reason.
func (r Reason) Code() Code { return reasonTable[r].code }

// Retry is the default advice to the client; 0 says that retrying cannot help.
func (r Reason) Retry() time.Duration { return reasonTable[r].retry }

// Standing reports whether a refusal by the stage is about Kafka, or the gateway's settings, rather than the event: until the
// operator has acted none passes, and then this one does, too. A client is told that sending it again does not help. Who
// keeps the events until they are stored can wait.
func (r Reason) Standing(by StageID) bool {
	switch r {
	case TopicNotFound, KafkaUnauthorized:
		return true
	case InternalError: // how the gateway asks; by other stages it is a panic, which may be this event's
		return by == AtProduce
	}
	return false
}

// Text says in one sentence what the reason means.
func (r Reason) Text() string { return reasonTable[r].text }

// Detail is what only some refusals have: the field at fault and a sentence
// with the value and the bound. Kept behind a pointer because most events
// have none.
type Detail struct {
	// Field is the path of the offending field ("source", "metadata[x]"); empty when no single field is at fault.
	Field string
	// Message says what happened, which value, and what is allowed.
	Message string
	// Rule is the name of the rule at fault ("TRANSFORM_0"), if it is one.
	Rule string
	// Violations are what is wrong with the data, when more can be said than Field and Message do; they
	// repeat those. At most MaxViolations.
	Violations []Violation
}

// MaxViolations bounds what is said about one event.
const MaxViolations = 10

// Violation is one thing that is wrong with an event's data.
type Violation struct {
	// Field is the path in the data: "data" and a JSON pointer or a field path ("data/order/id").
	Field string
	// Message says what was expected, and what is there.
	Message string
}

// Verdict is what one stage decided about an event. The zero value means
// that the event goes on.
type Verdict struct {
	Outcome Outcome
	Reason  Reason
	Stage   StageID
	// RetryAfter overrides the reason's default advice when it is not 0.
	RetryAfter time.Duration
	Detail     *Detail
}
