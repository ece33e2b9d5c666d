package main

// Ranges and ticks of the axes.

import (
	"math"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
)

// setAxis gives an axis its range and its ticks for values between low and high.
func setAxis(a *plot.Axis, spec axisSpec, low, high float64) {
	a.Label.Text = spec.Label
	if spec.Log {
		a.Scale = plot.LogScale{}
		a.Tick.Marker = plot.ConstantTicks(logTicks(&low, &high))
	} else {
		a.Tick.Marker = plot.ConstantTicks(linearTicks(&low, &high))
	}
	a.Min, a.Max = low, high
}

// ticksWanted is how many labels a linear axis has, roughly.
const ticksWanted = 6

// linearTicks widens the range to whole steps of 1, 2 or 5 times a power of ten and labels each step.
func linearTicks(low, high *float64) []plot.Tick {
	if *high <= *low {
		*high = *low + 1
	}
	step := niceStep((*high - *low) / ticksWanted)
	first, last := math.Floor(*low/step), math.Ceil(*high/step)
	*low, *high = first*step, last*step
	divisor, unit := unitOf(math.Max(math.Abs(*low), math.Abs(*high)))
	digits := max(0, -int(math.Floor(math.Log10(step/divisor)+1e-9)))
	var ticks []plot.Tick
	for i := first; i <= last; i++ {
		label := "0"
		if i != 0 {
			label = strconv.FormatFloat(i*step/divisor, 'f', digits, 64) + unit
		}
		ticks = append(ticks, plot.Tick{Value: i * step, Label: label})
	}
	return ticks
}

// niceStep is the smallest step of 1, 2 or 5 times a power of ten that is not below step.
func niceStep(step float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, factor := range []float64{1, 2, 5} {
		if factor*power >= step*(1-1e-9) {
			return factor * power
		}
	}
	return 10 * power
}

// unitOf is the unit in which a linear axis up to high is labelled. One unit an axis, so that labels compare.
func unitOf(high float64) (divisor float64, unit string) {
	switch {
	case high >= 1e9:
		return 1e9, "G"
	case high >= 1e6:
		return 1e6, "M"
	case high >= 5e3:
		return 1e3, "k"
	default:
		return 1, ""
	}
}

// labelledDecades is the span, in powers of ten, up to which 2 and 5 are labelled too.
const labelledDecades = 1.5

// logTicks labels powers of ten and leaves unlabelled ticks between them. It widens the range a little, so that
// points do not lie on the frame.
func logTicks(low, high *float64) []plot.Tick {
	first, last := math.Floor(math.Log10(*low)), math.Ceil(math.Log10(*high))
	narrow := math.Log10(*high / *low) < labelledDecades
	*low, *high = *low/1.25, *high*1.25
	var ticks []plot.Tick
	for e := first; e <= last; e++ {
		for m := 1.0; m < 10; m++ {
			value := m * math.Pow(10, e)
			if value < *low || value > *high {
				continue
			}
			label := ""
			if m == 1 || narrow && (m == 2 || m == 5) {
				label = shortNumber(value)
			}
			ticks = append(ticks, plot.Tick{Value: value, Label: label})
		}
	}
	return ticks
}

// shortNumber prints three figures: 0.05, 1, 34.5, 1230, 45.6k, 2M.
func shortNumber(v float64) string {
	unit := ""
	switch {
	case v >= 1e9:
		v, unit = v/1e9, "G"
	case v >= 1e6:
		v, unit = v/1e6, "M"
	case v >= 1e4:
		v, unit = v/1e3, "k"
	}
	if v == 0 {
		return "0"
	}
	digits := max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text + unit
}
