package transport

// schema.v1.SchemaService: dry runs of the checks that an event goes through,
// and the registry's schemas. Its requests hold whole events and schema texts,
// so they are read like those of the ingest methods: counted, and bounded before
// they are there.

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// Schemas is what SchemaService asks. Methods may return a *stages.Refusal, which says more than other errors do.
// Safe for concurrent use; every call ends with its context.
type Schemas interface {
	// DryRun says what would become of the event in frame, an IngestEventRequest or a message with the same field 1.
	// subject and version choose the schema, unless subject is empty; version 0 is the latest.
	DryRun(ctx context.Context, frame []byte, client *stages.Client, subject string, version int) (*stages.Event, error)
	List(ctx context.Context, r *schemav1.ListSchemasRequest) (*schemav1.ListSchemasResponse, error)
	Get(ctx context.Context, r *schemav1.GetSchemaRequest) (*schemav1.GetSchemaResponse, error)
	Register(ctx context.Context, r *schemav1.RegisterSchemaRequest) (*schemav1.RegisterSchemaResponse, error)
}

const (
	schemaService = "schema.v1.SchemaService"
	// schemaTime bounds the answer to a call when its caller does not.
	schemaTime = 10 * time.Second
	// maxDefinition bounds a schema's text, maxSubject a subject's name, in bytes; maxPage the schemas of one page.
	maxDefinition = 1 << 20
	maxSubject    = 255
	maxPage       = 1000
)

// schemaDesc is the ServiceDesc of schema.v1.SchemaService.
func (s *Server) schemaDesc() *grpc.ServiceDesc {
	d := &grpc.ServiceDesc{ServiceName: schemaService, Metadata: schemav1.SchemaService_ServiceDesc.Metadata}
	add := func(name string, handler grpc.StreamHandler) {
		if s.Schemas == nil {
			handler = notImplemented
		}
		d.Streams = append(d.Streams, grpc.StreamDesc{StreamName: name, Handler: handler})
	}
	add("ValidateEvent", s.schemaCall(s.validateEvent))
	add("ListSchemas", s.schemaCall(func(c schemaCall) (proto.Message, error) {
		r := &schemav1.ListSchemasRequest{}
		return answerTo(c, r, checkList(r), s.Schemas.List)
	}))
	add("GetSchema", s.schemaCall(func(c schemaCall) (proto.Message, error) {
		r := &schemav1.GetSchemaRequest{}
		return answerTo(c, r, checkGet(r), s.Schemas.Get)
	}))
	add("RegisterSchema", s.schemaCall(func(c schemaCall) (proto.Message, error) {
		r := &schemav1.RegisterSchemaRequest{}
		return answerTo(c, r, checkRegister(r), s.Schemas.Register)
	}))
	return s.metered(d)
}

// schemaCall is one call with its request.
type schemaCall struct {
	ctx    context.Context
	frame  []byte
	client *stages.Client
}

// schemaCall reads the request of a call, has it answered, and sends the answer.
func (s *Server) schemaCall(answer func(schemaCall) (proto.Message, error)) grpc.StreamHandler {
	return func(_ any, ss grpc.ServerStream) error {
		ctx, cancel := context.WithTimeout(ss.Context(), schemaTime)
		defer cancel()
		w, ok := wireOf(ctx)
		if !ok {
			return errNoWire
		}
		if s.draining() {
			return reasonStatus(stages.Draining, "").Err()
		}
		client := s.clientOf(ctx)
		defer client.Unhold()
		r := newFrameReader(ctx, w, int(s.config.MaxMessageBytes), s.recv)
		defer r.close()
		r.patience = s.config.AdmissionTimeout
		frame, owner, err := s.arrive(&r)
		if err != nil {
			return requestStatus(err)
		}
		defer owner.Free()
		response, err := answer(schemaCall{ctx, frame, client})
		if err != nil {
			return schemaStatus(err)
		}
		b, err := encodeProto(response)
		if err != nil {
			return reasonStatus(stages.InternalError, "").Err()
		}
		return r.answer(ss, b)
	}
}

// encodeProto is m in a buffer of the pool, so that it is counted until the client takes it (sendlimit.go).
func encodeProto(m proto.Message) (*[]byte, error) {
	b := buffers.Get(proto.Size(m))
	out, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend((*b)[:0], m)
	if err != nil {
		buffers.Put(b)
		return nil, err
	}
	*b = out
	return b, nil
}

// requestStatus is the status of a call whose request could not be taken.
func requestStatus(err error) error {
	var r *refusal
	switch {
	case errors.As(err, &r):
		return verdictStatus(r.verdict, nil).Err()
	case errors.Is(err, errCut), errors.Is(err, errNoMessage):
		return reasonStatus(stages.MalformedEvent, err.Error()).Err()
	}
	return goneStatus(err)
}

