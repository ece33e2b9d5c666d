package main

// report.md to report.html: a page that is complete in itself.

import (
	"bytes"
	_ "embed"
	"html/template"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
)

//go:embed report.html.tmpl
var pageText string

//go:embed report.css
var pageStyle string

var pageTemplate = template.Must(template.New(pageFile).Parse(pageText))

// page is what the template shows.
type page struct {
	Title    string
	Style    template.CSS
	Problems []string
	Contents []heading
	Body     template.HTML
}

// heading is a line of the table of contents.
type heading struct {
	Level    int
	ID, Text string
}

// reportPage renders the report. Everything in it is escaped, HTML included: it holds names and output of programs.
func reportPage(source []byte, f folder, plots map[string][]byte, p *problems) ([]byte, error) {
	md := goldmark.New(
		goldmark.WithExtensions(extension.GFM),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(renderer.WithNodeRenderers(
			util.Prioritized(&references{folder: f, plots: plots, problems: p}, 100))),
	)
	document := md.Parser().Parse(text.NewReader(source))
	var body bytes.Buffer
	if err := md.Renderer().Render(&body, source, document); err != nil {
		return nil, err
	}
	headings := headingsOf(document, source)
	title := "Measurements"
	var contents []heading
	for _, h := range headings {
		if h.Level == 1 {
			title = h.Text
		} else if h.Level <= 3 {
			contents = append(contents, h)
		}
	}
	var out bytes.Buffer
	err := pageTemplate.Execute(&out, page{
		Title:    title,
		Style:    template.CSS(pageStyle), // of this command
		Problems: p.list,
		Contents: contents,
		Body:     template.HTML(body.String()), // escaped by goldmark
	})
	return out.Bytes(), err
}

// headingsOf lists the headings in their order.
func headingsOf(document ast.Node, source []byte) (list []heading) {
	for n := document.FirstChild(); n != nil; n = n.NextSibling() {
		h, ok := n.(*ast.Heading)
		if !ok {
			continue
		}
		id, _ := h.AttributeString("id")
		anchor, _ := id.([]byte)
		list = append(list, heading{h.Level, string(anchor), plainText(h, source)})
	}
	return list
}

// plainText is what a reader sees of a node's text.
func plainText(n ast.Node, source []byte) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			raw := c.Segment.Value(source)
			if n.Kind() != ast.KindCodeSpan {
				raw = util.ResolveEntityNames(util.ResolveNumericReferences(util.UnescapePunctuations(raw)))
			}
			b.Write(raw)
			if c.SoftLineBreak() || c.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.RawHTML:
			b.Write(visible(c.Segments.Value(source)))
		case *ast.String:
			b.Write(c.Value)
		default:
			b.WriteString(plainText(c, source))
		}
	}
	return b.String()
}
