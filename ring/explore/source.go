package explore

// Models are held to the code they model: a step's name quotes the piece of a
// source line that it stands for, and Compare finds quotes that the code no
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

// shared matches an atomic operation or a channel operation.
var shared = regexp.MustCompile(`[\w.]+\.(Load|Store|CompareAndSwap|Swap|Add)\(|<-[\w.]+|[\w.]+ <- `)

// quote splits "who: file.go: piece of a line // remark"; ok is false for steps that quote nothing.
func quote(step string) (file, piece string, ok bool) {
	parts := strings.SplitN(step, ": ", 3)
	if len(parts) < 3 || !strings.HasSuffix(parts[1], ".go") {
		return "", "", false
	}
	piece, _, _ = strings.Cut(parts[2], " // ")
	return parts[1], piece, true
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
	quoted := map[string][]string{} // by file
	for step := range steps {
		if file, piece, ok := quote(step); ok && !slices.Contains(quoted[file], piece) {
			quoted[file] = append(quoted[file], piece)
		}
	}
	lines := map[string][]string{} // of the functions, by file
	for _, f := range c.Functions {
		file, name, _ := strings.Cut(f, ":")
		body, err := body(c.Dirs, file, name)
		if err != nil {
			problems = append(problems, err.Error())
		}
		lines[file] = append(lines[file], body...)
	}
	for file, pieces := range quoted {
		if lines[file] == nil {
			continue // not asked for
		}
		for _, piece := range pieces {
			if !slices.ContainsFunc(lines[file], func(line string) bool { return strings.Contains(line, piece) }) {
				problems = append(problems, fmt.Sprintf("%s: the model has a step %q that the code has not", file, piece))
			}
		}
	}
	for file, lines := range lines {
		for _, line := range lines {
			problems = append(problems, c.unquoted(file, line, quoted[file])...)
		}
	}
	slices.Sort(problems)
	return problems
}

// unquoted finds the shared accesses of a line that no step stands for.
func (c Code) unquoted(file, line string, pieces []string) (problems []string) {
	for _, access := range shared.FindAllString(line, -1) {
		if access == "<-chan" || slices.Contains(c.Uninvolved, strings.TrimSuffix(access, "(")) {
			continue
		}
		stands := func(piece string) bool { return strings.Contains(line, piece) && strings.Contains(piece, access) }
		if !slices.ContainsFunc(pieces, stands) {
			problems = append(problems, fmt.Sprintf("%s: no step of the model stands for %q in %q", file, access, line))
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
