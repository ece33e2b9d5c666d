package transform

// EXPR: new data by a program of expr.

import "context"

type exprEngine struct{}

// compile implements engine.
func (exprEngine) compile(source string, l limits) (program, error) {
	p, err := compileExpr(source)
	if err != nil {
		return nil, err
	}
	return &exprData{p, l}, nil
}

// exprData is a program that makes data.
type exprData struct {
	*exprProgram
	limits limits
}

// want says which members of data have to be there.
func (p *exprData) want() *wanted { return p.wants }

// newRun implements program.
func (p *exprData) newRun() run {
	return &exprRun{p, evaluator{timeout: p.limits.timeout}}
}

type exprRun struct {
	program   *exprData
	evaluator evaluator
}

// eval implements run. The evaluator's own meter keeps the time.
func (r *exprRun) eval(_ context.Context, e *env) (output, error) {
	v, err := r.evaluator.run(r.program.exprProgram, e)
	return output{value: v}, err
}
