package main

// The steps in their order.

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go -C bench/pages run . FOLDER\n\nFOLDER holds report.md, plots/ and profiles/, as make bench leaves them.")
		os.Exit(2)
	}
	p := &problems{}
	if err := makePages(folder(os.Args[1]), p); err != nil {
		fmt.Fprintln(os.Stderr, "pages:", err)
		os.Exit(1)
	}
	for _, text := range p.list {
		fmt.Fprintln(os.Stderr, "pages:", text)
	}
	fmt.Println(folder(os.Args[1]).path(pageFile))
	if len(p.list) > 0 {
		os.Exit(1)
	}
}

// makePages makes all pages of a run. Its error says that nothing could be made; anything less is a problem.
func makePages(f folder, p *problems) error {
	report, err := f.read(reportFile)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s: no report; measure first (make bench) or name another folder: %w", f.path(reportFile), err)
	}
	if err != nil {
		return err
	}
	if err := f.clear(); err != nil {
		return err
	}
	plots, err := drawPlots(f, p)
	if err != nil {
		return err
	}
	runs, err := listRuns(f, p)
	if err != nil {
		return err
	}
	listed := withFlameList(string(report), runs, drawFlames(f, runs, p))
	if listed != string(report) {
		if err := f.write(reportFile, []byte(listed)); err != nil {
			return err
		}
	}
	page, err := reportPage([]byte(listed), f, plots, p)
	if err != nil {
		return fmt.Errorf("%s: %w", reportFile, err)
	}
	return f.write(pageFile, page)
}

// drawPlots returns the plots that it drew by the names of their files.
func drawPlots(f folder, p *problems) (map[string][]byte, error) {
	names, err := f.files(plotsFolder, ".json")
	if err != nil {
		return nil, fmt.Errorf("listing the plots: %w", err)
	}
	plots := map[string][]byte{}
	for _, name := range names {
		source, file := plotsFolder+"/"+name+".json", plotsFolder+"/"+name+".svg"
		drawn, err := drawPlot(f, source)
		if err != nil {
			p.addf("%s: %v; correct it, or measure again (make bench)", source, err)
			continue
		}
		if err := f.write(file, drawn); err != nil {
			return nil, err
		}
		plots[file] = drawn
	}
	return plots, nil
}

func drawPlot(f folder, source string) ([]byte, error) {
	raw, err := f.read(source)
	if err != nil {
		return nil, err
	}
	spec, err := readPlot(raw)
	if err != nil {
		return nil, err
	}
	if spec.Bars != nil {
		return drawBars(spec)
	}
	return drawLines(spec)
}

// drawFlames returns the names of the pages that it drew.
func drawFlames(f folder, runs []run, p *problems) map[string]bool {
	drawn := map[string]bool{}
	for _, r := range runs {
		for _, kind := range r.kinds {
			if err := drawFlame(f, r, kind); err != nil {
				p.addf("%s: %v; measure again (make bench)", profileFile(r.name, kind), err)
				continue
			}
			drawn[flameFile(r.name, kind)] = true
		}
	}
	return drawn
}
