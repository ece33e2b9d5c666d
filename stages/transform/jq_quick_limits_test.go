package transform

// Programs that run away on the quick way end there, by its own asking: gojq is
// not even called.

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// makesMuch are the programs below that end by what they make: time would hide that nobody counts it.
var makesMuch = map[string]bool{
	`. as $d | [.[] | $d[] | {a: .}]`: true, `. as $d | [.[] | $d[]]`: true, `. as $d | [.[] | $d | .n0 = 1]`: true, `. as $d | map($d | .[0] = 1 | length)`: true,
	`reduce .[] as $i ("x"; . + .)`: true, `reduce .[] as $i ("x"; "\(.)\(.)")`: true, `reduce .[] as $i ("x"; [., .] | join(""))`: true,
	`reduce .[] as $i ("x"; [., .] | add)`: true, `reduce .[] as $i ([1]; . + .)`: true, `reduce .[] as $i ([1]; [.[], .[]])`: true,
	`. as $d | map($d | del(.[0]) | length)`: true, `reduce .[] as $i ("x"; tojson)`: true, `reduce .[:100][] as $i ("x"; . * 1000)`: true, `. as $d | .l | map($d.s | split("") | length)`: true,
}

func TestQuickJQRunsAway(t *testing.T) {
	skipUnderRace(t)
	for _, c := range []struct{ program, data string }{
		{`. as $d | map($d | map(empty))`, manyNumbers},
		{`. as $d | [.[] | $d[] | {a: .}]`, manyNumbers},
		{`. as $d | [.[] | $d[]]`, manyNumbers},
		{`. as $d | [.[] | $d[] | empty]`, manyNumbers},
		{`. as $d | map($d | map(. + 1) | length)`, manyNumbers},
		{`. as $d | map($d | any(. > 1))`, manyNumbers},
		{`. as $d | map($d | add)`, manyNumbers},
		{`. as $d | map($d | .[] |= 1 | length)`, manyNumbers},
		{`. as $d | map($d | .[0] = 1 | length)`, manyNumbers},
		{`. as $d | map($d | del(.[0]) | length)`, manyNumbers},
		{`. as $d | map($d | del(.[] | select(. == 1)) | length)`, manyNumbers},
		{`. as $d | map($d | map_values(.) | length)`, manyNumbers},
		{`. as $d | map($d == $d)`, manyNumbers},
		{`. as $d | map($d | tostring | length)`, manyNumbers},
		{`. as $d | map("\($d)" | length)`, manyNumbers},
		{`. as $d | .l | map($d.l | join(",") | length)`, longTexts},
		{`. as $d | .l | map($d.s | length)`, longTexts},
		{`. as $d | .l | map($d.s | split("") | length)`, longTexts},
		{`. as $d | .l | map($d.s | ascii_upcase | length)`, longTexts},
		{`. as $d | .l | map($d.s[1:] | length)`, longTexts},
		{`. as $d | .l | map($d.s + "x" | length)`, longTexts},
		{`. as $d | .l | map($d.s | test("(x{0,30}y){20}$"))`, longTexts},
		{`. as $d | [.[] | $d | keys]`, manyNames},
		{`. as $d | [.[] | $d | .n0 = 1]`, manyNames},
		{`. as $d | [.[] | $d | map_values(1)]`, manyNames},
		{`. as $d | [.[] | $d[]]`, manyNames},
		{`reduce .[] as $i ("x"; . + .)`, manyNumbers},
		{`reduce .[] as $i ("x"; "\(.)\(.)")`, manyNumbers},
		{`reduce .[] as $i ("x"; [., .] | join(""))`, manyNumbers},
		{`reduce .[] as $i ("x"; [., .] | add)`, manyNumbers},
		{`reduce .[] as $i ([1]; . + .)`, manyNumbers},
		{`reduce .[] as $i ([1]; [.[], .[]])`, manyNumbers},
		{`reduce .[] as $i (1; [., .]) | tostring`, manyNumbers},
		{`reduce .[:100][] as $i (1; [., .]) | . == [.[0], .[1]]`, manyNumbers},
		{`reduce .[] as $i ("x"; tojson)`, manyNumbers},
		{`reduce .[:100][] as $i ("x"; . * 1000)`, manyNumbers},
	} {
		timeout := 20 * time.Millisecond // in which no other program here makes a third of what it may, where this was written
		if makesMuch[c.program] {
			timeout = time.Minute
		}
		w := waysOf(c.program, timeout)
		if w == nil || w.jqProgram.quick == nil {
			t.Errorf("%s has no quick way", c.program)
			continue
		}
		r, e := w.quick, testEnv(c.data)
		v, err := e.data()
		if err != nil {
			t.Fatal(err)
		}
		r.meter.start(timeout, e)
		r.input, r.env, r.document = v, e, &e.document
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		started := time.Now()
		_, err, ok := r.runQuick(v)
		took := time.Since(started)
		runtime.ReadMemStats(&after)
		made := (after.TotalAlloc - before.TotalAlloc) >> 20 // garbage too, of arrays that grow: 384 at most
		t.Logf("%v, %d MiB: %s: %v", took, made, c.program, err)
		if !ok || !errors.Is(err, errLimit) || makesMuch[c.program] != strings.Contains(fmt.Sprint(err), "MiB") || made > 1000 || took > 20*time.Second {
			t.Errorf("%s ends with %v after %v and %d MiB; want a limit", c.program, err, took, made)
		}
	}
}
