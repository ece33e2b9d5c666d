package explore

// Models are held to the code they model: a step's name quotes the pieces of
// source lines that it stands for, and Compare finds quotes that the code no
// longer has and shared accesses of the code that no step quotes.

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// shared matches an atomic operation, a channel operation, or a wake-up.
var shared = regexp.MustCompile(`[\w.]+\.(Load|Store|CompareAndSwap|Swap|Add|Wake|WakeParked|Call)\(|<-[\w.]+|[\w.]+ <- `)

// place matches the beginning of a quote: file.go or file.go:function.
var place = regexp.MustCompile(`^\w+\.go(:\w+)?$`)

// quotes finds the quotes in "who: file.go: piece // file.go:function: another piece // remark".
func quotes(step string, found func(where, piece string)) {
	for i, part := range strings.Split(step, " // ") {
		if i == 0 {
			_, part, _ = strings.Cut(part, ": ")
		}
		if where, piece, ok := strings.Cut(part, ": "); ok && place.MatchString(where) {
			found(where, piece)
		}
	}
}

// Code is the part of the source that a model stands for.
type Code struct {
	Dirs      []string // where the files are
	Functions []string // "file.go:function"
	// Uninvolved are accesses in them that take no part in the protocol: statistics.
	Uninvolved []string
}

// Compare holds the steps that were taken against the code. It returns a line for each difference.
func (c Code) Compare(steps map[string]int) (problems []string) {
	quoted := map[string][]string{} // by place
	for step := range steps {
		quotes(step, func(where, piece string) {
			if !slices.Contains(quoted[where], piece) {
				quoted[where] = append(quoted[where], piece)
			}
		})
	}
	lines := map[string][]string{} // by place, twice: of the function, and of all functions of the file
	for _, f := range c.Functions {
		file, name, _ := strings.Cut(f, ":")
		body, err := body(c.Dirs, file, name)
		if err != nil {
			problems = append(problems, err.Error())
		}
		lines[f] = body
		lines[file] = append(lines[file], body...)
		for _, line := range body {
			problems = append(problems, c.unquoted(f, line, slices.Concat(quoted[file], quoted[f]))...)
		}
	}
	for where, pieces := range quoted {
		if lines[where] == nil {
			continue // not asked for
		}
		for _, piece := range pieces {
			if !slices.ContainsFunc(lines[where], func(line string) bool { return strings.Contains(line, piece) }) {
				problems = append(problems, fmt.Sprintf("%s: the model has a step %q that the code has not", where, piece))
			}
		}
	}
	slices.Sort(problems)
	return problems
}

// unquoted finds the shared accesses of a line that no step stands for.
func (c Code) unquoted(where, line string, pieces []string) (problems []string) {
	for _, access := range shared.FindAllString(line, -1) {
		if access == "<-chan" || slices.Contains(c.Uninvolved, strings.TrimSuffix(access, "(")) {
			continue
		}
		stands := func(piece string) bool { return strings.Contains(line, piece) && strings.Contains(piece, access) }
		if !slices.ContainsFunc(pieces, stands) {
			problems = append(problems, fmt.Sprintf("%s: no step of the model stands for %q in %q", where, access, line))
		}
	}
	return problems
}

// body returns the lines of a function or method, without comments at their ends.
func body(dirs []string, file, name string) ([]string, error) {
	for _, dir := range dirs {
		path := filepath.Join(dir, file)
		text, err := os.ReadFile(path)
		if err != nil {
			continue // in another folder
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, decl := range parsed.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == name {
				from, to := files.Position(f.Pos()).Line, files.Position(f.End()).Line
				lines := strings.Split(string(text), "\n")[from-1 : to]
				for i, line := range lines {
					line, _, _ = strings.Cut(line, "//")
					lines[i] = strings.TrimSpace(line)
				}
				return lines, nil
			}
		}
		return nil, fmt.Errorf("%s has no function %s", path, name)
	}
	return nil, fmt.Errorf("no file %s in %v", file, dirs)
}
