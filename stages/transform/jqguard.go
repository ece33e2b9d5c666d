package transform

// How jq programs are bounded. gojq asks its context before each instruction, so
// endless programs end. But one instruction may be a function that makes much out
// of little ("x" * 1e9, join, .[1e8] = 1) or takes the square of its input's
// length (gsub, index, -, transpose), and gojq has no way to put another in its
// place. So programs are rewritten before they are compiled: operators and such
// functions become calls of guards, which ask the meter first. Functions that
// jq itself defines by others are defined once more, in front of the program, by
// the guarded ones.

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/itchyny/gojq"
)

// guardPrefix begins the names of guards. No program can spell them.
const guardPrefix = "guard "

// maxIndex bounds array indices: setting one makes an array of that length.
const maxIndex = 1 << 20

// guardedOperators are those that ask; the others make no more than they are given.
var guardedOperators = map[gojq.Operator]string{
	gojq.OpAdd: "_add", gojq.OpSub: "_subtract", gojq.OpMul: "_multiply",
	gojq.OpEq: "_equal", gojq.OpNe: "_notequal", gojq.OpGt: "_greater", gojq.OpLt: "_less", gojq.OpGe: "_greatereq", gojq.OpLe: "_lesseq",
	gojq.OpUpdateAdd: "_add", gojq.OpUpdateSub: "_subtract", gojq.OpUpdateMul: "_multiply",
}

// prelude has jq's own definitions (builtin.jq of gojq) of what is built on guarded functions. _match is our own.
const prelude = `
def match($re; $flags): _match($re; $flags; false)[];
def match($re): if $re | type == "array" then match($re[0]; $re[1]) else match($re; null) end;
def test($re; $flags): _match($re; $flags; true);
def test($re): if $re | type == "array" then test($re[0]; $re[1]) else test($re; null) end;
def capture($re; $flags): match($re; $flags) | .captures | _captures;
def capture($re): if $re | type == "array" then capture($re[0]; $re[1]) else capture($re; null) end;
def scan($re; $flags): match($re; $flags + "g") | if .captures == [] then .string else [.captures[].string] end;
def scan($re): scan($re; null);
def splits($re; $flags): .[foreach (match($re; $flags + "g"), null) as {$offset, $length}
  (null; {start: .next, end: $offset, next: $offset + $length})];
def splits($re): splits($re; null);
def split($re; $flags): [splits($re; $flags)];
def sub($re; str; $flags): reduce match($re; $flags) as {$offset, $length, $captures} ({s: ., r: []};
  reduce ($captures | _captures | str) as $s (.i = 0; .r[.i] += .s[.next:$offset] + $s | .i += 1) |
  .next = $offset + $length) | .r[] + .s[.next:] // .s;
def sub($re; str): sub($re; str; null);
def gsub($re; str; $flags): sub($re; str; $flags + "g");
def gsub($re; str): sub($re; str; "g");
def add(f): [f] | add;
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def min_by(f): _min_by(map([f]));
def max_by(f): _max_by(map([f]));
def sort_by(f): _sort_by(map([f]));
def group_by(f): _group_by(map([f]));
def unique_by(f): _unique_by(map([f]));
def fromstream(f): foreach f as $pv (null;
  if .e then null end | $pv as [$p, $v] |
  if $pv | length == 2 then setpath(["v"] + $p; $v) | setpath(["e"]; $p | length == 0) else setpath(["e"]; $p | length == 1) end;
  if .e then .v else empty end);
def INDEX(stream; idx_expr): reduce stream as $row ({}; .[$row | idx_expr | tostring] = $row);
def INDEX(idx_expr): INDEX(.[]; idx_expr);
`

// farIndex is the first index for which a path is asked whether its array may be made, of at least 1 MiB. Nearer ones
// are not counted: .[range(50000)] = 1 makes one array, and not 50,000.
const farIndex = 1 << 16

