// Command pages turns the raw results of a benchmark run into pages that open from disk (make bench-pages).
//
// Its argument is the folder of a run. It reads
//
//	report.md                        the report, with images plots/NAME.svg and links flame/NAME.KIND.html
//	plots/NAME.json                  what a plot shows
//	profiles/NAME.KIND.pprof         profiles; KIND is cpu, alloc, block or mutex
//	profiles/titles.json             what the pages call the profiles: {"NAME": "title"}; NAME itself without it
//
// and writes beside them
//
//	plots/NAME.svg                   the plots
//	flame/NAME.KIND.html             pprof's own flame graph of each profile
//	report.html                      the report, complete in itself, plots included
//	report.md                        with a list of the flame graphs at <!-- flamegraphs -->
//
// What is missing or broken is named at the head of report.html and on standard error. Everything else is
// written all the same, and the command ends with exit code 1.
//
//	main.go       the steps in their order
//	folder.go     the names in the folder; writing; removing the pages of an earlier run
//	problems.go   what is missing or broken
//	plot.go       the description of a plot, read and checked
//	lines.go      a plot of lines     bars.go   a plot of bars
//	axes.go       ranges and ticks    canvas.go colours, legend, SVG
//	profiles.go   the profiles of a run
//	flamelist.go  their list for report.md
//	stages.go     samples grouped by the gateway's stage
//	flame.go      pprof's flame graph page of a profile
//	offline.go    such a page made fit for a disk
//	report.go     report.md to report.html
//	references.go images and links of the report
//
// It is a module of its own, so that the product's go.mod knows nothing about drawing.
package main
