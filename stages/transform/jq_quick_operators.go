package transform

// The operators of quick jq programs: the guards of gojq's (jqfuncs.go) do their work.

import "github.com/itchyny/gojq"

// jqOperators are the operators whose two values are always needed.
var jqOperators = map[gojq.Operator]func(r *jqRun, a, b any) (any, error){
	gojq.OpAdd: addJQ,
	gojq.OpSub: func(r *jqRun, a, b any) (any, error) { return r.outcome(r.subtract(a, b)) },
	gojq.OpMul: func(r *jqRun, a, b any) (any, error) { return r.outcome(r.multiply(a, b)) },
	gojq.OpDiv: divideJQ,
	gojq.OpMod: remainderJQ,
	gojq.OpEq:  func(r *jqRun, a, b any) (any, error) { o, err := r.compare(a, b); return o == 0, err },
	gojq.OpNe:  func(r *jqRun, a, b any) (any, error) { o, err := r.compare(a, b); return o != 0, err },
	gojq.OpGt:  func(r *jqRun, a, b any) (any, error) { o, err := r.compare(a, b); return o > 0, err },
	gojq.OpLt:  func(r *jqRun, a, b any) (any, error) { o, err := r.compare(a, b); return o < 0, err },
	gojq.OpGe:  func(r *jqRun, a, b any) (any, error) { o, err := r.compare(a, b); return o >= 0, err },
	gojq.OpLe:  func(r *jqRun, a, b any) (any, error) { o, err := r.compare(a, b); return o <= 0, err },
}

// jqUpdates are those of op=.
var jqUpdates = map[gojq.Operator]func(r *jqRun, a, b any) (any, error){
	gojq.OpUpdateAdd: jqOperators[gojq.OpAdd], gojq.OpUpdateSub: jqOperators[gojq.OpSub], gojq.OpUpdateMul: jqOperators[gojq.OpMul],
	gojq.OpUpdateDiv: divideJQ, gojq.OpUpdateMod: remainderJQ,
	gojq.OpUpdateAlt: func(_ *jqRun, a, b any) (any, error) {
		if truthJQ(a) {
			return a, nil
		}
		return b, nil
	},
}

func addJQ(r *jqRun, a, b any) (any, error) { return r.outcome(r.add(a, b)) }

// divideJQ knows numbers.
func divideJQ(r *jqRun, a, b any) (any, error) {
	if x, y, ok := floats(a, b); ok && y != 0 {
		return x / y, nil
	}
	x, ok := a.(int)
	y, also := b.(int)
	if !ok || !also || y == 0 || y == -1 {
		return nil, errGojq
	}
	if x%y == 0 {
		return r.int(x / y), nil
	}
	return float64(x) / float64(y), nil
}

func remainderJQ(r *jqRun, a, b any) (any, error) {
	x, ok := a.(int)
	y, also := b.(int)
	if !ok || !also || y == 0 || y == -1 {
		return nil, errGojq
	}
	return r.int(x % y), nil
}
