package transform

// CEL's functions that go through what they are given once: it is weighed on its
// way to the call, which stays cel-go's own.

import (
	"math/bits"
	"strings"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// celRate is what a function takes in steps of the meter (10 ns): for 8 bytes of text, of which cel-go's count of the
// cost takes some, and for an item of a list or of an object. BenchmarkCELWeights holds them against the clock.
type celRate struct {
	text, item int
	what       string
	// names: only an object's names are gone through, and put into their order.
	names bool
}

// celShort is the longest text, and list, that nobody asks about: it takes 20 us at most.
const celShort = 1000

// celKeys is what comprehensions do with an object before their first round: its names are sorted.
var celKeys = celRate{item: 4, what: "a comprehension", names: true}

// celRates are these functions.
var celRates = ratesOf(
	map[int]string{
		2:  operators.Add,
		6:  "base64.decode base64.decodeUrl base64.encode base64.encodeUrl bytes hash string",
		8:  "bool contains double duration int sha256 size timestamp trim uint",
		16: "charAt lowerAscii reverse strings.quote substring upperAscii",
	},
	map[int]string{
		4:  "optional.unwrap slice unwrapOpt",
		9:  "math.@max math.@min reverse",
		25: "merge omit",
	})

func ratesOf(texts, items map[int]string) map[string]celRate {
	rates := map[string]celRate{}
	for steps, names := range texts {
		for _, name := range strings.Fields(names) {
			rates[name] = celRate{text: steps, what: name}
		}
	}
	for steps, names := range items {
		for _, name := range strings.Fields(names) {
			rates[name] = celRate{text: rates[name].text, item: steps, what: name}
		}
	}
	return rates
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
	steps := length(v) * l.rate.text / 8
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
