package transport

// The schema service: what it asks, what it answers, and what it refuses before it asks.

import (
	"context"
	"errors"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// shelf is a registry of the test's own.
type shelf struct {
	dry     func(ctx context.Context, frame []byte, subject string, version int) (*stages.Event, error)
	err     error
	asked   int
	request any
}

func (s *shelf) DryRun(ctx context.Context, frame []byte, _ *stages.Client, subject string, version int) (*stages.Event, error) {
	return s.dry(ctx, frame, subject, version)
}

func (s *shelf) List(_ context.Context, r *schemav1.ListSchemasRequest) (*schemav1.ListSchemasResponse, error) {
	s.asked, s.request = s.asked+1, r
	return &schemav1.ListSchemasResponse{NextPageToken: "next"}, s.err
}

func (s *shelf) Get(_ context.Context, r *schemav1.GetSchemaRequest) (*schemav1.GetSchemaResponse, error) {
	s.asked, s.request = s.asked+1, r
	return &schemav1.GetSchemaResponse{Schema: &schemav1.Schema{Id: 7}}, s.err
}

func (s *shelf) Register(_ context.Context, r *schemav1.RegisterSchemaRequest) (*schemav1.RegisterSchemaResponse, error) {
	s.asked, s.request = s.asked+1, r
	return &schemav1.RegisterSchemaResponse{Created: true}, s.err
}

// dryGateway has a dry run with the given rules.
func dryGateway(t *testing.T, parts stages.DryRunParts) schemav1.SchemaServiceClient {
	parts.Config = stages.Config{MaxEventBytes: 900_000}
	parts.Topics = stages.NewTopics("orders")
	parts.Topics.Default.SetPartitions(1)
	s := &shelf{dry: func(ctx context.Context, frame []byte, _ string, _ int) (*stages.Event, error) {
		return stages.NewDryRun(parts).Run(ctx, frame, &stages.Client{Name: "c"})
	}}
	g := start(t, func(c *setup) { c.services.Schemas = s })
	return schemav1.NewSchemaServiceClient(g.dial())
}

func TestValidateEvent(t *testing.T) {
	client := dryGateway(t, stages.DryRunParts{})
	event := &eventv1.Event{Source: "/shop", Type: "order.created", Data: make([]byte, 800_000)}
	a, err := client.ValidateEvent(t.Context(), &schemav1.ValidateEventRequest{Event: event})
	if err != nil || a.Outcome != gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED || a.Topic != "orders" || len(a.Event.Id) != 36 || a.Event.Timestamp == nil {
		t.Fatalf("a good event: %v, %v", a.GetOutcome(), err)
	}
	a, err = client.ValidateEvent(t.Context(), &schemav1.ValidateEventRequest{Event: &eventv1.Event{Type: "t"}})
	if err != nil || a.Outcome != gatewayv1.Outcome_OUTCOME_REFUSED || a.Code != int32(codes.InvalidArgument) || a.Reason != "INVALID_EVENT" ||
		a.Stage != "validate" || len(a.Violations) != 1 || a.Violations[0].Field != "event.source" || a.Event != nil {
		t.Fatalf("without source: %v, %v", a, err)
	}
	_, err = client.ValidateEvent(t.Context(), &schemav1.ValidateEventRequest{})
	mustFail(t, err, codes.InvalidArgument, "INVALID_REQUEST")
	_, err = client.ValidateEvent(t.Context(), &schemav1.ValidateEventRequest{Event: event, Subject: strings.Repeat("s", 256)})
	mustFail(t, err, codes.InvalidArgument, "INVALID_REQUEST")
}

func TestValidateEventSaysWhatRulesDo(t *testing.T) {
	client := dryGateway(t, stages.DryRunParts{Rules: func(stages.Memory) stages.Rules { return filterAll{} }})
	a, err := client.ValidateEvent(t.Context(), &schemav1.ValidateEventRequest{Event: &eventv1.Event{Source: "s", Type: "t"}})
	if err != nil || a.Outcome != gatewayv1.Outcome_OUTCOME_FILTERED || a.Event != nil || a.Code != 0 {
		t.Fatalf("%v, %v", a, err)
	}
}

type filterAll struct{}

func (filterAll) Apply(ev *stages.Event) bool { ev.Filter(stages.AtTransform); return false }

func TestSchemaRequestsAreChecked(t *testing.T) {
	s := &shelf{}
	client := schemav1.NewSchemaServiceClient(start(t, func(c *setup) { c.services.Schemas = s }).dial())
	ctx := t.Context()
	long := strings.Repeat("s", 256)
	for name, call := range map[string]func() error{
		"no subject, no id": func() error { _, err := client.GetSchema(ctx, &schemav1.GetSchemaRequest{}); return err },
		"both": func() error {
			_, err := client.GetSchema(ctx, &schemav1.GetSchemaRequest{Subject: "s", Id: 1})
			return err
		},
		"a negative id": func() error { _, err := client.GetSchema(ctx, &schemav1.GetSchemaRequest{Id: -1}); return err },
		"a negative version": func() error {
			_, err := client.GetSchema(ctx, &schemav1.GetSchemaRequest{Subject: "s", Version: -1})
			return err
		},
		"a long subject": func() error { _, err := client.GetSchema(ctx, &schemav1.GetSchemaRequest{Subject: long}); return err },
		"a large page": func() error {
			_, err := client.ListSchemas(ctx, &schemav1.ListSchemasRequest{PageSize: 1001})
			return err
		},
		"a long prefix": func() error {
			_, err := client.ListSchemas(ctx, &schemav1.ListSchemasRequest{SubjectPrefix: long})
			return err
		},
		"no definition": func() error {
			_, err := client.RegisterSchema(ctx, &schemav1.RegisterSchemaRequest{Subject: "s"})
			return err
		},
		"a large definition": func() error {
			_, err := client.RegisterSchema(ctx, &schemav1.RegisterSchemaRequest{Subject: "s", Definition: strings.Repeat(" ", 1<<20+1)})
			return err
		},
		"a subject for nothing": func() error {
			_, err := client.RegisterSchema(ctx, &schemav1.RegisterSchemaRequest{Definition: "{}"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) { mustFail(t, call(), codes.InvalidArgument, "INVALID_REQUEST") })
	}
	if s.asked != 0 {
		t.Errorf("the registry was asked %d times", s.asked)
	}
	if a, err := client.GetSchema(ctx, &schemav1.GetSchemaRequest{Id: 7}); err != nil || a.Schema.Id != 7 {
		t.Errorf("get: %v, %v", a, err)
	}
	if a, err := client.ListSchemas(ctx, &schemav1.ListSchemasRequest{PageSize: 1000}); err != nil || a.NextPageToken != "next" {
		t.Errorf("list: %v, %v", a, err)
	}
	if a, err := client.RegisterSchema(ctx, &schemav1.RegisterSchemaRequest{Subject: "s", Definition: "{}"}); err != nil || !a.Created {
		t.Errorf("register: %v, %v", a, err)
	}
}

func TestSchemaErrorsHaveReasons(t *testing.T) {
	s := &shelf{}
	client := schemav1.NewSchemaServiceClient(start(t, func(c *setup) { c.services.Schemas = s }).dial())
	for _, c := range []struct {
		err    error
		code   codes.Code
		reason string
	}{
		{&stages.Refusal{Reason: stages.SchemaNotFound}, codes.NotFound, "SCHEMA_NOT_FOUND"},
		{&stages.Refusal{Reason: stages.SchemaIncompatible, Detail: &stages.Detail{Message: "field a is gone"}}, codes.FailedPrecondition, "SCHEMA_INCOMPATIBLE"},
		{&stages.Refusal{Reason: stages.RegistrationDisabled}, codes.PermissionDenied, "REGISTRATION_DISABLED"},
		{&stages.Refusal{Reason: stages.SchemasDisabled}, codes.FailedPrecondition, "SCHEMAS_DISABLED"},
		{errors.New("connection refused"), codes.Unavailable, "SCHEMA_UNAVAILABLE"},
		{context.DeadlineExceeded, codes.Unavailable, "SCHEMA_UNAVAILABLE"},
	} {
		s.err = c.err
		_, err := client.GetSchema(t.Context(), &schemav1.GetSchemaRequest{Id: 1})
		mustFail(t, err, c.code, c.reason)
	}
}

// mustFail checks a status and its ErrorInfo.
func mustFail(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok && info.Reason == reason && st.Code() == code {
			return
		}
	}
	t.Fatalf("%v %v, want %v with the reason %s", st, st.Details(), code, reason)
}
