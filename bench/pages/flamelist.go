package main

// The list of flame graphs in report.md.

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

const (
	listBegin = "<!-- flamegraphs -->"
	listEnd   = "<!-- /flamegraphs -->"
)

// withFlameList puts the list of flame graphs behind the line <!-- flamegraphs -->, in place of the list of an
// earlier run. A report without that line stays as it is. drawn tells which pages exist.
func withFlameList(report string, runs []run, drawn map[string]bool) string {
	lines := strings.Split(report, "\n")
	isLine := func(want string) func(string) bool {
		return func(line string) bool { return strings.TrimSpace(line) == want }
	}
	begin := slices.IndexFunc(lines, isLine(listBegin))
	if begin < 0 {
		return report
	}
	rest := lines[begin+1:]
	if end := slices.IndexFunc(rest, isLine(listEnd)); end >= 0 {
		rest = rest[end+1:]
	}
	list := []string{listBegin, ""}
	for _, r := range runs {
		list = append(list, r.listItem(drawn))
	}
	if len(runs) == 0 {
		list = append(list, "No profiles were taken.")
	}
	list = append(list, "", listEnd)
	return strings.Join(slices.Concat(lines[:begin], list, rest), "\n")
}

// listItem is the benchmark's line: links to the pages, and the profiles that have none by name.
func (r run) listItem(drawn map[string]bool) string {
	var links []string
	for _, kind := range kinds {
		page := flameFile(r.name, kind)
		switch {
		case drawn[page]:
			links = append(links, fmt.Sprintf("[%s](%s)", kind, linkTo(page)))
		case slices.Contains(r.kinds, kind):
			links = append(links, kind+": profile unreadable")
		case slices.Contains(r.missing(), kind):
			links = append(links, kind+": profile missing")
		}
	}
	return fmt.Sprintf("- %s: %s", escapeMarkdown(r.title), strings.Join(links, " | "))
}

// linkTo writes a file's name as the destination of a Markdown link.
func linkTo(file string) string {
	return strings.NewReplacer("(", "%28", ")", "%29").Replace((&url.URL{Path: file}).EscapedPath())
}

// escapeMarkdown makes a name stand for itself: it comes from a file and may hold anything.
func escapeMarkdown(name string) string {
	var b strings.Builder
	for _, r := range name {
		switch {
		case r == '\n' || r == '\r':
			r = ' '
		case strings.ContainsRune("\\`*_{}[]()<>#+!|~&", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