// answerTo reads the request, checks it and has it answered.
func answerTo[Q, A proto.Message](c schemaCall, request Q, check func() *stages.Refusal, ask func(context.Context, Q) (A, error)) (proto.Message, error) {
	if err := proto.Unmarshal(c.frame, request); err != nil {
		return nil, &stages.Refusal{Reason: stages.InvalidRequest, Detail: &stages.Detail{Message: "the request is not a valid message"}}
	}
	if r := check(); r != nil {
		return nil, r
	}
	return ask(c.ctx, request)
}

// badField refuses a request.
func badField(field, message string) *stages.Refusal {
	return &stages.Refusal{Reason: stages.InvalidRequest, Detail: &stages.Detail{Field: field, Message: message}}
}

func checkSubject(subject string) *stages.Refusal {
	if len(subject) > maxSubject {
		return badField("subject", "is longer than the 255 bytes that are allowed")
	}
	return nil
}

func checkList(r *schemav1.ListSchemasRequest) func() *stages.Refusal {
	return func() *stages.Refusal {
		if r.PageSize < 0 || r.PageSize > maxPage {
			return badField("page_size", "0 to 1000 are allowed")
		}
		return checkSubject(r.SubjectPrefix)
	}
}

func checkGet(r *schemav1.GetSchemaRequest) func() *stages.Refusal {
	return func() *stages.Refusal {
		switch {
		case r.Subject == "" && r.Id <= 0:
			return badField("subject", "is required, unless id says which schema")
		case r.Subject != "" && r.Id != 0:
			return badField("id", "stands alone; leave subject and version out, or id")
		case r.Version < 0:
			return badField("version", "counts from 1; 0 is the latest")
		}
		return checkSubject(r.Subject)
	}
}

func checkRegister(r *schemav1.RegisterSchemaRequest) func() *stages.Refusal {
	return func() *stages.Refusal {
		switch {
		case r.Subject == "":
			return badField("subject", "is required")
		case r.Definition == "":
			return badField("definition", "is required")
		case len(r.Definition) > maxDefinition:
			return badField("definition", "is longer than the 1 MiB that are allowed")
		}
		return checkSubject(r.Subject)
	}
}

// validateEvent answers how the gateway would answer to an event.
func (s *Server) validateEvent(c schemaCall) (proto.Message, error) {
	r := &schemav1.ValidateEventRequest{}
	if err := proto.Unmarshal(c.frame, r); err != nil {
		// The event itself may be what is broken: then that is the answer.
		r.Reset()
	} else if r.Event == nil {
		return nil, badField("event", "is required")
	}
	if refused := checkSubject(r.Subject); refused != nil {
		return nil, refused
	}
	ev, err := s.Schemas.DryRun(c.ctx, c.frame, c.client, r.Subject, int(r.Version))
	if err != nil {
		return nil, err
	}
	return dryAnswer(ev), nil
}

// dryAnswer says what became of ev in a dry run.
func dryAnswer(ev *stages.Event) *schemav1.ValidateEventResponse {
	v := ev.Verdict
	if ev.Dead {
		v = ev.Letter.Verdict
	}
	a := &schemav1.ValidateEventResponse{Outcome: gatewayv1.Outcome(v.Outcome)}
	if ev.Topic != nil && !ev.Dead {
		a.Topic = ev.Topic.Name
	}
	if s := ev.Schema; s != nil {
		a.Schema = &schemav1.Schema{Subject: s.Subject, Version: int32(s.Version), Id: int32(s.ID)}
	}
	switch v.Outcome {
	case stages.Pending:
		a.Outcome = gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED
		a.Event = ev.Proto()
	case stages.Refused:
		a.Code, a.Reason, a.Stage = int32(v.Reason.Code()), v.Reason.String(), v.Stage.String()
		a.Message = withField(detailOf(v.Reason, v.Detail))
		a.Violations = dryViolations(&v)
		if retry := v.Retry(); retry > 0 {
			a.RetryDelay = durationpb.New(retry)
		}
	}
	return a
}

func dryViolations(v *stages.Verdict) (all []*schemav1.ValidateEventResponse_FieldViolation) {
	if v.Detail == nil {
		return nil
	}
	found := v.Detail.Violations
	if len(found) == 0 && v.Detail.Field != "" {
		found = []stages.Violation{{Field: v.Detail.Field, Message: v.Detail.Message}}
	}
	for _, one := range found {
		all = append(all, &schemav1.ValidateEventResponse_FieldViolation{
			Field: "event." + validText(one.Field), Description: validText(one.Message), Reason: v.Reason.String(),
		})
	}
	return all
}

// schemaStatus is the status of a call that was not answered.
func schemaStatus(err error) error {
	var r *stages.Refusal
	switch {
	case errors.As(err, &r):
		f := failure{reason: r.Reason, retry: r.Reason.Retry(), subject: "gateway", metadata: map[string]string{}}
		f.about(r.Detail)
		if r.Reason == stages.SchemaNotFound {
			f.code = stages.NotFound
		}
		return f.status().Err()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return reasonStatus(stages.SchemaUnavailable, "the registry has not answered in time").Err()
	}
	return reasonStatus(stages.SchemaUnavailable, validText(err.Error())).Err()
}
