// Command bench measures the gateway and leaves a report, plots, profiles and raw output in bench/out (make bench).
//
// Every figure is compared with something measured in the same run, in turns, because machines differ and are noisy:
// franz-go alone and grpc-go alone (limits/), the plain baseline gateway (baseline/), an empty call. A run in which an
// event is lost or refused is no result: the runner checks that the broker has exactly what was acknowledged.
//
//	main.go      the command line and the order of the sections
//	scene.go     one run: broker, servers, generator, and what it came to
//	process.go   the child processes: start, wait until ready, CPU time, memory
//	brokers.go   the brokers that runs end in
//	generate.go  gateway publish, and franz-go alone
//	metrics.go   what the gateway counts itself
//	rounds.go    turns, medians, ratios
//	limits.go calls.go matrix.go latency.go scaling.go reading.go live.go profile.go micro.go flames.go idle.go
//	             the sections; live.go is a run of reading.go, flames.go has the profiles of micro.go's rows
//	owners.go    whose CPU a profile shows
//	goals.go     goals about single parts
//	report.go    tables and the data of plots
//	compare.go   two revisions beside each other
//	limits/      franz-go alone, grpc-go alone
//	fanout/      every event to many readers, by the gateway or by franz-go consumers
//	discard/     a broker that counts records and throws them away
//	baseline/    the gateway one would write without rings
//	pages/       a module of its own: draws plots, flame graphs, report.html
//	client/      how the programs beside the gateway connect to Kafka
//	demo/        make demo
package main
