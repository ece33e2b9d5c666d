package transform

// matches in conditions: at most so much work for an event, whatever the patterns
// are and wherever they come from.

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// decorate puts this in the place of what cel-go does: matches are weighed before they run, and constant patterns, which
// cel-go runs unweighed, compiled once; and time zones are weighed.
func (c *Condition) decorate(language *cel.Env, tree *ast.AST) interpreter.InterpretableDecoratorV2 {
	return func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		call, ok := i.(interpreter.InterpretableCall)
		if !ok {
			return i, nil
		}
		switch name := call.Function(); {
		case name == entryFunction:
			return &entryNode{call, c, call.Args()[1]}, nil
		case strings.HasPrefix(name, "get") && len(call.Args()) == 2: // getHours and the like
			return celGuarded(language, call, inZone, &c.machine.meter)
		case name == overloads.Matches:
			match := c.match
			if constant, ok := call.Args()[1].(interpreter.InterpretableConst); ok {
				p, err := compileBounded(str(constant.Value()))
				if err != nil {
					return nil, celProblemAt(tree, call.ID(), err)
				}
				match = func(args ...ref.Val) ref.Val { return c.matchWith(p, args[0]) }
			}
			return celHidden{interpreter.NewCall(call.ID(), matchFunction, call.OverloadID(), call.Args(), match)}, nil
		}
		return i, nil
	}
}

// inZone weighs a time zone by its name. Those that are differences of hours take nothing.
func inZone(m *meter, args []ref.Val) error {
	if strings.Contains(str(args[1]), ":") {
		return nil
	}
	return m.workOn("a time zone", zoneSteps)
}

// boundedStates are those of a pattern that is not too large to be compiled.
func boundedStates(pattern string) (int, error) {
	states := len(pattern)
	if states <= conditionPattern {
		n, err := patternSteps(pattern)
		if err != nil {
			return 0, err
		}
		states = n
	}
	if states > conditionPattern {
		return 0, fmt.Errorf("%w: a pattern of %d states or bytes; %d are the most", errLimit, states, conditionPattern)
	}
	return states, nil
}

func compileBounded(pattern string) (*sizedPattern, error) {
	if _, err := boundedStates(pattern); err != nil {
		return nil, err
	}
	return compilePattern(pattern)
}

// madeOver is what compiling takes more here than compileSteps say, with the memory that it leaves behind: 20 patterns of
// 600 states took 9 ms of processor time.
const madeOver = 4

// match is for patterns that the expression makes: they are read once for their size, and once more to be compiled.
func (c *Condition) match(args ...ref.Val) ref.Val {
	pattern := str(args[1])
	if err := c.work(compileSteps(min(len(pattern), conditionPattern))); err != nil {
		return types.WrapErr(err)
	}
	states, err := boundedStates(pattern)
	if err == nil {
		err = c.work(madeOver * compileSteps(states)) // before: exists and all go on behind an error
	}
	if err != nil {
		return types.WrapErr(err)
	}
	p, err := compilePattern(pattern)
	if err != nil {
		return types.WrapErr(err)
	}
	return c.matchWith(p, args[0])
}

func (c *Condition) matchWith(p *sizedPattern, v ref.Val) ref.Val {
	text, ok := v.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(v)
	}
	if err := c.work(1 + matchSteps(p.states, len(text))); err != nil {
		return types.WrapErr(err)
	}
	return types.Bool(p.MatchString(string(text)))
}

// work counts steps of 10 ns.
func (c *Condition) work(n int) error {
	if n > conditionMatching-c.matching {
		return fmt.Errorf("%w: matches takes too much for one event: states of the pattern times bytes of the text, %d at most",
			errLimit, 2*conditionMatching)
	}
	c.matching += n
	return c.machine.meter.workOn("matches", n)
}
