// Package registry is the client of a schema registry with Confluent's API, over
// franz-go's pkg/sr: what stages/schema needs of one, and what SchemaService
// offers to clients.
//
//	client.go     the client, and reading
//	register.go   registering, and compatibility rules
//	transport.go  what its HTTP connections may and may not do
//	errors.go     what an answer comes down to (the errors of stages/schema)
package registry
