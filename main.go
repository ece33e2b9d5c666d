// Command gateway takes events over gRPC and answers each one after Kafka has stored it.
package main

// version is set by the linker (see Makefile); "dev" marks a build that did not.
var version = "dev"

func main() {
	_ = version
}
