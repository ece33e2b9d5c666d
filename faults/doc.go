// Package faults holds the gateway's promises against faults: the scenarios of docs/reliability.md, each a cell
// of one table (cells_*_test.go) that the runner (run_test.go) takes through the same steps:
//
//	broker, gateway, a short load and rest: the baseline of goroutines, files and memory
//	load on all three methods, in one ledger -> the cell's fault -> heal -> fresh events of every producer
//	-> load stops, all is answered -> at rest: accounting, resources -> the topic is read from Kafka -> judged
//
// How to run it:
//
//	make test-faults                 the cells marked ci, shortened, in under 5 minutes
//	make test-faults ALL=1           all cells, shortened
//	make test-faults ONLY=R11,R14    the cells whose names begin so, whether ci or not
//	make test-faults LONG=1          all cells at full length; cells finished before are skipped (FAULT_FRESH=1: not)
//
// FAULT_SCALE stretches every duration (1), FAULT_SEED repeats a run, FAULT_OUT is where results and what is
// kept of failures go (faults/out). The result table is FAULT_OUT/results.md.
//
// To build on it (overload, drain, soak): start with package rig, whose doc lists the parts, keep a
// ledger.Ledger, and judge with ledger.NewJudge. A new cell is one entry of the table: what it needs, its
// settings, its load, the fault as a function of *run, and what must be seen afterwards.
package faults
