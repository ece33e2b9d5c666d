package registry

// What writes: registering a schema, and a subject's compatibility rule.

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/event-gateway/event-gateway/stages/schema"
)

// Registration is a subject's next schema.
type Registration struct {
	// Text has Subject, Type, Definition and References; Version and ID are not read.
	Text schema.Text
	// Compatibility is the subject's rule from now on, for this schema too; CompatibilityUnset: as it was.
	Compatibility schema.Compatibility
	// DryRun: tell what would be, change nothing. The subject's rule as it is decides.
	DryRun bool
}

// Compatibility is the rule for the subject's next version: its own, else the registry's default.
func (c *Client) Compatibility(ctx context.Context, subject string) (schema.Compatibility, error) {
	if err := badSubject(subject); err != nil {
		return 0, err
	}
	r := c.sr.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), subject)[0]
	if r.Err != nil && isNotFound(r.Err) { // a registry that does not know the parameter
		r = c.sr.Compatibility(ctx, sr.GlobalSubject)[0]
	}
	return schema.Compatibility(r.Level), classify(r.Err)
}

// Register registers a schema, and reports whether the subject did not have it before. In a dry run nothing is
// changed, and version and id are 0 unless the subject has the text already.
func (c *Client) Register(ctx context.Context, r Registration) (text schema.Text, created bool, err error) {
	if err := badSubject(r.Text.Subject); err != nil {
		return schema.Text{}, false, err
	}
	known, found, err := c.lookup(ctx, r.Text)
	switch {
	case err != nil:
		return schema.Text{}, false, err
	case r.DryRun && found:
		return known, false, nil
	case r.DryRun:
		return r.Text, true, c.compatible(ctx, r.Text)
	}
	undo, err := c.setRule(ctx, r.Text.Subject, r.Compatibility)
	if err != nil {
		return schema.Text{}, false, err
	}
	if found {
		return known, false, nil
	}
	if _, err := c.sr.RegisterSchema(ctx, r.Text.Subject, toRegistry(r.Text), -1, -1); err != nil {
		return schema.Text{}, false, errors.Join(classify(err), undo())
	}
	known, found, err = c.lookup(ctx, r.Text)
	if err == nil && !found {
		err = fmt.Errorf("%w: it took the schema and then does not have it", schema.ErrUnavailable)
	}
	return known, true, err
}

// lookup finds the text among the subject's versions.
func (c *Client) lookup(ctx context.Context, t schema.Text) (known schema.Text, found bool, err error) {
	s, err := c.sr.LookupSchema(ctx, t.Subject, toRegistry(t))
	switch {
	case err == nil:
		known = textOf(s)
		known.Type = t.Type // not in every registry's answer
		return known, true, nil
	case isNotFound(err):
		return schema.Text{}, false, nil
	}
	return schema.Text{}, false, classify(err)
}

// compatible holds a text against the subject's rule.
func (c *Client) compatible(ctx context.Context, t schema.Text) error {
	const all = -2 // the versions that the rule asks for
	result, err := c.sr.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), t.Subject, all, toRegistry(t))
	switch {
	case err != nil && isNotFound(err): // a new subject
		return nil
	case err != nil:
		return classify(err)
	case !result.Is:
		return fmt.Errorf("%w: %s", schema.ErrIncompatible, said(&sr.ResponseError{Message: strings.Join(result.Messages, "; ")}))
	}
	return nil
}

// setRule sets the subject's rule, and returns what sets it back.
func (c *Client) setRule(ctx context.Context, subject string, rule schema.Compatibility) (undo func() error, err error) {
	if rule == schema.CompatibilityUnset {
		return func() error { return nil }, nil
	}
	before := c.sr.Compatibility(ctx, subject)[0]
	if before.Err != nil && !isNotFound(before.Err) {
		return nil, classify(before.Err)
	}
	set := func(ctx context.Context, level sr.CompatibilityLevel) error {
		return classify(c.sr.SetCompatibility(ctx, sr.SetCompatibility{Level: level}, subject)[0].Err)
	}
	if err := set(ctx, sr.CompatibilityLevel(rule)); err != nil {
		return nil, err
	}
	return func() error {
		// Also when the caller has left: its rule would stay behind.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), schema.MaxTimeout)
		defer cancel()
		if before.Err != nil { // it had none of its own
			return classify(c.sr.ResetCompatibility(ctx, subject)[0].Err)
		}
		return set(ctx, before.Level)
	}, nil
}

func isNotFound(err error) bool { return errors.Is(classify(err), schema.ErrNotFound) }