// guardedJQ is what guardJQ found in a program.
type guardedJQ struct {
	// paths is more than 0 where a query may stand for a path that is set: there, an index makes an array.
	paths int
	// variables are all names that begin with $.
	variables []string
	// defined are the functions in scope, as name/arity; uses those of the prelude that are called.
	defined []string
	uses    map[string]bool
}

// guardJQ rewrites a program.
func guardJQ(q *gojq.Query) (*guardedJQ, error) {
	if len(q.Imports) > 0 {
		return nil, fmt.Errorf("import and include are not allowed")
	}
	g := &guardedJQ{uses: map[string]bool{}}
	g.query(q)
	if len(g.uses) == 0 {
		return g, nil
	}
	definitions, err := gojq.Parse(prelude + ".")
	if err != nil {
		return g, fmt.Errorf("BUG: the prelude: %w", err)
	}
	// From the last to the first: a definition uses those before it. What it uses itself it may use before its time,
	// since match/1 and match/2 are told apart by their arity.
	var needed []*gojq.FuncDef
	for _, def := range slices.Backward(definitions.FuncDefs) {
		if g.uses[signature(def.Name, len(def.Args))] {
			inner := &guardedJQ{uses: g.uses}
			inner.define(def)
			needed = append(needed, def)
		}
	}
	slices.Reverse(needed)
	q.FuncDefs = append(needed, q.FuncDefs...)
	return g, nil
}

func signature(name string, arity int) string { return name + "/" + strconv.Itoa(arity) }

// preludeNames are the functions that the prelude has.
var preludeNames = func() map[string]bool {
	names := map[string]bool{}
	if q, err := gojq.Parse(prelude + "."); err == nil {
		for _, def := range q.FuncDefs {
			names[signature(def.Name, len(def.Args))] = true
		}
	}
	return names
}()

// scope runs walk, after which what it defines is no longer defined.
func (g *guardedJQ) scope(walk func()) {
	n := len(g.defined)
	walk()
	g.defined = g.defined[:n]
}

// define walks through a function: its parameters are functions, and itself.
func (g *guardedJQ) define(f *gojq.FuncDef) {
	g.defined = append(g.defined, signature(f.Name, len(f.Args)))
	g.scope(func() {
		for _, parameter := range f.Args {
			g.defined = append(g.defined, signature(parameter, 0))
			if parameter[0] == '$' {
				g.defined = append(g.defined, signature(parameter[1:], 0))
			}
		}
		g.query(f.Body)
	})
}

func (g *guardedJQ) query(q *gojq.Query) {
	if q == nil {
		return
	}
	g.scope(func() {
		for _, f := range q.FuncDefs {
			g.define(f)
		}
		g.term(q.Term)
		if sets(q.Op) {
			g.path(q.Left)
		} else {
			g.query(q.Left)
		}
		for _, p := range q.Patterns {
			g.pattern(p)
		}
		g.query(q.Right)
	})
	name, ok := guardedOperators[q.Op]
	if !ok || q.Term != nil {
		return
	}
	switch q.Op {
	case gojq.OpUpdateAdd, gojq.OpUpdateSub, gojq.OpUpdateMul:
		// l += r is r as $x | l |= . + $x
		const operand = "$" + guardPrefix + "operand"
		update := &gojq.Query{Left: q.Left, Op: gojq.OpModify, Right: call(guardPrefix+name, identity(), call(operand))}
		q.Left, q.Op, q.Right, q.Patterns = q.Right, gojq.OpPipe, update, []*gojq.Pattern{{Name: operand}}
	default:
		q.Term = call(guardPrefix+name, q.Left, q.Right).Term
		q.Left, q.Right, q.Op = nil, nil, 0
	}
}

// sets reports whether the left side of an operator is a path that it sets.
func sets(op gojq.Operator) bool { return op >= gojq.OpAssign && op <= gojq.OpUpdateAlt }

// path walks through a query that may stand for a path that is set.
func (g *guardedJQ) path(q *gojq.Query) {
	g.paths++
	g.query(q)
	g.paths--
}

// bound is the guard of an index or a path here.
func (g *guardedJQ) bound() *gojq.Query {
	if g.paths > 0 {
		return call(guardPrefix + "far path")
	}
	return call(guardPrefix + "path")
}

