package main

// The profiles of a run: which there are, which are missing, and what a reader knows them by.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
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
	name, title string
	kinds       []string
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
	titles := readTitles(f, p)
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
			runs = append(runs, run{name: name, title: cmp.Or(titles[name], name)})
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

const titlesFile = profilesFolder + "/titles.json"

// readTitles reads what the profiles are called. The names of their files do where it is missing, as in a
// folder that holds profiles of something else.
func readTitles(f folder, p *problems) (titles map[string]string) {
	raw, err := f.read(titlesFile)
	if err == nil {
		err = json.Unmarshal(raw, &titles)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.addf("%s: %v; the profiles are listed by the names of their files", titlesFile, err)
		return nil
	}
	return titles
}
