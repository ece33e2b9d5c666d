package main

// pprof's flame graph page of a profile: pprof's own web server, asked once without a network.

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/google/pprof/driver"
	"github.com/google/pprof/profile"
)

// drawFlame writes the page of one profile. The flags of pprof are global to the process: one at a time.
func drawFlame(f folder, r run, kind string) error {
	raw, err := f.read(profileFile(r.name, kind))
	if err != nil {
		return err
	}
	p, err := profile.ParseData(raw)
	if err != nil {
		return fmt.Errorf("not a profile: %w", err)
	}
	title := r.title + " " + kind
	if len(p.Sample) == 0 {
		return f.write(flameFile(r.name, kind), emptyPage(title))
	}
	// Every flag is given each time, because pprof keeps those of the last call.
	sampleIndex, tagRoot := "", ""
	if kind == "alloc" {
		sampleIndex = "alloc_space"
	}
	if labelStages(p) {
		tagRoot = stageLabel
	}
	page, err := flamePage(p, "-http=localhost:0", "-no_browser", "-symbolize=none",
		"-sample_index="+sampleIndex, "-tagroot="+tagRoot, r.name)
	if err != nil {
		return err
	}
	page, err = offline(page, title)
	if err != nil {
		return err
	}
	return f.write(flameFile(r.name, kind), page)
}

// flamePage runs pprof on p and returns what it serves as /flamegraph.
func flamePage(p *profile.Profile, args ...string) ([]byte, error) {
	var page []byte
	ui := &quietUI{}
	err := driver.PProf(&driver.Options{
		Fetch:   given{p},
		Flagset: &flagSet{FlagSet: flag.NewFlagSet("pprof", flag.ContinueOnError), args: args},
		UI:      ui,
		Obj:     noBinaries{},
		HTTPServer: func(server *driver.HTTPServerArgs) error {
			handler := server.Handlers["/flamegraph"]
			if handler == nil {
				return errors.New("this version of pprof serves no /flamegraph")
			}
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/flamegraph", http.NoBody))
			page = answer.Body.Bytes()
			if answer.Code != http.StatusOK {
				return fmt.Errorf("pprof answers %d: %s", answer.Code, bytes.TrimSpace(page))
			}
			return nil
		},
	})
	if err != nil {
		return nil, errors.Join(append([]error{err}, ui.errs...)...)
	}
	return page, nil
}

// given hands pprof a profile that was read already.
type given struct{ p *profile.Profile }

// Fetch returns the profile; without a URL pprof takes it for a local file.
func (g given) Fetch(string, time.Duration, time.Duration) (*profile.Profile, string, error) {
	return g.p, "", nil
}

// noBinaries keeps pprof from looking for programs on this machine: Go's profiles carry their symbols.
type noBinaries struct{}

var errNoBinaries = errors.New("programs are not read")

// Open always fails.
func (noBinaries) Open(string, uint64, uint64, uint64, string) (driver.ObjFile, error) {
	return nil, errNoBinaries
}

// Disasm always fails.
func (noBinaries) Disasm(string, uint64, uint64, bool) ([]driver.Inst, error) {
	return nil, errNoBinaries
}

// flagSet gives pprof its arguments instead of this command's.
type flagSet struct {
	*flag.FlagSet
	args []string
}

// StringList declares a flag that may be repeated; it is not used here.
func (s *flagSet) StringList(name, value, usage string) *[]*string {
	return &[]*string{s.String(name, value, usage)}
}

// ExtraUsage is empty: nobody reads pprof's usage.
func (*flagSet) ExtraUsage() string { return "" }

// AddExtraUsage does nothing.
func (*flagSet) AddExtraUsage(string) {}

// Parse returns the arguments that are not flags; none, which pprof takes for an error, if a flag is unknown.
func (s *flagSet) Parse(func()) []string {
	s.SetOutput(io.Discard)
	if err := s.FlagSet.Parse(s.args); err != nil {
		return nil
	}
	return s.Args()
}

// quietUI keeps pprof's errors and drops its chatter.
type quietUI struct{ errs []error }

// ReadLine ends an interactive session at once.
func (*quietUI) ReadLine(string) (string, error) { return "", io.EOF }

// Print drops the text.
func (*quietUI) Print(...any) {}

// PrintErr keeps the text.
func (u *quietUI) PrintErr(args ...any) {
	u.errs = append(u.errs, errors.New(strings.TrimSpace(fmt.Sprint(args...))))
}

// IsTerminal is false.
func (*quietUI) IsTerminal() bool { return false }

// WantBrowser is false.
func (*quietUI) WantBrowser() bool { return false }

// SetAutoComplete does nothing.
func (*quietUI) SetAutoComplete(func(string) string) {}
