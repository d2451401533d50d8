package plots

import (
	"image/color"

	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// legendItem is a mark with its meaning.
type legendItem struct {
	text string
	mark func(p *pen, left, y vg.Length)
}

// tunedLegend explains the marks that the groups have.
func tunedLegend(groups []tunedGroup) []legendItem {
	if len(groups) == 0 {
		return nil
	}
	var fixed []string
	recipes, fresh, lowest, matched := 1, false, false, false
	for _, g := range groups {
		fixed = append(fixed, g.d.recipes[g.d.fixed].label)
		recipes = max(recipes, len(g.d.recipes))
		matched = matched || g.d.match != nil
		fresh = fresh || len(g.d.fresh) > 0
		lowest = lowest || g.d.lossOptimal() != nil
	}
	items := []legendItem{
		{"fixed recipe (" + listed(fixed) + "), 95 % interval", func(p *pen, left, y vg.Length) {
			p.StrokeLine2(line(p.of(0), widthMean), left, y, left+legendMark, y)
			p.StrokeLine2(line(p.of(0), widthAxis), left+legendMark/2, y-4, left+legendMark/2, y+4)
			p.disc(left+legendMark/2, y, smallMean, p.of(0))
		}},
		{"best mean", func(p *pen, left, y vg.Length) { p.ring(left+legendMark/2, y, smallBest, widthBar, p.of(0)) }},
		{"seed", func(p *pen, left, y vg.Length) { p.dot(left+legendMark/2, y, smallSeed, p.over(p.of(0), alphaSeed)) }},
	}
	if recipes > 1 {
		items = append(items, meansItem("best recipe for each base model and task", 1, dashed))
	}
	if matched {
		items = append(items, meansItem("rate matched to each base model's weight norm, interpolated", 2, func(c color.Color, _ vg.Length) draw.LineStyle { return line(c, widthAxis) }))
	}
	if fresh {
		items = append(items, legendItem{"never pretrained", func(p *pen, left, y vg.Length) {
			p.FillPolygon(p.over(p.zero, 0.22), []vg.Point{{X: left, Y: y - 3}, {X: left + legendMark, Y: y - 3}, {X: left + legendMark, Y: y + 3}, {X: left, Y: y + 3}})
			p.StrokeLine2(line(p.muted, widthCurve), left, y, left+legendMark, y)
		}})
	}
	if lowest {
		items = append(items, lossOptimalItem())
	}
	return items
}

// meansItem explains the means of another way to choose a recipe, in the colour of a series.
func meansItem(text string, series int, style func(color.Color, vg.Length) draw.LineStyle) legendItem {
	return legendItem{text, func(p *pen, left, y vg.Length) {
		p.StrokeLine2(style(p.of(series), widthCurve), left, y, left+legendMark, y)
		p.dot(left+legendMark/2, y, smallSeed+0.9, p.of(series))
		p.dot(left+legendMark/2, y, smallSeed, p.paper)
	}}
}

// lossOptimalItem explains the dotted line at the loss-optimal decay.
func lossOptimalItem() legendItem {
	return legendItem{"loss-optimal λ", func(p *pen, left, y vg.Length) {
		p.StrokeLine2(dotted(p.ink, widthAxis), left+legendMark/2, y-4.5, left+legendMark/2, y+4.5)
	}}
}

const legendAir = 9 * vg.Length(1)

// place tells where the items of a legend stand: x from the left, and the line.
func (p *pen) place(items []legendItem, width vg.Length) (xs []vg.Length, rows []int, n int) {
	s := p.style(sizeSmall, false, p.ink, text.XLeft, text.YCenter)
	var x vg.Length
	row := 0
	for _, item := range items {
		w := legendMark + 4 + s.Width(item.text)
		if x > 0 && x+w > width {
			x, row = 0, row+1
		}
		xs, rows = append(xs, x), append(rows, row)
		x += w + legendAir
	}
	if len(items) > 0 {
		row++
	}
	return xs, rows, row
}

// legendRows is the height of a legend.
func (p *pen) legendRows(items []legendItem, width vg.Length) vg.Length {
	_, _, n := p.place(items, width)
	return vg.Length(n) * legendLine
}

// drawLegend draws the legend below top.
func (p *pen) drawLegend(items []legendItem, left, top, width vg.Length) {
	s := p.style(sizeSmall, false, p.ink, text.XLeft, text.YCenter)
	xs, rows, _ := p.place(items, width)
	for i, item := range items {
		x, y := left+xs[i], top-(vg.Length(rows[i])+0.5)*legendLine
		item.mark(p, x, y)
		p.write(s, x+legendMark+4, y, p.fit(s, width-legendMark-4, item.text))
	}
}