// call is a call of a function, or a variable.
func call(name string, args ...*gojq.Query) *gojq.Query {
	return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: &gojq.Func{Name: name, Args: args}}}
}

func identity() *gojq.Query { return &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeIdentity}} }

func pipe(left, right *gojq.Query) *gojq.Query {
	return &gojq.Query{Left: left, Op: gojq.OpPipe, Right: right}
}

func (g *guardedJQ) term(t *gojq.Term) {
	if t == nil {
		return
	}
	g.index(t.Index)
	for _, s := range t.SuffixList {
		g.index(s.Index)
	}
	g.query(t.Query)
	switch t.Type {
	case gojq.TermTypeFunc:
		g.function(t)
	case gojq.TermTypeFormat, gojq.TermTypeString:
		g.text(t)
	case gojq.TermTypeObject:
		for _, kv := range t.Object.KeyVals {
			g.keyString(kv.KeyString)
			if kv.Key != "" && kv.Key[0] == '$' {
				g.variables = append(g.variables, kv.Key)
			}
			g.query(kv.KeyQuery)
			g.query(kv.Val)
		}
	case gojq.TermTypeArray:
		g.query(t.Array.Query)
	case gojq.TermTypeUnary:
		g.term(t.Unary.Term)
	default:
		g.control(t)
	}
}

func (g *guardedJQ) control(t *gojq.Term) {
	switch t.Type {
	case gojq.TermTypeIf:
		g.query(t.If.Cond)
		g.query(t.If.Then)
		for _, elif := range t.If.Elif {
			g.query(elif.Cond)
			g.query(elif.Then)
		}
		g.query(t.If.Else)
	case gojq.TermTypeTry:
		g.query(t.Try.Body)
		g.query(t.Try.Catch)
	case gojq.TermTypeReduce:
		g.query(t.Reduce.Query)
		for _, p := range t.Reduce.Patterns {
			g.pattern(p)
		}
		g.query(t.Reduce.Start)
		g.query(t.Reduce.Update)
	case gojq.TermTypeForeach:
		g.query(t.Foreach.Query)
		for _, p := range t.Foreach.Patterns {
			g.pattern(p)
		}
		g.query(t.Foreach.Start)
		g.query(t.Foreach.Update)
		g.query(t.Foreach.Extract)
	case gojq.TermTypeLabel:
		g.query(t.Label.Body)
	}
}

func (g *guardedJQ) pattern(p *gojq.Pattern) {
	for _, element := range p.Array {
		g.pattern(element)
	}
	for _, member := range p.Object {
		g.keyString(member.KeyString)
		g.query(member.KeyQuery)
		if member.Val != nil {
			g.pattern(member.Val)
		}
	}
}

// index bounds .[n].
func (g *guardedJQ) index(x *gojq.Index) {
	if x == nil {
		return
	}
	g.keyString(x.Str)
	g.query(x.Start)
	g.query(x.End)
	if x.IsSlice || x.Start == nil {
		return
	}
	if t := x.Start.Term; t != nil && len(t.SuffixList) == 0 {
		switch t.Type {
		case gojq.TermTypeNumber:
			n, err := strconv.ParseFloat(t.Number, 64)
			if err != nil || n > maxIndex {
				t.Number = strconv.Itoa(tooLarge)
			}
			if n < farIndex || g.paths == 0 {
				return
			}
		case gojq.TermTypeString, gojq.TermTypeUnary:
			return
		}
	}
	x.Start = pipe(pipe(x.Start, call(guardPrefix+"index")), g.bound())
}

// keyString guards the texts in a key that is put together.
func (g *guardedJQ) keyString(s *gojq.String) {
	if s != nil {
		g.parts(s, "")
	}
}

