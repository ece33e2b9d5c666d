package main

// Profiles of the packages' benchmarks, one CPU and one allocation profile for each row of their table: rows
// that shared one would hide what a parameter changes. They have a run of their own, because recording every
// allocation costs time.

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// profiledFor is how long a row runs for its profiles: 30 to 50 CPU samples on each processor that it keeps
// busy, while all rows together stay under half a minute.
const profiledFor = "300ms"

// microProfiles runs every row once more, for its profiles. It returns the names of the rows that have them.
func (b *bench) microProfiles(ctx context.Context, tests []testBinary, rows []*microRow) map[*microRow]string {
	names := map[*microRow]string{}
	for _, row := range rows {
		for _, t := range tests {
			if t.name() != row.pkg || ctx.Err() != nil {
				continue
			}
			say("profiles of %s", row.title())
			name := row.file()
			file := func(kind string) string {
				abs, _ := filepath.Abs(filepath.Join(b.out, "profiles", name+"."+kind+".pprof"))
				return abs
			}
			_, err := t.run(ctx, row.pattern(), profiledFor, "-test.cpuprofile="+file("cpu"), "-test.memprofile="+file("alloc"), "-test.memprofilerate=4096")
			if err != nil {
				b.fail(err)
				continue
			}
			names[row] = name
			b.titled(name, row.title())
		}
	}
	return names
}

// pattern matches the row's benchmark and nothing else: not the rows whose names begin alike, and not the
// plain ways beside it.
func (row *microRow) pattern() string {
	name := "Benchmark" + row.name
	if ours := row.ours(); row.split && ours != nil {
		name += "/impl=" + ours.name
	}
	parts := strings.Split(name, "/")
	for i, part := range parts {
		parts[i] = "^" + regexp.QuoteMeta(part) + "$"
	}
	return strings.Join(parts, "/")
}

// file is the row's name among the profiles and pages: letters, digits, - and _ only, as it is part of paths
// and links. Pipeline/events=100 of the package pipeline is micro-pipeline-Pipeline_events-100.
func (row *microRow) file() string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '/':
			return '_'
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '-'
	}, "micro-"+row.pkg+"-"+row.name)
}

// title is the row's name for a reader: pipeline: Pipeline, events=100.
func (row *microRow) title() string {
	return row.pkg + ": " + strings.ReplaceAll(row.name, "/", ", ")
}

// titled notes what the pages call the profiles of a name.
func (b *bench) titled(name, title string) { b.titles[name] = title }

// writeTitles leaves the titles where the pages look for them.
func (b *bench) writeTitles() error {
	raw, err := json.MarshalIndent(b.titles, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.out, "profiles", "titles.json"), append(raw, '\n'), 0o644)
}
