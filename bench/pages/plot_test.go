package main

// Descriptions of plots that are refused, and the drawing of those that are not.

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestReadPlotRefuses(t *testing.T) {
	line := func(axes, points string) string {
		return `{"title":"t",` + axes + `"series":[{"name":"a","points":[` + points + `]}]}`
	}
	for name, c := range map[string]struct{ raw, want string }{
		"nothing":             {``, "not the description of a plot"},
		"other JSON":          {`[1]`, "not the description of a plot"},
		"two descriptions":    {line("", `{"x":1,"y":1}`) + `{}`, "text after its end"},
		"misspelt field":      {line("", `{"x":1,"y":1,"lo":0}`), `unknown field "lo"`},
		"NaN":                 {line("", `{"x":1,"y":NaN}`), "invalid character 'N'"},
		"infinity":            {line("", `{"x":1,"y":1e999}`), "1e999"},
		"no series":           {`{"title":"t","series":[]}`, "no series"},
		"empty series":        {line("", ``), "no points"},
		"series without name": {`{"series":[{"points":[{"x":1,"y":1}]}]}`, "no name"},
		"point without y":     {line("", `{"x":1}`), "x or y is missing"},
		"low without high":    {line("", `{"x":1,"y":1,"low":1}`), "low and high go together"},
		"y below low":         {line("", `{"x":1,"y":1,"low":2,"high":3}`), "not between"},
		"0 on log x":          {line(`"x":{"log":true},`, `{"x":0,"y":1}`), "logarithmic"},
		"0 on log y":          {line(`"y":{"log":true},`, `{"x":1,"y":0}`), "logarithmic"},
		"low of 0 on log y":   {line(`"y":{"log":true},`, `{"x":1,"y":1,"low":0,"high":2}`), "logarithmic"},
		"bars and series":     {`{"bars":{"groups":["g"],"series":[]},"series":[{"name":"a","points":[]}]}`, "both"},
		"bars without groups": {`{"bars":{"groups":[],"series":[{"name":"a","values":[]}]}}`, "no groups"},
		"too few values":      {`{"bars":{"groups":["g","h"],"series":[{"name":"a","values":[1]}]}}`, "1 values for 2 groups"},
		"bar below 0":         {`{"bars":{"groups":["g"],"series":[{"name":"a","values":[-1]}]}}`, "bars start at 0"},
		"log bars":            {`{"y":{"log":true},"bars":{"groups":["g"],"series":[{"name":"a","values":[1]}]}}`, "logarithmic"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readPlot([]byte(c.raw))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestDraw(t *testing.T) {
	for name, c := range map[string]struct {
		raw  string
		want []string
	}{
		"log x, linear y with error bars": {
			`{"title":"<b>&","x":{"label":"size","log":true},"y":{"label":"events/s"},"series":[
				{"name":"gate way","points":[{"x":1000,"y":1500000,"low":1400000,"high":1600000},{"x":1,"y":200000}]}]}`,
			[]string{"&lt;b&gt;&amp;", ">1<", ">10<", ">100<", ">1000<", ">0<", ">0.5M<", ">2.0M<", ">gate way<", ">events/s<"},
		},
		"one point":     {`{"series":[{"name":"a","points":[{"x":5,"y":0}]}]}`, []string{">a<"}},
		"one point log": {`{"x":{"log":true},"y":{"log":true},"series":[{"name":"a","points":[{"x":5,"y":0.07}]}]}`, []string{">5<"}},
		"below 0":       {`{"series":[{"name":"a","points":[{"x":5,"y":-3},{"x":6,"y":3}]}]}`, []string{">-3<", ">3<"}},
		"bars with a gap": {
			`{"y":{"label":"ms"},"bars":{"groups":["discard","Kafka"],"series":[{"name":"a","values":[12345,null]}]}}`,
			[]string{">discard<", ">Kafka<", ">12.3k<", ">10k<"},
		},
		"bars of 0": {`{"bars":{"groups":["g"],"series":[{"name":"a","values":[0]}]}}`, []string{">g<"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := folder(t.TempDir())
			put(t, f, "plots/p.json", c.raw)
			drawn, err := drawPlot(f, "plots/p.json")
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !bytes.Contains(drawn, []byte(want)) {
					t.Errorf("the plot does not show %q", want)
				}
			}
			if bytes.Contains(drawn, []byte("NaN")) || bytes.Contains(drawn, []byte("Inf")) {
				t.Error("the plot has coordinates that are no numbers")
			}
			d := xml.NewDecoder(bytes.NewReader(drawn))
			for err == nil {
				_, err = d.Token()
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("not well-formed: %v", err)
			}
		})
	}
}

func TestShortNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.05: "0.05", 1: "1", 34.56: "34.6", 1230: "1230", 45600: "45.6k", 2e6: "2M", 3.21e9: "3.21G"} {
		if got := shortNumber(v); got != want {
			t.Errorf("shortNumber(%v) = %q, want %q", v, got, want)
		}
	}
}
