// Package stages holds what happens to an event: one file a stage, in the
// order of the graph.
//
//	decode     bytes of a message -> events as views into them, ids, shards
//	validate   the rules of the API
//	ratelimit  the client's bucket
//	transform  topic and partition
//	batch      groups events by partition
//	produce    hands batches to the Producer, if the breaker lets it
//
// This is plain single-goroutine code: no rings, no locks, no go statement.
// Each worker of the pipeline has its own instance of its stage. A stage ends
// an event by setting its Verdict; it never drops one and never answers one:
// the worker that runs the stage turns verdicts into answers. The same stages
// run in a loop in one goroutine are the pipeline's test oracle.
//
// What is shared between workers is small and atomic, and each says so: Topic,
// Partition, Client's Bucket, Breaker, and the answer states in Message.
package stages
