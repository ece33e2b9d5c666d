// Package kafkatest runs real Apache Kafka brokers for tests, and a schema registry: no container engine,
// only Java 17 or newer and Maven.
//
// Start gives a test its own cluster of one or three brokers on free loopback ports, with its data in the
// test's temporary directory; Shared gives all tests of a package one broker. Brokers can be stopped, killed,
// paused and started again one by one, which is what an embedded broker cannot imitate. StartRegistry gives a
// test its own Apicurio Registry, which answers Confluent's REST API and keeps its schemas on the brokers.
// The jars come from Maven Central once and stay in a cache folder outside the repository
// (EVENT_GATEWAY_CACHE, else the user's cache folder).
//
// KAFKA_TEST_BROKERS=host:port,... points the same tests at a cluster that is there. Tests that need power
// over the brokers' processes or settings skip themselves then, and only then.
//
// Tests that import this package carry "//go:build kafka", so that plain "go test ./..." needs nothing but
// Go.
package kafkatest
