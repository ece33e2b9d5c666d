package main

// The names in the folder of a run; writing; removing the pages of an earlier run.

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	reportFile = "report.md"
	pageFile   = "report.html"

	plotsFolder    = "plots"
	profilesFolder = "profiles"
	flameFolder    = "flame"
)

// folder is the path of a run's results. All names in it are written with slashes.
type folder string

func (f folder) path(name string) string { return filepath.Join(string(f), filepath.FromSlash(name)) }

func (f folder) read(name string) ([]byte, error) { return os.ReadFile(f.path(name)) }

// files lists the names of a subfolder that end in suffix, sorted and without it. A subfolder that does not
// exist is empty: a run need not have plots or profiles.
func (f folder) files(sub, suffix string) ([]string, error) {
	entries, err := os.ReadDir(f.path(sub))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if name, found := strings.CutSuffix(e.Name(), suffix); found && name != "" && !e.IsDir() {
			names = append(names, name)
		}
	}
	return names, nil
}

// write replaces a file as a whole, so that a stopped run leaves the old one or the new one.
func (f folder) write(name string, content []byte) error {
	path := f.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// clear removes what an earlier run of this command drew: a page whose source is gone would otherwise stay
// and show old figures.
func (f folder) clear() error {
	for sub, suffix := range map[string]string{plotsFolder: ".svg", flameFolder: ".html"} {
		names, err := f.files(sub, suffix)
		if err != nil {
			return fmt.Errorf("listing the pages of an earlier run: %w", err)
		}
		for _, name := range names {
			if err := os.Remove(f.path(sub + "/" + name + suffix)); err != nil {
				return fmt.Errorf("removing a page of an earlier run: %w", err)
			}
		}
	}
	return nil
}
