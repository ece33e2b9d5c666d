package main

// Images, links and HTML of the report: plots become part of the page, what is referred to must be there, and HTML
// is text.

import (
	"bytes"
	"net/url"
	"os"
	"strings"

	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/util"
)

// references renders images and links in goldmark's place.
type references struct {
	folder   folder
	plots    map[string][]byte // what was drawn, by the name that the report gives it
	problems *problems
}

// RegisterFuncs is called by goldmark.
func (r *references) RegisterFuncs(reg renderer.NodeRendererFuncRegisterer) {
	reg.Register(ast.KindImage, r.image)
	reg.Register(ast.KindLink, r.link)
	reg.Register(ast.KindRawHTML, r.rawHTML)
	reg.Register(ast.KindHTMLBlock, r.htmlBlock)
}

// image puts the plot itself into the page. Any other image would have to be loaded from somewhere.
func (r *references) image(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	n := node.(*ast.Image)
	name := pathOf(n.Destination)
	plot, drawn := r.plots[name]
	if !drawn {
		r.missing(w, plainText(n, source), string(n.Destination))
		if strings.HasPrefix(name, plotsFolder+"/") && strings.HasSuffix(name, ".svg") {
			r.problems.addf("%s: the report shows it, but it was not drawn from %s.json; measure again (make bench)",
				name, strings.TrimSuffix(name, ".svg"))
		} else {
			r.problems.addf("%s: the report shows the image %q; it can only show plots/NAME.svg, drawn from plots/NAME.json",
				reportFile, n.Destination)
		}
		return ast.WalkSkipChildren, nil
	}
	_, _ = w.WriteString(`<span class="plot" role="img" aria-label="`)
	_, _ = w.Write(util.EscapeHTML([]byte(plainText(n, source))))
	_, _ = w.WriteString(`">`)
	_, _ = w.Write(plot[max(0, bytes.Index(plot, []byte("<svg"))):]) // without the XML declaration of a file
	_, _ = w.WriteString("</span>")
	return ast.WalkSkipChildren, nil
}

// link keeps a link as it is if it leads somewhere.
func (r *references) link(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	n := node.(*ast.Link)
	name := pathOf(n.Destination)
	if name != "" && name != pageFile {
		if _, err := os.Stat(r.folder.path(name)); err != nil {
			if entering {
				r.missing(w, plainText(n, source), string(n.Destination))
				r.problems.addf("%s: the report links to it, but it is missing; measure again (make bench)", name)
			}
			return ast.WalkSkipChildren, nil
		}
	}
	if !entering {
		_, _ = w.WriteString("</a>")
		return ast.WalkContinue, nil
	}
	to := util.URLEscape(n.Destination, true)
	if u, err := url.Parse(string(n.Destination)); err != nil || u.Scheme != "" && u.Scheme != "https" && u.Scheme != "http" {
		to = nil // no script behind a link
	}
	_, _ = w.WriteString(`<a href="`)
	_, _ = w.Write(util.EscapeHTML(to))
	_, _ = w.WriteString(`">`)
	return ast.WalkContinue, nil
}

// rawHTML shows what looks like a tag: in a report, <nil> is text.
func (r *references) rawHTML(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	if entering {
		_, _ = w.Write(util.EscapeHTML(visible(node.(*ast.RawHTML).Segments.Value(source))))
	}
	return ast.WalkSkipChildren, nil
}

// htmlBlock does the same with whole lines.
func (r *references) htmlBlock(w util.BufWriter, source []byte, node ast.Node, entering bool) (ast.WalkStatus, error) {
	n := node.(*ast.HTMLBlock)
	if !entering {
		return ast.WalkContinue, nil
	}
	raw := bytes.Clone(n.Lines().Value(source))
	if n.HasClosure() {
		raw = append(raw, n.ClosureLine.Value(source)...)
	}
	if raw = visible(raw); len(raw) > 0 {
		_, _ = w.WriteString("<pre>")
		_, _ = w.Write(util.EscapeHTML(raw))
		_, _ = w.WriteString("</pre>\n")
	}
	return ast.WalkContinue, nil
}

// visible is HTML without the comments, the marks of the flame graphs among them.
func visible(raw []byte) []byte {
	for {
		before, rest, found := bytes.Cut(raw, []byte("<!--"))
		if !found {
			return bytes.TrimSpace(raw)
		}
		_, after, _ := bytes.Cut(rest, []byte("-->"))
		raw = append(bytes.Clone(before), after...)
	}
}

// missing stands where something should be.
func (r *references) missing(w util.BufWriter, title, destination string) {
	_, _ = w.WriteString(`<strong class="missing">`)
	_, _ = w.Write(util.EscapeHTML([]byte(title + " (missing: " + destination + ")")))
	_, _ = w.WriteString("</strong>")
}

// pathOf is the file in the folder that a destination names, or "" for a place elsewhere or in the page.
func pathOf(destination []byte) string {
	u, err := url.Parse(string(destination))
	if err != nil || u.Scheme != "" || u.Host != "" || u.Opaque != "" {
		return ""
	}
	return u.Path
}
