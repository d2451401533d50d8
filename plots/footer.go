package plots

import (
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
)

// footer is the text under the panels of a figure: what it shows, what is wrong with it, and what was drawn.
type footer struct {
	summary []string
	caption string
	notes   []string
}

const footerGap = 3 * vg.Length(1)

// paragraphs wraps the text.
func (f footer) paragraphs(p *pen, width vg.Length) []paragraph {
	var out []paragraph
	for _, s := range f.summary {
		out = append(out, p.wrap(p.style(sizeTick, false, p.ink, text.XLeft, text.YBottom), width, s))
	}
	for _, s := range f.notes {
		out = append(out, p.wrap(p.style(sizeSmall, false, p.alarm, text.XLeft, text.YBottom), width, "Note: "+s))
	}
	return append(out, p.wrap(p.style(sizeSmall, false, p.muted, text.XLeft, text.YBottom), width, f.caption))
}

// height is the space that the footer takes.
func (f footer) height(p *pen, width vg.Length) vg.Length {
	var sum vg.Length
	for _, g := range f.paragraphs(p, width) {
		sum += g.height() + footerGap
	}
	return sum
}

// draw sets the text below top, at the left margin.
func (f footer) draw(p *pen, top, width vg.Length) {
	for _, g := range f.paragraphs(p, width) {
		top = p.setDown(g, margin, top) - footerGap
	}
}
