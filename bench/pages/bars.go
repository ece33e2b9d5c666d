package main

// A plot of bars: a group for each case, in it a bar for each series with its value on top.

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// groupShare is the part of a group's width that its bars fill.
const groupShare = 0.8

func drawBars(spec *plotSpec) ([]byte, error) {
	p := newPlot(spec.Title)
	high := 0.0
	for _, s := range spec.Bars.Series {
		for _, v := range s.Values {
			if v != nil {
				high = max(high, *v)
			}
		}
	}
	setAxis(&p.Y, spec.Y, 0, high*1.05) // room for the value on the highest bar
	p.X.Label.Text = spec.X.Label
	p.X.Min, p.X.Max = -0.5, float64(len(spec.Bars.Groups))-0.5
	p.X.Tick.Color = color.Transparent // only the names: nothing is measured along x
	var names plot.ConstantTicks
	for i, g := range spec.Bars.Groups {
		names = append(names, plot.Tick{Value: float64(i), Label: g})
	}
	p.X.Tick.Marker = names
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = gridColor, nil
	p.Add(grid)
	var legend []entry
	for i, s := range spec.Bars.Series {
		b := &barPlotter{values: s.Values, color: colorOf(i), number: i, of: len(spec.Bars.Series), labels: p.X.Tick.Label}
		p.Add(b)
		legend = append(legend, entry{s.Name, []plot.Thumbnailer{b}})
	}
	return svg(p, legend)
}

// barPlotter draws one series of bars: number of so many in each group.
type barPlotter struct {
	values     []*float64
	color      color.Color
	number, of int
	labels     draw.TextStyle
}

// Plot draws the bars.
func (b *barPlotter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	width := groupShare / float64(b.of)
	style := b.labels
	style.Font.Size = 9
	style.XAlign, style.YAlign = draw.XCenter, draw.YBottom
	for i, v := range b.values {
		if v == nil {
			continue
		}
		left := float64(i) - groupShare/2 + width*float64(b.number)
		c.FillPolygon(b.color, []vg.Point{
			{X: x(left), Y: y(0)}, {X: x(left), Y: y(*v)},
			{X: x(left + width*0.94), Y: y(*v)}, {X: x(left + width*0.94), Y: y(0)},
		})
		c.FillText(style, vg.Point{X: x(left + width*0.47), Y: y(*v) + 2}, shortNumber(*v))
	}
}

// Thumbnail draws a small bar for the legend.
func (b *barPlotter) Thumbnail(c *draw.Canvas) {
	c.FillPolygon(b.color, []vg.Point{
		c.Min, {X: c.Min.X, Y: c.Max.Y}, c.Max, {X: c.Max.X, Y: c.Min.Y},
	})
}
