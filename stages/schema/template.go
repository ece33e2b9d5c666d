package schema

// SCHEMA_SUBJECT: text with attributes of the event between braces.

import (
	"fmt"
	"strings"

	"github.com/event-gateway/event-gateway/stages"
)

// maxSubjectBytes bounds a subject. Registries take no longer ones (255 in proto/schema/v1).
const maxSubjectBytes = 255

// part is a piece of a template: text, or the attribute that value reads.
type part struct {
	text  string
	value func(ev *stages.Event) []byte
}

// template is a parsed SCHEMA_SUBJECT.
type template []part

// parseTemplate reads the template. topic is what {topic} stands for.
func parseTemplate(text, topic string) (template, error) {
	var t template
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			return t.add(part{text: rest}), nil
		}
		if rest[open] == '}' {
			return nil, fmt.Errorf("has a } without a { at byte %d", len(text)-len(rest)+open)
		}
		t = t.add(part{text: rest[:open]})
		at := len(text) - len(rest) + open
		name, after, closed := strings.Cut(rest[open+1:], "}")
		if !closed {
			return nil, fmt.Errorf("has a { without a } at byte %d", at)
		}
		p, ok := attribute(name, topic)
		if !ok {
			return nil, fmt.Errorf("has {%s} at byte %d; there are {topic}, {type}, {source}, {subject}, "+
				"{data_content_type} and {metadata.name}", name, at)
		}
		t, rest = t.add(p), after
	}
	if len(t) == 0 {
		return nil, fmt.Errorf("is empty; the default is {topic}-value")
	}
	return t, nil
}

// add appends a part; texts that meet become one.
func (t template) add(p part) template {
	if last := len(t) - 1; p.value == nil && last >= 0 && t[last].value == nil {
		t[last].text += p.text
		return t
	}
	if p.value == nil && p.text == "" {
		return t
	}
	return append(t, p)
}

func attribute(name, topic string) (part, bool) {
	switch name {
	case "topic":
		return part{text: topic}, true
	case "type":
		return part{value: func(ev *stages.Event) []byte { return ev.Type.Value }}, true
	case "source":
		return part{value: func(ev *stages.Event) []byte { return ev.Source.Value }}, true
	case "subject":
		return part{value: func(ev *stages.Event) []byte { return ev.Subject.Value }}, true
	case "data_content_type":
		return part{value: func(ev *stages.Event) []byte { return ev.DataContentType.Value }}, true
	}
	if entry, ok := strings.CutPrefix(name, "metadata."); ok && entry != "" {
		return part{value: func(ev *stages.Event) []byte { return metadata(ev, entry) }}, true
	}
	return part{}, false
}

// metadata is the last entry of that name: protobuf maps read that way.
func metadata(ev *stages.Event, name string) []byte {
	for i := len(ev.Metadata) - 1; i >= 0; i-- {
		if string(ev.Metadata[i].Name) == name {
			return ev.Metadata[i].Value
		}
	}
	return nil
}

// constant is the subject when it is the same for all events.
func (t template) constant() (subject string, ok bool) {
	for _, p := range t {
		if p.value != nil {
			return "", false
		}
		subject += p.text
	}
	return subject, true
}

// append adds the event's subject to b. An event makes at most MaxEventBytes of it; see usableSubject.
func (t template) append(b []byte, ev *stages.Event) []byte {
	for i := range t {
		if p := &t[i]; p.value != nil {
			b = append(b, p.value(ev)...)
		} else {
			b = append(b, p.text...)
		}
	}
	return b
}

// usableSubject: registries have no other ones, and . and .. would lead elsewhere in a URL.
func usableSubject(subject []byte) bool {
	return len(subject) > 0 && len(subject) <= maxSubjectBytes && string(subject) != "." && string(subject) != ".."
}