// text guards "...\(value)..." and @format: values become texts, which are then added.
func (g *guardedJQ) text(t *gojq.Term) {
	switch {
	case t.Str == nil && t.Type == gojq.TermTypeFormat:
		format := &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFormat, Format: t.Format}}
		g.replace(t, pipe(call(guardPrefix+"tojson"), format))
	case t.Str != nil && t.Str.Queries != nil:
		g.parts(t.Str, t.Format)
		var sum *gojq.Query
		for _, part := range t.Str.Queries {
			if sum == nil {
				sum = part
			} else {
				sum = call(guardPrefix+"_add", sum, part)
			}
		}
		g.replace(t, sum)
	}
}

// parts turns each value in s to text: by format, or as tostring does.
func (g *guardedJQ) parts(s *gojq.String, format string) {
	for i, part := range s.Queries {
		if part.Term != nil && part.Term.Str != nil && part.Term.Type == gojq.TermTypeString && part.Term.Str.Queries == nil {
			continue
		}
		g.query(part)
		toText := call("tostring")
		if format != "" {
			toText = &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFormat, Format: format}}
		}
		s.Queries[i] = &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeQuery, Query: pipe(part, pipe(call(guardPrefix+"tojson"), toText))}}
	}
}

// replace makes t the query in parentheses, with the suffixes that it has.
func (g *guardedJQ) replace(t *gojq.Term, q *gojq.Query) {
	*t = gojq.Term{Type: gojq.TermTypeQuery, Query: q, SuffixList: t.SuffixList}
}

// asked are functions that are called after their guard has been asked, by their signature. Those with one argument
// ask about its value too.
var asked = map[string]string{
	"tojson/0": "tojson", "tostring/0": "tojson", "format/1": "tojson", "add/0": "add", "join/1": "join", "flatten/0": "walk",
	"flatten/1": "walk", "implode/0": "walk", "explode/0": "explode", "split/1": "explode", "fromjson/0": "fromjson", "tonumber/0": "fromjson",
	"contains/1": "square", "inside/1": "square", "index/1": "search", "rindex/1": "search", "indices/1": "search",
	"transpose/0": "transpose", "sort/0": "sort", "unique/0": "sort",
	"min/0": "walk", "max/0": "walk", "delpaths/1": "both", "del/1": "walk", "bsearch/1": "bsearch",
	"_min_by/1": "keys", "_max_by/1": "keys", "_sort_by/1": "sorted keys", "_group_by/1": "sorted keys", "_unique_by/1": "sorted keys",
}

// askedWith are those whose guard needs the value of the argument.
var askedWith = map[string]bool{"join/1": true, "contains/1": true, "inside/1": true, "index/1": true, "rindex/1": true, "indices/1": true, "delpaths/1": true, "bsearch/1": true,
	"_min_by/1": true, "_max_by/1": true, "_sort_by/1": true, "_group_by/1": true, "_unique_by/1": true}

// function guards a call.
func (g *guardedJQ) function(t *gojq.Term) {
	f := t.Func
	if f.Name[0] == '$' {
		g.variables = append(g.variables, f.Name)
	}
	for _, arg := range f.Args {
		g.path(arg) // a function may set what it is given
	}
	s := signature(f.Name, len(f.Args))
	if slices.Contains(g.defined, s) {
		return
	}
	if preludeNames[s] {
		g.uses[s] = true
		return
	}
	switch s {
	case "_match/3":
		f.Name = guardPrefix + "match"
	case "setpath/2":
		f.Args[0] = pipe(f.Args[0], call(guardPrefix+"far path"))
	case "getpath/1", "nth/1":
		f.Args[0] = pipe(f.Args[0], g.bound())
	}
	guard, ok := asked[s]
	if !ok {
		return
	}
	if !askedWith[s] {
		g.replace(t, pipe(call(guardPrefix+guard), &gojq.Query{Term: &gojq.Term{Type: gojq.TermTypeFunc, Func: f}}))
		return
	}
	const operand = "$" + guardPrefix + "argument"
	q := pipe(f.Args[0], pipe(call(guardPrefix+guard, call(operand)), call(f.Name, call(operand))))
	q.Patterns = []*gojq.Pattern{{Name: operand}}
	g.replace(t, q)
}
