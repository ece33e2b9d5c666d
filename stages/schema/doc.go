// Package schema holds the data of events against schemas of a registry: which
// schema an event has, the cache of compiled schemas, and the three languages.
//
//	config.go      what operators set
//	template.go    SCHEMA_SUBJECT: the subject of an event
//	name.go        data_schema: what an event itself says
//	registry.go    what is needed of a registry (kafka/registry has it)
//	worker.go      Check, which never blocks
//	cache.go       names and what is known about them, fetches, waiting workers
//	entry.go       one name and its answer
//	fetch.go       from a name to an answer; references.go, compile.go
//	jsonschema*.go, avro*.go, protobuf*.go  the languages; jsondecode.go, jsonbounds.go
//	metrics.go     what is counted
//
// Goroutines: one clock, which ends with Close, and one for each fetch, at most
// maxFetches of them. A worker's goroutine calls Check; everything that it does
// for an event whose schema is known is lock-free.
package schema
