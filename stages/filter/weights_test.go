package filter

// What a filter takes at most for an event, whatever it calls: nobody looks at
// the clock below the backstop, so the bounds in steps have to hold.

import (
	"errors"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/stages"
)

// BenchmarkWeights has as ns/op what an event takes of a filter that calls one function until its bounds end it: 6 ms at most
// are meant, 1 for the units of cel-go's and 5 for steps.
func BenchmarkWeights(b *testing.B) {
	const ten = `[0,1,2,3,4,5,6,7,8,9]`
	hundred := `(` + ten + strings.Repeat(` + `+ten, 9) + `)`
	ev := order()
	ev.Subject = strings.Repeat("aé1,", 125)
	ev.Metadata["long"] = strings.Repeat("/0aZ", 20_000)
	ev.Metadata["zone"] = "America/Argentina/ComodRivadavia"
	for i := range 50 {
		ev.Metadata[strings.Repeat("k", i+1)] = strings.Repeat("v", i)
	}
	for _, call := range []string{
		`a >= 0`, `a + b >= 0`, `a * b % 7 >= 0`, `subject != ""`, `subject + subject != ""`, `subject == subject + ""`, `metadata.tenant == "acme"`,
		`"absent" in metadata == false`, `metadata == metadata`, `metadata.all(k, true)`, `[metadata] == [metadata]`, `size(metadata) > 0`,
		`subject.size() > 0`, `subject.charAt(1) != ""`, `subject.lowerAscii() != ""`, `subject.upperAscii() != ""`, `subject.replace("a", "bb") != ""`,
		`subject.split(",").size() > 0`, `subject.substring(1) != ""`, `subject.trim() != ""`, `subject.indexOf("zz") < 0`, `subject.lastIndexOf("zz") < 0`,
		`subject.contains("zzz") == false`, `subject.startsWith("aé1,aé") && subject.endsWith("aé1,")`, `subject.matches("^(aé1,)*$")`, `subject.matches("a{20}z") == false`,
		`"x".matches("(a{30}){20}" + string(a)) == false`, `subject.matches(string(a)) || true`, `"x".matches("(a{30}){20}" + string(a)) || true`,
		`metadata.long.size() > 0`, `metadata.long.contains("zz") == false`, `metadata.long.lowerAscii() != ""`, `metadata.long < metadata.long + "a"`, `metadata.long == metadata.long`,
		`sha256(subject) != ""`, `sha256("") != ""`, `hash(subject) >= 0 || true`, `hash("") >= 0 || true`, `bytes(subject) != b""`, `string(bytes(subject)) != ""`,
		`time.getHours() >= 0`, `time.getDayOfYear() >= 0`, `time.getHours("America/New_York") >= 0`, `time.getHours(metadata.zone) >= 0`, `time.getHours("+01:00") >= 0`,
		`time.getDayOfYear("Europe/Berlin") >= 0`, `dyn(time).getHours("Asia/Kolkata") >= 0`, `string(time) != ""`, `timestamp("2026-09-18T10:11:06.123456789Z") > time || true`, `duration("1h2m3.5s") > duration("1s")`,
		`string(duration("1h2m3.5s")) != ""`, `time - time == duration("0s")`, `time + duration("1h") > time`, `int(time) > 0`, `timestamp(1234567890 + a) < time`,
		`string(1.0 / (double(a) + 3.7)) != ""`, `double("1.234567890123456789e-300") < 1.0`, `double(string(a) + "e-300") < 1.0`, `int("1234567890") > 0`, `uint(a) >= 0u`, `string(a) != ""`, `bool("true")`,
		`[a, b, 1, 2].size() > 0`, `{"a": a, "b": b}.size() > 0`, `a in ` + hundred, `[a, b] == [a, b]`, ten + `.map(x, x + a).size() > 0`, ten + `.filter(x, x > 3).size() > 0`,
		`type(a) == int`, `a > 0 ? true : true`, `has(metadata.tenant)`, `dyn(a) == 1.5 || true`, `dyn(a) < 1000.5`,
	} {
		b.Run(call, func(b *testing.B) {
			expression := hundred + `.all(a, ` + hundred + `.all(b, ` + call + `))`
			match, err := Compile(nil, nil, expression)
			if err != nil {
				b.Fatal(err)
			}
			_, err = match(ev)
			costly, ok := errors.AsType[*stages.Costly](err)
			if !ok {
				b.Fatal("it was decided at once")
			}
			for b.Loop() {
				_, err = costly.Decide(ev)
			}
			b.Logf("%.150v", err)
		})
	}
}
