package plots

import (
	"image/color"
	"math"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Every colour, width and size of the figures is said here and nowhere else. Lengths are at print size: a figure of one
// panel is as wide as a column of text, and its smallest letters are those of a footnote.
const (
	pngDPI = 250 // more than twice a screen's density at print size

	singleWidth = 5.2 * vg.Inch  // of a figure with one panel
	mediumWidth = 6 * vg.Inch    // of one with labels beside the panel
	doubleWidth = 7.2 * vg.Inch  // of a figure with panels side by side
	plotHeight  = 2.45 * vg.Inch // of the data area
	margin      = 6 * vg.Length(1)
	panelGap    = 12 * vg.Length(1)
	under       = 38 * vg.Length(1) // below the data area: ticks, label, air

	sizeTitle  = 9 * vg.Length(1)
	sizeLabel  = 8.5 * vg.Length(1)
	sizeTick   = 8 * vg.Length(1)
	sizeSmall  = 7.2 * vg.Length(1)
	tauHeight  = sizeSmall * 1.35
	lineHeight = 1.28 // of a line of running text, in font sizes

	widthGrid  = 0.5 * vg.Length(1)
	widthAxis  = 0.7 * vg.Length(1)
	widthRaw   = 0.4 * vg.Length(1)
	widthCurve = 1.1 * vg.Length(1)
	widthMean  = 1.5 * vg.Length(1)
	widthBar   = 1.1 * vg.Length(1)

	radiusMean = 3 * vg.Length(1)
	radiusSeed = 1.7 * vg.Length(1)
	radiusEval = 1.4 * vg.Length(1)
	radiusBest = 5.2 * vg.Length(1)
	radiusFail = 2.6 * vg.Length(1)
	seedShift  = 8.5 * vg.Length(1) // seeds stand so far to the right of the mean of their level
	capWidth   = 2.6 * vg.Length(1)
	tickLength = 3 * vg.Length(1)

	alphaRaw = 0.22
)

// palette is the set of colours of a figure.
type palette struct {
	ink, muted, axis, grid, paper, alarm, zero color.NRGBA
	series                                     []color.NRGBA // told apart with any kind of colour blindness (Okabe and Ito)
	ordered                                    []color.NRGBA // a ramp of falling darkness for an ordered quantity
}

func newPalette() palette {
	return palette{
		ink: rgb(0x1b1f24), muted: rgb(0x57606a), axis: rgb(0x6e7781), grid: rgb(0xe4e7eb), paper: rgb(0xffffff),
		alarm: rgb(0xb3261e), zero: rgb(0x8c959f),
		series: []color.NRGBA{rgb(0x0072b2), rgb(0xd55e00), rgb(0x009e73), rgb(0xcc79a7), rgb(0xe69f00), rgb(0x56b4e9)},
		ordered: []color.NRGBA{
			rgb(0x2d1160), rgb(0x5b1a79), rgb(0x8c2981), rgb(0xbb3776), rgb(0xde4968), rgb(0xf4704f), rgb(0xf99d35),
		},
	}
}

// of returns the colour of the i-th series.
func (p palette) of(i int) color.NRGBA { return p.series[i%len(p.series)] }

// along returns the colour at a fraction of the ordered ramp.
func (p palette) along(fraction float64) color.NRGBA {
	at := math.Min(math.Max(fraction, 0), 1) * float64(len(p.ordered)-1)
	i := min(int(at), len(p.ordered)-2)
	t := at - float64(i)
	a, b := p.ordered[i], p.ordered[i+1]
	mix := func(x, y uint8) uint8 { return uint8(math.Round(float64(x)*(1-t) + float64(y)*t)) }
	return color.NRGBA{mix(a.R, b.R), mix(a.G, b.G), mix(a.B, b.B), 0xff}
}

// over mixes a colour with the paper. Transparency is not used: it would make the overlap of points look like data.
func (p palette) over(c color.NRGBA, alpha float64) color.NRGBA {
	mix := func(x, y uint8) uint8 { return uint8(math.Round(float64(x)*alpha + float64(y)*(1-alpha))) }
	return color.NRGBA{mix(c.R, p.paper.R), mix(c.G, p.paper.G), mix(c.B, p.paper.B), 0xff}
}

func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{uint8(hex >> 16), uint8(hex >> 8), uint8(hex), 0xff}
}

// face is the type of the figures in the given size.
func face(size vg.Length, bold bool) font.Font {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return f
}

// line is a solid line.
func line(c color.Color, width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: width}
}

// dashed is a line of short dashes.
func dashed(c color.Color, width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: width, Dashes: []vg.Length{2.2, 2.2}}
}

// dotted is a line of dots.
func dotted(c color.Color, width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: width, Dashes: []vg.Length{1, 2}}
}
