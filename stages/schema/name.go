package schema

// data_schema: an id of the registry, subject/version, or the $id of a version
// of the event's own subject.

import (
	"bytes"
	"math"
	"strconv"
)

// form is how a schema is named.
type form byte

const (
	byLatest  form = 's' // the latest version of a subject
	byID      form = 'i'
	byVersion form = 'v'
	byURI     form = 'u' // the $id of a version of the event's own subject
)

// name is one way to name a schema. Its slices are views.
type name struct {
	form    form
	subject []byte
	// number is the id or the version.
	number int
	uri    []byte
}

// parseName reads what data_schema says; own is the event's own subject, which only a URI needs. ok false: no
// registry can have it.
func parseName(text, own []byte) (n name, ok bool) {
	if digits(text) {
		id, ok := number(text)
		return name{form: byID, number: id}, ok
	}
	if slash := bytes.LastIndexByte(text, '/'); slash > 0 && !hasScheme(text) {
		subject, version := text[:slash], text[slash+1:]
		switch {
		case string(version) == "latest":
			return name{form: byLatest, subject: subject}, usableSubject(subject)
		case digits(version):
			v, ok := number(version)
			return name{form: byVersion, subject: subject, number: v}, ok && usableSubject(subject)
		}
	}
	return name{form: byURI, subject: own, uri: bytes.TrimSuffix(text, []byte("#"))}, usableSubject(own)
}

// digits: and nothing else.
func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// number is a positive int32, as ids and versions are.
func number(b []byte) (int, bool) {
	n := 0
	for _, c := range b {
		if n = n*10 + int(c-'0'); n > math.MaxInt32 {
			return 0, false
		}
	}
	return n, n > 0
}

// hasScheme: the text begins like a URI (RFC 3986, 3.1). Subjects of Confluent's contexts begin with a colon.
func hasScheme(text []byte) bool {
	for i, c := range text {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		case i > 0 && (c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return c == ':' && i > 0
		}
	}
	return false
}

// appendKey adds what the cache knows the name by: no two names share it, because no subject has a 0 byte that
// counts (registries refuse it) and numbers have one spelling.
func (n *name) appendKey(b []byte) []byte {
	b = append(b, byte(n.form))
	switch n.form {
	case byID:
		return strconv.AppendInt(b, int64(n.number), 10)
	case byVersion:
		b = strconv.AppendInt(b, int64(n.number), 10)
		b = append(b, 0)
		return append(b, n.subject...)
	case byURI:
		b = strconv.AppendInt(b, int64(len(n.subject)), 10)
		b = append(b, 0)
		b = append(b, n.subject...)
		return append(b, n.uri...)
	}
	return append(b, n.subject...)
}

// String is the name for people.
func (n *name) String() string {
	switch n.form {
	case byID:
		return "schema id " + strconv.Itoa(n.number)
	case byVersion:
		return "version " + strconv.Itoa(n.number) + " of subject " + shown(string(n.subject))
	case byURI:
		return "$id " + shown(string(n.uri)) + " in subject " + shown(string(n.subject))
	}
	return "subject " + shown(string(n.subject))
}
