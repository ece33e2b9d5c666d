package schema

// What is needed of a registry. Package stages knows no Kafka client, so
// kafka/registry implements this.

import (
	"context"
	"errors"
)

// Type is a schema language.
type Type uint8

// The languages.
const (
	JSON Type = iota + 1
	Avro
	Protobuf
)

// String is the registry's name of the language.
func (t Type) String() string {
	switch t {
	case JSON:
		return "JSON"
	case Avro:
		return "AVRO"
	case Protobuf:
		return "PROTOBUF"
	}
	return "UNKNOWN"
}

// Reference is another schema that a schema imports by Name.
type Reference struct {
	Name    string
	Subject string
	Version int
}

// Text is a schema as the registry has it.
type Text struct {
	// Subject and Version are empty and 0 when several subjects share the text, or when it is not registered.
	Subject string
	Version int
	// ID is the text's number in the whole registry.
	ID         int
	Type       Type
	Definition string
	References []Reference
}

// Registry is where schemas come from. Its errors are one of those below; any other one counts as
// ErrUnavailable. Safe for concurrent use.
type Registry interface {
	// ByID returns the schema with that id.
	ByID(ctx context.Context, id int) (Text, error)
	// Version returns one version of a subject; version 0 is the latest.
	Version(ctx context.Context, subject string, version int) (Text, error)
	// Versions lists the versions of a subject, in rising order.
	Versions(ctx context.Context, subject string) ([]int, error)
}

// What a registry's answers come down to. Wrap them with what happened.
var (
	// ErrNotFound: the registry says that it does not have it.
	ErrNotFound = errors.New("not in the registry")
	// ErrUnavailable: no answer, or one that says nothing about the schema. Trying again can help.
	ErrUnavailable = errors.New("the registry is not available")
	// ErrIncompatible: the schema breaks the subject's compatibility rule.
	ErrIncompatible = errors.New("incompatible with the subject's earlier versions")
	// ErrInvalid: the schema cannot be used: not valid, too large, or of an unknown language.
	ErrInvalid = errors.New("the schema cannot be used")
	// ErrRefused: the registry does not let the gateway do that.
	ErrRefused = errors.New("the registry refuses")
)

// Compatibility is the rule that a subject's next version must keep to. The numbers are those of the enum in
// proto/schema/v1/schema.proto.
type Compatibility int

// The rules. CompatibilityUnset leaves a subject's rule as it is.
const (
	CompatibilityUnset Compatibility = iota
	CompatibilityNone
	CompatibilityBackward
	CompatibilityBackwardTransitive
	CompatibilityForward
	CompatibilityForwardTransitive
	CompatibilityFull
	CompatibilityFullTransitive
)
