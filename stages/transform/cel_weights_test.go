package transform

// What CEL's calls are said to take, held against the clock.

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// BenchmarkCELWeights has as ns/step what a step of the meter takes in truth: 10 are meant, more are an overrun.
func BenchmarkCELWeights(b *testing.B) {
	var mixed strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&mixed, `"%06d",`, 100_000+i*7919%20_000)
	}
	long := `{"s":"` + strings.Repeat("a", 100_000) + `","l":[` + mixed.String() + `""],"n":[` + strings.ReplaceAll(mixed.String(), `"`, "") + `0],"o":{` +
		strings.ReplaceAll(numbered(10_000), `",`, `":1,`) + `"":1},"j":"[` + strings.Repeat(`1,`, 50_000) + `1]"}`
	for _, program := range []string{
		`data.s.matches("a{30}b")`, `data.s.matches("(.)(.*)@")`, `data.s.matches("[a-z ]+c$")`,
		`data.s.lowerAscii()`, `data.s.reverse()`, `data.s.charAt(1)`, `data.s.substring(1)`, `data.s.size()`, `data.s.trim()`,
		`data.s.replace("a", "bb")`, `data.s.split("")`, `data.s.indexOf("aaaaaaaaab")`, `data.s.lastIndexOf("baaaaaaaaa")`,
		`data.s.contains("aaaab")`, `strings.quote(data.s)`, `sha256(data.s)`, `hash(data.s)`, `base64.encode(bytes(data.s))`,
		`data.l.join(",")`, `"%s".format([data.l])`, `data.l.sort()`, `data.n.sort()`, `[data.n].flatten()`,
		`data.l.slice(0, 700).distinct()`, `data.n.slice(0, 700).distinct()`, `sets.contains(data.l.slice(0, 700), data.l.slice(0, 700))`,
		`20001 in data.n`, `"b" in data.l`, `data.n == data.n`, `data.l == data.l`, `data.n.reverse()`, `data.n.slice(1, 20000)`,
		`math.greatest(data.n)`, `merge(data.o, {})`, `omit(data.o, [""])`, `data.o.exists(k, true)`, `lists.range(100000)`,
	} {
		b.Run(program, func(b *testing.B) {
			l := limits{output: 10_000_000, timeout: time.Minute}
			p, err := celEngine{}.compile("dyn("+program+") == null", l)
			if err != nil {
				b.Fatal(err)
			}
			shown, r := testEnv(long), p.newRun().(*celRun)
			steps := uint(0)
			for b.Loop() {
				if _, err := r.eval(b.Context(), shown); err != nil {
					b.Fatal(err)
				}
				steps += r.machine.meter.steps
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(max(steps, 1)), "ns/step")
		})
	}
}
