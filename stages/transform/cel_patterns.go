package transform

// CEL's matches. cel-go compiles a constant pattern once and runs it over any
// text; here it is weighed before, as in the other languages.

import (
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// celMatches is a call of matches.
func celMatches(call interpreter.InterpretableCall, m *meter) (interpreter.InterpretableV2, error) {
	var constant *sizedPattern
	if c, ok := call.Args()[1].(interpreter.InterpretableConst); ok {
		var err error
		if constant, err = compilePattern(str(c.Value())); err != nil {
			return nil, err
		}
	}
	return celHidden{interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(args ...ref.Val) ref.Val {
		text, ok := args[0].(types.String)
		source, also := args[1].(types.String)
		if !ok || !also {
			return types.NoSuchOverloadErr()
		}
		p, err := constant, error(nil)
		if p == nil {
			p, err = patternOf(m, string(source))
		}
		if err == nil {
			err = m.workOn("matches", matchSteps(p.states, len(text)))
		}
		if err != nil {
			return types.WrapErr(err)
		}
		return types.Bool(p.MatchString(string(text)))
	})}, nil
}

// patternOf compiles a pattern that may be the event's.
func patternOf(m *meter, source string) (*sizedPattern, error) {
	if err := m.workOn("a pattern", compileSteps(len(source))); err != nil { // reading it takes no longer
		return nil, err
	}
	states, err := patternSteps(source)
	if err != nil {
		return nil, err
	}
	if err := m.workOn("a pattern", compileSteps(states)); err != nil {
		return nil, err
	}
	return compilePattern(source)
}

// celHidden is a call of which cel-go does not know that it is one: its optimizer would put its own in the place.
type celHidden struct{ interpreter.InterpretableV2 }
