//go:build faults

package faults

// The soak as a picture: one SVG file, faults as grey lines through all panels.

import (
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

var (
	blue   = color.RGBA{R: 31, G: 119, B: 180, A: 255}
	orange = color.RGBA{R: 230, G: 120, B: 20, A: 255}
	red    = color.RGBA{R: 200, G: 30, B: 30, A: 255}
	grey   = color.RGBA{R: 170, G: 170, B: 170, A: 255}
)

// curve is one line of a panel; dots marks the values at rest instead.
type curve struct {
	name  string
	color color.RGBA
	dots  bool
	value func(now, before sample) float64
}

// perSecond is the growth of a count.
func perSecond(count func(sample) int) func(now, before sample) float64 {
	return func(now, before sample) float64 {
		return float64(count(now)-count(before)) / max(now.at-before.at, 0.1)
	}
}

func (s *soak) plot(name string) error {
	mib := func(of func(sample) int64) func(now, _ sample) float64 {
		return func(now, _ sample) float64 { return float64(of(now)) / (1 << 20) }
	}
	heap, resident := mib(func(o sample) int64 { return o.heap }), mib(func(o sample) int64 { return o.resident })
	goroutines := func(now, _ sample) float64 { return float64(now.goroutines) }
	files := func(now, _ sample) float64 { return float64(now.files) }
	panels := []struct {
		title  string
		curves []curve
	}{
		{"events a second", []curve{{"acknowledged", blue, false, perSecond(func(o sample) int { return o.acknowledged })},
			{"refused", orange, false, perSecond(func(o sample) int { return o.refused })},
			{"unknown", red, false, perSecond(func(o sample) int { return o.doubt })}}},
		{"events in flight", []curve{{"in flight", blue, false, func(now, _ sample) float64 { return now.inFlight }}}},
		{"memory, MiB", []curve{{"resident", blue, false, resident}, {"heap", orange, false, heap},
			{"heap at rest, collected", red, true, heap}}},
		{"goroutines", []curve{{"goroutines", blue, false, goroutines}, {"at rest", red, true, goroutines}}},
		{"open files", []curve{{"files", blue, false, files}, {"at rest", red, true, files}}},
	}
	rows := make([][]*plot.Plot, len(panels))
	for i, panel := range panels {
		p := plot.New()
		p.Title.Text, p.X.Label.Text, p.Y.Min = panel.title, "seconds", 0
		p.Legend.Top = true
		p.Add(plotter.NewGrid())
		for _, c := range panel.curves {
			if err := s.draw(p, c); err != nil {
				return err
			}
		}
		if err := s.faults(p, i == 0); err != nil {
			return err
		}
		rows[i] = []*plot.Plot{p}
	}
	const width, height = 12 * vg.Inch, 3 * vg.Inch
	picture := vgsvg.New(width, height*vg.Length(len(rows)))
	canvases := plot.Align(rows, draw.Tiles{Rows: len(rows), Cols: 1, PadX: vg.Millimeter, PadY: 3 * vg.Millimeter}, draw.New(picture))
	for i := range rows {
		rows[i][0].Draw(canvases[i][0])
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = picture.WriteTo(file)
	return err
}

// draw adds one curve; while the gateway is down it has none.
func (s *soak) draw(p *plot.Plot, c curve) error {
	var points plotter.XYs
	before := sample{}
	for _, one := range s.samples {
		if one.up && one.resting == c.dots {
			points = append(points, plotter.XY{X: one.at, Y: c.value(one, before)})
		}
		before = one
	}
	if len(points) == 0 {
		return nil
	}
	if c.dots {
		dots, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		dots.Color, dots.Shape = c.color, draw.CircleGlyph{}
		p.Add(dots)
		p.Legend.Add(c.name, dots)
		return nil
	}
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color = c.color
	p.Add(line)
	p.Legend.Add(c.name, line)
	return nil
}

// faults draws where each began, with its name in one panel.
func (s *soak) faults(p *plot.Plot, named bool) error {
	labels, last := plotter.XYLabels{}, ""
	top := p.Y.Max
	for _, one := range s.samples {
		if one.fault != "" && one.fault != last {
			line, err := plotter.NewLine(plotter.XYs{{X: one.at, Y: 0}, {X: one.at, Y: top}})
			if err != nil {
				return err
			}
			line.Color, line.Dashes = grey, []vg.Length{vg.Points(3), vg.Points(2)}
			p.Add(line)
			// Names take turns in height, so that neighbours do not cover each other.
			labels.XYs = append(labels.XYs, plotter.XY{X: one.at, Y: top * (1 - 0.08*float64(len(labels.XYs)%8))})
			labels.Labels = append(labels.Labels, one.fault)
		}
		last = one.fault
	}
	if !named || len(labels.XYs) == 0 {
		return nil
	}
	text, err := plotter.NewLabels(labels)
	if err != nil {
		return err
	}
	for i := range text.TextStyle {
		text.TextStyle[i].Font.Size = vg.Points(7)
	}
	p.Add(text)
	return nil
}
