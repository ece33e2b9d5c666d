package transport

// Refusals as gRPC statuses: google.rpc.ErrorInfo with the stable reason
// always, BadRequest for bad fields, QuotaFailure for limits, RetryInfo
// whenever trying again can help (design section 3).

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/event-gateway/event-gateway/stages"
)

// errorDomain is the domain of every ErrorInfo.
const errorDomain = "eventgateway"

// maxEcho bounds what of a client's own text is sent back to it, in bytes. Longer ids break a rule anyway.
const maxEcho = 1024

// failure is all that a status says.
type failure struct {
	reason stages.Reason
	// code replaces the reason's own code, if it is not OK.
	code    stages.Code
	message string
	field   string
	// violations are all that is wrong with the data, if field is only the first of them.
	violations []stages.Violation
	retry      time.Duration
	subject    string
	metadata   map[string]string
}

// status puts the field at fault in front of the message, as answers on streams do: most clients show nothing else.
// The BadRequest has the two apart.
func (f failure) status() *status.Status {
	code := f.reason.Code()
	if f.code != stages.OK {
		code = f.code
	}
	st := status.New(codes.Code(code), withField(f.field, f.message))
	for name, value := range f.metadata {
		if len(value) > maxMetadata {
			delete(f.metadata, name)
		}
	}
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: f.reason.String(), Domain: errorDomain, Metadata: f.metadata,
	}}
	if f.field != "" {
		details = append(details, f.badRequest())
	}
	if f.reason.Code() == stages.ResourceExhausted {
		details = append(details, &errdetails.QuotaFailure{
			Violations: []*errdetails.QuotaFailure_Violation{{Subject: f.subject, Description: f.message}},
		})
	}
	if f.retry > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(f.retry)})
	}
	full, err := st.WithDetails(details...)
	if err != nil { // only for code OK, which no reason of a failure has
		return st
	}
	return full
}

// badRequest lists the fields at fault.
func (f failure) badRequest() *errdetails.BadRequest {
	all := f.violations
	if len(all) == 0 {
		all = []stages.Violation{{Field: f.field, Message: f.message}}
	}
	bad := &errdetails.BadRequest{}
	for _, v := range shownViolations(all) {
		bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
			Field: validText(v.Field), Description: validText(v.Message), Reason: f.reason.String(),
		})
	}
	return bad
}

// maxShownViolations bounds what is said about one event in bytes, less the last sentence: a status travels in a header, in
// base64, and many clients take 8 KiB of headers.
const maxShownViolations = 2 << 10

// maxMetadata bounds an entry of the metadata for the same reason: a cursor of a topic with more than some 500 partitions is
// longer, and a status that does not fit is none.
const maxMetadata = 4 << 10

// shownViolations are the first ones, at least one.
func shownViolations(all []stages.Violation) []stages.Violation {
	size := 0
	for i := range all {
		if size += len(all[i].Field) + len(all[i].Message); size > maxShownViolations && i > 0 {
			return all[:i]
		}
	}
	return all
}

// about takes what a Detail says, which may be nil.
func (f *failure) about(d *stages.Detail) {
	f.field, f.message = detailOf(f.reason, d)
	if d == nil {
		return
	}
	f.violations = d.Violations
	if d.Rule != "" {
		f.metadata["rule"] = d.Rule
	}
}

// reasonStatus is the status of a whole call that ends for reason. message replaces the reason's own text.
func reasonStatus(reason stages.Reason, message string) *status.Status {
	if message == "" {
		message = reason.Text()
	}
	return failure{reason: reason, message: message, retry: reason.Retry(), subject: "gateway"}.status()
}

// verdictStatus is the status of a call whose only message was refused before the pipeline had it.
func verdictStatus(v stages.Verdict, client *stages.Client) *status.Status {
	f := failure{reason: v.Reason, retry: v.RetryAfter, metadata: map[string]string{"stage": v.Stage.String()}}
	f.about(v.Detail)
	if f.retry == 0 {
		f.retry = v.Reason.Retry()
	}
	f.subject = quotaSubject(v.Reason, client)
	return f.status()
}

// resultStatus is the status of a unary call whose event i did not succeed.
func resultStatus(m *stages.Message, i int) *status.Status {
	r := &m.Results[i]
	f := failure{
		reason:   r.Reason,
		retry:    time.Duration(r.RetryAfterMillis) * time.Millisecond,
		subject:  quotaSubject(r.Reason, m.Client),
		metadata: map[string]string{"stage": r.Stage.String()},
	}
	f.about(r.Detail)
	if r.DeadLettered {
		f.metadata["dead_lettered"] = "true"
	}
	if id := appendEventID(nil, m, i); len(id) > 0 {
		f.metadata["event_id"] = string(id)
	}
	if r.Topic != nil {
		f.metadata["topic"] = r.Topic.Name
		if r.Outcome == stages.Unknown {
			f.metadata["partition"] = strconv.Itoa(int(r.Partition))
		}
	}
	return f.status()
}

// detailOf is the field at fault and the sentence about it.
func detailOf(reason stages.Reason, d *stages.Detail) (field, message string) {
	if d == nil || d.Message == "" {
		return "", reason.Text()
	}
	return validText(d.Field), validText(d.Message)
}

// withField is a sentence about a field that says which one; field may be empty.
func withField(field, message string) string {
	if field == "" {
		return message
	}
	return field + ": " + message
}

// quotaSubject names whose limit it is: the client's own or everybody's.
func quotaSubject(reason stages.Reason, client *stages.Client) string {
	if client != nil && (reason == stages.RateLimited || reason == stages.ClientOverloaded) {
		return "client:" + client.Name
	}
	return "gateway"
}

// validText makes s fit for a protobuf string: bounded, valid UTF-8.
func validText(s string) string {
	if len(s) > maxEcho {
		s = s[:maxEcho]
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return s
}
