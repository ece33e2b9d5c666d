package main

// Which benchmark a row's profiles are of, and what their files are called.

import (
	"regexp"
	"strings"
	"testing"
)

func TestRowProfiles(t *testing.T) {
	impls := func(names ...string) (list []*microImpl) {
		for _, name := range names {
			list = append(list, &microImpl{name: name})
		}
		return list
	}
	for _, c := range []struct {
		row                  microRow
		pattern, file, title string
	}{
		{microRow{pkg: "pipeline", name: "Pipeline/events=100", split: true, impls: impls("gateway", "plain-handler")},
			"^BenchmarkPipeline$/^events=100$/^impl=gateway$", "micro-pipeline-Pipeline_events-100", "pipeline: Pipeline, events=100"},
		{microRow{pkg: "stages", name: "Format/op=marshal", split: true, impls: impls("plain-encoding/json", "protobuf")},
			"^BenchmarkFormat$/^op=marshal$/^impl=protobuf$", "micro-stages-Format_op-marshal", "stages: Format, op=marshal"},
		{microRow{pkg: "stages", name: "Validate", impls: impls("gateway")}, "^BenchmarkValidate$", "micro-stages-Validate", "stages: Validate"},
		{microRow{pkg: "transport", name: "Streams/events=1", impls: impls("gateway")},
			"^BenchmarkStreams$/^events=1$", "micro-transport-Streams_events-1", "transport: Streams, events=1"},
		{microRow{pkg: "kafka", name: "Record/a.b(c)", split: true, impls: impls("plain-x/y")},
			`^BenchmarkRecord$/^a\.b\(c\)$`, "micro-kafka-Record_a-b-c-", "kafka: Record, a.b(c)"},
	} {
		if got := c.row.pattern(); got != c.pattern {
			t.Errorf("%s: pattern %s, want %s", c.row.name, got, c.pattern)
		}
		if got := c.row.file(); got != c.file || !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(got) {
			t.Errorf("%s: file %s, want %s", c.row.name, got, c.file)
		}
		if got := c.row.title(); got != c.title {
			t.Errorf("%s: title %s, want %s", c.row.name, got, c.title)
		}
		for part := range strings.SplitSeq(c.row.pattern(), "/") {
			if _, err := regexp.Compile(part); err != nil {
				t.Error(err)
			}
		}
	}
}

// The later rounds of the benchmarks run what goals are about, and nothing else.
func TestJudgedPattern(t *testing.T) {
	for pkg, want := range map[string]string{
		"pipeline": "^BenchmarkPipeline$/^events=100$|^BenchmarkRemembering$/^events=100$",
		"ring":     "^BenchmarkSixStages$/^push=burst$|^BenchmarkSixStages$/^push=event$",
		"stages":   "^BenchmarkRateLimiter$/^callers=1$/^events=100$|^BenchmarkBreaker$/^events=100$",
		"kafka":    "^BenchmarkDelivery$",
		"cli":      "",
	} {
		if got := judgedPattern(pkg); got != want {
			t.Errorf("%s: %s, want %s", pkg, got, want)
		}
	}
}
