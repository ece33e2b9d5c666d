// Package kafka is the adapter between the graph and Kafka: it hands events to
// one franz-go client as records and reports what became of each, watches the
// topics, and runs the embedded broker when there is no cluster.
//
//	config.go      what operators set
//	options.go     every option of the client, with its reason
//	record*.go     events as records and back (CloudEvents binary mode, or event.v1.Event)
//	producer.go    Produce, promises
//	reports.go     what promises hand back, a message's events together
//	pulse.go       the breaker's clock
//	hooks.go       what franz-go tells while it works, and the metrics
//	answers.go, error_answers.go  what brokers answered, which franz-go does not tell
//	failures.go    log lines about records that failed
//	errors*.go     Kafka error -> outcome, reason
//	topics.go      creation, limits, growth, deletion, re-creation
//	partition.go   the partition count, and whether a rejected record was alone
//	embedded*.go   the wrapped broker: lock, file check, retention, loopback gate
//	kafkatest/     real Apache Kafka for tests
package kafka
