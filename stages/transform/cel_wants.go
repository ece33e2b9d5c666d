package transform

// Which members of data a CEL program looks at.

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// wantsCEL is what a program wants of data. A variable of a comprehension that is called data too adds what nobody
// wants, at worst.
func wantsCEL(tree *ast.AST) *wanted {
	w := nothing()
	for _, e := range ast.MatchDescendants(ast.NavigateAST(tree), ast.KindMatcher(ast.IdentKind)) {
		if e.AsIdent() == "data" {
			w.path(celPath(e))
		}
	}
	return w
}

// celPath are the names of the members that are selected, one within the other.
func celPath(e ast.NavigableExpr) (names []string) {
	for {
		parent, ok := e.Parent()
		if !ok {
			return names
		}
		name, ok := celMember(parent, e.ID())
		if !ok {
			return names
		}
		names = append(names, name)
		e = parent
	}
}

// celMember is the name, if e is a member of the expression with that id.
func celMember(e ast.NavigableExpr, of int64) (string, bool) {
	switch e.Kind() {
	case ast.SelectKind:
		return e.AsSelect().FieldName(), true
	case ast.CallKind:
		call := e.AsCall()
		switch call.FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			if args := call.Args(); args[0].ID() == of && args[1].Kind() == ast.LiteralKind {
				name, ok := args[1].AsLiteral().(types.String)
				return string(name), ok
			}
		}
	}
	return "", false
}
