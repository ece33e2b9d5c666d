package main

// A plot of lines: one for each series, with markers and error bars.

import (
	"cmp"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

func drawLines(spec *plotSpec) ([]byte, error) {
	p := newPlot(spec.Title)
	x0, x1, y0, y1 := spec.ranges()
	setAxis(&p.X, spec.X, x0, x1)
	setAxis(&p.Y, spec.Y, y0, y1)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = gridColor, gridColor
	p.Add(grid)
	var legend []entry
	for i, s := range spec.Series {
		line, points, err := s.draw(p, i)
		if err != nil {
			return nil, err
		}
		legend = append(legend, entry{s.Name, []plot.Thumbnailer{line, points}})
	}
	return svg(p, legend)
}

// ranges are those of all series, error bars included; y begins at 0 unless its axis is logarithmic.
func (p *plotSpec) ranges() (x0, x1, y0, y1 float64) {
	x0, x1, y0, y1 = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range p.Series {
		for _, pt := range s.Points {
			low, high := pt.bounds()
			x0, x1 = min(x0, *pt.X), max(x1, *pt.X)
			y0, y1 = min(y0, low), max(y1, high)
		}
	}
	if !p.Y.Log {
		y0, y1 = min(y0, 0), max(y1, 0)
	}
	return x0, x1, y0, y1
}

// draw adds series number i to the plot, its points from left to right.
func (s series) draw(p *plot.Plot, i int) (*plotter.Line, *plotter.Scatter, error) {
	sorted := slices.SortedFunc(slices.Values(s.Points), func(a, b point) int { return cmp.Compare(*a.X, *b.X) })
	xys := make(plotter.XYs, len(sorted))
	var measured plotter.XYs
	var errorBars plotter.YErrors
	for j, pt := range sorted {
		xys[j] = plotter.XY{X: *pt.X, Y: *pt.Y}
		if pt.Low != nil {
			low, high := pt.bounds()
			measured = append(measured, xys[j])
			errorBars = append(errorBars, struct{ Low, High float64 }{*pt.Y - low, high - *pt.Y})
		}
	}
	line, points, err := plotter.NewLinePoints(xys)
	if err != nil {
		return nil, nil, err
	}
	line.Color, line.Width, line.Dashes = colorOf(i), 1.5, dashes[i/len(palette)%len(dashes)]
	points.GlyphStyle = draw.GlyphStyle{Color: colorOf(i), Radius: 3, Shape: markers[i%len(markers)]}
	p.Add(line, points)
	if measured == nil {
		return line, points, nil
	}
	bars, err := plotter.NewYErrorBars(struct {
		plotter.XYs
		plotter.YErrors
	}{measured, errorBars})
	if err != nil {
		return nil, nil, err
	}
	bars.Color, bars.Width, bars.CapWidth = colorOf(i), vg.Points(0.8), 6
	p.Add(bars)
	return line, points, nil
}
