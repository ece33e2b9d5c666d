package main

// Colours, legend and SVG: what all plots share.

import (
	"bytes"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Sizes in points; a browser shows 4 pixels for 3 points.
const (
	plotWidth  vg.Length = 620
	plotHeight vg.Length = 330
	margin     vg.Length = 10
	legendGap  vg.Length = 16
	thumbnail  vg.Length = 26
)

// palette is the one of Okabe and Ito without its yellow, which is too light for lines on white. People with
// any kind of colour blindness can tell its colours apart; the markers differ too.
var palette = []color.Color{
	color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
	color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
	color.RGBA{0x00, 0x9e, 0x73, 0xff}, // green
	color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // purple
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
	color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky
	color.RGBA{0x00, 0x00, 0x00, 0xff}, // black
}

// markers repeat after another number than the colours do, so that no pair returns early.
var markers = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.SquareGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{},
	draw.RingGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.PlusGlyph{},
}

// dashes mark the rounds through the palette.
var dashes = [][]vg.Length{nil, {6, 3}, {2, 2}}

func colorOf(i int) color.Color { return palette[i%len(palette)] }

// entry is one line of the legend.
type entry struct {
	name   string
	thumbs []plot.Thumbnailer
}

// newPlot is an empty plot with the sizes that all plots share.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 13
	p.Title.Padding = 8
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font.Size = 11
		a.Label.Padding = 4
		a.Tick.Label.Font.Size = 10
		a.Padding = 0
	}
	return p
}

// svg draws the plot with its legend below, where it covers no point, on white: the page around may be dark.
func svg(p *plot.Plot, legend []entry) ([]byte, error) {
	rows := legendRows(legend, plotWidth-2*margin)
	rowHeight := legendGap
	legendHeight := rowHeight*vg.Length(len(rows)) + margin
	c := vgsvg.NewWith(vgsvg.UseWH(plotWidth, plotHeight+legendHeight))
	all := draw.New(c)
	all.FillPolygon(color.White, []vg.Point{
		all.Min, {X: all.Min.X, Y: all.Max.Y}, all.Max, {X: all.Max.X, Y: all.Min.Y},
	})
	// More room on the right: the last label of x stands half beyond the axis.
	p.Draw(draw.Crop(all, margin, -2*margin, legendHeight, -margin))
	for i, row := range rows {
		y := all.Min.Y + legendHeight - margin/2 - rowHeight*vg.Length(i+1)
		x := all.Min.X + margin
		for _, e := range row {
			l, width := e.legend()
			l.Draw(draw.Canvas{Canvas: all.Canvas, Rectangle: vg.Rectangle{
				Min: vg.Point{X: x, Y: y}, Max: vg.Point{X: x + width, Y: y + rowHeight},
			}})
			x += width + legendGap
		}
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return nil, err
	}
	// The page brings no fonts. The metrics of these are the same or close.
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"),
		[]byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), nil
}

// legend is the entry as gonum's legend of one line, with its width.
func (e entry) legend() (plot.Legend, vg.Length) {
	l := plot.NewLegend()
	l.Left, l.Top = true, true
	l.ThumbnailWidth = thumbnail
	l.TextStyle.Font.Size = 11
	l.Add(e.name, e.thumbs...)
	// A fifth more than Liberation Sans needs: the reader's own font may be wider.
	return l, thumbnail + l.TextStyle.Rectangle("  "+e.name).Max.X*1.2
}

// legendRows breaks the legend into rows that fit into width.
func legendRows(legend []entry, width vg.Length) (rows [][]entry) {
	used := width
	for _, e := range legend {
		_, w := e.legend()
		if used+w > width {
			rows = append(rows, nil)
			used = 0
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], e)
		used += w + legendGap
	}
	return rows
}

// gridColor is light enough to stay behind the data.
var gridColor = color.Gray{Y: 0xe4}
