package main

// Whose CPU it is: the samples of a profile by the library whose code ran or had called what ran. It shows what is the
// gateway's own beside what its two libraries take in any case.

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// owner has a name and the packages that are his.
type owner struct {
	name     string
	packages []string
}

var profileOwners = []owner{
	{"gateway", []string{"github.com/event-gateway/"}},
	{"franz-go", []string{"github.com/twmb/franz-go/"}},
	{"grpc-go", []string{"google.golang.org/grpc", "golang.org/x/net/"}},
}

const ownerless = "the runtime by itself"

// ownersOf reads what go tool pprof -traces prints: stacks, leaf first, each behind its time.
func ownersOf(traces string) (shares map[string]float64) {
	times, total := map[string]time.Duration{}, time.Duration(0)
	for _, block := range strings.Split(traces, "-----------+")[1:] {
		_, block, _ = strings.Cut(block, "\n") // the rest of the line
		var took time.Duration
		whose := ownerless
		for line := range strings.Lines(block) {
			fields := strings.Fields(line)
			if took == 0 && len(fields) > 1 { // labels come first
				took, _ = time.ParseDuration(fields[0])
				fields = fields[1:]
			}
			if took > 0 && len(fields) > 0 && whose == ownerless {
				whose = ownerOf(fields[0])
			}
		}
		times[whose] += took
		total += took
	}
	shares = map[string]float64{}
	for name, took := range times {
		shares[name] = float64(took) / float64(max(total, 1))
	}
	return shares
}

// wrappers are the gateway's around connections: what they call is the kernel, for the library that called them.
var wrappers = []string{"transport.(*recvConn).", "kafka.(*answerConn)."}

func ownerOf(function string) string {
	for _, w := range wrappers {
		if strings.Contains(function, w) {
			return ownerless // the next one decides
		}
	}
	for _, o := range profileOwners {
		for _, pkg := range o.packages {
			if strings.HasPrefix(function, pkg) {
				return o.name
			}
		}
	}
	return ownerless
}

// owners adds the table for the shapes that have a CPU ratio, and for calls.
func (r *report) owners(ctx context.Context, b *bench) {
	names := []string{ownerless}
	for _, o := range profileOwners {
		names = append(names, o.name)
	}
	rows := [][]string{append([]string{"profile"}, names...)}
	for _, profile := range []string{"e2e-batch-100", "e2e-stream", "e2e-unary"} {
		shares := ownersOf(b.pprof(ctx, profile, "-traces"))
		row := []string{profile}
		for _, name := range names {
			row = append(row, fmt.Sprintf("%.0f %%", shares[name]*100))
		}
		rows = append(rows, row)
	}
	r.table(rows)
}
