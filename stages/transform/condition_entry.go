package transform

// metadata["x"] in conditions: empty when the event has no x.

import (
	"math"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

const metadataName = "metadata"

// No expression can spell these.
const (
	entryFunction = "@entry"
	entryOverload = "entry_map_string"
	matchFunction = "@matches"
)

// celEntry is the metadata of a name; empty when absent, as in the rules' MATCH and as with all attributes.
func celEntry(metadata, name ref.Val) ref.Val {
	if value, found := metadata.(traits.Mapper).Find(name); found {
		return value
	}
	return types.String("")
}

// findEntries puts celEntry in the place of metadata["x"] and metadata.x. CEL's own way would end the reading of everybody
// who asks for metadata that some event does not have.
func findEntries(tree *ast.AST) {
	factory := ast.NewExprFactory()
	isMetadata := func(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == metadataName }
	replace := func(e, of, name ast.Expr) {
		e.SetKindCase(factory.NewCall(e.ID(), entryFunction, of, name))
		tree.SetReference(e.ID(), ast.NewFunctionReference(entryOverload))
	}
	id := int64(math.MaxInt32) // above all that the parser gives
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.CallKind:
			if call := e.AsCall(); call.FunctionName() == operators.Index && isMetadata(call.Args()[0]) {
				replace(e, call.Args()[0], call.Args()[1])
			}
		case ast.SelectKind:
			if s := e.AsSelect(); !s.IsTestOnly() && isMetadata(s.Operand()) {
				id++
				tree.SetType(id, types.StringType)
				replace(e, s.Operand(), factory.NewLiteral(id, types.String(s.FieldName())))
			}
		}
	}))
}

// entryNode is a call of celEntry that looks into the event: BenchmarkFilter/metadata takes half the time.
type entryNode struct {
	interpreter.InterpretableCall
	condition *Condition
	name      interpreter.InterpretableV2
}

// Exec implements interpreter.InterpretableV2.
func (n *entryNode) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	name, ok := n.name.Exec(frame).(types.String)
	if !ok {
		return n.InterpretableCall.Exec(frame) // which says what is wrong with the name
	}
	if costs := frame.CostTracker(); costs != nil {
		costs.EvalAttribute(n.ID(), false, nil)
		costs.Qualify(n.ID())
	}
	return types.String(n.condition.event.Metadata[string(name)])
}

// Eval implements interpreter.Interpretable.
func (n *entryNode) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, n.Exec)
}
