package transform

// What a language is to a rule. Adding one takes a file with its engine and a
// line in engines.

import (
	"context"
	"errors"
	"time"
)

// limits bound what a program may take for one event.
type limits struct {
	// output is the most bytes of new data (MAX_EVENT_BYTES).
	output int
	// timeout is the most time for one event (TRANSFORM_TIMEOUT).
	timeout time.Duration
}

// maxSource bounds a program's text in bytes: compilers take memory in proportion to it, and more (expr: 63 MB for
// 20,000 nested parentheses).
const maxSource = 4 << 10

// engine is one language.
type engine interface {
	// compile checks a program's text. An error says where: line and column, or the token.
	compile(source string, l limits) (program, error)
}

// program is a compiled program. It is shared by all workers and safe for concurrent use. It may have a method
// "want() *wanted", if it looks at some members of data only; else all of data is read.
type program interface {
	// newRun returns what one worker runs the program with.
	newRun() run
}

// run is a program with the memory of one worker. Used by one goroutine at a time.
type run interface {
	// eval makes the new data of the event that e shows. ctx ends at the timeout. What it returns is valid until
	// the next eval. An error that is a limit of the program wraps errLimit.
	eval(ctx context.Context, e *env) (output, error)
}

// output is new data: either a JSON value or text.
type output struct {
	// value is nil, bool, string, int, float64, *big.Int, json.Number, []any or map[string]any.
	value any
	// text is used when isText is set.
	text   []byte
	isText bool
}

// errLimit is wrapped by errors that say that a program took more than it may.
var errLimit = errors.New("limit")

// engines are the languages by the name of their variable.
var engines = map[string]engine{
	"JQ":       jqEngine{},
	"EXPR":     exprEngine{},
	"CEL":      celEngine{},
	"TEMPLATE": templateEngine{},
}
