package transform

// Conditions: CEL expressions over an event's attributes by which clients choose
// what they read. The machine is that of rules, the language is a smaller one:
// whoever may call the gateway writes them, so what cannot be bounded beforehand
// is not in it.

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// What a condition may take.
const (
	// conditionCost and conditionSteps are the bounds that count: the same event gives the same result on any machine,
	// whatever else it does. Units of cel-go's, of 50 ns, and steps of the meter, of 10 ns, for what those do not see.
	conditionCost  = 20_000
	conditionSteps = 500_000
	// quickCost and quickSteps are what an evaluation may take that nobody is asked about: some 5 us each, which is what it
	// takes to send an event.
	quickCost  = 100
	quickSteps = 500
	// quickAfter is how many evaluations that would have been quick come after one that was not before the next is tried
	// quickly, so that a costly condition is seldom begun twice.
	quickAfter = 8
	// conditionTime is far above what the bounds let through: it is for what neither sees, and no bound of its own.
	conditionTime = 100 * time.Millisecond
	// conditionTries: a busy machine may take a goroutine's time away for longer than conditionTime. Who needs that
	// time, needs it again.
	conditionTries = 3
	// conditionText is the most bytes of a text that an expression makes.
	conditionText = 256 << 10
	// conditionMatching bounds all matches of an evaluation, in steps of 10 ns.
	conditionMatching = 250_000
	// conditionPattern bounds a pattern in states, and in bytes.
	conditionPattern = 1000
	// zoneSteps are those of a time zone with a name: 5 to 14 us, which is what its file takes to be read each time.
	zoneSteps = 2000
	// conditionNodes bounds an expression after its macros were put in.
	conditionNodes = 4000
	// conditionLoops is how deep all, exists, map and filter may nest.
	conditionLoops = 3
)

// Condition is a compiled expression. Used by one goroutine at a time.
type Condition struct {
	machine celMachine
	event   *eventv1.Event
	// matching is what this evaluation has matched.
	matching int
	// quick is quickCost, where cel-go can look at it; costly is how many evaluations are not tried quickly.
	quick  uint64
	costly int
}

// CompileCondition compiles an expression that is true or false. An error says where and what, on one line.
func CompileCondition(source string) (*Condition, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("the expression has %d bytes; %d are the most", len(source), maxSource)
	}
	language, err := conditionLanguage()
	if err != nil {
		return nil, err
	}
	parsed, issues := language.Parse(source)
	if issues.Err() != nil {
		return nil, oneLineError(celIssues(issues))
	}
	if err := checkConditionShape(parsed.NativeRep()); err != nil {
		return nil, err
	}
	checked, issues := language.Check(parsed)
	if issues.Err() != nil {
		return nil, oneLineError(celIssues(issues))
	}
	tree := checked.NativeRep()
	if t := checked.OutputType(); t.Kind() != types.BoolKind {
		return nil, fmt.Errorf("gives a value of the type %s; true or false is wanted", oneLine(t.String()))
	}
	findEntries(tree)
	c := &Condition{quick: quickCost}
	c.machine.meter.unnamed = true
	l := limits{output: conditionText / 4, timeout: conditionTime}
	if err := c.machine.plan(language, checked, l, conditionCost, c.decorate(language, tree)); err != nil {
		return nil, oneLineError(err)
	}
	// cel-go makes what counts the cost in the first evaluation, and only then can it be bounded more tightly.
	_, _ = c.evaluate(&eventv1.Event{}, quickSteps)
	return c, nil
}

// oneLineError is an error that shows texts of a client, for the client.
func oneLineError(err error) error { return errors.New(message(err)) }

// HoldsQuickly is Holds where that takes little; else it has not decided. What fails is not decided either.
func (c *Condition) HoldsQuickly(ev *eventv1.Event) (holds, decided bool) {
	if c.costly > 0 {
		return false, false
	}
	c.machine.within = &c.quick
	value, err := c.evaluate(ev, quickSteps)
	if err != nil {
		c.costly = quickAfter
		return false, false
	}
	return value == types.True, true
}

// Holds says whether the expression is true for ev. An error says why it is neither true nor false.
func (c *Condition) Holds(ev *eventv1.Event) (bool, error) {
	c.machine.within = nil
	value, err := c.evaluate(ev, conditionSteps)
	for range conditionTries - 1 {
		if err == nil || !c.machine.meter.late {
			break
		}
		value, err = c.evaluate(ev, conditionSteps)
	}
	if c.machine.meter.steps > quickSteps || c.machine.cost() > quickCost {
		c.costly = quickAfter
	} else if c.costly > 0 {
		c.costly--
	}
	if err != nil {
		return false, oneLineError(err)
	}
	return value == types.True, nil
}

