// Package transform has the rules that shape events: which events a rule is
// for, what it drops, what it makes of data and attributes, and where it sends
// them. Rules are written by operators (TRANSFORM_0_..., TRANSFORM_1_...) and are
// trusted; the data that they meet is not.
//
//	config.go    the variables of a rule
//	env.go       what programs see of an event
//	engine.go    what a language is; one file each: jq.go expr.go cel.go template.go
package transform
