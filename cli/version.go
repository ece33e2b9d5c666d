package cli

// gateway version: what is running, for bug reports.

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"text/tabwriter"
)

type versionCommand struct{}

func (versionCommand) Help() string {
	return `Examples:
  gateway version`
}

// Run prints one line a component.
func (versionCommand) Run(p *Program) error {
	w := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "gateway\t%s\n", p.Version)
	fmt.Fprintf(w, "go\t%s %s/%s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH)
	versions := moduleVersions()
	for _, module := range []string{"github.com/twmb/franz-go", "google.golang.org/grpc"} {
		if version := versions[module]; version != "" {
			fmt.Fprintf(w, "%s\t%s\n", module, version)
		}
	}
	return w.Flush()
}

// moduleVersions are the versions of the modules in this binary.
func moduleVersions() map[string]string {
	versions := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, module := range info.Deps {
		if module.Replace != nil {
			module = module.Replace
		}
		versions[module.Path] = module.Version
	}
	return versions
}
