package transform

// CEL's functions that go through what they are given once: it is weighed on its
// way to the call, which stays cel-go's own.

import (
	"math/bits"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// celRate is what a function does in a step of the meter (10 ns): so many bytes of text, and how many steps an item of
// a list or of an object takes. TestCELRates has the measurements.
type celRate struct {
	bytes, item int
	what        string
	// names: only an object's names are gone through, and put into their order.
	names bool
}

// celShort is the longest text, and list, that nobody asks about: it takes 20 us at most.
const celShort = 1000

// celKeys is what comprehensions do with an object before their first round: its names are sorted.
var celKeys = celRate{bytes: 1 << 20, item: 8, what: "a comprehension", names: true}

// celRates are these functions.
var celRates = map[string]celRate{}

func init() {
	for bytes, names := range map[int][]string{
		1: {"strings.quote"},
		2: {"lowerAscii", "upperAscii", "reverse", "charAt", "substring"},
		4: {"base64.decode", "base64.decodeUrl", "base64.encode", "base64.encodeUrl", "sha256", "hash", "contains",
			"bool", "double", "duration", "int", "timestamp", "uint"},
		8:  {"size", "trim", "bytes", "string"},
		64: {operators.Add},
	} {
		for _, name := range names {
			celRates[name] = celRate{bytes: bytes, what: name}
		}
	}
	for item, names := range map[int][]string{
		4:  {"slice", "optional.unwrap", "unwrapOpt", "math.@max", "math.@min"},
		6:  {"reverse"},
		16: {"merge", "omit"},
	} {
		for _, name := range names {
			r := celRates[name]
			r.what, r.item, r.bytes = name, item, max(r.bytes, 1)
			celRates[name] = r
		}
	}
}

// celLong is an argument of such a function.
type celLong struct {
	interpreter.InterpretableV2
	meter *meter
	rate  celRate
}

// Exec implements interpreter.InterpretableV2.
func (l celLong) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	v := l.InterpretableV2.Exec(frame)
	steps := length(v) / l.rate.bytes
	if l.rate.names {
		if _, ok := v.(traits.Mapper); !ok {
			return v
		}
	}
	if l.rate.item > 0 {
		n := size(v)
		if steps += l.rate.item * n; l.rate.names {
			steps *= bits.Len(uint(n))
		}
	}
	if steps < celShort {
		return v
	}
	if err := l.meter.workOn(l.rate.what, steps); err != nil {
		return types.LabelErrNode(l.ID(), types.WrapErr(err))
	}
	return v
}

// Eval implements interpreter.Interpretable.
func (l celLong) Eval(a interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(a, l.Exec)
}
