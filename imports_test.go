// The architecture as a test: who may import whom, and which folders the repository has.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/event-gateway/event-gateway"

// mayImport says for each top-level folder which others its packages may import, tests aside. A folder's
// own packages may import each other. "." is the main package. A folder that is not listed fails the test:
// decide and list it.
var mayImport = map[string][]string{
	"ring":      {},
	"stages":    {"proto"},
	"pipeline":  {"ring", "stages"},
	"kafka":     {"stages", "proto"},
	"transport": {"pipeline", "stages", "proto"},
	"cli":       {"ring", "stages", "pipeline", "kafka", "transport", "proto"},
	".":         {"ring", "stages", "pipeline", "kafka", "transport", "cli", "proto"},
	"bench":     {"ring", "stages", "pipeline", "kafka", "transport", "cli", "proto"},
	"faults":    {"ring", "stages", "pipeline", "kafka", "transport", "cli", "proto"},
	"proto":     {},
	"deploy":    {},
}

// neverImport lists what a folder must not import from outside, with everything below it. It is what keeps
// the Kafka client behind one adapter and the stages and the pipeline free of any transport.
var neverImport = map[string][]string{
	"stages":   {"github.com/twmb/franz-go", "google.golang.org/grpc"},
	"pipeline": {"github.com/twmb/franz-go", "google.golang.org/grpc"},
}

// grpcVocabulary may be imported everywhere: names for codes and errors, no server and no client.
var grpcVocabulary = []string{"google.golang.org/grpc/codes"}

// otherFolders hold no packages of the product: documents, tools with a module of their own, CI, and the
// data that an embedded broker leaves behind when the gateway is run here.
var otherFolders = []string{"docs", "tools", ".ci", ".github", ".git", "data", "testdata"}

// forbiddenNames are packages that would say nothing about what is in them.
var forbiddenNames = []string{"util", "utils", "common", "helper", "helpers", "manager", "misc"}

type goPackage struct {
	ImportPath string
	Imports    []string
	Error      *struct{ Err string }
}

func TestImports(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 2 {
		t.Fatalf("go list found %d packages; the rules were held against nothing", len(packages))
	}
	for _, p := range packages {
		from := folder(p.ImportPath)
		allowed, listed := mayImport[from]
		if !listed {
			t.Errorf("%s: folder %q is not in mayImport", p.ImportPath, from)
			continue
		}
		if name := p.ImportPath[strings.LastIndex(p.ImportPath, "/")+1:]; slices.Contains(forbiddenNames, name) {
			t.Errorf("%s: name it after what it does, not %q", p.ImportPath, name)
		}
		for _, imported := range p.Imports {
			if reason := refusal(from, allowed, imported); reason != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, reason)
			}
		}
	}
}

// refusal says why packages in the folder from may not import the given path, or "" when they may.
func refusal(from string, allowed []string, imported string) string {
	if isBelow(imported, modulePath) {
		to := folder(imported)
		if to == from || slices.Contains(allowed, to) {
			return ""
		}
		return "not allowed by mayImport in imports_test.go"
	}
	first, _, _ := strings.Cut(imported, "/")
	if from == "ring" && strings.Contains(first, ".") {
		return "ring uses the standard library only"
	}
	for _, path := range neverImport[from] {
		if isBelow(imported, path) && !slices.Contains(grpcVocabulary, imported) {
			return "not allowed by neverImport in imports_test.go"
		}
	}
	return ""
}

func TestImportRulesRefuse(t *testing.T) {
	for _, c := range []struct {
		from, imported string
		refused        bool
	}{
		{"ring", "sync/atomic", false},
		{"ring", "golang.org/x/sys/cpu", true},
		{"ring", modulePath + "/stages", true},
		{"stages", modulePath + "/proto/event/v1", false},
		{"stages", modulePath + "/stages/transform", false},
		{"stages", modulePath + "/ring", true},
		{"stages", "google.golang.org/grpc/codes", false},
		{"pipeline", "google.golang.org/grpc", true},
		{"pipeline", "github.com/twmb/franz-go/pkg/kgo", true},
		{"pipeline", modulePath + "/kafka", true},
		{"kafka", modulePath + "/pipeline", true},
		{"kafka", "github.com/twmb/franz-go/pkg/kgo", false},
		{"transport", modulePath + "/kafka", true},
		{".", modulePath + "/bench", true},
		{"bench", modulePath + "/kafka", false},
	} {
		reason := refusal(c.from, mayImport[c.from], c.imported)
		if (reason != "") != c.refused {
			t.Errorf("%s imports %s: refused %t (%q), want %t", c.from, c.imported, !c.refused, reason, c.refused)
		}
	}
}

func TestTopLevelFolders(t *testing.T) {
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		_, product := mayImport[e.Name()]
		if e.IsDir() && !product && !slices.Contains(otherFolders, e.Name()) {
			t.Errorf("folder %s: another top-level folder needs a decision in docs/adr and a line here", e.Name())
		}
	}
}

// listPackages asks the go command, so that build tags and generated files count as they do in a build.
func listPackages(t *testing.T) []goPackage {
	t.Helper()
	// -pgo=off: packages that are compiled by the profile of a program are listed once more, under its name.
	cmd := exec.CommandContext(t.Context(), "go", "list", "-pgo=off", "-e", "-tags=kafka,faults", "-json=ImportPath,Imports,Error", "./...")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting go list: %v", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(out); ; {
		var p goPackage
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		// A folder with nothing but tests has no imports of its own; -e lists it, and its tests are none of this.
		if p.Error != nil && !strings.Contains(p.Error.Err, "no non-test Go files") {
			t.Errorf("%s: %s", p.ImportPath, p.Error.Err)
		}
		packages = append(packages, p)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("go list: %v", err)
	}
	return packages
}

// folder returns the top-level folder of a package of this module, "." for the main package.
func folder(importPath string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(importPath, modulePath), "/")
	first, _, _ := strings.Cut(rest, "/")
	if first == "" {
		return "."
	}
	return first
}

// isBelow tells whether a path is root or lies under it.
func isBelow(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}
