package registry

// The client, and everything that reads.

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/event-gateway/event-gateway/stages/schema"
)

// Client asks a registry. Safe for concurrent use. Its errors wrap those of package schema.
type Client struct {
	sr    *sr.Client
	http  *http.Client
	url   string
	guard dialGuard
}

var _ schema.Registry = (*Client)(nil)

// New returns a client. It connects when it is first asked. cfg must be valid (schema.Config.Validate).
func New(cfg schema.Config) (*Client, error) {
	guard := newDialGuard(cfg.URL)
	client, err := newHTTPClient(cfg.URL, guard.check)
	if err != nil {
		return nil, err
	}
	options := []sr.ClientOpt{sr.URLs(cfg.URL), sr.HTTPClient(client), sr.UserAgent("event-gateway")}
	if cfg.Username != "" {
		options = append(options, sr.BasicAuth(cfg.Username, cfg.Password))
	}
	c, err := sr.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("making the registry's client: %w", err)
	}
	return &Client{sr: c, http: client, url: cfg.URL, guard: guard}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// ByID implements schema.Registry. The subject is set when the schema has exactly one.
func (c *Client) ByID(ctx context.Context, id int) (schema.Text, error) {
	found, err := c.sr.SchemaByID(ctx, id)
	if err != nil {
		return schema.Text{}, classify(err)
	}
	text := textOf(sr.SubjectSchema{ID: id, Schema: found})
	// Where it is registered is only said to people, and older registries cannot tell: no reason to fail.
	if uses, err := c.sr.SchemaVersionsByID(ctx, id); err == nil && len(uses) == 1 {
		text.Subject, text.Version = uses[0].Subject, uses[0].Version
	}
	return text, nil
}

// Version implements schema.Registry.
func (c *Client) Version(ctx context.Context, subject string, version int) (schema.Text, error) {
	if err := badSubject(subject); err != nil {
		return schema.Text{}, err
	}
	if version == 0 {
		version = -1 // the latest, to sr
	}
	found, err := c.sr.SchemaByVersion(ctx, subject, version)
	if err != nil {
		return schema.Text{}, classify(err)
	}
	if found.Version == 0 || found.ID == 0 {
		return schema.Text{}, fmt.Errorf("%w: its answer has no version or no id", schema.ErrUnavailable)
	}
	return textOf(found), nil
}

// Versions implements schema.Registry.
func (c *Client) Versions(ctx context.Context, subject string) ([]int, error) {
	if err := badSubject(subject); err != nil {
		return nil, err
	}
	versions, err := c.sr.SubjectVersions(ctx, subject)
	if err != nil {
		return nil, classify(err)
	}
	slices.Sort(versions)
	return versions, nil
}

// Subjects lists the subjects that begin with prefix, by name.
func (c *Client) Subjects(ctx context.Context, prefix string) ([]string, error) {
	if prefix != "" {
		ctx = sr.WithParams(ctx, sr.SubjectPrefix(prefix))
	}
	subjects, err := c.sr.Subjects(ctx)
	if err != nil {
		return nil, classify(err)
	}
	// Registries that do not know the parameter answer with all of them.
	subjects = slices.DeleteFunc(subjects, func(s string) bool { return !strings.HasPrefix(s, prefix) })
	slices.Sort(subjects)
	return subjects, nil
}

// badSubject: a URL's path would be shortened by . and .., and lead elsewhere.
func badSubject(subject string) error {
	if subject == "" || subject == "." || subject == ".." {
		return fmt.Errorf("%w: %q is not a subject", schema.ErrNotFound, subject)
	}
	return nil
}

func textOf(s sr.SubjectSchema) schema.Text {
	text := schema.Text{Subject: s.Subject, Version: s.Version, ID: s.ID, Type: schema.Avro, Definition: s.Schema.Schema}
	switch s.Type {
	case sr.TypeJSON:
		text.Type = schema.JSON
	case sr.TypeProtobuf:
		text.Type = schema.Protobuf
	}
	for _, r := range s.References {
		text.References = append(text.References, schema.Reference(r))
	}
	return text
}

func toRegistry(t schema.Text) sr.Schema {
	s := sr.Schema{Schema: t.Definition, Type: sr.TypeAvro}
	switch t.Type {
	case schema.JSON:
		s.Type = sr.TypeJSON
	case schema.Protobuf:
		s.Type = sr.TypeProtobuf
	}
	for _, r := range t.References {
		s.References = append(s.References, sr.SchemaReference(r))
	}
	return s
}
