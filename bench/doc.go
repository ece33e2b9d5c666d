// Command bench measures the gateway and writes bench/out/report.md (make bench).
//
// Every figure is compared with something measured in the same run, in turns,
// because machines differ and are noisy: the plain baseline gateway (baseline/)
// for throughput, an empty gRPC call for latency. A run in which an event is
// lost or refused is no result: the runner checks that the broker received
// exactly what was acknowledged.
//
//	main.go      the runs and their order
//	process.go   the child processes: start, wait until ready, CPU time
//	load.go      end to end: generator, gateway or baseline, discarding broker
//	unary.go     one caller, one event a call, beside an empty call
//	micro.go     go test -bench of the packages
//	report.go    medians, ratios, tables
//	discard/     a broker that counts records and throws them away
//	baseline/    the gateway one would write without rings
//	demo/        make demo
package main
