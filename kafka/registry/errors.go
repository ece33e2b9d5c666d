package registry

// What an answer comes down to. Definite is only what the registry itself says
// about the schema; a page of some proxy says nothing, whatever its status.

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/event-gateway/event-gateway/stages/schema"
)

// Error codes of registries that do not follow from the HTTP status.
const (
	codeInvalidVersion = 42202
	codeInvalidSchema  = 42201
	codeSchemaTooLarge = 42209
	codeNotPermitted   = 42205
)

// classify wraps an error of sr with what it means.
func classify(err error) error {
	var answer *sr.ResponseError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, schema.ErrInvalid): // too large a body
		return errBodyTooLarge
	case errors.As(err, &answer):
		return classifyAnswer(answer)
	case strings.Contains(err.Error(), "unknown schema type"): // sr says so in no other way
		return fmt.Errorf("%w: it is in a language that the gateway does not know", schema.ErrInvalid)
	}
	return fmt.Errorf("%w: %w", schema.ErrUnavailable, err)
}

func classifyAnswer(a *sr.ResponseError) error {
	wrap := func(kind error) error {
		return fmt.Errorf("%w: %s (status %d, error code %d)", kind, said(a), a.StatusCode, a.ErrorCode)
	}
	switch {
	case a.StatusCode >= 300 && a.StatusCode < 400:
		return fmt.Errorf("%w: it answered with a redirect (status %d), which is not followed", schema.ErrUnavailable, a.StatusCode)
	case a.StatusCode == http.StatusNotFound && (a.ErrorCode < 40400 || a.ErrorCode > 40499):
		return fmt.Errorf("%w: it answered 404 without a registry's error code; is SCHEMA_REGISTRY_URL right?", schema.ErrUnavailable)
	case a.StatusCode == http.StatusNotFound, a.ErrorCode == codeInvalidVersion:
		return wrap(schema.ErrNotFound)
	case a.StatusCode == http.StatusConflict:
		return wrap(schema.ErrIncompatible)
	case a.StatusCode == http.StatusUnauthorized, a.StatusCode == http.StatusForbidden, a.ErrorCode == codeNotPermitted:
		return wrap(schema.ErrRefused)
	case a.ErrorCode == codeInvalidSchema, a.ErrorCode == codeSchemaTooLarge, a.StatusCode == http.StatusUnprocessableEntity,
		a.StatusCode == http.StatusBadRequest, a.StatusCode == http.StatusRequestEntityTooLarge:
		return wrap(schema.ErrInvalid)
	}
	return wrap(schema.ErrUnavailable)
}

// maxSaid bounds what is repeated of an answer, in bytes.
const maxSaid = 300

// said is the registry's own message, short and in one line.
func said(a *sr.ResponseError) string {
	if a.Message == "" { // a page, most likely
		return "no message"
	}
	s := strings.ToValidUTF8(a.Message, "?")
	if len(s) > maxSaid {
		s = s[:maxSaid]
		for !utf8.ValidString(s) {
			s = s[:len(s)-1]
		}
		s += "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
