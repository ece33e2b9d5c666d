package main

// The profiles of a run and their list for report.md.

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// kinds come in pairs: what takes processors and memory of one run, what makes goroutines wait of another, as recording
// that costs something.
var kinds = []string{"cpu", "alloc", "block", "mutex"}

// partner is the kind that was taken in the same run.
var partner = map[string]string{"cpu": "alloc", "alloc": "cpu", "block": "mutex", "mutex": "block"}

// run is a benchmark with the kinds of profile that it has.
type run struct {
	name  string
	kinds []string
}

// missing are the kinds that the benchmark lacks, though their partner is there.
func (r run) missing() (list []string) {
	for _, k := range kinds {
		if !slices.Contains(r.kinds, k) && slices.Contains(r.kinds, partner[k]) {
			list = append(list, k)
		}
	}
	return list
}

func profileFile(name, kind string) string {
	return fmt.Sprintf("%s/%s.%s.pprof", profilesFolder, name, kind)
}

func flameFile(name, kind string) string {
	return fmt.Sprintf("%s/%s.%s.html", flameFolder, name, kind)
}

// listRuns groups the profiles in the folder by benchmark, in the order of their names.
func listRuns(f folder, p *problems) ([]run, error) {
	files, err := f.files(profilesFolder, ".pprof")
	if err != nil {
		return nil, fmt.Errorf("listing the profiles: %w", err)
	}
	var runs []run
	for _, file := range files {
		dot := strings.LastIndexByte(file, '.')
		if dot <= 0 || !slices.Contains(kinds, file[dot+1:]) {
			p.addf("%s/%s.pprof: no page was made of it; name it NAME.KIND.pprof, KIND being %s",
				profilesFolder, file, strings.Join(kinds, ", "))
			continue
		}
		name, kind := file[:dot], file[dot+1:]
		i := slices.IndexFunc(runs, func(r run) bool { return r.name == name })
		if i < 0 {
			runs = append(runs, run{name: name})
			i = len(runs) - 1
		}
		runs[i].kinds = append(runs[i].kinds, kind)
	}
	for _, r := range runs {
		for _, kind := range r.missing() {
			p.addf("%s: missing, though %s has other profiles; measure again (make bench)",
				profileFile(r.name, kind), r.name)
		}
	}
	return runs, nil
}

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
	return fmt.Sprintf("- %s: %s", escapeMarkdown(r.name), strings.Join(links, " | "))
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
