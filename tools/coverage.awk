# Adds up a Go coverage profile (mode set, count or atomic): per package, in total, exit 1 under `min` percent.
# With -coverpkg each test binary reports every block again, so a block counts once, as run if any binary ran it.
NR > 1 {
	statements[$1] = $2
	if ($3 > 0) run[$1] = 1
}
END {
	for (block in statements) {
		package = block
		sub(/\/[^\/]*$/, "", package)
		all[package] += statements[block]
		total += statements[block]
		if (block in run) {
			covered[package] += statements[block]
			total_covered += statements[block]
		}
	}
	sort = "sort"
	for (package in all) printf "%6.1f %%  %s\n", 100 * covered[package] / all[package], package | sort
	close(sort)
	percent = total ? 100 * total_covered / total : 0
	printf "%6.1f %%  total outside generated code (%d of %d statements; at least %s %% wanted)\n", percent, total_covered, total, min
	if (percent < min) {
		print "coverage is too low: open coverage.html to see what no test runs"
		exit 1
	}
}
