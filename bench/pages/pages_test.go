package main

// A whole run: profiles recorded here, a report that shows them, and one with everything wrong in it.

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

const goodPlot = `{"title":"Rate","x":{"label":"size"},"y":{"label":"events/s"},"series":[{"name":"gateway","points":[{"x":1,"y":2},{"x":2,"y":3}]}]}`

func TestPages(t *testing.T) {
	f := folder(t.TempDir())
	recordProfiles(t, f, "ru(n")
	put(t, f, "plots/rate.json", goodPlot)
	put(t, f, "plots/old.svg", "of an earlier run")
	put(t, f, "flame/old.cpu.html", "of an earlier run")
	put(t, f, "report.md", "# Title\n\n## A <nil> & b\n\n![Rate](plots/rate.svg)\n\n|a|b|\n|-|-|\n|1|[cpu](flame/ru%28n.cpu.html)|\n\n"+
		"<script src=\"https://example.com/x.js\"></script>\n\n[bad](javascript:alert(1)) [out](https://example.com/)\n\n<!-- flamegraphs -->\n\nend\n")
	first := drawAgain(t, f)
	if second := drawAgain(t, f); second != first {
		t.Errorf("drawing again changes report.md:\n%s\nwas:\n%s", second, first)
	}
	for _, name := range []string{"plots/old.svg", "flame/old.cpu.html"} {
		if _, err := f.read(name); err == nil {
			t.Errorf("%s stays", name)
		}
	}
	page := get(t, f, "report.html")
	for _, want := range []string{
		"<title>Title</title>", `href="#a-nil--b"`, "A &lt;nil&gt; &amp; b", "<table>", "<svg ",
		`href="flame/ru%28n.mutex.html"`, "ru(n", "&lt;script",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("report.html has no %s", want)
		}
	}
	if strings.Contains(page, "javascript:") || strings.Contains(page, "not complete") {
		t.Errorf("report.html has a script or problems:\n%s", page)
	}
	loadsNothing(t, page)
}

// drawAgain draws the pages, without problems, and returns report.md.
func drawAgain(t *testing.T, f folder) string {
	t.Helper()
	p := &problems{}
	if err := makePages(f, p); err != nil {
		t.Fatal(err)
	}
	if len(p.list) > 0 {
		t.Fatalf("problems: %q", p.list)
	}
	return get(t, f, "report.md")
}

func TestFlamePages(t *testing.T) {
	f := folder(t.TempDir())
	recordProfiles(t, f, "run")
	put(t, f, "report.md", "# Title\n")
	drawAgain(t, f)
	for _, kind := range []string{"cpu", "alloc"} {
		page := get(t, f, flameFile("run", kind))
		loadsNothing(t, page)
		for _, want := range []string{"<title>run " + kind + "</title>", `href="../report.html"`, "stackViewer(", `id="search"`, "#view, #sample"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %s", kind, want)
			}
		}
		// The stage is a frame of its own only in the CPU profile; the sample of alloc is what was allocated.
		if got := strings.Contains(page, `"FullName":"decode","FileName":"stage"`); got != (kind == "cpu") {
			t.Errorf("%s: the frame of the stage is there: %v", kind, got)
		}
		if got := strings.Contains(page, `"alloc_space"`) || strings.Contains(page, "Type: alloc_space"); got != (kind == "alloc") {
			t.Errorf("%s: it shows alloc_space: %v", kind, got)
		}
		if strings.Contains(page, `"FullName":"stage"`) {
			t.Errorf("%s: samples without a stage stand below a frame named stage", kind)
		}
	}
	if page := get(t, f, flameFile("run", "mutex")); !strings.Contains(page, "no samples") {
		t.Errorf("the page of an empty profile does not say so:\n%s", page)
	}
}

// A title is for readers: it may hold what a file's name may not.
func TestTitles(t *testing.T) {
	f := folder(t.TempDir())
	recordProfiles(t, f, "micro-pipeline-Pipeline_events-100")
	put(t, f, titlesFile, `{"micro-pipeline-Pipeline_events-100": "pipeline: <Pipeline>, events=100", "away": "not measured"}`)
	put(t, f, "report.md", "# Title\n\n<!-- flamegraphs -->\n")
	md := drawAgain(t, f)
	if want := "- pipeline: \\<Pipeline\\>, events=100: [cpu](flame/micro-pipeline-Pipeline_events-100.cpu.html) | [alloc]("; !strings.Contains(md, want) {
		t.Errorf("report.md has no %q:\n%s", want, md)
	}
	if strings.Contains(md, "not measured") {
		t.Errorf("a title without a profile is listed:\n%s", md)
	}
	page := get(t, f, flameFile("micro-pipeline-Pipeline_events-100", "cpu"))
	if want := "<title>pipeline: &lt;Pipeline&gt;, events=100 cpu</title>"; !strings.Contains(page, want) {
		t.Errorf("the page has no %s", want)
	}
	put(t, f, titlesFile, "no JSON")
	p := &problems{}
	if err := makePages(f, p); err != nil || len(p.list) != 1 || !strings.HasPrefix(p.list[0], titlesFile+": ") {
		t.Errorf("broken titles: %v, %q", err, p.list)
	}
	if md := get(t, f, "report.md"); !strings.Contains(md, "- micro-pipeline-Pipeline\\_events-100: [cpu](") {
		t.Errorf("without titles the names do:\n%s", md)
	}
}

