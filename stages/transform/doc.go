// Package transform has the rules that shape events: which events a rule is
// for, what it drops, what it makes of data and attributes, and where it sends
// them. Rules are written by operators (TRANSFORM_0_..., TRANSFORM_1_...) and are
// trusted; the data that they meet is not.
//
//	config.go    the variables of a rule; names.go: slips in their names
//	compile.go   rules from their configuration; set.go: SET; match.go: conditions without a machine
//	worker.go    what a rule does to an event; commit.go: all of it or nothing; trace.go, metrics.go
//	env.go       what programs see of an event; funcs.go: functions in all languages
//	document.go  data as a value; encode.go: and back, as it was; wanted.go, wantedjq.go: as much as is looked at
//	engine.go    what a language is; one file each: jq.go expr.go cel.go template.go
//	meter.go     what a program may take; jqguard.go, exprguard.go: how programs are made to ask; deadline.go
package transform
