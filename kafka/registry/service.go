package registry

// The registry in the words of schema.v1.SchemaService.

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/schema"
)

const (
	defaultPage = 100
	// asked bounds the requests that one call has under way: a page takes one for each schema.
	asked = 8
)

// Service answers for SchemaService. Safe for concurrent use.
type Service struct {
	client *Client
	// registered is told of a subject that has a new schema.
	registered func(subject string)
	// open: schemas may be registered.
	open bool
}

// NewService returns the service. open lets schemas be registered.
func NewService(client *Client, registered func(subject string), open bool) *Service {
	return &Service{client: client, registered: registered, open: open}
}

// List answers ListSchemas.
func (s *Service) List(ctx context.Context, r *schemav1.ListSchemasRequest) (*schemav1.ListSchemasResponse, error) {
	after, afterVersion, err := readToken(r.PageToken)
	if err != nil {
		return nil, err
	}
	subjects, err := s.client.Subjects(ctx, r.SubjectPrefix)
	if err != nil {
		return nil, refusal(err)
	}
	size := int(r.PageSize)
	if size == 0 {
		size = defaultPage
	}
	from, _ := slices.BinarySearch(subjects, after)
	names, err := s.names(ctx, subjects[from:], after, afterVersion, size+1, r.AllVersions)
	if err != nil {
		return nil, refusal(err)
	}
	a := &schemav1.ListSchemasResponse{}
	if len(names) > size {
		names = names[:size]
		a.NextPageToken = writeToken(names[size-1])
	}
	if a.Schemas, err = s.fetch(ctx, names); err != nil {
		return nil, refusal(err)
	}
	return a, nil
}

// versionOf names a schema of a page; version 0 is the latest.
type versionOf struct {
	subject string
	version int
}

// names are those of at most n schemas behind (after, afterVersion).
func (s *Service) names(ctx context.Context, subjects []string, after string, afterVersion, n int, all bool) (names []versionOf, err error) {
	for _, subject := range subjects {
		if len(names) >= n {
			break
		}
		if !all {
			if subject != after || afterVersion < 0 {
				names = append(names, versionOf{subject, 0})
			}
			continue
		}
		versions, err := s.client.Versions(ctx, subject)
		if errors.Is(err, schema.ErrNotFound) { // deleted meanwhile
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, version := range versions {
			if subject != after || version > afterVersion {
				names = append(names, versionOf{subject, version})
			}
		}
	}
	return names[:min(n, len(names))], nil
}

// fetch gets the schemas, without their texts. One that was deleted meanwhile is left out.
func (s *Service) fetch(ctx context.Context, names []versionOf) ([]*schemav1.Schema, error) {
	found := make([]*schemav1.Schema, len(names))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(asked)
	for i, name := range names {
		group.Go(func() error {
			text, err := s.client.Version(ctx, name.subject, name.version)
			if errors.Is(err, schema.ErrNotFound) {
				return nil
			}
			if err == nil {
				found[i] = toProto(text)
				found[i].Definition = ""
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(s *schemav1.Schema) bool { return s == nil }), nil
}

// A page token is where the page before ended: version and subject.
func writeToken(last versionOf) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(last.version) + "/" + last.subject))
}

func readToken(token string) (subject string, version int, err error) {
	if token == "" {
		return "", -1, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		var number string
		var ok bool
		if number, subject, ok = strings.Cut(string(text), "/"); ok {
			version, err = strconv.Atoi(number)
		}
		if ok && err == nil && version >= 0 {
			return subject, version, nil
		}
	}
	return "", 0, &stages.Refusal{Reason: stages.InvalidRequest, Detail: &stages.Detail{
		Field: "page_token", Message: "is not one of an answer's next_page_token"}}
}

// Get answers GetSchema.
func (s *Service) Get(ctx context.Context, r *schemav1.GetSchemaRequest) (*schemav1.GetSchemaResponse, error) {
	var text schema.Text
	var err error
	if r.Subject == "" {
		text, err = s.client.ByID(ctx, int(r.Id))
	} else {
		text, err = s.client.Version(ctx, r.Subject, int(r.Version))
	}
	if err != nil {
		return nil, refusal(err)
	}
	p := toProto(text)
	if err := s.addRule(ctx, p); err != nil {
		return nil, refusal(err)
	}
	return &schemav1.GetSchemaResponse{Schema: p}, nil
}

// Register answers RegisterSchema.
func (s *Service) Register(ctx context.Context, r *schemav1.RegisterSchemaRequest) (*schemav1.RegisterSchemaResponse, error) {
	if !s.open {
		return nil, &stages.Refusal{Reason: stages.RegistrationDisabled}
	}
	text := schema.Text{Subject: r.Subject, Type: schema.JSON, Definition: r.Definition}
	switch r.Type {
	case schemav1.SchemaType_SCHEMA_TYPE_AVRO:
		text.Type = schema.Avro
	case schemav1.SchemaType_SCHEMA_TYPE_PROTOBUF:
		text.Type = schema.Protobuf
	}
	for _, ref := range r.References {
		text.References = append(text.References, schema.Reference{Name: ref.Name, Subject: ref.Subject, Version: int(ref.Version)})
	}
	known, created, err := s.client.Register(ctx, Registration{Text: text, Compatibility: schema.Compatibility(r.Compatibility), DryRun: r.DryRun})
	if err != nil {
		return nil, refusal(err)
	}
	if !r.DryRun && created {
		s.registered(r.Subject)
	}
	p := toProto(known)
	if err := s.addRule(ctx, p); err != nil {
		return nil, refusal(err)
	}
	p.Definition = ""
	return &schemav1.RegisterSchemaResponse{Schema: p, Created: created}, nil
}

// addRule adds the subject's compatibility rule, where there is a subject.
func (s *Service) addRule(ctx context.Context, p *schemav1.Schema) error {
	if p.Subject == "" {
		return nil
	}
	rule, err := s.client.Compatibility(ctx, p.Subject)
	if err == nil {
		p.Compatibility = schemav1.Compatibility(rule)
	} else if errors.Is(err, schema.ErrNotFound) {
		err = nil
	}
	return err
}

func toProto(t schema.Text) *schemav1.Schema {
	p := &schemav1.Schema{Subject: t.Subject, Version: int32(t.Version), Id: int32(t.ID), Definition: t.Definition,
		Type: schemav1.SchemaType(t.Type)}
	for _, r := range t.References {
		p.References = append(p.References, &schemav1.SchemaReference{Name: r.Name, Subject: r.Subject, Version: int32(r.Version)})
	}
	return p
}

// refusal is a client's error with its reason.
func refusal(err error) error {
	var r *stages.Refusal
	if errors.As(err, &r) {
		return err
	}
	reason := stages.SchemaUnavailable
	switch {
	case errors.Is(err, schema.ErrNotFound):
		reason = stages.SchemaNotFound
	case errors.Is(err, schema.ErrIncompatible):
		reason = stages.SchemaIncompatible
	case errors.Is(err, schema.ErrInvalid):
		reason = stages.SchemaInvalid
	case errors.Is(err, schema.ErrRefused):
		reason = stages.RegistrationDisabled
	}
	return &stages.Refusal{Reason: reason, Detail: &stages.Detail{Message: err.Error()}}
}
