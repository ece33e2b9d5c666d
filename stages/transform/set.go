package transform

// SET: "name=expr; name=expr", cut at its semicolons by expr's own lexer, so that
// those in texts and in parentheses stay where they are.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser/lexer"

	"github.com/event-gateway/event-gateway/stages"
)

// target is what an assignment sets.
type target uint8

const (
	setType target = iota
	setSource
	setSubject
	setPartitionKey
	setContentType
	setMetadata
)

var targets = map[string]target{"type": setType, "source": setSource, "subject": setSubject,
	"partition_key": setPartitionKey, "data_content_type": setContentType}

const targetNames = "type, source, subject, partition_key, data_content_type or metadata.<name>"

// assignment is one name=expr.
type assignment struct {
	target target
	// name is the attribute's, as it is written: "metadata.tenant". key is tenant.
	name, key string
	// program gives the value, unless it is constant.
	program  *exprProgram
	constant []byte
	fixed    bool
}

// compileSet compiles the value of SET. gateway is the instance's name.
func compileSet(source, gateway string) ([]assignment, error) {
	tokens, err := lexer.Lex(file.NewSource(source))
	if err != nil {
		return nil, exprProblem(err)
	}
	var all []assignment
	for part := range assignments(tokens) {
		a, err := compileAssignment([]rune(source), part, gateway)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(all, func(other assignment) bool { return other.name == a.name }) {
			return nil, fmt.Errorf("%s is set twice, %s", a.name, position([]rune(source), part[0].From))
		}
		all = append(all, a)
	}
	if len(all) == 0 {
		return nil, errors.New("has no name=expr")
	}
	return all, nil
}

// assignments cuts the tokens at the semicolons outside of all brackets.
func assignments(tokens []lexer.Token) func(yield func([]lexer.Token) bool) {
	return func(yield func([]lexer.Token) bool) {
		depth, first := 0, 0
		for i, t := range tokens {
			switch {
			case t.Is(lexer.Bracket, "(", "[", "{"):
				depth++
			case t.Is(lexer.Bracket):
				depth--
			case t.Is(lexer.EOF), t.Is(lexer.Operator, ";") && depth <= 0:
				if i > first && !yield(tokens[first:i]) {
					return
				}
				first = i + 1
			}
		}
	}
}

// compileAssignment compiles the tokens of one name=expr.
func compileAssignment(source []rune, tokens []lexer.Token, gateway string) (assignment, error) {
	var a assignment
	n := 0
	if len(tokens) >= 3 && tokens[0].Is(lexer.Identifier) && tokens[0].Value == "metadata" {
		a.target = setMetadata
		switch {
		case tokens[1].Is(lexer.Operator, "."):
			a.key, n = tokens[2].Value, 3
		case tokens[1].Is(lexer.Bracket, "[") && tokens[2].Is(lexer.String) && len(tokens) > 3 && tokens[3].Is(lexer.Bracket, "]"):
			a.key, n = tokens[2].Value, 4
		}
		a.name = "metadata." + a.key
	} else if t, ok := targets[tokens[0].Value]; ok && tokens[0].Is(lexer.Identifier) {
		a.target, a.name, n = t, tokens[0].Value, 1
	}
	if n == 0 || len(tokens) <= n || !tokens[n].Is(lexer.Operator, "=") {
		return a, fmt.Errorf("name=expr is wanted, the name one of %s; an expr with a semicolon goes in parentheses, %s",
			targetNames, position(source, tokens[0].From))
	}
	if len(tokens) == n+1 {
		return a, fmt.Errorf("%s has no value, %s", a.name, position(source, tokens[n].From))
	}
	if err := checkKey(a); err != nil {
		return a, fmt.Errorf("%w, %s", err, position(source, tokens[0].From))
	}
	if value := tokens[n+1]; len(tokens) == n+2 && value.Is(lexer.String) {
		a.constant, a.fixed = []byte(value.Value), true
		return a, nil
	}
	var err error
	a.program, err = compileText(within(source, tokens[n+1].From, tokens[len(tokens)-1].To), gateway)
	return a, err
}

// checkKey holds a metadata name against the rules of the API.
func checkKey(a assignment) error {
	if a.target != setMetadata {
		return nil
	}
	if len(a.key) == 0 || len(a.key) > stages.MaxMetadataNameBytes {
		return fmt.Errorf("the metadata name has %d bytes; 1 to %d are allowed", len(a.key), stages.MaxMetadataNameBytes)
	}
	if strings.ContainsFunc(a.key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Errorf("the metadata name is %q; only printable ASCII is allowed", a.key)
	}
	return nil
}

// within is source[from:to] with what is before it blank, so that errors tell its place in all of source.
func within(source []rune, from, to int) string {
	text := slices.Clone(source[:to])
	for i := range from {
		if text[i] != '\n' {
			text[i] = ' '
		}
	}
	return string(text)
}

// position is line:column of the rune at.
func position(source []rune, at int) string {
	line, column := 1, 1
	for _, r := range source[:min(at, len(source))] {
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return fmt.Sprintf("%d:%d", line, column)
}
