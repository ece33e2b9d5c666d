package main

// The description of a plot, read and checked.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// plotSpec is the content of plots/NAME.json: lines (Series) or bars (Bars).
type plotSpec struct {
	Title  string   `json:"title"`
	X      axisSpec `json:"x"`
	Y      axisSpec `json:"y"`
	Series []series `json:"series"`
	Bars   *bars    `json:"bars"`
}

type axisSpec struct {
	Label string `json:"label"`
	Log   bool   `json:"log"`
}

type series struct {
	Name   string  `json:"name"`
	Points []point `json:"points"`
}

// point is a median with the range it was measured in. The fields are pointers because a figure that was left
// out must not be drawn as 0.
type point struct {
	X, Y      *float64
	Low, High *float64 // both or neither: no error bar
}

type bars struct {
	Groups []string    `json:"groups"`
	Series []barSeries `json:"series"`
}

// barSeries has a value for each group; null leaves a gap.
type barSeries struct {
	Name   string     `json:"name"`
	Values []*float64 `json:"values"`
}

// readPlot reads and checks a description. JSON has no NaN and no infinity, so every number is finite.
func readPlot(raw []byte) (*plotSpec, error) {
	var p plotSpec
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields() // a misspelt "low" would silently lose its error bars
	if err := d.Decode(&p); err != nil {
		return nil, fmt.Errorf("not the description of a plot: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("not the description of a plot: text after its end")
	}
	switch {
	case p.Bars != nil && p.Series != nil:
		return nil, errors.New("it has both bars and series: a plot shows one of them")
	case p.Bars != nil:
		return &p, p.checkBars()
	default:
		return &p, p.checkSeries()
	}
}

func (p *plotSpec) checkSeries() error {
	if len(p.Series) == 0 {
		return errors.New("it has no series")
	}
	for i, s := range p.Series {
		if s.Name == "" {
			return fmt.Errorf("series %d has no name", i+1)
		}
		if len(s.Points) == 0 {
			return fmt.Errorf("series %q has no points", s.Name)
		}
		for j, pt := range s.Points {
			if err := p.checkPoint(pt); err != nil {
				return fmt.Errorf("series %q, point %d: %w", s.Name, j+1, err)
			}
		}
	}
	return nil
}

func (p *plotSpec) checkPoint(pt point) error {
	if pt.X == nil || pt.Y == nil {
		return errors.New("x or y is missing")
	}
	if (pt.Low == nil) != (pt.High == nil) {
		return errors.New("low and high go together: one of them is missing")
	}
	low, high := pt.bounds()
	if low > *pt.Y || high < *pt.Y {
		return fmt.Errorf("y %v is not between low %v and high %v", *pt.Y, low, high)
	}
	if p.X.Log && *pt.X <= 0 {
		return fmt.Errorf("x is %v, which a logarithmic axis cannot show", *pt.X)
	}
	if p.Y.Log && low <= 0 {
		return fmt.Errorf("y or low is %v, which a logarithmic axis cannot show", low)
	}
	return nil
}

// bounds are the ends of the error bar: y itself where there is none.
func (pt point) bounds() (low, high float64) {
	if pt.Low == nil || pt.High == nil {
		return *pt.Y, *pt.Y
	}
	return *pt.Low, *pt.High
}

func (p *plotSpec) checkBars() error {
	b := p.Bars
	if len(b.Groups) == 0 || len(b.Series) == 0 {
		return errors.New("its bars have no groups or no series")
	}
	if p.X.Log || p.Y.Log {
		return errors.New("bars start at 0, which a logarithmic axis cannot show")
	}
	for i, s := range b.Series {
		if s.Name == "" {
			return fmt.Errorf("series %d has no name", i+1)
		}
		if len(s.Values) != len(b.Groups) {
			return fmt.Errorf("series %q has %d values for %d groups", s.Name, len(s.Values), len(b.Groups))
		}
		for _, v := range s.Values {
			if v != nil && *v < 0 {
				return fmt.Errorf("series %q has the value %v: bars start at 0", s.Name, *v)
			}
		}
	}
	return nil
}