func TestProblemsAreNamed(t *testing.T) {
	f := folder(t.TempDir())
	put(t, f, "plots/bad.json", `{"series":[]}`)
	put(t, f, "plots/good.json", goodPlot)
	put(t, f, "profiles/run.cpu.pprof", "no profile")
	put(t, f, "profiles/run.heap.pprof", "no such kind")
	put(t, f, "report.md", "# T\n\n![Bad](plots/bad.svg) ![None](plots/none.svg) ![Far](https://example.com/x.png) ![Good](plots/good.svg)\n\n"+
		"[cpu](flame/run.cpu.html)\n\n<!-- flamegraphs -->\n")
	p := &problems{}
	if err := makePages(f, p); err != nil {
		t.Fatal(err)
	}
	page := get(t, f, "report.html")
	loadsNothing(t, page)
	for _, want := range []string{
		"plots/bad.json: it has no series", "plots/bad.svg: the report shows it", "plots/none.svg: the report shows it",
		`report.md: the report shows the image "https://example.com/x.png"`, "profiles/run.cpu.pprof: not a profile",
		"profiles/run.heap.pprof: no page", "profiles/run.alloc.pprof: missing", "flame/run.cpu.html: the report links to it",
	} {
		if !slices.ContainsFunc(p.list, func(text string) bool { return strings.HasPrefix(text, want) }) {
			t.Errorf("no problem %q in %q", want, p.list)
		}
		if !strings.Contains(page, html.EscapeString(want)) {
			t.Errorf("report.html does not say %q", want)
		}
	}
	if !strings.Contains(page, "<svg ") {
		t.Error("the good plot is not shown")
	}
	if md := get(t, f, "report.md"); !strings.Contains(md, "- run: cpu: profile unreadable | alloc: profile missing") {
		t.Errorf("report.md does not say what is missing:\n%s", md)
	}
}

func TestNoReport(t *testing.T) {
	err := makePages(folder(t.TempDir()), &problems{})
	if err == nil || !strings.Contains(err.Error(), "measure first (make bench)") {
		t.Errorf("got %v", err)
	}
}

// loadsNothing fails if a browser would fetch anything for the page, from the network or from the disk.
func loadsNothing(t *testing.T, page string) {
	t.Helper()
	document, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for n := range document.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for _, a := range n.Attr {
			loads := a.Key == "src" || a.Key == "srcset" || a.Key == "data" || a.Key == "href" && n.Data != "a"
			if loads && !strings.HasPrefix(a.Val, "data:") && !strings.HasPrefix(a.Val, "#") {
				t.Errorf("<%s> loads %q", n.Data, a.Val)
			}
		}
		if n.Data == "style" && n.FirstChild != nil {
			css := n.FirstChild.Data
			if strings.Contains(css, "@import") || strings.Contains(css, "url(") && strings.Count(css, "url(") != strings.Count(css, `url("data:`) {
				t.Error("a style sheet loads something")
			}
		}
	}
}

// recordProfiles takes the four profiles of a process that works with and without a stage and never waits.
func recordProfiles(t *testing.T, f folder, name string) {
	t.Helper()
	var cpu bytes.Buffer
	if err := pprof.StartCPUProfile(&cpu); err != nil {
		t.Fatal(err)
	}
	pprof.Do(t.Context(), pprof.Labels("stage", "decode", "worker", "0"), func(context.Context) { work(200 * time.Millisecond) })
	work(200 * time.Millisecond)
	pprof.StopCPUProfile()
	put(t, f, profileFile(name, "cpu"), cpu.String())
	for kind, source := range map[string]string{"alloc": "allocs", "block": "block", "mutex": "mutex"} {
		var b bytes.Buffer
		if err := pprof.Lookup(source).WriteTo(&b, 0); err != nil {
			t.Fatal(err)
		}
		put(t, f, profileFile(name, kind), b.String())
	}
}

var sink []byte

// work allocates and computes for as long as asked.
func work(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		sink = bytes.Repeat([]byte("event"), 200_000)
	}
}

func put(t *testing.T, f folder, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(f.path(name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.path(name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, f folder, name string) string {
	t.Helper()
	raw, err := f.read(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
