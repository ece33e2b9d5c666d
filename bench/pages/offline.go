package main

// pprof's page made fit for a disk: what needs pprof's server is taken away, the graph stays as it is.

import (
	"bytes"
	"fmt"
	"html"
)

// offlineHead hides the menus that ask the server for another view, and keeps the right mouse button from
// opening one of them. Clicks into the graph and the search work in the page alone.
const offlineHead = `<style>
#view, #sample, #refine, #config, #download, .header .help, #action-menu { display: none !important; }
.header .title { white-space: nowrap; }
</style>
<script>
document.addEventListener('contextmenu', (e) => e.stopPropagation(), true);
</script>
</head>`

// homeLink is pprof's link to its start page.
const homeLink = `<h1><a href="./">pprof</a></h1>`

// offline gives the page its own title and a way back to the report.
func offline(page []byte, title string) ([]byte, error) {
	title = html.EscapeString(title)
	head, body, found := bytes.Cut(page, []byte("</head>"))
	begin, end := bytes.Index(head, []byte("<title>")), bytes.Index(head, []byte("</title>"))
	if !found || begin < 0 || end < begin || !bytes.Contains(body, []byte(homeLink)) {
		return nil, fmt.Errorf("pprof's page looks different than this command knows it: adapt offline.go to the version in go.mod")
	}
	home := fmt.Sprintf(`<h1><a href="../%s" title="back to the report">%s</a></h1>`, pageFile, title)
	return bytes.Join([][]byte{
		head[:begin], []byte("<title>" + title), head[end:], []byte(offlineHead),
		bytes.Replace(body, []byte(homeLink), []byte(home), 1),
	}, nil), nil
}

// emptyPage stands for a profile without samples, of which pprof would draw a blank page.
func emptyPage(title string) []byte {
	title = html.EscapeString(title)
	return fmt.Appendf(nil, `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>%s</title><style>:root { color-scheme: light dark } body { font: 16px sans-serif; margin: 3em }</style></head>
<body><h1>%s</h1>
<p>The profile has no samples: nothing of this kind happened while it was taken.</p>
<p><a href="../%s">Back to the report</a></p></body>
</html>
`, title, title, pageFile)
}
