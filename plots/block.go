package plots

import (
	"slices"
	"unicode/utf8"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// drawing fills a data area.
type drawing func(p *pen, box vg.Rectangle)

// block is what a figure draws of one setting: lines of panels, with a legend beside them where it has one of its own.
type block struct {
	title  string
	above  vg.Length // the space that a panel needs over its data area
	lines  [][]drawing
	legend func(p *pen, left, top vg.Length)
}

// columns counts the panels of the longest line.
func (b block) columns() int {
	n := 0
	for _, panels := range b.lines {
		n = max(n, len(panels))
	}
	return n
}

// inLines puts panels into lines of the same number: three at most, or two where a name over them is long.
func inLines(panels []drawing, names []string) [][]drawing {
	const long = 22 // runes
	n, most := len(panels), 3
	if slices.ContainsFunc(names, func(name string) bool { return utf8.RuneCountInString(name) > long }) {
		most = 2
	}
	lines := (n + most - 1) / most
	var out [][]drawing
	for len(panels) > 0 {
		take := min((n+lines-1)/lines, len(panels))
		out, panels = append(out, panels[:take]), panels[take:]
	}
	return out
}

// blockSheet lays blocks out below a legend and above the footer.
type blockSheet struct {
	blocks []block
	legend []legendItem
	foot   footer
	labels vg.Length // of the vertical axes
	none   string    // what is said without any block
}

// Lengths of these figures.
const (
	blockLegend = 62 * vg.Length(1) // beside the panels
	blockLabels = 30 * vg.Length(1) // of most vertical axes
	blockHead   = sizeTitle * 1.8
	blockArea   = plotHeight * 0.78
	blockNone   = plotHeight * 0.7 // without any block
)

// height is the space that a block takes.
func (b block) height() vg.Length {
	return blockHead + vg.Length(len(b.lines))*(b.above+blockArea+under) + panelGap
}

// sheet draws them.
func (s blockSheet) sheet() sheet {
	width, beside, columns := doubleWidth, vg.Length(0), 0
	for _, b := range s.blocks {
		columns = max(columns, b.columns())
		if b.legend != nil {
			beside = blockLegend
		}
	}
	if columns == 1 {
		width = mediumWidth
	}
	inner := width - 2*margin
	measure := &pen{palette: newPalette(), fonts: newFonts()}
	footHeight := s.foot.height(measure, inner)
	legendHeight := measure.legendRows(s.legend, inner)
	if len(s.legend) > 0 {
		legendHeight += tunedGap
	}
	height := 2*margin + legendHeight + footHeight
	for _, b := range s.blocks {
		height += b.height()
	}
	if len(s.blocks) == 0 {
		height += blockNone
	}
	return sheet{width: width, height: height, draw: func(p *pen) {
		top := height - margin
		if len(s.blocks) == 0 {
			style := p.style(sizeLabel, false, p.muted, text.XCenter, text.YCenter)
			p.write(style, width/2, top-blockNone/2, s.none)
		}
		p.drawLegend(s.legend, margin, top, inner)
		top -= legendHeight
		for _, b := range s.blocks {
			b.draw(p, top, width, s.labels, beside, columns)
			top -= b.height()
		}
		s.foot.draw(p, margin+footHeight, inner)
	}}
}

// draw draws the block below top; labels is the space left of a data area, beside that right of the panels. Panels of all blocks stand in the
// same columns.
func (b block) draw(p *pen, top, width, labels, beside vg.Length, columns int) {
	title := p.style(sizeTitle, true, p.ink, text.XLeft, text.YBottom)
	p.write(title, margin+labels, top-sizeTitle, p.fit(title, width-2*margin-labels, b.title))
	top -= blockHead
	if b.legend != nil {
		b.legend(p, width-margin-beside+12, top-b.above)
	}
	cell := (width - 2*margin - beside) / vg.Length(max(columns, 1))
	for _, panels := range b.lines {
		for i, draw := range panels {
			x := margin + vg.Length(i)*cell
			draw(p, vg.Rectangle{
				Min: vg.Point{X: x + labels, Y: top - b.above - blockArea}, Max: vg.Point{X: x + cell - panelGap/2, Y: top - b.above},
			})
		}
		top -= b.above + blockArea + under
	}
}
