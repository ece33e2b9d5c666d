package main

// Samples grouped by the gateway's stage.

import "github.com/google/pprof/profile"

const (
	// stageLabel is what the pipeline labels its goroutines with; what they start inherits it.
	stageLabel = "stage"
	// noStage stands for everything else: the runtime, gRPC, the Kafka client. Without it pprof would draw such
	// samples below a frame called "stage", as if that were one.
	noStage = "(no stage)"
)

// labelStages gives every sample a stage if at least one has one. It reports whether that is so: the profiles of
// other processes, and all but CPU profiles, have no labels.
func labelStages(p *profile.Profile) bool {
	found := false
	for _, s := range p.Sample {
		found = found || len(s.Label[stageLabel]) > 0
	}
	if !found {
		return false
	}
	for _, s := range p.Sample {
		if len(s.Label[stageLabel]) > 0 {
			continue
		}
		if s.Label == nil {
			s.Label = map[string][]string{}
		}
		s.Label[stageLabel] = []string{noStage}
	}
	return true
}