// evaluate takes at most so many steps.
func (c *Condition) evaluate(ev *eventv1.Event, steps uint) (ref.Val, error) {
	c.event = ev
	defer func() { c.event = nil }()
	c.matching = 0
	c.machine.meter.most = steps
	c.machine.meter.startAt(conditionTime, clock())
	return c.machine.run(c)
}

// conditionLanguage has the attributes, CEL's standard library, and functions for texts.
var conditionLanguage = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.ParserRecursionLimit(celDepth),
		cel.ParserExpressionSizeLimit(maxSource),
		cel.ExpressionNodeLimit(conditionNodes),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.EnableIdentifierEscapeSyntax(),
		cel.CustomTypeAdapter(&celAdapter{registry}), cel.CustomTypeProvider(registry),
		ext.Strings(ext.StringsVersion(0)), // later ones have format, which makes much of little
		cel.Variable(metadataName, cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("time", cel.TimestampType),
		cel.Function(entryFunction, cel.Overload(entryOverload,
			[]*cel.Type{cel.MapType(cel.StringType, cel.StringType), cel.StringType}, cel.StringType, cel.BinaryBinding(celEntry))),
	}
	for _, name := range conditionTexts {
		options = append(options, cel.Variable(name, cel.StringType))
	}
	return cel.NewEnv(append(options, celHashes()...)...)
})

// conditionTexts are the attributes that are text.
var conditionTexts = []string{"id", "source", "type", "subject", "data_content_type", "data_schema", "partition_key"}

// ResolveName implements interpreter.Activation.
func (c *Condition) ResolveName(name string) (any, bool) {
	ev := c.event
	switch name {
	case "id":
		return stringBox.at(&ev.Id), true
	case "source":
		return stringBox.at(&ev.Source), true
	case "type":
		return stringBox.at(&ev.Type), true
	case "subject":
		return stringBox.at(&ev.Subject), true
	case "data_content_type":
		return stringBox.at(&ev.DataContentType), true
	case "data_schema":
		return stringBox.at(&ev.DataSchema), true
	case "partition_key":
		return stringBox.at(&ev.PartitionKey), true
	case "time":
		return ev.GetTimestamp().AsTime(), true
	case metadataName:
		return ev.Metadata, true
	}
	return nil, false
}

// Parent implements interpreter.Activation.
func (c *Condition) Parent() interpreter.Activation { return nil }

// celProblemAt is err with its place in the text.
func celProblemAt(tree *ast.AST, id int64, err error) error {
	at := tree.SourceInfo().GetStartLocation(id)
	return fmt.Errorf("%d:%d: %w", at.Line(), at.Column()+1, err)
}

// checkConditionShape refuses what the type checker could take exponential time for: a type that holds another twice, of
// which the keys of objects are the only ones here. It comes before the types are checked.
func checkConditionShape(tree *ast.AST) error {
	var problem error
	refuse := func(e ast.Expr, what string) {
		if problem == nil {
			problem = celProblemAt(tree, e.ID(), errors.New(what))
		}
	}
	ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.StructKind:
			refuse(e, "messages cannot be made here")
		case ast.ComprehensionKind:
			if loop := e.AsComprehension(); loop.IterVar() == metadataName {
				refuse(e, "a variable cannot have the name metadata here")
			}
		case ast.MapKind:
			for _, entry := range e.AsMap().Entries() {
				if entry.AsMapEntry().Key().Kind() != ast.LiteralKind {
					refuse(e, "the names of an object's fields have to be constants here")
				}
			}
		}
	}))
	for _, e := range ast.MatchDescendants(ast.NavigateAST(tree), ast.KindMatcher(ast.ComprehensionKind)) {
		deep, below := 1, e.ID()
		for up, ok := e.Parent(); ok; up, ok = up.Parent() {
			if up.Kind() == ast.ComprehensionKind && up.AsComprehension().IterRange().ID() != below {
				deep++
			}
			below = up.ID()
		}
		if deep > conditionLoops {
			refuse(e, fmt.Sprintf("all, exists, map and filter nest more than %d deep", conditionLoops))
		}
	}
	return problem
}
